use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::engine::{Notice, Rejection};
use crate::keyring::Origin;
use crate::keys::{KeyIndex, SigningPublicKey};
use crate::topic::Root;

/// Something that happened in a node's background, for whoever listens: see [`super::Node::events`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Something that the operator should know.
    Notice(Notice),
    /// Something that was refused.
    Rejected(Rejection),
    /// Two producers claim one key index. Both secrets are kept; the messages themselves tell which is right.
    Conflict {
        /// The root.
        root: Root,
        /// The index.
        index: KeyIndex,
        /// Who signed the reply that came later.
        signer: SigningPublicKey,
        /// Where the secrets come from that were known before.
        others: Vec<Origin>,
    },
    /// A key topic has several partitions: all are read, partition 0 is written.
    SeveralPartitions {
        /// The topic.
        topic: String,
        /// How many.
        count: usize,
    },
    /// The broker fails, has done so for some seconds, and is asked again. The same reason isn't told again until something
    /// else happens, and once for all topics.
    Broker {
        /// What was being done.
        what: String,
        /// Why it failed.
        why: String,
    },
    /// The background task failed, and was started again.
    Restarted {
        /// Why.
        why: String,
    },
}

impl Event {
    /// Writes the event to the log.
    pub(super) fn log(&self) {
        match self {
            Self::Notice(notice @ (Notice::Asked { .. } | Notice::Answered { .. } | Notice::Learned { .. })) => {
                debug!("{notice}")
            }
            Self::Notice(notice @ (Notice::ListChanged { .. } | Notice::ChainRenewed { .. })) => info!("{notice}"),
            Self::Notice(notice) => warn!("{notice}"),
            Self::Rejected(Rejection { source, reason }) => warn!(topic = source, "refused: {reason}"),
            Self::Conflict { root, index, signer, others } => {
                warn!("{signer} gave another secret for key {index} of {root} than {}; both are kept", givers(others));
            }
            Self::SeveralPartitions { topic, count } => {
                warn!("topic {topic} has {count} partitions where key topics have one; all are read, 0 is written");
            }
            Self::Broker { what, why } => warn!("{what} failed and is tried again: {why}"),
            Self::Restarted { why } => warn!("the background task failed and was started again: {why}"),
        }
    }
}

/// What fails time and again: why it did last, and since when.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<String, Trouble>);

#[derive(Debug)]
struct Trouble {
    why: String,
    first: Duration,
    last: Duration,
    told: bool,
}

impl Failing {
    /// Whether it is news that this fails, and why: it has failed for so long, and of nothing else that fails was the same
    /// told.
    pub(super) fn is_news(&mut self, what: &str, why: &str, now: Duration, patience: Duration) -> bool {
        self.0.retain(|_, trouble| now.saturating_sub(trouble.last) < GIVEN_UP);
        let trouble = self.0.entry(what.to_owned());
        let trouble = trouble.or_insert_with(|| Trouble { why: why.to_owned(), first: now, last: now, told: false });
        trouble.last = now;
        if trouble.why != why {
            (trouble.why, trouble.told) = (why.to_owned(), false);
        }
        let due = now.saturating_sub(trouble.first) >= patience;
        let told = self.0.values().any(|trouble| trouble.told && trouble.why == why);
        if let Some(trouble) = self.0.get_mut(what).filter(|_| due && !told) {
            trouble.told = true;
        }
        due && !told
    }

    /// It has worked.
    pub(super) fn works(&mut self, what: &str) {
        self.0.remove(what);
    }
}

fn givers(origins: &[Origin]) -> String {
    let giver = |origin: &Origin| match origin {
        Origin::Own => "this node itself".to_owned(),
        Origin::Peer { signer, .. } => signer.to_string(),
    };
    origins.iter().map(giver).collect::<Vec<_>>().join(", ")
}

/// What hasn't failed for so long isn't tried any more: a topic that is gone, say.
const GIVEN_UP: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_reason_is_news_once_and_what_is_given_up_is_forgotten() {
        let (mut failing, start) = (Failing::default(), Duration::from_secs(1000));
        assert!(failing.is_news("a", "no", start, NOW) && !failing.is_news("b", "no", start, NOW));
        let later = start + GIVEN_UP / 2;
        assert!(!failing.is_news("a", "no", later, NOW) && failing.is_news("a", "why", later, NOW));
        failing.works("a");
        assert!(failing.is_news("a", "why", later, NOW));
        assert!(!failing.is_news("a", "why", start + GIVEN_UP, NOW));
        assert_eq!(failing.0.len(), 1, "b is forgotten");
        assert!(failing.is_news("b", "no", start + GIVEN_UP, NOW));
    }

    #[test]
    fn a_reason_that_others_have_too_is_told_by_who_is_left() {
        let (mut failing, start) = (Failing::default(), Duration::from_secs(1000));
        assert!(failing.is_news("a", "no", start, NOW) && !failing.is_news("b", "no", start, NOW));
        failing.works("a");
        assert!(failing.is_news("b", "no", start, NOW) && !failing.is_news("a", "no", start, NOW));
    }

    #[test]
    fn what_passes_soon_is_no_news() {
        let (mut failing, start, patience) = (Failing::default(), Duration::from_secs(1000), Duration::from_secs(2));
        assert!(!failing.is_news("a", "no", start, patience));
        assert!(!failing.is_news("a", "no", start + patience / 2, patience));
        assert!(failing.is_news("a", "why", start + patience, patience));
    }
}
