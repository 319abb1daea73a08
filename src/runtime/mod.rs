//! What drives a node: its files, its engine, a transport and the clock.
//!
//! An engine decides, this room does: [`Node`] is the handle, a machine (engine and disk, behind one lock) performs what
//! can be done at once, a driver does what takes a network or long, a follower reads topics, and a supervisor starts them
//! again when they fail. No policy lives here, and nobody is ever waited for while a lock is held, but the disk.
//!
//! # Logs
//!
//! Everything goes to [`tracing`], under targets that begin with `kafkacrypto`; a program decides what it shows. `warn` is
//! what an operator should look at (something was refused, failed or ends soon), `info` a change of trust, `debug` each
//! request and answer. `log_level` in a config is for the Python implementation (its numbers: 10 debug … 50 critical): it is
//! kept, and a program that wants to go by it finds it in [`NodeSettings`](crate::store::config::NodeSettings).

mod builder;
mod clock;
mod driver;
mod event;
mod fair;
mod follower;
mod health;
mod machine;
mod node;
mod node_files;
mod setup;
mod timer;

pub use crate::files::FileError;
pub use builder::NodeBuilder;
pub use clock::{Clock, SystemClock};
pub use event::Event;
pub use health::Health;
pub use node::Node;
pub use node_files::{
    List, NodeFiles, NodeFilesError, OpenOptions, SeedFile, create_secret, edit_key_file, read_secret, resolve,
};
