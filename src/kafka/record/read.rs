//! Reading batches out of a fetch response or a log file.

use bytes::Bytes;

use super::codec::{self, Compression};
use super::cursor::Cursor;
use super::error::{BatchError, Defect};
use super::layout::{
    CHECKED_FROM, CODEC, CODEC_AT, CONTROL, DELETE_HORIZON, HEADER, LOG_APPEND_TIME, Layout, MAGIC, MAGIC_AT, PREFIX,
    TRANSACTIONAL, TimestampType,
};
use super::{Header, Record};

/// The batches in `bytes`, one behind the other, without a copy.
///
/// Brokers cut a response at its limit: a last batch that isn't whole ends the iteration quietly, and
/// [`Batches::rest`] says how much of it there was. A damaged batch is an `Err` with its offsets, and the next ones
/// follow; only behind an impossible length nothing does.
///
/// ```
/// # use kafkacrypto::kafka::record::{BatchWriter, Compression, Defect, Stamp, read_batches};
/// let mut batch = BatchWriter::with_capacity(100);
/// batch.append(0, None, Some(b"value"), &[])?;
/// let good = batch.finish(Compression::None, None, Stamp::NONE)?;
/// let mut bytes = [&good[..], &good[..], &good[..40]].concat();
/// bytes[good.len() - 3] ^= 1;
///
/// let mut batches = read_batches(&bytes.into());
/// let error = batches.next().unwrap().unwrap_err();
/// assert!(matches!((error.last_offset, error.defect), (0, Defect::Checksum { .. })));
/// assert!(batches.next().unwrap().is_ok());
/// assert!(batches.next().is_none());
/// assert_eq!(batches.rest(), 40);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone(), check: true, lost: false }
}

/// See [`read_batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    check: bool,
    lost: bool,
}

impl Batches {
    /// The same without looking at checksums (`check.crcs=false`).
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.check = false;
        self
    }

    /// How many bytes are left: those of a cut batch once the iteration has ended. A response that has bytes and no whole
    /// batch makes no progress, which a broker never sends (it completes the first batch, whatever the limit).
    pub fn rest(&self) -> usize {
        self.rest.len()
    }

    fn step(&mut self) -> Option<Result<Batch, BatchError>> {
        let base_offset = i64::from_be_bytes(*self.rest.first_chunk()?);
        let length = length(&self.rest)?;
        let magic = i8::from_be_bytes([*self.rest.get(MAGIC_AT)?]);
        let least = if magic == MAGIC { HEADER } else { MAGIC_AT + 1 };
        let whole = usize::try_from(length).ok().and_then(|n| n.checked_add(PREFIX)).filter(|n| *n >= least);
        let Some(whole) = whole else {
            self.lost = true;
            return Some(Err(BatchError { base_offset, last_offset: base_offset, defect: Defect::Length(length) }));
        };
        if whole > self.rest.len() {
            return None;
        }
        let bytes = self.rest.split_to(whole);
        if magic != MAGIC {
            return Some(Err(BatchError { base_offset, last_offset: base_offset, defect: Defect::Magic(magic) }));
        }
        Some(self.judge(&bytes))
    }

    fn judge(&self, bytes: &Bytes) -> Result<Batch, BatchError> {
        let header = bytes.first_chunk::<HEADER>().map(Layout::decode);
        let Some(header) = header else {
            return Err(BatchError { base_offset: 0, last_offset: 0, defect: Defect::Length(0) });
        };
        let found =
            if self.check { crc32c::crc32c(bytes.get(CHECKED_FROM..).unwrap_or_default()) } else { header.checksum };
        let result = if found == header.checksum {
            Batch::new(header, bytes.slice(HEADER..))
        } else {
            Err(Defect::Checksum { stated: header.checksum, found })
        };
        result.map_err(|defect| BatchError {
            base_offset: header.base_offset,
            last_offset: self.plausible_end(&header),
            defect,
        })
    }

    /// The last offset of a damaged batch: what its header says, but not into the batch behind it.
    fn plausible_end(&self, header: &Layout) -> i64 {
        let stated = header.base_offset.saturating_add(header.last_offset_delta.max(0).into());
        let behind = self.rest.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
        let before = behind.filter(|next| *next > header.base_offset).map_or(stated, |next| next - 1);
        stated.min(before)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.lost { None } else { self.step() }
    }
}

/// One batch, its checksum right, its records not yet looked at.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The offset of its first record (of the first that was written: compaction may have removed it).
    pub base_offset: i64,
    /// The last offset that it stands for, whether or not a record with it is left.
    pub last_offset: i64,
    /// The leader epoch under which it was appended, -1 before that.
    pub leader_epoch: i32,
    /// The greatest timestamp of its records; under [`TimestampType::LogAppend`] that of all.
    pub max_timestamp_ms: i64,
    /// Who wrote it, -1 if not idempotent.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The sequence number of its first record.
    pub base_sequence: i32,
    /// How many records it holds. Compaction can leave none.
    pub count: i32,
    attributes: i16,
    base_timestamp_ms: i64,
    body: Bytes,
}

impl Batch {
    fn new(header: Layout, body: Bytes) -> Result<Self, Defect> {
        if header.last_offset_delta < 0 || header.base_offset < 0 {
            return Err(Defect::Header("a negative offset"));
        }
        if header.count < 0 {
            return Err(Defect::Header("a negative number of records"));
        }
        let last = header.base_offset.checked_add(header.last_offset_delta.into());
        Ok(Self {
            base_offset: header.base_offset,
            last_offset: last.ok_or(Defect::Header("offsets beyond 64 bits"))?,
            leader_epoch: header.leader_epoch,
            max_timestamp_ms: header.max_timestamp_ms,
            producer_id: header.producer_id,
            producer_epoch: header.epoch,
            base_sequence: header.sequence,
            count: header.count,
            attributes: header.attributes,
            base_timestamp_ms: header.base_timestamp_ms,
            body,
        })
    }

    /// Whose clock its timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.has(LOG_APPEND_TIME) { TimestampType::LogAppend } else { TimestampType::Create }
    }

    /// Whether it is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether it holds markers of the broker's in place of data.
    pub fn is_control(&self) -> bool {
        self.has(CONTROL)
    }

    /// When its tombstones may go, where compaction has set that.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.has(DELETE_HORIZON).then_some(self.base_timestamp_ms)
    }

    /// How it is compressed; `None` for a codec that isn't known.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_id(self.attributes & CODEC)
    }

    /// The bytes of its records, compressed if it is.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The same batch, not compressed any more.
    ///
    /// # Errors
    /// An unknown codec, damaged compressed data, or more than `limit`.
    pub fn unpacked(&self, limit: usize) -> Result<Self, BatchError> {
        let codec = u8::try_from(self.attributes & CODEC).unwrap_or(u8::MAX);
        let body = match self.compression() {
            None => Err(Defect::Codec(codec)),
            Some(codec) => codec::decompressed(codec, &self.body, limit),
        };
        let body = body.map_err(|defect| self.error(defect))?;
        Ok(Self { attributes: self.attributes & !CODEC, body, ..self.clone() })
    }

    /// Its records, decoded one by one as slices of the batch (or of its decompressed form). `limit` bounds the bytes
    /// that they may take in memory: [`DECOMPRESSED_LIMIT`](super::DECOMPRESSED_LIMIT) unless the caller knows better.
    ///
    /// An `Err` among them is the last item; what came before it is sound.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::{BatchWriter, Compression, DECOMPRESSED_LIMIT, Defect, Stamp, read_batches};
    /// let mut batch = BatchWriter::with_capacity(100);
    /// batch.append(0, Some(b"key"), Some(&[b'a'; 5000]), &[])?;
    /// let bytes = batch.finish(Compression::Gzip, None, Stamp::NONE)?;
    ///
    /// let batch = read_batches(&bytes).next().unwrap()?;
    /// let record = batch.records(DECOMPRESSED_LIMIT)?.next().unwrap()?;
    /// assert_eq!((record.offset, record.key.as_deref()), (0, Some(&b"key"[..])));
    /// assert!(matches!(batch.records(1000).unwrap_err().defect, Defect::TooLarge { limit: 1000 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An unknown codec, damaged compressed data, or more than `limit`.
    pub fn records(&self, limit: usize) -> Result<Records, BatchError> {
        let Self { body, .. } = self.unpacked(limit)?;
        let budget = Budget { left: limit, limit };
        Ok(Records { batch: self.frame(), body, at: 0, index: 0, last_delta: -1, budget })
    }

    /// What a control batch says, if it ends a transaction.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::{BatchWriter, Compression, Marker, Stamp, read_batches};
    /// let mut batch = BatchWriter::with_capacity(100);
    /// batch.append(0, Some(&[0, 0, 0, 1]), None, &[])?; // version 0, type 1
    /// let data = batch.finish(Compression::None, None, Stamp::NONE)?;
    /// let mut control = data.to_vec();
    /// control[22] |= 1 << 5; // an attribute that only brokers set
    ///
    /// assert_eq!(read_batches(&data).next().unwrap()?.marker()?, None);
    /// let batch = read_batches(&control.into()).unchecked().next().unwrap()?;
    /// assert_eq!(batch.marker()?, Some(Marker::Commit));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A control batch without a readable record. Data batches are `Ok(None)`.
    pub fn marker(&self) -> Result<Option<Marker>, BatchError> {
        if !self.is_control() || self.count == 0 {
            return Ok(None);
        }
        let record = self.records(CONTROL_LIMIT)?.next().transpose()?;
        let key = record.and_then(|record| record.key);
        let malformed = || self.error(Defect::Record { index: 0, why: "no key of a control record" });
        let [_, _, high, low] = *key.as_deref().and_then(<[u8]>::first_chunk).ok_or_else(malformed)?;
        Ok(match i16::from_be_bytes([high, low]) {
            0 => Some(Marker::Abort),
            1 => Some(Marker::Commit),
            _ => None,
        })
    }

    fn frame(&self) -> Frame {
        Frame {
            base_offset: self.base_offset,
            last_offset: self.last_offset,
            base_timestamp_ms: self.base_timestamp_ms,
            append_time_ms: self.has(LOG_APPEND_TIME).then_some(self.max_timestamp_ms),
            count: self.count,
        }
    }

    fn has(&self, bit: i16) -> bool {
        self.attributes & bit != 0
    }

    fn error(&self, defect: Defect) -> BatchError {
        BatchError { base_offset: self.base_offset, last_offset: self.last_offset, defect }
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Its records count.
    Commit,
    /// Its records never were.
    Abort,
}

/// The records of a batch, in order. See [`Batch::records`].
#[derive(Clone, Debug)]
pub struct Records {
    batch: Frame,
    body: Bytes,
    at: usize,
    index: i32,
    last_delta: i32,
    budget: Budget,
}

/// What records need of the header.
#[derive(Clone, Copy, Debug)]
struct Frame {
    base_offset: i64,
    last_offset: i64,
    base_timestamp_ms: i64,
    append_time_ms: Option<i64>,
    count: i32,
}

impl Records {
    fn step(&mut self) -> Result<Record, Defect> {
        let why = |why| Defect::Record { index: self.index, why };
        let mut cursor = Cursor::new(self.body.get(self.at..).unwrap_or_default());
        let size = cursor.varint().ok_or(why("the batch ends before it"))?;
        let taken = usize::try_from(size).ok().and_then(|size| cursor.take(size));
        let bytes = taken.ok_or(why("its length goes beyond the batch"))?;
        self.budget.charge(size_of::<Record>())?;
        let parser = Parser { body: &self.body, batch: &self.batch, index: self.index };
        let (record, delta) = parser.record(Cursor::new(bytes), self.last_delta, &mut self.budget)?;
        self.at = self.body.len() - cursor.rest();
        self.last_delta = delta;
        Ok(record)
    }
}

/// Reads one record.
struct Parser<'a> {
    body: &'a Bytes,
    batch: &'a Frame,
    index: i32,
}

impl Parser<'_> {
    fn record(&self, mut fields: Cursor<'_>, last_delta: i32, budget: &mut Budget) -> Result<(Record, i32), Defect> {
        fields.byte().ok_or(self.bad("it is empty"))?; // attributes: none are defined
        let timestamp = fields.varlong().ok_or(self.bad("its timestamp"))?;
        let delta = fields.varint().ok_or(self.bad("its offset"))?;
        let offset = self.batch.base_offset.saturating_add(delta.into());
        // DIFFERENCE: Java takes any offset; a record twice, or one outside its batch, is refused here.
        if delta <= last_delta || offset > self.batch.last_offset {
            return Err(self.bad("its offset isn't in its place"));
        }
        let key = fields.nullable().ok_or(self.bad("its key goes beyond it"))?;
        let value = fields.nullable().ok_or(self.bad("its value goes beyond it"))?;
        let headers = self.headers(&mut fields, budget)?;
        if fields.rest() > 0 {
            return Err(self.bad("bytes are left over"));
        }
        let created = self.batch.base_timestamp_ms.wrapping_add(timestamp);
        let timestamp_ms = self.batch.append_time_ms.unwrap_or(created);
        Ok((Record { offset, timestamp_ms, key: self.slice(key), value: self.slice(value), headers }, delta))
    }

    fn headers(&self, fields: &mut Cursor<'_>, budget: &mut Budget) -> Result<Vec<Header>, Defect> {
        let count = fields.varint().ok_or(self.bad("its number of headers"))?;
        let count = usize::try_from(count).map_err(|_| self.bad("a negative number of headers"))?;
        if count > fields.rest() / LEAST_HEADER {
            return Err(self.bad("more headers than it has bytes for"));
        }
        budget.charge(count.saturating_mul(size_of::<Header>()))?;
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = fields.nullable().flatten().ok_or(self.bad("a header's name"))?;
            let value = fields.nullable().ok_or(self.bad("a header's value"))?;
            headers.push(Header { name: self.body.slice_ref(name), value: self.slice(value) });
        }
        Ok(headers)
    }

    fn slice(&self, bytes: Option<&[u8]>) -> Option<Bytes> {
        bytes.map(|bytes| self.body.slice_ref(bytes))
    }

    fn bad(&self, why: &'static str) -> Defect {
        Defect::Record { index: self.index, why }
    }
}

/// What the records of a batch may still take in memory. Structures count: one byte on the wire can become thirty.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    fn charge(&mut self, bytes: usize) -> Result<(), Defect> {
        self.left = self.left.checked_sub(bytes).ok_or(Defect::TooLarge { limit: self.limit })?;
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.batch.count {
            let left = self.at < self.body.len();
            self.at = self.body.len();
            let defect = Defect::Record { index: self.index, why: "there is more than the header says" };
            return left.then(|| Err(self.batch.error(defect)));
        }
        let result = self.step().map_err(|defect| self.batch.error(defect));
        if result.is_ok() {
            self.index += 1;
        } else {
            self.index = self.batch.count;
            self.at = self.body.len();
        }
        Some(result)
    }
}

impl Frame {
    fn error(&self, defect: Defect) -> BatchError {
        BatchError { base_offset: self.base_offset, last_offset: self.last_offset, defect }
    }
}

/// Whether the batch at the front of `bytes` says that it is compressed.
pub(in crate::kafka) fn is_compressed(bytes: &[u8]) -> bool {
    bytes.get(CODEC_AT).is_some_and(|attributes| i16::from(*attributes) & CODEC != 0)
}

fn length(bytes: &[u8]) -> Option<i32> {
    bytes.get(8..).and_then(<[u8]>::first_chunk).map(|bytes| i32::from_be_bytes(*bytes))
}

/// Two lengths.
const LEAST_HEADER: usize = 2;
/// A marker has a few bytes.
const CONTROL_LIMIT: usize = 64 << 10;
