//! One file for each command: its arguments, and what it does.

mod chain;
mod key;
mod provision;

use clap::Subcommand;

use crate::failure::Failure;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a node, or renew its certificates: NODE.config, NODE.crypto and NODE.seed
    Provision(provision::ProvisionArgs),
    /// Verify and show certificate chains
    Chain(chain::ChainArgs),
    /// Look at keys and configs
    Key(key::KeyArgs),
}

impl Command {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Provision(args) => provision::run(args),
            Self::Chain(args) => chain::run(args),
            Self::Key(args) => key::run(args),
        }
    }
}
