//! Whole key exchanges of the Python implementation, judged in both directions: every row of every `exchanges*.json` of the
//! vectors. We accept their reply with the requester's ephemeral secrets, and answer their request so that we accept that.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Ask, LeafKey, TrustLists, Usage, Verified, append, verify};
use kafkacrypto::exchange::{Opened, Reply, Request, reply_leaf};
use kafkacrypto::keys::{Ephemeral, KeyIndex, Scheme};
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

#[test]
fn vectors_exchanges() {
    let files = files();
    if files.is_empty() {
        return support::skipped("no exchanges*.json among the vectors");
    }
    for file in files {
        let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        println!("{}: {} rows", file.display(), rows.len());
        rows.iter().enumerate().for_each(|(number, row)| judge(number, row));
    }
}

fn judge(number: usize, row: &Row) {
    let what = format!("row {number}, type {}, versions {:?}", row.signing_type, row.versions);
    accept_theirs(row).unwrap_or_else(|fault| panic!("{what}: their reply: {fault}"));
    answer_theirs(row).unwrap_or_else(|fault| panic!("{what}: our answer: {fault}"));
}

/// Their reply, opened with the ephemeral secrets of their requester.
fn accept_theirs(row: &Row) -> Result<(), String> {
    let verified = verified(row, &bytes(&row.reply), Usage::Encrypt)?;
    let reply = Reply::from_verified(&verified).map_err(|error| error.to_string())?;
    let mine = ephemerals(row);
    compare(row, reply.open(&Root::new(&row.root_topic), &mine).map_err(|error| error.to_string())?)
}

/// Our answer to their request, signed with their answerer's keys and accepted by our own rules.
fn answer_theirs(row: &Row) -> Result<(), String> {
    let theirs = verified(row, &bytes(&row.request), Usage::EncryptRequest)?;
    let request = Request::from_verified(&theirs).map_err(|error| error.to_string())?;
    if row.legacy_request != matches!(theirs.key(), LeafKey::Bare(_)) {
        return Err("the legacy form isn't what it is said to be".into());
    }
    let all = [Scheme::X25519MlKem1024, Scheme::X25519Sntrup761, Scheme::X25519];
    let crypto = KeyFile::decode(&bytes(&row.answerer.crypto)).unwrap();
    let (_, signer) = crypto.signing_keys(None).next().ok_or("no signing key")?;
    let root = Root::new(&row.root_topic);
    let keys: Vec<(KeyIndex, Secret<32>)> = row.keys.iter().map(pair).collect();
    let pairs: Vec<_> = keys.iter().map(|(index, secret)| (index, secret)).collect();
    let expires = UnixTime::from_secs_f64(row.time + 3600.0).unwrap();
    let leaf = reply_leaf(expires, &root, &request, &all, &pairs, &mut UnwrapErr(SysRng)).unwrap().leaf;
    let ours = append(&bytes(&row.answerer.chain), &signer.sign(&leaf)).unwrap();
    let verified = verified(row, &ours, Usage::Encrypt)?;
    let reply = Reply::from_verified(&verified).map_err(|error| error.to_string())?;
    let theirs = Reply::from_verified(&self::verified(row, &bytes(&row.reply), Usage::Encrypt)?);
    if theirs.is_ok_and(|theirs| theirs.random0() != reply.random0()) {
        return Err("our answer names another request than theirs".into());
    }
    let mine = ephemerals(row);
    compare(row, reply.open(&root, &mine).map_err(|error| error.to_string())?)
}

fn verified(row: &Row, chain: &[u8], usage: Usage) -> Result<Verified, String> {
    let allow: Vec<Vec<u8>> = row.allowlist.iter().map(|entry| bytes(entry)).collect();
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    assert!(warnings.is_empty(), "{warnings:?}");
    let ask = Ask { topic: Some(&row.root_topic), usage: Some(usage) };
    verify(chain, ask, &lists, UnixTime::from_secs_f64(row.time).unwrap()).map_err(|rejected| rejected.to_string())
}

fn compare(row: &Row, opened: Opened) -> Result<(), String> {
    let wanted: Vec<(KeyIndex, Secret<32>)> = row.keys.iter().map(pair).collect();
    let same = |(ours, theirs): (&(KeyIndex, Secret<32>), &(KeyIndex, Secret<32>))| {
        ours.0 == theirs.0 && ours.1.same_as(&theirs.1)
    };
    let agreed =
        opened.malformed == 0 && opened.pairs.len() == wanted.len() && opened.pairs.iter().zip(&wanted).all(same);
    agreed.then_some(()).ok_or_else(|| format!("other keys: {:?}", opened.pairs))
}

/// The requester's keys, from their secret halves.
fn ephemerals(row: &Row) -> Vec<Ephemeral> {
    let part = |halves: &BTreeMap<String, String>, name| bytes(halves.get(name).map_or("", String::as_str));
    let key = |(version, halves): (&String, &BTreeMap<String, String>)| {
        let scheme = Scheme::from_offer_version(version.parse().unwrap()).unwrap();
        let x25519 = Secret::from_slice(&part(halves, "x25519")).unwrap();
        Ephemeral::from_secrets(scheme, x25519, &part(halves, "kem_secret")).unwrap()
    };
    row.requester.ephemeral.iter().map(key).collect()
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
