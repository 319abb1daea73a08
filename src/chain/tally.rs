//! How many signatures this thread has verified, for tests that hold us to what is remembered.

use std::cell::Cell;

use crate::keys::{SigningPublicKey, SigningType};

/// Signatures by their halves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ed25519: usize,
    pub(crate) slh_dsa: usize,
}

thread_local! {
    static TALLY: Cell<Tally> = Cell::default();
}

/// Since it was last asked.
pub(crate) fn take() -> Tally {
    TALLY.take()
}

pub(super) fn ed25519() {
    let tally = TALLY.get();
    TALLY.set(Tally { ed25519: tally.ed25519 + 1, ..tally });
}

/// Where there is one.
pub(super) fn slh_dsa(signer: &SigningPublicKey) {
    let tally = TALLY.get();
    let one = usize::from(signer.signing_type() == SigningType::Ed25519SlhDsa);
    TALLY.set(Tally { slh_dsa: tally.slh_dsa + one, ..tally });
}
