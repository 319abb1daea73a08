//! Known and wanted secrets by root and key index, shared by serializers, deserializers, messages and the engine's driver.
//!
//! Serializers and deserializers read it and leave word of what they miss; only the engine (through its driver) changes
//! what is known. It must never grow without bounds, never hold a lock while a payload is encrypted or decrypted, and
//! never read a clock: whoever waits either blocks with a timeout or is woken by the driver's [`Timer`]. It owns no bytes
//! on the wire.
//!
//! | who | calls |
//! |---|---|
//! | deserializers, messages | look up, want, wait, count |
//! | serializers | [`current`](Keyring::current), [`use_root`](Keyring::use_root), count |
//! | driver | [`set_waker`](Keyring::set_waker), [`set_timer`](Keyring::set_timer), [`set_halted`](Keyring::set_halted), [`drain_wants`](Keyring::drain_wants), [`renew_wants`](Keyring::renew_wants), [`drain_uses`](Keyring::drain_uses) |
//! | engine, through its driver | [`learn`](Keyring::learn), [`note`](Keyring::note), [`refuse`](Keyring::refuse), [`still_waited`](Keyring::still_waited), [`forget`](Keyring::forget), [`install_producer`](Keyring::install_producer), [`retire_producers`](Keyring::retire_producers) |

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::keys::{KeyIndex, Scheme, SigningPublicKey};
use crate::secret::Secret;
use crate::topic::Root;

mod counters;
mod known;
mod lanes;
mod producer;
mod wait;
mod wanted;

pub use counters::Counters;
pub use known::{Known, KnownSecret};
pub use producer::{Prepare, PrepareError, ProducerSecret};
pub use wait::{Refusal, Timer, WaitError};

pub(crate) use counters::Event;
pub(crate) use lanes::Here;
pub(crate) use wanted::{TooManyUnknown, Wanted};

use counters::Tally;
use known::KnownSecrets;
use lanes::Cache;
use producer::Producers;
use wanted::{Want, Wants};

/// All secrets that a node knows and wants. One per node, shared as an `Arc`.
#[derive(Default)]
pub struct Keyring {
    limits: Limits,
    known: RwLock<KnownSecrets>,
    known_cache: Cache<(Root, KeyIndex), Known>,
    wants: Mutex<Wants>,
    producers: Producers,
    tally: Tally,
    waker: RwLock<Option<Arc<DriverWaker>>>,
    timer: RwLock<Option<Arc<dyn Timer>>>,
}

/// How much a keyring keeps; what is beyond is dropped, least recently used first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Known key indices of one root.
    pub known_per_root: usize,
    /// Known key indices in all.
    pub known: usize,
    /// Distinct secrets of one key index that came from one signer.
    pub secrets_per_signer: usize,
    /// Distinct secrets of one key index in all.
    pub secrets_per_index: usize,
    /// Wanted key indices of one root.
    pub wanted_per_root: usize,
    /// Wanted key indices in all.
    pub wanted: usize,
    /// Key indices of one root that may be waited for in vain before waits for further ones return at once.
    pub vain_per_root: usize,
}

/// Who gave us a secret, and by which exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This node's own ratchet.
    Own,
    /// A reply.
    Peer {
        /// The key that signed the reply.
        signer: SigningPublicKey,
        /// The exchange that protected it.
        scheme: Scheme,
    },
}

/// What became of a secret that was offered to [`Keyring::learn`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Learned {
    /// The first secret of its key index.
    New,
    /// The same secret was there already.
    Known,
    /// Kept beside other secrets of the same key index. With long indices somebody claims an index that isn't theirs:
    /// report it with everybody's origin. With short indices, which aren't unique, it is to be expected.
    Conflict {
        /// Where the secrets come from that were there before.
        others: Vec<Origin>,
    },
    /// Not kept: this signer, or all together, have given too many secrets for this key index.
    Full,
}

type DriverWaker = dyn Fn() + Send + Sync;

impl Keyring {
    /// An empty keyring with the usual limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty keyring with other limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Every secret known for a key index.
    #[must_use]
    pub fn lookup(&self, root: &Root, index: &KeyIndex) -> Option<Arc<Known>> {
        read(&self.known).get(root, index)
    }

    /// Keeps a secret, and wakes whoever waits for it.
    ///
    /// ```
    /// use kafkacrypto::keyring::{Keyring, Learned, Origin};
    /// use kafkacrypto::{keys::KeyIndex, secret::Secret, topic::Root};
    /// let (keyring, root, index) = (Keyring::new(), Root::new("lab"), KeyIndex::Short(1));
    /// let secret = || Secret::from_slice(&[7; 32]).unwrap();
    /// assert_eq!(keyring.learn(&root, &index, secret(), Origin::Own), Learned::New);
    /// assert_eq!(keyring.learn(&root, &index, secret(), Origin::Own), Learned::Known);
    /// assert_eq!(keyring.lookup(&root, &index).unwrap().secrets().len(), 1);
    /// ```
    pub fn learn(&self, root: &Root, index: &KeyIndex, secret: Secret<32>, origin: Origin) -> Learned {
        self.learn_shared(root, index, Arc::new(secret), origin)
    }

    /// Drops every secret of a key index.
    pub fn unlearn(&self, root: &Root, index: &KeyIndex) {
        write(&self.known).remove(root, index);
        self.known_cache.clear();
    }

    /// Sets what is called, outside of all locks, when there is something to drain.
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        *write(&self.waker) = Some(Arc::new(wake));
    }

    /// Sets what ends waits that have a deadline; without one, waits that don't block fail.
    pub fn set_timer(&self, timer: Arc<dyn Timer>) {
        *write(&self.timer) = Some(timer);
    }

    /// Says that nobody fetches keys any more, and why (the node was closed, its background task is down), or with `None`
    /// that somebody does again. While halted, every wait ends at once with the reason; what is known can still be used.
    pub fn set_halted(&self, reason: Option<&str>) {
        let reason = reason.map(Arc::<str>::from);
        let wants = lock(&self.wants).set_halted(reason.clone());
        wants.iter().for_each(|want| want.halt(reason.clone()));
        self.producers.set_halted(reason);
    }

    /// Key indices that have become wanted since the last call, or wanted again after nobody had waited for them. One that
    /// has a known secret already may be among them: what it opens failed to authenticate, so another secret is looked for.
    #[must_use]
    pub fn drain_wants(&self) -> Vec<(Root, KeyIndex)> {
        lock(&self.wants).drain()
    }

    /// Roots under which something was to be encrypted, without a current producer secret, since the last call.
    #[must_use]
    pub fn drain_uses(&self) -> Vec<Root> {
        self.producers.drain_uses()
    }

    /// For an engine that was built anew and knows of none: all keys that somebody waits for are wanted again, those that
    /// were refused included.
    pub fn renew_wants(&self) {
        let held = lock(&self.wants).renew();
        held.iter().for_each(|want| want.refuse(None));
        self.wake_driver();
    }

    /// Whether a message that wants this key is still held by anybody: if not, don't ask for it again.
    #[must_use]
    pub fn still_waited(&self, root: &Root, index: &KeyIndex) -> bool {
        lock(&self.wants).still_waited(root, index)
    }

    /// Forgets that a key was wanted, unless a message that wants it is still held (then the answer is false). For the end
    /// of an unanswered want's time, minutes after the last request: what was waited for in vain counts against its root's
    /// budget until then.
    pub fn forget(&self, root: &Root, index: &KeyIndex) -> bool {
        lock(&self.wants).forget(root, index)
    }

    /// Says how matters stand with a wanted key, for people; waits go on.
    pub fn note(&self, root: &Root, index: &KeyIndex, text: &str) {
        if let Some(want) = self.wanted(root, index) {
            want.note(text);
        }
    }

    /// Says why a wanted key can't be had for now; ends all waits for it. Messages become refused, with this reason, until
    /// the key is learned or [`Keyring::unrefuse`] is called.
    pub fn refuse(&self, root: &Root, index: &KeyIndex, refusal: &Refusal) {
        if let Some(want) = self.wanted(root, index) {
            want.refuse(Some(refusal.clone()));
        }
    }

    /// Takes a refusal back: the key can be waited for again.
    pub fn unrefuse(&self, root: &Root, index: &KeyIndex) {
        if let Some(want) = self.wanted(root, index) {
            want.refuse(None);
        }
    }

    /// What was encrypted and decrypted so far, and what couldn't be.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// Registers that a key index is wanted; `beyond` is how many of its secrets don't help. `None` if there are more now.
    pub(crate) fn want(&self, root: &Root, index: &KeyIndex, beyond: usize) -> Result<Option<Wanted>, TooManyUnknown> {
        let wanted = {
            let mut wants = lock(&self.wants);
            let wanted = wants.want(root, index, &self.limits)?;
            // `learn` stores first and looks at the wants afterwards, so nothing falls between the two
            if self.lookup(root, index).is_some_and(|known| known.secrets().len() > beyond) {
                drop(wanted);
                wants.forget(root, index);
                return Ok(None);
            }
            wanted
        };
        if wanted.is_news() {
            self.wake_driver();
        }
        Ok(Some(wanted))
    }

    /// [`Keyring::lookup`] without writing anything that other threads read.
    pub(crate) fn lookup_here(&self, key: &(Root, KeyIndex)) -> Option<Arc<Here<Known>>> {
        self.known_cache.get(key, || self.lookup(&key.0, &key.1))
    }

    pub(crate) fn count(&self, event: Event) {
        self.tally.count(event);
    }

    fn learn_shared(&self, root: &Root, index: &KeyIndex, secret: Arc<Secret<32>>, origin: Origin) -> Learned {
        let learned = write(&self.known).learn(root, index, KnownSecret::new(secret, origin), &self.limits);
        if matches!(learned, Learned::New | Learned::Conflict { .. }) {
            self.known_cache.clear();
            let want = lock(&self.wants).remove(root, index);
            want.inspect(|want| want.arrived());
        }
        learned
    }

    fn wanted(&self, root: &Root, index: &KeyIndex) -> Option<Arc<Want>> {
        lock(&self.wants).get(root, index)
    }

    fn wake_driver(&self) {
        let waker = read(&self.waker).clone();
        if let Some(wake) = waker {
            wake();
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            known_per_root: 10_000,
            known: 100_000,
            secrets_per_signer: 4,
            secrets_per_index: 16,
            wanted_per_root: 500,
            wanted: 5_000,
            vain_per_root: 8,
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits: _, known, known_cache: _, wants, producers, tally, waker: _, timer: _ } = self;
        f.debug_struct("Keyring")
            .field("known", &read(known).len())
            .field("wanted", &lock(wants).len())
            .field("producing", &producers.len())
            .field("counters", &tally.read())
            .finish()
    }
}

/// A lock that is taken whatever happened to its last holder: nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
