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
    /// It was said that nothing matches these.
    told: BTreeSet<String>,
}

impl Subscription {
    /// Topics by name; one that begins with `^` is a regular expression, as in librdkafka. Topics that match are
    /// looked for whenever metadata is (`metadata_max_age_ms`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an expression that can't be read.
    pub fn topics<S: AsRef<str>>(topics: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let mut subscription = Self { topics: BTreeSet::new(), patterns: Vec::new(), told: BTreeSet::new() };
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

    /// The names and expressions that mean none of these topics.
    ///
    /// ```
    /// use kafkacrypto::kafka::Subscription;
    ///
    /// let wanted = Subscription::topics(["readings", "alarms", "^site-"])?;
    /// assert_eq!(wanted.unmet(["readings", "sites"]), ["alarms", "^site-"]);
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn unmet<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Vec<&str> {
        let topics: BTreeSet<_> = topics.into_iter().collect();
        let names = self.topics.iter().map(|name| &**name).filter(|name| !topics.contains(name));
        let patterns = self.patterns.iter().filter(|pattern| !topics.iter().any(|topic| pattern.is_match(topic)));
        names.chain(patterns.map(Regex::as_str)).collect()
    }

    /// Says of each expression once that there is nothing that it means.
    pub(super) fn tell_unmatched(&mut self, topics: &BTreeSet<Arc<str>>) {
        let unmet = self.unmet(topics.iter().map(|topic| &**topic)).into_iter();
        let unmet: BTreeSet<_> = unmet.filter(|what| what.starts_with('^')).map(str::to_owned).collect();
        for pattern in unmet.difference(&self.told) {
            tracing::warn!("no topic matches \"{}\" yet; waiting for one", escaped(pattern));
        }
        self.told = unmet;
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
