use crate::engine;
use crate::keyring;
use crate::time::UnixTime;

/// How a node is, at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the background runs: keys are asked for and given out.
    pub running: bool,
    /// Whether the fleet's lists are known, so that keys change hands.
    pub exchanging: bool,
    /// How often the background had to be started again.
    pub restarts: u64,
    /// When our chain ends; `None` if it never does, or doesn't validate.
    pub chain_expires: Option<UnixTime>,
    /// Requests and replies.
    pub exchange: engine::Counters,
    /// Messages that were encrypted and decrypted.
    pub messages: keyring::Counters,
}
