//! A provisioned node's files, opened, locked and saved: what the runtime and the tool have of the disk.

mod error;
mod keys;
mod secret;
mod seed;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{self, FileKind, LockedFile};
use crate::keys::{RatchetState, SigningKey, SigningType};
use crate::primitives::sha256;
use crate::provision::{leaf_key, store_chain};
use crate::store::config::{ConfigError, NodeConfig, NodeSettings};
use crate::store::{self, KeyFile, OldKeys, VaultError};

use keys::read_key_file;

pub use error::NodeFilesError;
pub use keys::edit_key_file;
pub use secret::{create_secret, read_secret};
pub use seed::SeedFile;

/// A node's three files, held by this process alone until dropped: config, key file and seed file (protocol §12).
///
/// Every call that saves blocks until the change is durable; on failure the file and what is read here stay as they were.
///
/// ```
/// use kafkacrypto::runtime::{NodeFiles, OpenOptions};
/// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("sensor-1.config");
/// assert!(NodeFiles::open(&path, OpenOptions::default(), &mut rng).is_err());
/// let files = NodeFiles::open_or_create(&path, "sensor-1", OpenOptions::default(), &mut rng).unwrap();
/// assert_eq!(files.created().len(), 3);
/// assert_eq!(files.signers().len(), 1);
/// // nobody else gets them meanwhile
/// assert!(NodeFiles::open(&path, OpenOptions::default(), &mut rng).is_err());
/// ```
pub struct NodeFiles {
    config_file: LockedFile,
    config: NodeConfig,
    settings: NodeSettings,
    key_path: PathBuf,
    key_file: KeyFile,
    ratchet: Arc<SeedFile>,
    options: OpenOptions,
    created: Vec<PathBuf>,
    notices: Vec<String>,
}

/// How strict to be when opening, and what a new node gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    allow_others: bool,
    key_types: &'static [SigningType],
}

/// Which list a certificate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Keys that are trusted.
    Allow,
    /// Keys that are refused.
    Deny,
}

impl OpenOptions {
    /// Takes a key file or a seed file that others on this machine can read, which is refused otherwise.
    #[must_use]
    pub fn allow_readable_by_others(mut self, allow: bool) -> Self {
        self.allow_others = allow;
        self
    }

    /// The types of the signing keys in a new key file, one key of each; type 1 unless said.
    #[must_use]
    pub fn new_key_types(mut self, types: &'static [SigningType]) -> Self {
        self.key_types = types;
        self
    }

    pub(super) fn secret(self) -> FileKind {
        FileKind::Secret { allow_others: self.allow_others }
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { allow_others: false, key_types: &[SigningType::Ed25519] }
    }
}

impl NodeFiles {
    /// Opens and locks the files of a provisioned node. Entries of old configs move to where they belong now, an old key
    /// file is written anew, and a key of a type that `keytypes` asks for is added when it is missing.
    ///
    /// # Errors
    /// [`NodeFilesError`]; no file was changed then, but for what the sentence above says.
    pub fn open(
        config: &Path,
        options: OpenOptions,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Result<Self, NodeFilesError> {
        let config_file = LockedFile::open(config, FileKind::Plain)?;
        let failed = |reason| config_error(&config_file, reason);
        let node = NodeConfig::from_bytes(&config_file.read()?).map_err(failed)?;
        let settings = node.settings().map_err(failed)?;
        let key_path = named_file(config_file.path(), "cryptokey", settings.key_file.as_deref())?;
        let seed_path = named_file(config_file.path(), "ratchet", settings.seed_file.as_deref())?;
        let key_file = read_key_file(&key_path, options)?;
        let ratchet = Arc::new(SeedFile::open(&seed_path, options)?);
        let (created, notices) = (Vec::new(), Vec::new());
        let mut opened =
            Self { config_file, config: node, settings, key_path, key_file, ratchet, options, created, notices };
        opened.migrate()?;
        opened.complete_keys(rng)?;
        opened.notice()?;
        Ok(opened)
    }

    /// [`NodeFiles::open`]; makes what a new node lacks, each file for its owner alone: a key file with a signing key of
    /// each type that the options name, a seed, a config that trusts nobody yet. A file that an existing config names is never made anew.
    ///
    /// # Errors
    /// [`NodeFilesError`], also if the config is another node's.
    pub fn open_or_create(
        config: &Path,
        node_id: &str,
        options: OpenOptions,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Result<Self, NodeFilesError> {
        let created = create_missing(config, node_id, options, rng)?;
        let mut opened = Self::open(config, options, rng)?;
        opened.created = created;
        Ok(opened)
    }

    /// The files that [`NodeFiles::open_or_create`] has made.
    #[must_use]
    pub fn created(&self) -> &[PathBuf] {
        &self.created
    }

    /// What an operator should know of these files, one sentence each.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Where the config is.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        self.config_file.path()
    }

    /// Where the key file is.
    #[must_use]
    pub fn key_path(&self) -> &Path {
        &self.key_path
    }

    /// The config. To change it, [save](NodeFiles::save) a changed copy.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The settings in the config.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// The key file.
    #[must_use]
    pub fn key_file(&self) -> &KeyFile {
        &self.key_file
    }

    /// The ratchet, which needs a step before it gives out anything.
    #[must_use]
    pub fn ratchet(&self) -> Arc<SeedFile> {
        Arc::clone(&self.ratchet)
    }

    /// The signing keys to use, each with the index that names its chain.
    #[must_use]
    pub fn signers(&self) -> Vec<(usize, Arc<SigningKey>)> {
        let enabled = self.enabled();
        let keys = self.key_file.signing_keys(enabled.as_deref());
        keys.map(|(index, key)| (index, Arc::clone(key))).collect()
    }

    /// What long key indices are made from (protocol §4).
    #[must_use]
    pub fn node_bytes(&self) -> Vec<u8> {
        self.key_file.node_bytes(self.enabled().as_deref())
    }

    /// Our own chains, each with the index of its key: the last one that is for the key, whatever its name. Not verified.
    #[must_use]
    pub fn chains(&self) -> Vec<(usize, Vec<u8>)> {
        let entries = self.config.entries("chains").into_iter().rev();
        let chains = entries.filter_map(|entry| Some(entry.value.ok()?.as_bytes()?.to_vec()));
        let chains: Vec<_> = chains.filter_map(|chain| Some((leaf_key(&chain)?, chain))).collect();
        let own = |key| chains.iter().find(|(leaf, _)| leaf == key).map(|(_, chain)| chain.clone());
        let enabled = self.enabled();
        let keys = self.key_file.public_keys(enabled.as_deref());
        keys.filter_map(|(index, key)| Some((index, own(key)?))).collect()
    }

    /// The certificates on a list. Entries that can't be read are left out.
    #[must_use]
    pub fn listed(&self, list: List) -> Vec<Vec<u8>> {
        let entries = self.config.entries(list.section()).into_iter();
        entries.filter_map(|entry| Some(entry.value.ok()?.as_bytes()?.to_vec())).collect()
    }

    /// The producer secrets of earlier runs, and how many entries among them could not be read.
    ///
    /// # Errors
    /// [`NodeFilesError::OldKeys`].
    pub fn old_keys(&self) -> Result<(OldKeys, usize), NodeFilesError> {
        let failed = |reason| NodeFilesError::OldKeys { path: self.config_path().to_owned(), reason };
        let value = self.config.get("crypto", "oldkeys").map_err(|reason| self.config_error(reason))?;
        let Some(value) = value else { return Ok((OldKeys::default(), 0)) };
        let opaque = value.as_bytes().ok_or(VaultError::Sealed).map_err(failed)?;
        let opened = store::open(self.key_file.ek(), opaque).map_err(failed)?;
        OldKeys::decode(&opened).map_err(failed)
    }

    /// Replaces the config.
    ///
    /// # Errors
    /// [`NodeFilesError::File`], [`NodeFilesError::Config`].
    pub fn save(&mut self, config: NodeConfig) -> Result<(), NodeFilesError> {
        let settings = config.settings().map_err(|reason| self.config_error(reason))?;
        if config != self.config {
            self.config_file.replace(config.render().as_bytes())?;
        }
        (self.config, self.settings) = (config, settings);
        Ok(())
    }

    /// Stores the producer secrets, sealed.
    ///
    /// # Errors
    /// As [`NodeFiles::save`].
    pub fn save_old_keys(&mut self, keys: &OldKeys, rng: &mut dyn rand_core::CryptoRng) -> Result<(), NodeFilesError> {
        let opaque = store::seal(self.key_file.ek(), rng, &keys.encode());
        self.edit(|config| config.set("crypto", "oldkeys", opaque))
    }

    /// Stores our chain for the signing key of this index, in the place of the one that it has.
    ///
    /// # Errors
    /// As [`NodeFiles::save`].
    pub fn save_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), NodeFilesError> {
        self.edit(|config| store_chain(config, index, chain))
    }

    /// Adds a certificate to a list, under its hash as protocol §7.3 says.
    ///
    /// # Errors
    /// As [`NodeFiles::save`].
    pub fn save_listed(&mut self, list: List, certificate: &[u8]) -> Result<(), NodeFilesError> {
        self.edit(|config| config.set_bytes(list.section(), &sha256::hash(&[certificate]), certificate))
    }

    /// `keytypes` of the config: none means all.
    #[must_use]
    pub fn enabled(&self) -> Option<Vec<SigningType>> {
        let types = self.settings.key_types.as_ref()?;
        Some(types.iter().filter_map(|number| SigningType::from_number((*number).into())).collect())
    }

    fn edit(&mut self, change: impl FnOnce(&mut NodeConfig) -> Result<(), ConfigError>) -> Result<(), NodeFilesError> {
        let mut config = self.config.clone();
        change(&mut config).map_err(|reason| self.config_error(reason))?;
        self.save(config)
    }

    fn migrate(&mut self) -> Result<(), NodeFilesError> {
        let mut config = self.config.clone();
        let moved = config.migrate().map_err(|reason| self.config_error(reason))?;
        self.save(config)?;
        self.notices.extend(moved.into_iter().map(|entry| format!("an entry of an old config was moved: {entry}")));
        Ok(())
    }

    /// Writes an old key file in the new form, and adds keys that the config asks for.
    fn complete_keys(&mut self, rng: &mut dyn rand_core::CryptoRng) -> Result<(), NodeFilesError> {
        if self.key_file.needs_upgrade() {
            self.edit_keys(|keys| keys)?;
            self.notices.push(format!("{} was of an old format and has been written anew", self.key_path.display()));
        }
        for kind in self.enabled().unwrap_or_default() {
            let known = self.key_file.public_keys(None).any(|(_, public)| public.signing_type() == kind);
            if !known {
                self.add_signing_key(kind, rng)?;
                self.notices
                    .push(format!("a signing key of type {} was added; provision the node again", kind.number()));
            }
        }
        Ok(())
    }

    fn notice(&mut self) -> Result<(), NodeFilesError> {
        let path = self.key_path.display();
        let warnings = self.key_file.warnings();
        self.notices.extend(warnings.iter().map(|warning| format!("{path}: {warning}")));
        if self.config_file.open_to_others()?.is_some() && holds_password(&self.config) {
            let path = self.config_path().display().to_string();
            self.notices.push(format!("{path} holds a password and others can read it; run `chmod 600 {path}`"));
        }
        Ok(())
    }

    fn config_error(&self, reason: ConfigError) -> NodeFilesError {
        config_error(&self.config_file, reason)
    }
}

impl fmt::Debug for NodeFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeFiles")
            .field("config", &self.config_path())
            .field("keys", &self.key_file)
            .finish_non_exhaustive()
    }
}

impl List {
    fn section(self) -> &'static str {
        match self {
            Self::Allow => "allowlist",
            Self::Deny => "denylist",
        }
    }
}

/// The file that a config names (`file#…`). A relative path is one from the current folder, as in Python.
///
/// DIFFERENCE: what isn't there is looked for from the config's folder, and beside the config, so that the files of a node
/// can be moved together. Python makes a new file instead.
#[must_use]
pub fn resolve(config: &Path, named: &str) -> PathBuf {
    let named = PathBuf::from(named);
    let folder = config.parent().unwrap_or(Path::new("."));
    let beside = named.file_name().map(|name| folder.join(name));
    let candidates = [Some(named.clone()), Some(folder.join(&named)), beside];
    candidates.into_iter().flatten().find(|path| path.is_file()).unwrap_or(named)
}

/// Makes the files that a config doesn't name yet, and the config; the config last, so that a crash in between is made
/// good by the next try.
fn create_missing(
    config: &Path,
    node_id: &str,
    options: OpenOptions,
    rng: &mut dyn rand_core::CryptoRng,
) -> Result<Vec<PathBuf>, NodeFilesError> {
    let failed = |reason| NodeFilesError::Config { path: config.to_owned(), reason };
    let new = config.symlink_metadata().is_err();
    let mut file = if new { None } else { Some(LockedFile::open(config, FileKind::Plain)?) };
    let mut node = match &file {
        None => NodeConfig::new(node_id).map_err(failed)?,
        Some(file) => NodeConfig::from_bytes(&file.read()?).map_err(failed)?,
    };
    node.expect_node(node_id).map_err(failed)?;
    let settings = node.settings().map_err(failed)?;
    let mut created = Vec::new();
    if settings.key_file.is_none() {
        name_file(config, &mut node, "cryptokey", "crypto", &new_key_file(options, rng).encode(), &mut created)?;
    }
    if settings.seed_file.is_none() {
        name_file(config, &mut node, "ratchet", "seed", &RatchetState::fresh(rng).encode(), &mut created)?;
    }
    match &mut file {
        None => {
            files::create_private(config, node.render().as_bytes())?;
            created.push(config.to_owned());
        }
        Some(file) if settings.key_file.is_none() || settings.seed_file.is_none() => {
            file.replace(node.render().as_bytes())?;
        }
        Some(_) => {}
    }
    Ok(created)
}

/// Has the config name a file beside it, which is made unless it is there.
fn name_file(
    config: &Path,
    node: &mut NodeConfig,
    setting: &str,
    extension: &str,
    bytes: &[u8],
    created: &mut Vec<PathBuf>,
) -> Result<(), NodeFilesError> {
    let path = absolute(&config.with_extension(extension));
    let failed = |reason| NodeFilesError::Config { path: config.to_owned(), reason };
    node.set("", setting, format!("file#{}", path.display())).map_err(failed)?;
    if path.symlink_metadata().is_err() {
        files::create_private(&path, bytes)?;
        created.push(path);
    }
    Ok(())
}

fn new_key_file(options: OpenOptions, rng: &mut dyn rand_core::CryptoRng) -> KeyFile {
    let mut keys = KeyFile::fresh(rng);
    options.key_types.iter().for_each(|kind| _ = keys.add_signing_key(*kind, rng));
    keys
}

fn named_file(config: &Path, setting: &'static str, named: Option<&str>) -> Result<PathBuf, NodeFilesError> {
    let not_provisioned = || NodeFilesError::NotProvisioned { path: config.to_owned(), setting };
    named.map(|named| resolve(config, named)).ok_or_else(not_provisioned)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn config_error(file: &LockedFile, reason: ConfigError) -> NodeFilesError {
    NodeFilesError::Config { path: file.path().to_owned(), reason }
}

fn holds_password(config: &NodeConfig) -> bool {
    let kafka =
        ["kafka", "kafka-consumer", "kafka-producer", "kafka-crypto", "kafka-crypto-consumer", "kafka-crypto-producer"];
    kafka.iter().flat_map(|section| config.entries(section)).any(|entry| entry.name.to_lowercase().contains("password"))
}

#[cfg(test)]
mod tests;
