//! What can go wrong between us and a cluster.

use std::borrow::Cow;
use std::fmt;

use kafka_protocol::error::ResponseError as Code;

/// Why a call failed: a sentence that says what failed and what to do next, and predicates for code that decides.
///
/// ```
/// use kafkacrypto::kafka::{Error, ErrorKind};
///
/// let error = Error::from_code(29, "can't write to topic \"readings\"");
/// assert_eq!(error.kind(), ErrorKind::NotAuthorised);
/// assert_eq!(error.code(), Some(29));
/// assert!(!error.is_retriable());
/// assert_eq!(
///     error.to_string(),
///     "can't write to topic \"readings\": the broker says TopicAuthorizationFailed; give this user the right to it in \
///      the broker's ACLs"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    code: Option<i16>,
    arrived: bool,
    /// What to do next, where it is known better than by the kind.
    advice: Option<Cow<'static, str>>,
}

impl Error {
    /// An error of this kind. `message` says what failed, in lower case and without a full stop; what to do next is
    /// added by the kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let arrived = matches!(kind, ErrorKind::Disconnected | ErrorKind::TimedOut | ErrorKind::Corrupt);
        Self { kind, message: message.into(), code: None, arrived, advice: None }
    }

    /// What a broker's error code means. `what` is what couldn't be done: `can't write to topic "readings"`.
    pub fn from_code(code: i16, what: &str) -> Self {
        Self::from_code_and_text(code, None, what)
    }

    /// The same with the text that some brokers add.
    pub fn from_code_and_text(code: i16, text: Option<&str>, what: &str) -> Self {
        let name = match Code::try_from_code(code) {
            Some(Code::Unknown(code)) => format!("error {code}"),
            Some(known) => format!("{known:?}"),
            None => "that nothing is wrong".to_owned(),
        };
        let text = text.filter(|text| !text.is_empty()).map(|text| format!(" ({})", escaped(text)));
        let limit = if code == MESSAGE_TOO_LARGE { ", by the topic's max.message.bytes" } else { "" };
        let message = format!("{what}: the broker says {name}{}{limit}", text.unwrap_or_default());
        let error = Self::new(kind_of(code), message);
        let advice = (code == INVALID_TOPIC).then_some(Cow::Borrowed(NAMES));
        Self { code: Some(code), arrived: may_be_in_the_log(code), advice, ..error }
    }

    /// The same error, with what to do next, which the kind alone doesn't say.
    pub(in crate::kafka) fn advising(self, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// The same error, if a right is missing: which one, such as `write to topic "readings"`.
    pub(in crate::kafka) fn needing(self, right: impl FnOnce() -> String) -> Self {
        match self.kind {
            ErrorKind::NotAuthorised if !self.is_policy() => {
                let advice = format!("give this user the right to {} in the broker's ACLs", right());
                self.advising(advice)
            }
            _ => self,
        }
    }

    fn is_policy(&self) -> bool {
        self.code == Some(POLICY_VIOLATION)
    }

    /// What to do next, if it is known better than by the kind.
    pub(crate) fn advice(&self) -> Option<&Cow<'static, str>> {
        self.advice.as_ref()
    }

    /// The same error of a call that can't have reached the broker.
    pub(in crate::kafka) fn unsent(mut self) -> Self {
        self.arrived = false;
        self
    }

    /// The same error of a call that may have reached the broker.
    pub(in crate::kafka) fn maybe_sent(mut self) -> Self {
        self.arrived = true;
        self
    }

    /// The same error, told of `what`: `can't read the metadata: …`.
    pub(in crate::kafka) fn at(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed, without the advice.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The broker's error code, when a broker said it.
    pub fn code(&self) -> Option<i16> {
        self.code
    }

    /// Whether the same call may work later with nothing changed on our side.
    pub fn is_retriable(&self) -> bool {
        match self.code {
            Some(code) => Code::try_from_code(code).is_some_and(|code| code.is_retriable()) || self.wants_metadata(),
            None => matches!(
                self.kind,
                ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::TimedOut | ErrorKind::UnknownTopic
            ),
        }
    }

    /// Whether the broker may have done what was asked all the same, so that asking again may do it twice.
    pub fn may_have_arrived(&self) -> bool {
        self.arrived
    }

    /// Whether what we know about leaders and brokers may be old.
    pub fn wants_metadata(&self) -> bool {
        match self.code {
            Some(code) => Code::try_from_code(code).is_some_and(is_about_places),
            None => matches!(self.kind, ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::TimedOut),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.advice.as_deref().unwrap_or(self.kind.advice()))
    }
}

impl std::error::Error for Error {}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is missing or makes no sense.
    Config,
    /// No connection can be made. Nothing was sent.
    Unreachable,
    /// The connection broke before the answer had come. What was sent may have arrived.
    Disconnected,
    /// No answer in time. What was sent may have arrived.
    TimedOut,
    /// Who answers isn't a Kafka broker, or not one that is spoken to in this way (TLS on a plain port, say).
    NotKafka,
    /// There is no such topic or partition (yet).
    UnknownTopic,
    /// The partition has no such offset: it was deleted, or hasn't been written.
    OffsetOutOfRange,
    /// The broker knows us and doesn't allow this.
    NotAuthorised,
    /// The broker doesn't accept our credentials, or we don't accept its certificate.
    Authentication,
    /// A record, a batch or a response is bigger than is taken.
    TooLarge,
    /// The broker doesn't know a version of this that we know, or can't do it.
    Unsupported,
    /// What came back can't be read.
    Corrupt,
    /// The producer or the member was replaced by another one, or has been forgotten.
    Fenced,
    /// The client was closed.
    Closed,
    /// Anything else that the broker said.
    Broker,
}

impl ErrorKind {
    fn advice(self) -> &'static str {
        match self {
            Self::Config => "correct the setting",
            Self::Unreachable => "check bootstrap_servers and that the broker runs",
            Self::Disconnected | Self::TimedOut => "check the broker and the network, then try again",
            Self::NotKafka => "check the port in bootstrap_servers, and security_protocol",
            Self::UnknownTopic => "create it, or wait until it is known",
            Self::OffsetOutOfRange => "go on from the beginning or the end of the partition",
            Self::NotAuthorised => "give this user the right to it in the broker's ACLs",
            Self::Authentication => "check the credentials and certificates in the settings",
            Self::TooLarge => "send less at once, or raise the limit",
            Self::Unsupported => "use a newer broker",
            Self::Corrupt => "find out who wrote it",
            Self::Fenced => "start anew",
            Self::Closed => "open a new one",
            Self::Broker => "see the broker's log",
        }
    }
}

/// Text that comes from elsewhere: on one line, and not endless.
pub(in crate::kafka) fn escaped(text: &str) -> String {
    text.chars().take(MOST_CHARS).flat_map(char::escape_debug).collect::<String>().replace("\\\"", "\"")
}

fn kind_of(code: i16) -> ErrorKind {
    use Code as C;
    match Code::try_from_code(code) {
        Some(C::UnknownTopicOrPartition | C::UnknownTopicId | C::InconsistentTopicId) => ErrorKind::UnknownTopic,
        Some(C::OffsetOutOfRange | C::OffsetMovedToTieredStorage) => ErrorKind::OffsetOutOfRange,
        Some(
            C::TopicAuthorizationFailed
            | C::GroupAuthorizationFailed
            | C::ClusterAuthorizationFailed
            | C::TransactionalIdAuthorizationFailed
            | C::DelegationTokenAuthorizationFailed
            | C::PolicyViolation,
        ) => ErrorKind::NotAuthorised,
        Some(C::SaslAuthenticationFailed | C::IllegalSaslState | C::UnsupportedSaslMechanism) => {
            ErrorKind::Authentication
        }
        Some(C::MessageTooLarge | C::RecordListTooLarge | C::OffsetMetadataTooLarge) => ErrorKind::TooLarge,
        Some(
            C::UnsupportedVersion
            | C::UnsupportedForMessageFormat
            | C::UnsupportedCompressionType
            | C::UnsupportedAssignor,
        ) => ErrorKind::Unsupported,
        Some(C::CorruptMessage) => ErrorKind::Corrupt,
        Some(C::RequestTimedOut) => ErrorKind::TimedOut,
        Some(
            C::InvalidProducerEpoch
            | C::ProducerFenced
            | C::UnknownProducerId
            | C::OutOfOrderSequenceNumber
            | C::FencedInstanceId
            | C::FencedMemberEpoch
            | C::UnknownMemberId,
        ) => ErrorKind::Fenced,
        Some(_) | None => ErrorKind::Broker,
    }
}

fn may_be_in_the_log(code: i16) -> bool {
    use Code as C;
    matches!(
        Code::try_from_code(code),
        Some(C::RequestTimedOut | C::NotEnoughReplicasAfterAppend | C::NetworkException | C::UnknownServerError)
    )
}

/// Errors that say that a partition, a coordinator or the controller is elsewhere now.
fn is_about_places(code: Code) -> bool {
    use Code as C;
    matches!(
        code,
        C::UnknownTopicOrPartition
            | C::UnknownTopicId
            | C::InconsistentTopicId
            | C::LeaderNotAvailable
            | C::NotLeaderOrFollower
            | C::FencedLeaderEpoch
            | C::UnknownLeaderEpoch
            | C::ReplicaNotAvailable
            | C::BrokerNotAvailable
            | C::ListenerNotFound
            | C::KafkaStorageError
            | C::NetworkException
            | C::NotController
            | C::StaleControllerEpoch
            | C::NotCoordinator
            | C::CoordinatorNotAvailable
            | C::RebootstrapRequired
    )
}

const MOST_CHARS: usize = 300;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TOPIC: i16 = 17;
const POLICY_VIOLATION: i16 = 44;
/// What Kafka takes as names of topics.
const NAMES: &str = "a topic's name has up to 249 characters, each a letter, a digit, '.', '_' or '-'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brokers_say() {
        for (code, kind, retriable, metadata, arrived) in [
            (1, ErrorKind::OffsetOutOfRange, false, false, false),
            (3, ErrorKind::UnknownTopic, true, true, false),
            (6, ErrorKind::Broker, true, true, false),
            (7, ErrorKind::TimedOut, true, false, true),
            (8, ErrorKind::Broker, true, true, false),
            (10, ErrorKind::TooLarge, false, false, false),
            (20, ErrorKind::Broker, true, false, true),
            (30, ErrorKind::NotAuthorised, false, false, false),
            (35, ErrorKind::Unsupported, false, false, false),
            (58, ErrorKind::Authentication, false, false, false),
            (74, ErrorKind::Broker, true, true, false),
            (90, ErrorKind::Fenced, false, false, false),
            (999, ErrorKind::Broker, false, false, false),
        ] {
            let error = Error::from_code(code, "can't");
            let found = (error.kind(), error.is_retriable(), error.wants_metadata(), error.may_have_arrived());
            assert_eq!(found, (kind, retriable, metadata, arrived), "{code}");
        }
    }

    #[test]
    fn a_broker_s_text_stays_on_one_line() {
        let error = Error::from_code_and_text(40, Some("bad\n\u{1b}[31m\"value\""), "can't create topic \"t\"");
        assert_eq!(
            error.to_string(),
            "can't create topic \"t\": the broker says InvalidConfig (bad\\n\\u{1b}[31m\"value\"); see the broker's log"
        );
    }

    #[test]
    fn which_right_is_missing_is_named() {
        let told = |code| Error::from_code(code, "can't").needing(|| "read group \"g\"".to_owned()).to_string();
        assert!(told(30).ends_with("; give this user the right to read group \"g\" in the broker's ACLs"));
        assert!(!told(44).contains("read group") && !told(3).contains("read group"));
    }

    #[test]
    fn what_a_topic_may_be_called_is_told() {
        assert!(Error::from_code(17, "can't").to_string().ends_with("a letter, a digit, '.', '_' or '-'"));
    }

    #[test]
    fn a_request_that_was_not_sent_has_not_arrived() {
        let error = Error::new(ErrorKind::TimedOut, "no answer");
        assert!(error.may_have_arrived());
        assert!(!error.unsent().at("can't").may_have_arrived());
    }
}
