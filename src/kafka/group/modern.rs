//! A member of a group whose broker shares out (KIP-848, ConsumerGroupHeartbeat): one request for everything. The broker
//! says what to read, takes partitions back before it gives them to another, and never stops the whole group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::hand::{Hand, Refusal, Step};
use super::{GroupSettings, Partition};

/// A heartbeat; the driver adds the group, the instance and the assignor, and turns topics into their IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) member: String,
    /// 0 joins, −1 leaves, −2 leaves for a while (static members).
    pub(super) epoch: i32,
    /// What we want to read; `None`: as before.
    pub(super) topics: Option<BTreeSet<Arc<str>>>,
    /// What we read; `None`: as before.
    pub(super) owned: Option<BTreeSet<Partition>>,
}

/// What the coordinator answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beaten {
    pub(super) epoch: i32,
    pub(super) interval: Duration,
    /// What we are to read; `None`: as before.
    pub(super) assigned: Option<BTreeSet<Partition>>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Modern {
    settings: GroupSettings,
    hand: Hand,
    state: State,
    out: bool,
    member: String,
    epoch: i32,
    topics: BTreeSet<Arc<str>>,
    /// What the coordinator knows of us.
    said_topics: Option<BTreeSet<Arc<str>>>,
    said_owned: Option<BTreeSet<Partition>>,
    /// It may have missed something, or we its answer: only who says everything at once is told everything.
    unsure: bool,
    interval: Duration,
    last_heard: Instant,
    last_beat: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Member,
    /// The program doesn't poll: the group is told, and we join again when it does.
    Asleep,
    Leaving,
    Left,
    Over(Refusal),
}

impl Modern {
    /// `member` is a name that nobody else has.
    pub(super) fn new(settings: GroupSettings, topics: BTreeSet<Arc<str>>, member: String, now: Instant) -> Self {
        let interval = settings.heartbeat;
        Self {
            settings,
            hand: Hand::new(now),
            state: State::Member,
            out: false,
            member,
            epoch: JOIN,
            topics,
            said_topics: None,
            said_owned: None,
            unsure: true,
            interval,
            last_heard: now,
            last_beat: None,
        }
    }

    pub(super) fn hand(&mut self) -> &mut Hand {
        &mut self.hand
    }

    /// What a commit has to name: member ID and epoch.
    pub(super) fn identity(&self) -> (&str, i32) {
        (&self.member, self.epoch)
    }

    pub(super) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        self.topics = topics;
    }

    /// The program lives. Whether that wakes us.
    pub(super) fn polled(&mut self, now: Instant) -> bool {
        self.hand.polled(now);
        let wakes = matches!(self.state, State::Asleep) && self.epoch == JOIN;
        if wakes {
            self.state = State::Member;
        }
        wakes
    }

    pub(super) fn topics(&self) -> &BTreeSet<Arc<str>> {
        &self.topics
    }

    /// Says goodbye; a request that is out is given up.
    pub(super) fn leave(&mut self) {
        self.out = false;
        self.hand.drop_all();
        self.state = if self.epoch == JOIN && self.last_beat.is_none() { State::Left } else { State::Leaving };
    }

    pub(super) fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    pub(super) fn step(&mut self, now: Instant) -> Step<Beat> {
        self.watch(now);
        if let Some(change) = self.hand.tell() {
            return Step::Tell(change);
        }
        match &self.state {
            State::Over(refusal) => return Step::Over(refusal.clone()),
            State::Left => return Step::Wait(now + FAR),
            State::Asleep if self.epoch == JOIN => return Step::Wait(now + FAR),
            _ if self.out => return Step::Wait(now + FAR),
            _ => {}
        }
        let due = self.due(now);
        if due > now {
            return Step::Wait(due);
        }
        self.out = true;
        self.last_beat = Some(now);
        Step::Send(self.beat())
    }

    pub(super) fn answer(&mut self, answer: Result<Beaten, Refusal>, now: Instant) {
        self.out = false;
        match (&self.state, answer) {
            (State::Leaving, _) => self.state = State::Left,
            (State::Asleep, _) => self.epoch = JOIN,
            (_, Ok(beaten)) => self.beaten(beaten, now),
            (_, Err(refusal)) => self.refused(refusal, now),
        }
    }

    fn beaten(&mut self, beaten: Beaten, now: Instant) {
        self.hand.succeeded();
        self.last_heard = now;
        self.interval = beaten.interval;
        let joins = self.epoch == JOIN;
        self.epoch = beaten.epoch;
        let Some(assigned) = beaten.assigned else { return };
        let revoked: BTreeSet<_> = self.hand.owned().difference(&assigned).cloned().collect();
        let added: BTreeSet<_> = assigned.difference(self.hand.owned()).cloned().collect();
        self.hand.revoke(revoked);
        if joins || !added.is_empty() {
            self.hand.assign(added);
        }
    }

    fn refused(&mut self, refusal: Refusal, now: Instant) {
        self.unsure = true;
        match refusal.code() {
            Some(ResponseError::FencedMemberEpoch | ResponseError::UnknownMemberId) => self.lost(),
            _ if refusal.is_final() => {
                self.hand.lose_all();
                self.state = State::Over(refusal);
            }
            _ => self.hand.back_off(now),
        }
    }

    /// The group doesn't know us any more, or not as we are.
    fn lost(&mut self) {
        self.epoch = JOIN;
        self.unsure = true;
        self.hand.lose_all();
    }

    fn watch(&mut self, now: Instant) {
        if !matches!(self.state, State::Member) || self.epoch == JOIN {
            return;
        }
        if now >= self.last_heard + self.settings.session {
            self.last_heard = now;
            self.lost();
        } else if now >= self.hand.last_poll() + self.settings.max_poll_interval && !self.out {
            self.state = State::Asleep;
            self.hand.lose_all();
        }
    }

    fn due(&self, now: Instant) -> Instant {
        let soon = self.hand.not_before.max(now);
        match self.state {
            State::Leaving | State::Asleep => now,
            // What is lost is let go of before we come back.
            _ if self.epoch == JOIN => {
                if self.hand.is_settled() {
                    soon
                } else {
                    now + FAR
                }
            }
            _ => {
                let beat = self.last_beat.map_or(now, |last| last + self.interval).max(self.hand.not_before);
                let poll = self.hand.last_poll() + self.settings.max_poll_interval;
                let news = self.news().then_some(soon);
                beat.min(poll.max(now))
                    .min(news.unwrap_or(beat))
                    .min((self.last_heard + self.settings.session).max(now))
            }
        }
    }

    /// Whether there is something to say before the next heartbeat is due.
    fn news(&self) -> bool {
        let settled = self.hand.is_settled();
        self.said_topics.as_ref() != Some(&self.topics)
            || settled && (self.unsure || self.said_owned.as_ref() != Some(self.hand.owned()))
    }

    fn beat(&mut self) -> Beat {
        let member = self.member.clone();
        let epoch = match (&self.state, &self.settings.instance) {
            (State::Leaving, Some(_)) => LEAVE_FOR_A_WHILE,
            (State::Leaving | State::Asleep, _) => LEAVE,
            _ => self.epoch,
        };
        if epoch < 0 {
            return Beat { member, epoch, topics: None, owned: None };
        }
        let settled = self.hand.is_settled();
        // Who joins says everything, also after it was asleep.
        let all = epoch == JOIN || self.unsure && settled;
        let topics = (all || self.said_topics.as_ref() != Some(&self.topics)).then(|| self.topics.clone());
        let owned =
            (all || settled && self.said_owned.as_ref() != Some(self.hand.owned())).then(|| self.hand.owned().clone());
        self.unsure &= !all;
        self.said_topics = Some(self.topics.clone());
        if owned.is_some() {
            self.said_owned.clone_from(&owned);
        }
        Beat { member, epoch, topics, owned }
    }
}

const JOIN: i32 = 0;
const LEAVE: i32 = -1;
const LEAVE_FOR_A_WHILE: i32 = -2;
/// For the timer of one who has nothing to wait for but an answer.
const FAR: Duration = Duration::from_secs(3600);
