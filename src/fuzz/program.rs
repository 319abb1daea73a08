//! The input of a structure-aware target: a program that is read byte by byte. An input that has ended reads as zeros, and
//! zeros always mean the honest case, so that a short input goes deep.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

pub(super) struct Program<'a> {
    rest: &'a [u8],
}

impl<'a> Program<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    /// A number below `n`, which is at most 256.
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    /// One of these.
    pub(super) fn choice<T: Copy>(&mut self, of: &[T]) -> T {
        *of.get(self.below(of.len())).or(of.first()).expect("a choice of nothing")
    }

    /// Something that zeros don't do, nor most other bytes.
    pub(super) fn rarely(&mut self) -> bool {
        self.byte() >= 0xf0
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(super) fn long(&mut self) -> u64 {
        (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte()))
    }

    /// Bytes behind their length (two bytes, little-endian); all that is left if there are fewer.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.number()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    /// Changes bytes: up to three edits, mostly none.
    pub(super) fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.byte().saturating_sub(0xfc) + u8::from(self.rarely()) {
            bytes = self.edit(bytes);
        }
        bytes
    }

    /// Changes bytes once; whether anything is different afterwards isn't said.
    pub(super) fn edit(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = usize::from(self.number()).checked_rem(bytes.len()).unwrap_or(0);
        let until = (at + 1 + self.below(40)).min(bytes.len());
        match self.below(6) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (until % 8)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..until, [])),
            3 => {
                let again = bytes.get(at..until).unwrap_or_default().to_vec();
                bytes.splice(at..at, again);
            }
            4 => drop(bytes.splice(at..until, self.bytes().iter().copied())),
            _ => drop(bytes.splice(at..at, self.bytes().iter().copied())),
        }
        bytes
    }
}

/// Numbers that look random and are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    /// splitmix64
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, place: &mut [u8]) -> Result<(), Infallible> {
        for chunk in place.chunks_mut(8) {
            let bytes = self.try_next_u64()?.to_le_bytes();
            chunk.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        }
        Ok(())
    }
}

impl TryCryptoRng for Dice {}
