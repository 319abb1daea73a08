use std::fmt;

use super::KeyError;
use crate::secret::Fingerprint;
use crate::wire::{Item, Reader, WireError, Writer};

/// The public name of one producer secret: bytes (long, the default) or an integer (short).
///
/// ```
/// use kafkacrypto::keys::KeyIndex;
/// assert!(KeyIndex::long(&[7; 64]).is_ok());
/// assert!(KeyIndex::long(&[7; 65]).is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyIndex {
    /// A hash of the node's keys and the ratchet index.
    Long(Box<[u8]>),
    /// The ratchet index itself.
    Short(u64),
}

impl KeyIndex {
    /// Longer indices are neither asked for nor kept.
    pub const MAX_BYTES: usize = 64;

    /// An index of bytes; fails beyond 64 of them.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn long(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(KeyError::Length { what: "key index", expected: Self::MAX_BYTES, found: bytes.len() });
        }
        Ok(Self::Long(bytes.into()))
    }

    /// Bytes or an integer, as it stands in a message.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        match reader.item()? {
            Item::Bytes(bytes) => Self::long(bytes),
            Item::UInt(n) => Ok(Self::Short(n)),
            _ => Err(reader.unexpected("a key index: bytes or an integer").into()),
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Long(bytes) => out.bin(bytes),
            Self::Short(n) => out.uint(*n),
        };
    }

    /// `msgpack([keyidx, …])`: the record key of a request or a reply (protocol §8.1).
    pub(crate) fn encode_list<'a>(list: impl ExactSizeIterator<Item = &'a Self>) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(u32::try_from(list.len()).unwrap_or(u32::MAX));
        list.for_each(|index| index.encode(&mut out));
        out.finish()
    }

    /// What [`KeyIndex::encode_list`] writes; indices that are malformed or too long are left out, at most `most` are read.
    pub(crate) fn decode_list(bytes: &[u8], most: usize) -> Result<Vec<Self>, WireError> {
        let mut reader = Reader::new(bytes, "list of key indices");
        let count = reader.array()?;
        let mut list = Vec::new();
        for _ in 0..count {
            let index = reader.raw()?;
            if list.len() < most {
                list.extend(Self::decode(&mut Reader::new(index, "key index")));
            }
        }
        reader.end()?;
        Ok(list)
    }
}

impl fmt::Display for KeyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(bytes) => Fingerprint::of(bytes).fmt(f),
            Self::Short(n) => n.fmt(f),
        }
    }
}

impl fmt::Debug for KeyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_and_bad_entries_drop_out() {
        let list = [KeyIndex::long(b"abc").unwrap(), KeyIndex::Short(7)];
        let bytes = KeyIndex::encode_list(list.iter());
        assert_eq!(KeyIndex::decode_list(&bytes, 500).unwrap(), list);
        assert_eq!(KeyIndex::decode_list(&bytes, 1).unwrap(), list[..1]);
        let mut mixed = Writer::new();
        mixed.array(3).nil().bin(&[1; 65]).str("text");
        assert_eq!(KeyIndex::decode_list(&mixed.finish(), 500).unwrap(), [KeyIndex::long(b"text").unwrap()]);
        assert!(KeyIndex::decode_list(b"\x92\x01", 500).is_err());
    }
}
