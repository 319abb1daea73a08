//! One file for each command: its arguments, and what it does.

mod chain;
#[cfg(feature = "kafka")]
mod cluster;
mod consume;
mod demo;
mod escrow;
mod key;
mod lost;
mod produce;
mod provision;
mod serve;

use clap::Subcommand;
use kafkacrypto::keys::SigningType;

use crate::failure::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// See it work: a producer, two consumers and a broker, with nothing installed
    Demo(demo::DemoArgs),
    /// Make a node, or renew its certificates: NODE.config, NODE.crypto and NODE.seed
    Provision(provision::ProvisionArgs),
    /// Verify and show certificate chains
    Chain(chain::ChainArgs),
    /// Encrypt records and send them
    Produce(produce::ProduceArgs),
    /// Read records and decrypt them
    Consume(consume::ConsumeArgs),
    /// Answer requests for the keys of what a node has sent earlier
    Serve(serve::ServeArgs),
    /// Look at keys and configs, and change which keys and exchanges a node has
    Key(key::KeyArgs),
    /// Keep ratchet secrets under a key in a safe, for the day that a node is lost
    Escrow(escrow::EscrowArgs),
}

impl Command {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Provision(args) => provision::run(args),
            Self::Chain(args) => chain::run(args),
            Self::Produce(args) => produce::run(args),
            Self::Consume(args) => consume::run(args),
            Self::Serve(args) => serve::run(&args),
            Self::Key(args) => key::run(args),
            Self::Escrow(args) => escrow::run(&args),
        }
    }
}

/// A time in seconds.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| (0.0..=1e9).contains(seconds));
    seconds.ok_or_else(|| "give a number of seconds, such as 10 or 0.5".to_owned())
}

/// A type of signing key.
fn key_type(text: &str) -> Result<SigningType, String> {
    let known = text.parse().ok().and_then(SigningType::from_number);
    known.ok_or_else(|| "no such type of key; there are 1 (Ed25519) and 4 (Ed25519 with SLH-DSA)".to_owned())
}
