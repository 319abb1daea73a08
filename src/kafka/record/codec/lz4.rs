//! LZ4 frames.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use lz4_flex::frame::FrameDecoder;

use super::{Failure, read_all};

/// One frame as Java's client writes and reads it: independent blocks of 64 KiB, no checksums. Java reads no other block
/// mode.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(FRAME);
    let mut table = CompressTable::default();
    let mut room = vec![0; get_maximum_output_size(BLOCK.min(records.len()))];
    for plain in records.chunks(BLOCK) {
        let written = compress_into_with_table(plain, &mut room, &mut table).ok()?;
        let (data, flag) = if written < plain.len() { (room.get(..written)?, 0) } else { (plain, UNCOMPRESSED) };
        out.extend_from_slice(&(u32::try_from(data.len()).ok()? | flag).to_le_bytes());
        out.extend_from_slice(data);
    }
    out.extend_from_slice(&END);
    Some(())
}

/// Any frames: linked blocks, checksums and sizes too.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let mut decoder = FrameDecoder::new(bytes);
    loop {
        let left = limit.saturating_sub(out.len());
        let frame = read_all(&mut decoder, bytes.len().saturating_mul(2), left)?;
        if out.is_empty() {
            out = frame
        } else {
            out.extend_from_slice(&frame)
        }
        if decoder.get_ref().is_empty() {
            return Ok(out);
        }
    }
}

/// Magic, version 1 with independent blocks, blocks up to 64 KiB, checksum of these two bytes.
const FRAME: &[u8] = &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 << 10;
const UNCOMPRESSED: u32 = 1 << 31;
const END: [u8; 4] = [0; 4];
