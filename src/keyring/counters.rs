use std::sync::atomic::{AtomicU64, Ordering};

use super::lanes::Lanes;

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
pub(super) struct Tally(Lanes<[AtomicU64; 5]>);

impl Tally {
    pub(super) fn count(&self, event: Event) {
        let [encrypted, decrypted, pending, refused, foreign] = self.0.here();
        let counter = match event {
            Event::Encrypted => encrypted,
            Event::Decrypted => decrypted,
            Event::Pending => pending,
            Event::Refused => refused,
            Event::Foreign => foreign,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counters {
        self.0.iter().fold(Counters::default(), |sum, lane| {
            let [encrypted, decrypted, pending, refused, foreign] =
                lane.each_ref().map(|counter| counter.load(Ordering::Relaxed));
            Counters {
                encrypted: sum.encrypted + encrypted,
                decrypted: sum.decrypted + decrypted,
                pending: sum.pending + pending,
                refused: sum.refused + refused,
                foreign: sum.foreign + foreign,
            }
        })
    }
}
