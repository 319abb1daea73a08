//! Roots and provisioners from passwords, against what the Python implementation makes of them. Reads every
//! `passwords*.json` in the folder that `KAFKACRYPTO_VECTORS` names (default: `tests/vectors`).

mod support;

use std::path::PathBuf;

use kafkacrypto::keys::SigningType;
use kafkacrypto::provision::{Provisioner, provisioner, root_of_trust};
use serde_json::Value;

#[test]
fn vectors() {
    let mut rows = 0;
    for file in files() {
        let list: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (number, row) in list.iter().enumerate() {
            rows += 1;
            check(row, &format!("{} row {number}", file.display()));
        }
    }
    println!("passwords: {rows} rows");
    assert!(rows > 0, "no row could be checked");
}

fn check(row: &Value, name: &str) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let kind = SigningType::from_number(row["type"].as_u64().unwrap()).expect(name);
    let root = root_of_trust(&text(&row["root_password"]), kind).expect(name);
    assert_eq!(hex::encode(root.public().to_bytes()), text(&row["root_public"]), "{name}");
    assert_eq!(hex::encode(root.to_bytes().expose()), text(&row["root_secret"]), "{name}");
    for which in Provisioner::ALL {
        let expected = &row["provisioners"][which.name()];
        let made = provisioner(which, &text(&row["provisioner_password"]), root.public(), kind).expect(name);
        assert_eq!(hex::encode(made.public().to_bytes()), text(&expected["public"]), "{name} {which:?}");
        assert_eq!(hex::encode(made.to_bytes().expose()), text(&expected["secret"]), "{name} {which:?}");
    }
}

fn files() -> Vec<PathBuf> {
    let folder = support::vectors();
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("passwords") && name.ends_with(".json")
    };
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(named).collect();
    assert!(!files.is_empty(), "no passwords*.json in {}", folder.display());
    files.sort();
    files
}
