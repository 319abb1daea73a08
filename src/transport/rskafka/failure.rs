//! What the client's errors mean for us.

use ::rskafka::client::error::{Error, ProtocolError, RequestError};
use ::rskafka::{BackoffError, ConnectionError, SaslError};

use crate::transport::{TransportError, TransportErrorKind as Kind};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// For people; what a peer said is escaped.
    detail: String,
    /// Whether the same call may succeed in a moment.
    pub(super) again: bool,
    /// Whether a request may have reached the broker though its answer is missing.
    pub(super) lost: bool,
}

impl Failure {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), again: false, lost: false }
    }

    pub(super) fn again(mut self) -> Self {
        self.again = true;
        self
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The error, in the words of the call that failed.
    pub(super) fn at(self, what: &str) -> TransportError {
        TransportError::new(self.kind, format!("{what} ({})", self.detail))
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        classify(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        classify(&error)
    }
}

/// Whether a batch is there that the client doesn't understand.
pub(super) fn is_unreadable(error: &Error) -> bool {
    match error {
        Error::Request(RequestError::ReadError(_) | RequestError::ReadVersionedError(_)) => true,
        Error::Request(RequestError::TooMuchData { .. }) => true,
        Error::InvalidResponse(text) => is_about_time(text),
        _ => false,
    }
}

fn classify(error: &Error) -> Failure {
    match error {
        Error::Connection(error) => connection(error),
        Error::Request(error) => request(error),
        Error::InvalidResponse(text) if is_about_time(text) => Failure::new(Kind::Corrupt, escaped(text)),
        Error::InvalidResponse(text) => Failure::new(Kind::Other, escaped(text)).again(),
        Error::ServerError { protocol_error, error_message, .. } => server(*protocol_error, error_message.as_deref()),
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => match source.downcast_ref::<Error>() {
            Some(error) => classify(error),
            None => by_text(&source.to_string()),
        },
        Error::Timeout => Failure::new(Kind::TimedOut, "no answer"),
        _ => Failure::new(Kind::Other, escaped(&error.to_string())),
    }
}

fn connection(error: &ConnectionError) -> Failure {
    match error {
        ConnectionError::SaslFailed(SaslError::RequestError(error)) => {
            Failure::new(Kind::Unreachable, escaped(&error.to_string())).again()
        }
        ConnectionError::SaslFailed(error) => Failure::new(Kind::Authentication, escaped(&error.to_string())),
        ConnectionError::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => by_text(&source.to_string()),
        _ => Failure::new(Kind::Unreachable, escaped(&error.to_string())).again(),
    }
}

/// While it connects for the first time the client gives only text.
fn by_text(text: &str) -> Failure {
    let refused = text.split("Sasl handshake failed: ").skip(1).any(|reason| !reason.starts_with("Request error"));
    match refused {
        true => Failure::new(Kind::Authentication, escaped(text)),
        false => Failure::new(Kind::Unreachable, escaped(text)).again(),
    }
}

fn request(error: &RequestError) -> Failure {
    match error {
        RequestError::NoVersionMatch { api_key } => {
            Failure::new(Kind::Unsupported, format!("the broker has no version of {api_key:?} that this client knows"))
        }
        RequestError::ReadError(_) | RequestError::ReadVersionedError(_) | RequestError::TooMuchData { .. } => {
            Failure { lost: true, ..Failure::new(Kind::Corrupt, escaped(&error.to_string())) }
        }
        _ => Failure { lost: true, ..Failure::new(Kind::Unreachable, escaped(&error.to_string())).again() },
    }
}

fn server(error: ProtocolError, message: Option<&str>) -> Failure {
    let kind = kind(error);
    let detail = match message {
        Some(message) => format!("the broker says {error:?}: {}", escaped(message)),
        None => format!("the broker says {error:?}"),
    };
    let lost = matches!(error, ProtocolError::RequestTimedOut | ProtocolError::NotEnoughReplicasAfterAppend);
    Failure { lost, again: kind == Kind::Other && passes(error), ..Failure::new(kind, detail) }
}

fn kind(error: ProtocolError) -> Kind {
    use ProtocolError as E;
    match error {
        E::UnknownTopicOrPartition | E::UnknownTopicId => Kind::UnknownTopic,
        E::OffsetOutOfRange => Kind::OffsetOutOfRange,
        E::TopicAuthorizationFailed | E::GroupAuthorizationFailed | E::ClusterAuthorizationFailed => {
            Kind::NotAuthorised
        }
        E::TransactionalIdAuthorizationFailed | E::PolicyViolation => Kind::NotAuthorised,
        E::SaslAuthenticationFailed | E::IllegalSaslState | E::UnsupportedSaslMechanism => Kind::Authentication,
        E::MessageTooLarge | E::RecordListTooLarge => Kind::TooLarge,
        E::UnsupportedVersion | E::UnsupportedForMessageFormat | E::UnsupportedCompressionType => Kind::Unsupported,
        E::InvalidTopicException | E::InvalidPartitions | E::InvalidConfig | E::InvalidRequest => Kind::Configuration,
        E::InvalidTimestamp | E::InvalidRecord => Kind::Configuration,
        E::CorruptMessage => Kind::Corrupt,
        E::RequestTimedOut | E::NotEnoughReplicasAfterAppend => Kind::TimedOut,
        _ => Kind::Other,
    }
}

/// Whether this is how a broker looks that starts, or that hands a partition over.
fn passes(error: ProtocolError) -> bool {
    use ProtocolError as E;
    matches!(
        error,
        E::LeaderNotAvailable
            | E::NotLeaderOrFollower
            | E::NotController
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::OffsetNotAvailable
            | E::NotEnoughReplicas
            | E::NetworkException
            | E::KafkaStorageError
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::InvalidReplicationFactor
            | E::ThrottlingQuotaExceeded
    )
}

fn is_about_time(text: &str) -> bool {
    text.starts_with("Timestamp")
        || text.starts_with("Not a valid timestamp")
        || text.starts_with("Ambiguous timestamp")
}

/// Text that comes from elsewhere: on one line, and not endless.
fn escaped(text: &str) -> String {
    text.chars().take(MOST_CHARS).flat_map(char::escape_debug).collect::<String>().replace("\\\"", "\"")
}

const MOST_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn io() -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::ConnectionReset, "gone\nfar")
    }

    #[test]
    fn a_refused_password_is_final_and_a_broken_line_is_not() {
        for (text, kind, again) in [
            ("Sasl handshake failed: API error: SaslAuthenticationFailed", Kind::Authentication, false),
            ("Sasl handshake failed: unsupported sasl mechanism", Kind::Authentication, false),
            ("Sasl handshake failed: Request error: Connection is poisoned", Kind::Unreachable, true),
            ("error connecting to broker \"x:1\": IO Error", Kind::Unreachable, true),
        ] {
            let failure = by_text(text);
            assert_eq!((failure.kind, failure.again), (kind, again), "{text}");
        }
    }

    #[test]
    fn a_broken_connection_may_have_carried_the_request() {
        let poisoned = RequestError::Poisoned(Arc::new(RequestError::IO(io())));
        let failure = Failure::from(Error::Request(poisoned));
        assert_eq!((failure.kind, failure.again, failure.lost), (Kind::Unreachable, true, true));
        assert!(!failure.at("can't").to_string().contains('\n'));
    }

    #[test]
    fn the_error_inside_the_client_s_retries_counts() {
        let source = Box::new(Error::InvalidResponse("Not a valid timestamp (9)".to_owned()));
        let deadline = std::time::Duration::ZERO;
        let error = Error::RetryFailed(BackoffError::DeadlineExceded { deadline, source });
        assert_eq!(Failure::from(error).kind, Kind::Corrupt);
    }

    #[test]
    fn what_brokers_say() {
        for (error, expected, again) in [
            (ProtocolError::UnknownTopicOrPartition, Kind::UnknownTopic, false),
            (ProtocolError::TopicAuthorizationFailed, Kind::NotAuthorised, false),
            (ProtocolError::LeaderNotAvailable, Kind::Other, true),
            (ProtocolError::Unknown(999), Kind::Other, false),
            (ProtocolError::MessageTooLarge, Kind::TooLarge, false),
        ] {
            let failure = server(error, Some("\u{1b}[31m"));
            assert_eq!((failure.kind, failure.again), (expected, again), "{error:?}");
            assert!(!failure.at("x").to_string().contains('\u{1b}'));
        }
    }
}
