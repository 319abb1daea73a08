//! Key files of every age, and what the Python implementation found in them: every row of every `crypto_files*.jsonl`.

mod support;

use kafkacrypto::keys::SigningType;
use kafkacrypto::store::{self, KeyFile, KeyFileError};
use serde_json::Value;

#[test]
fn vectors_key_files() {
    let mut rows = 0;
    for entry in std::fs::read_dir(support::vectors()).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("crypto_files") && name.ends_with(".jsonl") {
            for line in std::fs::read_to_string(&path).expect("a vector file").lines() {
                judge(&serde_json::from_str(line).expect("a JSON object"));
                rows += 1;
            }
        }
    }
    println!("{rows} key files");
    if rows == 0 {
        support::skipped("no crypto_files*.jsonl among the vectors");
    }
}

fn judge(row: &Value) {
    let what = row["what"].as_str().expect("what");
    let (before, after) = (bytes(&row["before"]), bytes(&row["after"]));
    let decoded = KeyFile::decode(&before);
    if what == "a version to come" {
        // DIFFERENCE: Python reads it as if it were version 2.
        assert!(matches!(decoded, Err(KeyFileError::Newer(3))), "{what}");
        return;
    }
    if row["opens"] != true {
        assert!(decoded.is_err(), "{what}: opens here, in Python {}", row["error"]);
        return;
    }
    let mut file = decoded.unwrap_or_else(|error| panic!("{what}: {error}"));
    if row["grew"] == true {
        // Python has generated the key that was missing: no other side can know it, so what it wrote is looked at.
        file = KeyFile::decode(&after).unwrap_or_else(|error| panic!("{what}, grown: {error}"));
    } else if before != after {
        assert!(file.needs_upgrade(), "{what}: Python has upgraded it");
        let ours = file.encode();
        if what.contains("bytes as str") {
            // We keep the element as it stood; Python writes it as `bin`. Both read either.
            file = KeyFile::decode(&ours).expect("our own");
            assert_eq!(file.versions(), KeyFile::decode(&after).expect("Python's").versions(), "{what}");
        } else {
            assert_eq!(hex::encode(ours.as_slice()), hex::encode(&after), "{what}: upgraded alike");
        }
    }
    let enabled: Vec<SigningType> =
        numbers(&row["keytypes"]).map(|n| SigningType::from_number(n).expect("a type")).collect();
    let public: Vec<String> = file.public_keys(Some(&enabled)).map(|(_, key)| hex::encode(key.to_bytes())).collect();
    assert_eq!(serde_json::json!(public), row["public"], "{what}");
    assert_eq!(hex::encode(file.node_bytes(Some(&enabled))), row["node"], "{what}");
    let plain =
        store::open(file.ek(), &bytes(&row["opaque"]["wrapped"])).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(hex::encode(plain.as_slice()), row["opaque"]["plain"], "{what}");
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex text")).expect("hex")
}

fn numbers(value: &Value) -> impl Iterator<Item = u64> {
    value.as_array().expect("a list").iter().map(|number| number.as_u64().expect("a number"))
}
