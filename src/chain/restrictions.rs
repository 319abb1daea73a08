use std::fmt;

use super::ChainError;
use super::matcher::{EVERYTHING, Matcher, is_expression, unusable};
use crate::wire::{Item, Reader, Writer, read_all};

/// What a chain may be used for (protocol §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// `key-encrypt`: answering key requests (producers).
    Encrypt,
    /// `key-encrypt-request`: asking a producer for keys (consumers, controllers).
    EncryptRequest,
    /// `key-encrypt-subscribe`: asking a controller to ask on one's behalf.
    EncryptSubscribe,
    /// `key-allowlist`: changing the allowlist.
    Allowlist,
    /// `key-denylist`: changing the denylist.
    Denylist,
}

/// What a certificate is limited to (protocol §7, there called *poison*). What is absent is unlimited, but for what is
/// asked for by name: that must be allowed.
///
/// ```
/// use kafkacrypto::chain::{Restrictions, Usage};
/// let limits = Restrictions::none().with_topics(["lab", "^sensor"]).with_usages([Usage::Encrypt]);
/// assert!(limits.allows_topic("sensors") && !limits.allows_topic("labs"));
/// assert!(limits.allows_usage(Usage::Encrypt) && !limits.allows_usage(Usage::Allowlist));
/// assert_eq!(Restrictions::decode(&limits.encode()).unwrap(), limits);
/// assert!(!Restrictions::none().allows_topic("lab"));
/// assert!(Restrictions::decode(b"no restrictions").is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    topics: Option<Vec<Vec<u8>>>,
    usages: Option<Vec<Vec<u8>>>,
    pathlen: Option<i64>,
}

/// How two certificates whose limits are intersected stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Two for the same key.
    Same,
    /// The second is signed by the first.
    Down,
}

impl Usage {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Encrypt, Self::EncryptRequest, Self::EncryptSubscribe, Self::Allowlist, Self::Denylist];

    /// As in certificates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "key-encrypt",
            Self::EncryptRequest => "key-encrypt-request",
            Self::EncryptSubscribe => "key-encrypt-subscribe",
            Self::Allowlist => "key-allowlist",
            Self::Denylist => "key-denylist",
        }
    }

    /// The usage of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|usage| usage.name() == name)
    }

    /// Whether it is for changing lists, which keys that everybody knows never may.
    pub(super) fn changes_lists(self) -> bool {
        matches!(self, Self::Allowlist | Self::Denylist)
    }
}

impl Restrictions {
    /// No limits: the empty poison.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Limits the topics to these names and expressions.
    #[must_use]
    pub fn with_topics<T: AsRef<str>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = Some(topics.into_iter().map(|topic| topic.as_ref().as_bytes().to_vec()).collect());
        self
    }

    /// Limits the usages.
    #[must_use]
    pub fn with_usages(mut self, usages: impl IntoIterator<Item = Usage>) -> Self {
        self.usages = Some(usages.into_iter().map(|usage| usage.name().as_bytes().to_vec()).collect());
        self
    }

    /// Limits how many elements may follow.
    #[must_use]
    pub fn with_pathlen(mut self, pathlen: i64) -> Self {
        self.pathlen = Some(pathlen);
        self
    }

    /// Names and expressions of topics, as they are in the certificate; none if topics aren't limited.
    #[must_use]
    pub fn topics(&self) -> Option<&[Vec<u8>]> {
        self.topics.as_deref()
    }

    /// Names of usages; none if they aren't limited.
    #[must_use]
    pub fn usages(&self) -> Option<&[Vec<u8>]> {
        self.usages.as_deref()
    }

    /// How many elements may follow; none if that isn't limited.
    #[must_use]
    pub fn pathlen(&self) -> Option<i64> {
        self.pathlen
    }

    /// Whether the topic is listed. Without a list it isn't.
    #[must_use]
    pub fn allows_topic(&self, topic: &str) -> bool {
        self.topics.as_ref().is_some_and(|list| Matcher::new(list).matches(topic.as_bytes()))
    }

    /// Whether the usage is listed. Without a list it isn't.
    #[must_use]
    pub fn allows_usage(&self, usage: Usage) -> bool {
        self.usages.as_ref().is_some_and(|list| Matcher::new(list).matches(usage.name().as_bytes()))
    }

    /// Expressions among the topics that match nothing because of a construct that isn't accepted, each with its name.
    #[must_use]
    pub fn unusable_expressions(&self) -> Vec<(&[u8], &'static str)> {
        let topics = self.topics.iter().flatten().map(Vec::as_slice);
        topics.filter_map(|entry| Some((entry, unusable(entry)?))).collect()
    }

    /// What both `self` and `child` allow, in the order and the words of `child` (protocol §7.1).
    #[must_use]
    pub fn intersection(&self, child: &Self, level: Level) -> Self {
        let steps = i64::from(level == Level::Down);
        let above = self.effective_pathlen().map(|length| length.saturating_sub(steps));
        Self {
            topics: common(self.topics.as_ref(), child.topics.as_ref()),
            usages: common(self.usages.as_ref(), child.usages.as_ref()),
            pathlen: above.into_iter().chain(child.effective_pathlen()).min(),
        }
    }

    /// Whether the topic can still be allowed, told without running an expression.
    pub(super) fn may_allow_topic(&self, topic: &str) -> bool {
        let possible = |entry: &Vec<u8>| is_expression(entry) || entry == topic.as_bytes();
        self.topics.as_ref().is_none_or(|list| list.iter().any(possible))
    }

    /// Whether the usage can still be allowed.
    pub(super) fn may_allow_usage(&self, usage: Usage) -> bool {
        self.usages.is_none() || self.allows_usage(usage)
    }

    /// `array ‖ { array(2) ‖ str name ‖ value }*`, where the value is `array ‖ str*` for `topics` and `usages`, and an
    /// integer for `pathlen` (protocol §7).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let lists = [("topics", &self.topics), ("usages", &self.usages)];
        let entries = lists.iter().filter(|(_, list)| list.is_some()).count() + usize::from(self.pathlen.is_some());
        let mut out = Writer::new();
        out.array(length(entries));
        for (name, list) in lists {
            let Some(list) = list else { continue };
            out.array(2).str(name).array(length(list.len()));
            for entry in list {
                out.str_bytes(entry);
            }
        }
        if let Some(pathlen) = self.pathlen {
            out.array(2).str("pathlen").int(pathlen);
        }
        out.finish()
    }

    /// Reads the layout of [`Restrictions::encode`], in any order.
    ///
    /// DIFFERENCE: each entry is exactly `[name, value]`, once for each name and of its type, and only `^.*$` is taken as
    /// an expression among usages.
    ///
    /// # Errors
    /// [`ChainError::Malformed`], [`ChainError::UnknownRestriction`], [`ChainError::Restriction`],
    /// [`ChainError::UsageExpression`].
    pub fn decode(poison: &[u8]) -> Result<Self, ChainError> {
        read_all(poison, "restrictions", |reader| {
            let mut limits = Self::none();
            let entries = reader.array().map_err(|_| ChainError::Restriction("a list of [name, value] is due"))?;
            for _ in 0..entries {
                limits.read_entry(reader)?;
            }
            Ok(limits)
        })
    }

    fn read_entry(&mut self, reader: &mut Reader<'_>) -> Result<(), ChainError> {
        let pair = reader.array_of(2, "[name, value]");
        pair.map_err(|_| ChainError::Restriction("each is exactly [name, value]"))?;
        let repeated = match reader.bytes()? {
            b"topics" => self.topics.replace(read_list(reader)?).is_some(),
            b"usages" => self.usages.replace(read_usages(reader)?).is_some(),
            b"pathlen" => self.pathlen.replace(read_integer(reader)?).is_some(),
            name => {
                let name = name.get(..64).unwrap_or(name);
                return Err(ChainError::UnknownRestriction { name: name.escape_ascii().to_string() });
            }
        };
        if repeated { Err(ChainError::Restriction("one name stands there twice")) } else { Ok(()) }
    }

    /// Whoever may change lists may not delegate it, unless a path length says so.
    fn effective_pathlen(&self) -> Option<i64> {
        let sensitive = || self.allows_usage(Usage::Allowlist) || self.allows_usage(Usage::Denylist);
        self.pathlen.or_else(|| sensitive().then_some(0))
    }
}

/// In words, with everything that could trick a terminal escaped.
impl fmt::Display for Restrictions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, list) in [("topics", &self.topics), ("usages", &self.usages)] {
            let Some(list) = list else { continue };
            let shown: Vec<String> =
                list.iter().take(MAX_SHOWN).map(|entry| entry.escape_ascii().to_string()).collect();
            let more = if list.len() > MAX_SHOWN { ", …" } else { "" };
            write!(f, " {name} [{}{more}]", shown.join(", "))?;
        }
        self.pathlen.map_or(Ok(()), |pathlen| write!(f, " pathlen {pathlen}"))
    }
}

fn common(parent: Option<&Vec<Vec<u8>>>, child: Option<&Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match (parent, child) {
        (Some(parent), Some(child)) => {
            let allowed = Matcher::new(parent);
            Some(child.iter().filter(|entry| allowed.matches(entry)).cloned().collect())
        }
        (one, other) => one.or(other).cloned(),
    }
}

fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, ChainError> {
    let Item::Array(count) = reader.item()? else { return Err(ChainError::Restriction("a list is due")) };
    (0..count).map(|_| Ok(reader.bytes()?.to_vec())).collect()
}

fn read_usages(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, ChainError> {
    let list = read_list(reader)?;
    let expression = list.iter().any(|entry| is_expression(entry) && entry != EVERYTHING);
    if expression { Err(ChainError::UsageExpression) } else { Ok(list) }
}

fn read_integer(reader: &mut Reader<'_>) -> Result<i64, ChainError> {
    match reader.item()? {
        Item::UInt(n) => Ok(i64::try_from(n).unwrap_or(i64::MAX)),
        Item::Int(n) => Ok(n),
        _ => Err(ChainError::Restriction("pathlen isn't an integer")),
    }
}

fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// How many entries of a list are shown to people.
const MAX_SHOWN: usize = 16;
