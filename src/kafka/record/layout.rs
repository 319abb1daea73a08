//! The 61 bytes in front of the records of a batch.

use bytes::{Buf, BufMut};

/// Who wrote a batch: the producer id, its epoch and the sequence number of the first record, as brokers use them to
/// refuse duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The producer id, -1 without.
    pub producer_id: i64,
    /// The producer's epoch, -1 without.
    pub epoch: i16,
    /// The sequence number of the first record, -1 without.
    pub sequence: i32,
    /// Whether the batch is part of a transaction.
    pub transactional: bool,
}

impl Stamp {
    /// A producer that isn't idempotent.
    pub const NONE: Self = Self { producer_id: -1, epoch: -1, sequence: -1, transactional: false };
}

/// Whose clock the timestamps of a batch are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's (`CreateTime`).
    Create,
    /// The broker's at the time of appending (`LogAppendTime`); one for the whole batch.
    LogAppend,
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) base_offset: i64,
    /// The bytes behind this field.
    pub(super) length: i32,
    pub(super) leader_epoch: i32,
    pub(super) magic: i8,
    pub(super) checksum: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
    pub(super) count: i32,
}

impl Layout {
    /// | at | bytes | field |
    /// |---|---|---|
    /// | 0 | 8 | base offset |
    /// | 8 | 4 | length of what follows |
    /// | 12 | 4 | partition leader epoch |
    /// | 16 | 1 | magic: 2 |
    /// | 17 | 4 | CRC32C of all from 21 on |
    /// | 21 | 2 | attributes: bits 0–2 codec, 3 `LogAppendTime`, 4 transactional, 5 control, 6 delete horizon |
    /// | 23 | 4 | last offset − base offset |
    /// | 27 | 8 | base timestamp (with bit 6: the delete horizon; records count from it either way) |
    /// | 35 | 8 | max timestamp |
    /// | 43 | 8 | producer id |
    /// | 51 | 2 | producer epoch |
    /// | 53 | 4 | sequence of the first record |
    /// | 57 | 4 | number of records |
    ///
    /// All big-endian.
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut out = bytes.as_mut_slice();
        out.put_i64(self.base_offset);
        out.put_i32(self.length);
        out.put_i32(self.leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.checksum);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp_ms);
        out.put_i64(self.max_timestamp_ms);
        out.put_i64(self.producer_id);
        out.put_i16(self.epoch);
        out.put_i32(self.sequence);
        out.put_i32(self.count);
        bytes
    }

    /// The reverse of [`encode`](Self::encode).
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Self {
        let mut bytes = bytes.as_slice();
        Self {
            base_offset: bytes.get_i64(),
            length: bytes.get_i32(),
            leader_epoch: bytes.get_i32(),
            magic: bytes.get_i8(),
            checksum: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp_ms: bytes.get_i64(),
            max_timestamp_ms: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            epoch: bytes.get_i16(),
            sequence: bytes.get_i32(),
            count: bytes.get_i32(),
        }
    }
}

/// The bytes of a batch header.
pub(super) const HEADER: usize = 61;
/// Base offset and length: what the length doesn't count.
pub(super) const PREFIX: usize = 12;
/// Where the magic is; the same place in every format.
pub(super) const MAGIC_AT: usize = 16;
/// Where the bytes begin that the checksum covers.
pub(super) const CHECKED_FROM: usize = 21;

/// Where the lower byte of the attributes is, with the codec.
pub(super) const CODEC_AT: usize = 22;

pub(super) const MAGIC: i8 = 2;
pub(super) const CODEC: i16 = 7;
pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(super) const TRANSACTIONAL: i16 = 1 << 4;
pub(super) const CONTROL: i16 = 1 << 5;
pub(super) const DELETE_HORIZON: i16 = 1 << 6;
