//! Frames out of a stream of bytes, and what the first bytes say about who sends them. Pure.

use bytes::{Buf, Bytes, BytesMut};

use crate::kafka::error::{Error, ErrorKind};

/// Cuts what arrives into frames.
#[derive(Debug)]
pub(in crate::kafka) struct Frames {
    /// To read into: see [`room`](Self::room).
    pub(in crate::kafka) buffer: BytesMut,
    limit: usize,
    /// Whether nothing has been cut off yet.
    first: bool,
    /// The biggest frame yet: so much may be set aside at once.
    biggest: usize,
}

impl Frames {
    /// Frames of no more than `limit` bytes.
    pub(in crate::kafka) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit, first: true, biggest: ROOM }
    }

    /// The next whole frame, without its length; `None` until more bytes have come.
    pub(in crate::kafka) fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.buffer.len() < length + 4 {
            return Ok(None);
        }
        self.first = false;
        self.biggest = self.biggest.max(length).min(MOST_AT_ONCE);
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Makes room, and says how many bytes to read at most: no more than to the end of a frame that is on its way, so
    /// that frames needn't be copied apart.
    pub(in crate::kafka) fn room(&mut self) -> usize {
        let missing = match self.length() {
            Ok(Some(length)) => (length + 4).saturating_sub(self.buffer.len()),
            _ => 0,
        };
        // What a peer says about a length isn't believed beyond what it has shown to send.
        let at_once = self.biggest.max(self.buffer.len()).saturating_add(4);
        let room = if missing > ROOM { missing.min(at_once) } else { ROOM };
        self.buffer.reserve(room);
        room
    }

    /// Whether the stream may end here.
    #[cfg(test)]
    fn is_between(&self) -> bool {
        self.buffer.is_empty()
    }

    fn length(&self) -> Result<Option<usize>, Error> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        match usize::try_from(i32::from_be_bytes(*head)) {
            Ok(length) if length <= self.limit && length >= 4 => Ok(Some(length)),
            _ if self.first => Err(stranger(&self.buffer)),
            Ok(length) if length > self.limit => Err(too_large(length, self.limit)),
            _ => Err(Error::new(ErrorKind::Disconnected, "the broker sent a frame that can't be one")),
        }
    }
}

/// Who sends such first bytes.
fn stranger(bytes: &[u8]) -> Error {
    let who = match bytes {
        [0x14..=0x17, 3, ..] => "it speaks TLS, and security_protocol says that it doesn't",
        [b'H', b'T', b'T', b'P', ..] => "a web server answers, not a Kafka broker",
        [b'S', b'S', b'H', b'-', ..] => "an SSH server answers, not a Kafka broker",
        _ => "who answers there doesn't speak Kafka's protocol",
    };
    Error::new(ErrorKind::NotKafka, who)
}

fn too_large(length: usize, limit: usize) -> Error {
    let what = format!("the broker's answer has {length} bytes, more than the limit of {limit} for one");
    Error::new(ErrorKind::TooLarge, what)
}

/// Read at least so much at a time.
const ROOM: usize = 16 * 1024;
/// Set aside no more than this for a frame that hasn't come yet.
const MOST_AT_ONCE: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Bytes>, Error> {
        let mut found = Vec::new();
        for chunk in bytes.chunks(3) {
            frames.buffer.extend_from_slice(chunk);
            while let Some(frame) = frames.next()? {
                found.push(frame);
            }
        }
        Ok(found)
    }

    #[test]
    fn frames_come_whole_and_in_order() {
        let mut frames = Frames::new(100);
        let bytes = [&[0, 0, 0, 4][..], b"one.", &[0, 0, 0, 6], b"second", &[0, 0]].concat();
        assert_eq!(fed(&mut frames, &bytes).unwrap(), [&b"one."[..], b"second"]);
        assert!(!frames.is_between());
    }

    #[test]
    fn strangers_are_told_apart() {
        for (bytes, says) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "a web server"),
            (&[0x15, 3, 3, 0, 2, 2, 80], "speaks TLS"),
            (b"SSH-2.0-OpenSSH", "an SSH server"),
            (b"220 mail", "doesn't speak Kafka"),
            (&[0xff, 0xff, 0xff, 0xff], "doesn't speak Kafka"),
            (&[0, 0, 0, 0], "doesn't speak Kafka"),
        ] {
            let error = fed(&mut Frames::new(100), bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotKafka);
            assert!(error.message().contains(says), "{error}");
        }
    }

    #[test]
    fn a_later_frame_over_the_limit_is_a_limit_s_matter() {
        let mut frames = Frames::new(8);
        assert_eq!(fed(&mut frames, &[0, 0, 0, 4, 1, 2, 3, 4]).unwrap().len(), 1);
        let error = fed(&mut frames, &[0, 0, 0, 9]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_length_is_not_believed_before_bytes_have_come() {
        let mut frames = Frames::new(usize::MAX);
        frames.buffer.extend_from_slice(&[0x10, 0, 0, 0, 1]);
        frames.room();
        assert!(frames.buffer.capacity() < 1024 * 1024, "{}", frames.buffer.capacity());
    }
}
