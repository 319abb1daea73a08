//! The one error of the paved road: opaque, with a kind to act on and a sentence that says what to do next.

use std::fmt;

/// What a program can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A config or another file of the node is missing, damaged, or says what can't be.
    Configuration,
    /// A file can't be opened as it stands: its permissions, its owner, or another process that holds it.
    Permission,
    /// The broker can't be reached, refuses, or takes too long.
    Broker,
    /// A certificate chain doesn't allow it.
    NotAuthorised,
    /// Nothing was encrypted, or what was received can't be decrypted.
    Encryption,
    /// The node or client is closed, or its background task is down.
    Closed,
    /// The call can't mean anything.
    Usage,
}

/// Why something failed.
///
/// ```
/// use kafkacrypto::error::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Broker, "the broker at 127.0.0.1:9092 doesn't answer");
/// assert!(error.is_broker() && !error.is_configuration());
/// assert_eq!(error.to_string(), "the broker at 127.0.0.1:9092 doesn't answer");
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of a kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// What can be done about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether a file of the node is the reason.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self.kind, ErrorKind::Configuration | ErrorKind::Permission)
    }

    /// Whether the broker is the reason.
    #[must_use]
    pub fn is_broker(&self) -> bool {
        self.kind == ErrorKind::Broker
    }

    /// Whether a certificate chain is the reason.
    #[must_use]
    pub fn is_not_authorised(&self) -> bool {
        self.kind == ErrorKind::NotAuthorised
    }

    /// Whether the node or client was closed before.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.kind == ErrorKind::Closed
    }

    /// The same error, with what was being done in front.
    #[must_use]
    pub fn while_doing(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}
