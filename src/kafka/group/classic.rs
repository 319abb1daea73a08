//! A member of a classic group (JoinGroup, SyncGroup, Heartbeat): what to send when, and what the answers mean.
//!
//! Eager assignors give everything back before the group shares out anew; cooperative ones (KIP-429) keep what they
//! read, give back only what moves, and join once more so that it can be given to its new reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::assignor::Member;
use super::hand::{Hand, Refusal, Step};
use super::subscription::{assignment, read_assignment, read_subscription, subscription};
use super::{GroupSettings, Partition};
use crate::kafka::{Error, ErrorKind};

/// A request to the coordinator; the driver adds the group and the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Join { member: String, protocols: Vec<(&'static str, Bytes)> },
    Sync { member: String, generation: i32, protocol: String, assignments: Vec<(String, Bytes)> },
    Heartbeat { member: String, generation: i32 },
    Leave { member: String },
}

/// What the coordinator answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Joined(Joined),
    /// The coordinator gave an ID and wants to be asked again with it.
    Named(String),
    Synced(Bytes),
    /// To a heartbeat or a leave.
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) protocol: String,
    /// Whether we share out.
    pub(super) leads: bool,
    /// ID, instance and subscription of each; empty but for the leader.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Classic {
    settings: GroupSettings,
    hand: Hand,
    state: State,
    /// The request that is out.
    out: Option<Kind>,
    member: String,
    generation: i32,
    leads: bool,
    topics: BTreeSet<Arc<str>>,
    /// Join again once we have joined.
    again: bool,
    last_heard: Instant,
    last_beat: Instant,
}

#[derive(Debug)]
enum State {
    /// To join as soon as the program has given back what it must.
    Unjoined,
    /// We share out, and need to know how many partitions there are.
    Counting(Joined),
    Synchronising(Request),
    Stable,
    /// The program doesn't poll: the group is told, and we join again when it does.
    Asleep,
    Leaving,
    Left,
    Over(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Join,
    Sync,
    Heartbeat,
    Leave,
}

impl Classic {
    pub(super) fn new(settings: GroupSettings, topics: BTreeSet<Arc<str>>, now: Instant) -> Self {
        Self {
            settings,
            hand: Hand::new(now),
            state: State::Unjoined,
            out: None,
            member: String::new(),
            generation: NONE,
            leads: false,
            topics,
            again: false,
            last_heard: now,
            last_beat: now,
        }
    }

    pub(super) fn hand(&mut self) -> &mut Hand {
        &mut self.hand
    }

    /// What a commit has to name: member ID and generation.
    pub(super) fn identity(&self) -> (&str, i32) {
        (&self.member, self.generation)
    }

    /// Whether we share out for the group, and so have to watch the topics.
    pub(super) fn leads(&self) -> bool {
        self.leads && matches!(self.state, State::Stable)
    }

    /// The topics that we want, from now on.
    pub(super) fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        if self.topics != topics {
            self.topics = topics;
            self.rejoin();
        }
    }

    /// The group has to share out anew.
    pub(super) fn rejoin(&mut self) {
        self.again = true;
        if matches!(self.state, State::Stable) {
            self.prepare();
        }
    }

    /// The program lives. Whether that wakes us.
    pub(super) fn polled(&mut self, now: Instant) -> bool {
        self.hand.polled(now);
        let wakes = matches!(self.state, State::Asleep) && self.member.is_empty();
        if wakes {
            self.state = State::Unjoined;
        }
        wakes
    }

    /// Says goodbye, so that the others needn't wait until they miss us; a request that is out is given up. A static
    /// member stays one.
    pub(super) fn leave(&mut self) {
        self.out = None;
        self.hand.drop_all();
        self.state = match self.settings.instance {
            None if !self.member.is_empty() => State::Leaving,
            _ => State::Left,
        };
    }

    pub(super) fn has_left(&self) -> bool {
        matches!(self.state, State::Left)
    }

    pub(super) fn step(&mut self, now: Instant) -> Step<Request> {
        self.watch(now);
        if let Some(change) = self.hand.tell() {
            return Step::Tell(change);
        }
        if let State::Over(refusal) = &self.state {
            return Step::Over(refusal.clone());
        }
        if self.out.is_some() {
            return Step::Wait(now + FAR);
        }
        self.due(now).unwrap_or_else(|| Step::Wait(self.wake(now)))
    }

    /// How many partitions the topics have that a [`Step::Count`] named; those that don't exist are left out.
    pub(super) fn counted(&mut self, counts: &BTreeMap<Arc<str>, i32>) {
        let State::Counting(joined) = &self.state else { return };
        let assignor = self.settings.assignors.iter().find(|assignor| assignor.name() == joined.protocol);
        let members = members(joined);
        let shared = assignor.map(|assignor| assignor.assign(&members, counts)).unwrap_or_default();
        let bytes = |(id, partitions)| Some((id, assignment(&partitions)?));
        self.state = State::Synchronising(Request::Sync {
            member: self.member.clone(),
            generation: self.generation,
            protocol: joined.protocol.clone(),
            assignments: shared.into_iter().filter_map(bytes).collect(),
        });
    }

    pub(super) fn answer(&mut self, answer: Result<Answer, Refusal>, now: Instant) {
        let Some(kind) = self.out.take() else { return };
        match answer {
            Ok(answer) => {
                self.hand.succeeded();
                self.last_heard = now;
                self.take(answer, now);
            }
            Err(refusal) => self.refused(kind, refusal, now),
        }
    }

    fn take(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Named(member) => self.member = member,
            Answer::Joined(joined) => self.joined(joined, now),
            Answer::Synced(bytes) => match read_assignment(&bytes) {
                Some(partitions) => self.synced(partitions),
                None => {
                    let what = "the assignment that the group's leader made can't be read";
                    self.state = State::Over(Refusal::Hopeless(Error::new(ErrorKind::Corrupt, what)));
                }
            },
            Answer::Done => match self.state {
                State::Leaving => self.state = State::Left,
                State::Asleep => self.forget(),
                _ => {}
            },
        }
    }

    fn joined(&mut self, joined: Joined, now: Instant) {
        (self.member, self.generation) = (joined.member.clone(), joined.generation);
        self.leads = joined.leads;
        self.last_beat = now;
        self.state = match joined.leads {
            true => State::Counting(joined),
            false => State::Synchronising(Request::Sync {
                member: joined.member,
                generation: joined.generation,
                protocol: joined.protocol,
                assignments: Vec::new(),
            }),
        };
    }

    fn synced(&mut self, assigned: BTreeSet<Partition>) {
        self.state = State::Stable;
        let revoked: BTreeSet<_> = self.hand.owned().difference(&assigned).cloned().collect();
        // Who gives back joins again, so that the leader can give it to another.
        self.again |= !revoked.is_empty();
        self.hand.revoke(revoked);
        let added: BTreeSet<_> = assigned.difference(self.hand.owned()).cloned().collect();
        self.hand.assign(added);
        if self.again {
            self.prepare();
        }
    }

    fn refused(&mut self, kind: Kind, refusal: Refusal, now: Instant) {
        match (kind, refusal.code()) {
            (Kind::Leave, _) => self.take(Answer::Done, now),
            (_, Some(ResponseError::RebalanceInProgress)) => {
                self.last_heard = now;
                self.prepare();
            }
            (_, Some(ResponseError::UnknownMemberId | ResponseError::IllegalGeneration)) => self.lost(),
            _ if refusal.is_final() => {
                self.hand.lose_all();
                self.state = State::Over(refusal);
            }
            (Kind::Sync, _) => {
                self.hand.back_off(now);
                self.prepare();
            }
            _ => self.hand.back_off(now),
        }
    }

    /// Gives back what mustn't be read while the group shares out, and joins after that.
    fn prepare(&mut self) {
        if matches!(self.state, State::Asleep | State::Leaving | State::Left | State::Over(_)) {
            return;
        }
        self.state = State::Unjoined;
        let owned = self.hand.owned().iter();
        let gone = match self.settings.is_cooperative() {
            true => owned.filter(|(topic, _)| !self.topics.contains(topic)).cloned().collect(),
            false => owned.cloned().collect(),
        };
        self.hand.revoke(gone);
    }

    /// The group doesn't know us any more.
    fn lost(&mut self) {
        self.forget();
        self.hand.lose_all();
        if !matches!(self.state, State::Asleep | State::Leaving | State::Left) {
            self.state = State::Unjoined;
        }
    }

    fn forget(&mut self) {
        self.member.clear();
        self.generation = NONE;
        self.leads = false;
    }

    /// Time alone can end a membership: nobody has heard us, or the program doesn't poll.
    fn watch(&mut self, now: Instant) {
        let joined = self.generation != NONE && matches!(self.state, State::Stable | State::Unjoined);
        if joined && now >= self.last_heard + self.settings.session && self.out != Some(Kind::Join) {
            self.last_heard = now;
            self.lost();
        }
        let lives = now < self.hand.last_poll() + self.settings.max_poll_interval;
        if !lives && matches!(self.state, State::Stable | State::Unjoined) && self.out.is_none() {
            self.state = State::Asleep;
            self.generation = NONE;
            self.hand.lose_all();
        }
    }

    /// What is to be done now; a [`Step::Send`] has its kind put down.
    fn due(&mut self, now: Instant) -> Option<Step<Request>> {
        let member = self.member.clone();
        let (kind, request) = match &self.state {
            State::Counting(joined) => {
                return Some(Step::Count(members(joined).into_iter().flat_map(|member| member.topics).collect()));
            }
            State::Leaving => (Kind::Leave, Request::Leave { member }),
            State::Asleep if !member.is_empty() => (Kind::Leave, Request::Leave { member }),
            State::Unjoined if self.hand.is_settled() => {
                if now < self.hand.not_before {
                    return None;
                }
                (Kind::Join, self.join())
            }
            State::Synchronising(sync) => (Kind::Sync, sync.clone()),
            State::Stable | State::Unjoined if self.generation != NONE && now >= self.next_beat() => {
                self.last_beat = now;
                (Kind::Heartbeat, Request::Heartbeat { member, generation: self.generation })
            }
            _ => return None,
        };
        self.out = Some(kind);
        Some(Step::Send(request))
    }

    fn join(&mut self) -> Request {
        self.again = false;
        let (topics, owned, generation) = (self.topics.clone(), self.hand.owned().clone(), self.generation);
        let ours = subscription(&Member { topics, owned, generation, ..Member::default() });
        let protocols = self.settings.assignors.iter();
        let protocols = protocols.filter_map(|one| Some((one.name(), ours.clone()?))).collect();
        Request::Join { member: self.member.clone(), protocols }
    }

    fn next_beat(&self) -> Instant {
        (self.last_beat + self.settings.heartbeat).max(self.hand.not_before)
    }

    fn wake(&self, now: Instant) -> Instant {
        let poll = self.hand.last_poll() + self.settings.max_poll_interval;
        match self.state {
            State::Stable | State::Unjoined if self.generation != NONE => {
                let join =
                    (self.hand.is_settled() && !matches!(self.state, State::Stable)).then_some(self.hand.not_before);
                let session = self.last_heard + self.settings.session;
                self.next_beat().min(session).min(poll).min(join.unwrap_or(poll))
            }
            State::Unjoined => self.hand.not_before.max(now).min(poll),
            _ => now + FAR,
        }
    }
}

fn members(joined: &Joined) -> Vec<Member> {
    let read =
        |(id, instance, bytes): &(String, Option<String>, Bytes)| read_subscription(id, instance.as_deref(), bytes);
    joined.members.iter().filter_map(read).collect()
}

/// No generation: not a member.
const NONE: i32 = -1;
/// For the timer of one who has nothing to wait for but an answer.
const FAR: Duration = Duration::from_secs(3600);
