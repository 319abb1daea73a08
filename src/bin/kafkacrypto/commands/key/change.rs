use std::path::PathBuf;

use clap::Args;
use kafkacrypto::error::Error;
use kafkacrypto::keys::{Scheme, SigningType};
use kafkacrypto::runtime::{NodeFiles, OpenOptions, edit_key_file};
use kafkacrypto::store::KeyFile;
use serde_json::json;

use super::info;
use crate::commands::key_type;
use crate::failure::Failure;
use crate::output;

#[derive(Args)]
#[command(after_help = AFTER_ENABLE)]
pub(crate) struct EnableArgs {
    /// NODE.config, or NODE.crypto of a node that doesn't run
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
#[command(after_help = AFTER_ADD)]
pub(crate) struct AddArgs {
    /// NODE.config
    config: PathBuf,
    /// The type: 1 (Ed25519) or 4 (Ed25519 with SLH-DSA)
    #[arg(value_parser = key_type)]
    kind: SigningType,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Take a key file and a seed file that others on this machine can read
    #[arg(long)]
    allow_readable_by_others: bool,
    /// Tell what was done as JSON
    #[arg(long)]
    json: bool,
}

impl How {
    fn options(&self) -> OpenOptions {
        OpenOptions::default().allow_readable_by_others(self.allow_readable_by_others)
    }
}

// ---- enable-pq

pub(crate) fn enable(args: &EnableArgs) -> Result<(), Failure> {
    let mut before = Vec::new();
    let change = |keys: KeyFile| {
        before = keys.versions().to_vec();
        keys.with_post_quantum()
    };
    let (path, after) = if info::is_message_pack(&info::read(&args.file)?) {
        let keys = edit_key_file(&args.file, args.how.options(), change).map_err(Error::from)?;
        (args.file.clone(), keys.versions().to_vec())
    } else {
        let mut files = NodeFiles::open(&args.file, args.how.options(), &mut rng()).map_err(Error::from)?;
        files.edit_keys(change).map_err(Error::from)?;
        (files.key_path().to_owned(), files.key_file().versions().to_vec())
    };
    let path = path.display();
    if args.how.json {
        let told =
            json!({"key_file": path.to_string(), "before": before, "versions": after, "changed": before != after});
        return output::line(&told.to_string());
    }
    if before == after {
        return output::line(&format!("{path} has them already: exchange versions {}", spelled(&after)));
    }
    output::line(&format!("{path}: exchange versions {}; before: {}", spelled(&after), spelled(&before)))
}

fn spelled(versions: &[u64]) -> String {
    let one = |version: &u64| match Scheme::from_offer_version(*version) {
        Some(scheme) => format!("{version} ({scheme})"),
        None => format!("{version} (unknown)"),
    };
    if versions.is_empty() { "none".to_owned() } else { versions.iter().map(one).collect::<Vec<_>>().join(", ") }
}

// ---- add-type

pub(crate) fn add(args: &AddArgs) -> Result<(), Failure> {
    let mut files = NodeFiles::open(&args.config, args.how.options(), &mut rng()).map_err(Error::from)?;
    let used =
        |files: &NodeFiles| files.signers().into_iter().find(|(_, key)| key.public().signing_type() == args.kind);
    let had = used(&files).is_some();
    let made = files.need_key_type(args.kind, &mut rng()).map_err(Error::from)?;
    let Some((index, key)) = used(&files) else {
        return Err(Failure::configuration(
            "the new key isn't in the key file; another program has changed it, try again",
        ));
    };
    let (number, path) = (args.kind.number(), files.key_path().display());
    let chained = files.chains().iter().any(|(of, _)| *of == index);
    if args.how.json {
        let told = json!({"key_file": path.to_string(), "index": index, "type": number, "made": made,
            "public": hex::encode(key.public().to_bytes()), "has_chain": chained});
        return output::line(&told.to_string());
    }
    let done = match (made, had) {
        (true, _) => "is new",
        (false, false) => "was there and is used from now on",
        (false, true) => "is there",
    };
    output::line(&format!("{path}: signing key {index} of type {number} {done}: {}", key.public()))?;
    if !chained {
        let node = files.config().node_id().escape_debug();
        eprintln!(
            "It has no certificate yet. Next: kafkacrypto provision {node} --role ROLE --topics TOPIC,… --key-type {number}"
        );
    }
    Ok(())
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

const AFTER_ENABLE: &str = "\
Versions 5 and 2 come first, then what is there; nothing is dropped, and no other node needs to change. The node must not
run meanwhile; it uses them when it starts again.

Examples:
  kafkacrypto key enable-pq sensor-1.config
  kafkacrypto key enable-pq --json sensor-1.crypto";
const AFTER_ADD: &str = "\
The node must not run meanwhile. Its other keys, their certificates and its seed stay as they are; the indices of what it
encrypts from then on differ, since they are made from all of its keys.

Examples:
  kafkacrypto key add-type sensor-1.config 4
  kafkacrypto provision sensor-1 --role producer --topics lab --key-type 4";
