//! Snappy: one raw block, as librdkafka writes it, or the frame of Java's library `snappy-java` (xerial), as Java and
//! kafka-python write it. Every client reads both.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::Failure;

/// A frame, if it takes more than one block: Java (brokers unpack what they check, too) unpacks it block by block, but a raw
/// one in two arrays as large as the batch.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let is_framed = records.len() > BLOCK;
    if is_framed {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(VERSIONS);
    }
    let mut encoder = Encoder::new();
    let mut room = vec![0; max_compress_len(records.len().min(BLOCK))];
    for plain in records.chunks(BLOCK) {
        let written = encoder.compress(plain, &mut room).ok()?;
        if is_framed {
            out.extend_from_slice(&u32::try_from(written).ok()?.to_be_bytes());
        }
        out.extend_from_slice(room.get(..written)?);
    }
    Some(())
}

/// A frame is [`MAGIC`], a version and the oldest compatible one (4 bytes each), then blocks: 4 bytes length, raw snappy.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let Some(framed) = bytes.strip_prefix(MAGIC) else {
        block(bytes, &mut out, limit)?;
        return Ok(out);
    };
    out.reserve(bytes.len().saturating_mul(2).min(limit));
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
/// Version 1, which readers of version 1 understand.
const VERSIONS: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1];
/// Snappy itself looks no further back.
const BLOCK: usize = 64 << 10;
/// The densest element is 64 bytes in three (or 11 in two).
const MOST_RATIO: usize = 22;
