use std::time::Duration;

use rand_core::CryptoRng;

use super::answering::Answering;
use super::asking::Asking;
use super::core::{Core, Pending, clock_is_set};
use super::gate::{Gate, Held, LISTS_WITHIN};
use super::producing::Producing;
use super::trust::Trust;
use super::types::{Action, ActionId, Counters, Failure, Input, NodeSetup, Notice, Outcome, Record, Start};
use crate::keys::KeyIndex;
use crate::time::{Now, UnixTime};
use crate::topic::{Role, Root};

/// A node: producer, consumer or both. See the module for how it is driven.
#[derive(Debug)]
pub struct NodeEngine {
    core: Core,
    trust: Trust,
    producing: Producing,
    answering: Answering,
    asking: Asking,
    gate: Gate,
    skew_reported: bool,
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
        let mut core = Core::new(naming, settings, schemes, legacy, last_id);
        let mut producing = Producing::new(node, old_keys, can_produce);
        for topic in &fleet {
            core.act(Pending::Follow(topic.clone()), Action::Follow { topic: topic.clone(), from: Start::Beginning });
        }
        let trust = Trust::new(&mut core, lists, keys, now);
        let mut answering = Answering::default();
        producing.roots().for_each(|root| answering.follow(&mut core, root));
        producing.start(&mut core, now);
        let gate = Gate::new(fleet, now);
        let mut engine =
            Self { core, trust, producing, answering, asking: Asking::default(), gate, skew_reported: false };
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
            Pending::SaveOldKeys => {
                for root in self.producing.saved(&mut self.core, result, now) {
                    self.answering.follow(&mut self.core, &root);
                }
            }
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
        if ahead > SKEW && !self.skew_reported {
            self.skew_reported = true;
            self.core.notice(Notice::ClockSkew { seconds: ahead.as_secs() });
        }
    }
}

/// How far records may be ahead of our clock before it is reported.
const SKEW: Duration = Duration::from_secs(300);
