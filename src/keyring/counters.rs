use std::sync::atomic::{AtomicU64, Ordering};

/// How many messages had which fate since the node was opened. A message that was pending and is decrypted later counts in
/// both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Encrypted.
    pub encrypted: u64,
    /// Decrypted and authenticated.
    pub decrypted: u64,
    /// No key yet.
    pub pending: u64,
    /// Authentication failed, or the key can't be had.
    pub refused: u64,
    /// Not kafkacrypto messages.
    pub foreign: u64,
}

/// One more of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Encrypted,
    Decrypted,
    Pending,
    Refused,
    Foreign,
}

#[derive(Default)]
pub(super) struct Tally {
    encrypted: AtomicU64,
    decrypted: AtomicU64,
    pending: AtomicU64,
    refused: AtomicU64,
    foreign: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, event: Event) {
        let counter = match event {
            Event::Encrypted => &self.encrypted,
            Event::Decrypted => &self.decrypted,
            Event::Pending => &self.pending,
            Event::Refused => &self.refused,
            Event::Foreign => &self.foreign,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counters {
        let Self { encrypted, decrypted, pending, refused, foreign } = self;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            encrypted: load(encrypted),
            decrypted: load(decrypted),
            pending: load(pending),
            refused: load(refused),
            foreign: load(foreign),
        }
    }
}
