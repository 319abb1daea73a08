//! Setting up nodes, offline (protocol §13): roots of trust and provisioners from passwords, what each role may do, and what
//! a provisioned node's config says.
//!
//! Reads no clock, file or terminal; the tool and tests use it alike. Never shows or keeps a password, nor anything that
//! is made from one by a fast hash. Owns the chain of a new node.

mod chains;
mod escrow;
mod password;
mod plan;
mod role;

pub use chains::{leaf_key, store_chain};
pub use escrow::{EscrowError, EscrowKey, EscrowPublicKey};
pub use password::{provisioner, root_of_trust};
pub use plan::{Authority, NodePlan, Provisioned, Topics};
pub use role::{NodeRole, Provisioner};

use crate::keys::KeyError;
use crate::store::config::ConfigError;

/// Why a node can't be provisioned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// A password that is too short to make a key from.
    #[error("the {whose} password has fewer than {least} characters; use a longer one")]
    ShortPassword {
        /// The root's or the provisioners'.
        whose: &'static str,
        /// How many characters it must have.
        least: usize,
    },
    /// No topic was named.
    #[error("no topic is named; name at least one, or say that the node may use all")]
    NoTopics,
    /// A name that no Kafka topic can have, or that begins with the separator.
    #[error("`{}` is no topic name; topics have letters, digits, `.`, `_` and `-`, and don't begin with the separator", .0.escape_debug())]
    BadTopic(String),
    /// A lifetime of zero, or one that ends beyond what clocks show.
    #[error("a lifetime must be at least one second and at most 1000 years; give another one")]
    BadLifetime,
    /// The key file has no signing key of the authority's type.
    #[error("the key file has no signing key of the type of the root of trust; add one, or enable it with `keytypes`")]
    NoKey,
    /// A key that can't be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The config can't hold what it should say.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
