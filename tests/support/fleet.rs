//! A fleet of provisioned nodes in a folder, made without passwords (those cost tenths of a second each).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Extra, LeafKey, Restrictions, Usage, chain_of, leaf, root_certificate};
use kafkacrypto::keys::{SigningKey, SigningPublicKey, SigningType};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::store::KeyFile;
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::time::UnixTime;

/// A root of trust, another one of type 4 where it is needed, and the folder of the nodes' files.
pub struct Fleet {
    folder: tempfile::TempDir,
    root: SigningKey,
    pq_root: OnceLock<SigningKey>,
}

/// What a node's key file holds.
#[derive(Clone, Debug)]
pub struct Keys {
    pub types: Vec<SigningType>,
    pub versions: Vec<u64>,
    pub legacy: bool,
}

impl Keys {
    /// {type 1, 4, both} × {[1], [2], [5], [5, 2, 1], legacy}.
    pub fn every_kind() -> Vec<Self> {
        let forms: [(&[u64], bool); 5] =
            [(&[1], false), (&[2], false), (&[5], false), (&[5, 2, 1], false), (&[1], true)];
        let (one, four) = (SigningType::Ed25519, SigningType::Ed25519SlhDsa);
        let types: [&[SigningType]; 3] = [&[one], &[four], &[one, four]];
        let kind = |types: &[SigningType], (versions, legacy): (&[u64], bool)| Self {
            types: types.to_vec(),
            versions: versions.to_vec(),
            legacy,
        };
        types.iter().flat_map(|types| forms.map(|form| kind(types, form))).collect()
    }
}

impl Fleet {
    /// A fleet of its own.
    pub fn new() -> Self {
        let root = SigningKey::generate(SigningType::Ed25519, &mut UnwrapErr(SysRng));
        Self { folder: tempfile::tempdir().unwrap(), root, pq_root: OnceLock::new() }
    }

    /// The folder of the nodes' files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root of trust.
    pub fn root(&self) -> &SigningKey {
        &self.root
    }

    /// The root of trust of a type.
    pub fn root_of(&self, kind: SigningType) -> &SigningKey {
        match kind {
            SigningType::Ed25519 => &self.root,
            SigningType::Ed25519SlhDsa => {
                self.pq_root.get_or_init(|| SigningKey::generate(kind, &mut UnwrapErr(SysRng)))
            }
        }
    }

    /// Where a node's config is.
    pub fn config(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.config"))
    }

    /// Provisions a node for some root topics (all if there are none) and returns its config's path.
    pub fn node(&self, name: &str, role: NodeRole, topics: &[&str]) -> PathBuf {
        self.node_with(name, role, topics, |_| {})
    }

    /// Likewise, with a change to the config's text values.
    pub fn node_with(
        &self,
        name: &str,
        role: NodeRole,
        topics: &[&str],
        edit: impl FnOnce(&mut NodeConfig),
    ) -> PathBuf {
        let path = self.config(name);
        let mut rng = UnwrapErr(SysRng);
        let mut files = NodeFiles::open_or_create(&path, name, OpenOptions::default(), &mut rng).unwrap();
        for (slot, key) in files.signers() {
            let chain = self.chain(key.public(), role.usages(), topics, UnixTime::from_secs(4_000_000_000));
            files.save_chain(slot, &chain).unwrap();
            let root = self.root_of(key.public().signing_type());
            files.save_listed(List::Allow, &root_certificate(root.public())).unwrap();
        }
        let mut config = files.config().clone();
        edit(&mut config);
        files.save(config).unwrap();
        path
    }

    /// Likewise, with a key file of its own kind: a chain for each of its keys, and trust in their roots.
    pub fn node_of(
        &self,
        name: &str,
        role: NodeRole,
        topics: &[&str],
        keys: &Keys,
        edit: impl FnOnce(&mut NodeConfig),
    ) -> PathBuf {
        let rng = &mut UnwrapErr(SysRng);
        let mut file = KeyFile::fresh(rng).with_versions(&keys.versions).with_legacy(keys.legacy);
        keys.types.iter().for_each(|kind| _ = file.add_signing_key(*kind, rng));
        let path = self.config(name).with_extension("crypto");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path).unwrap().write_all(&file.encode()).unwrap();
        self.node_with(name, role, topics, edit)
    }

    /// A chain of one element for a key, by the root of its type.
    pub fn chain(&self, key: &SigningPublicKey, usages: &[Usage], topics: &[&str], until: UnixTime) -> Vec<u8> {
        let topics = if topics.is_empty() { &["^.*$"] } else { topics };
        let limits = Restrictions::none().with_topics(topics).with_usages(usages.iter().copied()).with_pathlen(1);
        let none: &[Extra<'_>] = &[];
        let root = self.root_of(key.signing_type());
        chain_of(&[&root.sign(&leaf(until, &limits, &LeafKey::Signing(key.clone()), none))])
    }
}
