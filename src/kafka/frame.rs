//! A request as it goes over the wire: parts one behind the other, so that batches needn't be copied. Pure.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// What still has to go.
#[derive(Debug, Clone, Default)]
pub(in crate::kafka) struct Frame {
    parts: VecDeque<Bytes>,
    left: usize,
}

/// A frame that is being written.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Draft {
    /// Each behind some text.
    large: Vec<(BytesMut, Bytes)>,
    /// What is behind the last of them.
    pub(in crate::kafka) text: BytesMut,
}

impl Draft {
    /// Adds bytes; many aren't copied.
    pub(in crate::kafka) fn add(&mut self, bytes: &Bytes) {
        match bytes.len() < LARGE {
            true => self.text.extend_from_slice(bytes),
            false => self.large.push((self.text.split(), bytes.clone())),
        }
    }

    /// The frame, that begins with what `head` says of its length.
    pub(in crate::kafka) fn finish<const N: usize, E>(
        mut self,
        head: impl FnOnce(usize) -> Result<[u8; N], E>,
    ) -> Result<Frame, E> {
        let sizes = self.large.iter().map(|(text, large)| text.len() + large.len());
        let left = sizes.sum::<usize>() + self.text.len();
        let first = self.large.first_mut().map_or(&mut self.text, |(text, _)| text);
        if let Some(place) = first.first_chunk_mut() {
            *place = head(left)?;
        }
        let large = self.large.into_iter().flat_map(|(text, large)| [text.freeze(), large]);
        let parts = large.chain([self.text.freeze()]).filter(|part| !part.is_empty()).collect();
        Ok(Frame { parts, left })
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let slices = into.iter_mut().zip(&self.parts);
        slices.map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.left -= count;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > count {
                return part.advance(count);
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

/// What is less is quicker copied than sent as a part of its own.
const LARGE: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sizes: &[usize]) -> Frame {
        let mut draft = Draft::default();
        draft.text.extend_from_slice(&[0; 4]);
        for (at, size) in sizes.iter().enumerate() {
            draft.text.extend_from_slice(b"text");
            draft.add(&vec![u8::try_from(at).unwrap() + b'a'; *size].into());
        }
        draft.finish(|size| u32::try_from(size - 4).map(u32::to_be_bytes)).unwrap()
    }

    #[test]
    fn only_what_is_large_is_a_part_of_its_own() {
        for (sizes, parts) in [(&[][..], 1), (&[LARGE - 1, 1], 1), (&[LARGE], 2), (&[1, LARGE, 1, LARGE, LARGE, 1], 7)]
        {
            let frame = frame(sizes);
            let mut slices = [IoSlice::new(&[]); 16];
            assert_eq!(frame.chunks_vectored(&mut slices), parts);
            let bytes = slices[..parts].iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>();
            assert_eq!(
                (bytes.len(), frame.remaining()),
                (4 + sizes.iter().sum::<usize>() + 4 * sizes.len(), bytes.len())
            );
            assert_eq!(u32::from_be_bytes(*bytes.first_chunk().unwrap()) as usize, bytes.len() - 4);
        }
    }

    #[test]
    fn it_can_go_in_any_pieces() {
        let whole = frame(&[1, LARGE, LARGE]).copy_to_bytes(2 * LARGE + 17);
        for step in [1, 3, LARGE, LARGE + 12, whole.len()] {
            let (mut frame, mut gone) = (frame(&[1, LARGE, LARGE]), Vec::new());
            while frame.has_remaining() {
                let piece = step.min(frame.remaining());
                gone.extend_from_slice(&frame.clone().copy_to_bytes(piece));
                frame.advance(piece);
            }
            assert_eq!(gone, whole, "{step}");
        }
    }
}
