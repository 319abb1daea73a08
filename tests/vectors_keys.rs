//! Signing keys, exchange keys, the ratchet and the generators, against what the Python implementation made: every row of
//! every `signing*.json`, `kex*.json` and `indices*.json` of the vectors.

use std::path::{Path, PathBuf};

use kafkacrypto::keys::{
    AnswerKey, Ephemeral, KeyIndex, OfferKey, Purpose, RatchetState, Scheme, SigningKey, SigningPublicKey, SigningType,
    message_key,
};
use kafkacrypto::secret::Secret;
use kafkacrypto::topic::Root;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Signing {
    r#type: u64,
    secret: String,
    public: String,
    message: String,
    signed: String,
}

#[derive(Deserialize)]
struct Exchange {
    scheme: u64,
    requester: Requester,
    offer: String,
    answer: String,
    shared: String,
}

#[derive(Deserialize)]
struct Requester {
    x25519: String,
}

#[derive(Deserialize)]
struct Seed {
    node: String,
    seed_before: String,
    seed_after_open: String,
    roots: Vec<RootRow>,
}

#[derive(Deserialize)]
struct RootRow {
    root: String,
    index: String,
    short_index: u64,
    secret: String,
    key: Vec<Generated>,
    value: Vec<Generated>,
}

#[derive(Deserialize)]
struct Generated {
    salt: String,
    key: String,
    nonce: String,
}

#[test]
fn vectors_signing() {
    for_each("signing", |row: Signing| {
        let public = SigningPublicKey::from_bytes(&bytes(&row.public)).unwrap();
        assert_eq!(public.to_bytes(), bytes(&row.public));
        assert_eq!(public.signing_type().number(), row.r#type);
        if !SigningType::from_number(row.r#type).unwrap().is_built() {
            return Some(format!("signing type {}", row.r#type));
        }
        let key = SigningKey::from_bytes(&bytes(&row.secret)).unwrap();
        assert_eq!(key.public(), &public);
        assert_eq!(key.sign(&bytes(&row.message)), bytes(&row.signed));
        assert_eq!(public.open(&bytes(&row.signed)).unwrap(), bytes(&row.message));
        None
    });
}

#[test]
fn vectors_kex() {
    for_each("kex", |row: Exchange| {
        let scheme = Scheme::from_offer_version(row.scheme).unwrap();
        if !scheme.is_built() {
            return Some(format!("exchange {scheme}"));
        }
        let mine = Ephemeral::from_x25519(Secret::from_slice(&bytes(&row.requester.x25519)).unwrap());
        assert_eq!(mine.offer(), &OfferKey::from_x25519(bare(&row.offer)));
        let shared = mine.complete(&AnswerKey::from_x25519(bare(&row.answer))).unwrap();
        assert_eq!(shared.expose(), bytes(&row.shared));
        None
    });
}

#[test]
fn vectors_indices() {
    for_each("indices", |row: Seed| {
        let state = RatchetState::decode(&bytes(&row.seed_before)).unwrap();
        assert_eq!(state.encode().as_slice(), bytes(&row.seed_before));
        assert_eq!(state.next().encode().as_slice(), bytes(&row.seed_after_open));
        for root in &row.roots {
            let secret = state.root_secret(&Root::new(&root.root));
            assert_eq!(secret.expose().as_slice(), bytes(&root.secret), "{}", root.root);
            let index = KeyIndex::of_node(&bytes(&row.node), state.index());
            assert_eq!(index, KeyIndex::long(&bytes(&root.index)).unwrap());
            assert_eq!(state.index(), root.short_index);
            check_generated(&secret, Purpose::Key, &root.key);
            check_generated(&secret, Purpose::Value, &root.value);
        }
        None
    });
}

fn check_generated(secret: &Secret<32>, purpose: Purpose, rows: &[Generated]) {
    assert!(!rows.is_empty());
    for row in rows {
        let key = message_key(secret, purpose, bytes(&row.salt).as_slice().try_into().unwrap());
        assert_eq!(key.key().as_slice(), bytes(&row.key), "salt {}", row.salt);
        assert_eq!(key.nonce().as_slice(), bytes(&row.nonce), "salt {}", row.salt);
    }
}

/// Runs `check` on every row of every file; it says what isn't built yet.
fn for_each<T: DeserializeOwned>(prefix: &str, check: impl Fn(T) -> Option<String>) {
    let files = files(prefix);
    assert!(!files.is_empty(), "no {prefix}*.json in {}", folder().display());
    for file in files {
        let rows: Vec<T> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let count = rows.len();
        let not_built: Vec<String> = rows.into_iter().filter_map(&check).collect();
        println!("{}: {} rows checked", file.display(), count - not_built.len());
        not_built.iter().for_each(|what| println!("{}: NOT BUILT: {what}", file.display()));
    }
}

fn bytes(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text).unwrap()
}

/// The 32 bytes of a key of version 1, from `bin(32)`.
fn bare(hex_text: &str) -> [u8; 32] {
    bytes(hex_text.strip_prefix("c420").unwrap()).try_into().unwrap()
}

fn folder() -> PathBuf {
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::env::var_os("KAFKACRYPTO_VECTORS").map_or(copy, PathBuf::from)
}

fn files(prefix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.retain(|path| name(path).starts_with(prefix) && name(path).ends_with(".json"));
    files.sort();
    files
}
