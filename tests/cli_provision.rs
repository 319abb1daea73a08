//! `provision` and `key info` as a user runs them, from the built binary.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kafkacrypto::chain::{Ask, TrustLists, Usage, verify};
use kafkacrypto::keys::SigningKey;
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::time::UnixTime;
use serde_json::Value;
use support::{PROVISIONER_PASSWORD, ROOT_PASSWORD};

/// A folder with password files, and the tool run in it.
struct Place(tempfile::TempDir);

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        let place = Self(support::folder());
        fs::write(place.path("root.pw"), format!("{ROOT_PASSWORD}\n")).unwrap();
        fs::write(place.path("prov.pw"), PROVISIONER_PASSWORD).unwrap();
        place
    }

    /// With a provisioned producer `n` for the topic `lab`.
    fn provisioned() -> Self {
        let place = Self::new();
        let done = place.provision("n", &["--role", "producer", "--topics", "lab"]);
        assert_eq!(done.code, 0, "{}", done.err);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn provision(&self, node: &str, more: &[&str]) -> Ended {
        let passwords = ["--root-password-file", "root.pw", "--provisioner-password-file", "prov.pw"];
        self.run(&[&["provision", node], &passwords[..], more].concat())
    }

    fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command().args(args))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
        command.current_dir(self.0.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        command.env_remove("KAFKACRYPTO_ROOT_PASSWORD").env_remove("KAFKACRYPTO_PROVISIONER_PASSWORD");
        command
    }

    /// Every file, but for the passwords.
    fn content(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap());
        let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
        let mut files: Vec<_> = files.filter(|(name, _)| !name.ends_with(".pw")).collect();
        files.sort();
        files.into_iter().map(|(name, path)| (name, fs::read(path).unwrap_or_default())).collect()
    }

    fn open(&self, node: &str) -> NodeFiles {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        NodeFiles::open(&self.path(&format!("{node}.config")), OpenOptions::default(), &mut rng).unwrap()
    }
}

impl Ended {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Ended with this code, one sentence that says this, and nothing on stdout.
    #[track_caller]
    fn refused(&self, code: i32, said: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.contains(said), "`{said}` isn't in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

#[test]
fn a_new_node_may_do_what_was_asked_for() {
    let place = Place::new();
    let more = ["--role", "prodcon", "--topics", "lab.a, office", "--lifetime", "86400", "--pathlen", "-1", "--json"];
    let kafka = ["--dir", "deep/down", "--bootstrap", "localhost:9092", "--security-protocol", "PLAINTEXT"];
    let done = place.provision("n", &[&more[..], &kafka].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["role"], &told["topics"]), (&"prodcon".into(), &serde_json::json!(["lab", "office"])));
    assert_eq!(told["created"].as_array().unwrap().len(), 3);
    for extension in ["config", "crypto", "seed"] {
        let mode = fs::metadata(place.path(&format!("deep/down/n.{extension}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{extension}");
    }
    let files = place.open("deep/down/n");
    let allow = files.listed(List::Allow);
    let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    let now = UnixTime::from_secs_f64(told["expires"].as_f64().unwrap() - 10.0).unwrap();
    let [(0, chain)] = &files.chains()[..] else { panic!("one chain") };
    for (usage, topic, good) in [
        (Usage::Encrypt, "lab", true),
        (Usage::EncryptRequest, "office", true),
        (Usage::EncryptSubscribe, "lab", true),
        (Usage::Encrypt, "home", false),
        (Usage::Allowlist, "lab", false),
    ] {
        assert_eq!(verify(chain, Ask::of(usage, topic), &lists, now).is_ok(), good, "{usage:?} {topic}");
    }
    assert!(verify(chain, Ask::nothing(), &lists, now.after(std::time::Duration::from_secs(11))).is_err());
    assert_eq!(files.config().text("kafka", "bootstrap_servers").unwrap().as_deref(), Some("localhost:9092"));
    assert_eq!(files.config().text("kafka", "security_protocol").unwrap().as_deref(), Some("PLAINTEXT"));
}

#[test]
fn running_it_again_keeps_the_keys() {
    let place = Place::provisioned();
    let comment = fs::read_to_string(place.path("n.config")).unwrap() + "\n; mine\n[other]\nx : 1\n";
    fs::write(place.path("n.config"), comment).unwrap();
    let before = place.content();
    let done = place.provision("n", &["--role", "consumer", "--all-topics"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("n is provisioned as consumer for all topics, until 20"), "{}", done.out);
    let after = place.content();
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    assert!(String::from_utf8_lossy(&after[0].1).contains("; mine\n[other]\nx : 1\n"));
}

#[test]
fn passwords_come_from_the_environment_too() {
    let place = Place::new();
    let mut command = place.command();
    command.args(["provision", "n", "--role", "producer", "--topics", "lab", "--json"]);
    command.env("KAFKACRYPTO_ROOT_PASSWORD", ROOT_PASSWORD);
    Ended::of(&mut command).refused(2, "the provisioner password is missing");
    command.env("KAFKACRYPTO_PROVISIONER_PASSWORD", PROVISIONER_PASSWORD);
    let (from_environment, other) = (Ended::of(&mut command), Place::new());
    let from_files = other.provision("n", &["--role", "producer", "--topics", "lab", "--json"]);
    let root = |ended: Ended| serde_json::from_str::<Value>(&ended.out).unwrap()["root"].clone();
    assert_eq!(root(from_environment), root(from_files));
}

#[test]
fn slips_change_nothing() {
    let place = Place::new();
    fs::write(place.path("short.pw"), "short\n").unwrap();
    fs::write(place.path("binary.pw"), [0xff; 20]).unwrap();
    let good = ["--role", "producer", "--topics", "lab"];
    for (code, said, args) in [
        (2, "no such role", &["--role", "king", "--topics", "lab"][..]),
        (2, "the role is missing", &["--topics", "lab"]),
        (2, "the topics are missing", &["--role", "producer"]),
        (2, "no topic is named", &["--role", "producer", "--topics", " , "]),
        (2, "`^lab` is no topic name", &["--role", "producer", "--topics", "^lab"]),
        (2, "cannot be used with", &["--role", "producer", "--topics", "lab", "--all-topics"]),
        (2, "lifetime", &["--role", "producer", "--topics", "lab", "--lifetime", "0"]),
        (2, "--pathlen", &["--role", "producer", "--topics", "lab", "--pathlen", "-2"]),
        (2, "--security-protocol", &["--role", "producer", "--topics", "lab", "--security-protocol", "TLS"]),
    ] {
        place.provision("n", args).refused(code, said);
    }
    for (code, said, node, passwords) in [
        (2, "root password has fewer than 12", "n", ["short.pw", "prov.pw"]),
        (2, "provisioner password has fewer than 6", "n", ["root.pw", "short.pw"]),
        (5, "binary.pw, can't be read (not UTF-8 text)", "n", ["binary.pw", "prov.pw"]),
        (5, "missing.pw, can't be read", "n", ["missing.pw", "prov.pw"]),
        (2, "can't be a node's name", "a/n", ["root.pw", "prov.pw"]),
        (2, "can't be a node's name", "..", ["root.pw", "prov.pw"]),
        (2, "can't be a node's name", "", ["root.pw", "prov.pw"]),
    ] {
        let [root, prov] = passwords;
        let files = ["provision", node, "--root-password-file", root, "--provisioner-password-file", prov];
        place.run(&[&files[..], &good].concat()).refused(code, said);
    }
    assert!(place.content().is_empty(), "{:?}", place.content());
    fs::write(place.path("taken"), "a file").unwrap();
    place.provision("n", &[&good[..], &["--dir", "taken"]].concat()).refused(5, "could not make the folder taken");
}

#[test]
fn another_root_password_is_noticed() {
    let place = Place::provisioned();
    let before = place.content();
    fs::write(place.path("root.pw"), "another correct horse\n").unwrap();
    let again = ["--role", "producer", "--topics", "lab"];
    place.provision("n", &again).refused(3, "check the password, or give --new-root");
    assert_eq!(place.content(), before);
    assert_eq!(place.provision("n", &[&again[..], &["--new-root"]].concat()).code, 0);
    let files = place.open("n");
    let (chains, allow) = (files.chains(), files.listed(List::Allow));
    let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    assert!(verify(&chains[0].1, Ask::nothing(), &lists, UnixTime::from_secs(1_800_000_000)).is_ok());
}

#[test]
fn files_that_can_not_be_used_are_left_as_they_are() {
    let place = Place::provisioned();
    let good = place.content();
    let truncated = |name: &str| {
        let (_, bytes) = good.iter().find(|(found, _)| found == name).unwrap();
        bytes[..bytes.len() - 3].to_vec()
    };
    for (name, bytes, said) in [
        ("n.config", b"\xff\xfe".to_vec(), "not UTF-8 text"),
        ("n.config", b"[DEFAULT]\nnode_id = n\n".to_vec(), "line 2"),
        ("n.config", b"[DEFAULT]\nnode_id : other\n[other]\n".to_vec(), "config of node `other`, not of `n`"),
        ("n.config", b"[DEFAULT]\nnode_id : n\n[n]\ncryptokey : n.crypto\n".to_vec(), "`file#` and a path"),
        ("n.crypto", Vec::new(), "key file is damaged"),
        ("n.crypto", truncated("n.crypto"), "restore it from a backup"),
        ("n.crypto", b"\x95\x03\x90\xc4\x00\xc2\x90".to_vec(), "format 3, which is newer"),
        ("n.seed", Vec::new(), "seed file is damaged"),
        ("n.seed", truncated("n.seed"), "restore it from a backup"),
    ] {
        good.iter().for_each(|(name, bytes)| fs::write(place.path(name), bytes).unwrap());
        fs::write(place.path(name), &bytes).unwrap();
        let before = place.content();
        place.provision("n", &["--role", "producer", "--topics", "lab"]).refused(5, said);
        assert_eq!(place.content(), before, "{name}: {said}");
    }
}

#[test]
fn files_open_to_others_need_a_word_and_missing_ones_stay_missing() {
    let place = Place::provisioned();
    let args = ["--role", "producer", "--topics", "lab"];
    for name in ["n.crypto", "n.seed"] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o644)).unwrap();
        place.provision("n", &args).refused(5, "chmod 600");
        assert_eq!(place.provision("n", &[&args[..], &["--allow-readable-by-others"]].concat()).code, 0);
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::remove_file(place.path("n.seed")).unwrap();
    place.provision("n", &args).refused(5, "n.seed does not exist");
    assert!(!place.path("n.seed").exists());
}

#[test]
fn a_node_that_runs_is_left_alone_but_may_be_looked_at() {
    let place = Place::provisioned();
    let before = place.content();
    // from here on this process must not read the files itself: closing a file drops the locks on it
    let held = place.open("n");
    place.provision("n", &["--role", "producer", "--topics", "lab"]).refused(5, "is in use by process");
    assert_eq!(place.run(&["key", "info", "n.config"]).code, 0);
    drop(held);
    assert_eq!(place.content(), before);
    assert_eq!(place.provision("n", &["--role", "producer", "--topics", "lab"]).code, 0);
}

#[test]
fn key_info_tells_everything_but_secrets() {
    let place = Place::provisioned();
    let files = place.open("n");
    let (_, key) = files.signers().pop().unwrap();
    let public = hex::encode(key.public().to_bytes());
    let secrets = [hex::encode(&key.to_bytes().expose()[..32]), hex::encode(files.key_file().ek().expose())];
    for (file, json) in [("n.config", false), ("n.config", true), ("n.crypto", false), ("n.crypto", true)] {
        let told = place.run(&[&["key", "info", file][..], if json { &["--json"] } else { &[] }].concat());
        assert_eq!(told.code, 0, "{}", told.err);
        assert!(told.out.contains(&public), "{}", told.out);
        assert!(secrets.iter().all(|secret| !told.out.contains(secret)), "{}", told.out);
        if json {
            serde_json::from_str::<Value>(&told.out).unwrap();
        }
    }
    let told = place.run(&["key", "info", "n.config"]).out;
    assert!(told.contains("usages key-encrypt, topics lab, path length 1"), "{told}");
}

#[test]
fn key_info_of_what_is_no_key() {
    let place = Place::provisioned();
    fs::write(place.path("text"), "hello").unwrap();
    fs::write(place.path("empty"), "").unwrap();
    place.run(&["key", "info", "n.seed"]).refused(2, "nothing but a secret");
    place.run(&["key", "info", "missing"]).refused(5, "missing can't be read");
    place.run(&["key", "info", "text"]).refused(5, "line 1 of the config");
    place.run(&["key", "info", "empty"]).refused(5, "key file is damaged");
    fs::write(place.path("n.crypto"), "damaged").unwrap();
    let told = place.run(&["key", "info", "n.config"]);
    assert!(told.code == 0 && told.out.contains("chain0"), "a damaged key file doesn't hide the config: {}", told.err);
}

#[test]
fn a_revoked_node_is_told() {
    let place = Place::provisioned();
    let mut files = place.open("n");
    let (_, key) = files.signers().pop().unwrap();
    files.save_listed(List::Deny, &kafkacrypto::chain::root_certificate(SigningKey::public(&key))).unwrap();
    drop(files);
    let told = place.run(&["key", "info", "n.config"]).out;
    assert!(told.contains("not valid") && told.contains("revoked") && told.contains("denylist"), "{told}");
}

#[test]
fn help_has_examples_and_exit_codes() {
    let place = Place::new();
    let help = place.run(&["-h"]);
    assert!(help.code == 0 && help.out.contains("Exit codes:") && help.out.contains("Examples:"), "{}", help.out);
    assert!(place.run(&["provision", "-h"]).out.contains("Examples:"));
    assert_eq!(place.run(&[]).code, 2);
    assert_eq!(place.run(&["fly"]).code, 2);
}
