//! The post-quantum side of the tool as a user runs it: `provision --key-type`, `key enable-pq`, `key add-type`, `escrow`.
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use kafkacrypto::chain::{Ask, Description, TrustLists, Usage, verify};
use kafkacrypto::keys::{RatchetState, SigningType};
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::store::KeyFile;
use kafkacrypto::time::UnixTime;
use serde_json::{Value, json};
use support::{PROVISIONER_PASSWORD, ROOT_PASSWORD};

/// A folder, and the tool run in it.
struct Place(tempfile::TempDir);

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self(support::folder())
    }

    /// With a provisioned producer `n` for the topic `lab`.
    fn provisioned(more: &[&str]) -> Self {
        let place = Self::new();
        place.provision(more).good();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn provision(&self, more: &[&str]) -> Ended {
        self.run(&[&["provision", "n", "--role", "producer", "--topics", "lab"], more].concat())
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, ROOT_PASSWORD)
    }

    fn run_with(&self, args: &[&str], root_password: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        command.env("KAFKACRYPTO_ROOT_PASSWORD", root_password);
        command.env("KAFKACRYPTO_PROVISIONER_PASSWORD", PROVISIONER_PASSWORD);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn open(&self) -> NodeFiles {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        NodeFiles::open(&self.path("n.config"), OpenOptions::default(), &mut rng).unwrap()
    }

    /// Has the key file list these exchange versions.
    fn versions(&self, versions: &[u64]) {
        self.open().edit_keys(|keys| keys.with_versions(versions)).unwrap();
    }
}

impl Ended {
    #[track_caller]
    fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.good().out).unwrap()
    }

    /// Ended with this code, one sentence that says this, and nothing on stdout.
    #[track_caller]
    fn refused(&self, code: i32, said: &str) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        assert!(self.err.contains(said), "`{said}` isn't in: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// The types of the keys that have a chain, by index; each chain is valid under its own root and of its key's type alone.
fn chained(files: &NodeFiles) -> Vec<(usize, u64)> {
    let allow = files.listed(List::Allow);
    let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), []);
    let types: Vec<_> = files.key_file().public_keys(None).map(|(_, key)| key.signing_type()).collect();
    let one = |(index, chain): (usize, Vec<u8>)| {
        let now = UnixTime::from_secs(1_800_000_000);
        assert!(verify(&chain, Ask::of(Usage::Encrypt, "lab"), &lists, now).is_ok(), "chain {index}");
        for element in Description::of(&chain).unwrap().elements {
            assert_eq!(element.signed_by, Some(types[index]));
        }
        (index, types[index].number())
    };
    files.chains().into_iter().map(one).collect()
}

// ---- provision --key-type

#[test]
fn a_new_node_has_the_keys_that_were_asked_for() {
    for (asked, expected) in [
        (&[][..], &[(0, 1)][..]),
        (&["--key-type", "1"], &[(0, 1)]),
        (&["--key-type", "4"], &[(0, 4)]),
        (&["--key-type", "4", "--key-type", "1"], &[(0, 1), (1, 4)]),
        (&["--key-type", "both"], &[(0, 1), (1, 4)]),
    ] {
        let place = Place::new();
        let told = place.provision(&[asked, &["--json"]].concat()).json();
        let types: Vec<_> = expected.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(told["key_types"], json!(types));
        assert_eq!(told["roots"].as_array().unwrap().len(), expected.len());
        let files = place.open();
        assert_eq!(chained(&files), expected, "{asked:?}");
        assert_eq!(files.key_file().versions(), [5, 2, 1]);
        assert!(files.notices().is_empty(), "{:?}", files.notices());
    }
}

#[test]
fn a_node_of_type_1_gets_type_4_beside_it_and_keeps_what_it_has() {
    let place = Place::provisioned(&[]);
    let files = place.open();
    let before = (files.chains(), files.key_file().public_keys(None).next().unwrap().1.clone());
    drop(files);
    let told = place.provision(&["--key-type", "4"]).good();
    assert!(told.err.is_empty() || !told.err.contains("has no certificate"), "{}", told.err);
    let files = place.open();
    assert_eq!(chained(&files), [(0, 1), (1, 4)]);
    assert_eq!(files.chains()[0], before.0[0]);
    assert_eq!(files.key_file().public_keys(None).next().unwrap().1, &before.1);
    drop(files);
    // without the flag, all of them are renewed
    place.provision(&["--pathlen", "2"]).good();
    let files = place.open();
    assert_eq!(chained(&files).len(), 2);
    assert_ne!(files.chains()[0], before.0[0]);
}

#[test]
fn keytypes_in_the_config_grows_with_the_keys() {
    let place = Place::provisioned(&[]);
    let mut files = place.open();
    let mut config = files.config().clone();
    config.set("", "keytypes", 1).unwrap();
    files.save(config).unwrap();
    drop(files);
    place.provision(&["--key-type", "both"]).good();
    let files = place.open();
    assert_eq!(files.enabled(), Some(vec![SigningType::Ed25519, SigningType::Ed25519SlhDsa]));
    assert_eq!(chained(&files), [(0, 1), (1, 4)]);
}

#[test]
fn a_slip_in_the_root_password_is_noticed_for_a_type_that_is_new_too() {
    let place = Place::provisioned(&[]);
    let before = (place.bytes("n.config"), place.bytes("n.crypto"));
    let args = ["provision", "n", "--role", "producer", "--topics", "lab", "--key-type", "4"];
    place.run_with(&args, "another correct horse").refused(3, "check the password, or give --new-root");
    assert_eq!((place.bytes("n.config"), place.bytes("n.crypto")), before);
    place.run_with(&[&args[..], &["--new-root"]].concat(), "another correct horse").good();
    Place::new().provision(&["--key-type", "2"]).refused(2, "no such type of key");
}

// ---- key

#[test]
fn enable_pq_puts_the_new_versions_first_and_drops_nothing() {
    let place = Place::provisioned(&["--key-type", "both"]);
    place.versions(&[1, 9]);
    let (before, config) = (place.open().node_bytes(), place.bytes("n.config"));
    for (file, changed) in [("n.config", true), ("n.crypto", false)] {
        let told = place.run(&["key", "enable-pq", file, "--json"]).json();
        assert_eq!((&told["versions"], &told["changed"]), (&json!([5, 2, 1, 9]), &json!(changed)), "{file}");
    }
    place.versions(&[1]);
    let told = place.run(&["key", "enable-pq", "n.crypto"]).good().out;
    assert!(told.contains("5 (x25519+mlkem1024), 2 (x25519+sntrup761), 1 (x25519); before: 1 (x25519)"), "{told}");
    assert_eq!((place.open().node_bytes(), place.bytes("n.config")), (before, config));
    assert_eq!(place.mode("n.crypto"), 0o600);
    let told = place.run(&["key", "enable-pq", "n.config"]).good().out;
    assert!(told.contains("has them already"), "{told}");
}

#[test]
fn enable_pq_leaves_a_node_alone_that_it_cannot_be_sure_of() {
    let place = Place::provisioned(&[]);
    place.versions(&[1]);
    place.run(&["key", "enable-pq", "missing"]).refused(5, "missing can't be read");
    place.run(&["key", "enable-pq", "n.seed"]).refused(5, "key file is damaged");
    fs::set_permissions(place.path("n.crypto"), fs::Permissions::from_mode(0o644)).unwrap();
    place.run(&["key", "enable-pq", "n.crypto"]).refused(5, "chmod 600");
    place.run(&["key", "enable-pq", "n.crypto", "--allow-readable-by-others"]).good();
    fs::set_permissions(place.path("n.crypto"), fs::Permissions::from_mode(0o600)).unwrap();
    let held = place.open();
    place.run(&["key", "enable-pq", "n.config"]).refused(5, "is in use by process");
    drop(held);
}

#[test]
fn add_type_says_what_comes_next() {
    let place = Place::provisioned(&[]);
    let done = place.run(&["key", "add-type", "n.config", "4"]).good();
    assert!(done.out.contains("signing key 1 of type 4 is new: pq:"), "{}", done.out);
    assert!(done.err.contains("kafkacrypto provision n") && done.err.contains("--key-type 4"), "{}", done.err);
    let told = place.run(&["key", "add-type", "n.config", "4", "--json"]).json();
    assert_eq!((&told["made"], &told["index"], &told["has_chain"]), (&json!(false), &json!(1), &json!(false)));
    let keys = KeyFile::decode(&place.bytes("n.crypto")).unwrap();
    assert_eq!(keys.signing_keys(None).count(), 2);
    let info = place.run(&["key", "info", "n.config"]).good().out;
    assert!(info.contains("type 4 920492c420") && info.contains("5 (x25519+mlkem1024)"), "{info}");
    place.provision(&["--key-type", "4"]).good();
    let done = place.run(&["key", "add-type", "n.config", "4"]).good();
    assert!(done.out.contains("is there: pq:") && done.err.is_empty(), "{} {}", done.out, done.err);
    place.run(&["key", "add-type", "n.config", "3"]).refused(2, "no such type of key");
    place.run(&["key", "add-type", "n.crypto", "4"]).refused(5, "n.crypto");
}

#[test]
fn chain_show_names_what_signs() {
    let place = Place::provisioned(&["--key-type", "both"]);
    let shown = place.run(&["chain", "show", "--node", "n.config"]).good().out;
    assert!(shown.contains("signature of type 4") && shown.contains("signing type 4: 920492c420"), "{shown}");
    let lines = place.run(&["chain", "show", "--node", "n.config", "--json"]).good().out;
    let chains: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&chains[0]["elements"][0]["signed_by"], &chains[1]["elements"][1]["signed_by"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(chains[1]["elements"][1]["key_kinds"], json!(["signing type 4"]));
    assert!(place.run(&["chain", "verify", "--node", "n.config", "--usage", "key-encrypt"]).code == 0);
}

// ---- escrow

#[test]
fn a_lost_seed_comes_back() {
    let place = Place::provisioned(&[]);
    let seed = place.bytes("n.seed");
    for version in ["1", "2", "5"] {
        let (key, sealed) = (format!("{version}.key"), format!("{version}.escrow"));
        let public = place.run(&["escrow", "keygen", "--version", version, "--out", &key]).good();
        fs::write(place.path("pub"), &public.out).unwrap();
        assert_eq!(place.mode(&key), 0o600);
        for node in ["n.config", "n.seed"] {
            let told = place.run(&["escrow", "seal", node, "--to", "pub"]).good();
            assert!(told.err.contains("sealed at index 0 to x25519"), "{}", told.err);
            fs::write(place.path(&sealed), told.out).unwrap();
        }
        let out = format!("{version}.seed");
        place.run(&["escrow", "open", &sealed, "--key", &key, "--out", &out]).good();
        assert_eq!((place.bytes(&out), place.mode(&out)), (seed.clone(), 0o600), "version {version}");
        let info = place.run(&["key", "info", &key]).good().out;
        assert!(info.contains(public.out.trim()) && info.contains(&format!("{version} (x25519")), "{info}");
        // neither the seed nor the secret key is ever shown
        let (told, key) = (format!("{}{}{info}", public.out, public.err), place.bytes(&key));
        assert!(!told.contains(&hex::encode(&seed[4..])) && !told.contains(&hex::encode(&key[key.len() - 16..])));
    }
}

#[test]
fn a_later_index_and_later_steps() {
    let place = Place::provisioned(&[]);
    let state = RatchetState::decode(&place.bytes("n.seed")).unwrap().next().next();
    fs::write(place.path("n.seed"), state.encode()).unwrap();
    let public = place.run(&["escrow", "keygen", "--out", "k", "--json"]).json();
    assert_eq!((&public["version"], &public["scheme"]), (&json!(5), &json!("x25519+mlkem1024")));
    let told = place.run(&["escrow", "seal", "n.seed", "--to", public["public"].as_str().unwrap(), "--json"]).json();
    assert_eq!(told["index"], 2);
    fs::write(place.path("sealed"), told["sealed"].as_str().unwrap()).unwrap();
    let open = ["escrow", "open", "sealed", "--key", "k", "--index", "2", "--json"];
    place.run(&[&open[..], &["--out", "a.seed"]].concat()).good();
    assert_eq!(place.bytes("a.seed"), *state.encode());
    let told = place.run(&[&open[..], &["--out", "b.seed", "--steps", "3"]].concat()).json();
    assert_eq!((&told["index"], place.bytes("b.seed")), (&json!(5), state.next().next().next().encode().to_vec()));
}

#[test]
fn escrow_slips_change_nothing() {
    let place = Place::provisioned(&[]);
    let public = |version, out| place.run(&["escrow", "keygen", "--version", version, "--out", out]).good().out;
    let (five, two) = (public("5", "five"), public("2", "two"));
    public("5", "other");
    let sealed = place.run(&["escrow", "seal", "n.seed", "--to", five.trim()]).good().out;
    let sealed = sealed.trim();
    place.run(&["escrow", "keygen", "--out", "five"]).refused(5, "exists already");
    place.run(&["escrow", "keygen", "--version", "3", "--out", "x"]).refused(2, "no such version");
    place.run(&["escrow", "seal", "n.seed"]).refused(2, "--to");
    place.run(&["escrow", "seal", "n.seed", "--to", "five"]).refused(2, "no public escrow key");
    place.run(&["escrow", "seal", "n.crypto", "--to", two.trim()]).refused(5, "is no seed file");
    place.run(&["escrow", "seal", "missing", "--to", two.trim()]).refused(5, "missing does not exist");
    for (key, code, said) in [("two", 1, "the key is one for x25519+sntrup761"), ("other", 1, "sealed to another key")]
    {
        place.run(&["escrow", "open", sealed, "--key", key, "--out", "x"]).refused(code, said);
    }
    place.run(&["escrow", "open", &sealed[..200], "--key", "five", "--out", "x"]).refused(1, "no escrowed secret");
    place.run(&["escrow", "open", sealed, "--key", "n.seed", "--out", "x"]).refused(5, "no secret escrow key");
    place.run(&["escrow", "open", sealed, "--key", "five", "--out", "n.seed"]).refused(5, "exists already");
    fs::set_permissions(place.path("five"), fs::Permissions::from_mode(0o640)).unwrap();
    place.run(&["escrow", "open", sealed, "--key", "five", "--out", "x"]).refused(5, "chmod 600");
    assert!(!place.path("x").exists());
}
