//! A fleet of provisioned nodes in a folder, made without passwords (those cost tenths of a second each).

use std::path::{Path, PathBuf};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::chain::{Extra, LeafKey, Restrictions, Usage, chain_of, leaf, root_certificate};
use kafkacrypto::keys::{SigningKey, SigningPublicKey, SigningType};
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{List, NodeFiles, OpenOptions};
use kafkacrypto::time::UnixTime;

/// One root of trust and the folder of its nodes' files.
pub struct Fleet {
    folder: tempfile::TempDir,
    root: SigningKey,
}

impl Fleet {
    /// A fleet of its own.
    pub fn new() -> Self {
        let root = SigningKey::generate(SigningType::Ed25519, &mut UnwrapErr(SysRng));
        Self { folder: tempfile::tempdir().unwrap(), root }
    }

    /// The folder of the nodes' files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root of trust.
    pub fn root(&self) -> &SigningKey {
        &self.root
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
        edit: impl FnOnce(&mut kafkacrypto::store::config::NodeConfig),
    ) -> PathBuf {
        let path = self.config(name);
        let mut rng = UnwrapErr(SysRng);
        let mut files = NodeFiles::open_or_create(&path, name, OpenOptions::default(), &mut rng).unwrap();
        let signers = files.signers();
        let (slot, key) = &signers[0];
        files
            .save_chain(*slot, &self.chain(key.public(), role.usages(), topics, UnixTime::from_secs(4_000_000_000)))
            .unwrap();
        files.save_listed(List::Allow, &root_certificate(self.root.public())).unwrap();
        let mut config = files.config().clone();
        edit(&mut config);
        files.save(config).unwrap();
        path
    }

    /// A chain of one element for a key.
    pub fn chain(&self, key: &SigningPublicKey, usages: &[Usage], topics: &[&str], until: UnixTime) -> Vec<u8> {
        let topics = if topics.is_empty() { &["^.*$"] } else { topics };
        let limits = Restrictions::none().with_topics(topics).with_usages(usages.iter().copied()).with_pathlen(1);
        let none: &[Extra<'_>] = &[];
        chain_of(&[&self.root.sign(&leaf(until, &limits, &LeafKey::Signing(key.clone()), none))])
    }
}
