//! The codecs of a batch: bytes in, bytes out, in one go (a batch is in memory anyway, and that is the fastest way).
//!
//! Must never allocate by a size that compressed data claims, nor give more than the limit that it is handed. Owns the
//! frames of gzip, snappy (raw and xerial's), LZ4 and zstd as Kafka uses them.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io::Read;

use bytes::Bytes;

use super::error::Defect;

/// How the records of a batch are compressed.
///
/// The level that goes with one is its own: gzip 1 to 9 (6), zstd -7 to 4 (3), and what lies outside is taken as the next
/// of these; snappy has none, and LZ4 is always the fast one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its name in Kafka's settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The one of this name in Kafka's settings.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::Compression;
    /// assert_eq!(Compression::from_name("lz4"), Some(Compression::Lz4));
    /// assert_eq!(Compression::from_name("zip"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Its number in the attributes of a batch.
    pub(super) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    pub(super) fn from_id(id: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `batch` with what is behind its first `front` bytes compressed, or `None` if that doesn't make it smaller.
pub(super) fn compressed(codec: Compression, level: Option<i32>, batch: &[u8], front: usize) -> Option<Vec<u8>> {
    let (header, records) = batch.split_at_checked(front)?;
    let mut out = Vec::with_capacity(front + records.len() / 2);
    out.extend_from_slice(header);
    match codec {
        Compression::None => return None,
        Compression::Gzip => gzip::compress(records, level, &mut out),
        Compression::Snappy => snappy::compress(records, &mut out),
        Compression::Lz4 => lz4::compress(records, &mut out),
        Compression::Zstd => zstd::compress(records, level, &mut out),
    }?;
    (out.len() < batch.len()).then_some(out)
}

/// What was compressed, if it is at most `limit` bytes.
pub(super) fn decompressed(codec: Compression, bytes: &Bytes, limit: usize) -> Result<Bytes, Defect> {
    let result = match codec {
        Compression::None => return Ok(bytes.clone()),
        Compression::Gzip => gzip::decompress(bytes, limit),
        Compression::Snappy => snappy::decompress(bytes, limit),
        Compression::Lz4 => lz4::decompress(bytes, limit),
        Compression::Zstd => zstd::decompress(bytes, limit),
    };
    match result {
        Ok(plain) => Ok(plain.into()),
        Err(Failure::TooLarge) => Err(Defect::TooLarge { limit }),
        Err(Failure::Malformed(why)) => Err(Defect::Compressed { codec, why }),
    }
}

/// Why there is no plain text.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    TooLarge,
    Malformed(String),
}

impl Failure {
    fn malformed(why: impl ToString) -> Self {
        Self::Malformed(why.to_string())
    }
}

/// All that `reader` gives, if it is at most `limit` bytes. `expected` is a guess.
fn read_all(reader: impl Read, expected: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(expected.min(limit));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(&mut out).map_err(Failure::malformed)?;
    if out.len() > limit { Err(Failure::TooLarge) } else { Ok(out) }
}

#[cfg(test)]
mod tests;
