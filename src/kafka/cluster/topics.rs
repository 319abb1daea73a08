//! What is known of topics, what is wanted, and when to ask again. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, random};
use super::metadata::Answer;

/// The topics that somebody has asked about.
#[derive(Debug)]
pub(in crate::kafka) struct Topics {
    known: BTreeMap<String, Known>,
    max_age: Duration,
    backoff: Backoff,
}

#[derive(Debug)]
struct Known {
    answer: Option<Answer>,
    asked: Option<Instant>,
    stale: bool,
    wanted: bool,
    backoff: Backoff,
}

impl Topics {
    pub(in crate::kafka) fn new(max_age: Duration, backoff: Backoff) -> Self {
        Self { known: BTreeMap::new(), max_age, backoff }
    }

    /// The answer that there is, if it is good enough for who asks since `since`.
    pub(in crate::kafka) fn answer(&self, name: &str, since: Instant, now: Instant) -> Option<Answer> {
        let known = self.known.get(name)?;
        let asked = known.asked?;
        let fresh = !known.stale && now < asked + self.max_age && matches!(known.answer, Some(Ok(Some(_))));
        if asked >= since || fresh { known.answer.clone() } else { None }
    }

    /// Somebody wants to know. When the topic may be asked about, if that isn't now.
    pub(in crate::kafka) fn want(&mut self, name: &str, now: Instant) -> Option<Instant> {
        let known = self.entry(name);
        known.wanted = true;
        known.backoff.wait(now)
    }

    /// What is known may be wrong.
    pub(in crate::kafka) fn stale(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.stale = true;
        }
    }

    /// What to ask about, in one request for all who wait.
    pub(in crate::kafka) fn wanted(&self, now: Instant) -> Vec<String> {
        let due = self.known.iter().filter(|(_, known)| known.wanted && known.backoff.wait(now).is_none());
        due.map(|(name, _)| name.clone()).collect()
    }

    /// The answers to a request that was sent at `asked`.
    pub(in crate::kafka) fn answered(&mut self, answers: BTreeMap<String, Answer>, asked: Instant, now: Instant) {
        for (name, answer) in answers {
            let known = self.entry(&name);
            // What is asked about again and again is asked about less and less often.
            let calm = known.asked.is_some_and(|last| now > last + CALM);
            if calm {
                known.backoff.worked();
            }
            known.backoff.failed(now, random());
            known.answer = Some(match (answer, known.answer.take()) {
                (Ok(Some(new)), Some(Ok(Some(old)))) => Ok(Some(Arc::new(Arc::unwrap_or_clone(new).newer_of(&old)))),
                (answer, _) => answer,
            });
            (known.asked, known.stale, known.wanted) = (Some(asked), false, false);
        }
    }

    /// All topics were listed: those that weren't named aren't there.
    pub(in crate::kafka) fn listed(&mut self, mut answers: BTreeMap<String, Answer>, asked: Instant, now: Instant) {
        for name in self.known.keys() {
            if !answers.contains_key(name) {
                answers.insert(name.clone(), Ok(None));
            }
        }
        answers.retain(|name, _| self.known.contains_key(name));
        self.answered(answers, asked, now);
    }

    fn entry(&mut self, name: &str) -> &mut Known {
        let backoff = &self.backoff;
        self.known.entry(name.to_owned()).or_insert_with(|| Known {
            answer: None,
            asked: None,
            stale: false,
            wanted: false,
            backoff: backoff.clone(),
        })
    }
}

/// After so long without a question the first wait is the shortest again.
const CALM: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::metadata::{PartitionMetadata, TopicMetadata};
    use super::*;

    const AGE: Duration = Duration::from_secs(300);

    fn topics() -> Topics {
        Topics::new(AGE, Backoff::new(Duration::from_millis(100), Duration::from_secs(1)))
    }

    fn there(epoch: i32) -> Answer {
        let partition = PartitionMetadata { leader: Some(epoch), epoch, ..Default::default() };
        let partitions = [(0, partition)].into();
        Ok(Some(Arc::new(TopicMetadata { name: "t".into(), id: Default::default(), internal: false, partitions })))
    }

    fn told(topics: &mut Topics, answer: Answer, at: Instant) {
        topics.answered([("t".to_owned(), answer)].into(), at, at);
    }

    #[test]
    fn one_question_is_for_all_who_wait() {
        let (mut topics, now) = (topics(), Instant::now());
        assert_eq!(topics.want("t", now), None);
        assert_eq!(topics.want("u", now), None);
        assert_eq!(topics.wanted(now), ["t", "u"]);
        assert_eq!(topics.answer("t", now, now), None);
        told(&mut topics, there(1), now);
        assert_eq!(topics.answer("t", now, now), Some(there(1)));
        assert_eq!(topics.wanted(now), ["u"]);
    }

    #[test]
    fn answers_are_kept_until_they_are_old_or_doubted() {
        let (mut topics, now) = (topics(), Instant::now());
        let later = now + Duration::from_secs(1);
        told(&mut topics, there(1), now);
        assert_eq!(topics.answer("t", later, later), Some(there(1)));
        assert_eq!(topics.answer("t", now + AGE, now + AGE), None);
        topics.stale("t");
        assert_eq!(topics.answer("t", later, later), None);
        assert_eq!(topics.answer("t", now, later), Some(there(1)), "who asked before gets the answer all the same");
        told(&mut topics, Ok(None), later);
        assert_eq!(topics.answer("t", later, later), Some(Ok(None)));
        let next = later + Duration::from_millis(1);
        assert_eq!(topics.answer("t", next, next), None, "that a topic isn't there is asked each time");
    }

    #[test]
    fn questions_about_one_topic_are_spread() {
        let (mut topics, now) = (topics(), Instant::now());
        told(&mut topics, there(1), now);
        topics.stale("t");
        let due = topics.want("t", now).unwrap();
        assert!(due > now && due < now + Duration::from_millis(200));
        assert!(topics.wanted(now).is_empty());
        assert_eq!(topics.wanted(due), ["t"]);
        let later = now + Duration::from_secs(10);
        assert_eq!(topics.want("t", later), None);
    }

    #[test]
    fn a_list_of_all_says_who_is_gone() {
        let (mut topics, now) = (topics(), Instant::now());
        told(&mut topics, there(1), now);
        topics.listed([("other".to_owned(), there(1))].into(), now, now);
        assert_eq!(topics.answer("t", now, now), Some(Ok(None)));
        assert_eq!(topics.answer("other", now, now), None, "nobody asked about it");
    }
}
