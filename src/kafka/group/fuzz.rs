//! A member of a group with whatever happens to it, in any order; and the bytes that members send each other.

#![allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is the finding")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;

use super::assignor::Member;
use super::classic::{Answer, Classic, Joined, Request};
use super::hand::{Change, Hand, Refusal, Step};
use super::modern::{Beat, Beaten, Modern};
use super::subscription::{assignment, read_assignment, read_subscription, subscription};
use super::{Assignor, GroupSettings, Partition};

/// The first byte says which.
pub fn fuzz_groups(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 4 {
        0 => live(Life::new(ClassicSide::new(&[Assignor::Range, Assignor::RoundRobin])), rest),
        1 => live(Life::new(ClassicSide::new(&[Assignor::CooperativeSticky])), rest),
        2 => live(Life::new(ModernSide::new()), rest),
        _ => written(rest),
    }
}

/// What members wrote is read or refused, and what was read can be written and read again. Whatever they claim, each
/// partition has at most one reader, who asked for it.
fn written(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Some(partitions) = read_assignment(&bytes) {
        assert_eq!(assignment(&partitions).and_then(|bytes| read_assignment(&bytes)), Some(partitions));
    }
    // Pieces behind their length, each the subscription of a member.
    let (mut members, mut rest) = (Vec::new(), input);
    while let Some((length, behind)) = rest.split_first() {
        let (piece, behind) = behind.split_at(behind.len().min((*length).into()));
        rest = behind;
        let id = format!("m{}", members.len());
        let Some(member) = read_subscription(&id, None, &Bytes::copy_from_slice(piece)) else { continue };
        let again = subscription(&member).and_then(|bytes| read_subscription(&id, None, &bytes));
        assert_eq!(again.as_ref(), Some(&member));
        members.push(member);
    }
    let counts = |place: usize| i32::try_from(place % 5).unwrap_or(0);
    let topics: BTreeSet<_> = members.iter().flat_map(|member| member.topics.clone()).collect();
    let counts: BTreeMap<_, _> = topics.into_iter().enumerate().map(|(place, topic)| (topic, counts(place))).collect();
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        shared_out(assignor, &members, &counts);
    }
}

fn shared_out(assignor: Assignor, members: &[Member], counts: &BTreeMap<Arc<str>, i32>) {
    let assigned = assignor.assign(members, counts);
    let mut given = BTreeSet::new();
    for member in members {
        for partition in &assigned[&member.id] {
            assert!(member.topics.contains(&partition.0) && (0..counts[&partition.0]).contains(&partition.1));
            assert!(given.insert(partition.clone()), "read by two");
        }
    }
    let all: i32 = counts.values().sum();
    assert!(assignor == Assignor::CooperativeSticky || i32::try_from(given.len()) == Ok(all), "read by nobody");
}

/// A kind of membership, and its coordinator.
trait Side {
    type Ask: std::fmt::Debug;

    fn step(&mut self, now: Instant) -> Step<Self::Ask>;
    fn hand(&mut self) -> &mut Hand;
    fn polled(&mut self, now: Instant);
    fn subscribe(&mut self, topics: BTreeSet<Arc<str>>);
    fn leave(&mut self);
    fn has_left(&self) -> bool;
    fn counted(&mut self) {}
    /// What must be so when this is sent by one whose program holds so much.
    fn check(&mut self, ask: &Self::Ask, held: &BTreeSet<Partition>, telling: bool);
    fn is_goodbye(ask: &Self::Ask) -> bool;
    /// An honest answer, which arrives or gets lost.
    fn answer(&mut self, ask: Self::Ask, value: u8, arrives: bool, now: Instant);
    fn refuse(&mut self, refusal: Refusal, now: Instant);
    /// What the coordinator wants it to have, as far as it settles.
    fn target(&self) -> BTreeSet<Partition>;
}

struct Life<S: Side> {
    side: S,
    now: Instant,
    out: Option<S::Ask>,
    telling: Option<Change>,
    held: BTreeSet<Partition>,
    over: bool,
    leaving: bool,
}

/// One event for each two bytes; then all goes well, and in the end it holds what it should.
fn live<S: Side>(mut life: Life<S>, program: &[u8]) {
    for event in program.chunks_exact(2) {
        if life.over {
            return; // as its driver does
        }
        life.event(event.first().copied().unwrap_or(0), event.get(1).copied().unwrap_or(0));
    }
    for _ in 0..200 {
        life.side.polled(life.now);
        life.act();
        life.told();
        life.answered(0, true);
        life.now += Duration::from_millis(500);
        if life.over || life.side.has_left() {
            return;
        }
    }
    assert!(!life.leaving, "who leaves goes");
    assert_eq!(life.held, life.side.target(), "it never got what it should read");
}

impl<S: Side> Life<S> {
    fn new(side: S) -> Self {
        let (out, telling, held) = (None, None, BTreeSet::new());
        Self { side, now: Instant::now(), out, telling, held, over: false, leaving: false }
    }

    fn event(&mut self, kind: u8, value: u8) {
        match kind % 10 {
            0 | 1 => self.act(),
            2 => self.told(),
            3 | 4 => self.answered(value, true),
            5 => self.answered(value, false),
            6 => self.refused(value),
            7 => self.now += Duration::from_millis(u64::from(value) * 100),
            8 => self.side.polled(self.now),
            _ if value % 8 == 7 => {
                self.side.leave();
                (self.out, self.telling, self.leaving) = (None, None, true);
                self.held.clear();
            }
            _ => self.side.subscribe(topics(value)),
        }
    }

    /// All that is to be done now.
    fn act(&mut self) {
        for _ in 0..20 {
            if self.side.has_left() {
                return;
            }
            match self.side.step(self.now) {
                Step::Send(ask) => {
                    assert!(self.out.is_none(), "one request at a time: {:?}, {ask:?}", self.out);
                    assert!(!self.leaving || S::is_goodbye(&ask), "it leaves: {ask:?}");
                    self.side.check(&ask, &self.held, self.telling.is_some());
                    self.out = Some(ask);
                }
                Step::Tell(change) => {
                    assert!(self.telling.is_none() && !self.leaving, "one at a time, and none to who leaves");
                    self.telling = Some(change);
                }
                Step::Count(_) => self.side.counted(),
                Step::Wait(until) => return assert!(until >= self.now, "a wait that is over"),
                Step::Over(_) => return self.over = true,
            }
        }
        panic!("no rest");
    }

    fn told(&mut self) {
        match self.telling.take() {
            Some(Change::Assigned(partitions)) => {
                assert!(self.held.is_disjoint(&partitions), "it has some of them already");
                self.held.extend(partitions);
            }
            Some(Change::Revoked(partitions) | Change::Lost(partitions)) => {
                assert!(!partitions.is_empty() && partitions.is_subset(&self.held), "only what it has is taken");
                self.held.retain(|partition| !partitions.contains(partition));
            }
            None => return,
        }
        self.side.hand().told();
    }

    fn answered(&mut self, value: u8, arrives: bool) {
        if let Some(ask) = self.out.take() {
            self.side.answer(ask, value, arrives, self.now);
            if !arrives {
                self.side.refuse(Refusal::Silence, self.now);
            }
        }
    }

    fn refused(&mut self, value: u8) {
        if self.out.take().is_some() {
            self.side.refuse(refusal(value), self.now);
        }
    }
}

/// A coordinator that isn't there, or has forgotten it, or another one.
struct ClassicSide {
    member: Classic,
    cooperative: bool,
    /// What it is known by, and what it is given.
    known: Option<(String, i32)>,
    names: i32,
    generation: i32,
    wanted: BTreeSet<Arc<str>>,
    /// What the last join said that it wants.
    given: BTreeSet<Partition>,
}

impl ClassicSide {
    fn new(assignors: &[Assignor]) -> Self {
        let settings = settings().assignors(assignors.to_vec());
        let cooperative = assignors == [Assignor::CooperativeSticky];
        let member = Classic::new(settings, topics(0), Instant::now());
        let (known, given) = Default::default();
        Self { member, cooperative, known, names: 0, generation: 0, wanted: topics(0), given }
    }
}

impl Side for ClassicSide {
    type Ask = Request;

    fn step(&mut self, now: Instant) -> Step<Request> {
        self.member.step(now)
    }

    fn hand(&mut self) -> &mut Hand {
        self.member.hand()
    }

    fn polled(&mut self, now: Instant) {
        self.member.polled(now);
    }

    fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        self.wanted.clone_from(&topics);
        self.member.subscribe(topics);
    }

    fn leave(&mut self) {
        self.member.leave();
    }

    fn has_left(&self) -> bool {
        self.member.has_left()
    }

    fn counted(&mut self) {
        self.member.counted(&counts());
    }

    fn check(&mut self, ask: &Request, held: &BTreeSet<Partition>, telling: bool) {
        match ask {
            Request::Join { protocols, .. } => {
                assert!(!telling, "it joins when the program has taken in everything");
                assert!(self.cooperative || held.is_empty(), "who isn't cooperative gives back before");
                let (_, bytes) = protocols.first().expect("a protocol");
                let said = read_subscription("", None, bytes).expect("a subscription");
                assert_eq!((&said.owned, &said.topics), (held, &self.wanted));
            }
            Request::Sync { assignments, .. } => {
                self.given = assignments
                    .first()
                    .map_or(BTreeSet::new(), |(_, bytes)| read_assignment(bytes).expect("an assignment"));
            }
            Request::Heartbeat { member, generation } => assert!(!member.is_empty() && *generation > 0),
            Request::Leave { member } => assert!(!member.is_empty()),
        }
    }

    fn is_goodbye(ask: &Request) -> bool {
        matches!(ask, Request::Leave { .. })
    }

    /// Even values: it leads a group of its own.
    fn answer(&mut self, ask: Request, value: u8, arrives: bool, now: Instant) {
        let answer = match ask {
            Request::Join { member, .. } if member.is_empty() => {
                self.names += 1;
                Answer::Named(format!("m{}", self.names))
            }
            Request::Join { member, protocols } => {
                self.generation += 1;
                self.known = Some((member.clone(), self.generation));
                let (name, bytes) = protocols.into_iter().next().expect("a protocol");
                let leads = value.is_multiple_of(2);
                let members = if leads { vec![(member.clone(), None, bytes)] } else { Vec::new() };
                let protocol = name.to_owned();
                Answer::Joined(Joined { member, generation: self.generation, protocol, leads, members })
            }
            Request::Sync { member, generation, assignments, .. } => {
                assert_eq!(self.known, Some((member, generation)), "it synchronises in the generation that it joined");
                if assignments.is_empty() {
                    self.given = partitions(value);
                }
                Answer::Synced(assignment(&self.given).expect("bytes"))
            }
            Request::Heartbeat { .. } | Request::Leave { .. } => Answer::Done,
        };
        if arrives {
            self.member.answer(Ok(answer), now);
        }
    }

    fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.member.answer(Err(refusal), now);
    }

    fn target(&self) -> BTreeSet<Partition> {
        self.given.clone()
    }
}

/// A coordinator as Apache Kafka's: it says what is assigned when that has changed since it last said so, whether that
/// arrived or not, and to who joins or says everything at once.
struct ModernSide {
    member: Modern,
    epoch: i32,
    wanted: BTreeSet<Arc<str>>,
    target: BTreeSet<Partition>,
    said: BTreeSet<Partition>,
}

impl ModernSide {
    fn new() -> Self {
        let member = Modern::new(settings(), topics(0), "me".to_owned(), Instant::now());
        let (target, said) = Default::default();
        Self { member, epoch: 0, wanted: topics(0), target, said }
    }
}

impl Side for ModernSide {
    type Ask = Beat;

    fn step(&mut self, now: Instant) -> Step<Beat> {
        self.member.step(now)
    }

    fn hand(&mut self) -> &mut Hand {
        self.member.hand()
    }

    fn polled(&mut self, now: Instant) {
        self.member.polled(now);
    }

    fn subscribe(&mut self, topics: BTreeSet<Arc<str>>) {
        self.wanted.clone_from(&topics);
        self.member.subscribe(topics);
    }

    fn leave(&mut self) {
        self.member.leave();
    }

    fn has_left(&self) -> bool {
        self.member.has_left()
    }

    fn check(&mut self, ask: &Beat, held: &BTreeSet<Partition>, telling: bool) {
        if ask.epoch == 0 {
            assert!(held.is_empty() && !telling, "what it had is let go of before it joins");
            assert!(ask.topics.is_some() && ask.owned.is_some(), "who joins says everything");
        }
        if let Some(owned) = &ask.owned {
            assert_eq!((owned, telling), (held, false), "it says what its program has");
        }
        assert!(ask.topics.as_ref().is_none_or(|topics| *topics == self.wanted));
    }

    fn is_goodbye(ask: &Beat) -> bool {
        ask.epoch < 0
    }

    fn answer(&mut self, ask: Beat, value: u8, arrives: bool, now: Instant) {
        let all = ask.epoch == 0 || ask.topics.is_some() && ask.owned.is_some();
        if value != 0 {
            self.target = partitions(value);
        }
        self.epoch = if ask.epoch < 0 { ask.epoch } else { self.epoch.max(0) + 1 };
        let says = ask.epoch >= 0 && (all || self.target != self.said);
        if says {
            self.said.clone_from(&self.target);
        }
        let assigned = says.then(|| self.target.clone());
        if arrives {
            let beaten = Beaten { epoch: self.epoch, interval: Duration::from_secs(1), assigned };
            self.member.answer(Ok(beaten), now);
        }
    }

    fn refuse(&mut self, refusal: Refusal, now: Instant) {
        self.member.answer(Err(refusal), now);
    }

    fn target(&self) -> BTreeSet<Partition> {
        self.target.clone()
    }
}

fn settings() -> GroupSettings {
    GroupSettings::new("g").session_timeout(Duration::from_secs(6)).heartbeat_interval(Duration::from_secs(1))
}

fn counts() -> BTreeMap<Arc<str>, i32> {
    [(Arc::from("x"), 2), (Arc::from("y"), 3)].into()
}

/// Both, one of them, or the other.
fn topics(value: u8) -> BTreeSet<Arc<str>> {
    let names: &[&str] = match value % 3 {
        0 => &["x", "y"],
        1 => &["x"],
        _ => &["y"],
    };
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn partitions(value: u8) -> BTreeSet<Partition> {
    let all = [("x", 0), ("x", 1), ("y", 0), ("y", 1), ("y", 2)];
    let chosen = all.iter().enumerate().filter(|(place, _)| value >> place & 1 == 1);
    chosen.map(|(_, (topic, number))| (Arc::from(*topic), *number)).collect()
}

fn refusal(value: u8) -> Refusal {
    let code = match value % 12 {
        0 => Code::RebalanceInProgress,
        1 | 2 => Code::UnknownMemberId,
        3 => Code::IllegalGeneration,
        4 | 5 => Code::FencedMemberEpoch,
        6 => Code::NotCoordinator,
        7 => Code::CoordinatorLoadInProgress,
        8 => Code::UnknownServerError,
        9 if value > 200 => Code::GroupAuthorizationFailed,
        _ => return Refusal::Silence,
    };
    Refusal::Code(code.code(), None)
}
