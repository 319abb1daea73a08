use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kafkacrypto::chain::{self, Certificate};
use kafkacrypto::error::Error;
use kafkacrypto::keys::{SigningPublicKey, SigningType};
use kafkacrypto::provision::{Authority, NodePlan, NodeRole, Provisioned, Topics};
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::store::config::NodeConfig;
use serde_json::json;

use crate::failure::Failure;
use crate::password::Source;
use crate::{clock, output, prompt};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProvisionArgs {
    /// The node's name; its files are NODE.config, NODE.crypto and NODE.seed
    node: String,
    /// What it is for: producer, consumer, prodcon (both), prodcon-limited and consumer-limited (ask for keys through a
    /// controller), controller, chain-server
    #[arg(long, value_parser = role)]
    role: Option<NodeRole>,
    /// The topics that it may use, separated by commas; all topics with the same root are meant
    #[arg(long, value_name = "TOPIC,…", conflicts_with = "all_topics")]
    topics: Option<String>,
    /// It may use every topic
    #[arg(long)]
    all_topics: bool,
    /// How long, in seconds [default: 316224000, which is 10 years]
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u64>,
    /// How many certificates may stand below the node's own, -1 for no limit [default: 1, a chain server's 2]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i64).range(-1..=255))]
    pathlen: Option<i64>,
    /// The types of its signing keys: 1 (Ed25519), 4 (post-quantum too: Ed25519 with SLH-DSA), or both; a key that is missing
    /// is made [default: those that the node has; 1 for a new one]
    #[arg(long = "key-type", value_name = "1|4|both", value_parser = key_types)]
    key_types: Vec<KeyTypes>,
    /// The folder of its files
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Kafka brokers, separated by commas
    #[arg(long, value_name = "HOST:PORT,…")]
    bootstrap: Option<String>,
    /// How to talk to them [default: as the config says; SSL in a new one]
    #[arg(long, value_name = "PROTOCOL", value_parser = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])]
    security_protocol: Option<String>,
    /// A file with the root password (or KAFKACRYPTO_ROOT_PASSWORD)
    #[arg(long, value_name = "FILE")]
    root_password_file: Option<PathBuf>,
    /// A file with the provisioners' password (or KAFKACRYPTO_PROVISIONER_PASSWORD)
    #[arg(long, value_name = "FILE")]
    provisioner_password_file: Option<PathBuf>,
    /// Let another root of trust take the place of the one that the node trusts now
    #[arg(long)]
    new_root: bool,
    /// Take a key file and a seed file that others on this machine can read
    #[arg(long)]
    allow_readable_by_others: bool,
    /// Don't ask whether all is right
    #[arg(long)]
    yes: bool,
    /// Tell what was done as JSON
    #[arg(long)]
    json: bool,
}

type KeyTypes = &'static [SigningType];

/// What was asked for, from flags and answers.
struct Wish {
    plan: NodePlan,
    bootstrap: Option<String>,
}

pub(crate) fn run(args: ProvisionArgs) -> Result<(), Failure> {
    let path = config_path(&args)?;
    let wish = wish(&args, !path.exists())?;
    let existing = if path.exists() { Some(open(&args, &path, of_these(&asked(&args)))?) } else { None };
    let types = types(&args, existing.as_ref());
    let authority = authority(&args, wish.plan.role, types, existing.is_none())?;
    if let Some(files) = &existing {
        same_roots(&args, &authority, files)?;
    }
    confirm(&args, &wish, &authority, &path)?;
    let mut files = existing.map_or_else(|| create(&args, &path, types), Ok)?;
    let done = apply(&wish, &args, types, &authority, &mut files)?;
    report(&args, &wish, &authority, &files, &done)
}

fn config_path(args: &ProvisionArgs) -> Result<PathBuf, Failure> {
    let bad = |why: &str| Failure::usage(format!("`{}` can't be a node's name: {why}", args.node.escape_debug()));
    if args.node.contains(['/', '\\']) || args.node.starts_with('.') {
        return Err(bad("it has a slash or begins with a dot; name its folder with --dir"));
    }
    NodeConfig::new(&args.node).map_err(|error| bad(&error.to_string()))?;
    Ok(args.dir.join(format!("{}.config", args.node)))
}

// ---- what is wanted

fn wish(args: &ProvisionArgs, new: bool) -> Result<Wish, Failure> {
    let role = args.role.map_or_else(ask_role, Ok)?;
    let topics = topics(args)?;
    let bootstrap = match &args.bootstrap {
        None if new && !args.yes && prompt::possible() => {
            Some(prompt::text("Kafka brokers (HOST:PORT, separated by commas; empty to fill in later):")?)
        }
        given => given.clone(),
    };
    let mut plan = NodePlan::new(role, topics, clock::now()?);
    if let Some(seconds) = args.lifetime {
        plan = plan.with_lifetime(Duration::from_secs(seconds));
    }
    if let Some(length) = args.pathlen {
        plan = plan.with_path_length(u32::try_from(length).ok());
    }
    plan.expires().map_err(Failure::usage)?;
    Ok(Wish { plan, bootstrap: bootstrap.filter(|servers| !servers.is_empty()) })
}

fn role(name: &str) -> Result<NodeRole, String> {
    let names = NodeRole::ALL.map(NodeRole::name).join(", ");
    NodeRole::from_name(name).ok_or_else(|| format!("no such role; choose one of {names}"))
}

fn ask_role() -> Result<NodeRole, Failure> {
    if !prompt::possible() {
        return Err(Failure::usage("the role is missing; give --role, or run on a terminal"));
    }
    for (number, role) in NodeRole::ALL.iter().enumerate() {
        eprintln!("  {} {role}", number + 1);
    }
    prompt::until("What is the node for? (number or name)", |answer| {
        let number = answer.parse::<usize>().ok().and_then(|number| NodeRole::ALL.get(number.checked_sub(1)?).copied());
        number.map_or_else(|| role(answer), Ok)
    })
}

fn topics(args: &ProvisionArgs) -> Result<Topics, Failure> {
    if args.all_topics {
        return Ok(Topics::All);
    }
    if let Some(names) = &args.topics {
        return named(names).map_err(Failure::usage);
    }
    if !prompt::possible() {
        return Err(Failure::usage("the topics are missing; give --topics or --all-topics, or run on a terminal"));
    }
    prompt::until("Which topics may it use? (separated by commas, or `all`)", |answer| {
        if answer == "all" { Ok(Topics::All) } else { named(answer) }
    })
}

/// Which types of keys get certificates: those that were asked for, else those that the node uses, else type 1.
fn types(args: &ProvisionArgs, existing: Option<&NodeFiles>) -> KeyTypes {
    let asked = asked(args);
    if !asked.is_empty() {
        return of_these(&asked);
    }
    let enabled = existing.and_then(NodeFiles::enabled);
    let public = existing.into_iter().flat_map(|files| files.key_file().public_keys(enabled.as_deref()));
    let used: Vec<_> = public.map(|(_, key)| key.signing_type()).collect();
    if used.is_empty() && enabled.is_none() { ONE } else { of_these(&used) }
}

fn asked(args: &ProvisionArgs) -> Vec<SigningType> {
    args.key_types.iter().copied().flatten().copied().collect()
}

fn of_these(types: &[SigningType]) -> KeyTypes {
    match (types.contains(&SigningType::Ed25519), types.contains(&SigningType::Ed25519SlhDsa)) {
        (true, true) => BOTH,
        (true, false) => ONE,
        (false, true) => FOUR,
        (false, false) => &[],
    }
}

fn key_types(text: &str) -> Result<KeyTypes, String> {
    match text {
        "1" => Ok(ONE),
        "4" => Ok(FOUR),
        "both" | "1,4" => Ok(BOTH),
        _ => Err("no such type of key; give 1 (Ed25519), 4 (Ed25519 with SLH-DSA) or both".to_owned()),
    }
}

fn named(names: &str) -> Result<Topics, String> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let topics = Topics::Named(names);
    topics.roots(".").map_err(|error| error.to_string())?;
    Ok(topics)
}

// ---- who allows it

fn authority(args: &ProvisionArgs, role: NodeRole, types: KeyTypes, new: bool) -> Result<Authority, Failure> {
    let root = Source {
        name: "root",
        file: args.root_password_file.as_ref(),
        flag: "--root-password-file",
        variable: "KAFKACRYPTO_ROOT_PASSWORD",
    };
    let provisioners = Source {
        name: "provisioner",
        file: args.provisioner_password_file.as_ref(),
        flag: "--provisioner-password-file",
        variable: "KAFKACRYPTO_PROVISIONER_PASSWORD",
    };
    let root = root.read(new)?;
    let provisioners = if role.signer().is_some() { provisioners.read(new)? } else { Default::default() };
    Authority::of_types(role, types, &root, &provisioners).map_err(Failure::usage)
}

/// A slip in the root password makes another root, which nobody else in the fleet trusts.
fn same_roots(args: &ProvisionArgs, authority: &Authority, files: &NodeFiles) -> Result<(), Failure> {
    if args.new_root || files.chains().is_empty() {
        return Ok(());
    }
    let Some(stranger) = authority.roots().find(|root| !is_known(root, files)) else { return Ok(()) };
    let message = format!(
        "this password makes the root {stranger}, which {} doesn't trust; check the password, or give --new-root to replace the root",
        files.config_path().display()
    );
    Err(Failure::new(Failure::NOT_AUTHORISED, message))
}

/// Whether the node trusts a root. One of a type that is new to it is known by its classical half, which one password makes
/// the same for all types.
fn is_known(root: &SigningPublicKey, files: &NodeFiles) -> bool {
    let listed = files.listed(List::Allow);
    if listed.contains(&chain::root_certificate(root)) {
        return true;
    }
    let kind = root.signing_type();
    let chains = files.chains();
    let has_chain = |index: usize| chains.iter().any(|(of, _)| *of == index);
    let new = files.key_file().public_keys(None).all(|(index, key)| key.signing_type() != kind || !has_chain(index));
    let trusted = listed.iter().filter_map(|bytes| Certificate::decode(bytes).ok()?.key().signing_key());
    new && trusted.into_iter().any(|key| classical(&key) == classical(root))
}

fn classical(key: &SigningPublicKey) -> &[u8; 32] {
    match key {
        SigningPublicKey::Ed25519(public) => public,
        SigningPublicKey::Ed25519SlhDsa { ed25519, .. } => ed25519,
    }
}

fn confirm(args: &ProvisionArgs, wish: &Wish, authority: &Authority, path: &Path) -> Result<(), Failure> {
    if args.yes || !prompt::possible() {
        return Ok(());
    }
    let topics = spelled(&wish.plan.topics.roots(".").unwrap_or_default());
    let roots = roots(authority).join(" and ");
    eprintln!("{} as {} for {topics}, under the root {roots}", path.display(), wish.plan.role);
    if prompt::confirmed("Write it?")? { Ok(()) } else { Err(Failure::new(Failure::FAILED, "nothing was changed")) }
}

// ---- doing it

fn open(args: &ProvisionArgs, path: &Path, types: KeyTypes) -> Result<NodeFiles, Failure> {
    let options = OpenOptions::default().allow_readable_by_others(args.allow_readable_by_others).new_key_types(types);
    Ok(NodeFiles::open_or_create(path, &args.node, options, &mut rng()).map_err(Error::from)?)
}

fn create(args: &ProvisionArgs, path: &Path, types: KeyTypes) -> Result<NodeFiles, Failure> {
    let failed = |error| {
        let folder = args.dir.display();
        Failure::configuration(format!("could not make the folder {folder} ({error}); choose another with --dir"))
    };
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    open(args, path, types)
}

fn apply(
    wish: &Wish,
    args: &ProvisionArgs,
    types: KeyTypes,
    authority: &Authority,
    files: &mut NodeFiles,
) -> Result<Provisioned, Failure> {
    for kind in types {
        files.need_key_type(*kind, &mut rng()).map_err(Error::from)?;
    }
    let mut config = files.config().clone();
    let enabled = files.enabled();
    let done = authority.provision(&wish.plan, &mut config, files.key_file(), enabled.as_deref());
    let done = done.map_err(Failure::configuration)?;
    if let Some(servers) = &wish.bootstrap {
        config.set("kafka", "bootstrap_servers", servers.as_str()).map_err(Failure::usage)?;
    }
    if config.text("kafka-crypto-consumer", "auto_offset_reset").map_err(Failure::configuration)?.is_none() {
        // for the Python implementation, should it run this node: it starts at the end else, and misses fast answers
        config.set("kafka-crypto-consumer", "auto_offset_reset", "earliest").map_err(Failure::usage)?;
    }
    if let Some(protocol) = &args.security_protocol {
        config.set("kafka", "security_protocol", protocol.as_str()).map_err(Failure::usage)?;
    }
    files.save(config).map_err(Error::from)?;
    Ok(done)
}

fn report(
    args: &ProvisionArgs,
    wish: &Wish,
    authority: &Authority,
    files: &NodeFiles,
    done: &Provisioned,
) -> Result<(), Failure> {
    for notice in files.notices() {
        tracing::info!("{notice}");
    }
    let chains = files.chains();
    for index in done.other_type.iter().filter(|index| chains.iter().all(|(of, _)| of != *index)) {
        eprintln!(
            "Signing key {index} has no certificate: it is of another type; give --key-type both to provision all."
        );
    }
    let enabled = files.enabled();
    let keys: Vec<_> = files.key_file().public_keys(enabled.as_deref()).map(|(_, key)| key.clone()).collect();
    if args.json {
        let told = json!({
            "node": args.node,
            "role": wish.plan.role.name(),
            "topics": done.topics,
            "expires": done.expires.as_secs_f64(),
            "root": authority.roots().next().map(hexed),
            "roots": authority.roots().map(hexed).collect::<Vec<_>>(),
            "keys": keys.iter().map(hexed).collect::<Vec<_>>(),
            "key_types": keys.iter().map(|key| key.signing_type().number()).collect::<Vec<_>>(),
            "chains": done.chains,
            "config": files.config_path().display().to_string(),
            "created": files.created().iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        });
        return output::line(&told.to_string());
    }
    let topics = spelled(&done.topics);
    let (role, until) = (wish.plan.role, clock::utc(done.expires));
    output::line(&format!("{} is provisioned as {role} for {topics}, until {until}", args.node))?;
    output::line(&format!("  config {}", files.config_path().display()))?;
    roots(authority).iter().try_for_each(|root| output::line(&format!("  root   {root}")))?;
    keys.iter().try_for_each(|key| output::line(&format!("  key    {key}")))?;
    hints(wish, files);
    Ok(())
}

fn hexed(key: &SigningPublicKey) -> String {
    hex::encode(key.to_bytes())
}

fn roots(authority: &Authority) -> Vec<String> {
    authority.roots().map(ToString::to_string).collect()
}

fn spelled(roots: &[String]) -> String {
    if roots == ["^.*$"] { "all topics".to_owned() } else { roots.join(", ") }
}

/// What is still to do.
fn hints(wish: &Wish, files: &NodeFiles) {
    let text = |name| files.config().text("kafka", name).ok().flatten().unwrap_or_default();
    if text("bootstrap_servers").is_empty() {
        eprintln!("The config names no broker yet: give --bootstrap HOST:PORT, or set `bootstrap_servers` in it.");
    } else if text("security_protocol").ends_with("SSL") {
        eprintln!(
            "The config asks for TLS, which this release has not yet; for a broker without, give --security-protocol PLAINTEXT."
        );
    }
    if wish.plan.role.needs_controller() {
        eprintln!("A {} gets keys only where a controller runs.", wish.plan.role);
    }
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

const ONE: KeyTypes = &[SigningType::Ed25519];
const FOUR: KeyTypes = &[SigningType::Ed25519SlhDsa];
const BOTH: KeyTypes = &[SigningType::Ed25519, SigningType::Ed25519SlhDsa];
const AFTER_HELP: &str = "\
On a terminal, what is missing is asked for. Running it again on a node keeps its keys and renews its certificates.
Whoever uses the same two passwords, with this tool or the Python one, makes nodes of the same fleet.

Examples:
  kafkacrypto provision sensor-1
  kafkacrypto provision sensor-1 --role producer --topics lab,office --bootstrap localhost:9092 \\
      --security-protocol PLAINTEXT --root-password-file root.pw --provisioner-password-file prov.pw --yes
  kafkacrypto provision archive --role consumer --all-topics --json
  kafkacrypto provision gateway --role prodcon --topics lab --key-type both";
