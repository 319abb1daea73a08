//! Text that is never shown.

use std::fmt;

use zeroize::Zeroizing;

/// A password or a token: wiped from memory when dropped, and never part of a log line, an error or `Debug`.
///
/// ```
/// use kafkacrypto::kafka::Hidden;
///
/// assert_eq!(format!("{:?}", Hidden::new("hush")), "(hidden)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for whoever sends it.
    pub(in crate::kafka) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<T: Into<String>> From<T> for Hidden {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}
