//! A cluster that does what a program of bytes says, and a producer against it: what must hold whatever happens.
//!
//! Requests are real bytes. Those of a lost connection may still arrive later, in their order, after all that the producer
//! has done since.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is the finding"
)]
#![allow(clippy::cast_possible_truncation, reason = "numbers are small")]

mod promises;
mod topic;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use topic::{TOO_LARGE, Topic};

use super::{Action, Event, Outgoing, Places, Refusal, Returned, Rules, State};
use crate::kafka::cluster::Lane;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::produce::batch::Body;
use crate::kafka::produce::report::{Ack, Delivery, Report};
use crate::kafka::produce::{Partitioner, ProducerRecord};
use crate::kafka::record::Compression;

/// Runs a program, heals the cluster, and looks at what is in the logs and in the reports.
pub(in crate::kafka) fn run(program: &[u8]) {
    let mut bytes = program.iter().copied();
    let mut world = World::new(bytes.next().unwrap_or(0));
    while let Some(what) = bytes.next() {
        world.step(what, &mut bytes);
        world.look();
    }
    world.heal();
    world.judge();
}

struct World {
    state: State,
    now: Duration,
    rules: Rules,
    topics: Vec<Topic>,
    /// What is on its way to each broker, by connection.
    lanes: BTreeMap<Way, VecDeque<Request>>,
    /// Somebody polls, so that the second connections aren't free.
    polled: bool,
    /// What was given up and may still arrive.
    ghosts: VecDeque<(i32, VecDeque<Request>)>,
    refreshes: VecDeque<Arc<str>>,
    asked_id: usize,
    compressing: VecDeque<Event>,
    next_id: i64,
    sent: Vec<Sent>,
    /// Kept, so that no other one gets its address.
    settled: Vec<Arc<Report>>,
    charged: usize,
    freed: usize,
    reported: HashMap<usize, HashSet<i32>>,
    next_broker_error: HashMap<i32, i16>,
    /// Another producer has taken our id somewhere, so that nothing is promised of what was under way.
    fenced: bool,
}

type Way = (i32, Lane);

struct Request {
    number: u64,
    departed: bool,
    parcels: Vec<Parcel>,
}

struct Parcel {
    slot: usize,
    place: (u64, i32),
    topic: usize,
    topic_id: Uuid,
    partition: i32,
    bytes: Bytes,
    body: Body,
    /// Its time wasn't up when the request departed.
    goes: bool,
}

struct Sent {
    id: u64,
    topic: usize,
    delivery: Delivery,
}

impl World {
    fn new(kind: u8) -> Self {
        let rules = Rules {
            idempotent: kind & 1 == 0,
            batch_size: 200,
            request_size: 500,
            linger: Duration::from_millis(if kind & 2 == 0 { 0 } else { 20 }),
            compression: if kind & 4 == 0 { Compression::None } else { Compression::Gzip },
            max_in_flight: 5,
            share_from: 150,
            partitioner: Partitioner::Java,
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
        };
        let topic = |number: usize| Topic {
            name: format!("t{number}").into(),
            id: Uuid::from_u128(number as u128 + 1),
            exists: true,
            leaders: vec![1, 2],
            logs: HashMap::new(),
        };
        Self {
            state: State::new(rules.clone(), 7),
            now: Duration::ZERO,
            rules,
            topics: (0..2).map(topic).collect(),
            lanes: BTreeMap::new(),
            polled: false,
            ghosts: VecDeque::new(),
            refreshes: VecDeque::new(),
            asked_id: 0,
            compressing: VecDeque::new(),
            next_id: 100,
            sent: Vec::new(),
            settled: Vec::new(),
            charged: 0,
            freed: 0,
            reported: HashMap::new(),
            next_broker_error: HashMap::new(),
            fenced: false,
        }
    }

    fn step(&mut self, what: u8, bytes: &mut impl Iterator<Item = u8>) {
        let mut byte = || bytes.next().unwrap_or(0);
        match what % 20 {
            0..=5 => self.append(usize::from(what / 20 % 2), byte()),
            6..=8 => self.answer(way(byte()), true),
            9 => self.answer(way(byte()), false),
            10 => {
                let (way, arrived) = (way(byte()), byte());
                self.cut(way, usize::from(arrived % 8), arrived & 8 != 0);
            }
            11 => self.haunt(),
            12 => {
                let (topic, to) = (byte(), i32::from(byte() % 3) + 1);
                let leaders = &mut self.topics[usize::from(topic % 2)].leaders;
                let at = usize::from(topic / 2) % leaders.len();
                leaders[at] = to;
            }
            13 => self.elapse(Duration::from_millis(u64::from(byte()))),
            14 => self.elapse(Duration::from_millis(u64::from(byte()) * 100)),
            15 => self.wake(),
            16 => self.refreshed(byte()),
            17 => match byte() % 5 {
                4 => self.polled = !self.polled,
                0 => self.identify(Err(Error::from_code(15, "can't get an id"))),
                1 => self.compressed(),
                _ => self.identify(Ok(())),
            },
            18 => {
                let (broker, error) = (i32::from(byte() % 3) + 1, usize::from(byte()) % ERRORS.len());
                self.next_broker_error.insert(broker, ERRORS[error]);
            }
            _ => self.disaster(byte()),
        }
    }

    fn disaster(&mut self, what: u8) {
        let topic = &mut self.topics[usize::from(what / 4 % 2)];
        match what % 4 {
            0 => topic.exists = false,
            1 => {
                topic.exists = true;
                topic.id = Uuid::from_u128(topic.id.as_u128() + 10);
            }
            2 => topic.leaders.push(3),
            _ if what > 200 => {
                // Somebody else with our producer id.
                self.fenced = true;
                for log in topic.logs.values_mut() {
                    log.producers.values_mut().for_each(|producer| producer.epoch = producer.epoch.saturating_add(3));
                }
            }
            _ => {
                self.state.flush();
                self.handle(Event::Tick);
            }
        }
    }

    fn append(&mut self, topic: usize, how: u8) {
        let id = self.sent.len() as u64;
        let mut value = id.to_be_bytes().to_vec();
        value.resize(8 + usize::from(how % 5) * 30, 7);
        let mut record = ProducerRecord::new(Arc::clone(&self.topics[topic].name), value);
        match how / 5 % 4 {
            0 => record = record.partition(i32::from(how / 20 % 3)),
            1 => record = record.key(vec![how / 20]),
            _ => {}
        }
        let charge = record.charge();
        match self.state.append(&record, 1000 + id as i64, TIMEOUT, charge, self.now) {
            Ok((delivery, news)) => {
                self.sent.push(Sent { id, topic, delivery });
                self.charged += charge;
                if news {
                    self.handle(Event::Tick);
                }
            }
            Err(Refusal::Topic | Refusal::Partition(_)) => {
                let places = self.places(topic);
                self.state.learn(&self.topics[topic].name, places, self.now);
            }
            Err(Refusal::Record(error)) => panic!("{error}"),
        }
    }

    fn places(&self, topic: usize) -> Option<Places> {
        let topic = &self.topics[topic];
        topic.exists.then(|| Places { id: topic.id, leaders: topic.leaders.iter().copied().map(Some).collect() })
    }

    fn handle(&mut self, event: Event) {
        let actions = self.state.handle(event, self.now, &|_| !self.polled);
        actions.into_iter().for_each(|action| self.perform(action));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send(outgoing) => self.send(outgoing),
            Action::AskId => self.asked_id += 1,
            Action::Refresh { topic, .. } => self.refreshes.push_back(topic),
            Action::Compress { slot, place, body } => {
                let body = body.compressed(self.rules.compression, None).map_err(|e| panic!("{e}"));
                self.compressing.push_back(Event::Compressed { slot, place, body });
            }
            Action::Report { report, piece, freed } => {
                let seen = self.reported.entry(Arc::as_ptr(&report) as usize).or_default();
                for at in piece.first..piece.first + piece.count {
                    assert!(seen.insert(at), "a record is reported once");
                }
                self.freed += freed;
                report.settle(piece);
                self.settled.push(report);
            }
        }
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { request, broker, lane, parcels } = outgoing;
        assert!(lane == Lane::Main || !self.polled, "nothing is sent behind a poll");
        let mut size = 0;
        let mut partitions = HashSet::new();
        let parcels: Vec<_> = parcels
            .into_iter()
            .map(|parcel| {
                let topic = self.topics.iter().position(|topic| topic.name == parcel.topic).unwrap();
                assert!(partitions.insert((topic, parcel.partition)), "one batch of a partition in a request");
                let bytes = parcel.body.stamped(parcel.stamp, self.rules.compression, None).unwrap();
                size += bytes.len();
                let body = Body::Done { bytes: bytes.clone(), stamp: parcel.stamp };
                let (slot, place) = (parcel.slot, parcel.place);
                let (topic_id, partition) = (parcel.topic_id, parcel.partition);
                Parcel { slot, place, topic, topic_id, partition, bytes, body, goes: true }
            })
            .collect();
        assert!(!parcels.is_empty() && size <= self.rules.request_size, "{size} bytes");
        for (other, requests) in self.lanes.iter().filter(|(other, _)| other.0 == broker && other.1 != lane) {
            let out = |parcel: &Parcel| parcels.iter().any(|ours| ours.slot == parcel.slot);
            let both = requests.iter().flat_map(|request| &request.parcels).any(out);
            assert!(!both, "a partition is out over {other:?} and {lane:?}");
        }
        let mut request = Request { number: request, departed: false, parcels };
        // The others wait for a connection until something becomes of them.
        if request.number.is_multiple_of(2) {
            self.depart(&mut request);
        }
        self.lanes.entry((broker, lane)).or_default().push_back(request);
        let over = |lane| self.lanes.get(&(broker, lane)).map_or(0, VecDeque::len);
        assert!(over(Lane::Main) + over(Lane::Spare) <= self.rules.max_in_flight, "requests in flight");
    }

    fn depart(&mut self, request: &mut Request) {
        if !std::mem::replace(&mut request.departed, true) {
            for parcel in &mut request.parcels {
                parcel.goes = self.state.depart(parcel.slot, parcel.place);
            }
        }
    }

    /// The first request arrives at its broker, and its answer at the producer or not at all.
    fn answer(&mut self, way: Way, comes_back: bool) {
        let (broker, _) = way;
        if !comes_back {
            return self.cut(way, 1, false);
        }
        let Some(mut request) = self.lanes.get_mut(&way).and_then(VecDeque::pop_front) else { return };
        self.depart(&mut request);
        let error = self.next_broker_error.remove(&broker);
        let results: Vec<_> = request.parcels.iter().map(|parcel| self.arrive(broker, parcel, error)).collect();
        self.answered(request, results);
    }

    fn answered(&mut self, request: Request, results: Vec<Result<Ack, Error>>) {
        let returned = request.parcels.into_iter().zip(results).map(|(parcel, result)| Returned {
            slot: parcel.slot,
            place: parcel.place,
            body: Some(parcel.body),
            result,
        });
        let event = Event::Answered { request: request.number, quiet: Duration::ZERO, parcels: returned.collect() };
        self.handle(event);
    }

    /// A connection ends: the first requests have arrived, the others never do, or later.
    fn cut(&mut self, way: Way, arrived: usize, later: bool) {
        let (broker, _) = way;
        let lane = std::mem::take(self.lanes.entry(way).or_default());
        if lane.is_empty() {
            return;
        }
        let mut ghosts = VecDeque::new();
        for (at, mut request) in lane.into_iter().enumerate() {
            if at < arrived || later {
                self.depart(&mut request);
            }
            let copies = request.parcels.iter().map(Parcel::copy).collect();
            if at < arrived {
                request.parcels.iter().for_each(|parcel| _ = self.arrive(broker, parcel, None));
            } else if later {
                ghosts.push_back(Request { number: 0, departed: true, parcels: copies });
            }
            let lost = Error::new(ErrorKind::Disconnected, "cut");
            let lost = if request.departed { lost } else { lost.unsent() };
            let results = request.parcels.iter().map(|_| Err(lost.clone())).collect();
            self.answered(request, results);
        }
        self.ghosts.push_back((broker, ghosts));
    }

    fn haunt(&mut self) {
        let Some((broker, mut requests)) = self.ghosts.pop_front() else { return };
        let Some(request) = requests.pop_front() else { return };
        request.parcels.iter().for_each(|parcel| _ = self.arrive(broker, parcel, None));
        self.ghosts.push_front((broker, requests));
    }

    /// What a broker does with a batch.
    fn arrive(&mut self, broker: i32, parcel: &Parcel, error: Option<i16>) -> Result<Ack, Error> {
        if !parcel.goes {
            return Ok(Ack::default());
        }
        let appended =
            self.topics[parcel.topic].append(broker, parcel.topic_id, parcel.partition, &parcel.bytes, error);
        appended.map_err(|code| Error::from_code(code, "can't write"))
    }

    fn elapse(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.state.next_wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.handle(Event::Tick);
            let next = self.state.next_wake();
            assert!(next.is_none_or(|next| next > self.now), "wakes without end: {next:?} at {:?}", self.now);
        }
        self.now = end;
    }

    fn wake(&mut self) {
        if let Some(wake) = self.state.next_wake() {
            self.elapse(wake.saturating_sub(self.now));
        }
    }

    fn refreshed(&mut self, how: u8) {
        let Some(name) = self.refreshes.pop_front() else { return };
        let topic = self.topics.iter().position(|topic| topic.name == name).unwrap();
        let found = match how % 8 {
            0 => Err(Error::new(ErrorKind::TimedOut, "no metadata in time").unsent()),
            1 => Ok(None),
            2 => Ok(self.places(topic).map(|places| Places { leaders: vec![None; places.leaders.len()], ..places })),
            _ => Ok(self.places(topic)),
        };
        self.handle(Event::Topic { name, found });
    }

    fn identify(&mut self, how: Result<(), Error>) {
        if self.asked_id == 0 {
            return;
        }
        assert_eq!(self.asked_id, 1, "one question at a time");
        self.asked_id = 0;
        self.next_id += 1;
        let id = self.next_id;
        self.handle(Event::Id(how.map(|()| (id, 0))));
    }

    fn compressed(&mut self) {
        if let Some(event) = self.compressing.pop_front() {
            self.handle(event);
        }
    }

    /// From now on everything works.
    fn heal(&mut self) {
        self.topics.iter_mut().for_each(|topic| topic.exists = true);
        self.next_broker_error.clear();
        self.state.flush();
        self.handle(Event::Tick);
        let since = self.now;
        while !self.state.is_idle() {
            while !self.refreshes.is_empty() {
                self.refreshed(7);
            }
            self.identify(Ok(()));
            while !self.compressing.is_empty() {
                self.compressed();
            }
            (0..6).for_each(|at| self.answer(way(at), true));
            self.look();
            let quiet = self.refreshes.is_empty() && self.asked_id == 0 && self.compressing.is_empty();
            if quiet && !self.state.is_idle() && self.lanes.values().all(VecDeque::is_empty) {
                self.wake();
            }
            assert!(self.now - since < Duration::from_secs(15), "{:?}", self.state);
        }
        while !self.ghosts.is_empty() {
            self.haunt();
            let empty = |(_, requests): &(i32, VecDeque<Request>)| requests.is_empty();
            while self.ghosts.front().is_some_and(empty) {
                self.ghosts.pop_front();
            }
        }
    }
}

impl Parcel {
    fn copy(&self) -> Self {
        let Body::Done { bytes, stamp } = &self.body else { panic!("a request has bytes") };
        let body = Body::Done { bytes: bytes.clone(), stamp: *stamp };
        let Self { slot, place, topic, topic_id, partition, bytes, body: _, goes } = self;
        let (bytes, goes) = (bytes.clone(), *goes);
        Self {
            slot: *slot,
            place: *place,
            topic: *topic,
            topic_id: *topic_id,
            partition: *partition,
            bytes,
            body,
            goes,
        }
    }
}

fn way(byte: u8) -> Way {
    (i32::from(byte % 3) + 1, if (byte / 3).is_multiple_of(2) { Lane::Main } else { Lane::Spare })
}

const TIMEOUT: Duration = Duration::from_secs(30);
/// What brokers say now and then; also CORRUPT_MESSAGE, NOT_LEADER, NOT_ENOUGH_REPLICAS, TOPIC_AUTHORIZATION_FAILED,
/// KAFKA_STORAGE_ERROR and INVALID_RECORD.
const ERRORS: [i16; 9] = [2, 6, 7, TOO_LARGE, 19, 20, 29, 56, 87];
