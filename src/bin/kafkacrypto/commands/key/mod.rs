//! `key`: looks at key files and configs, and changes which keys and exchanges a node has. Never shows a secret; owns no bytes.

mod change;
mod info;

use clap::{Args, Subcommand};

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// What is in a key file or a config; never a secret
    Info(info::InfoArgs),
    /// Turn on the post-quantum key exchanges in a key file that is older than they are
    EnablePq(change::EnableArgs),
    /// Give a node a signing key of another type, beside those that it has
    AddType(change::AddArgs),
}

pub(crate) fn run(args: KeyArgs) -> Result<(), Failure> {
    match args.command {
        KeyCommand::Info(args) => info::run(args),
        KeyCommand::EnablePq(args) => change::enable(&args),
        KeyCommand::AddType(args) => change::add(&args),
    }
}
