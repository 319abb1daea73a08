use std::path::{Path, PathBuf};

use clap::Args;
use kafkacrypto::chain::{Ask, Certificate, Restrictions, TrustLists, verify};
use kafkacrypto::keys::{RatchetState, Scheme};
use kafkacrypto::provision::{EscrowKey, EscrowPublicKey};
use kafkacrypto::runtime::resolve;
use kafkacrypto::store::config::{Entry, NodeConfig};
use kafkacrypto::store::{KeyFile, KeyFileWarning};
use kafkacrypto::time::UnixTime;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::{clock, output};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct InfoArgs {
    /// NODE.config (its key file is shown too), NODE.crypto, or an escrow key
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is told of a file: for people and for programs.
struct Told {
    lines: Vec<(String, String)>,
    json: Value,
}

pub(crate) fn run(InfoArgs { file, json }: InfoArgs) -> Result<(), Failure> {
    let bytes = read(&file)?;
    let told = match (EscrowKey::from_bytes(&bytes), is_message_pack(&bytes)) {
        (Ok(key), _) => escrow_key(&file, &key.public()),
        (Err(_), true) => key_file(&file, &bytes)?,
        (Err(_), false) => config(&file, &bytes)?,
    };
    if json {
        return output::line(&told.json.to_string());
    }
    let width = told.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    told.lines.iter().try_for_each(|(label, text)| output::line(&format!("{label:width$}  {text}")))
}

// ---- keys

fn escrow_key(path: &Path, public: &EscrowPublicKey) -> Told {
    let (version, scheme) = (public.scheme().offer_version(), public.scheme());
    let told = |label: &str, text: String| (label.to_owned(), text);
    let lines = vec![
        told("escrow key", path.display().to_string()),
        told("  version", format!("{version} ({scheme})")),
        told("  name", public.to_string()),
        told("  public", hex::encode(public.to_bytes())),
    ];
    let json = json!({"escrow_key": path.display().to_string(), "version": version, "scheme": scheme.to_string(),
        "public": hex::encode(public.to_bytes())});
    Told { lines, json }
}

fn key_file(path: &Path, bytes: &[u8]) -> Result<Told, Failure> {
    if RatchetState::decode(bytes).is_ok() {
        let path = path.display();
        let message = format!("{path} is a seed file, which holds nothing but a secret; name a .crypto or a .config");
        return Err(Failure::usage(message));
    }
    let file = KeyFile::decode(bytes).map_err(|error| unusable(path, &error))?;
    let mut lines = vec![("key file".to_owned(), path.display().to_string())];
    let keys: Vec<_> = file.public_keys(None).collect();
    for (index, key) in &keys {
        let kind = key.signing_type();
        lines.push((format!("  key {index}"), format!("type {} {}", kind.number(), hex::encode(key.to_bytes()))));
    }
    lines.push(("  exchange versions".into(), versions(&file).join(", ")));
    lines.push(("  oldest requests".into(), if file.legacy() { "sent too" } else { "not sent" }.into()));
    lines.extend(unknown_keys(&file).map(|text| ("  unused".to_owned(), text)));
    let keys: Vec<_> = (keys.iter())
        .map(|(index, key)| json!({"index": index, "type": key.signing_type().number(), "public": hex::encode(key.to_bytes())}))
        .collect();
    let json = json!({
        "key_file": path.display().to_string(),
        "keys": keys,
        "versions": file.versions(),
        "legacy": file.legacy(),
        "upgrade": file.needs_upgrade(),
        "warnings": file.warnings().iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    Ok(Told { lines, json })
}

fn versions(file: &KeyFile) -> Vec<String> {
    let spelled = |version: &u64| match Scheme::from_offer_version(*version) {
        None => format!("{version} (unknown)"),
        Some(scheme) => format!("{version} ({scheme})"),
    };
    file.versions().iter().map(spelled).collect()
}

fn unknown_keys(file: &KeyFile) -> impl Iterator<Item = String> {
    let unknown = |warning: &KeyFileWarning| matches!(warning, KeyFileWarning::UnknownSigningType(_));
    file.warnings().into_iter().filter(unknown).map(|warning| warning.to_string())
}

// ---- the config

fn config(path: &Path, bytes: &[u8]) -> Result<Told, Failure> {
    let config = NodeConfig::from_bytes(bytes).map_err(|error| unusable(path, &error))?;
    let settings = config.settings().map_err(|error| unusable(path, &error))?;
    let (key, seed) = (named(path, settings.key_file), named(path, settings.seed_file));
    let kafka = |name| config.text("kafka", name).map_err(|error| unusable(path, &error));
    let (servers, protocol) = (kafka("bootstrap_servers")?, kafka("security_protocol")?);
    let sealed = config.text("crypto", "oldkeys").map_err(|error| unusable(path, &error))?.is_some();
    let mut told =
        Told { lines: vec![("node".into(), config.node_id().escape_debug().to_string())], json: Value::Null };
    told.line("  config", path.display());
    told.line("  brokers", servers.as_deref().filter(|text| !text.is_empty()).unwrap_or("none yet").escape_debug());
    told.line("  protocol", protocol.as_deref().unwrap_or("PLAINTEXT").escape_debug());
    told.line("  old keys", if sealed { "some, sealed" } else { "none" });
    told.line("  seed file", shown(seed.as_deref()));
    let chains = told.chains(&config, clock::now()?);
    let (allowed, denied) = (told.list(&config, "allowlist"), told.list(&config, "denylist"));
    let keys = told.keys(key.as_deref());
    told.json = json!({
        "node": config.node_id(),
        "config": path.display().to_string(),
        "key_file": key.map(|path| path.display().to_string()),
        "seed_file": seed.map(|path| path.display().to_string()),
        "keytypes": settings.key_types,
        "bootstrap_servers": servers,
        "security_protocol": protocol,
        "oldkeys": sealed,
        "chains": chains,
        "allowlist": allowed,
        "denylist": denied,
        "keys": keys,
    });
    Ok(told)
}

impl Told {
    fn line(&mut self, label: &str, text: impl ToString) {
        self.lines.push((label.to_owned(), text.to_string()));
    }

    /// Our own chains, judged by our own lists.
    fn chains(&mut self, config: &NodeConfig, now: UnixTime) -> Vec<Value> {
        let (allow, deny) = (certificates(config, "allowlist"), certificates(config, "denylist"));
        let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
        let judge = |entry: Entry| {
            let bytes = entry.value.ok().and_then(|value| value.as_bytes().map(<[u8]>::to_vec)).unwrap_or_default();
            (entry.name, verify(&bytes, Ask::nothing(), &lists, now))
        };
        let judged: Vec<_> = config.entries("chains").into_iter().map(judge).collect();
        let mut told = Vec::new();
        for (name, verdict) in judged {
            match verdict {
                Ok(chain) => {
                    let limits = chain.restrictions();
                    self.line(&format!("  {name}"), format!("{}, {}", until(chain.max_age()), allowed(limits)));
                    told.push(json!({"name": name, "valid": true, "expires": chain.max_age().as_secs_f64(),
                        "topics": limits.topics().map(texts), "usages": limits.usages().map(texts), "pathlen": limits.pathlen()}));
                }
                Err(rejected) => {
                    self.line(&format!("  {name}"), format!("not valid: {rejected}"));
                    told.push(json!({"name": name, "valid": false, "error": rejected.to_string()}));
                }
            }
        }
        told
    }

    fn list(&mut self, config: &NodeConfig, section: &str) -> Vec<Value> {
        let mut told = Vec::new();
        for entry in config.entries(section) {
            let certificate = entry.value.ok().and_then(|value| Certificate::decode(value.as_bytes()?).ok());
            let key = certificate.as_ref().and_then(|certificate| certificate.key().signing_key());
            let (Some(certificate), Some(key)) = (certificate, key) else {
                self.line(&format!("  {section}"), format!("{}: not a certificate of a signing key", entry.name));
                told.push(json!({"name": entry.name, "key": null}));
                continue;
            };
            let (hex, expires) = (hex::encode(key.to_bytes()), certificate.max_age());
            self.line(&format!("  {section}"), format!("{} {hex}, {}", entry.name, until(expires)));
            told.push(json!({"name": entry.name, "key": hex, "expires": expires.as_secs_f64()}));
        }
        told
    }

    /// The config's key file; one that can't be read is no reason to hide the config.
    fn keys(&mut self, path: Option<&Path>) -> Value {
        let Some(path) = path else { return Value::Null };
        match read(path).and_then(|bytes| key_file(path, &bytes)) {
            Ok(keys) => {
                self.lines.extend(keys.lines);
                keys.json
            }
            Err(failure) => {
                self.line("key file", &failure.message);
                json!({"key_file": path.display().to_string(), "error": failure.message})
            }
        }
    }
}

fn certificates(config: &NodeConfig, section: &str) -> Vec<Vec<u8>> {
    let bytes = |entry: Entry| entry.value.ok()?.as_bytes().map(<[u8]>::to_vec);
    config.entries(section).into_iter().filter_map(bytes).collect()
}

fn named(config: &Path, file: Option<String>) -> Option<PathBuf> {
    file.map(|file| resolve(config, &file))
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "none; provision the node first".to_owned(), |path| path.display().to_string())
}

fn until(time: UnixTime) -> String {
    if time == UnixTime::ZERO { "never expires".to_owned() } else { format!("until {}", clock::utc(time)) }
}

fn allowed(limits: &Restrictions) -> String {
    let list = |list: Option<&[Vec<u8>]>| list.map_or_else(|| "none named".to_owned(), |list| texts(list).join(", "));
    let length = limits.pathlen().map_or_else(|| "any".to_owned(), |length| length.to_string());
    format!("usages {}, topics {}, path length {length}", list(limits.usages()), list(limits.topics()))
}

fn texts(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|text| text.escape_ascii().to_string()).collect()
}

// ---- files

/// Key files and seeds are MessagePack arrays; no text begins with such a byte.
pub(super) fn is_message_pack(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| matches!(first, 0x90..=0x9f | 0xdc | 0xdd))
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| format!("{} can't be read ({error}); check the path and who may read it", path.display());
    std::fs::read(path).map(Zeroizing::new).map_err(|error| Failure::configuration(failed(error)))
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::configuration(format!("{}: {error}", path.display()))
}

const AFTER_HELP: &str = "\
Examples:
  kafkacrypto key info sensor-1.config
  kafkacrypto key info --json sensor-1.crypto
  kafkacrypto key info escrow.key";
