//! Every chain in every `chains*.jsonl` of the vectors, with the verdict of the Python implementation: agreement in every
//! row, but where we differ on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kafkacrypto::chain::{
    Ask, Certificate, ChainError, Description, LeafKey, ListedKey, TEMPORARY_ROOT, TrustLists, Usage, Verified, verify,
};
use kafkacrypto::keys::SigningPublicKey;
use kafkacrypto::time::UnixTime;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    chain: String,
    topic: Option<String>,
    usage: Option<String>,
    allowlist: Vec<String>,
    denylist: Vec<String>,
    time: f64,
    valid: bool,
    max_age: Option<f64>,
    topics: Option<Vec<String>>,
    usages: Option<Vec<String>>,
    pathlen: Option<serde_json::Number>,
    keys: Option<Vec<String>>,
    error: Option<String>,
}

enum Outcome {
    Agrees,
    Differs(&'static str),
    Wrong(String),
}

#[test]
fn vectors_chains() {
    let files = files();
    assert!(!files.is_empty(), "no chains*.jsonl in {}", folder().display());
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut tally: BTreeMap<String, usize> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let row: Row = serde_json::from_str(line).unwrap();
            let outcome = match judge(&row) {
                Outcome::Agrees => "agrees".to_owned(),
                Outcome::Differs(why) => format!("differs on purpose: {why}"),
                Outcome::Wrong(what) => {
                    wrong.push(format!("{}:{}: {what}; Python: {:?}", file.display(), number + 1, row.error));
                    "WRONG".to_owned()
                }
            };
            *tally.entry(outcome).or_default() += 1;
        }
        println!("{}: {tally:#?}", file.display());
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn judge(row: &Row) -> Outcome {
    let bytes = |texts: &[String]| texts.iter().map(|text| hex::decode(text).unwrap()).collect::<Vec<_>>();
    let (allow, deny) = (bytes(&row.allowlist), bytes(&row.denylist));
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
    let usage = row.usage.as_deref().map(|name| Usage::from_name(name).expect("a usage of the protocol"));
    let ask = Ask { topic: row.topic.as_deref(), usage };
    let time = UnixTime::from_secs_f64(row.time).unwrap();
    match verify(&hex::decode(&row.chain).unwrap(), ask, &lists, time) {
        Ok(verified) if row.valid => compare(row, &verified),
        Ok(_) => more_lenient(row, &warnings),
        Err(_) if !row.valid => Outcome::Agrees,
        Err(rejected) => stricter(row, &rejected.reason, &warnings),
    }
}

/// Why we refuse what Python takes.
fn stricter(row: &Row, reason: &ChainError, warnings: &[ChainError]) -> Outcome {
    let form = |reason: &ChainError| match reason {
        ChainError::MaxAge => Some("an expiry that isn't a time"),
        ChainError::Restriction(_) => Some("a restriction twice or of another form"),
        ChainError::UsageExpression => Some("an expression among usages"),
        ChainError::KeyForm(what) => Some(*what),
        ChainError::TooLong { .. } => Some("longer than the limits"),
        _ => None,
    };
    let lists = matches!(row.usage.as_deref(), Some("key-allowlist" | "key-denylist"));
    let newline = row.topic.as_ref().is_some_and(|topic| topic.ends_with('\n'));
    let why = match reason {
        ChainError::Denied { .. } if lists_a_root(row) => Some("keys in a leaf's list don't outweigh a revocation"),
        ChainError::NoUsableKey => Some("a list without a key exchange key"),
        ChainError::TopicNotAllowed { .. } if newline => Some("$ before a newline"),
        ChainError::TopicNotAllowed { .. } if has_unusable_expression(row) => Some("an expression that isn't accepted"),
        _ if is_self_revocation(row) && row.usage.is_none() => Some("a self-revocation where none is asked"),
        _ if lists && is_temporary(row) => Some("the temporary root changes no lists"),
        _ => form(reason).or_else(|| warnings.iter().find_map(form)),
    };
    why.map_or_else(|| Outcome::Wrong(format!("we refuse: {reason}")), Outcome::Differs)
}

/// Why we take what Python refuses.
fn more_lenient(row: &Row, warnings: &[ChainError]) -> Outcome {
    let unknown = |key: &ListedKey| matches!(key, ListedKey::Unknown { .. });
    match leaf_list(row) {
        _ if !warnings.is_empty() => Outcome::Differs("a malformed list entry is skipped"),
        _ if has_unusable_expression(row) => {
            Outcome::Differs("an expression that Python can't compile matches nothing")
        }
        Some(keys) if keys.iter().any(unknown) => Outcome::Differs("a key of an unknown version is skipped"),
        _ => Outcome::Wrong("we accept".to_owned()),
    }
}

fn certificates(row: &Row) -> Vec<Certificate> {
    let chain = Description::of(&hex::decode(&row.chain).unwrap());
    let chain = chain.into_iter().flat_map(|chain| chain.elements).map(|element| element.certificate);
    chain
        .chain(row.allowlist.iter().filter_map(|entry| Certificate::decode(&hex::decode(entry).unwrap()).ok()))
        .collect()
}

fn has_unusable_expression(row: &Row) -> bool {
    certificates(row).iter().any(|certificate| !certificate.restrictions().unusable_expressions().is_empty())
}

fn is_temporary(row: &Row) -> bool {
    let key = Some(SigningPublicKey::Ed25519(TEMPORARY_ROOT));
    certificates(row).iter().any(|certificate| certificate.key().signing_key() == key)
}

fn is_self_revocation(row: &Row) -> bool {
    Description::of(&hex::decode(&row.chain).unwrap()).is_ok_and(|chain| chain.elements[0].signed_by.is_none())
}

fn leaf_list(row: &Row) -> Option<Vec<ListedKey>> {
    match Description::of(&hex::decode(&row.chain).unwrap()).ok()?.elements.last()?.certificate.key() {
        LeafKey::Keys(keys) => Some(keys.clone()),
        _ => None,
    }
}

/// Whether the leaf lists a key of the allowlist among others.
fn lists_a_root(row: &Row) -> bool {
    let listed = |key: &ListedKey| row.allowlist.iter().any(|entry| entry.contains(&hex::encode(key.to_bytes())));
    leaf_list(row).is_some_and(|keys| keys.iter().any(listed))
}

fn compare(row: &Row, verified: &Verified) -> Outcome {
    let texts = |list: Option<&[Vec<u8>]>| {
        list.map(|list| list.iter().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect::<Vec<_>>())
    };
    let limits = verified.restrictions();
    let ours = (verified.max_age().as_secs_f64(), texts(limits.topics()), texts(limits.usages()), limits.pathlen());
    let theirs = (
        row.max_age.unwrap(),
        row.topics.clone(),
        row.usages.clone(),
        row.pathlen.as_ref().and_then(serde_json::Number::as_i64),
    );
    if ours != theirs {
        return Outcome::Wrong(format!("{ours:?} is not {theirs:?}"));
    }
    let (ours, theirs) = (keys(verified.key()), row.keys.clone().unwrap_or_default());
    if ours == theirs {
        return Outcome::Agrees;
    }
    // verified leaves list exchange keys only, and whole ones
    let usable = leaf_list(row).unwrap_or_default().into_iter().filter(|key| key.exchange_key().is_some());
    let usable: Vec<String> = usable.map(|key| hex::encode(key.to_bytes())).collect();
    let kept: Vec<&String> = theirs.iter().filter(|key| usable.contains(key)).collect();
    match kept == ours.iter().collect::<Vec<_>>() {
        true => Outcome::Differs("what is no exchange key is dropped from a list"),
        false => Outcome::Wrong(format!("keys {ours:?} are not {theirs:?}")),
    }
}

fn keys(key: &LeafKey) -> Vec<String> {
    match key {
        LeafKey::Keys(keys) => keys.iter().map(|key| hex::encode(key.to_bytes())).collect(),
        single => vec![hex::encode(single.to_bytes())],
    }
}

fn folder() -> PathBuf {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::env::var_os("KAFKACRYPTO_VECTORS").map_or(copy, PathBuf::from)
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.retain(|path| name(path).starts_with("chains") && name(path).ends_with(".jsonl"));
    files.sort();
    files
}
