#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::keys::{KeyIndex, Ratchet};
use crate::secret::Secret;
use crate::store::OldKey;
use crate::time::UnixTime;
use crate::topic::Root;

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with the files of a new node `n`.
    fn provisioned() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        drop(NodeFiles::open_or_create(&place.path("n.config"), "n", OpenOptions::default(), &mut rng()).unwrap());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Result<NodeFiles, NodeFilesError> {
        NodeFiles::open(&self.path("n.config"), OpenOptions::default(), &mut rng())
    }

    fn error(&self) -> String {
        self.open().unwrap_err().to_string()
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        ["n.config", "n.crypto", "n.seed"].iter().map(|name| fs::read(self.path(name)).unwrap()).collect()
    }
}

#[test]
fn new_files_are_their_owner_s_alone_and_kept_afterwards() {
    let place = Place::provisioned();
    for name in ["n.config", "n.crypto", "n.seed"] {
        assert_eq!(fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let before = place.bytes();
    let again = NodeFiles::open_or_create(&place.path("n.config"), "n", OpenOptions::default(), &mut rng()).unwrap();
    assert!(again.created().is_empty() && again.notices().is_empty());
    assert_eq!(place.bytes(), before);
}

#[test]
fn a_half_made_node_is_completed_with_the_keys_that_it_has() {
    let place = Place::provisioned();
    let keys = fs::read(place.path("n.crypto")).unwrap();
    fs::remove_file(place.path("n.config")).unwrap();
    fs::remove_file(place.path("n.seed")).unwrap();
    let again = NodeFiles::open_or_create(&place.path("n.config"), "n", OpenOptions::default(), &mut rng()).unwrap();
    assert_eq!(again.created().len(), 2);
    assert_eq!(fs::read(place.path("n.crypto")).unwrap(), keys);
}

#[test]
fn a_config_that_names_no_files_gets_some() {
    let place = Place(tempfile::tempdir().unwrap());
    fs::write(place.path("n.config"), "[DEFAULT]\nnode_id : n\n; mine\n").unwrap();
    assert!(place.error().contains("provision the node first"));
    let opened = NodeFiles::open_or_create(&place.path("n.config"), "n", OpenOptions::default(), &mut rng()).unwrap();
    assert_eq!((opened.created().len(), opened.signers().len()), (2, 1));
    assert!(opened.config().render().contains("; mine"));
    drop(opened);
    let other = NodeFiles::open_or_create(&place.path("n.config"), "m", OpenOptions::default(), &mut rng());
    assert!(other.unwrap_err().to_string().contains("not of `m`"));
}

#[test]
fn what_a_config_names_is_never_made_anew() {
    let place = Place::provisioned();
    fs::remove_file(place.path("n.seed")).unwrap();
    let error = NodeFiles::open_or_create(&place.path("n.config"), "n", OpenOptions::default(), &mut rng());
    assert!(error.unwrap_err().to_string().contains("n.seed does not exist"));
    assert!(!place.path("n.seed").exists());
}

#[test]
fn the_files_of_a_node_can_be_moved_together() {
    let (place, other) = (Place::provisioned(), tempfile::tempdir().unwrap());
    for name in ["n.config", "n.crypto", "n.seed"] {
        fs::rename(place.path(name), other.path().join(name)).unwrap();
    }
    let moved = NodeFiles::open(&other.path().join("n.config"), OpenOptions::default(), &mut rng()).unwrap();
    assert_eq!(moved.key_path(), other.path().canonicalize().unwrap().join("n.crypto"));
}

#[test]
fn a_step_is_on_disk_before_its_state_is_used() {
    let place = Place::provisioned();
    let opened = place.open().unwrap();
    let (ratchet, root) = (opened.ratchet(), Root::new("lab"));
    assert!(ratchet.root_secret(&root).is_err());
    let first = RatchetState::decode(&fs::read(place.path("n.seed")).unwrap()).unwrap();
    assert_eq!(ratchet.step().unwrap(), 0);
    let stored = RatchetState::decode(&fs::read(place.path("n.seed")).unwrap()).unwrap();
    assert_eq!(stored.index(), 1);
    assert!(ratchet.root_secret(&root).unwrap().same_as(&first.root_secret(&root)));
    drop((opened, ratchet));
    assert_eq!(place.open().unwrap().ratchet().step().unwrap(), 1);
}

#[test]
fn what_is_saved_is_there_after_a_restart() {
    let place = Place::provisioned();
    let mut opened = place.open().unwrap();
    let (root, secret) = (Root::new("lab"), Secret::filled(|place| place.fill(9)));
    let entry = OldKey { root, index: KeyIndex::Short(1), secret, birth: UnixTime::from_secs(7) };
    opened.save_old_keys(&OldKeys { entries: vec![entry] }, &mut rng()).unwrap();
    let key = opened.signers()[0].1.clone();
    let chain = |root: u8, leaf: &SigningKey| {
        let root = SigningKey::from_ed25519_seed(&[root; 32]);
        crate::chain::chain_of(&[&root.sign(&crate::chain::root_certificate(leaf.public()))])
    };
    let other = SigningKey::from_ed25519_seed(&[9; 32]);
    opened.save_chain(0, &chain(1, &other)).unwrap();
    opened.save_chain(0, &chain(1, &key)).unwrap();
    opened.save_chain(0, &chain(2, &key)).unwrap();
    opened.save_listed(List::Deny, b"certificate").unwrap();
    drop(opened);
    let opened = place.open().unwrap();
    assert_eq!(opened.old_keys().unwrap().0.entries[0].secret.expose(), &[9; 32]);
    assert_eq!(opened.chains(), [(0, chain(2, &key))]);
    assert_eq!(opened.config().get("chains", "chain0").unwrap().unwrap().as_bytes(), Some(&chain(1, &other)[..]));
    assert_eq!(opened.listed(List::Deny), [b"certificate".to_vec()]);
    assert!(opened.listed(List::Allow).is_empty());
    let name = hex::encode(sha256::hash(&[b"certificate"]));
    assert_eq!(opened.config().entries("denylist")[0].name_bytes().map(hex::encode), Some(name));
}

#[test]
fn asked_for_key_types_are_added_and_old_key_files_renewed() {
    let place = Place::provisioned();
    let mut out = crate::wire::Writer::new();
    out.array(2).bin(SigningKey::from_ed25519_seed(&[1; 32]).to_bytes().expose()).bin(&[7; 32]);
    fs::write(place.path("n.crypto"), out.finish()).unwrap();
    let opened = place.open().unwrap();
    assert_eq!((opened.signers().len(), opened.key_file().legacy()), (1, true));
    assert!(opened.notices()[0].contains("old format"), "{:?}", opened.notices());
    drop(opened);
    fs::write(place.path("n.crypto"), &*KeyFile::fresh(&mut rng()).encode()).unwrap();
    let text = fs::read_to_string(place.path("n.config")).unwrap().replace("[n]\n", "[n]\nkeytypes : 1\n");
    fs::write(place.path("n.config"), text).unwrap();
    assert_eq!(place.open().unwrap().signers().len(), 1);
    assert_eq!(place.open().unwrap().node_bytes().len(), 32);
}

#[test]
fn bad_files_are_refused_in_one_sentence_and_left_as_they_are() {
    for (name, content, said) in [
        ("n.config", &b"[n]\n"[..], "names no node"),
        ("n.config", b"[DEFAULT]\nnode_id : n\n", "provision the node first"),
        ("n.config", b"\xff", "not UTF-8"),
        ("n.crypto", b"", "ends too early"),
        ("n.crypto", b"\x95\x03\x90\xc4\0\xc2\x90", "format 3"),
        ("n.seed", b"", "n.seed: the seed file is damaged"),
        ("n.seed", b"\x92\x01\xc4\x01a", "restore it from a backup"),
    ] {
        let place = Place::provisioned();
        fs::write(place.path(name), content).unwrap();
        let before = place.bytes();
        let error = place.error();
        assert!(error.contains(said), "{error}");
        assert_eq!(place.bytes(), before);
    }
}

#[test]
fn files_open_to_others_are_refused_unless_allowed() {
    for name in ["n.crypto", "n.seed"] {
        let place = Place::provisioned();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(place.error().contains("chmod 600"));
        let lenient = OpenOptions::default().allow_readable_by_others(true);
        assert!(NodeFiles::open(&place.path("n.config"), lenient, &mut rng()).is_ok());
    }
}

#[test]
fn a_password_that_others_can_read_is_told() {
    let place = Place::provisioned();
    let mut opened = place.open().unwrap();
    let mut config = opened.config().clone();
    config.set("kafka", "sasl_plain_password", "secret").unwrap();
    opened.save(config).unwrap();
    drop(opened);
    fs::set_permissions(place.path("n.config"), fs::Permissions::from_mode(0o644)).unwrap();
    let notices = place.open().unwrap().notices().to_vec();
    assert!(notices.iter().any(|notice| notice.contains("holds a password")), "{notices:?}");
}
