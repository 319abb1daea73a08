//! LZ4 frames: the frame is ours, the blocks are `lz4_flex`'s.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::super::cursor::Cursor;
use super::Failure;

/// One frame as Java's client writes and reads it: independent blocks of 64 KiB, no checksums. Java reads no other block
/// mode.
pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(HEAD);
    let mut table = CompressTable::default();
    let mut room = vec![0; get_maximum_output_size(BLOCK.min(records.len()))];
    for plain in records.chunks(BLOCK) {
        let written = compress_into_with_table(plain, &mut room, &mut table).ok()?;
        let (data, flag) = if written < plain.len() { (room.get(..written)?, 0) } else { (plain, STORED) };
        out.extend_from_slice(&(u32::try_from(data.len()).ok()? | flag).to_le_bytes());
        out.extend_from_slice(data);
    }
    out.extend_from_slice(&[0; 4]);
    Some(())
}

/// Any frames: linked blocks, checksums and sizes too, all of which are verified.
///
/// ```text
/// magic 4 · flags 1 · block size 1 · [content size 8] · XXH32 of these without magic, second byte
/// blocks: length 4 (highest bit: stored) · data · [XXH32 of data]      length 0 ends · [XXH32 of the content]
/// ```
pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).min(limit));
    let mut rest = Cursor::new(bytes);
    let mut filled = 0;
    while rest.rest() > 0 {
        let magic = word(&mut rest)?;
        if magic == MAGIC {
            filled = Frame::head(&mut rest)?.content(&mut rest, &mut out, filled, limit)?;
        } else if magic & !0xf == SKIPPABLE {
            let size = word(&mut rest)?;
            rest.take(usize::try_from(size).unwrap_or(usize::MAX)).ok_or_else(cut)?;
        } else {
            return Err(Failure::malformed("it isn't an LZ4 frame"));
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// What the head of a frame says.
struct Frame {
    flags: u8,
    block: usize,
    size: Option<u64>,
}

impl Frame {
    fn head(rest: &mut Cursor<'_>) -> Result<Self, Failure> {
        let mut ahead = *rest;
        let flags = ahead.byte().ok_or_else(cut)?;
        let sized = flags & CONTENT_SIZE != 0;
        let head = rest.take(if sized { 10 } else { 2 }).ok_or_else(cut)?;
        let check = rest.byte().ok_or_else(cut)?;
        if XxHash32::oneshot(0, head).to_le_bytes()[1] != check {
            return Err(Failure::malformed("the checksum of its head is wrong"));
        }
        if flags & VERSION != VERSION_1 || flags & DICTIONARY != 0 {
            return Err(Failure::malformed("a version or a dictionary that isn't supported"));
        }
        let block = match ahead.byte().map(|size| size >> 4) {
            Some(4) => 64 << 10,
            Some(5) => 256 << 10,
            Some(6) => 1 << 20,
            Some(7) => 4 << 20,
            _ => return Err(Failure::malformed("an unknown block size")),
        };
        let size = if sized { head.last_chunk().map(|size| u64::from_le_bytes(*size)) } else { None };
        Ok(Self { flags, block, size })
    }

    /// Decodes to `out` from `start` on, and returns where it ends.
    fn content(&self, rest: &mut Cursor<'_>, out: &mut Vec<u8>, start: usize, limit: usize) -> Result<usize, Failure> {
        let mut filled = start;
        loop {
            let length = word(rest)?;
            if length == 0 {
                break;
            }
            let size = usize::try_from(length & !STORED).unwrap_or(usize::MAX);
            let data = rest.take(size).ok_or_else(cut)?;
            if self.has(BLOCK_CHECKSUM) && word(rest)? != XxHash32::oneshot(0, data) {
                return Err(Failure::malformed("the checksum of a block is wrong"));
            }
            filled += self.block(data, length & STORED != 0, out, (start, filled))?;
            if filled > limit {
                return Err(Failure::TooLarge);
            }
        }
        let content = out.get(start..filled).unwrap_or_default();
        if self.has(CONTENT_CHECKSUM) && word(rest)? != XxHash32::oneshot(0, content) {
            return Err(Failure::malformed("the checksum of its content is wrong"));
        }
        if self.size.is_some_and(|size| u64::try_from(content.len()) != Ok(size)) {
            return Err(Failure::malformed("it doesn't have the size that it states"));
        }
        Ok(filled)
    }

    /// Decodes one block to `out[filled..]`, and returns its size. Earlier blocks begin at `start`.
    fn block(
        &self,
        data: &[u8],
        stored: bool,
        out: &mut Vec<u8>,
        (start, filled): (usize, usize),
    ) -> Result<usize, Failure> {
        let room = if stored { data.len() } else { self.block.min(data.len().saturating_mul(MOST_RATIO)) };
        if room > self.block {
            return Err(Failure::malformed("a block is too long"));
        }
        if out.len() < filled + room {
            out.resize(filled + room, 0);
        }
        let (before, target) = out.split_at_mut_checked(filled).ok_or_else(cut)?;
        let target = target.get_mut(..room).ok_or_else(cut)?;
        if stored {
            target.copy_from_slice(data);
            return Ok(room);
        }
        let written = if self.has(INDEPENDENT) {
            decompress_into(data, target)
        } else {
            let window = before.get(start.max(filled.saturating_sub(WINDOW))..).unwrap_or_default();
            decompress_into_with_dict(data, target, window)
        };
        written.map_err(Failure::malformed)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn word(rest: &mut Cursor<'_>) -> Result<u32, Failure> {
    let bytes = rest.take(4).and_then(|bytes| bytes.first_chunk()).ok_or_else(cut)?;
    Ok(u32::from_le_bytes(*bytes))
}

fn cut() -> Failure {
    Failure::malformed("it is cut")
}

const MAGIC: u32 = 0x184d_2204;
const SKIPPABLE: u32 = 0x184d_2a50;
/// Magic, version 1 with independent blocks, blocks up to 64 KiB, checksum of these two bytes.
const HEAD: &[u8] = &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const BLOCK: usize = 64 << 10;
/// How far a linked block refers back.
const WINDOW: usize = 64 << 10;
/// No byte of a block stands for more than this.
const MOST_RATIO: usize = 255;

const STORED: u32 = 1 << 31;
const VERSION: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;
