//! Snappy: one raw block, as librdkafka writes it and every client reads it (Java too), or the frame of Java's library
//! `snappy-java` (xerial), as Java and kafka-python write it.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::Failure;

pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.resize(start.checked_add(max_compress_len(records.len()))?, 0);
    let written = Encoder::new().compress(records, out.get_mut(start..)?).ok()?;
    out.truncate(start + written);
    Some(())
}

/// A frame is [`MAGIC`], a version and the oldest compatible one (4 bytes each), then blocks: 4 bytes length, raw snappy.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let Some(framed) = bytes.strip_prefix(MAGIC) else {
        block(bytes, &mut out, limit)?;
        return Ok(out);
    };
    let mut rest = framed.get(8..).ok_or_else(|| Failure::malformed("its header is cut"))?;
    while !rest.is_empty() {
        let cut = || Failure::malformed("a block is cut");
        let (size, behind) = rest.split_first_chunk().ok_or_else(cut)?;
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
        let (compressed, behind) = behind.split_at_checked(size).ok_or_else(cut)?;
        block(compressed, &mut out, limit)?;
        rest = behind;
    }
    Ok(out)
}

fn block(bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Failure> {
    let size = decompress_len(bytes).map_err(Failure::malformed)?;
    if size > bytes.len().saturating_mul(MOST_RATIO) {
        return Err(Failure::malformed("it claims more than it can hold"));
    }
    if size > limit.saturating_sub(out.len()) {
        return Err(Failure::TooLarge);
    }
    let start = out.len();
    out.resize(start + size, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    let written = Decoder::new().decompress(bytes, target).map_err(Failure::malformed)?;
    out.truncate(start + written);
    Ok(())
}

const MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The densest element is 64 bytes in three (or 11 in two).
const MOST_RATIO: usize = 22;
