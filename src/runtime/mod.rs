//! What drives a node: its files, its engine, a transport and the clock.

mod node_files;

pub use crate::files::FileError;
pub use node_files::{List, NodeFiles, NodeFilesError, OpenOptions, SeedFile, resolve};
