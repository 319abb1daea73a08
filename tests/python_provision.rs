//! Nodes that we provision, in the hands of the Python implementation, and the other way round.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kafkacrypto::chain::{Ask, Description, TrustLists, verify};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::time::UnixTime;
use support::peer::Part;
use support::{PROVISIONER_PASSWORD, ROOT_PASSWORD};

/// The types of signing keys, as our tool and as `peer.py` take them.
const KEY_TYPES: [(&str, &str); 3] = [("1", "1"), ("4", "4"), ("both", "1,4")];

/// The path of the config of a node that the tool has provisioned.
fn provision(folder: &Path, node: &str, role: &str, types: &str, bootstrap: &str, topics: &str) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
    command.args(["provision", node, "--role", role, "--topics", topics, "--bootstrap", bootstrap, "--yes"]);
    command.args(["--security-protocol", "PLAINTEXT", "--key-type", types, "--dir"]).arg(folder);
    command.env("KAFKACRYPTO_ROOT_PASSWORD", ROOT_PASSWORD);
    command.env("KAFKACRYPTO_PROVISIONER_PASSWORD", PROVISIONER_PASSWORD);
    assert!(command.status().expect("the tool").success());
    folder.join(format!("{node}.config"))
}

/// Python makes its files readable for everyone.
fn open(config: &Path) -> NodeFiles {
    let options = OpenOptions::default().allow_readable_by_others(true);
    NodeFiles::open(config, options, &mut getrandom::rand_core::UnwrapErr(getrandom::SysRng)).expect("a node's files")
}

/// What its client needs, so that a request is seen that was sent early, and new topics at once.
fn in_a_hurry(config: &Path) {
    let mut files = open(config);
    let mut changed = files.config().clone();
    changed.set("kafka-crypto-consumer", "auto_offset_reset", "earliest").expect("a setting");
    changed.set("kafka-crypto-consumer", "topic.metadata.refresh.interval.ms", 1000).expect("a setting");
    files.save(changed).expect("a save");
}

#[test]
fn both_tools_write_the_same() {
    let Some(python) = support::python() else { return };
    for role in NodeRole::ALL {
        // one role of each kind is enough for the other types
        let types =
            if matches!(role, NodeRole::Prodcon | NodeRole::ChainServer) { &KEY_TYPES[..] } else { &KEY_TYPES[..1] };
        for (ours, theirs) in types {
            compare(&python, role, ours, theirs);
        }
    }
}

fn compare(python: &support::Python, role: NodeRole, our_types: &str, their_types: &str) {
    let (ours, theirs) = (support::folder(), support::folder());
    let (role, pathlen) = (role.name(), role.path_length().to_string());
    let more = ["--topics", "lab", "--pathlen", &pathlen, "--types", their_types];
    let theirs = open(&python.provision(theirs.path(), role, role, "127.0.0.1:1", &more));
    let ours = open(&provision(ours.path(), role, role, our_types, "127.0.0.1:1", "lab.data"));
    let what = format!("{role}, type {our_types}");
    assert_eq!(ours.listed(List::Allow), theirs.listed(List::Allow), "{what}");
    for (section, name) in [("crypto", "maxage"), ("kafka", "bootstrap_servers"), ("kafka", "security_protocol")] {
        let value = |files: &NodeFiles| files.config().text(section, name).expect(name);
        assert_eq!(value(&ours), value(&theirs), "{what}: {name}");
    }
    assert_eq!(ours.settings().mgmt_long_keyindex, theirs.settings().mgmt_long_keyindex, "{what}");
    let described = |files: &NodeFiles| -> Vec<_> {
        let chains = files.chains().into_iter();
        chains.map(|(index, chain)| (index, Description::of(&chain).expect("a chain").elements)).collect()
    };
    let (ours, theirs) = (described(&ours), described(&theirs));
    assert_eq!((ours.len(), ours.len()), (theirs.len(), their_types.split(',').count()), "{what}");
    for ((index, ours), (of, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!((index, ours.len()), (of, theirs.len()), "{what}");
        for (at, (our, their)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(our.signed_by, their.signed_by, "{what}: element {at}");
            assert_eq!(our.certificate.restrictions(), their.certificate.restrictions(), "{what}: element {at}");
            let apart = our.certificate.max_age().as_secs_f64() - their.certificate.max_age().as_secs_f64();
            assert!(apart.abs() < 60.0, "{what}: element {at}");
            if at + 1 < ours.len() {
                assert_eq!(our.certificate.key(), their.certificate.key(), "{what}: the provisioner");
            }
        }
    }
}

#[test]
fn python_nodes_run_on_our_files_and_give_them_back() {
    let (Some(bootstrap), Some(python)) = (support::bootstrap(), support::python()) else { return };
    for (types, _) in KEY_TYPES {
        run_and_give_back(&bootstrap, &python, types);
    }
}

fn run_and_give_back(bootstrap: &str, python: &support::Python, types: &str) {
    let folder = support::folder();
    let (root, alice, bob) = (support::fresh("moved"), support::fresh("alice"), support::fresh("bob"));
    let alice = provision(folder.path(), &alice, "producer", types, bootstrap, &root);
    let bob = provision(folder.path(), &bob, "consumer", types, bootstrap, &root);
    [&alice, &bob].into_iter().for_each(|config| in_a_hurry(config));
    let keys = |files: &NodeFiles| (files.node_bytes(), files.chains(), files.listed(List::Allow));
    let before = keys(&open(&alice));
    let topic = format!("{root}.data");
    let mut producer = python.produce(&alice, &topic, Duration::from_secs(90));
    producer.send(Some(b"key"), Some(b"value"));
    assert_eq!(producer.sent(), 1);
    let mut consumer = python.consume(&bob, &topic, 1, Duration::from_secs(90));
    let seen = consumer.record(Duration::from_secs(90));
    assert_eq!((seen.key, seen.value), (Part::Cleartext(b"key".to_vec()), Part::Cleartext(b"value".to_vec())));
    drop((producer, consumer));

    let files = open(&alice);
    assert_eq!(keys(&files), before);
    let allow = files.listed(List::Allow);
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    assert!(warnings.is_empty());
    let now = UnixTime::from_secs(1_800_000_000);
    assert_eq!(files.chains().len(), if types == "both" { 2 } else { 1 });
    assert!(files.chains().iter().all(|(_, chain)| verify(chain, Ask::nothing(), &lists, now).is_ok()), "{types}");
    let (old, skipped) = files.old_keys().expect("what Python has sealed");
    assert_eq!(skipped, 0);
    assert!(old.entries.iter().any(|entry| entry.root.as_str() == root), "{old:?}");
}
