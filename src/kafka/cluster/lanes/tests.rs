//! One rule after the other, and all of them with brokers that answer in turn, whatever happens.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

/// What a broker's connections are made of: for each, the requests that aren't answered.
type Wires = Rc<RefCell<Vec<Vec<Sent>>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    number: usize,
    lane: Lane,
    given_up: bool,
}

#[derive(Debug, Clone)]
struct Fake {
    at: usize,
    wires: Wires,
}

impl Road for Fake {
    fn is_blocked(&self) -> bool {
        self.sent().iter().any(|sent| sent.given_up && matches!(sent.lane, Lane::Poll | Lane::Join))
    }

    fn another(&self) -> Self {
        self.wires.borrow_mut().push(Vec::new());
        Self { at: self.wires.borrow().len() - 1, wires: self.wires.clone() }
    }
}

impl Fake {
    fn sent(&self) -> Vec<Sent> {
        self.wires.borrow()[self.at].clone()
    }
}

/// A request that has neither been answered nor given up.
struct Request {
    number: usize,
    lane: Lane,
    pass: Pass,
    road: Fake,
    sent: bool,
}

/// A broker and its client. What may go goes at once.
struct World {
    wires: Wires,
    lanes: Lanes<Fake>,
    now: Instant,
    next: usize,
    requests: Vec<Request>,
    /// When a poll or a join last ended.
    held: Option<Instant>,
}

impl World {
    fn new() -> Self {
        let wires = Wires::new(vec![Vec::new()].into());
        let lanes = Lanes::new(Fake { at: MAIN, wires: wires.clone() });
        Self { wires, lanes, now: Instant::now(), next: 0, requests: Vec::new(), held: None }
    }

    /// Its number, and the wire that it goes over.
    fn enter(&mut self, lane: Lane) -> Option<(usize, usize)> {
        let wires = self.wires.borrow().len();
        let second = self.lanes.home(Lane::Poll).clone();
        let taken = second.is_blocked() || self.requests.iter().any(|other| other.pass == Pass::Join);
        let free = (2..wires).any(|at| self.wires.borrow()[at].is_empty() && self.is_unused(at));
        let (pass, road) = self.lanes.enter(lane, self.now)?;
        let (number, at) = (self.next, road.at);
        match lane {
            Lane::Main => assert_eq!(at, MAIN),
            Lane::Spare => {
                assert!(at == SECOND && self.held.is_none_or(|held| self.now >= held + AGAIN), "who polls will again");
            }
            Lane::Poll => assert_eq!(at, if taken { MAIN } else { SECOND }),
            Lane::Join if taken => assert!(at > SECOND && self.is_unused(at)),
            Lane::Join => assert_eq!(at, SECOND),
        }
        let is_new = self.wires.borrow().len() > wires;
        assert!(!is_new || lane == Lane::Join && taken && !free, "a connection too many");
        self.next += 1;
        self.requests.push(Request { number, lane, pass, road, sent: false });
        self.go();
        Some((number, at))
    }

    fn is_unused(&self, at: usize) -> bool {
        self.requests.iter().all(|request| request.road.at != at)
    }

    /// Sends what may go.
    fn go(&mut self) {
        for request in &mut self.requests {
            if request.sent || !self.lanes.may_go(request.pass) {
                continue;
            }
            request.sent = true;
            let mut wires = self.wires.borrow_mut();
            let ahead = &mut wires[request.road.at];
            let waits_for = |sent: &Sent| match (request.lane, sent.lane) {
                // A poll is a short one over the first, and those of one connection wait for each other.
                (Lane::Main, Lane::Main | Lane::Poll) | (Lane::Spare, Lane::Spare) | (Lane::Poll, Lane::Poll) => false,
                (Lane::Poll, Lane::Main) => request.road.at != MAIN,
                // These end soon.
                (Lane::Poll, Lane::Spare) | (Lane::Join, Lane::Spare | Lane::Poll) => !sent.given_up,
                _ => true,
            };
            assert!(!ahead.iter().any(waits_for), "{:?} behind {ahead:?}", request.lane);
            ahead.push(Sent { number: request.number, lane: request.lane, given_up: false });
        }
    }

    fn is_sent(&self, number: usize) -> bool {
        self.requests.iter().any(|request| request.number == number && request.sent)
    }

    /// The broker answers what came first over a connection.
    fn answer(&mut self, at: usize) {
        if self.wires.borrow()[at].is_empty() {
            return;
        }
        let Sent { number, given_up, .. } = self.wires.borrow_mut()[at].remove(0);
        if !given_up {
            self.leave(number);
        }
    }

    /// Nobody waits for it any more.
    fn give_up(&mut self, number: usize) {
        let mark = |sent: &mut Sent| sent.given_up |= sent.number == number;
        self.wires.borrow_mut().iter_mut().flatten().for_each(mark);
        self.leave(number);
    }

    fn leave(&mut self, number: usize) {
        let at = self.requests.iter().position(|request| request.number == number).unwrap();
        let Request { pass, .. } = self.requests.remove(at);
        self.lanes.leave(pass, self.now);
        if matches!(pass, Pass::Poll | Pass::Join) {
            self.held = Some(self.now);
        }
        self.go();
    }
}

#[test]
fn a_poll_waits_for_what_was_lent_and_nothing_is_lent_beside_it_or_soon_after() {
    let mut world = World::new();
    let (spare, _) = world.enter(Lane::Spare).unwrap();
    let (poll, _) = world.enter(Lane::Poll).unwrap();
    assert!(world.is_sent(spare) && !world.is_sent(poll) && world.enter(Lane::Spare).is_none());
    world.answer(SECOND);
    assert!(world.is_sent(poll));
    world.answer(SECOND);
    world.now += AGAIN - Duration::from_millis(1);
    assert!(!world.lanes.has_spare(world.now) && world.enter(Lane::Spare).is_none());
    world.now += Duration::from_millis(1);
    assert!(world.lanes.has_spare(world.now) && world.enter(Lane::Spare).is_some());
}

#[test]
fn a_join_waits_for_polls_and_no_poll_begins_beside_it() {
    let mut world = World::new();
    let (poll, _) = world.enter(Lane::Poll).unwrap();
    let (join, at) = world.enter(Lane::Join).unwrap();
    assert!(world.is_sent(poll) && !world.is_sent(join) && at == SECOND);
    let (brief, at) = world.enter(Lane::Poll).unwrap();
    assert!(world.is_sent(brief) && at == MAIN);
    world.answer(SECOND);
    assert!(world.is_sent(join));
    world.answer(SECOND);
    assert_eq!(world.enter(Lane::Poll).unwrap().1, SECOND);
}

#[test]
fn who_joins_beside_another_gets_a_connection_that_is_used_again() {
    let mut world = World::new();
    let joins = [(); 3].map(|()| world.enter(Lane::Join).unwrap());
    assert_eq!(joins.map(|(_, at)| at), [SECOND, 2, 3]);
    world.answer(2);
    assert_eq!(world.enter(Lane::Join).unwrap().1, 2);
    world.give_up(joins[2].0); // the broker still holds it back
    assert_eq!(world.enter(Lane::Join).unwrap().1, 4);
    world.answer(3);
    assert_eq!(world.enter(Lane::Join).unwrap().1, 3);
}

#[test]
fn nothing_goes_behind_what_was_given_up_until_it_is_answered() {
    let mut world = World::new();
    let (join, _) = world.enter(Lane::Join).unwrap();
    world.give_up(join);
    world.now += AGAIN;
    assert!(!world.lanes.has_spare(world.now));
    assert_eq!(world.enter(Lane::Poll).unwrap().1, MAIN);
    assert_eq!(world.enter(Lane::Join).unwrap().1, 2);
    world.answer(SECOND);
    assert!(world.lanes.has_spare(world.now));
    assert_eq!(world.enter(Lane::Poll).unwrap().1, SECOND);
}

#[test]
fn a_poll_over_the_first_connection_is_a_short_one() {
    let long = Duration::from_secs(1);
    assert_eq!((Pass::Poll.hold(long), Pass::Briefly.hold(long)), (long, BRIEFLY));
    assert_eq!(Pass::Briefly.hold(Duration::ZERO), Duration::ZERO);
}

#[test]
fn a_quota_s_quiet_lasts_until_the_last_that_was_said() {
    let World { mut lanes, now, .. } = World::new();
    let second = Duration::from_secs(1);
    assert_eq!(lanes.quiet_until(now), None);
    lanes.throttled(now + 5 * second);
    lanes.throttled(now + second);
    assert_eq!(lanes.quiet_until(now + second), Some(now + 5 * second));
    assert_eq!(lanes.quiet_until(now + 5 * second), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_happens(program in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut world = World::new();
        for step in program {
            let value = usize::from(step >> 3);
            match step % 8 {
                0 => _ = world.enter(Lane::Main),
                1 => _ = world.enter(Lane::Spare),
                2 => _ = world.enter(Lane::Poll),
                3 => _ = world.enter(Lane::Join),
                4 | 5 => {
                    let wires = world.wires.borrow().len();
                    world.answer(value % wires);
                }
                6 if !world.requests.is_empty() => {
                    let number = world.requests[value % world.requests.len()].number;
                    world.give_up(number);
                }
                _ => world.now += Duration::from_millis(250) * u32::from(step >> 3),
            }
        }
        // Once all is answered, nobody is left waiting.
        while world.wires.borrow().iter().any(|wire| !wire.is_empty()) {
            let wires = world.wires.borrow().len();
            (0..wires).for_each(|at| world.answer(at));
        }
        world.now += AGAIN;
        assert!(world.requests.is_empty() && world.lanes.has_spare(world.now));
    }
}

const MAIN: usize = 0;
const SECOND: usize = 1;
