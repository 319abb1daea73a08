//! `kafkacrypto chain`, as a user runs it.
#![cfg(feature = "cli")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use kafkacrypto::chain::{LeafKey, Restrictions, Usage, chain_of, leaf, root_certificate};
use kafkacrypto::keys::SigningKey;
use kafkacrypto::time::UnixTime;
use serde_json::{Value, json};

fn run(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
    let mut child =
        (command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A chain for producing to `lab` until 2000, and the root of trust, in hex.
fn chain() -> (String, String) {
    let (root, node) = (SigningKey::from_ed25519_seed(&[1; 32]), SigningKey::from_ed25519_seed(&[2; 32]));
    let limits = Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt]);
    let body = leaf(UnixTime::from_secs(2000), &limits, &LeafKey::Signing(node.public().clone()), &[]);
    (hex::encode(chain_of(&[&root.sign(&body)])), hex::encode(root_certificate(root.public())))
}

#[test]
fn one_chain() {
    let (chain, root) = chain();
    let ask = ["chain", "verify", &chain, "--allowlist", &root, "--usage", "key-encrypt", "--topic", "lab", "--time"];
    let good = run(&[&ask[..], &["1000", "--json"]].concat(), "");
    let verdict: Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!((good.status.code(), &verdict["valid"], &verdict["topics"]), (Some(0), &json!(true), &json!(["lab"])));
    let late = run(&[&ask[..], &["3000"]].concat(), "");
    assert_eq!(late.status.code(), Some(3));
    assert!(late.stdout.is_empty() && String::from_utf8_lossy(&late.stderr).contains("expired at 2000"));
    for wrong in
        [&["chain", "verify", "no such file"][..], &["chain", "verify"], &["chain", "verify", &chain, "--usage", "all"]]
    {
        assert_eq!(run(wrong, "").status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(run(&["chain", "verify", "--node", "none.config"], "").status.code(), Some(5));
}

#[test]
fn a_batch_has_a_verdict_for_each_line() {
    let (chain, root) = chain();
    let case = |usage: &str| json!({"chain": &chain, "topic": null, "usage": usage, "allowlist": [&root], "denylist": [], "time": 1000});
    let input = format!("{}\n{}\n", case("key-encrypt"), case("key-denylist"));
    let output = run(&["chain", "verify", "--batch"], &input);
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(output.status.code(), Some(0));
    let public = hex::encode(SigningKey::from_ed25519_seed(&[2; 32]).public().to_bytes());
    let valid = json!({"valid": true, "max_age": 2000, "topics": ["lab"], "usages": ["key-encrypt"], "pathlen": null,
        "keys": [public], "error": null});
    assert_eq!(lines[0], valid);
    assert_eq!((lines.len(), &lines[1]["valid"], &lines[1]["keys"]), (2, &json!(false), &json!([])));
    assert!(lines[1]["error"].as_str().unwrap().contains("key-denylist"));
    let output = run(&["chain", "verify", "--batch"], &format!("junk\n{input}"));
    assert_eq!((output.status.code(), output.stdout.iter().filter(|byte| **byte == b'\n').count()), (Some(2), 3));
}

#[test]
fn what_is_in_a_chain() {
    let (chain, _) = chain();
    let output = run(&["chain", "show", "--json", "-"], &chain);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["elements"][0]["signed_by"], &shown["elements"][0]["max_age"]), (&json!(1), &json!(2000)));
    let people = run(&["chain", "show", &chain], "");
    assert!(String::from_utf8_lossy(&people.stdout).contains("1970-01-01 00:33:20 UTC"));
    assert_eq!(run(&["chain", "show", "c0"], "").status.code(), Some(1));
}
