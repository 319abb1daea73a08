//! What failed, in the transport's words.

use crate::kafka::{Error, ErrorKind, FetchError};
use crate::transport::{TransportError, TransportErrorKind as Kind};

pub(super) fn unreadable(error: &FetchError) -> TransportError {
    let kind = match error {
        FetchError::OutOfRange { .. } | FetchError::Truncated { .. } | FetchError::Recreated { .. } => {
            Kind::OffsetOutOfRange
        }
        FetchError::Corrupt { .. } => Kind::Corrupt,
        FetchError::NoSuchPartition { .. } => Kind::UnknownTopic,
        FetchError::Failed { error, partition } => return failed(&format!("can't read {partition}"), error.clone()),
    };
    TransportError::new(kind, error.to_string()).advising(error.advises().then_some(""))
}

/// The same for what changes something: that it may have arrived is told, whatever else is known.
pub(super) fn changed(what: &str, error: Error) -> TransportError {
    TransportError::new(changed_kind(&error), told(what, &error)).advising(error.advice().cloned())
}

fn changed_kind(error: &Error) -> Kind {
    match kind_of(error) {
        Kind::Corrupt => Kind::Corrupt,
        _ if error.may_have_arrived() => Kind::TimedOut,
        Kind::TimedOut => Kind::Unreachable, // nothing was sent in all the time
        kind => kind,
    }
}

pub(super) fn unusable(error: Error) -> TransportError {
    failed("can't use the Kafka settings", error)
}

pub(super) fn failed(what: &str, error: Error) -> TransportError {
    TransportError::new(kind_of(&error), told(what, &error)).advising(error.advice().cloned())
}

/// What failed, once: the client often says it too.
fn told(what: &str, error: &Error) -> String {
    match error.message() {
        message if message.starts_with(what) => message.to_owned(),
        message => format!("{what}: {message}"),
    }
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        Self::new(changed_kind(&error), error.message()).advising(error.advice().cloned())
    }
}

fn kind_of(error: &Error) -> Kind {
    match error.kind() {
        ErrorKind::Unreachable | ErrorKind::Disconnected => Kind::Unreachable,
        ErrorKind::TimedOut => Kind::TimedOut,
        ErrorKind::NotKafka => Kind::NotKafka,
        ErrorKind::Config => Kind::Configuration,
        ErrorKind::Unsupported => Kind::Unsupported,
        ErrorKind::UnknownTopic => Kind::UnknownTopic,
        ErrorKind::OffsetOutOfRange => Kind::OffsetOutOfRange,
        ErrorKind::NotAuthorised => Kind::NotAuthorised,
        ErrorKind::Authentication => Kind::Authentication,
        ErrorKind::TooLarge => Kind::TooLarge,
        ErrorKind::Corrupt => Kind::Corrupt,
        ErrorKind::Closed => Kind::Closed,
        _ => match error.code() {
            Some(
                INVALID_TOPIC | INVALID_PARTITIONS | INVALID_CONFIG | INVALID_REQUEST | INVALID_TIMESTAMP
                | INVALID_RECORD,
            ) => Kind::Configuration,
            _ => Kind::Other,
        },
    }
}

pub(super) fn about(what: &str, topic: &str) -> String {
    format!("can't {what} topic \"{}\"", topic.escape_debug())
}

pub(super) fn about_partition(what: &str, topic: &str, partition: i32) -> String {
    format!("{}, partition {partition}", about(what, topic))
}

const INVALID_TOPIC: i16 = 17;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const INVALID_RECORD: i16 = 87;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_arrived_stays_told() {
        let error = |kind| changed("can't", Error::new(kind, "x"));
        assert!(error(ErrorKind::Disconnected).may_have_arrived());
        assert!(error(ErrorKind::TimedOut).may_have_arrived());
        assert_eq!(error(ErrorKind::Unreachable).kind(), Kind::Unreachable);
        assert_eq!(failed("can't", Error::from_code(17, "x")).kind(), Kind::Configuration);
        assert_eq!(failed("can't", Error::from_code(19, "x")).kind(), Kind::Other);
    }
}
