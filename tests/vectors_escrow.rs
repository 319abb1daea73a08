//! Secrets that the Python implementation has sealed to escrow keys, and ours opened with the same keys: every row of every
//! `escrow*.json` in the folder that `KAFKACRYPTO_VECTORS` names (default: `tests/vectors`).

mod support;

use kafkacrypto::keys::{Ephemeral, Scheme};
use kafkacrypto::provision::{EscrowKey, EscrowPublicKey};
use kafkacrypto::secret::Secret;
use serde_json::Value;

#[test]
fn vectors() {
    let mut rows = 0;
    for entry in std::fs::read_dir(support::vectors()).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("escrow") && name.ends_with(".json") {
            let list: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
            for (number, row) in list.iter().enumerate() {
                check(row, &format!("{name} row {number}"));
                rows += 1;
            }
        }
    }
    println!("escrow: {rows} rows, both directions");
    assert!(rows > 0, "no row could be checked");
}

fn check(row: &Value, name: &str) {
    let scheme = Scheme::from_offer_version(row["version"].as_u64().expect(name)).expect(name);
    let x25519 = Secret::from_slice(&bytes(&row["secret"]["x25519"])).expect(name);
    let kem = row["secret"].get("kem_secret").map(bytes).unwrap_or_default();
    let key = EscrowKey::new(Ephemeral::from_secrets(scheme, x25519, &kem).expect(name));
    let public = EscrowPublicKey::from_bytes(&bytes(&row["public"])).expect(name);
    assert_eq!(key.public(), public, "{name}");
    assert_eq!(public.to_bytes(), bytes(&row["public"]), "{name}");
    // theirs, opened by us
    let opened = key.open(&bytes(&row["sealed"])).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(opened.expose().as_slice(), bytes(&row["plaintext"]), "{name}");
    // ours, of the same length as theirs unless theirs is a plain sealed box, opened with their key
    let sealed = public.seal(&opened, &mut getrandom::rand_core::UnwrapErr(getrandom::SysRng)).expect(name);
    if row.get("note").is_none() {
        let head = |value: &[u8]| value[..4].to_vec();
        assert_eq!(
            (sealed.len(), head(&sealed)),
            (bytes(&row["sealed"]).len(), head(&bytes(&row["sealed"]))),
            "{name}"
        );
    }
    assert!(key.open(&sealed).expect(name).same_as(&opened), "{name}");
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}
