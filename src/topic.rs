//! Names: a topic's root, and the topics on which keys are exchanged (protocol §9).

use std::fmt;
use std::sync::Arc;

/// The part of a topic's name before the first separator: all topics of one root share their keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(Arc<str>);

impl Root {
    /// A root by its own name (not by a topic's: see [`Naming::root_of`]).
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A Kafka topic's name.
pub type Topic = Arc<str>;

/// What a topic is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Requests to controllers: `root.subs`.
    Subs(Root),
    /// Requests to producers: `root.reqs`.
    Reqs(Root),
    /// Replies: `root.keys`.
    Keys(Root),
    /// New chains of nodes.
    Chains,
    /// Changes to allowlists.
    Allowlist,
    /// Changes to denylists.
    Denylist,
    /// Anything else: data.
    Data(Root),
}

/// How topics are named in a fleet; every part can be configured (protocol §9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// `TOPIC_SEPARATOR`: a root ends before the first one. Not empty.
    pub separator: String,
    /// `TOPIC_SUFFIX_SUBS`.
    pub suffix_subs: String,
    /// `TOPIC_SUFFIX_KEYS`.
    pub suffix_keys: String,
    /// `TOPIC_SUFFIX_REQS`.
    pub suffix_reqs: String,
    /// `MGMT_TOPIC_CHAINS`.
    pub chains: Topic,
    /// `MGMT_TOPIC_ALLOWLIST`.
    pub allowlist: Topic,
    /// `MGMT_TOPIC_DENYLIST`.
    pub denylist: Topic,
}

impl Naming {
    /// The root of a topic.
    ///
    /// ```
    /// let naming = kafkacrypto::topic::Naming::default();
    /// assert_eq!(naming.root_of("lab.sensor.7").as_str(), "lab");
    /// assert_eq!(naming.root_of("lab").as_str(), "lab");
    /// ```
    #[must_use]
    pub fn root_of(&self, topic: &str) -> Root {
        Root::new(topic.split(self.separator.as_str()).next().unwrap_or(topic))
    }

    /// The topic of requests to controllers.
    #[must_use]
    pub fn subs(&self, root: &Root) -> Topic {
        format!("{root}{}", self.suffix_subs).into()
    }

    /// The topic of requests to producers.
    #[must_use]
    pub fn reqs(&self, root: &Root) -> Topic {
        format!("{root}{}", self.suffix_reqs).into()
    }

    /// The topic of replies.
    #[must_use]
    pub fn keys(&self, root: &Root) -> Topic {
        format!("{root}{}", self.suffix_keys).into()
    }

    /// What a topic is for.
    #[must_use]
    pub fn role_of(&self, topic: &str) -> Role {
        let key_topic = |suffix: &str| topic.strip_suffix(suffix).filter(|root| !root.is_empty()).map(Root::new);
        match topic {
            _ if *topic == *self.chains => Role::Chains,
            _ if *topic == *self.allowlist => Role::Allowlist,
            _ if *topic == *self.denylist => Role::Denylist,
            _ => (key_topic(&self.suffix_subs).map(Role::Subs))
                .or_else(|| key_topic(&self.suffix_reqs).map(Role::Reqs))
                .or_else(|| key_topic(&self.suffix_keys).map(Role::Keys))
                .unwrap_or_else(|| Role::Data(self.root_of(topic))),
        }
    }
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            separator: ".".into(),
            suffix_subs: ".subs".into(),
            suffix_keys: ".keys".into(),
            suffix_reqs: ".reqs".into(),
            chains: "chains".into(),
            allowlist: "allowlist".into(),
            denylist: "denylist".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_names() {
        let naming = Naming::default();
        let root = Root::new("lab");
        assert_eq!(naming.role_of("lab.reqs"), Role::Reqs(root.clone()));
        assert_eq!(naming.role_of(&naming.keys(&root)), Role::Keys(root.clone()));
        assert_eq!(naming.role_of("lab.data"), Role::Data(root));
        assert_eq!(naming.role_of("chains"), Role::Chains);
        assert_eq!(naming.role_of(".reqs"), Role::Data(Root::new("")));
    }
}
