use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::lanes::{Cache, Here, Lanes};
use super::{Keyring, Learned, Origin, lock, read, write};
use crate::keys::{KeyIndex, MessageKey, Purpose, Salt, SaltCounter, message_key};
use crate::secret::Secret;
use crate::topic::Root;

/// What encrypts under one root until the ratchet steps. Durable before it stands in the keyring.
pub struct ProducerSecret {
    root: Root,
    index: KeyIndex,
    secret: Arc<Secret<32>>,
    salts: Lanes<Salts>,
}

/// What one lane of threads takes its salts from.
struct Salts {
    keys: SaltCounter,
    values: SaltCounter,
}

/// Makes producer secrets ready: durable in `oldkeys` and installed. The runtime's part of the first serialization under a
/// root and ratchet index.
pub trait Prepare: Send + Sync {
    /// Returns when every one of these roots has a current producer secret that is durable. May block.
    ///
    /// # Errors
    /// [`PrepareError`]: then nothing may be encrypted under them.
    fn prepare(&self, roots: &[Root]) -> Result<(), PrepareError>;
}

/// Why there is no secret to encrypt with. Nothing was encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The secret could not be made, or not be stored durably.
    #[error("no new secret for root {root} could be stored, so nothing was encrypted: {reason}")]
    Failed {
        /// The root.
        root: Root,
        /// Why.
        reason: Arc<str>,
    },
    /// The node doesn't run: it was closed, or its background task is down.
    #[error("no new secret can be made, so nothing was encrypted: {0}")]
    Halted(Arc<str>),
    /// It took too long.
    #[error("no new secret for root {root} was ready in time, so nothing was encrypted; try again")]
    TimedOut {
        /// The root.
        root: Root,
    },
}

impl ProducerSecret {
    /// A secret for a root, with salts that start at random.
    #[must_use]
    pub fn new(root: Root, index: KeyIndex, secret: Secret<32>, rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut start = [0; 16];
        let mut counters = || {
            rng.fill_bytes(&mut start);
            let start = u128::from_le_bytes(start);
            // lanes start 2^64 apart, and a counter ends before that: no two ever meet
            move |lane: u32| SaltCounter::starting_at(start.wrapping_add(u128::from(lane) << 64).to_le_bytes())
        };
        let (keys, values) = (counters(), counters());
        let lane = |lane: usize| u32::try_from(lane).unwrap_or(u32::MAX);
        let salts = Lanes::from_fn(|n| Salts { keys: keys(lane(n)), values: values(lane(n)) });
        Self { root, index, secret: Arc::new(secret), salts }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The key index, as it stands in every message.
    #[must_use]
    pub fn index(&self) -> &KeyIndex {
        &self.index
    }

    /// A salt that was never used with this secret, and the key that belongs to it. Threads may call it side by side.
    pub(crate) fn next_key(&self, purpose: Purpose) -> (Salt, MessageKey) {
        let salts = self.salts.here();
        let salt = match purpose {
            Purpose::Key => salts.keys.take(),
            Purpose::Value => salts.values.take(),
        };
        (salt, message_key(&self.secret, purpose, &salt))
    }
}

impl fmt::Debug for ProducerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, index, secret: _, salts: _ } = self;
        f.debug_struct("ProducerSecret").field("root", root).field("index", index).finish_non_exhaustive()
    }
}

impl Keyring {
    /// What encrypts under a root now, if it is ready.
    #[must_use]
    pub fn current(&self, root: &Root) -> Option<Arc<ProducerSecret>> {
        read(&self.producers.current).get(root).cloned()
    }

    /// [`Keyring::current`] without writing anything that other threads read.
    pub(crate) fn current_here(&self, root: &Root) -> Option<Arc<Here<ProducerSecret>>> {
        self.producers.cache.get(root, || self.current(root))
    }

    /// Makes a secret the one that encrypts under its root; it must be durable. It is known for decryption as well.
    pub fn install_producer(&self, producer: ProducerSecret) -> Learned {
        let learned = self.learn_shared(&producer.root, &producer.index, producer.secret.clone(), Origin::Own);
        write(&self.producers.current).insert(producer.root.clone(), Arc::new(producer));
        self.producers.cache.clear();
        self.producers.changed(|_| ());
        learned
    }

    /// No root has a current secret any more: the next use of each prepares a new one. For a step of the ratchet.
    pub fn retire_producers(&self) {
        write(&self.producers.current).clear();
        self.producers.cache.clear();
    }

    /// Says that something is to be encrypted under a root that has no current secret; wakes the driver.
    pub fn use_root(&self, root: &Root) {
        self.producers.changed(|state| {
            state.failed.remove(root);
            state.uses.insert(root.clone());
        });
        self.wake_driver();
    }

    /// Says that a root's secret could not be made ready; ends [`Keyring::wait_prepared`].
    pub fn fail_producer(&self, root: &Root, reason: &str) {
        self.producers.changed(|state| state.failed.insert(root.clone(), reason.into()));
    }

    /// Blocks until a root has a current secret: all that a [`Prepare`] needs, after [`Keyring::use_root`].
    ///
    /// # Errors
    /// [`PrepareError`]: what [`Keyring::fail_producer`] or [`Keyring::set_halted`] said, or that the time is over.
    pub fn wait_prepared(&self, root: &Root, deadline: Duration) -> Result<Arc<ProducerSecret>, PrepareError> {
        let ended = |state: &State| self.current(root).is_some() || state.outcome(root).is_some();
        let state = lock(&self.producers.state);
        let (state, _) = (self.producers.ready)
            .wait_timeout_while(state, deadline, |state| !ended(state))
            .unwrap_or_else(PoisonError::into_inner);
        let error = state.outcome(root).unwrap_or_else(|| PrepareError::TimedOut { root: root.clone() });
        self.current(root).ok_or(error)
    }
}

#[derive(Default)]
pub(super) struct Producers {
    current: RwLock<HashMap<Root, Arc<ProducerSecret>>>,
    cache: Cache<Root, ProducerSecret>,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    uses: BTreeSet<Root>,
    failed: HashMap<Root, Arc<str>>,
    halted: Option<Arc<str>>,
}

impl Producers {
    pub(super) fn len(&self) -> usize {
        read(&self.current).len()
    }

    pub(super) fn drain_uses(&self) -> Vec<Root> {
        std::mem::take(&mut lock(&self.state).uses).into_iter().collect()
    }

    pub(super) fn set_halted(&self, reason: Option<Arc<str>>) {
        self.changed(|state| state.halted = reason);
    }

    fn changed<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut lock(&self.state));
        self.ready.notify_all();
    }
}

impl State {
    fn outcome(&self, root: &Root) -> Option<PrepareError> {
        let failed = |reason: &Arc<str>| PrepareError::Failed { root: root.clone(), reason: reason.clone() };
        (self.failed.get(root).map(failed)).or_else(|| self.halted.clone().map(PrepareError::Halted))
    }
}
