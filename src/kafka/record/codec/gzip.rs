//! gzip.

use std::io::Write;

use flate2::Compression as Level;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Failure, read_all};

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Option<()> {
    let level = level.and_then(|level| u32::try_from(level).ok()).map_or(DEFAULT, |level| level.min(9));
    let mut encoder = GzEncoder::new(out, Level::new(level));
    encoder.write_all(records).ok()?;
    encoder.finish().ok().map(drop)
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // The last four bytes are the plain size, modulo 2^32; DEFLATE's ratio is at most 1032.
    let stated = bytes.last_chunk().map_or(0, |size| u32::from_le_bytes(*size));
    let expected = usize::try_from(stated).unwrap_or(usize::MAX).min(bytes.len().saturating_mul(32));
    read_all(MultiGzDecoder::new(bytes), expected, limit)
}

/// zlib's.
const DEFAULT: u32 = 6;
