use crate::keys::{KeyError, KeyIndex, MessageKey, Salt};
use crate::wire::{Reader, WireError, Writer, read_all};

/// An encrypted message taken apart (protocol §5). Nothing in it is authentic yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) index: KeyIndex,
    pub(crate) salt: Salt,
    pub(crate) sealed: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAFrame {
    /// Not a kafkacrypto message.
    Foreign(WireError),
    /// One whose key index is longer than we keep.
    IndexTooLong,
}

impl<'a> Frame<'a> {
    /// Reads the layout of [`seal`]; byte fields may be `str`.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, NotAFrame> {
        let [MARKER, body @ ..] = bytes else {
            return Err(NotAFrame::Foreign(WireError::Unexpected { what: WHAT, expected: "the byte 01 at its start" }));
        };
        let (index, salt, sealed) = read_all(body, WHAT, fields)?;
        Ok(Self { index: KeyIndex::decode(&mut Reader::new(index, WHAT))?, salt, sealed })
    }
}

/// Reads everything before the index is judged: what isn't a frame at all is foreign, however long its index.
fn fields<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Salt, &'a [u8]), WireError> {
    reader.array_of(3, "[key index, salt, box]")?;
    Ok((reader.raw()?, *reader.bytes_exact("a salt of 16 bytes")?, reader.bytes()?))
}

/// An encrypted message, written in one go (protocol §5); none if the plaintext is too long for the format (4 GiB):
///
/// ```text
/// 01 ‖ array(3) ‖ bin | uint key index ‖ bin(16) salt ‖ bin(16 + n) tag ‖ ciphertext
/// ```
pub(crate) fn seal(index: &KeyIndex, salt: &Salt, key: &MessageKey, plaintext: &[u8]) -> Option<Vec<u8>> {
    let sealed = u32::try_from(plaintext.len()).ok()?.checked_add(TAG)?;
    let mut out = Vec::with_capacity(HEAD_MAX + plaintext.len());
    out.push(MARKER);
    let mut out = Writer::after(out);
    out.array(3);
    index.encode(&mut out);
    out.bin(salt).bin_head(sealed);
    let mut out = out.finish();
    let head = out.len();
    key.seal_into(&mut out, plaintext);
    // a cipher that fails writes nothing; then nothing may go out
    (out.len() > head).then_some(out)
}

impl From<WireError> for NotAFrame {
    fn from(error: WireError) -> Self {
        Self::Foreign(error)
    }
}

impl From<KeyError> for NotAFrame {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Wire(error) => Self::Foreign(error),
            _ => Self::IndexTooLong,
        }
    }
}

const WHAT: &str = "encrypted message";
const MARKER: u8 = 0x01;
const TAG: u32 = 16;
/// The most that stands before the ciphertext: marker, array, index of 64 bytes, salt, head of the box, tag.
const HEAD_MAX: usize = 1 + 1 + (2 + KeyIndex::MAX_BYTES) + (2 + 16) + 5 + 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::{Purpose, message_key};
    use crate::secret::Secret;

    fn key() -> MessageKey {
        message_key(&Secret::filled(|s| s.fill(1)), Purpose::Value, &[2; 16])
    }

    fn foreign(bytes: &[u8]) -> bool {
        matches!(Frame::decode(bytes), Err(NotAFrame::Foreign(_)))
    }

    #[test]
    fn what_is_no_frame_is_foreign() {
        let good = seal(&KeyIndex::Short(7), &[2; 16], &key(), b"text").unwrap();
        assert!(Frame::decode(&good).is_ok());
        for length in 0..good.len() {
            assert!(foreign(&good[..length]), "{length}");
        }
        assert!(foreign(&[&good[..], b"\0"].concat()), "trailing byte");
        assert!(foreign(&[b"\x02", &good[1..]].concat()), "marker");
        assert!(foreign(b"\x01\x93\x01\x02\x03") && foreign(b"\x01\x92\x01\x02") && foreign(b"plain text"));
        let mut short_salt = Writer::after(vec![1]);
        short_salt.array(3).uint(1).bin(&[0; 15]).bin(&[0; 16]);
        assert!(foreign(&short_salt.finish()));
        for index in [&b"\xff"[..], b"\xc0", b"\xcb\0\0\0\0\0\0\0\0", b"\x91\x01"] {
            let mut odd = Writer::after(vec![1]);
            odd.array(3).raw(index).bin(&[0; 16]).bin(&[0; 16]);
            assert!(foreign(&odd.finish()), "{index:x?}");
        }
    }

    #[test]
    fn old_writers_use_str_for_bytes() {
        let mut old = Writer::after(vec![1]);
        old.array(3).str_bytes(&[0xff; 32]).str_bytes(&[0xfe; 16]).str_bytes(&[0xfd; 40]);
        let old = old.finish();
        let frame = Frame::decode(&old).unwrap();
        assert_eq!((frame.index, frame.salt), (KeyIndex::long(&[0xff; 32]).unwrap(), [0xfe; 16]));
        assert_eq!(frame.sealed, [0xfd; 40]);
    }

    #[test]
    fn long_indices_are_told_from_foreign_bytes() {
        let mut long = Writer::after(vec![1]);
        long.array(3).bin(&[1; 65]).bin(&[0; 16]).bin(&[0; 16]);
        assert_eq!(Frame::decode(&long.finish()), Err(NotAFrame::IndexTooLong));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_read(index in proptest::collection::vec(any::<u8>(), 0..=64), salt: Salt, text: Vec<u8>) {
            let index = KeyIndex::long(&index).unwrap();
            let bytes = seal(&index, &salt, &key(), &text).unwrap();
            prop_assert!(bytes.capacity() <= HEAD_MAX + text.len());
            let frame = Frame::decode(&bytes).unwrap();
            prop_assert_eq!((&frame.index, frame.salt), (&index, salt));
            prop_assert_eq!(key().open(frame.sealed), Some(text));
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = Frame::decode(&[&[1], &bytes[..]].concat());
            let _ = Frame::decode(&bytes);
        }
    }
}
