//! What is known without the engine's word: what was sealed by whom, who asked, who is revoked, what is durable; and what
//! follows from it for all that the engine does.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::super::exchange::{answered_random, leaf_of};
use super::super::model::{hybrid, key, public};
use super::super::program::Program;
use super::Kind;
use super::cast::{HYBRID, hybrid_chain, key_of, opened, own_chain, somebody};
use crate::chain::{Certificate, TrustLists, root_certificate};
use crate::engine::{Action, ActionId, Change, KeyringChange, NodeSetup, Outcome, OwnKey, Settings};
use crate::keys::{KeyIndex, RatchetState, SigningPublicKey};
use crate::primitives::sha256;
use crate::secret::Secret;
use crate::store::OldKey;
use crate::time::UnixTime;
use crate::topic::{Naming, Root};
/// What is known without the engine's word.
#[derive(Default)]
pub(super) struct Facts {
    /// Requests of the node: root, record key, chain.
    pub(super) asked: Vec<(Root, Vec<u8>, Vec<u8>)>,
    /// What was sealed for the node, and by whom.
    pub(super) sealed: BTreeSet<(Root, KeyIndex, [u8; 32], SigningPublicKey)>,
    /// Who has asked the node, by `random0`.
    pub(super) requested: BTreeSet<(Vec<u8>, usize)>,
    pub(super) denied: BTreeSet<SigningPublicKey>,
    pub(super) require_pq: bool,
    pub(super) stranger_allowed: bool,
    /// A mutation has put somebody else on the allowlist: who may what isn't known any more.
    pub(super) odd: bool,
    /// The files.
    pub(super) old_keys: Vec<Durable>,
    pub(super) allow: Vec<Vec<u8>>,
    pub(super) deny: Vec<Vec<u8>>,
    pub(super) chain: usize,
    pub(super) ratchet: u64,
    /// The chain that the node holds, and indices of earlier runs.
    pub(super) held: usize,
    pub(super) earlier: BTreeSet<KeyIndex>,
    /// All that was ever durable.
    pub(super) ever: BTreeSet<(Root, KeyIndex, [u8; 32])>,
    /// Every record that came by.
    pub(super) records: Vec<Passed>,
}

/// A producer secret in the config, and its birth.
pub(super) type Durable = (Root, KeyIndex, [u8; 32], UnixTime);

/// A record that came by, and what it changes when it is read.
#[derive(Clone)]
pub(super) struct Passed {
    pub(super) topic: String,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) effect: Effect,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Effect {
    Unknown,
    /// An honest revocation of a key, by whoever may change lists.
    Denies(usize),
    /// Likewise by the key itself.
    DeniesItself(usize),
    /// The stranger's root may be on the allowlist from now on.
    AllowsStranger,
}

impl Facts {
    pub(super) fn setup(&self, settings: &Settings, kind: Kind) -> NodeSetup {
        let (lists, _) = TrustLists::new(self.allow.iter().map(Vec::as_slice), self.deny.iter().map(Vec::as_slice));
        let old = |(root, index, secret, birth): &Durable| OldKey {
            root: root.clone(),
            index: index.clone(),
            secret: Secret::filled(|place| *place = *secret),
            birth: *birth,
        };
        let mut keys = vec![OwnKey { slot: 0, public: key(8).public().clone(), chain: own_chain(self.chain) }];
        if kind.hybrid {
            keys.push(OwnKey { slot: 1, public: hybrid(3).public().clone(), chain: hybrid_chain(3) });
        }
        NodeSetup {
            naming: Naming::default(),
            settings: settings.clone(),
            keys,
            node: public(8).to_vec(),
            lists,
            schemes: kind.schemes.to_vec(),
            legacy: kind.legacy,
            old_keys: self.old_keys.iter().map(old).collect(),
            can_produce: true,
        }
    }

    /// What is in force after a start is what the files say.
    pub(super) fn restarted(&mut self) {
        self.denied = self.deny.iter().filter_map(|entry| key_of(entry)).collect();
        self.stranger_allowed =
            self.allow.iter().filter_map(|entry| key_of(entry)).any(|allowed| allowed == *key(5).public());
        self.held = self.chain;
        self.earlier = self.old_keys.iter().map(|old| old.1.clone()).collect();
    }

    pub(super) fn index(&self, program: &mut Program<'_>) -> KeyIndex {
        let n = program.byte();
        let own = self.old_keys.iter().rev().nth(usize::from(n % 8)).map(|old| old.1.clone());
        match n {
            0..0xc0 => KeyIndex::of_node(b"other", u64::from(n % 5)),
            0xc0..0xe0 => KeyIndex::Short(u64::from(n)),
            _ => own.unwrap_or(KeyIndex::Short(1)),
        }
    }

    pub(super) fn is_denied(&self, n: usize) -> bool {
        self.denied.contains(key(n).public())
    }

    /// Whom the fleet's root (or the one that was allowed meanwhile) lets do this.
    fn may(&self, who: &SigningPublicKey, root: &Root, producers: [usize; 2], both: bool) -> bool {
        let is = |n: usize| who == key(n).public();
        let ours = ["lab", "foo"].contains(&root.as_str()) && !self.is_denied(0);
        let [one, of_foo] = producers;
        let consumer = one == 2 && who == somebody(HYBRID);
        let listed = ours && (is(one) || consumer || is(of_foo) && root.as_str() == "foo" || both && is(8));
        self.odd || !self.denied.contains(who) && (listed || is(4) && self.stranger_allowed && !self.is_denied(5))
    }

    pub(super) fn deny(&mut self, n: usize, waiting: &VecDeque<(ActionId, Action)>) {
        let certificate = root_certificate(key(n).public());
        let saved = |(_, action): &(ActionId, Action)| matches!(action, Action::Save(Change::Deny(saved)) if *saved == certificate);
        assert!(self.is_denied(n) || waiting.iter().any(saved), "an honest revocation of key {n} is in force at once");
        self.denied.insert(key(n).public().clone());
    }

    pub(super) fn check_install(&self, change: &KeyringChange) {
        match change {
            KeyringChange::Learn { root, index, secret, signer, scheme } => {
                assert!(scheme.is_post_quantum() || !self.require_pq, "a classical exchange in spite of policy");
                let secret = *secret.expose();
                assert!(self.may(signer, root, [1, 3], true), "{signer} must not give keys of {root}");
                let own = signer == key(8).public() && self.ever.contains(&(root.clone(), index.clone(), secret));
                let sealed = self.sealed.contains(&(root.clone(), index.clone(), secret, signer.clone()));
                assert!(own || sealed, "a secret of {root} that nobody sent");
            }
            KeyringChange::Produce { root, index, secret } => {
                let durable = |old: &Durable| old.0 == *root && old.1 == *index && old.2 == *secret.expose();
                assert!(self.old_keys.iter().any(durable), "used before it is durable");
            }
            _ => {}
        }
    }

    /// A reply is signed only for whoever may ask, and holds nothing but durable secrets of its root.
    pub(super) fn check_sign(&self, message: &[u8]) {
        let Some(random0) = answered_random(message) else { return };
        let leaf = Certificate::decode(message).expect("what we sign can be read");
        let topics = leaf.restrictions().topics().unwrap_or_default();
        let [topic] = topics else { return assert_eq!(topics.len(), 1) };
        let root = Root::new(&String::from_utf8_lossy(topic));
        let classical = leaf.key().exchange_keys().iter().any(|key| matches!(key, crate::keys::ExchangeKey::Bare(_)));
        assert!(!classical || !self.require_pq, "a classical reply in spite of policy");
        let from = |n: usize| self.requested.contains(&(random0.clone(), n)) || n == 8 && self.has_asked(&random0);
        let askers: Vec<_> = (0..=HYBRID).filter(|n| from(*n) && self.may(somebody(*n), &root, [2, 2], true)).collect();
        assert!(!askers.is_empty(), "a reply about {root} for nobody who may have it");
        for asker in askers {
            for (index, secret) in opened(&leaf, &root, asker as u8).unwrap_or_default() {
                assert!(
                    self.ever.contains(&(root.clone(), index, secret)),
                    "a secret that isn't of {root}, or not durable"
                );
            }
        }
    }

    fn has_asked(&self, random0: &[u8]) -> bool {
        self.asked.iter().any(|(.., chain)| leaf_of(chain).is_some_and(|leaf| leaf.extra_bytes(0) == Some(random0)))
    }

    pub(super) fn check_chain(&mut self, slot: usize, chain: &[u8]) {
        assert_eq!(slot, 0);
        let found = (0..4).find(|n| own_chain(*n) == chain).expect("a chain that nobody made");
        assert!(found > self.held, "an earlier chain has replaced a later one");
        self.held = found;
    }

    pub(super) fn saved(&mut self, change: Change, wall: UnixTime) -> Outcome {
        match change {
            Change::OldKeys(list) => {
                // what was swept meanwhile isn't known any more, nor what is too old
                self.earlier.retain(|index| list.iter().any(|old| old.index == *index));
                for old in &list {
                    let known = self.old_keys.iter().any(|(root, index, ..)| *root == old.root && *index == old.index);
                    let same = |known: &&Durable| known.1 == old.index && wall.since(known.3) <= KEPT;
                    let earlier = self.old_keys.iter().any(|known| same(&known)) && self.earlier.contains(&old.index);
                    assert!(known || !earlier, "a key index of an earlier run is used again");
                    self.ever.insert((old.root.clone(), old.index.clone(), *old.secret.expose()));
                }
                let flat = |old: OldKey| (old.root, old.index, *old.secret.expose(), old.birth);
                self.old_keys = list.into_iter().map(flat).collect();
            }
            Change::Chain { chain, .. } => {
                self.chain = (0..4).find(|n| own_chain(*n) == chain).unwrap_or(self.chain);
            }
            Change::Allow(certificate) => self.allow.push(certificate),
            Change::Deny(certificate) => self.deny.push(certificate),
        }
        Outcome::Done
    }

    pub(super) fn derive(&self, roots: Vec<Root>) -> Vec<(Root, Secret<32>)> {
        let state = RatchetState::new(
            self.ratchet,
            Secret::filled(|place| *place = sha256::hash(&[&self.ratchet.to_be_bytes()])),
        );
        roots.into_iter().map(|root| (root.clone(), state.root_secret(&root))).collect()
    }
}

/// How long producer secrets are kept.
const KEPT: Duration = Duration::from_secs(604_800);
