use rmp::encode;

/// Writes MessagePack: bytes as `bin`, text as `str`, integers in the shortest form.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Goes on behind what `buffer` holds.
    pub(crate) fn after(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn array(&mut self, n: u32) -> &mut Self {
        self.put(|out| encode::write_array_len(out, n).map(|_| ()))
    }

    pub(crate) fn map(&mut self, n: u32) -> &mut Self {
        self.put(|out| encode::write_map_len(out, n).map(|_| ()))
    }

    #[cfg(test)]
    pub(crate) fn nil(&mut self) -> &mut Self {
        self.put(encode::write_nil)
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.put(|out| encode::write_bool(out, value))
    }

    pub(crate) fn uint(&mut self, n: u64) -> &mut Self {
        self.put(|out| encode::write_uint(out, n).map(|_| ()))
    }

    pub(crate) fn int(&mut self, n: i64) -> &mut Self {
        self.put(|out| encode::write_sint(out, n).map(|_| ()))
    }

    pub(crate) fn float(&mut self, value: f64) -> &mut Self {
        self.put(|out| encode::write_f64(out, value))
    }

    pub(crate) fn bin(&mut self, bytes: &[u8]) -> &mut Self {
        self.put(|out| encode::write_bin(out, bytes))
    }

    /// The head of a `bin` of `n` bytes; the caller appends them.
    pub(crate) fn bin_head(&mut self, n: u32) -> &mut Self {
        self.put(|out| encode::write_bin_len(out, n).map(|_| ()))
    }

    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        self.put(|out| encode::write_str(out, text))
    }

    /// Text that need not be UTF-8, as a `str` all the same.
    pub(crate) fn str_bytes(&mut self, text: &[u8]) -> &mut Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.put(|out| encode::write_str_len(out, length).map(|_| ())).raw(text)
    }

    /// A value that is MessagePack already.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    fn put<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> &mut Self {
        // writing to a vector can't fail; nothing that we write is longer than 4 GiB
        let _ = write(&mut self.0);
        self
    }
}
