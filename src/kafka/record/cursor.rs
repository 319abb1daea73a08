//! Reading and writing the fields of a record: zigzag varints and byte strings with a length.

/// Reads from the front of a slice. `None` means that the bytes end too early or a varint is malformed.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A zigzag varint of 32 bits.
    pub(super) fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    /// A zigzag varint of 64 bits: seven bits in each byte, the lowest first.
    pub(super) fn varlong(&mut self) -> Option<i64> {
        let first = u64::from(self.byte()?);
        if first < 0x80 {
            return Some(unzigzag(first));
        }
        let mut value = first & 0x7f;
        for shift in (7..64).step_by(7) {
            let byte = u64::from(self.byte()?);
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(unzigzag(value));
            }
        }
        None
    }

    /// A length and as many bytes; a negative length is null.
    pub(super) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.varint()?) {
            Ok(n) => self.take(n).map(Some),
            Err(_) => Some(None),
        }
    }
}

pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// How many bytes [`put_varlong`] writes.
pub(super) fn varlong_size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kafka_s_own_examples() {
        let cases: &[(i64, &[u8])] = &[
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0xf]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0xf]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            put_varlong(&mut out, *value);
            assert_eq!(&out, bytes);
            assert_eq!(Cursor::new(bytes).varlong(), Some(*value));
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(Cursor::new(&[0xff; 11]).varlong(), None);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varlong(), None);
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), None, "33 bits");
        assert_eq!(Cursor::new(&[0x80]).varint(), None, "cut");
    }

    proptest! {
        #[test]
        fn round_trip(value: i64) {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            prop_assert_eq!(out.len(), varlong_size(value));
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.varlong(), Some(value));
            prop_assert_eq!(cursor.rest(), 0);
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.rest() > 0 && cursor.nullable().is_some() {}
        }
    }
}
