//! All policy, as state machines: `handle(input, now, rng) -> actions` (protocol §7.3, §7.4, §8, §9).
//!
//! No await, no clock, no thread, no file. Drivers, tests, the simulator and the fuzzer call the same function. An action
//! that depends on another one is emitted only after that one's [`Input::Done`]; a crash between any two actions is safe.
//! The keyring changes only by [`Action::Install`].

mod answering;
mod asking;
mod core;
mod gate;
mod node;
mod producing;
#[cfg(test)]
mod tests;
mod trust;
mod types;

pub use node::NodeEngine;
pub use types::{
    Action, ActionId, Change, Counters, Draft, Failure, Input, KeyringChange, NodeSetup, Notice, Outcome, OwnKey,
    PerScheme, Record, Rejection, Settings, SignJob, Start,
};
