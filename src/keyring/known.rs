use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Learned, Limits, Origin};
use crate::keys::{KeyIndex, Scheme};
use crate::secret::Secret;
use crate::topic::Root;

/// Every distinct secret known for one key index: a message's authentication tag decides which of them is the right one.
#[derive(Debug)]
pub struct Known {
    secrets: Vec<KnownSecret>,
    proven: AtomicBool,
    used: AtomicU64,
}

/// A secret, and where it comes from.
#[derive(Clone)]
pub struct KnownSecret {
    secret: Arc<Secret<32>>,
    origin: Origin,
}

impl Known {
    /// The secrets, in the order in which they arrived. Never empty.
    #[must_use]
    pub fn secrets(&self) -> &[KnownSecret] {
        &self.secrets
    }

    /// Whether one of the secrets has opened a message.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    pub(crate) fn prove(&self) {
        if !self.is_proven() {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    fn with(&self, added: KnownSecret) -> Self {
        let secrets = self.secrets.iter().cloned().chain([added]).collect();
        Self { secrets, proven: self.is_proven().into(), used: self.used.load(Ordering::Relaxed).into() }
    }

    fn takes(&self, origin: &Origin, limits: &Limits) -> bool {
        let from_same = self.secrets.iter().filter(|known| known.origin.same_giver(origin)).count();
        from_same < limits.secrets_per_signer && self.secrets.len() < limits.secrets_per_index
    }
}

impl KnownSecret {
    pub(super) fn new(secret: Arc<Secret<32>>, origin: Origin) -> Self {
        Self { secret, origin }
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// Where it comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Debug for KnownSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret: _, origin } = self;
        f.debug_struct("KnownSecret").field("origin", origin).finish_non_exhaustive()
    }
}

impl Origin {
    /// The exchange that it came by; none for our own.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Own => None,
            Self::Peer { scheme, .. } => Some(*scheme),
        }
    }

    fn same_giver(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own, Self::Own) => true,
            (Self::Peer { signer, .. }, Self::Peer { signer: theirs, .. }) => signer == theirs,
            _ => false,
        }
    }
}

/// All known secrets. "Recently used" is measured in learned secrets, so that looking up writes next to nothing.
#[derive(Default)]
pub(super) struct KnownSecrets {
    roots: HashMap<Root, HashMap<KeyIndex, Arc<Known>>>,
    learned: u64,
}

impl KnownSecrets {
    pub(super) fn len(&self) -> usize {
        self.roots.values().map(HashMap::len).sum()
    }

    pub(super) fn get(&self, root: &Root, index: &KeyIndex) -> Option<Arc<Known>> {
        let known = self.roots.get(root)?.get(index)?;
        if known.used.load(Ordering::Relaxed) != self.learned {
            known.used.store(self.learned, Ordering::Relaxed);
        }
        Some(known.clone())
    }

    pub(super) fn learn(&mut self, root: &Root, index: &KeyIndex, added: KnownSecret, limits: &Limits) -> Learned {
        let Some(known) = self.roots.get(root).and_then(|indices| indices.get(index)) else {
            self.insert(root, index, added, limits);
            return Learned::New;
        };
        if known.secrets.iter().any(|other| other.secret.same_as(&added.secret)) {
            return Learned::Known;
        }
        if !known.takes(&added.origin, limits) {
            return Learned::Full;
        }
        let others = known.secrets.iter().map(|other| other.origin.clone()).collect();
        let known = Arc::new(known.with(added));
        self.roots.entry(root.clone()).or_default().insert(index.clone(), known);
        Learned::Conflict { others }
    }

    pub(super) fn remove(&mut self, root: &Root, index: &KeyIndex) {
        if let Some(indices) = self.roots.get_mut(root) {
            indices.remove(index);
        }
        self.roots.retain(|_, indices| !indices.is_empty());
    }

    fn insert(&mut self, root: &Root, index: &KeyIndex, added: KnownSecret, limits: &Limits) {
        self.make_room(root, limits);
        self.learned += 1;
        let known = Known { secrets: vec![added], proven: false.into(), used: self.learned.into() };
        self.roots.entry(root.clone()).or_default().insert(index.clone(), Arc::new(known));
    }

    /// Drops the least recently used eighth of what has reached its limit, so that the search is paid for by many.
    fn make_room(&mut self, root: &Root, limits: &Limits) {
        if let Some(indices) = self.roots.get_mut(root).filter(|indices| indices.len() >= limits.known_per_root) {
            let mut old = Oldest::eighth_of(indices.values());
            indices.retain(|_, known| !old.take(known));
        }
        if self.len() >= limits.known {
            let mut old = Oldest::eighth_of(self.roots.values().flat_map(HashMap::values));
            self.roots.values_mut().for_each(|indices| indices.retain(|_, known| !old.take(known)));
            self.roots.retain(|_, indices| !indices.is_empty());
        }
    }
}

/// Picks so many of those that were last used at `limit` or before.
struct Oldest {
    limit: u64,
    left: usize,
}

impl Oldest {
    fn eighth_of<'a>(all: impl Iterator<Item = &'a Arc<Known>>) -> Self {
        let mut ages: Vec<u64> = all.map(|known| known.used.load(Ordering::Relaxed)).collect();
        let eighth = ages.len() / 8;
        let limit = if ages.is_empty() { 0 } else { *ages.select_nth_unstable(eighth).1 };
        Self { limit, left: eighth + 1 }
    }

    fn take(&mut self, known: &Known) -> bool {
        let taken = self.left > 0 && known.used.load(Ordering::Relaxed) <= self.limit;
        self.left -= usize::from(taken);
        taken
    }
}
