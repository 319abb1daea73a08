//! Zstandard, by `zrip`: no `unsafe`, and as fast as the crates that have some. Its levels end at 4; higher ones of the C
//! library make readings a tenth smaller, in several times the time.

use std::panic::catch_unwind;

use zrip::FrameDecoder;

use super::{Failure, read_all};

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Option<()> {
    // 0 is the usual one for the C library, and another for this one.
    let level = level.filter(|level| *level != 0).unwrap_or(DEFAULT).clamp(-7, 4);
    out.extend_from_slice(&zrip::compress(records, level).ok()?);
    Some(())
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // The decoder asserts here and there what it holds for impossible. Fuzzing met none of it; should an input, then it is
    // a bad batch and not the end of whoever reads it.
    let result = catch_unwind(|| frames(bytes, limit));
    result.unwrap_or_else(|_| Err(Failure::malformed("its decoder gave up")))
}

/// At once is faster, but takes the room that a frame claims: no more than records usually need. Else block by block.
fn frames(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let usual = bytes.len().saturating_mul(USUAL_RATIO).min(limit);
    // A frame that doesn't say how much it holds is corrupt to it where there's too little room, so the other one judges.
    zrip::decompress_with_limit(bytes, usual).or_else(|_| read_all(FrameDecoder::new(bytes), usual, limit))
}

/// The C library's.
const DEFAULT: i32 = 3;
/// Text of sensors and logs gets 3 to 20 times smaller.
const USUAL_RATIO: usize = 32;
