//! Which topics a member wants.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use tokio::time::Instant;

use crate::kafka::error::escaped;
use crate::kafka::{Client, Error, ErrorKind};

/// Which topics a member of a group wants: these, or those whose names match.
///
/// ```
/// use kafkacrypto::kafka::{ErrorKind, Subscription};
///
/// assert!(!Subscription::topics(["readings", "alarms"])?.is_pattern());
/// assert!(Subscription::topics(["readings", "^site-[0-9]+\\."])?.is_pattern());
/// assert_eq!(Subscription::topics(["^("]).unwrap_err().kind(), ErrorKind::Config);
/// # Ok::<(), kafkacrypto::kafka::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subscription {
    topics: BTreeSet<Arc<str>>,
    patterns: Vec<Regex>,
}

impl Subscription {
    /// Topics by name; one that begins with `^` is a regular expression, as in librdkafka. Topics that match are
    /// looked for whenever metadata is (`metadata_max_age_ms`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an expression that can't be read.
    pub fn topics<S: AsRef<str>>(topics: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut subscription = Self { topics: BTreeSet::new(), patterns: Vec::new() };
        for topic in topics {
            match topic.as_ref() {
                pattern if pattern.starts_with('^') => {
                    let unreadable =
                        |_| Error::new(ErrorKind::Config, format!("\"{}\" is no regular expression", escaped(pattern)));
                    subscription.patterns.push(Regex::new(pattern).map_err(unreadable)?);
                }
                name => _ = subscription.topics.insert(Arc::from(name)),
            }
        }
        Ok(subscription)
    }

    /// Whether it has an expression.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        !self.patterns.is_empty()
    }

    pub(super) async fn resolve(&self, client: &Client, within: Duration) -> Result<BTreeSet<Arc<str>>, Error> {
        let mut topics = self.topics.clone();
        if self.is_pattern() {
            let all = client.topics(Instant::now() + within).await?;
            let visible = all.topics.values().filter_map(|topic| topic.as_ref().ok()?.as_ref());
            let matching =
                visible.filter(|topic| !topic.internal && self.patterns.iter().any(|p| p.is_match(&topic.name)));
            topics.extend(matching.map(|topic| topic.name.clone()));
        }
        Ok(topics)
    }
}
