//! Messages that the Python implementation wrote, honest and damaged: every row of every `messages*.jsonl` of the vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafkacrypto::keyring::{Keyring, Learned, Origin};
use kafkacrypto::keys::{KeyIndex, Purpose, RatchetState};
use kafkacrypto::message::Message;
use kafkacrypto::secret::Secret;
use kafkacrypto::serdes::Deserializer;
use kafkacrypto::topic::Root;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    seed: String,
    root: String,
    topic: String,
    part: String,
    index: Index,
    secret: String,
    what: String,
    message: String,
    cleartext: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Index {
    Short(u64),
    Long(String),
}

#[test]
fn vectors_messages() {
    let files = files();
    if files.is_empty() {
        println!("SKIPPED: no messages*.jsonl in {}", folder().display());
        assert!(std::env::var_os("KAFKACRYPTO_NO_SKIP").is_none(), "nothing may be skipped");
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let faults: Vec<String> = (text.lines().enumerate())
            .filter_map(|(number, line)| {
                let row: Row = serde_json::from_str(line).unwrap();
                judge(&row).err().map(|fault| format!("{}:{}: {}: {fault}", file.display(), number + 1, row.what))
            })
            .collect();
        println!("{}: {} rows", file.display(), text.lines().count());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

fn judge(row: &Row) -> Result<(), String> {
    let seed = RatchetState::decode(&bytes(&row.seed)).map_err(|error| error.to_string())?;
    let secret = Secret::from_slice(&bytes(&row.secret)).ok_or("a secret of another length")?;
    if !seed.root_secret(&Root::new(&row.root)).same_as(&secret) {
        return Err("the seed gives another secret".into());
    }
    let message = open(row, secret);
    let ours = message.cleartext().ok().flatten().map(hex::encode);
    // DIFFERENCE: Python pads a salt that is too short; to us that isn't a message.
    let theirs = row.cleartext.as_ref().filter(|_| row.what != "a salt of 15 bytes");
    if ours.as_ref() == theirs { Ok(()) } else { Err(format!("{message:?}, Python: {:?}", row.cleartext)) }
}

fn open(row: &Row, secret: Secret<32>) -> Message {
    let keyring = Arc::new(Keyring::new());
    let index = match &row.index {
        Index::Short(n) => KeyIndex::Short(*n),
        Index::Long(text) => KeyIndex::long(&bytes(text)).unwrap(),
    };
    assert_eq!(keyring.learn(&Root::new(&row.root), &index, secret, Origin::Own), Learned::New);
    let purpose = if row.part == "key" { Purpose::Key } else { Purpose::Value };
    Deserializer::new(keyring, Arc::default(), purpose).deserialize(&row.topic, Some(&bytes(&row.message)))
}

fn bytes(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text).unwrap()
}

fn folder() -> PathBuf {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::env::var_os("KAFKACRYPTO_VECTORS").map_or(copy, PathBuf::from)
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.retain(|path| name(path).starts_with("messages") && name(path).ends_with(".jsonl"));
    files.sort();
    files
}
