//! Writing a batch.

use bytes::Bytes;

use super::Header;
use super::codec::{self, Compression};
use super::cursor::{put_varlong, varlong_size};
use super::error::WriteError;
use super::layout::{CHECKED_FROM, HEADER, Layout, MAGIC, PREFIX, Stamp, TRANSACTIONAL};

/// A batch that is being filled. Every record is encoded once, into the buffer that is sent if nothing compresses it.
///
/// ```
/// # use kafkacrypto::kafka::record::{BatchWriter, Compression, Header, Stamp, read_batches};
/// let mut batch = BatchWriter::with_capacity(1000);
/// batch.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[Header::new("name", "a")])?;
/// batch.append(1_700_000_000_001, None, None, &[])?;
/// let bytes = batch.finish(Compression::None, None, Stamp::NONE)?;
///
/// let batch = read_batches(&bytes).next().unwrap()?;
/// let records: Vec<_> = batch.records(1000)?.collect::<Result<_, _>>()?;
/// assert_eq!(records[0].value.as_deref(), Some(b"value".as_slice()));
/// assert_eq!((records[1].offset, records[1].key.is_none()), (1, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BatchWriter {
    /// Room for the header, and the records.
    out: Vec<u8>,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchWriter {
    /// An empty batch with room for so many bytes; it grows beyond them.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes.max(HEADER));
        out.resize(HEADER, 0);
        Self { out, count: 0, base_timestamp_ms: 0, max_timestamp_ms: i64::MIN }
    }

    /// The size of the batch, uncompressed, with its header.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// How many records are in it.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What [`size`](Self::size) would be with this record too.
    pub fn size_with(&self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        let body = self.body_size(timestamp_ms, key, value, headers);
        self.size() + body + varlong_size(wide(body))
    }

    /// Adds a record, and returns its offset relative to the first.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::{BatchWriter, WriteError};
    /// let mut batch = BatchWriter::with_capacity(100);
    /// let size = batch.size_with(0, Some(b"key"), None, &[]);
    /// assert_eq!(batch.append(0, Some(b"key"), None, &[])?, 0);
    /// assert_eq!((batch.size(), batch.append(0, None, None, &[])?, batch.count()), (size, 1, 2));
    /// # Ok::<(), WriteError>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if the format can't hold it; the batch is then as before.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<i32, WriteError> {
        let body = self.body_size(timestamp_ms, key, value, headers);
        let room = MOST.checked_sub(self.size()).and_then(|room| room.checked_sub(MOST_VARINT));
        let next = self.count.checked_add(1).ok_or(WriteError::TooLarge)?;
        if room.is_none_or(|room| body > room) {
            return Err(WriteError::TooLarge);
        }
        if self.count == 0 {
            self.base_timestamp_ms = timestamp_ms;
        }
        let out = &mut self.out;
        out.reserve(body + MOST_VARINT);
        put_varlong(out, wide(body));
        out.push(0); // attributes: none are defined
        put_varlong(out, timestamp_ms.wrapping_sub(self.base_timestamp_ms));
        put_varlong(out, i64::from(self.count));
        put_nullable(out, key);
        put_nullable(out, value);
        put_varlong(out, wide(headers.len()));
        for header in headers {
            put_nullable(out, Some(&header.name));
            put_nullable(out, header.value.as_deref());
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        Ok(std::mem::replace(&mut self.count, next))
    }

    /// The finished batch, for a produce request. `level` is the codec's own, `None` its default.
    ///
    /// Where compressing doesn't make the records smaller (encrypted ones, say), they are sent as they are.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::{BatchWriter, Compression, Stamp, WriteError, read_batches};
    /// let finished = |value: &[u8]| {
    ///     let mut batch = BatchWriter::with_capacity(100);
    ///     batch.append(0, None, Some(value), &[])?;
    ///     batch.finish(Compression::Lz4, None, Stamp::NONE)
    /// };
    /// let codec = |batch| read_batches(&batch).next().unwrap().unwrap().compression();
    /// assert_eq!(codec(finished(&[b'a'; 1000])?), Some(Compression::Lz4));
    /// assert_eq!(codec(finished(b"a")?), Some(Compression::None));
    /// let empty = BatchWriter::with_capacity(100).finish(Compression::Lz4, None, Stamp::NONE);
    /// assert_eq!(empty, Err(WriteError::Empty));
    /// # Ok::<(), WriteError>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::Empty`] without a record.
    pub fn finish(self, compression: Compression, level: Option<i32>, stamp: Stamp) -> Result<Bytes, WriteError> {
        if self.is_empty() {
            return Err(WriteError::Empty);
        }
        let (compression, mut out) = match compression {
            Compression::None => (compression, self.out),
            _ => match codec::compressed(compression, level, &self.out, HEADER) {
                Some(smaller) => (compression, smaller),
                None => (Compression::None, self.out),
            },
        };
        let transactional = if stamp.transactional { TRANSACTIONAL } else { 0 };
        let header = Layout {
            base_offset: 0,
            length: i32::try_from(out.len() - PREFIX).map_err(|_| WriteError::TooLarge)?,
            leader_epoch: -1,
            magic: MAGIC,
            checksum: 0,
            attributes: compression.id() | transactional,
            last_offset_delta: self.count - 1,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: stamp.producer_id,
            epoch: stamp.epoch,
            sequence: stamp.sequence,
            count: self.count,
        };
        seal(&mut out, header);
        Ok(Bytes::from(out))
    }

    /// The record without its own length:
    ///
    /// ```text
    /// attributes: 1 byte, 0        timestamp − base: varlong      offset − base: varint
    /// key length: varint, -1 null  key   value length: varint, -1 null  value
    /// number of headers: varint    for each: name length, name, value length (-1 null), value
    /// ```
    fn body_size(&self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        let base = if self.count == 0 { timestamp_ms } else { self.base_timestamp_ms };
        let fixed = 1 + varlong_size(timestamp_ms.wrapping_sub(base)) + varlong_size(i64::from(self.count));
        let header = |header: &Header| nullable_size(Some(&header.name)) + nullable_size(header.value.as_deref());
        let headers_size = varlong_size(wide(headers.len())) + headers.iter().map(header).sum::<usize>();
        fixed + nullable_size(key) + nullable_size(value) + headers_size
    }
}

/// A finished batch with another producer id, epoch and sequence (or none); nothing is compressed again. No byte is
/// copied if `batch` is the only reference to them.
///
/// # Errors
/// [`WriteError::NotABatch`] if `batch` isn't one batch from [`BatchWriter::finish`].
///
/// ```
/// # use kafkacrypto::kafka::record::{BatchWriter, Compression, Stamp, WriteError, read_batches, restamp};
/// let mut batch = BatchWriter::with_capacity(100);
/// batch.append(0, None, Some(b"value"), &[])?;
/// let bytes = batch.finish(Compression::None, None, Stamp::NONE)?;
/// let bytes = restamp(bytes, Stamp { producer_id: 7, epoch: 1, sequence: 40, transactional: false })?;
/// assert_eq!(read_batches(&bytes).next().unwrap().unwrap().base_sequence, 40);
/// assert_eq!(restamp("no batch".into(), Stamp::NONE), Err(WriteError::NotABatch));
/// # Ok::<(), WriteError>(())
/// ```
pub fn restamp(batch: Bytes, stamp: Stamp) -> Result<Bytes, WriteError> {
    let header = batch.first_chunk::<HEADER>().map(Layout::decode).ok_or(WriteError::NotABatch)?;
    if header.magic != MAGIC || usize::try_from(header.length).ok() != Some(batch.len() - PREFIX) {
        return Err(WriteError::NotABatch);
    }
    let transactional = if stamp.transactional { TRANSACTIONAL } else { 0 };
    let header = Layout {
        attributes: header.attributes & !TRANSACTIONAL | transactional,
        producer_id: stamp.producer_id,
        epoch: stamp.epoch,
        sequence: stamp.sequence,
        ..header
    };
    let mut bytes = batch.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
    seal(&mut bytes, header);
    Ok(bytes.freeze())
}

/// Writes the header in front of the records, with the checksum over both.
fn seal(batch: &mut [u8], mut header: Layout) {
    let Some((front, records)) = batch.split_first_chunk_mut::<HEADER>() else { return };
    let checked = header.encode();
    let checked = checked.get(CHECKED_FROM..).unwrap_or_default();
    header.checksum = crc32c::crc32c_append(crc32c::crc32c(checked), records);
    *front = header.encode();
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varlong(out, wide(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varlong(out, -1),
    }
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_size(wide(bytes.len())) + bytes.len())
}

fn wide(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The most that the length field can say.
const MOST: usize = i32::MAX as usize;
/// A varint of 32 bits is at most this long.
const MOST_VARINT: usize = 5;
