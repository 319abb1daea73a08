//! Whole key exchanges of the Python implementation, judged in both directions: every row of every `exchanges*.json` of the
//! vectors. We accept their reply with the requester's ephemeral secrets, and answer their request so that we accept that.
//!
//! A direction that takes a signing type or a scheme that isn't built yet is counted and printed as `NOT BUILT`.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Ask, ChainError, LeafKey, ListedKey, TrustLists, Usage, Verified, append, verify};
use kafkacrypto::exchange::{Opened, Reply, Request, reply_leaf};
use kafkacrypto::keys::{Ephemeral, ExchangeKey, KeyIndex, Scheme};
use kafkacrypto::secret::Secret;
use kafkacrypto::store::KeyFile;
use kafkacrypto::time::UnixTime;
use kafkacrypto::topic::Root;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    signing_type: u64,
    versions: Vec<u64>,
    legacy_request: bool,
    root_topic: String,
    time: f64,
    allowlist: Vec<String>,
    requester: Side,
    answerer: Side,
    request: String,
    reply: String,
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Side {
    crypto: String,
    chain: String,
    /// By version: the requester's secret halves.
    #[serde(default)]
    ephemeral: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Key {
    index: String,
    secret: String,
}

/// What became of one direction of a row.
#[derive(Debug, PartialEq)]
enum Outcome {
    Agreed,
    NotBuilt,
}

#[test]
fn vectors_exchanges() {
    let files = files();
    if files.is_empty() {
        return support::skipped("no exchanges*.json among the vectors");
    }
    for file in files {
        let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let outcomes: Vec<Outcome> = rows.iter().enumerate().flat_map(|(number, row)| judge(number, row)).collect();
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        let (agreed, not_built) = (count(Outcome::Agreed), count(Outcome::NotBuilt));
        println!("{}: {} rows, {agreed} directions agreed, NOT BUILT {not_built}", file.display(), rows.len());
        let classical = rows.iter().any(|row| row.signing_type == 1 && row.versions == [1]);
        assert!(!classical || agreed > 0, "{}: nothing was tried", file.display());
    }
}

fn judge(number: usize, row: &Row) -> [Outcome; 2] {
    let what = format!("row {number}, type {}, versions {:?}", row.signing_type, row.versions);
    let ours = accept_theirs(row).unwrap_or_else(|fault| panic!("{what}: their reply: {fault}"));
    let theirs = answer_theirs(row).unwrap_or_else(|fault| panic!("{what}: our answer: {fault}"));
    println!("{what}: their reply {ours:?}, our answer {theirs:?}");
    [ours, theirs]
}

/// Their reply, opened with the ephemeral secrets of their requester.
fn accept_theirs(row: &Row) -> Result<Outcome, String> {
    let Some(verified) = verified(row, &bytes(&row.reply), Usage::Encrypt)? else { return Ok(Outcome::NotBuilt) };
    if !answer_scheme(&verified).is_some_and(Scheme::is_built) {
        return Ok(Outcome::NotBuilt);
    }
    let reply = Reply::from_verified(&verified).map_err(|error| error.to_string())?;
    let mine: Vec<Ephemeral> = ephemeral(row).into_iter().collect();
    compare(row, reply.open(&Root::new(&row.root_topic), &mine).map_err(|error| error.to_string())?)
}

/// Our answer to their request, signed with their answerer's keys and accepted by our own rules.
fn answer_theirs(row: &Row) -> Result<Outcome, String> {
    let Some(theirs) = verified(row, &bytes(&row.request), Usage::EncryptRequest)? else {
        return Ok(Outcome::NotBuilt);
    };
    let request = Request::from_verified(&theirs).map_err(|error| error.to_string())?;
    if row.legacy_request != matches!(theirs.key(), LeafKey::Bare(_)) {
        return Err("the legacy form isn't what it is said to be".into());
    }
    let built: Vec<Scheme> = [Scheme::X25519MlKem1024, Scheme::X25519Sntrup761, Scheme::X25519]
        .into_iter()
        .filter(|scheme| scheme.is_built())
        .collect();
    let crypto = KeyFile::decode(&bytes(&row.answerer.crypto)).unwrap();
    let (Ok(_), Some((_, signer))) = (request.choose(&built), crypto.signing_keys(None).next()) else {
        return Ok(Outcome::NotBuilt);
    };
    let root = Root::new(&row.root_topic);
    let keys: Vec<(KeyIndex, Secret<32>)> = row.keys.iter().map(pair).collect();
    let pairs: Vec<_> = keys.iter().map(|(index, secret)| (index, secret)).collect();
    let expires = UnixTime::from_secs_f64(row.time + 3600.0).unwrap();
    let leaf = reply_leaf(expires, &root, &request, &built, &pairs, &mut UnwrapErr(SysRng)).unwrap().leaf;
    let ours = append(&bytes(&row.answerer.chain), &signer.sign(&leaf)).unwrap();
    let Some(verified) = verified(row, &ours, Usage::Encrypt)? else { return Ok(Outcome::NotBuilt) };
    let reply = Reply::from_verified(&verified).map_err(|error| error.to_string())?;
    let theirs = Reply::from_verified(&self::verified(row, &bytes(&row.reply), Usage::Encrypt)?.unwrap());
    if theirs.is_ok_and(|theirs| theirs.random0() != reply.random0()) {
        return Err("our answer names another request than theirs".into());
    }
    let mine: Vec<Ephemeral> = ephemeral(row).into_iter().collect();
    compare(row, reply.open(&root, &mine).map_err(|error| error.to_string())?)
}

/// `None` if it takes a signing type that isn't built.
fn verified(row: &Row, chain: &[u8], usage: Usage) -> Result<Option<Verified>, String> {
    let allow: Vec<Vec<u8>> = row.allowlist.iter().map(|entry| bytes(entry)).collect();
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    assert!(warnings.is_empty(), "{warnings:?}");
    let ask = Ask { topic: Some(&row.root_topic), usage: Some(usage) };
    match verify(chain, ask, &lists, UnixTime::from_secs_f64(row.time).unwrap()) {
        Ok(verified) => Ok(Some(verified)),
        Err(rejected) if matches!(rejected.reason, ChainError::NotBuilt(_)) => Ok(None),
        Err(rejected) => Err(rejected.to_string()),
    }
}

fn compare(row: &Row, opened: Opened) -> Result<Outcome, String> {
    let wanted: Vec<(KeyIndex, Secret<32>)> = row.keys.iter().map(pair).collect();
    let same = |(ours, theirs): (&(KeyIndex, Secret<32>), &(KeyIndex, Secret<32>))| {
        ours.0 == theirs.0 && ours.1.same_as(&theirs.1)
    };
    let agreed =
        opened.malformed == 0 && opened.pairs.len() == wanted.len() && opened.pairs.iter().zip(&wanted).all(same);
    agreed.then_some(Outcome::Agreed).ok_or_else(|| format!("other keys: {:?}", opened.pairs))
}

fn answer_scheme(verified: &Verified) -> Option<Scheme> {
    let LeafKey::Keys(listed) = verified.key() else { return Some(Scheme::X25519) };
    listed.iter().find_map(|key| match key {
        ListedKey::Bare(_) | ListedKey::Exchange(ExchangeKey::Bare(_)) => Some(Scheme::X25519),
        ListedKey::Exchange(ExchangeKey::Answer(answer)) => Some(answer.scheme()),
        _ => None,
    })
}

/// The requester's key of version 1, if it offered one.
fn ephemeral(row: &Row) -> Option<Ephemeral> {
    let secret = row.requester.ephemeral.get("1")?.get("x25519")?;
    Some(Ephemeral::from_x25519(Secret::from_slice(&bytes(secret)).unwrap()))
}

fn pair(key: &Key) -> (KeyIndex, Secret<32>) {
    (KeyIndex::long(&bytes(&key.index)).unwrap(), Secret::from_slice(&bytes(&key.secret)).unwrap())
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(support::vectors()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files.retain(|path| name(path).starts_with("exchanges") && name(path).ends_with(".json"));
    files.sort();
    files
}
