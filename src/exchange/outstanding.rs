use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::keys::{Ephemeral, KeyIndex};

/// One set of keys that was asked for, with everything that opens its answers.
///
/// DIFFERENCE: the ephemeral secrets and every `random0` stay valid until all indices have arrived or the request has
/// expired, so that several producers may answer one request, in any order. Others drop them at the first reply and at
/// each repeat.
#[derive(Debug)]
pub struct Asked {
    /// Names the set for as long as it is open.
    pub number: u64,
    /// What hasn't arrived yet.
    pub missing: BTreeSet<KeyIndex>,
    /// The secret halves, in order of preference.
    pub ephemerals: Vec<Ephemeral>,
    /// When the answers stop being of use, on the monotonic clock.
    pub expires: Duration,
    /// When to ask again, on the monotonic clock.
    pub next: Duration,
    /// The pause after the next repeat.
    pub pause: Duration,
    asked: BTreeSet<KeyIndex>,
    randoms: VecDeque<[u8; 32]>,
}

/// All open requests for one root; bounded.
#[derive(Debug, Default)]
pub struct Outstanding {
    sets: VecDeque<Asked>,
}

impl Asked {
    /// A set that was not sent yet.
    #[must_use]
    pub fn new(number: u64, asked: BTreeSet<KeyIndex>, ephemerals: Vec<Ephemeral>, expires: Duration) -> Self {
        let (next, pause) = (Duration::ZERO, Duration::from_secs(1));
        Self { number, missing: asked.clone(), ephemerals, expires, next, pause, asked, randoms: VecDeque::new() }
    }

    /// Whether an index belongs to this set, arrived or not: a second answer for it is of use, since the first may be false.
    #[must_use]
    pub fn asked_for(&self, index: &KeyIndex) -> bool {
        self.asked.contains(index)
    }

    /// Whether any message went out for it.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        !self.randoms.is_empty()
    }

    /// An index has arrived. The last one leaves the set open for [`GRACE`], for answers of other producers.
    pub fn arrived(&mut self, index: &KeyIndex, mono: Duration) {
        if self.missing.remove(index) && self.missing.is_empty() {
            self.expires = self.expires.min(mono + GRACE);
        }
    }

    /// Remembers the `random0` of one more message for this set.
    pub fn sent(&mut self, random0: [u8; 32]) {
        if self.randoms.len() >= MAX_RANDOMS {
            self.randoms.pop_front();
        }
        self.randoms.push_back(random0);
    }
}

impl Outstanding {
    /// Adds a set; see [`Outstanding::make_room`].
    pub fn add(&mut self, asked: Asked) {
        self.sets.push_back(asked);
    }

    /// Drops a set, and wipes its secrets, when there are too many: one that has all it asked for, else the oldest. What
    /// it still misses is handed back, to be asked for in another set.
    #[must_use]
    pub fn make_room(&mut self) -> BTreeSet<KeyIndex> {
        if self.sets.len() < MAX_SETS {
            return BTreeSet::new();
        }
        let complete = self.sets.iter().position(|asked| asked.missing.is_empty());
        self.sets.remove(complete.unwrap_or(0)).map(|asked| asked.missing).unwrap_or_default()
    }

    /// Whether an index is being asked for.
    #[must_use]
    pub fn asks_for(&self, index: &KeyIndex) -> bool {
        self.sets.iter().any(|asked| asked.missing.contains(index))
    }

    /// The set that a reply answers.
    pub fn answered_by(&mut self, random0: &[u8]) -> Option<&mut Asked> {
        self.sets.iter_mut().find(|asked| asked.randoms.iter().any(|random| random == random0))
    }

    /// Whether any `random0` of ours stands in `bytes`: a reply without one can't be for us and needn't be verified.
    #[must_use]
    pub fn may_answer(&self, bytes: &[u8]) -> bool {
        let randoms: BTreeSet<&[u8]> =
            self.sets.iter().flat_map(|asked| asked.randoms.iter().map(<[u8; 32]>::as_slice)).collect();
        if randoms.is_empty() {
            return false;
        }
        // a reply of type 4 has tens of thousands of places to look at, and nearly all begin with other bytes
        let mut beginnings = vec![false; 1 << 16];
        for random in &randoms {
            beginnings.get_mut(beginning(random)).into_iter().for_each(|place| *place = true);
        }
        let may_begin = |window: &[u8]| beginnings.get(beginning(window)) == Some(&true);
        bytes.windows(32).any(|window| may_begin(window) && randoms.contains(window))
    }

    /// A set by its number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut Asked> {
        self.sets.iter_mut().find(|asked| asked.number == number)
    }

    /// An index that nobody waits for any more: it isn't asked for again, but an answer is still taken.
    pub fn forget(&mut self, index: &KeyIndex, mono: Duration) {
        self.sets.iter_mut().for_each(|asked| asked.arrived(index, mono));
    }

    /// Drops what has expired. What it still misses is handed back, to be asked for in another set.
    #[must_use]
    pub fn sweep(&mut self, mono: Duration) -> BTreeSet<KeyIndex> {
        let expired = self.sets.iter().filter(|asked| asked.expires <= mono);
        let missing = expired.flat_map(|asked| asked.missing.iter().cloned()).collect();
        self.sets.retain(|asked| asked.expires > mono);
        missing
    }

    /// Every open set.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.sets.iter_mut()
    }

    /// Every open set.
    pub fn iter(&self) -> impl Iterator<Item = &Asked> {
        self.sets.iter()
    }
}

fn beginning(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |first| usize::from(u16::from_le_bytes(*first)))
}

/// Sets that may be open for one root.
const MAX_SETS: usize = 32;

/// Repeats of one set whose answers are still taken.
const MAX_RANDOMS: usize = 16;

/// How long a set stays open after its last index has arrived.
const GRACE: Duration = Duration::from_secs(120);
