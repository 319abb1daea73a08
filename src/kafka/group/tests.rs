//! Groups of members against a coordinator in the process, in virtual time: members come, go, fall silent, dawdle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use proptest::prelude::*;

use super::classic::{Answer, Classic, Joined, Request};
use super::hand::{Change, Refusal, Step};
use super::modern::{Beat, Beaten, Modern};
use super::{Assignor, GroupSettings, Partition};

/// One that asks, as the coordinator knows it.
#[derive(Default)]
struct Known {
    protocols: Vec<(&'static str, Bytes)>,
    heard: u64,
    joining: bool,
    syncing: bool,
}

/// The coordinator of a classic group; milliseconds.
#[derive(Default)]
struct Coordinator {
    members: BTreeMap<String, Known>,
    generation: i32,
    preparing: Option<u64>,
    shared: Option<BTreeMap<String, Bytes>>,
    leader: String,
    answers: Vec<(String, Result<Answer, Refusal>)>,
    names: usize,
}

fn code(code: Code) -> Result<Answer, Refusal> {
    Err(Refusal::Code(code.code(), None))
}

impl Coordinator {
    /// An answer now, or later in `answers`.
    fn ask(&mut self, request: Request, now: u64) -> Option<Result<Answer, Refusal>> {
        let (member, generation) = match &request {
            Request::Join { member, .. } if member.is_empty() => {
                self.names += 1;
                return Some(Ok(Answer::Named(format!("m{}", self.names))));
            }
            Request::Join { member, .. } => (member.clone(), self.generation),
            Request::Sync { member, generation, .. } | Request::Heartbeat { member, generation } => {
                (member.clone(), *generation)
            }
            Request::Leave { member } => {
                self.members.remove(member);
                self.prepare(now);
                return Some(Ok(Answer::Done));
            }
        };
        if let Request::Join { protocols, .. } = request {
            self.members.insert(member, Known { protocols, heard: now, joining: true, syncing: false });
            self.prepare(now);
            return None;
        }
        let Some(known) = self.members.get_mut(&member) else { return Some(code(Code::UnknownMemberId)) };
        known.heard = now;
        if generation != self.generation {
            return Some(code(Code::IllegalGeneration));
        }
        match request {
            _ if self.preparing.is_some() => Some(code(Code::RebalanceInProgress)),
            Request::Sync { assignments, .. } => {
                known.syncing = true;
                if member == self.leader {
                    self.shared = Some(assignments.into_iter().collect());
                }
                None
            }
            _ => Some(Ok(Answer::Done)),
        }
    }

    fn prepare(&mut self, now: u64) {
        self.preparing.get_or_insert(now + 5000);
        self.shared = None;
        for (id, known) in &mut self.members {
            if std::mem::take(&mut known.syncing) {
                self.answers.push((id.clone(), code(Code::RebalanceInProgress)));
            }
        }
    }

    fn tick(&mut self, now: u64) {
        let before = self.members.len();
        self.members.retain(|_, known| known.joining || known.syncing || now < known.heard + SESSION);
        if self.members.len() != before {
            self.prepare(now);
        }
        if let Some(until) = self.preparing {
            if now >= until {
                self.members.retain(|_, known| known.joining);
            }
            if self.members.values().all(|known| known.joining) {
                self.share(now);
            }
        }
        if let Some(shared) = &self.shared {
            for (id, known) in &mut self.members {
                if std::mem::take(&mut known.syncing) {
                    self.answers.push((id.clone(), Ok(Answer::Synced(shared.get(id).cloned().unwrap_or_default()))));
                }
            }
        }
    }

    fn share(&mut self, now: u64) {
        self.preparing = None;
        self.generation += 1;
        let Some(first) = self.members.values().next() else { return };
        let common = first.protocols.iter().find(|(name, _)| {
            self.members.values().all(|known| known.protocols.iter().any(|(other, _)| other == name))
        });
        let protocol = common.expect("a common protocol").0;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().expect("a member").clone();
        }
        let subscription =
            |known: &Known| known.protocols.iter().find(|(name, _)| *name == protocol).unwrap().1.clone();
        let all: Vec<_> = self.members.iter().map(|(id, known)| (id.clone(), None, subscription(known))).collect();
        for (id, known) in &mut self.members {
            (known.joining, known.heard) = (false, now);
            let leads = *id == self.leader;
            let members = if leads { all.clone() } else { Vec::new() };
            let (member, protocol) = (id.clone(), protocol.to_owned());
            let joined = Joined { member, generation: self.generation, protocol, leads, members };
            self.answers.push((id.clone(), Ok(Answer::Joined(joined))));
        }
    }
}

/// A program with its membership.
struct Program {
    membership: Classic,
    /// Under which name it waits for an answer, and until when it hopes.
    waiting: Option<(String, u64)>,
    telling: Option<(Change, u64)>,
    holds: BTreeSet<Partition>,
    /// The network swallows what it sends.
    cut: bool,
    polls: bool,
}

struct World {
    start: Instant,
    now: u64,
    coordinator: Coordinator,
    programs: Vec<Program>,
    assignors: Vec<Assignor>,
    counts: BTreeMap<Arc<str>, i32>,
    /// Milliseconds that a program takes over a rebalance.
    dawdle: u64,
    /// Whether nothing may be held by two: no faults.
    strict: bool,
}

impl World {
    fn new(assignors: &[Assignor], partitions: i32) -> Self {
        Self {
            start: Instant::now(),
            now: 0,
            coordinator: Coordinator::default(),
            programs: Vec::new(),
            assignors: assignors.to_vec(),
            counts: [(Arc::from("x"), partitions)].into(),
            dawdle: 30,
            strict: true,
        }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn join(&mut self) -> usize {
        let settings = GroupSettings::new("g")
            .assignors(self.assignors.clone())
            .session_timeout(Duration::from_millis(SESSION))
            .heartbeat_interval(Duration::from_millis(300))
            .max_poll_interval(Duration::from_secs(8));
        let membership = Classic::new(settings, [Arc::from("x")].into(), self.at());
        let (waiting, telling, holds) = Default::default();
        self.programs.push(Program { membership, waiting, telling, holds, cut: false, polls: true });
        self.programs.len() - 1
    }

    fn leave(&mut self, place: usize) {
        let program = &mut self.programs[place];
        program.holds.clear();
        (program.waiting, program.telling) = (None, None);
        program.membership.leave();
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now += 10;
            self.coordinator.tick(self.now);
            for (id, answer) in std::mem::take(&mut self.coordinator.answers) {
                let at = self.at();
                let waits = |program: &&mut Program| program.waiting.as_ref().is_some_and(|(name, _)| *name == id);
                if let Some(program) = self.programs.iter_mut().find(waits).filter(|program| !program.cut) {
                    program.waiting = None;
                    program.membership.answer(answer, at);
                }
            }
            (0..self.programs.len()).for_each(|place| self.turn(place));
        }
    }

    fn turn(&mut self, place: usize) {
        let (at, now) = (self.at(), self.now);
        let program = &mut self.programs[place];
        if program.polls {
            program.membership.polled(at);
        }
        if program.waiting.as_ref().is_some_and(|(_, until)| now >= *until) {
            program.waiting = None;
            program.membership.answer(Err(Refusal::Silence), at);
        }
        if program.polls && program.telling.as_ref().is_some_and(|(_, until)| now >= *until) {
            let (change, _) = program.telling.take().unwrap();
            self.take_in(place, &change);
        }
        for _ in 0..20 {
            let program = &mut self.programs[place];
            match program.membership.step(at) {
                Step::Send(request) => self.send(place, request),
                Step::Tell(change) => {
                    assert!(program.telling.is_none(), "one at a time");
                    program.telling = Some((change, now + self.dawdle));
                }
                Step::Count(_) => program.membership.counted(&self.counts),
                Step::Wait(until) => {
                    assert!(until >= at, "a wait that is over");
                    return;
                }
                Step::Over(refusal) => panic!("{refusal:?}"),
            }
        }
        panic!("no rest");
    }

    fn take_in(&mut self, place: usize, change: &Change) {
        match change {
            Change::Assigned(partitions) => {
                let taken = |program: &Program| program.holds.intersection(partitions).next().is_some();
                assert!(!self.strict || !self.programs.iter().any(taken), "read by two");
                self.programs[place].holds.extend(partitions.iter().cloned());
            }
            Change::Revoked(partitions) | Change::Lost(partitions) => {
                assert!(partitions.is_subset(&self.programs[place].holds), "only what was given is taken");
                self.programs[place].holds.retain(|partition| !partitions.contains(partition));
            }
        }
        self.programs[place].membership.hand().told();
    }

    fn send(&mut self, place: usize, request: Request) {
        let program = &mut self.programs[place];
        let name = match &request {
            Request::Join { member, .. } | Request::Leave { member } => member.clone(),
            Request::Sync { member, .. } | Request::Heartbeat { member, .. } => member.clone(),
        };
        let patience = if matches!(request, Request::Join { .. }) { 10_000 } else { 1000 };
        program.waiting = Some((name, self.now + patience));
        if program.cut {
            return;
        }
        let answer = self.coordinator.ask(request, self.now);
        if let Some(answer) = answer {
            let at = self.at();
            self.programs[place].waiting = None;
            self.programs[place].membership.answer(answer, at);
        }
    }

    /// How many each reads; every partition is read once.
    fn loads(&self) -> Vec<usize> {
        let all: Vec<_> = self.programs.iter().flat_map(|program| &program.holds).collect();
        let partitions = usize::try_from(self.counts["x"]).unwrap();
        assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>().len()), (partitions, partitions));
        self.programs.iter().map(|program| program.holds.len()).collect()
    }
}

#[test]
fn members_come_and_go() {
    for assignors in [&[Assignor::Range, Assignor::RoundRobin][..], &[Assignor::CooperativeSticky]] {
        let mut world = World::new(assignors, 6);
        world.join();
        world.run(2000);
        assert_eq!(world.loads(), [6]);
        world.join();
        world.join();
        world.run(4000);
        assert_eq!(world.loads(), [2, 2, 2]);
        world.leave(0);
        world.run(4000);
        assert_eq!(world.loads(), [0, 3, 3]);
        assert!(world.programs[0].membership.has_left());
    }
}

/// Cooperative members read on while another joins; eager ones stop.
#[test]
fn what_stays_is_read_on() {
    for (assignor, least) in [(Assignor::CooperativeSticky, 2), (Assignor::Range, 0)] {
        let mut world = World::new(&[assignor], 4);
        world.join();
        world.run(2000);
        world.join();
        let fewest = (0..300).map(|_| {
            world.run(10);
            world.programs[0].holds.len()
        });
        assert_eq!(fewest.min(), Some(least));
        world.run(2000);
        assert_eq!(world.loads(), [2, 2]);
    }
}

#[test]
fn who_falls_silent_loses_everything_and_comes_back() {
    let mut world = World::new(&[Assignor::Range], 4);
    world.join();
    world.join();
    world.run(4000);
    world.programs[0].cut = true;
    world.strict = false;
    world.run(3 * SESSION);
    assert_eq!(world.loads(), [0, 4]);
    world.programs[0].cut = false;
    world.run(20_000);
    assert_eq!(world.loads(), [2, 2]);
}

#[test]
fn who_does_not_poll_leaves_until_it_does() {
    let mut world = World::new(&[Assignor::CooperativeSticky], 4);
    world.join();
    world.join();
    world.run(4000);
    world.programs[1].polls = false;
    world.strict = false;
    world.run(12_000);
    assert_eq!(world.programs[0].holds.len(), 4);
    world.programs[1].polls = true;
    world.run(6000);
    assert_eq!(world.loads(), [2, 2]);
}

#[test]
fn more_partitions_are_shared_out_when_the_leader_sees_them() {
    let mut world = World::new(&[Assignor::Range], 2);
    world.join();
    world.join();
    world.run(4000);
    world.counts.insert(Arc::from("x"), 6);
    let leads: Vec<_> = world.programs.iter().map(|program| program.membership.leads()).collect();
    assert_eq!(leads.iter().filter(|leads| **leads).count(), 1);
    for program in world.programs.iter_mut().filter(|program| program.membership.leads()) {
        program.membership.rejoin();
    }
    world.run(4000);
    assert_eq!(world.loads(), [3, 3]);
}

#[test]
fn a_refusal_that_stays_ends_it() {
    let now = Instant::now();
    let mut member = Classic::new(GroupSettings::new("g"), [Arc::from("x")].into(), now);
    assert!(matches!(member.step(now), Step::Send(Request::Join { .. })));
    let denied = Refusal::Code(Code::GroupAuthorizationFailed.code(), None);
    member.answer(Err(denied.clone()), now);
    assert_eq!(member.step(now), Step::Over(denied));
}

#[derive(Debug, Clone)]
enum Fault {
    Join,
    Leave(usize),
    Cut(usize),
    Mend(usize),
    Sleep(usize),
    Wake(usize),
    Dawdle(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    let place = 0..4_usize;
    prop_oneof![
        Just(Fault::Join),
        place.clone().prop_map(Fault::Leave),
        place.clone().prop_map(Fault::Cut),
        place.clone().prop_map(Fault::Mend),
        place.clone().prop_map(Fault::Sleep),
        place.prop_map(Fault::Wake),
        (0..2000_u64).prop_map(Fault::Dawdle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, once it stops every partition is read by one, and the shares are even.
    #[test]
    fn a_group_settles(
        faults in prop::collection::vec((fault(), 0..3000_u64), 0..12), cooperative in any::<bool>(), partitions in 0..9_i32,
    ) {
        let both = [Assignor::Range, Assignor::CooperativeSticky];
        let mut world = World::new(if cooperative { &both[1..] } else { &both }, partitions);
        world.strict = !faults.iter().any(|(fault, _)| matches!(fault, Fault::Cut(_) | Fault::Sleep(_) | Fault::Dawdle(_)));
        world.join();
        for (fault, pause) in faults {
            let there = |place: usize| place < world.programs.len();
            match fault {
                Fault::Join if world.programs.len() < 4 => _ = world.join(),
                Fault::Leave(place) if there(place) => world.leave(place),
                Fault::Cut(place) if there(place) => world.programs[place].cut = true,
                Fault::Mend(place) if there(place) => world.programs[place].cut = false,
                Fault::Sleep(place) if there(place) => world.programs[place].polls = false,
                Fault::Wake(place) if there(place) => world.programs[place].polls = true,
                Fault::Dawdle(ms) => world.dawdle = ms,
                _ => {}
            }
            world.run(pause);
        }
        world.dawdle = 10;
        for program in &mut world.programs {
            (program.cut, program.polls) = (false, true);
        }
        let last = world.join();
        world.run(40_000);
        let loads = world.loads();
        let here: Vec<_> = (0..=last).filter(|place| !world.programs[*place].membership.has_left()).map(|place| loads[place]).collect();
        prop_assert!(here.iter().max().unwrap() - here.iter().min().unwrap() <= 1, "{here:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The fuzzer's model of one member, and of what members write, with anything in any order.
    #[test]
    fn whatever_happens_in_whatever_order(kind in 0..4_u8, program in prop::collection::vec(any::<u8>(), 0..160)) {
        super::fuzz_groups(&[&[kind][..], &program].concat());
    }
}

// ---- KIP-848

fn beat(step: Step<Beat>) -> Beat {
    let Step::Send(beat) = step else { panic!("{step:?}") };
    beat
}

fn partitions(numbers: &[i32]) -> BTreeSet<Partition> {
    numbers.iter().map(|number| (Arc::from("x"), *number)).collect()
}

fn beaten(epoch: i32, assigned: Option<&[i32]>) -> Result<Beaten, Refusal> {
    Ok(Beaten { epoch, interval: Duration::from_secs(5), assigned: assigned.map(partitions) })
}

fn joined() -> (Modern, Instant) {
    let now = Instant::now();
    let mut member = Modern::new(GroupSettings::new("g"), [Arc::from("x")].into(), "me".to_owned(), now);
    let first = beat(member.step(now));
    assert_eq!((first.epoch, first.topics, first.owned), (0, Some([Arc::from("x")].into()), Some(partitions(&[]))));
    member.answer(beaten(1, Some(&[0, 1])), now);
    assert_eq!(member.step(now), Step::Tell(Change::Assigned(partitions(&[0, 1]))));
    assert!(matches!(member.step(now), Step::Wait(_)), "the program hasn't taken it in");
    member.hand().told();
    let ack = beat(member.step(now));
    assert_eq!((ack.epoch, ack.topics, ack.owned), (1, None, Some(partitions(&[0, 1]))));
    member.answer(beaten(1, None), now);
    (member, now)
}

#[test]
fn the_broker_takes_back_before_it_gives() {
    let (mut member, now) = joined();
    assert_eq!(member.step(now), Step::Wait(now + Duration::from_secs(5)));
    let later = now + Duration::from_secs(5);
    let usual = beat(member.step(later));
    assert_eq!((usual.topics, usual.owned), (None, None));
    member.answer(beaten(2, Some(&[1, 2])), later);
    assert_eq!(member.step(later), Step::Tell(Change::Revoked(partitions(&[0]))));
    member.hand().told();
    assert_eq!(member.step(later), Step::Tell(Change::Assigned(partitions(&[2]))));
    member.hand().told();
    assert_eq!(beat(member.step(later)).owned, Some(partitions(&[1, 2])));
}

#[test]
fn who_is_fenced_loses_everything_and_joins_anew() {
    let (mut member, now) = joined();
    let later = now + Duration::from_secs(5);
    beat(member.step(later));
    member.answer(Err(Refusal::Code(Code::FencedMemberEpoch.code(), None)), later);
    assert_eq!(member.step(later), Step::Tell(Change::Lost(partitions(&[0, 1]))));
    assert!(matches!(member.step(later), Step::Wait(_)), "not before it has let go");
    member.hand().told();
    let again = beat(member.step(later));
    assert_eq!((again.epoch, again.owned), (0, Some(partitions(&[]))));
}

#[test]
fn what_the_coordinator_may_have_missed_is_said_again() {
    let (mut member, now) = joined();
    member.subscribe([Arc::from("x"), Arc::from("y")].into());
    let news = beat(member.step(now));
    assert_eq!(news.topics.as_ref().map(BTreeSet::len), Some(2));
    member.answer(Err(Refusal::Silence), now);
    let Step::Wait(until) = member.step(now) else { panic!() };
    let again = beat(member.step(until));
    assert_eq!((again.topics, again.owned), (news.topics, Some(partitions(&[0, 1]))));
    member.answer(beaten(1, None), until);
    assert!(matches!(member.step(until), Step::Wait(_)), "that was all");
}

/// An assignment whose answer got lost comes again only to who says everything at once: also when the program is slow.
#[test]
fn a_lost_answer_is_asked_for_with_everything_once_the_program_is_done() {
    let (mut member, now) = joined();
    let later = now + Duration::from_secs(5);
    beat(member.step(later));
    member.answer(beaten(2, Some(&[1])), later);
    assert_eq!(member.step(later), Step::Tell(Change::Revoked(partitions(&[0]))));
    let later = later + Duration::from_secs(5);
    let meanwhile = beat(member.step(later));
    assert_eq!((meanwhile.topics, meanwhile.owned), (None, None));
    member.answer(Err(Refusal::Silence), later);
    member.hand().told();
    let Step::Wait(until) = member.step(later) else { panic!() };
    let all = beat(member.step(until));
    assert_eq!((all.topics, all.owned), (Some([Arc::from("x")].into()), Some(partitions(&[1]))));
}

#[test]
fn goodbyes_are_said() {
    let (mut member, now) = joined();
    member.leave();
    assert_eq!(beat(member.step(now)).epoch, -1);
    member.answer(beaten(-1, None), now);
    assert!(member.has_left());
    let (mut idle, now) = joined();
    let late = now + Duration::from_secs(301);
    for second in (3..301).step_by(4) {
        let at = now + Duration::from_secs(second);
        if let Step::Send(_) = idle.step(at) {
            idle.answer(beaten(1, None), at);
        }
    }
    assert_eq!(idle.step(late), Step::Tell(Change::Lost(partitions(&[0, 1]))));
    assert_eq!(beat(idle.step(late)).epoch, -1, "it doesn't poll");
    idle.answer(beaten(-1, None), late);
    idle.hand().told();
    assert!(matches!(idle.step(late), Step::Wait(_)));
    idle.polled(late);
    assert_eq!(beat(idle.step(late)).epoch, 0);
}

const SESSION: u64 = 2000;
