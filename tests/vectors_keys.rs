//! Signing keys, exchange keys, the ratchet and the generators, against what the Python implementation made: every row of
//! every `signing*.json`, `kex*.json` and `indices*.json` of the vectors.

use std::path::{Path, PathBuf};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::keys::{
    Ephemeral, ExchangeKey, KeyIndex, Purpose, RatchetState, Scheme, SigningKey, SigningPublicKey, message_key,
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
    #[serde(default)]
    kem_secret: String,
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
        let key = SigningKey::from_bytes(&bytes(&row.secret)).unwrap();
        assert_eq!(key.public(), &public);
        assert_eq!(key.to_bytes().expose(), bytes(&row.secret));
        let ours = key.sign(&bytes(&row.message));
        // Python's SLH-DSA signatures are randomised
        assert!(ours == bytes(&row.signed) || row.r#type == 4);
        for signed in [ours, bytes(&row.signed)] {
            assert_eq!(public.open(&signed).unwrap(), bytes(&row.message));
        }
    });
}

#[test]
fn vectors_kex() {
    for_each("kex", |row: Exchange| {
        let scheme = Scheme::from_offer_version(row.scheme).unwrap();
        let x25519 = Secret::from_slice(&bytes(&row.requester.x25519)).unwrap();
        let mine = Ephemeral::from_secrets(scheme, x25519, &bytes(&row.requester.kem_secret)).unwrap();
        let offer = exchange_key(&row.offer).into_offer().unwrap();
        assert_eq!(mine.offer(), &offer);
        let shared = mine.complete(&exchange_key(&row.answer).into_answer().unwrap()).unwrap();
        assert_eq!(shared.expose(), bytes(&row.shared));
        let (answer, ours) = offer.answer(&mut UnwrapErr(SysRng)).unwrap();
        assert_eq!(mine.complete(&answer).unwrap().expose(), ours.expose());
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

/// Runs `check` on every row of every file.
fn for_each<T: DeserializeOwned>(prefix: &str, check: impl Fn(T)) {
    let files = files(prefix);
    assert!(!files.is_empty(), "no {prefix}*.json in {}", folder().display());
    for file in files {
        let rows: Vec<T> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        println!("{}: {} rows", file.display(), rows.len());
        rows.into_iter().for_each(&check);
    }
}

fn bytes(hex_text: &str) -> Vec<u8> {
    hex::decode(hex_text).unwrap()
}

/// A public half as it stands in a message, where one of version 1 is `bin(32)`.
fn exchange_key(hex_text: &str) -> ExchangeKey {
    ExchangeKey::from_bytes(&bytes(hex_text.strip_prefix("c420").unwrap_or(hex_text))).unwrap()
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
