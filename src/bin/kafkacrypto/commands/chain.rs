use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kafkacrypto::chain::{
    Ask, Certificate, ChainError, Described, Description, LeafKey, ListedKey, Rejected, Restrictions, TrustLists,
    Usage, Verified, verify,
};
use kafkacrypto::keys::{ExchangeKey, SigningPublicKey};
use kafkacrypto::store::config::{Entry, NodeConfig};
use kafkacrypto::time::UnixTime;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::given::read;
use crate::{clock, output};

#[derive(Args)]
pub(crate) struct ChainArgs {
    #[command(subcommand)]
    command: ChainCommand,
}

#[derive(Subcommand)]
enum ChainCommand {
    /// Whether a chain is to be trusted; exit code 3 when it isn't
    #[command(after_help = AFTER_VERIFY)]
    Verify(VerifyArgs),
    /// What is in a chain or certificate, unverified
    #[command(after_help = AFTER_SHOW)]
    Show {
        /// The chain: a file (bytes or hex), hex, base64#…, or - for stdin
        #[arg(required_unless_present = "node")]
        chain: Option<String>,
        /// Show the chains that this NODE.config holds
        #[arg(short, long, value_name = "NODE.config", conflicts_with = "chain")]
        node: Option<PathBuf>,
        /// As JSON, one line for each chain
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct VerifyArgs {
    /// The chain: a file (bytes or hex), hex, base64#…, or - for stdin; the node's own chains when left out
    #[arg(required_unless_present_any = ["node", "batch"])]
    chain: Option<String>,
    /// Take the allowlist and denylist of this NODE.config
    #[arg(short, long, value_name = "NODE.config")]
    node: Option<PathBuf>,
    /// It must allow this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// It must allow this usage, such as key-encrypt
    #[arg(short, long, value_parser = usage)]
    usage: Option<Usage>,
    /// Verify as at this time, in seconds since 1970; now when left out
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,
    /// A root of trust: an unsigned certificate, given as the chain is; may be repeated
    #[arg(long, value_name = "CERTIFICATE")]
    allowlist: Vec<String>,
    /// A certificate whose key is refused; may be repeated
    #[arg(long, value_name = "CERTIFICATE")]
    denylist: Vec<String>,
    /// The verdict as JSON, one line for each chain
    #[arg(long)]
    json: bool,
    /// Read cases from stdin and print verdicts, JSON lines both
    #[arg(long, conflicts_with_all = ["chain", "node", "topic", "usage", "time", "allowlist", "denylist"])]
    batch: bool,
}

pub(crate) fn run(args: ChainArgs) -> Result<(), Failure> {
    match args.command {
        ChainCommand::Verify(args) if args.batch => batch(),
        ChainCommand::Verify(args) => verify_given(args),
        ChainCommand::Show { chain, node, json } => show(chain, node, json),
    }
}

// ---- verify

fn verify_given(args: VerifyArgs) -> Result<(), Failure> {
    let node = args.node.as_deref().map(config).transpose()?;
    let listed = |section| {
        let entries = node.as_ref().map(|node| stored(node, section)).unwrap_or_default();
        // what isn't bytes is no certificate, and is warned of as such
        entries.into_iter().map(|(_, bytes)| bytes.unwrap_or_default()).collect()
    };
    let mut lists = Lists { allow: listed("allowlist"), deny: listed("denylist") };
    args.allowlist.iter().try_for_each(|given| read(given).map(|bytes| lists.allow.push(bytes)))?;
    args.denylist.iter().try_for_each(|given| read(given).map(|bytes| lists.deny.push(bytes)))?;
    let chains = match (&args.chain, &node) {
        (Some(given), _) => vec![("chain".to_owned(), read(given)?)],
        (None, Some(node)) => own_chains(node)?,
        (None, None) => return Err(Failure::usage("name a chain, or a node by --node")),
    };
    let time = args.time.map_or_else(clock::now, moment)?;
    let ask = Ask { topic: args.topic.as_deref(), usage: args.usage };
    let (lists, warnings) = lists.build();
    warnings.iter().for_each(|warning| tracing::warn!("an entry of a list is skipped: {warning}"));
    let mut refused = Vec::new();
    for (name, chain) in chains {
        let verdict = verify(&chain, ask, &lists, time);
        match (&verdict, args.json) {
            (_, true) => output::line(&line(&verdict, ""))?,
            (Ok(verified), false) => output::line(&told(&name, verified))?,
            (Err(_), false) => {}
        }
        refused.extend(verdict.err().map(|rejected| refusal(&name, &rejected, args.json)));
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Failure::NOT_AUTHORISED, refused.join("\n"))),
    }
}

/// What was told as JSON already isn't told again.
fn refusal(name: &str, rejected: &Rejected, json: bool) -> String {
    let trail = rejected.trail.to_string();
    match (json, trail.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("{name}: {rejected}"),
        (false, false) => format!("{name}: {rejected}\n  {trail}"),
    }
}

fn told(name: &str, verified: &Verified) -> String {
    let kind = if verified.is_self_revocation() { "a key's own revocation" } else { "valid" };
    let expires = expiry(verified.max_age());
    let limits = limits(verified.restrictions());
    format!("{name}: {kind}\n{}\n{limits}\n{}", row("expires", &expires), row("trail", &verified.trail().to_string()))
}

/// One verdict, in the order of fields that the Python tool prints too.
fn line(verdict: &Result<Verified, Rejected>, skipped: &str) -> String {
    let (verified, error) = match verdict {
        Ok(verified) => (Some(verified), None),
        Err(rejected) => (None, Some(format!("{rejected}{skipped}"))),
    };
    let limits = verified.map(Verified::restrictions);
    let fields = [
        ("valid", json!(verified.is_some())),
        ("max_age", verified.map_or(Value::Null, |verified| number(verified.max_age()))),
        ("topics", json!(limits.and_then(|limits| limits.topics().map(texts)))),
        ("usages", json!(limits.and_then(|limits| limits.usages().map(texts)))),
        ("pathlen", json!(limits.and_then(Restrictions::pathlen))),
        ("keys", json!(verified.map(|verified| keys(verified.key())).unwrap_or_default())),
        ("error", json!(error)),
    ];
    object(&fields)
}

// ---- verify --batch

/// One verdict for each line, whatever the line is.
fn batch() -> Result<(), Failure> {
    let mut unreadable = 0_usize;
    for text in io::stdin().lock().lines() {
        let text = text.map_err(|error| Failure::usage(format!("stdin can't be read as lines of text ({error})")))?;
        if text.trim().is_empty() {
            continue;
        }
        let verdict = Case::parse(&text).map(|case| case.verdict());
        unreadable += usize::from(verdict.is_err());
        output::line(&verdict.unwrap_or_else(|why| unread(&why)))?;
    }
    match unreadable {
        0 => Ok(()),
        _ => {
            Err(Failure::usage(format!("{unreadable} lines are no cases; their verdicts say what is wrong with them")))
        }
    }
}

/// A chain, what it must allow, and by what it is judged.
struct Case {
    chain: Vec<u8>,
    topic: Option<String>,
    usage: Option<Usage>,
    lists: Lists,
    time: UnixTime,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let case: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let text = |name: &str| match case.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name} is neither text nor null")),
        };
        let list = |name: &str| match case.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(entries)) => entries.iter().map(|entry| unhex(name, Some(entry))).collect(),
            Some(_) => Err(format!("{name} is no list")),
        };
        let time = case.get("time").and_then(Value::as_f64).ok_or("time is no number")?;
        Ok(Self {
            chain: unhex("chain", case.get("chain"))?,
            topic: text("topic")?,
            usage: text("usage")?.map(|name| usage(&name)).transpose()?,
            lists: Lists { allow: list("allowlist")?, deny: list("denylist")? },
            // before 1970 nothing has expired, as at its beginning
            time: UnixTime::from_secs_f64(time.max(0.0)).ok_or("time is no number")?,
        })
    }

    /// With an error that also says which entries of the lists couldn't be read, since they may be what is missing.
    fn verdict(&self) -> String {
        let ask = Ask { topic: self.topic.as_deref(), usage: self.usage };
        let (lists, warnings) = self.lists.build();
        let skipped = warnings.iter().map(|warning| format!("; an entry of a list is skipped: {warning}"));
        line(&verify(&self.chain, ask, &lists, self.time), &skipped.collect::<String>())
    }
}

fn unhex(name: &str, value: Option<&Value>) -> Result<Vec<u8>, String> {
    let text = value.and_then(Value::as_str).ok_or_else(|| format!("{name} is no text"))?;
    hex::decode(text).map_err(|error| format!("{name} is no hex: {error}"))
}

fn unread(why: &str) -> String {
    let none = ["max_age", "topics", "usages", "pathlen"].map(|name| (name, Value::Null));
    let mut fields = vec![("valid", json!(false))];
    fields.extend(none);
    fields.extend([("keys", json!([])), ("error", json!(why))]);
    object(&fields)
}

// ---- show

fn show(chain: Option<String>, node: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let chains = match (chain, node) {
        (Some(given), _) => vec![("chain".to_owned(), read(&given)?)],
        (None, Some(node)) => own_chains(&config(&node)?)?,
        (None, None) => return Err(Failure::usage("name a chain, or a node by --node")),
    };
    chains.iter().try_for_each(|(name, bytes)| {
        let elements = describe(bytes).map_err(|error| Failure::new(Failure::FAILED, format!("{name}: {error}")))?;
        match json {
            true => output::line(&object(&[
                ("name", json!(name)),
                ("elements", elements.iter().map(element_json).collect()),
            ])),
            false => show_elements(name, &elements),
        }
    })
}

/// A chain; or one unsigned certificate, as lists have them.
fn describe(bytes: &[u8]) -> Result<Vec<(Option<u64>, Certificate)>, ChainError> {
    if let Ok(certificate) = Certificate::decode(bytes) {
        return Ok(vec![(None, certificate)]);
    }
    let element = |Described { signed_by, certificate, .. }| (signed_by.map(|kind| kind.number()), certificate);
    Description::of(bytes).map(|chain| chain.elements.into_iter().map(element).collect())
}

fn show_elements(name: &str, elements: &[(Option<u64>, Certificate)]) -> Result<(), Failure> {
    output::line(&format!("{name}: {} of it, not verified", counted(elements.len(), "element")))?;
    for (index, (signed_by, certificate)) in elements.iter().enumerate() {
        let signature = signed_by.map_or("unsigned".to_owned(), |kind| format!("signature of type {kind}"));
        output::line(&format!("element {index}: {signature}"))?;
        for key in named_keys(certificate.key()) {
            output::line(&row("key", &key))?;
        }
        output::line(&row("expires", &expiry(certificate.max_age())))?;
        output::line(&limits(certificate.restrictions()))?;
        let extras: Vec<String> = certificate.extras().iter().map(|extra| counted(extra.len(), "byte")).collect();
        if !extras.is_empty() {
            output::line(&row("extras", &extras.join(", ")))?;
        }
        for (expression, construct) in certificate.restrictions().unusable_expressions() {
            let expression = expression.escape_ascii();
            output::line(&row("warning", &format!("{expression} matches nothing because of {construct}")))?;
        }
    }
    Ok(())
}

fn element_json((signed_by, certificate): &(Option<u64>, Certificate)) -> Value {
    let limits = certificate.restrictions();
    let unusable: Vec<_> = limits.unusable_expressions().into_iter().map(|(entry, _)| text(entry)).collect();
    json!({
        "signed_by": signed_by,
        "max_age": number(certificate.max_age()),
        "topics": limits.topics().map(texts),
        "usages": limits.usages().map(texts),
        "pathlen": limits.pathlen(),
        "keys": keys(certificate.key()),
        "key_kinds": kinds(certificate.key()),
        "extras": certificate.extras().iter().map(hex::encode).collect::<Vec<_>>(),
        "unusable": unusable,
    })
}

// ---- what is given

#[derive(Default)]
struct Lists {
    allow: Vec<Vec<u8>>,
    deny: Vec<Vec<u8>>,
}

impl Lists {
    /// Entries that can't be read are skipped; the second part says why.
    fn build(&self) -> (TrustLists, Vec<ChainError>) {
        TrustLists::new(self.allow.iter().map(Vec::as_slice), self.deny.iter().map(Vec::as_slice))
    }
}

fn usage(name: &str) -> Result<Usage, String> {
    let known = Usage::ALL.map(Usage::name).join(", ");
    Usage::from_name(name).ok_or_else(|| format!("no usage is called {name:?}; there are {known}"))
}

fn moment(seconds: f64) -> Result<UnixTime, Failure> {
    let message = "--time takes seconds since 1970, such as 1800000000";
    UnixTime::from_secs_f64(seconds).ok_or_else(|| Failure::usage(message))
}

fn config(path: &Path) -> Result<NodeConfig, Failure> {
    let shown = path.display();
    let failed = |error| format!("{shown} can't be read ({error}); check the path and who may read it");
    let bytes = std::fs::read(path).map_err(|error| Failure::configuration(failed(error)))?;
    NodeConfig::from_bytes(&bytes).map_err(|error| Failure::configuration(format!("{shown}: {error}")))
}

fn own_chains(node: &NodeConfig) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let chains = stored(node, "chains").into_iter().map(|(name, bytes)| Ok((name.clone(), named(&name, bytes)?)));
    let chains: Vec<_> = chains.collect::<Result<_, Failure>>()?;
    match chains.is_empty() {
        true => Err(Failure::configuration("the config holds no chain; provision the node first")),
        false => Ok(chains),
    }
}

fn stored(node: &NodeConfig, section: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let bytes = |entry: Entry| {
        let bytes = entry.value.ok().and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
        (entry.name.escape_debug().to_string(), bytes)
    };
    node.entries(section).into_iter().map(bytes).collect()
}

fn named(name: &str, bytes: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
    bytes.ok_or_else(|| Failure::configuration(format!("{name} in the config is no bytes; restore it from a backup")))
}

// ---- what is told

fn row(label: &str, value: &str) -> String {
    format!("  {label:<12}{value}")
}

fn limits(limits: &Restrictions) -> String {
    let list = |list: Option<&[Vec<u8>]>| list.map_or_else(|| "not limited".to_owned(), |list| shown(list).join(", "));
    let length = limits.pathlen().map_or_else(|| "not limited".to_owned(), |length| length.to_string());
    let rows = [("topics", list(limits.topics())), ("usages", list(limits.usages())), ("path length", length)];
    rows.map(|(label, value)| row(label, &value)).join("\n")
}

fn expiry(time: UnixTime) -> String {
    if time == UnixTime::ZERO { "never".to_owned() } else { clock::utc(time) }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn keys(key: &LeafKey) -> Vec<String> {
    match key {
        LeafKey::Keys(keys) => keys.iter().map(|key| hex::encode(key.to_bytes())).collect(),
        single => vec![hex::encode(single.to_bytes())],
    }
}

/// What each key is: as `signing type 4`, `x25519+mlkem1024 offer`.
fn kinds(key: &LeafKey) -> Vec<String> {
    let signing = |key: &SigningPublicKey| format!("signing type {}", key.signing_type().number());
    let exchange = |key: &ExchangeKey| match key {
        ExchangeKey::Bare(_) => "x25519".to_owned(),
        ExchangeKey::Offer(offer) => format!("{} offer", offer.scheme()),
        ExchangeKey::Answer(answer) => format!("{} answer", answer.scheme()),
    };
    let listed = |key: &ListedKey| match key {
        ListedKey::Signing(key) => signing(key),
        ListedKey::Exchange(key) => exchange(key),
        ListedKey::Bare(_) => "x25519".to_owned(),
        ListedKey::Unknown { version, .. } => format!("unknown version {version}"),
        ListedKey::Malformed { version, .. } => format!("malformed version {version}"),
    };
    match key {
        LeafKey::Signing(key) => vec![signing(key)],
        LeafKey::Bare(_) => vec![BARE.to_owned()],
        LeafKey::Keys(keys) => keys.iter().map(listed).collect(),
    }
}

/// For people; of a long key only the beginning.
fn named_keys(key: &LeafKey) -> Vec<String> {
    let short = |hex: String| match hex.get(..160) {
        Some(head) => format!("{head}… ({} bytes)", hex.len() / 2),
        None => hex,
    };
    let row = |(kind, hex)| if kind == BARE { hex } else { format!("{kind}: {}", short(hex)) };
    kinds(key).into_iter().zip(keys(key)).map(row).collect()
}

/// For terminals: escaped.
fn shown(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|entry| entry.escape_ascii().to_string()).collect()
}

fn texts(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|entry| text(entry)).collect()
}

fn text(entry: &[u8]) -> String {
    String::from_utf8_lossy(entry).into_owned()
}

/// Whole seconds without a fraction.
fn number(time: UnixTime) -> Value {
    let seconds = time.as_secs_f64();
    let whole = (seconds.fract() == 0.0 && seconds < 1e15).then(|| json!(time.as_millis() / 1000));
    whole.unwrap_or_else(|| json!(seconds))
}

/// An object whose fields keep their order.
fn object(fields: &[(&str, Value)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// A signing key of type 1, but for the oldest requests, which have an X25519 key there.
const BARE: &str = "32 bare bytes";
const AFTER_VERIFY: &str = "\
Examples:
  kafkacrypto chain verify --node sensor-1.config
  kafkacrypto chain verify chain.bin --node sensor-1.config --topic lab --usage key-encrypt
  kafkacrypto chain verify 92c4… --allowlist 9300c40190c420… --time 1800000000 --json
  kafkacrypto chain verify --batch < cases.jsonl

A case of --batch, on one line, and its verdict:
  {\"chain\": hex, \"topic\": text|null, \"usage\": text|null, \"allowlist\": [hex…], \"denylist\": [hex…], \"time\": number}
  {\"valid\": bool, \"max_age\": number|null, \"topics\": […]|null, \"usages\": […]|null, \"pathlen\": int|null, \"keys\": [hex…], \"error\": text|null}";

const AFTER_SHOW: &str = "\
Examples:
  kafkacrypto chain show --node sensor-1.config
  kafkacrypto chain show chain.bin --json";
