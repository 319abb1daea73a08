use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kafkacrypto::error::Error;
use kafkacrypto::keys::{RatchetState, Scheme};
use kafkacrypto::provision::{EscrowKey, EscrowPublicKey};
use kafkacrypto::runtime::{OpenOptions, create_secret, read_secret, resolve};
use kafkacrypto::store::config::NodeConfig;
use serde_json::json;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{given, output};

#[derive(Args)]
pub(crate) struct EscrowArgs {
    #[command(subcommand)]
    command: EscrowCommand,
}

#[derive(Subcommand)]
enum EscrowCommand {
    /// Make an escrow key: the secret one into a file, the public one to stdout
    Keygen(KeygenArgs),
    /// Seal a node's ratchet secret to a public escrow key
    Seal(SealArgs),
    /// Open a sealed secret, as a seed file
    Open(OpenArgs),
}

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
struct KeygenArgs {
    /// The exchange version: 5 (X25519 with ML-KEM-1024), 2 (X25519 with sntrup761) or 1 (X25519)
    #[arg(long, value_name = "N", default_value = "5", value_parser = scheme)]
    version: Scheme,
    /// The file of the secret key; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Tell what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
struct SealArgs {
    /// NODE.config (its seed file is taken) or NODE.seed
    node: PathBuf,
    /// The public escrow key: a file (bytes or hex), hex, or - for stdin
    #[arg(long, value_name = "KEY")]
    to: String,
    /// Take a seed file that others on this machine can read
    #[arg(long)]
    allow_readable_by_others: bool,
    /// Tell what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
struct OpenArgs {
    /// The sealed secret: a file (bytes or hex), hex, or - for stdin
    sealed: String,
    /// The file of the secret escrow key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The seed file to make; must not exist
    #[arg(long, value_name = "NODE.seed")]
    out: PathBuf,
    /// The index that `escrow seal` has told
    #[arg(long, value_name = "N", default_value = "0")]
    index: u64,
    /// Go so many steps on, to what the node has encrypted after as many restarts
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..=10_000_000))]
    steps: u64,
    /// Take an escrow key that others on this machine can read
    #[arg(long)]
    allow_readable_by_others: bool,
    /// Tell what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &EscrowArgs) -> Result<(), Failure> {
    match &args.command {
        EscrowCommand::Keygen(args) => keygen(args),
        EscrowCommand::Seal(args) => seal(args),
        EscrowCommand::Open(args) => open(args),
    }
}

fn keygen(args: &KeygenArgs) -> Result<(), Failure> {
    let key = EscrowKey::generate(args.version, &mut rng());
    create_secret(&args.out, key.to_bytes().expose()).map_err(Error::from)?;
    let (public, path) = (hex::encode(key.public().to_bytes()), args.out.display());
    if args.json {
        let told = json!({"key_file": path.to_string(), "version": args.version.offer_version(),
            "scheme": args.version.to_string(), "public": public});
        return output::line(&told.to_string());
    }
    eprintln!("{path} is the secret key: whoever has it can read what the nodes encrypt. Keep it offline.");
    eprintln!("The public key, {}, is on stdout.", key.public());
    output::line(&public)
}

fn seal(args: &SealArgs) -> Result<(), Failure> {
    let public = EscrowPublicKey::from_bytes(&given::read(&args.to)?).map_err(Failure::usage)?;
    let path = seed_path(&args.node)?;
    let bytes = read_secret(&path, options(args.allow_readable_by_others)).map_err(Error::from)?;
    let seed = RatchetState::decode(bytes.expose()).map_err(|error| {
        Failure::configuration(format!("{} is no seed file ({error}); name NODE.config or NODE.seed", path.display()))
    })?;
    let sealed = public.seal(seed.secret(), &mut rng()).map_err(Failure::usage)?;
    let (sealed, index) = (hex::encode(sealed), seed.index());
    if args.json {
        let told = json!({"sealed": sealed, "index": index, "version": public.scheme().offer_version(),
            "scheme": public.scheme().to_string(), "seed_file": path.display().to_string()});
        return output::line(&told.to_string());
    }
    eprintln!("{} is sealed at index {index} to {public}.", path.display());
    if index > 0 {
        eprintln!("What was encrypted before that index is not in it. Open it with --index {index}.");
    }
    output::line(&sealed)
}

fn open(args: &OpenArgs) -> Result<(), Failure> {
    let bytes = read_secret(&args.key, options(args.allow_readable_by_others)).map_err(Error::from)?;
    let wrong = |error| Failure::configuration(format!("{}: {error}", args.key.display()));
    let key = EscrowKey::from_bytes(bytes.expose()).map_err(wrong)?;
    let secret = key.open(&given::read(&args.sealed)?).map_err(|error| Failure::new(Failure::FAILED, error))?;
    let seed = (0..args.steps).fold(RatchetState::new(args.index, secret), |seed, _| seed.next());
    create_secret(&args.out, &seed.encode()).map_err(Error::from)?;
    let (path, index) = (args.out.display(), seed.index());
    if args.json {
        return output::line(&json!({"seed_file": path.to_string(), "index": index}).to_string());
    }
    output::line(&format!("{path} is a seed file at index {index}; use it with the node's own config and key file"))
}

/// The seed file that a config names, or the file itself.
fn seed_path(given: &Path) -> Result<PathBuf, Failure> {
    let Ok(bytes) = std::fs::read(given).map(Zeroizing::new) else { return Ok(given.to_owned()) };
    let Ok(config) = NodeConfig::from_bytes(&bytes) else { return Ok(given.to_owned()) };
    let failed = |why: String| Failure::configuration(format!("{}: {why}", given.display()));
    let settings = config.settings().map_err(|error| failed(error.to_string()))?;
    let seed = settings.seed_file.ok_or_else(|| failed("it names no seed file; provision the node first".into()))?;
    Ok(resolve(given, &seed))
}

fn scheme(text: &str) -> Result<Scheme, String> {
    let known = text.parse().ok().and_then(Scheme::from_offer_version);
    known.ok_or_else(|| "no such version; there are 5, 2 and 1".to_owned())
}

fn options(allow_readable_by_others: bool) -> OpenOptions {
    OpenOptions::default().allow_readable_by_others(allow_readable_by_others)
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

const AFTER_HELP: &str = "\
The ratchet steps each time that a node starts, and a sealed secret gives what comes from its index on: seal a node before it
first runs. There is no built-in escrow key, and nothing is sealed unless you do it.

Examples:
  kafkacrypto escrow keygen --out escrow.key > escrow.pub
  kafkacrypto escrow seal sensor-1.config --to escrow.pub > sensor-1.escrow
  kafkacrypto escrow open sensor-1.escrow --key escrow.key --out sensor-1.seed";
