use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::CryptoRng;

use super::answering::{Answer, Answering};
use super::asking::Asking;
use super::producing::Producing;
use super::trust::Trust;
use super::types::{
    Action, ActionId, Counters, Failure, Input, NodeSetup, Notice, Outcome, Record, Rejection, Settings, Start,
};
use crate::keys::{KeyIndex, Scheme};
use crate::time::{Now, UnixTime};
use crate::topic::{Naming, Role, Root, Topic};

/// A node: producer, consumer or both. See the module for how it is driven.
#[derive(Debug)]
pub struct NodeEngine {
    core: Core,
    trust: Trust,
    producing: Producing,
    answering: Answering,
    asking: Asking,
    gate: Gate,
}

/// What all parts of an engine share: facts that don't change, and the actions that are being collected.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) naming: Naming,
    pub(super) settings: Settings,
    pub(super) schemes: Vec<Scheme>,
    pub(super) legacy: bool,
    pub(super) counters: Counters,
    pending: BTreeMap<ActionId, Pending>,
    actions: Vec<(ActionId, Action)>,
    last_id: ActionId,
}

/// What an action was for, until it is done.
#[derive(Debug)]
pub(super) enum Pending {
    Step,
    Derive,
    SaveOldKeys,
    Save(&'static str),
    FollowKeys(Root),
    Follow(Topic),
    SignRequest { root: Root, number: u64, slot: usize, direct: bool },
    ProduceRequest { root: Root, number: u64 },
    SignReply(Answer),
    ProduceReply(Answer),
}

/// Holds requests and replies back until the fleet's lists are known and the clock can be believed.
#[derive(Debug)]
struct Gate {
    open: bool,
    unread: BTreeSet<Topic>,
    deadline: Duration,
    held: VecDeque<Held>,
    /// Fleet topics of which something was passed over before the clock was set: they are read again.
    passed_over: BTreeSet<Topic>,
    held_bytes: usize,
    clock_reported: bool,
    skew_reported: bool,
}

/// A record that waits for the gate.
#[derive(Debug)]
struct Held {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl NodeEngine {
    /// A node at its start, and the first actions.
    #[must_use]
    pub fn new(setup: NodeSetup, now: Now) -> (Self, Vec<(ActionId, Action)>) {
        Self::new_after(0, setup, now)
    }

    /// A node that takes the place of one that failed: actions that the other one has out, up to `last_id`, mean nothing
    /// to this one.
    #[must_use]
    pub fn new_after(last_id: ActionId, setup: NodeSetup, now: Now) -> (Self, Vec<(ActionId, Action)>) {
        let NodeSetup { naming, settings, keys, node, lists, schemes, legacy, old_keys, can_produce } = setup;
        let fleet = [naming.chains.clone(), naming.allowlist.clone(), naming.denylist.clone()];
        let mut core = Core {
            naming,
            settings,
            schemes,
            legacy,
            counters: Counters::default(),
            pending: BTreeMap::new(),
            actions: Vec::new(),
            last_id,
        };
        let mut producing = Producing::new(node, old_keys, can_produce);
        for topic in &fleet {
            core.act(Pending::Follow(topic.clone()), Action::Follow { topic: topic.clone(), from: Start::Beginning });
        }
        let trust = Trust::new(&mut core, lists, keys, now);
        let mut answering = Answering::default();
        producing.roots().for_each(|root| answering.follow(&mut core, root));
        producing.start(&mut core, now);
        let gate = Gate {
            open: false,
            unread: fleet.into_iter().collect(),
            deadline: now.mono + LISTS_WITHIN,
            held: VecDeque::new(),
            passed_over: BTreeSet::new(),
            held_bytes: 0,
            clock_reported: false,
            skew_reported: false,
        };
        let mut engine = Self { core, trust, producing, answering, asking: Asking::default(), gate };
        let actions = engine.core.take_actions();
        (engine, actions)
    }

    /// What to do about an input.
    pub fn handle(&mut self, input: Input<'_>, now: Now, rng: &mut dyn CryptoRng) -> Vec<(ActionId, Action)> {
        self.gate.open &= clock_is_set(now);
        match input {
            Input::Record(record) => self.record(record, now, rng),
            Input::KeyWanted { root, index } => self.asking.want(&mut self.core, root, index),
            Input::KeyUnwanted { root, index } => self.asking.forget(root, index, now),
            Input::RootsUsed { roots } => self.producing.use_roots(&mut self.core, roots, now),
            Input::CaughtUp { topic } => {
                self.gate.unread.remove(topic);
            }
            Input::Done { id, result } => self.done(id, result, now, rng),
            Input::Tick => self.tick(now, rng),
        }
        self.open_gate(now, rng);
        self.core.take_actions()
    }

    /// When to call with [`Input::Tick`] at the latest, on the monotonic clock.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let gate = (!self.gate.open).then_some(self.gate.deadline);
        [gate, self.asking.next_wake(self.gate.open), self.producing.next_wake(&self.core), self.trust.next_wake()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Keys whose request is due to be repeated, so that the driver can say of which nobody waits any more.
    #[must_use]
    pub fn due(&self, mono: Duration) -> Vec<(Root, KeyIndex)> {
        self.asking.due(mono)
    }

    /// The last action that was emitted.
    #[must_use]
    pub fn last_id(&self) -> ActionId {
        self.core.last_id
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Whether the fleet's lists are known (or given up on), so that keys are asked for and given out.
    #[must_use]
    pub fn is_exchanging(&self) -> bool {
        self.gate.open
    }

    /// When the chain that lasts longest ends; `None` if it never does or there is none.
    #[must_use]
    pub fn chain_expires(&self) -> Option<UnixTime> {
        self.trust.chain_expires()
    }

    fn record(&mut self, record: Record<'_>, now: Now, rng: &mut dyn CryptoRng) {
        self.watch_clock(&record, now);
        let changes = self.core.counters.trust_changes;
        match self.core.naming.role_of(record.topic) {
            Role::Chains | Role::Allowlist | Role::Denylist if !clock_is_set(now) => {
                self.gate.passed_over.insert(record.topic.into());
            }
            Role::Chains => self.trust.new_chain(&mut self.core, &record, now),
            Role::Allowlist => self.trust.allowlist_message(&mut self.core, &record, now),
            Role::Denylist => self.trust.denylist_message(&mut self.core, &record, now),
            _ if !self.gate.open => self.gate.hold(&mut self.core, &record),
            Role::Reqs(root) => {
                self.answering.request(&mut self.core, &self.trust, &self.producing, &root, &record, now, rng);
            }
            Role::Keys(root) => self.asking.reply(&mut self.core, &self.trust, &root, &record, now),
            Role::Subs(_) | Role::Data(_) => self.core.reject(record.topic, "this node doesn't follow such a topic"),
        }
        if self.core.counters.trust_changes > changes {
            self.asking.reconsider(&mut self.core);
        }
    }

    fn done(&mut self, id: ActionId, result: Result<Outcome, Failure>, now: Now, rng: &mut dyn CryptoRng) {
        let Some(pending) = self.core.pending.remove(&id) else { return };
        match pending {
            Pending::Step => self.producing.stepped(&mut self.core, result, now),
            Pending::Derive => self.producing.derived(&mut self.core, result, now),
            Pending::SaveOldKeys => self.producing.saved(&mut self.core, &mut self.answering, result, now),
            Pending::Save(what) => self.core.report_failure(what, result),
            Pending::FollowKeys(root) => self.asking.following(&root),
            Pending::Follow(topic) => {
                if result.is_err() {
                    self.gate.unread.remove(&topic);
                }
                self.core.report_failure("following a topic", result);
            }
            Pending::SignRequest { root, number, slot, direct } => {
                self.asking.signed(&mut self.core, &root, (number, slot, direct), &self.trust, result);
            }
            Pending::ProduceRequest { root, number } => self.asking.sent(&mut self.core, &root, number, result),
            Pending::SignReply(answer) => Answering::signed(&mut self.core, &self.trust, answer, result),
            Pending::ProduceReply(answer) => {
                Answering::sent(&mut self.core, &self.producing, answer, result, now, rng);
            }
        }
    }

    fn tick(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        self.producing.tick(&mut self.core, now);
        self.trust.tick(&mut self.core, now);
        if self.gate.open && clock_is_set(now) {
            self.asking.tick(&mut self.core, &self.trust, now, rng);
        }
    }

    /// Opens the gate when the lists were read, or the broker has withheld them for too long.
    fn open_gate(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        if self.gate.open || !self.gate.clock_is_set(&mut self.core, now) {
            return;
        }
        if std::mem::take(&mut self.gate.clock_reported) {
            self.clock_was_set(now);
        }
        if !self.gate.lists_are_read(&mut self.core, now) {
            return;
        }
        self.gate.open = true;
        for held in std::mem::take(&mut self.gate.held) {
            let Held { topic, key, value } = &held;
            let record = Record { topic, key: key.as_deref(), value: value.as_deref(), timestamp: None };
            self.record(record, now, rng);
        }
        self.asking.tick(&mut self.core, &self.trust, now, rng);
    }

    /// What was passed over is read again, and what was judged by the wrong time is judged anew.
    fn clock_was_set(&mut self, now: Now) {
        self.trust.clock_was_set(now);
        self.gate.deadline = now.mono + LISTS_WITHIN;
        for topic in std::mem::take(&mut self.gate.passed_over) {
            self.gate.unread.insert(topic.clone());
            let (pending, from) = (Pending::Follow(topic.clone()), Start::Beginning);
            self.core.act(pending, Action::Follow { topic, from });
        }
    }

    fn watch_clock(&mut self, record: &Record<'_>, now: Now) {
        let ahead = record.timestamp.map_or(Duration::ZERO, |at| at.since(now.wall));
        if ahead > SKEW && !self.gate.skew_reported {
            self.gate.skew_reported = true;
            self.core.notice(Notice::ClockSkew { seconds: ahead.as_secs() });
        }
    }
}

impl Core {
    /// Emits an action and remembers what it is for.
    pub(super) fn act(&mut self, pending: Pending, action: Action) {
        let id = self.emit(action);
        self.pending.insert(id, pending);
    }

    /// Emits an action whose end doesn't matter.
    pub(super) fn emit(&mut self, action: Action) -> ActionId {
        self.last_id += 1;
        self.actions.push((self.last_id, action));
        self.last_id
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.emit(Action::Notice(notice));
    }

    pub(super) fn reject(&mut self, source: &str, reason: impl ToString) {
        self.counters.rejected += 1;
        self.emit(Action::Rejected(Rejection { source: source.into(), reason: reason.to_string() }));
    }

    /// Refuses an input because there are too many of its kind.
    pub(super) fn drop_input(&mut self, source: &str, reason: &str) {
        self.counters.dropped += 1;
        self.reject(source, reason);
    }

    pub(super) fn report_failure(&mut self, what: &'static str, result: Result<Outcome, Failure>) {
        if let Err(failure) = result {
            self.notice(Notice::Failed { what, why: failure.to_string() });
        }
    }

    fn take_actions(&mut self) -> Vec<(ActionId, Action)> {
        std::mem::take(&mut self.actions)
    }
}

impl Gate {
    /// Looks again every second while it isn't.
    fn clock_is_set(&mut self, core: &mut Core, now: Now) -> bool {
        let set = clock_is_set(now);
        if !set {
            if !std::mem::replace(&mut self.clock_reported, true) {
                core.notice(Notice::ClockNotSet);
            }
            self.deadline = self.deadline.max(now.mono + Duration::from_secs(1));
        }
        set
    }

    fn lists_are_read(&mut self, core: &mut Core, now: Now) -> bool {
        if !self.unread.is_empty() && now.mono >= self.deadline {
            let topics = std::mem::take(&mut self.unread);
            let topics = topics.iter().map(|topic| &**topic).collect::<Vec<_>>().join(", ");
            core.notice(Notice::ListsWithheld { topics });
        }
        self.unread.is_empty()
    }

    fn hold(&mut self, core: &mut Core, record: &Record<'_>) {
        let size = [record.key, record.value].into_iter().flatten().map(<[u8]>::len).sum::<usize>();
        if self.held.len() >= MAX_HELD || self.held_bytes.saturating_add(size) > MAX_HELD_BYTES {
            return core.drop_input(record.topic, "too many messages before the fleet's lists were read");
        }
        self.held_bytes += size;
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        self.held.push_back(Held { topic: record.topic.into(), key, value });
    }
}

/// Whether the system's clock can be believed.
pub(super) fn clock_is_set(now: Now) -> bool {
    is_believable(now.wall)
}

/// Whether a time can have been read from a clock that was set.
pub(super) fn is_believable(wall: UnixTime) -> bool {
    wall >= UnixTime::from_secs(EARLIEST)
}

/// The date of this release: a clock before it isn't set.
const EARLIEST: u32 = 1_790_000_000;

/// How long the broker may withhold the fleet's lists at the start.
const LISTS_WITHIN: Duration = Duration::from_secs(5);

/// Records that wait for the gate.
const MAX_HELD: usize = 2_000;

/// Bytes of their keys and values.
const MAX_HELD_BYTES: usize = 16 << 20;

/// How far records may be ahead of our clock before it is reported.
const SKEW: Duration = Duration::from_secs(300);
