use rmp::Marker;

use super::{MAX_DEPTH, WireError};

/// Reads MessagePack values one after another from a slice, without copying.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

/// The head of one value; what belongs to an array or a map follows in the reader.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Item<'a> {
    Nil,
    Bool(bool),
    UInt(u64),
    /// Negative integers only.
    Int(i64),
    Float(f64),
    /// `bin` or `str`.
    Bytes(&'a [u8]),
    Array(u32),
    Map(u32),
    Ext(&'a [u8]),
}

/// Reads exactly one thing from `bytes`: what `read` leaves over is an error.
pub(crate) fn read_all<'a, T, E: From<WireError>>(
    bytes: &'a [u8],
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, E>,
) -> Result<T, E> {
    let mut reader = Reader::new(bytes, what);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

impl<'a> Reader<'a> {
    /// `what` names the thing being read, for errors.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// Fails unless everything was read.
    pub(crate) fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes { what: self.what }) }
    }

    /// The next value's head. An array or map that claims more elements than bytes remain is an error.
    pub(crate) fn item(&mut self) -> Result<Item<'a>, WireError> {
        let [marker] = self.take_array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Item::Nil,
            Marker::False => Item::Bool(false),
            Marker::True => Item::Bool(true),
            Marker::FixPos(n) => Item::UInt(n.into()),
            Marker::FixNeg(n) => Item::Int(n.into()),
            Marker::U8 => Item::UInt(self.take_array::<1>().map(u8::from_be_bytes)?.into()),
            Marker::U16 => Item::UInt(self.take_array().map(u16::from_be_bytes)?.into()),
            Marker::U32 => Item::UInt(self.take_array().map(u32::from_be_bytes)?.into()),
            Marker::U64 => Item::UInt(self.take_array().map(u64::from_be_bytes)?),
            Marker::I8 => signed(self.take_array::<1>().map(i8::from_be_bytes)?.into()),
            Marker::I16 => signed(self.take_array().map(i16::from_be_bytes)?.into()),
            Marker::I32 => signed(self.take_array().map(i32::from_be_bytes)?.into()),
            Marker::I64 => signed(self.take_array().map(i64::from_be_bytes)?),
            Marker::F32 => Item::Float(self.take_array().map(f32::from_be_bytes)?.into()),
            Marker::F64 => Item::Float(self.take_array().map(f64::from_be_bytes)?),
            Marker::FixStr(n) => Item::Bytes(self.take(n.into())?),
            Marker::Str8 | Marker::Bin8 => self.bytes_of::<1>()?,
            Marker::Str16 | Marker::Bin16 => self.bytes_of::<2>()?,
            Marker::Str32 | Marker::Bin32 => self.bytes_of::<4>()?,
            Marker::FixArray(n) => self.many(n.into(), 1).map(Item::Array)?,
            Marker::Array16 => self.length::<2>().and_then(|n| self.many(n, 1)).map(Item::Array)?,
            Marker::Array32 => self.length::<4>().and_then(|n| self.many(n, 1)).map(Item::Array)?,
            Marker::FixMap(n) => self.many(n.into(), 2).map(Item::Map)?,
            Marker::Map16 => self.length::<2>().and_then(|n| self.many(n, 2)).map(Item::Map)?,
            Marker::Map32 => self.length::<4>().and_then(|n| self.many(n, 2)).map(Item::Map)?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.length::<1>().and_then(|n| self.ext(n))?,
            Marker::Ext16 => self.length::<2>().and_then(|n| self.ext(n))?,
            Marker::Ext32 => self.length::<4>().and_then(|n| self.ext(n))?,
            Marker::Reserved => return Err(self.unexpected("a MessagePack value")),
        })
    }

    /// The next value is an array; says of how many elements.
    pub(crate) fn array(&mut self) -> Result<u32, WireError> {
        match self.item()? {
            Item::Array(n) => Ok(n),
            _ => Err(self.unexpected("an array")),
        }
    }

    /// The next value is an array of exactly `n` elements.
    pub(crate) fn array_of(&mut self, n: u32, expected: &'static str) -> Result<(), WireError> {
        match self.item()? {
            Item::Array(found) if found == n => Ok(()),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// The next value is `bin` or `str`.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        match self.item()? {
            Item::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unexpected("bytes")),
        }
    }

    /// The next value is `bin` or `str` of exactly `N` bytes.
    pub(crate) fn bytes_exact<const N: usize>(&mut self, expected: &'static str) -> Result<&'a [u8; N], WireError> {
        self.bytes()?.try_into().map_err(|_| self.unexpected(expected))
    }

    /// The next value is an integer that isn't negative.
    pub(crate) fn uint(&mut self) -> Result<u64, WireError> {
        match self.item()? {
            Item::UInt(n) => Ok(n),
            _ => Err(self.unexpected("an integer that isn't negative")),
        }
    }

    /// The next value whatever it is, as its own bytes.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], WireError> {
        let before = self.rest;
        self.skip(0)?;
        let length = before.len() - self.rest.len();
        before.get(..length).ok_or(WireError::Truncated { what: self.what })
    }

    /// An error that says what should have been here.
    pub(crate) fn unexpected(&self, expected: &'static str) -> WireError {
        WireError::Unexpected { what: self.what, expected }
    }

    fn skip(&mut self, depth: u8) -> Result<(), WireError> {
        let elements = match self.item()? {
            Item::Array(n) => u64::from(n),
            Item::Map(n) => 2 * u64::from(n),
            _ => return Ok(()),
        };
        if depth >= MAX_DEPTH {
            return Err(WireError::TooDeep { what: self.what });
        }
        (0..elements).try_for_each(|_| self.skip(depth + 1))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(WireError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, WireError> {
        let bytes = self.take_array::<N>()?;
        Ok(bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }

    fn bytes_of<const N: usize>(&mut self) -> Result<Item<'a>, WireError> {
        let n = self.length::<N>()?;
        self.take(n).map(Item::Bytes)
    }

    fn ext(&mut self, n: usize) -> Result<Item<'a>, WireError> {
        let _kind = self.take_array::<1>()?;
        self.take(n).map(Item::Ext)
    }

    fn many(&self, n: usize, bytes_each: usize) -> Result<u32, WireError> {
        let truncated = WireError::Truncated { what: self.what };
        if n.saturating_mul(bytes_each) > self.rest.len() {
            return Err(truncated);
        }
        u32::try_from(n).map_err(|_| truncated)
    }
}

fn signed<'a>(n: i64) -> Item<'a> {
    u64::try_from(n).map_or(Item::Int(n), Item::UInt)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Writer;
    use super::*;

    #[test]
    fn every_width_of_an_integer_is_read() {
        for bytes in [
            &b"\x05"[..],
            b"\xcc\x05",
            b"\xcd\0\x05",
            b"\xce\0\0\0\x05",
            b"\xcf\0\0\0\0\0\0\0\x05",
            b"\xd0\x05",
            b"\xd3\0\0\0\0\0\0\0\x05",
        ] {
            assert_eq!(Reader::new(bytes, "n").item(), Ok(Item::UInt(5)), "{bytes:x?}");
        }
        assert_eq!(Reader::new(b"\xff", "n").item(), Ok(Item::Int(-1)));
    }

    #[test]
    fn text_that_is_not_utf8_is_bytes() {
        assert_eq!(Reader::new(b"\xa2\xff\xfe", "t").bytes(), Ok(&b"\xff\xfe"[..]));
    }

    #[test]
    fn claims_are_checked_before_they_are_believed() {
        for claim in
            [&b"\xdd\xff\xff\xff\xff"[..], b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff\0"]
        {
            assert_eq!(Reader::new(claim, "c").raw(), Err(WireError::Truncated { what: "c" }));
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = |n: usize| [vec![0x91; n], vec![0xc0]].concat();
        assert!(Reader::new(&deep(16), "d").raw().is_ok());
        assert_eq!(Reader::new(&deep(17), "d").raw(), Err(WireError::TooDeep { what: "d" }));
        assert!(Reader::new(&deep(1_000_000), "d").raw().is_err());
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(read_all(b"\xc0\xc0", "x", Reader::item), Err(WireError::TrailingBytes { what: "x" }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(n: u64, i: i64, f: f64, b: Vec<u8>, s: String, t: bool) {
            let mut w = Writer::new();
            w.array(6).uint(n).int(i).float(f).bin(&b).str(&s).bool(t);
            let bytes = w.finish();
            let mut r = Reader::new(&bytes, "round trip");
            prop_assert_eq!(r.array(), Ok(6));
            prop_assert_eq!(r.uint(), Ok(n));
            prop_assert_eq!(r.item().unwrap(), signed(i));
            let Ok(Item::Float(read)) = r.item() else { panic!("no float") };
            prop_assert_eq!(read.to_bits(), f.to_bits());
            prop_assert_eq!(r.bytes(), Ok(&b[..]));
            prop_assert_eq!(r.bytes(), Ok(s.as_bytes()));
            prop_assert_eq!(r.item(), Ok(Item::Bool(t)));
            prop_assert!(r.end().is_ok());
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let mut r = Reader::new(&bytes, "noise");
            while r.raw().is_ok() && r.end().is_err() {}
        }
    }
}
