//! `<node>.config`: Python's configparser format, its values, and what a node reads out of it (protocol.md §12.1).
//!
//! [`Config`] is the text with its sections; [`NodeConfig`] knows the sections of one node; [`NodeSettings`] are the
//! settings of protocol.md §9, typed and checked. Must never touch a file. Whoever writes a config back writes what
//! [`Config::render`] returns: comments, order and unknown sections survive.

mod document;
mod error;
mod interpolate;
mod kafka;
mod legacy;
mod lines;
mod node;
mod settings;

pub use document::{Config, Entry};
pub use error::ConfigError;
pub use kafka::KafkaUse;
pub use node::NodeConfig;
pub use settings::NodeSettings;
