//! From a node's files to what its engine starts with, and back.

use std::sync::{Arc, Mutex, PoisonError};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use tracing::warn;

use super::machine::NodeStore;
use super::node_files::{List, NodeFiles};
use crate::chain::{self, Extra, LeafKey, Restrictions, TEMPORARY_ROOT_SEED, TrustLists, Usage};
use crate::engine::{Change, NodeSetup, OwnKey, Settings};
use crate::error::{Error, ErrorKind};
use crate::keys::{Scheme, SigningKey, SigningPublicKey};
use crate::store::OldKeys;
use crate::store::config::NodeSettings;
use crate::time::UnixTime;
use crate::topic::Naming;

/// A node's files, shared by its engine and by whoever loads and stores values of an application in its config.
#[derive(Clone, Debug)]
pub(super) struct FileStore {
    files: Arc<Mutex<Option<NodeFiles>>>,
    policy: Policy,
}

/// What the program asked for, beyond what the files say.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// Public keys of signers that the program brings, in place of the key file's.
    pub(super) own_signers: Option<Vec<(usize, SigningPublicKey)>>,
    pub(super) allow_unprovisioned: bool,
    pub(super) ask_unauthorised: bool,
    /// Also if the config doesn't ask for it.
    pub(super) require_pq: bool,
    pub(super) history: Option<std::time::Duration>,
}

impl FileStore {
    pub(super) fn new(files: NodeFiles, policy: Policy) -> Self {
        Self { files: Arc::new(Mutex::new(Some(files))), policy }
    }

    /// Does something with the files; fails once the node is closed.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut NodeFiles) -> Result<T, Error>) -> Result<T, Error> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        act(files.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "the node was closed"))?)
    }

    /// Lets go of the files.
    pub(super) fn close(&self) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn own_keys(&self, files: &NodeFiles) -> Result<Vec<OwnKey>, Error> {
        let chains = files.chains();
        let signers =
            self.policy.own_signers.clone().unwrap_or_else(|| {
                files.signers().into_iter().map(|(slot, key)| (slot, key.public().clone())).collect()
            });
        let mut keys = Vec::new();
        for (slot, public) in signers {
            match chains.iter().find(|(index, chain)| *index == slot && !chain.is_empty()) {
                Some((_, chain)) => keys.push(OwnKey { slot, public, chain: chain.clone() }),
                None if self.policy.allow_unprovisioned => {
                    keys.push(OwnKey { slot, chain: temporary_chain(&public), public });
                }
                None => warn!("the signing key {public} has no chain, so it isn't used; provision the node again"),
            }
        }
        if keys.is_empty() {
            let path = files.config_path().display();
            let text = format!("{path} has no certificate chain; run `kafkacrypto provision` for this node");
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        Ok(keys)
    }
}

impl NodeStore for FileStore {
    fn setup(&mut self) -> Result<NodeSetup, Error> {
        self.with(|files| {
            let settings = engine_settings(files.settings(), &self.policy);
            Ok(NodeSetup {
                naming: naming(files.settings()),
                keys: self.own_keys(files)?,
                node: files.node_bytes(),
                lists: trust_lists(files),
                schemes: schemes(files, settings.require_pq)?,
                settings,
                legacy: files.key_file().legacy(),
                old_keys: old_keys(files)?.entries,
                can_produce: true,
            })
        })
    }

    fn save(&mut self, change: Change) -> Result<(), Error> {
        self.with(|files| {
            match change {
                Change::OldKeys(keys) => files.save_old_keys(&OldKeys { entries: keys }, &mut UnwrapErr(SysRng)),
                Change::Chain { slot, chain } => files.save_chain(slot, &chain),
                Change::Allow(certificate) => files.save_listed(List::Allow, &certificate),
                Change::Deny(certificate) => files.save_listed(List::Deny, &certificate),
            }
            .map_err(Error::from)
        })
    }
}

/// How this node's config names topics.
pub(super) fn naming(settings: &NodeSettings) -> Naming {
    Naming {
        separator: settings.topic_separator.clone(),
        suffix_subs: settings.topic_suffix_subs.clone(),
        suffix_keys: settings.topic_suffix_keys.clone(),
        suffix_reqs: settings.topic_suffix_reqs.clone(),
        chains: settings.mgmt_topic_chains.as_str().into(),
        allowlist: settings.mgmt_topic_allowlist.as_str().into(),
        denylist: settings.mgmt_topic_denylist.as_str().into(),
    }
}

fn engine_settings(settings: &NodeSettings, policy: &Policy) -> Settings {
    Settings {
        sub_interval: settings.crypto_sub_interval,
        ratchet_interval: settings.crypto_ratchet_interval,
        max_pgen_age: settings.crypto_max_pgen_age,
        long_keyindex: settings.mgmt_long_keyindex,
        maxage: settings.max_age,
        history: Some(policy.history.unwrap_or(settings.crypto_reqs_lookback)),
        require_pq: settings.require_pq || policy.require_pq,
        ask_unauthorised: policy.ask_unauthorised,
    }
}

/// The exchanges of the key file, which must have a post-quantum one if that is required.
fn schemes(files: &NodeFiles, require_pq: bool) -> Result<Vec<Scheme>, Error> {
    let schemes = files.key_file().schemes();
    if require_pq && !schemes.iter().any(|scheme| scheme.is_post_quantum()) {
        let path = files.key_path().display();
        let text = format!(
            "{path} has no post-quantum exchange, and require_pq asks for one; run `kafkacrypto key enable-pq` for this node"
        );
        return Err(Error::new(ErrorKind::Configuration, text));
    }
    Ok(schemes)
}

fn trust_lists(files: &NodeFiles) -> TrustLists {
    let (allow, deny) = (files.listed(List::Allow), files.listed(List::Deny));
    let (lists, warnings) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
    warnings.iter().for_each(|warning| warn!("an entry of the allowlist or denylist is left out: {warning}"));
    if lists.trusts_temporary() {
        warn!("the allowlist trusts the temporary root, whose key everybody knows; remove it");
    }
    lists
}

fn old_keys(files: &NodeFiles) -> Result<OldKeys, Error> {
    let (old, malformed) = files.old_keys()?;
    if malformed > 0 {
        warn!("{malformed} producer secret(s) in the config can't be read and are left out");
    }
    Ok(old)
}

/// The chain of a node that was never provisioned (protocol §8.4): signed with a key that everybody knows.
fn temporary_chain(public: &SigningPublicKey) -> Vec<u8> {
    let usages = [Usage::Encrypt, Usage::EncryptRequest, Usage::EncryptSubscribe];
    let limits = Restrictions::none().with_topics(["^.*$"]).with_usages(usages).with_pathlen(1);
    let none: &[Extra<'_>] = &[];
    let certificate = chain::leaf(UnixTime::ZERO, &limits, &LeafKey::Signing(public.clone()), none);
    let root = SigningKey::from_ed25519_seed(&TEMPORARY_ROOT_SEED);
    chain::chain_of(&[&root.sign(&certificate)])
}
