//! The command line tool. Data on stdout, messages on stderr, prompts on a terminal only; uses the library's public API.
#![deny(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing
)]

mod answers;
mod clock;
mod commands;
mod failure;
mod given;
mod kcat;
mod output;
mod password;
mod prompt;
mod session;

use std::process::ExitCode;

use clap::{ArgAction, Parser};
use tracing_subscriber::EnvFilter;

use commands::Command;

#[derive(Parser)]
#[command(name = "kafkacrypto", version, about = "End-to-end encryption for Apache Kafka", after_help = AFTER_HELP)]
struct Arguments {
    /// Log more to stderr: -v what happens, -vv every message (RUST_LOG is more precise)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.verbose, &arguments.command);
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn log(verbose: u8, command: &Command) {
    let default = match verbose {
        // What it shows is meant to be refused.
        0 if matches!(command, Command::Demo(_)) => "error",
        0 => "warn",
        1 => "kafkacrypto=info,warn",
        _ => "kafkacrypto=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}

const AFTER_HELP: &str = "\
Examples:
  kafkacrypto demo
  kafkacrypto provision sensor-1 --role producer --topics lab --bootstrap localhost:9092
  kafkacrypto key info sensor-1.config
  echo 21.5 | kafkacrypto produce -n sensor-1.config -t lab.data
  kafkacrypto consume -n archive.config -t lab.data -o beginning

Exit codes:
  0  done
  1  failed
  2  usage: an argument is missing or means nothing
  3  not authorised: a certificate chain doesn't allow it
  4  records are left that could not be read or decrypted
  5  configuration or permissions: a file of the node is missing, damaged, in use or open to others
  6  the broker can't be reached or refuses";
