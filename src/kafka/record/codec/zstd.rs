//! Zstandard: written by `structured-zstd`, read by `ruzstd`.
//!
//! `structured-zstd` decodes four to five times as fast (measured on JSON-like text: about 1 GB/s against 0.2 to 0.3), but
//! with five times the code and `unsafe` throughout; `ruzstd` has it in one ring buffer. What comes from the network goes
//! through the smaller one.

use std::panic::catch_unwind;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use structured_zstd::encoding::{CompressionLevel, compress_slice_to_vec};

use super::Failure;

pub(super) fn compress(records: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> Option<()> {
    let level = level.map_or(CompressionLevel::Default, CompressionLevel::from_level);
    out.extend_from_slice(&compress_slice_to_vec(records, level));
    Some(())
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // The decoder asserts here and there what it holds for impossible. Fuzzing met none of it; should an input, then it is
    // a bad batch and not the end of whoever reads it.
    let result = catch_unwind(|| frames(bytes, limit));
    result.unwrap_or_else(|_| Err(Failure::malformed("its decoder gave up")))
}

fn frames(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(u64::try_from(limit.max(USUAL_WINDOW)).unwrap_or(u64::MAX));
    while !bytes.is_empty() {
        match decoder.init(&mut bytes) {
            Ok(()) => frame(&mut decoder, &mut bytes, &mut out, limit)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                bytes = bytes.get(length..).ok_or_else(|| Failure::malformed("a skippable frame is cut"))?;
            }
            Err(why) => return Err(Failure::malformed(why)),
        }
    }
    Ok(out)
}

fn frame(decoder: &mut FrameDecoder, bytes: &mut &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Failure> {
    let stated = usize::try_from(decoder.content_size()).unwrap_or(usize::MAX);
    out.reserve(stated.min(bytes.len().saturating_mul(32)).min(limit.saturating_sub(out.len())));
    while !decoder.is_finished() {
        decoder.decode_blocks(&mut *bytes, BlockDecodingStrategy::UptoBytes(STEP)).map_err(Failure::malformed)?;
        if decoder.can_collect() > limit.saturating_sub(out.len()) {
            return Err(Failure::TooLarge);
        }
        decoder.collect_to_writer(&mut *out).map_err(Failure::malformed)?;
    }
    let sums = (decoder.get_checksum_from_data(), decoder.get_calculated_checksum());
    if matches!(sums, (Some(stated), Some(found)) if stated != found) {
        return Err(Failure::malformed("its content checksum is wrong"));
    }
    Ok(())
}

/// What encoders choose up to level 19 when they don't know the size; taken even if the limit is less.
const USUAL_WINDOW: usize = 8 << 20;
/// How much is decoded before it is looked at: a block has up to 128 KiB.
const STEP: usize = 128 << 10;
