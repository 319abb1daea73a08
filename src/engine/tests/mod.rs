//! Engines without a world: several of them, topics in memory, disks that keep what was saved, and time that a test moves.

mod asking;
mod chaos;
mod crash;
mod post_quantum;
mod producing;
mod trust;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

use super::*;
use crate::chain::{Extra, LeafKey, Restrictions, TrustLists, Usage, chain_of, leaf, root_certificate};
use crate::keys::{KeyIndex, RatchetState, Scheme, SigningKey, SigningPublicKey, SigningType};
use crate::secret::Secret;
use crate::store::OldKey;
use crate::time::{Now, UnixTime};
use crate::topic::{Naming, Root, Topic};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const PRODUCER: &[Usage] = &[Usage::Encrypt];
const CONSUMER: &[Usage] = &[Usage::EncryptRequest, Usage::EncryptSubscribe];
/// Far behind the time of every test.
const LATER: u32 = 2_000_000_000;

/// A fleet with one root of trust.
struct Sim {
    now: Now,
    topics: BTreeMap<Topic, Vec<Written>>,
    nodes: Vec<Node>,
    /// Records that are larger are refused.
    max_bytes: usize,
    /// The node that crashes, and before how many more steps.
    cut: Option<(usize, usize)>,
}

#[derive(Clone)]
struct Written {
    key: Vec<u8>,
    value: Vec<u8>,
    at: Duration,
}

/// What a node has on its disk.
struct Disk {
    seed: Vec<u8>,
    old_keys: Vec<OldKey>,
    chain: Vec<u8>,
    allow: Vec<Vec<u8>>,
    deny: Vec<Vec<u8>>,
}

struct Node {
    key: SigningKey,
    /// Further keys, each with its chain.
    more_keys: Vec<(Arc<SigningKey>, Vec<u8>)>,
    schemes: Vec<Scheme>,
    settings: Settings,
    legacy: bool,
    disk: Disk,
    engine: NodeEngine,
    ratchet: Option<RatchetState>,
    /// Topics that are read, how far, and the end that has to be reached.
    reading: BTreeMap<Topic, (usize, Option<usize>)>,
    withheld: BTreeSet<Topic>,
    disk_full: bool,
    /// How often an action was begun or ended.
    steps: usize,
    // ---- what a keyring and an application would hold
    current: BTreeMap<Root, KeyIndex>,
    /// Everything that anything was ever encrypted under.
    used: Vec<(Root, KeyIndex, Secret<32>)>,
    wants: BTreeSet<(Root, KeyIndex)>,
    learned: Vec<(Root, KeyIndex, Secret<32>, SigningPublicKey)>,
    refused: Vec<(KeyIndex, String)>,
    cannot: Vec<String>,
    rejected: Vec<String>,
    notices: Vec<Notice>,
    /// When each request was sent, and for how many keys.
    asked: Vec<(Duration, usize)>,
    /// `{:?}` of everything that the engine said.
    debug: String,
}

impl Sim {
    fn new() -> Self {
        let now = Now { wall: UnixTime::from_secs(1_800_000_000), mono: Duration::from_secs(1000) };
        Self { now, topics: BTreeMap::new(), nodes: Vec::new(), max_bytes: 1 << 20, cut: None }
    }

    /// A node that is provisioned for the root `lab`, and started.
    fn add(&mut self, usages: &[Usage]) -> usize {
        self.add_with(usages, &["lab"], |_| {})
    }

    fn add_with(&mut self, usages: &[Usage], topics: &[&str], edit: impl FnOnce(&mut Node)) -> usize {
        let key = SigningKey::generate(SigningType::Ed25519, &mut rng());
        let disk = Disk {
            seed: RatchetState::fresh(&mut rng()).encode().to_vec(),
            old_keys: Vec::new(),
            chain: chain_for(&key, usages, topics, LATER),
            allow: vec![root_certificate(root_key().public())],
            deny: Vec::new(),
        };
        let (engine, _) = NodeEngine::new(setup(&key, &disk, &Settings::default(), false), self.now);
        let mut node = Node {
            key,
            more_keys: Vec::new(),
            schemes: vec![Scheme::X25519],
            settings: Settings::default(),
            legacy: false,
            disk,
            engine,
            ratchet: None,
            reading: BTreeMap::new(),
            withheld: BTreeSet::new(),
            disk_full: false,
            steps: 0,
            current: BTreeMap::new(),
            used: Vec::new(),
            wants: BTreeSet::new(),
            learned: Vec::new(),
            refused: Vec::new(),
            cannot: Vec::new(),
            rejected: Vec::new(),
            notices: Vec::new(),
            asked: Vec::new(),
            debug: String::new(),
        };
        edit(&mut node);
        self.nodes.push(node);
        self.restart(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// The node loses all but its disk, and starts again; its application goes on where it was.
    fn restart(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let (engine, actions) = NodeEngine::new(node.setup(), self.now);
        (node.engine, node.ratchet) = (engine, None);
        node.reading.clear();
        node.learned.clear();
        let roots: Vec<Root> = std::mem::take(&mut node.current).into_keys().collect();
        self.perform(i, actions);
        if !roots.is_empty() {
            self.input(i, Input::RootsUsed { roots: &roots });
        }
        for (root, index) in self.nodes[i].wants.clone() {
            self.input(i, Input::KeyWanted { root: &root, index: &index });
        }
    }

    /// Encrypts under a root: the index, once there is a durable secret.
    fn encrypt(&mut self, i: usize, root: &str) -> KeyIndex {
        let root = Root::new(root);
        for _ in 0..3 {
            if let Some(index) = self.nodes[i].current.get(&root) {
                return index.clone();
            }
            self.input(i, Input::RootsUsed { roots: std::slice::from_ref(&root) });
        }
        panic!("no secret: {:?}", self.nodes[i].cannot);
    }

    fn want(&mut self, i: usize, root: &str, index: &KeyIndex) {
        let root = Root::new(root);
        self.nodes[i].wants.insert((root.clone(), index.clone()));
        self.input(i, Input::KeyWanted { root: &root, index });
    }

    fn input(&mut self, i: usize, input: Input<'_>) {
        let actions = self.nodes[i].engine.handle(input, self.now, &mut rng());
        self.perform(i, actions);
    }

    fn perform(&mut self, i: usize, actions: Vec<(ActionId, Action)>) {
        let mut queue = VecDeque::from(actions);
        while let Some((id, action)) = queue.pop_front() {
            self.nodes[i].debug += &format!("{action:?}\n");
            if self.crashes(i) {
                return self.restart(i);
            }
            let Some(result) = self.act(i, action) else { continue };
            if self.crashes(i) {
                return self.restart(i);
            }
            let done = Input::Done { id, result };
            queue.extend(self.nodes[i].engine.handle(done, self.now, &mut rng()));
        }
    }

    fn crashes(&mut self, i: usize) -> bool {
        self.nodes[i].steps += 1;
        match &mut self.cut {
            Some((node, 0)) if *node == i => {
                self.cut = None;
                true
            }
            Some((node, left)) if *node == i => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    fn act(&mut self, i: usize, action: Action) -> Option<Result<Outcome, Failure>> {
        let node = &mut self.nodes[i];
        match action {
            Action::Save(_) | Action::Step if node.disk_full => return Some(Err(Failure::Other("disk full".into()))),
            Action::Save(change) => node.disk.save(change),
            Action::Step => return Some(Ok(node.step())),
            Action::Derive(roots) => {
                let state = node.ratchet.as_ref().expect("a secret of a ratchet that was never stepped");
                let secrets = roots.into_iter().map(|root| (root.clone(), state.root_secret(&root))).collect();
                return Some(Ok(Outcome::RootSecrets(secrets)));
            }
            Action::Sign(job) => return Some(Ok(Outcome::Signed(node.signer(job.slot).sign(&job.message)))),
            Action::Produce(Draft { topic, key, value }) => {
                if key.len() + value.len() > self.max_bytes {
                    return Some(Err(Failure::TooLarge("too large".into())));
                }
                self.write(&topic, key, value);
            }
            Action::Follow { topic, from } => {
                let records = self.topics.entry(topic.clone()).or_default();
                let recent = |age| records.iter().position(|r| r.at + age >= self.now.mono).unwrap_or(records.len());
                let at = match from {
                    Start::Beginning => (0, Some(records.len())),
                    Start::Recent(age) => (recent(age), None),
                    Start::End => (records.len(), None),
                };
                node.reading.insert(topic, at);
            }
            Action::Install(change) => {
                node.install(change);
                return None;
            }
            Action::Rejected(rejection) => {
                node.rejected.push(rejection.reason);
                return None;
            }
            Action::Notice(notice) => {
                if let Notice::Asked { count, .. } = &notice {
                    node.asked.push((self.now.mono, *count));
                }
                node.notices.push(notice);
                return None;
            }
        }
        Some(Ok(Outcome::Done))
    }

    fn write(&mut self, topic: &str, key: Vec<u8>, value: Vec<u8>) {
        let at = self.now.mono;
        self.topics.entry(topic.into()).or_default().push(Written { key, value, at });
    }

    fn written(&self, topic: &str) -> &[Written] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }

    /// Hands on every record that can be read, and says what was caught up with.
    fn deliver(&mut self) {
        loop {
            let Some((i, topic, position)) = self.next_record() else { return };
            let end = self.nodes[i].reading[&topic].1;
            if end.is_some_and(|end| position >= end) {
                self.nodes[i].reading.insert(topic.clone(), (position, None));
                self.input(i, Input::CaughtUp { topic: &topic });
                continue;
            }
            self.nodes[i].reading.insert(topic.clone(), (position + 1, end));
            let Written { key, value, .. } = self.topics[&topic][position].clone();
            let record = Record { topic: &topic, key: Some(&key), value: Some(&value), timestamp: None };
            self.input(i, Input::Record(record));
        }
    }

    fn next_record(&self) -> Option<(usize, Topic, usize)> {
        self.nodes.iter().enumerate().find_map(|(i, node)| {
            let open = node.reading.iter().filter(|(topic, _)| !node.withheld.contains(*topic));
            let news = |(topic, (at, end)): &(&Topic, &(usize, Option<usize>))| {
                *at < self.topics[*topic].len() || end.is_some_and(|end| *at >= end)
            };
            open.into_iter().find(news).map(|(topic, (at, _))| (i, topic.clone(), *at))
        })
    }

    /// Runs for some time: records are handed on at once, ticks come when they are asked for.
    fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let mut at_once = 0;
        loop {
            self.deliver();
            let wake = (0..self.nodes.len()).filter_map(|i| Some((self.nodes[i].engine.next_wake()?, i))).min();
            let Some((at, i)) = wake.filter(|(at, _)| *at <= end) else { break };
            at_once = if at > self.now.mono { 0 } else { at_once + 1 };
            assert!(at_once < 100, "an engine wants to be woken without end");
            self.pass(at.saturating_sub(self.now.mono));
            self.input(i, Input::Tick);
        }
        self.pass(end - self.now.mono);
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { wall: self.now.wall.after(time), mono: self.now.mono + time };
    }

    fn has(&self, i: usize, index: &KeyIndex) -> bool {
        self.nodes[i].learned.iter().any(|(_, learned, ..)| learned == index)
    }

    fn counters(&self, i: usize) -> Counters {
        self.nodes[i].engine.counters()
    }
}

impl Node {
    fn public(&self) -> &SigningPublicKey {
        self.key.public()
    }

    fn setup(&self) -> NodeSetup {
        let mut setup = setup(&self.key, &self.disk, &self.settings, self.legacy);
        for (slot, (key, chain)) in (1..).zip(&self.more_keys) {
            setup.keys.push(OwnKey { slot, public: key.public().clone(), chain: chain.clone() });
        }
        // an empty one stands for a key that isn't used
        setup.keys.retain(|key| !key.chain.is_empty());
        setup.schemes = self.schemes.clone();
        setup
    }

    fn signer(&self, slot: usize) -> &SigningKey {
        if slot == 0 { &self.key } else { &self.more_keys[slot - 1].0 }
    }

    /// Durable before it is used, as a seed file is.
    fn step(&mut self) -> Outcome {
        let state = RatchetState::decode(&self.disk.seed).unwrap();
        self.disk.seed = state.next().encode().to_vec();
        let index = state.index();
        self.ratchet = Some(state);
        Outcome::Stepped(index)
    }

    fn install(&mut self, change: KeyringChange) {
        match change {
            KeyringChange::Learn { root, index, secret, signer, .. } => {
                self.learned.push((root, index, secret, signer));
            }
            KeyringChange::Produce { root, index, secret } => {
                assert!(self.disk.holds(&root, &index, &secret), "a secret is used that isn't durable");
                let again = self.used.iter().any(|(r, i, s)| *r == root && (*i == index || s.same_as(&secret)));
                assert!(!again, "a secret is used in two runs");
                self.used.push((root.clone(), index.clone(), secret));
                self.current.insert(root, index);
            }
            KeyringChange::Refuse { index, why, .. } => self.refused.push((index, why)),
            KeyringChange::Reconsider { index, .. } => self.refused.retain(|(refused, _)| *refused != index),
            KeyringChange::CannotProduce { why, .. } => self.cannot.push(why),
        }
    }

    fn noticed(&self, wanted: impl Fn(&Notice) -> bool) -> bool {
        self.notices.iter().any(wanted)
    }

    fn was_told(&self, text: &str) -> bool {
        self.rejected.iter().any(|reason| reason.contains(text))
    }
}

impl Disk {
    fn save(&mut self, change: Change) {
        match change {
            Change::OldKeys(keys) => self.old_keys = keys,
            Change::Chain { chain, .. } => self.chain = chain,
            Change::Allow(certificate) => self.allow.push(certificate),
            Change::Deny(certificate) => self.deny.push(certificate),
        }
    }

    fn holds(&self, root: &Root, index: &KeyIndex, secret: &Secret<32>) -> bool {
        self.old_keys.iter().any(|old| old.root == *root && old.index == *index && old.secret.same_as(secret))
    }
}

fn setup(key: &SigningKey, disk: &Disk, settings: &Settings, legacy: bool) -> NodeSetup {
    let copy = |old: &OldKey| OldKey {
        root: old.root.clone(),
        index: old.index.clone(),
        secret: old.secret.duplicate(),
        birth: old.birth,
    };
    NodeSetup {
        naming: Naming::default(),
        settings: settings.clone(),
        keys: vec![OwnKey { slot: 0, public: key.public().clone(), chain: disk.chain.clone() }],
        node: key.public().to_bytes(),
        lists: TrustLists::new(disk.allow.iter().map(Vec::as_slice), disk.deny.iter().map(Vec::as_slice)).0,
        schemes: vec![Scheme::X25519],
        legacy,
        old_keys: disk.old_keys.iter().map(copy).collect(),
        can_produce: true,
    }
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn root_key() -> SigningKey {
    SigningKey::from_ed25519_seed(&[1; 32])
}

fn chain_for(key: &SigningKey, usages: &[Usage], topics: &[&str], until: u32) -> Vec<u8> {
    chain_by(&root_key(), key, usages, topics, until)
}

fn chain_by(signer: &SigningKey, key: &SigningKey, usages: &[Usage], topics: &[&str], until: u32) -> Vec<u8> {
    let limits = Restrictions::none().with_topics(topics).with_usages(usages.iter().copied()).with_pathlen(1);
    let until = UnixTime::from_secs(until);
    chain_of(&[&signer.sign(&leaf(until, &limits, &LeafKey::Signing(key.public().clone()), &[]))])
}

/// A list message: the signer puts the key on the list of `usage`.
fn list_message(signer: &SigningKey, key: &SigningPublicKey, usage: Usage, until: u32) -> Vec<u8> {
    let limits = Restrictions::none().with_usages([usage]);
    let entry = root_certificate(key);
    let key = LeafKey::Signing(key.clone());
    chain_of(&[&signer.sign(&leaf(UnixTime::from_secs(until), &limits, &key, &[Extra::Bytes(&entry)]))])
}

/// A key revokes itself: it never expires, and no root has signed it.
fn self_revocation(key: &SigningKey) -> Vec<u8> {
    let limits = |pathlen| Restrictions::none().with_usages([Usage::Denylist]).with_pathlen(pathlen);
    let (entry, public) = (root_certificate(key.public()), LeafKey::Signing(key.public().clone()));
    let unsigned = leaf(UnixTime::ZERO, &limits(1), &public, &[]);
    let signed = key.sign(&leaf(UnixTime::ZERO, &limits(0), &public, &[Extra::Bytes(&entry)]));
    chain_of(&[&unsigned, &signed])
}

/// Secrets of earlier runs, as many as one likes.
fn old_keys(count: u64, born: UnixTime) -> Vec<OldKey> {
    let old = |number: u64| OldKey {
        root: Root::new("lab"),
        index: KeyIndex::of_node(b"of an earlier run", number),
        secret: Secret::random(&mut rng()),
        birth: born,
    };
    (0..count).map(old).collect()
}
