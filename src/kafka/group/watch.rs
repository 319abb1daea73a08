//! The topics of a group, as the cluster has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Partition;
use crate::kafka::Client;
use crate::kafka::error::escaped;

/// What was said of topics that aren't there.
#[derive(Debug, Default)]
pub(super) struct Missing(BTreeSet<Arc<str>>);

impl Missing {
    /// Says of each topic once that it isn't there, and once that it is.
    pub(super) fn tell(&mut self, missing: BTreeSet<Arc<str>>, known: &BTreeSet<Arc<str>>) {
        for topic in missing.difference(&self.0) {
            tracing::warn!("there is no topic \"{}\" yet; waiting for it", escaped(topic));
        }
        for topic in self.0.intersection(known) {
            tracing::info!("there is a topic \"{}\" now", escaped(topic));
        }
        self.0 = missing;
    }
}

/// The topics that the group reads: ID and number of partitions; `None` for one that isn't there (yet).
#[derive(Default)]
pub(super) struct Watch {
    pub(super) topics: BTreeMap<Arc<str>, Option<(Uuid, i32)>>,
    looked: Option<Instant>,
}

impl Watch {
    pub(super) async fn look(&mut self, client: &Client, topics: &BTreeSet<Arc<str>>) {
        let deadline = Instant::now() + client.config().times().request;
        topics.iter().for_each(|topic| client.stale(topic));
        let mut found = BTreeMap::new();
        for topic in topics {
            let size = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
            let seen = match client.topic(topic, deadline).await {
                Ok(seen) => seen.map(|seen| (seen.id, size(seen.partitions.len()))),
                Err(error) => {
                    tracing::debug!(topic = &**topic, %error, "a topic of the group can't be looked at");
                    self.topics.get(topic).copied().flatten()
                }
            };
            found.insert(topic.clone(), seen);
        }
        self.topics = found;
        self.looked = Some(Instant::now());
    }

    /// When to look again: soon while a topic is missing.
    pub(super) fn due(&self, age: Duration) -> Option<Instant> {
        let all = self.topics.values().all(Option::is_some);
        Some(self.looked? + if all { age } else { age.min(MISSING) })
    }

    pub(super) fn counts(&self) -> BTreeMap<Arc<str>, i32> {
        self.topics.iter().filter_map(|(topic, found)| Some((topic.clone(), (*found)?.1))).collect()
    }

    pub(super) fn ids(&self) -> BTreeMap<Arc<str>, Uuid> {
        self.topics.iter().filter_map(|(topic, found)| Some((topic.clone(), (*found)?.0))).collect()
    }

    pub(super) fn name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.topics.iter().find(|(_, found)| found.is_some_and(|(known, _)| known == id)).map(|(topic, _)| topic)
    }

    pub(super) fn knows(&self, assigned: &[(Uuid, Vec<i32>)]) -> bool {
        assigned.iter().all(|(id, _)| self.name(*id).is_some())
    }

    pub(super) fn named(&self, assigned: &[(Uuid, Vec<i32>)]) -> Option<BTreeSet<Partition>> {
        let mut named = BTreeSet::new();
        for (id, partitions) in assigned {
            let topic = self.name(*id)?;
            named.extend(partitions.iter().map(|partition| (topic.clone(), *partition)));
        }
        Some(named)
    }
}

/// How often a topic is looked for that isn't there.
const MISSING: Duration = Duration::from_secs(3);
