use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;

use super::{Limits, Refusal, WaitError, lock};
use crate::keys::KeyIndex;
use crate::topic::Root;

/// A message's interest in a key: while one is held, the key is asked for again and again.
#[derive(Clone)]
pub(crate) struct Wanted {
    want: Arc<Want>,
    /// Counts who holds the want.
    _held: Arc<()>,
    first: bool,
    news: bool,
}

/// The key isn't registered as wanted, so it can't be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnknown;

impl Wanted {
    /// Whether this was the first time that the key was met.
    pub(crate) fn is_first(&self) -> bool {
        self.first
    }

    /// Why the key can't be had, if it is so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        lock(&self.want.state).refusal.clone()
    }

    /// How matters stand.
    pub(crate) fn note(&self) -> Option<Arc<str>> {
        lock(&self.want.state).note.clone()
    }

    pub(super) fn is_news(&self) -> bool {
        self.news
    }

    pub(super) fn want(&self) -> &Want {
        &self.want
    }
}

/// One wanted key and those who wait for it.
pub(super) struct Want {
    root: Root,
    pub(super) state: Mutex<WantState>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct WantState {
    arrived: bool,
    refusal: Option<Refusal>,
    halted: Option<Arc<str>>,
    note: Option<Arc<str>>,
    /// Whether a wait for it ran out of time.
    vain: bool,
    wakers: Vec<(u64, Waker)>,
    next_id: u64,
}

impl WantState {
    /// How a wait ends now, if it does.
    pub(super) fn end(&self) -> Option<Result<(), WaitError>> {
        match (self.arrived, &self.refusal, &self.halted) {
            (true, ..) => Some(Ok(())),
            (_, Some(refusal), _) => Some(Err(WaitError::Refused(refusal.clone()))),
            (_, _, Some(reason)) => Some(Err(WaitError::Halted(reason.clone()))),
            _ => None,
        }
    }

    pub(super) fn timed_out(&mut self) -> WaitError {
        self.vain = true;
        WaitError::TimedOut
    }

    /// A name for a waiter's waker.
    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn register(&mut self, id: u64, waker: &Waker) {
        self.unregister(id);
        self.wakers.push((id, waker.clone()));
    }

    pub(super) fn unregister(&mut self, id: u64) {
        self.wakers.retain(|(other, _)| *other != id);
    }
}

impl Want {
    /// Changes the state and tells everybody who waits; not to be called with another lock held.
    fn change(&self, change: impl FnOnce(&mut WantState)) {
        let wakers = {
            let mut state = lock(&self.state);
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        self.changed.notify_all();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(super) fn arrived(&self) {
        self.change(|state| state.arrived = true);
    }

    pub(super) fn refuse(&self, refusal: Option<Refusal>) {
        self.change(|state| state.refusal = refusal);
    }

    pub(super) fn halt(&self, reason: Option<Arc<str>>) {
        self.change(|state| state.halted = reason);
    }

    pub(super) fn note(&self, text: &str) {
        lock(&self.state).note = Some(text.into());
    }

    fn is_vain(&self) -> bool {
        lock(&self.state).vain
    }
}

struct Slot {
    want: Arc<Want>,
    held: Arc<()>,
    /// When it was last met, in wants.
    met: u64,
}

impl Slot {
    fn new(root: &Root, halted: Option<Arc<str>>) -> Self {
        let state = WantState { halted, ..WantState::default() };
        let want = Want { root: root.clone(), state: state.into(), changed: Condvar::new() };
        Self { want: Arc::new(want), held: Arc::default(), met: 0 }
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.held) > 1
    }
}

/// All wanted keys. A slot is dropped only while nobody holds its want.
#[derive(Default)]
pub(super) struct Wants {
    roots: HashMap<Root, HashMap<KeyIndex, Slot>>,
    total: usize,
    met: u64,
    /// Not told to the driver yet.
    fresh: HashSet<(Root, KeyIndex)>,
    halted: Option<Arc<str>>,
}

impl Wants {
    pub(super) fn len(&self) -> usize {
        self.total
    }

    pub(super) fn want(&mut self, root: &Root, index: &KeyIndex, limits: &Limits) -> Result<Wanted, TooManyUnknown> {
        self.met += 1;
        let met = self.met;
        let first = self.slot(root, index).is_none();
        if first {
            self.make_room(root, limits)?;
            self.total += 1;
        }
        let halted = &self.halted;
        let slots = self.roots.entry(root.clone()).or_default();
        let slot = slots.entry(index.clone()).or_insert_with(|| Slot::new(root, halted.clone()));
        let news = !slot.is_held();
        slot.met = met;
        if news {
            self.fresh.insert((root.clone(), index.clone()));
        }
        Ok(Wanted { want: slot.want.clone(), _held: slot.held.clone(), first, news })
    }

    pub(super) fn drain(&mut self) -> Vec<(Root, KeyIndex)> {
        std::mem::take(&mut self.fresh).into_iter().collect()
    }

    /// Everything that is held is to be told once more; those whose refusal, if any, is taken back.
    pub(super) fn renew(&mut self) -> Vec<Arc<Want>> {
        let all =
            self.roots.iter().flat_map(|(root, slots)| slots.iter().map(move |(index, slot)| (root, index, slot)));
        let held: Vec<_> = all.filter(|(.., slot)| slot.is_held()).collect();
        self.fresh.extend(held.iter().map(|(root, index, _)| ((*root).clone(), (*index).clone())));
        held.into_iter().map(|(.., slot)| slot.want.clone()).collect()
    }

    pub(super) fn still_waited(&self, root: &Root, index: &KeyIndex) -> bool {
        self.slot(root, index).is_some_and(Slot::is_held)
    }

    pub(super) fn forget(&mut self, root: &Root, index: &KeyIndex) -> bool {
        let held = self.still_waited(root, index);
        if !held {
            self.remove(root, index);
        }
        !held
    }

    pub(super) fn get(&self, root: &Root, index: &KeyIndex) -> Option<Arc<Want>> {
        self.slot(root, index).map(|slot| slot.want.clone())
    }

    pub(super) fn remove(&mut self, root: &Root, index: &KeyIndex) -> Option<Arc<Want>> {
        let slots = self.roots.get_mut(root)?;
        let slot = slots.remove(index)?;
        if slots.is_empty() {
            self.roots.remove(root);
        }
        self.total -= 1;
        self.fresh.remove(&(root.clone(), index.clone()));
        Some(slot.want)
    }

    /// Those that are to be told.
    pub(super) fn set_halted(&mut self, reason: Option<Arc<str>>) -> Vec<Arc<Want>> {
        self.halted = reason;
        self.roots.values().flat_map(HashMap::values).map(|slot| slot.want.clone()).collect()
    }

    /// Whether a wait may begin: one for a key that was waited for before may, others only while there are few such keys.
    pub(super) fn may_wait(&self, want: &Want, limits: &Limits) -> bool {
        let vain = |slots: &HashMap<KeyIndex, Slot>| slots.values().filter(|slot| slot.want.is_vain()).count();
        want.is_vain() || self.roots.get(&want.root).map_or(0, vain) < limits.vain_per_root
    }

    fn slot(&self, root: &Root, index: &KeyIndex) -> Option<&Slot> {
        self.roots.get(root)?.get(index)
    }

    /// Drops what was met longest ago and nobody holds; what was waited for in vain goes last, since it counts.
    fn make_room(&mut self, root: &Root, limits: &Limits) -> Result<(), TooManyUnknown> {
        let full = |slots: &HashMap<KeyIndex, Slot>| slots.len() >= limits.wanted_per_root;
        let full_root = self.roots.get(root).filter(|slots| full(slots)).map(|_| root.clone());
        if full_root.is_none() && self.total < limits.wanted {
            return Ok(());
        }
        let among = self.roots.iter().filter(|(other, _)| full_root.as_ref().is_none_or(|full| full == *other));
        let all = among.flat_map(|(root, slots)| slots.iter().map(move |(index, slot)| (root, index, slot)));
        let oldest = all.filter(|(.., slot)| !slot.is_held()).min_by_key(|(.., slot)| (slot.want.is_vain(), slot.met));
        let (root, index) = oldest.map(|(root, index, _)| (root.clone(), index.clone())).ok_or(TooManyUnknown)?;
        self.remove(&root, &index);
        Ok(())
    }
}
