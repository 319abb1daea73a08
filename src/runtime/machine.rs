use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use tokio::sync::{Notify, broadcast, mpsc};

use super::clock::Clock;
use super::event::{Event, Failing};
use super::fair::Fair;
use crate::engine::{
    Action, ActionId, Change, Counters, Draft, Failure, Input, KeyringChange, NodeEngine, NodeSetup, Outcome, SignJob,
    Start,
};
use crate::error::Error;
use crate::keyring::{Keyring, Learned, Origin, Prepare, PrepareError, ProducerSecret, Refusal};
use crate::keys::{KeyError, KeyIndex, Ratchet, Signer};
use crate::time::UnixTime;
use crate::topic::{Root, Topic};

/// An engine and the disk: inputs go in, and what can be done without waiting for a network is done at once, on the
/// caller's thread. The rest goes to the driver.
///
/// A serializer that needs its first secret steps the machine itself, so that it never depends on another task being
/// scheduled. The lock is held while files are written, never while a payload is encrypted.
pub(super) struct Machine {
    state: Fair<State>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    signers: BTreeMap<usize, Arc<dyn Signer>>,
    jobs: mpsc::UnboundedSender<Job>,
    events: broadcast::Sender<Event>,
    failing: Mutex<Failing>,
    wake: Arc<Notify>,
}

struct State {
    /// When the driver will come by itself.
    scheduled: Option<Duration>,
    /// Keys that nobody waits for any more, and when to forget that anybody did.
    vain: VecDeque<(Duration, Root, KeyIndex)>,
    engine: NodeEngine,
    ratchet: Option<Arc<dyn Ratchet>>,
    store: Box<dyn NodeStore>,
}

/// What the driver is to do, out of the machine's lock; it answers with [`Machine::done`].
#[derive(Debug)]
pub(super) enum Job {
    Sign(ActionId, SignJob),
    Produce(ActionId, Draft),
    Follow(ActionId, Topic, Start),
}

/// Where a node's state is kept.
pub(super) trait NodeStore: Send {
    /// What a node starts with.
    fn setup(&mut self) -> Result<NodeSetup, Error>;

    /// Makes a change durable.
    fn save(&mut self, change: Change) -> Result<(), Error>;
}

/// What a machine is built from.
pub(super) struct Parts {
    pub(super) store: Box<dyn NodeStore>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signers: BTreeMap<usize, Arc<dyn Signer>>,
    pub(super) ratchet: Option<Arc<dyn Ratchet>>,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    pub(super) events: broadcast::Sender<Event>,
    /// Notified when the driver should come earlier than it means to.
    pub(super) wake: Arc<Notify>,
}

impl Machine {
    /// Loads the node, steps its ratchet and makes that durable. Blocks.
    pub(super) fn start(parts: Parts) -> Result<Self, Error> {
        let Parts { mut store, keyring, clock, signers, ratchet, jobs, events, wake } = parts;
        let (engine, actions) = NodeEngine::new(store.setup()?, clock.now());
        let state = Fair::new(State { scheduled: None, vain: VecDeque::new(), engine, ratchet, store });
        let machine = Self { state, keyring, clock, signers, jobs, events, failing: Mutex::default(), wake };
        machine.perform(&mut machine.lock(), actions);
        Ok(machine)
    }

    /// One input, and everything that follows from it on this machine. Blocks while files are written.
    ///
    /// An input that makes the engine fail is dropped with a report, and the engine is built anew from its files.
    pub(super) fn step(&self, input: Input<'_>) {
        let state = &mut *self.lock();
        let now = self.clock.now();
        let handled = catch_unwind(AssertUnwindSafe(|| state.engine.handle(input, now, &mut UnwrapErr(SysRng))));
        match handled {
            Ok(actions) => self.perform(state, actions),
            Err(_) => self.rebuild(state, "an input made the engine fail"),
        }
        if state.engine.next_wake().is_some_and(|at| state.scheduled.is_none_or(|planned| at < planned)) {
            self.wake.notify_one();
        }
    }

    /// Starts over from the files, after a failure.
    pub(super) fn restart(&self, why: &str) {
        self.rebuild(&mut self.lock(), why);
    }

    /// Lets go of the ratchet's file; nothing new can be encrypted under any root afterwards.
    pub(super) fn close(&self) {
        self.lock().ratchet = None;
    }

    pub(super) fn done(&self, id: ActionId, result: Result<Outcome, Failure>) {
        self.step(Input::Done { id, result });
    }

    /// Hands over what serializers and deserializers have asked for, and whatever is due.
    pub(super) fn attend(&self) {
        let uses = self.keyring.drain_uses();
        if !uses.is_empty() {
            self.step(Input::RootsUsed { roots: &uses });
        }
        for (root, index) in self.keyring.drain_wants() {
            self.step(Input::KeyWanted { root: &root, index: &index });
        }
        let now = self.clock.now().mono;
        self.forget_vain(now);
        if self.lock().engine.next_wake().is_some_and(|at| at <= now) {
            self.drop_unwanted();
            self.step(Input::Tick);
        }
    }

    /// When [`Machine::attend`] has something to do at the latest; the driver comes then, unless it is woken before.
    pub(super) fn schedule(&self) -> Option<Duration> {
        let state = &mut *self.lock();
        state.scheduled = state.engine.next_wake();
        state.scheduled
    }

    pub(super) fn now(&self) -> crate::time::Now {
        self.clock.now()
    }

    pub(super) fn signer(&self, slot: usize) -> Option<Arc<dyn Signer>> {
        self.signers.get(&slot).cloned()
    }

    pub(super) fn report(&self, event: Event) {
        event.log();
        // nobody needs to listen
        let _ = self.events.send(event);
    }

    /// Something of a topic that is tried again has failed at the broker: told once it has lasted, until the reason changes
    /// or [`Machine::works`], and once for all topics. What ends a program soon is for it to tell.
    pub(super) fn fails(&self, what: String, topic: &str, why: String) {
        self.fails_after(PATIENCE, what, topic, why);
    }

    /// The same of what isn't tried again by itself: told at once.
    pub(super) fn failed(&self, what: String, topic: &str, why: String) {
        self.fails_after(Duration::ZERO, what, topic, why);
    }

    fn fails_after(&self, patience: Duration, what: String, topic: &str, why: String) {
        let reason = if topic.is_empty() { why.clone() } else { why.replace(topic, "") };
        match self.failing().is_news(&what, &reason, self.clock.now().mono, patience) {
            true => self.report(Event::Broker { what, why }),
            false => tracing::debug!("{what} failed again: {why}"),
        }
    }

    pub(super) fn works(&self, what: &str) {
        self.failing().works(what);
    }

    fn failing(&self) -> MutexGuard<'_, Failing> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counters(&self) -> Counters {
        self.lock().engine.counters()
    }

    pub(super) fn is_exchanging(&self) -> bool {
        self.lock().engine.is_exchanging()
    }

    pub(super) fn chain_expires(&self) -> Option<UnixTime> {
        self.lock().engine.chain_expires()
    }

    fn perform(&self, state: &mut State, actions: Vec<(ActionId, Action)>) {
        let mut queue = VecDeque::from(actions);
        while let Some((id, action)) = queue.pop_front() {
            let result = match action {
                Action::Save(change) => outcome(state.store.save(change).map(|()| Outcome::Done)),
                Action::Step => outcome(state.ratchet().and_then(|ratchet| ratchet.step()).map(Outcome::Stepped)),
                Action::Derive(roots) => outcome(state.derive(roots).map(Outcome::RootSecrets)),
                other => {
                    self.pass_on(id, other);
                    continue;
                }
            };
            let now = self.clock.now();
            queue.extend(state.engine.handle(Input::Done { id, result }, now, &mut UnwrapErr(SysRng)));
        }
    }

    fn pass_on(&self, id: ActionId, action: Action) {
        let job = match action {
            Action::Install(change) => return self.install(change),
            Action::Rejected(rejection) => return self.report(Event::Rejected(rejection)),
            Action::Notice(notice) => return self.report(Event::Notice(notice)),
            Action::Sign(job) => Job::Sign(id, job),
            Action::Produce(draft) => Job::Produce(id, draft),
            Action::Follow { topic, from } => Job::Follow(id, topic, from),
            Action::Save(_) | Action::Step | Action::Derive(_) => return,
        };
        // fails only when the driver has ended, and then nobody waits for the job
        let _ = self.jobs.send(job);
    }

    fn install(&self, change: KeyringChange) {
        match change {
            KeyringChange::Learn { root, index, secret, signer, scheme } => {
                let origin = Origin::Peer { signer: signer.clone(), scheme };
                if let Learned::Conflict { others } = self.keyring.learn(&root, &index, secret, origin) {
                    self.report(Event::Conflict { root, index, signer, others });
                }
            }
            KeyringChange::Produce { root, index, secret } => {
                // known already when it comes back after a failure, which changes nothing
                let _ = self.keyring.install_producer(ProducerSecret::new(root, index, secret, &mut UnwrapErr(SysRng)));
            }
            KeyringChange::Refuse { root, index, why } => self.keyring.refuse(&root, &index, &Refusal::new(&why)),
            KeyringChange::Reconsider { root, index } => self.keyring.unrefuse(&root, &index),
            KeyringChange::CannotProduce { root, why } => self.keyring.fail_producer(&root, &why),
        }
    }

    /// Keys that nobody waits for are not asked for again.
    fn drop_unwanted(&self) {
        let due = self.lock().engine.due(self.clock.now().mono);
        for (root, index) in due {
            if !self.keyring.still_waited(&root, &index) {
                self.step(Input::KeyUnwanted { root: &root, index: &index });
                self.lock().vain.push_back((self.clock.now().mono + VAIN, root, index));
            }
        }
    }

    /// What was waited for in vain counts against its root's budget for a while, then it may be waited for again.
    fn forget_vain(&self, mono: Duration) {
        let vain = &mut self.lock().vain;
        while vain.front().is_some_and(|(at, _, _)| *at <= mono) {
            if let Some((_, root, index)) = vain.pop_front() {
                self.keyring.forget(&root, &index);
            }
        }
    }

    fn rebuild(&self, state: &mut State, why: &str) {
        let now = self.clock.now();
        match state.store.setup() {
            Ok(setup) => {
                self.keyring.retire_producers();
                let (engine, actions) = NodeEngine::new_after(state.engine.last_id(), setup, now);
                state.engine = engine;
                self.perform(state, actions);
                self.keyring.renew_wants();
                self.report(Event::Restarted { why: why.into() });
            }
            Err(error) => {
                self.keyring.set_halted(Some(&format!("the node failed and could not start again: {error}")));
                self.report(Event::Restarted { why: format!("{why}; reading its files failed too: {error}") });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn derive(&self, roots: Vec<Root>) -> Result<Vec<(Root, crate::secret::Secret<32>)>, KeyError> {
        let ratchet = self.ratchet()?;
        let secret = |root: Root| ratchet.root_secret(&root).map(|secret| (root, secret));
        roots.into_iter().map(secret).collect()
    }

    fn ratchet(&self) -> Result<&Arc<dyn Ratchet>, KeyError> {
        self.ratchet.as_ref().ok_or_else(|| KeyError::Source("this node has no ratchet".into()))
    }
}

impl Prepare for Machine {
    fn prepare(&self, roots: &[Root]) -> Result<(), PrepareError> {
        roots.iter().for_each(|root| self.keyring.use_root(root));
        self.attend();
        roots.iter().try_for_each(|root| self.keyring.wait_prepared(root, PREPARED_WITHIN).map(|_| ()))
    }
}

fn outcome<E: std::fmt::Display>(result: Result<Outcome, E>) -> Result<Outcome, Failure> {
    result.map_err(|error| Failure::Other(error.to_string()))
}

/// How long a serializer waits for its first secret, at most: it is made on the caller's own thread.
const PREPARED_WITHIN: Duration = Duration::from_secs(10);

/// What fails for a shorter time isn't told.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a key that was waited for in vain counts against its root's budget.
const VAIN: Duration = Duration::from_secs(300);
