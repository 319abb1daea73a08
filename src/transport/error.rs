//! Why a call to a broker failed, in terms that a caller can act on.

use std::borrow::Cow;
use std::fmt;

/// A call that failed: a [kind](TransportErrorKind) to act on, and a sentence for people.
///
/// ```
/// use kafkacrypto::transport::{TransportError, TransportErrorKind};
///
/// let error = TransportError::new(TransportErrorKind::UnknownTopic, "there is no topic \"readings\"");
/// assert!(error.is_retriable());
/// assert!(error.to_string().starts_with("there is no topic \"readings\"; create it"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    /// What to do next, where it is known better than by the kind; empty if the message says it.
    advice: Option<Cow<'static, str>>,
}

impl TransportError {
    /// An error of this kind. `message` says what failed, in lower case and without a full stop; what to do next is
    /// added by the kind.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None }
    }

    /// The same error, with what to do next, if it is known better than by the kind; empty if the message says it.
    #[cfg(feature = "kafka")]
    pub(crate) fn advising(self, advice: Option<impl Into<Cow<'static, str>>>) -> Self {
        Self { advice: advice.map(Into::into).or(self.advice), ..self }
    }

    /// The kind.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// What failed, without the advice.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may work later with nothing changed on our side.
    pub fn is_retriable(&self) -> bool {
        self.kind.is_retriable()
    }

    /// Whether what was sent may have arrived all the same, so that sending again may double it.
    pub fn may_have_arrived(&self) -> bool {
        matches!(self.kind, TransportErrorKind::TimedOut | TransportErrorKind::Corrupt)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.advice.as_deref().unwrap_or(self.kind.advice()) {
            "" => f.write_str(&self.message),
            advice => write!(f, "{}; {advice}", self.message),
        }
    }
}

impl std::error::Error for TransportError {}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// A setting or an argument makes no sense.
    Configuration,
    /// No broker answers at the addresses that we have. Nothing was sent.
    Unreachable,
    /// Who answers isn't a Kafka broker, or not one that is spoken to in this way (TLS on a plain port, say).
    NotKafka,
    /// No answer in time, or the connection broke before it came. What was sent may have arrived.
    TimedOut,
    /// There is no such topic or partition (yet).
    UnknownTopic,
    /// The partition has no such offset: it was deleted, or hasn't been written.
    OffsetOutOfRange,
    /// The broker knows us and doesn't allow this.
    NotAuthorised,
    /// The broker doesn't accept our credentials, or we don't accept its certificate.
    Authentication,
    /// A record or a batch is bigger than the broker, or a setting of ours, allows; the message says which.
    TooLarge,
    /// This transport or this broker can't do that.
    Unsupported,
    /// What came back can't be read.
    Corrupt,
    /// The transport was closed.
    Closed,
    /// Anything else that the broker said.
    Other,
}

impl TransportErrorKind {
    /// Whether the same call may work later with nothing changed on our side.
    pub fn is_retriable(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::UnknownTopic | Self::Other)
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Configuration => "correct the setting",
            Self::Unreachable => "check bootstrap_servers and security_protocol, and that the broker runs",
            Self::NotKafka => "check the port in bootstrap_servers, and security_protocol",
            Self::TimedOut => "check the broker and the network, then try again",
            Self::UnknownTopic => "create it, or allow this node to",
            Self::OffsetOutOfRange => "go on from the beginning or the end of the partition",
            Self::NotAuthorised => "give this user the right to it in the broker's ACLs",
            Self::Authentication => "check the credentials and certificates in the settings",
            Self::TooLarge => "send less at once, or raise the limit",
            Self::Unsupported => "do without it, or use a newer broker",
            Self::Corrupt => "find out who wrote it; reading can go on after it",
            Self::Closed => "open a new one",
            Self::Other => "see the broker's log",
        }
    }
}
