//! Which broker coordinates which group or transaction.

use std::collections::HashMap;

use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::messages::FindCoordinatorResponse;
use kafka_protocol::protocol::StrBytes;

use crate::kafka::error::{Error, escaped};

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::kafka) enum Coordinator {
    /// A consumer group.
    Group,
    /// A transactional id.
    #[allow(dead_code, reason = "nothing here has transactions yet")]
    Transaction,
}

/// The coordinators that are known.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Coordinators(HashMap<(Coordinator, String), i32>);

impl Coordinators {
    pub(in crate::kafka) fn known(&self, kind: Coordinator, key: &str) -> Option<i32> {
        self.0.get(&(kind, key.to_owned())).copied()
    }

    pub(in crate::kafka) fn found(&mut self, kind: Coordinator, key: &str, broker: i32) {
        self.0.insert((kind, key.to_owned()), broker);
    }

    pub(in crate::kafka) fn forget(&mut self, kind: Coordinator, key: &str) {
        self.0.remove(&(kind, key.to_owned()));
    }
}

impl Coordinator {
    pub(in crate::kafka) fn request(self, key: &str, version: i16) -> FindCoordinatorRequest {
        let key = StrBytes::from_string(key.to_owned());
        let request = FindCoordinatorRequest::default().with_key_type(self as i8);
        match version {
            ..4 => request.with_key(key),
            4.. => request.with_coordinator_keys(vec![key]),
        }
    }

    /// What who asks means to do.
    fn right(self) -> &'static str {
        match self {
            Self::Group => "read",
            Self::Transaction => "describe",
        }
    }

    /// The broker, and where it is.
    pub(in crate::kafka) fn read(self, key: &str, response: FindCoordinatorResponse) -> Result<i32, Error> {
        let what = match self {
            Self::Group => "group",
            Self::Transaction => "transactional id",
        };
        let whose = format!("{what} \"{}\"", escaped(key));
        let what = format!("can't find the coordinator of {whose}");
        let found = response.coordinators.into_iter().find(|found| found.key.as_str() == key);
        let (code, text, broker) = match found {
            Some(found) => (found.error_code, found.error_message, found.node_id.0),
            None => (response.error_code, response.error_message, response.node_id.0),
        };
        match (code, broker) {
            (0, 0..) => Ok(broker),
            (0, _) => Err(Error::from_code(COORDINATOR_NOT_AVAILABLE, &what)),
            _ => {
                let error = Error::from_code_and_text(code, text.as_deref(), &what);
                Err(error.needing(|| format!("{} {whose}", self.right())))
            }
        }
    }
}

const COORDINATOR_NOT_AVAILABLE: i16 = 15;

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;

    use super::*;

    #[test]
    fn both_shapes_of_the_answer_are_read() {
        let old = FindCoordinatorResponse::default().with_node_id(BrokerId(3));
        assert_eq!(Coordinator::Group.read("g", old), Ok(3));
        let found = Found::default().with_key("g".into()).with_node_id(BrokerId(4));
        let new = FindCoordinatorResponse::default().with_coordinators(vec![found]);
        assert_eq!(Coordinator::Group.read("g", new), Ok(4));
        let refused = FindCoordinatorResponse::default().with_error_code(30).with_node_id(BrokerId(-1));
        let error = Coordinator::Group.read("g", refused).unwrap_err();
        assert!(error.message().starts_with("can't find the coordinator of group \"g\": the broker says GroupAuth"));
        let none = FindCoordinatorResponse::default().with_node_id(BrokerId(-1));
        assert!(Coordinator::Transaction.read("t", none).unwrap_err().is_retriable());
    }

    #[test]
    fn both_shapes_of_the_question_are_made() {
        assert_eq!(Coordinator::Group.request("g", 3).key.as_str(), "g");
        let request = Coordinator::Transaction.request("t", 4);
        assert_eq!((request.key_type, request.coordinator_keys[0].as_str()), (1, "t"));
    }
}
