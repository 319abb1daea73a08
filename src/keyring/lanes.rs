//! One value for each of a few groups of threads, so that threads that encrypt and decrypt side by side don't pass a cache
//! line to and fro for every message. Two threads that share a lane are slower, not wrong.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;

pub(super) const LANES: usize = 8;

/// A value per lane.
pub(super) struct Lanes<T>([Line<T>; LANES]);

/// Aligned, so that no two lanes share a cache line, nor a pair that is fetched together.
#[repr(align(128))]
#[derive(Default)]
struct Line<T>(T);

impl<T> Lanes<T> {
    pub(super) fn from_fn(mut value: impl FnMut(usize) -> T) -> Self {
        Self(std::array::from_fn(|lane| Line(value(lane))))
    }

    /// The value of this thread's lane.
    pub(super) fn here(&self) -> &T {
        let [first, ..] = &self.0;
        &self.0.get(LANE.with(|lane| *lane)).unwrap_or(first).0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }
}

impl<T: Default> Default for Lanes<T> {
    fn default() -> Self {
        Self::from_fn(|_| T::default())
    }
}

thread_local! {
    static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A lane's own reference to something shared: an `Arc` of it is counted in the lane, and only that count is written for
/// every message.
pub(crate) struct Here<V>(Arc<V>);

impl<V> Deref for Here<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

/// A cache in each lane before a map that all share. Whoever changes the map calls [`Cache::clear`] afterwards.
pub(super) struct Cache<K, V>(Lanes<Mutex<HashMap<K, Arc<Here<V>>>>>);

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub(super) fn get(&self, key: &K, load: impl FnOnce() -> Option<Arc<V>>) -> Option<Arc<Here<V>>> {
        let mut lane = lock(self.0.here());
        if let Some(found) = lane.get(key) {
            return Some(found.clone());
        }
        // loaded under the lane's lock: a change that comes after it clears the lane after it, too
        let loaded = Arc::new(Here(load()?));
        if lane.len() >= CACHED {
            lane.clear();
        }
        lane.insert(key.clone(), loaded.clone());
        Some(loaded)
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|lane| lock(lane).clear());
    }
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Lanes::from_fn(|_| Mutex::default()))
    }
}

/// What one lane keeps at most.
const CACHED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_follows_what_it_stands_before() {
        let cache = Cache::<u8, u8>::default();
        let get = |value: Option<u8>| cache.get(&1, || value.map(Arc::new)).map(|found| **found);
        assert_eq!((get(None), get(Some(7)), get(Some(8)), get(None)), (None, Some(7), Some(7), Some(7)));
        cache.clear();
        assert_eq!(get(None), None);
    }

    #[test]
    fn threads_have_lanes_of_their_own() {
        let lanes = Lanes::<AtomicUsize>::default();
        std::thread::scope(|scope| {
            for _ in 0..LANES {
                scope.spawn(|| lanes.here().fetch_add(1, Ordering::Relaxed));
            }
        });
        assert_eq!(lanes.iter().map(|lane| lane.load(Ordering::Relaxed)).sum::<usize>(), LANES);
    }
}
