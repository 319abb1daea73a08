//! Groups over a bad network: every answer that a member gets, cut at every byte; and black holes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Committed, Config, Consumer, ConsumerConfig, GroupProtocol, GroupSettings, NewTopic, Producer,
    ProducerConfig, ProducerRecord, ReaderConfig, Rebalance, Reset, Subscription, TopicPartition,
};
use tokio::task::JoinSet;

use crate::support::{self, Proxy};
use crate::{GRACE, HEALED, LONG, config, cut_everywhere};

const OFFSET_COMMIT: i16 = 8;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const JOIN_GROUP: i16 = 11;
const HEARTBEAT: i16 = 12;
const LEAVE_GROUP: i16 = 13;
const SYNC_GROUP: i16 = 14;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

/// Two topics with a record in each of two partitions, and a way to them that isn't cut.
struct Place {
    broker: String,
    direct: Client,
    topics: [String; 2],
}

impl Place {
    async fn new() -> Option<Self> {
        let broker = support::bootstrap()?;
        let direct = Client::new(Config::new([&broker])).unwrap();
        let topics = ["cut-a", "cut-b"].map(support::fresh);
        let producer = Producer::new(&direct, ProducerConfig::new());
        for topic in &topics {
            direct.create_topic(&NewTopic::new(topic).partitions(2), LONG).await.unwrap();
            for number in 0..2 {
                let record = ProducerRecord::new(topic.as_str(), "one").partition(number);
                producer.send(record).await.unwrap().await.unwrap();
            }
        }
        Some(Self { broker, direct, topics })
    }

    fn both(&self) -> Subscription {
        Subscription::topics(&self.topics).unwrap()
    }

    fn first(&self) -> Subscription {
        Subscription::topics(&self.topics[..1]).unwrap()
    }
}

/// A member, and what it has and has had.
struct Member {
    consumer: Consumer,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    owned: BTreeSet<TopicPartition>,
    lost: usize,
}

impl Member {
    /// It knows no member of its group, and gives a sign of life often.
    fn new(client: &Client, group: &str, protocol: GroupProtocol) -> Self {
        let settings = GroupSettings::new(group)
            .protocol(protocol)
            .session_timeout(Duration::from_secs(6))
            .heartbeat_interval(Duration::from_millis(20));
        let config = ConsumerConfig::in_group(settings).reader(ReaderConfig::default().reset(Reset::Earliest));
        let mut consumer = Consumer::new(client, config.auto_commit(None).request_timeout(LONG));
        let seen = Arc::<Mutex<Seen>>::default();
        let told = seen.clone();
        consumer.on_rebalance(move |rebalance| {
            let mut seen = told.lock().unwrap();
            match rebalance {
                Rebalance::Assigned(partitions) => seen.owned.extend(partitions.iter().cloned()),
                Rebalance::Revoked(partitions) => seen.owned.retain(|of| !partitions.contains(of)),
                Rebalance::Lost(partitions) => {
                    seen.lost += 1;
                    seen.owned.retain(|of| !partitions.contains(of));
                }
                other => panic!("{other:?}"),
            }
        });
        Self { consumer, seen }
    }

    fn owned(&self) -> usize {
        self.seen.lock().unwrap().owned.len()
    }

    fn lost(&self) -> usize {
        self.seen.lock().unwrap().lost
    }

    /// Polls until it is so, and returns what was read.
    async fn poll_until(&mut self, mut so: impl FnMut(&Seen) -> bool) -> BTreeSet<(Arc<str>, i32, i64)> {
        let (until, mut read) = (Instant::now() + LONG, BTreeSet::new());
        while !so(&self.seen.lock().unwrap()) {
            assert!(Instant::now() < until, "{:?}", self.seen.lock().unwrap().owned);
            for of in self.consumer.poll(Duration::from_millis(2)).await.unwrap() {
                assert!(of.error.is_none(), "{:?}", of.error);
                read.extend(of.records.iter().map(|record| (of.topic.clone(), of.partition, record.offset)));
            }
        }
        read
    }

    async fn poll_for(&mut self, records: usize) {
        let (until, mut read) = (Instant::now() + LONG, BTreeSet::new());
        while read.len() < records {
            assert!(Instant::now() < until, "{read:?}");
            read.extend(self.poll_until_polled().await);
        }
    }

    async fn poll_until_polled(&mut self) -> BTreeSet<(Arc<str>, i32, i64)> {
        let mut polls = 0;
        self.poll_until(|_| {
            polls += 1;
            polls > 1
        })
        .await
    }
}

/// Who asks for a coordinator or committed offsets, or commits: it is done once it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_cut_at_every_byte() {
    let Some(place) = Place::new().await else { return };
    let (proxy, group) = (Proxy::start(&place.broker).await, support::fresh("cut-offsets"));
    let partition = TopicPartition::new(place.topics[0].as_str(), 1);
    let of = std::slice::from_ref(&partition);
    place.direct.commit(&group, &[(partition.clone(), Committed::at(42))].into(), LONG).await.unwrap();
    for api in [FIND_COORDINATOR, OFFSET_FETCH] {
        let ask = async || {
            let client = Client::new(config(&proxy.address)).unwrap();
            assert_eq!(client.committed(&group, of, LONG).await.unwrap()[&partition].offset, 42);
        };
        cut_everywhere(&proxy, api, 0, ask).await;
    }
    let client = Client::new(config(&proxy.address)).unwrap();
    let mut next = 0;
    let commit = async || {
        next += 1;
        client.commit(&group, &[(partition.clone(), Committed::at(next))].into(), LONG).await.unwrap();
        assert_eq!(place.direct.committed(&group, of, LONG).await.unwrap()[&partition].offset, next);
    };
    cut_everywhere(&proxy, OFFSET_COMMIT, 0, commit).await;
}

/// The first answer to a member that joins only names it. The coordinator waits for who never heard its name, so all of
/// them join at the same time, each in a group of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_joins_cut_at_every_byte() {
    let Some(place) = Place::new().await.map(Arc::new) else { return };
    let mut joining = JoinSet::new();
    for byte in 0..80 {
        let place = place.clone();
        joining.spawn(async move {
            let proxy = Proxy::start(&place.broker).await;
            proxy.cut_at(JOIN_GROUP, byte);
            let client = Client::new(config(&proxy.address)).unwrap();
            let mut member = Member::new(&client, &support::fresh("cut-join"), GroupProtocol::Classic);
            member.consumer.subscribe(place.both()).unwrap();
            member.poll_for(4).await;
            member.consumer.close().await.unwrap();
            proxy.was_cut().expect("an answer was cut") <= byte
        });
    }
    assert!(joining.join_all().await.contains(&true), "there are longer ones");
}

/// A member whose group shares out anew, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_cut_at_every_byte() {
    let Some(place) = Place::new().await else { return };
    for api in [JOIN_GROUP, SYNC_GROUP] {
        sharing_out_anew(&place, GroupProtocol::Classic, api).await;
    }
}

/// The same where the broker shares out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_of_consumer_groups_cut_at_every_byte() {
    // 3.9 has no such groups, so there is nothing to cut.
    if std::env::var("KAFKA_VERSION").is_ok_and(|version| version.starts_with('3')) {
        return;
    }
    let Some(place) = Place::new().await else { return };
    sharing_out_anew(&place, GroupProtocol::Consumer, CONSUMER_GROUP_HEARTBEAT).await;
    // The first of them, which joins.
    let proxy = Proxy::start(&place.broker).await;
    let join = async || {
        let client = Client::new(config(&proxy.address)).unwrap();
        let mut member = Member::new(&client, &support::fresh("cut-join"), GroupProtocol::Consumer);
        member.consumer.subscribe(place.both()).unwrap();
        member.poll_for(4).await;
        member.consumer.close().await.unwrap();
    };
    cut_everywhere(&proxy, CONSUMER_GROUP_HEARTBEAT, 0, join).await;
}

async fn sharing_out_anew(place: &Place, protocol: GroupProtocol, api: i16) {
    let proxy = Proxy::start(&place.broker).await;
    let client = Client::new(config(&proxy.address)).unwrap();
    let mut member = Member::new(&client, &support::fresh("cut-group"), protocol);
    member.consumer.subscribe(place.both()).unwrap();
    member.poll_until(|seen| seen.owned.len() == 4).await;
    let mut all = true;
    let change = async || {
        all = !all;
        member.consumer.subscribe(if all { place.both() } else { place.first() }).unwrap();
        let partitions = if all { 4 } else { 2 };
        member.poll_until(|seen| proxy.was_cut().is_some() && seen.owned.len() == partitions).await;
    };
    cut_everywhere(&proxy, api, 0, change).await;
    member.consumer.close().await.unwrap();
}

/// Signs of life whose answers break off: the member stays one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_cut_at_every_byte() {
    let Some(place) = Place::new().await else { return };
    let proxy = Proxy::start(&place.broker).await;
    let client = Client::new(config(&proxy.address)).unwrap();
    let mut member = Member::new(&client, &support::fresh("cut-beat"), GroupProtocol::Classic);
    member.consumer.subscribe(place.both()).unwrap();
    member.poll_for(4).await;
    let beat = async || {
        member.poll_until(|_| proxy.was_cut().is_some()).await;
        member.consumer.commit().await.unwrap();
    };
    // Who never gets an answer has to take it that it was forgotten.
    cut_everywhere(&proxy, HEARTBEAT, 1, beat).await;
    assert_eq!((member.owned(), member.lost()), (4, 0));
    member.consumer.close().await.unwrap();
}

/// Goodbyes whose answers break off: the member is gone all the same, and the next one needn't wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbyes_cut_at_every_byte() {
    let Some(place) = Place::new().await else { return };
    let (proxy, group) = (Proxy::start(&place.broker).await, support::fresh("cut-goodbye"));
    let client = Client::new(config(&proxy.address)).unwrap();
    let come_and_go = async || {
        let mut member = Member::new(&client, &group, GroupProtocol::Classic);
        member.consumer.subscribe(place.both()).unwrap();
        let started = Instant::now();
        member.poll_for(4).await;
        member.consumer.close().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    };
    cut_everywhere(&proxy, LEAVE_GROUP, 0, come_and_go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_in_black_holes() {
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        member_in_black_holes(protocol).await;
    }
}

/// Nothing that a member calls takes longer than it may, whatever is under way; afterwards it reads on.
async fn member_in_black_holes(protocol: GroupProtocol) {
    let Some(place) = Place::new().await else { return };
    let (proxy, group) = (Proxy::start(&place.broker).await, support::fresh("hole-group"));
    let within = Duration::from_millis(500);
    let client = Client::new(config(&proxy.address)).unwrap();
    let settings = GroupSettings::new(&group).protocol(protocol).session_timeout(Duration::from_secs(6));
    let config = ConsumerConfig::in_group(settings).reader(ReaderConfig::default().reset(Reset::Earliest));
    let mut consumer = Consumer::new(&client, config.auto_commit(Some(Duration::ZERO)));
    let in_time = |what: &str, start: Instant, within: Duration| {
        assert!(start.elapsed() < within + GRACE, "{what}: {:?}", start.elapsed());
    };
    consumer.subscribe(Subscription::topics([format!("^{}$", place.topics[0])]).unwrap()).unwrap();
    // What it asks first vanishes, then its joining, then what it asks when it has joined: always a little later.
    let (mut read, mut time, started) = (0, 0, Instant::now());
    while read < 2 {
        proxy.swallow(false);
        tokio::time::sleep(Duration::from_millis(time)).await;
        time += 20;
        proxy.swallow(true);
        let start = Instant::now();
        read += consumer.poll(within).await.unwrap().iter().map(|of| of.records.len()).sum::<usize>();
        in_time("poll", start, within);
        // The connections don't outlive it: the answer to who joins may take minutes, and what vanished isn't missed.
        proxy.swallow(false);
        proxy.cut();
        read += consumer.poll(within).await.unwrap().iter().map(|of| of.records.len()).sum::<usize>();
        assert!(started.elapsed() < Duration::from_secs(60), "{read} records were read");
    }
    // A commit by time is due, and then whatever comes of it.
    proxy.swallow(true);
    for _ in 0..4 {
        let start = Instant::now();
        consumer.poll(within).await.unwrap();
        in_time("poll", start, within);
    }
    proxy.swallow(false);
    let healed = Instant::now();
    let producer = Producer::new(&place.direct, ProducerConfig::new());
    let record = ProducerRecord::new(place.topics[0].as_str(), "two").partition(0);
    producer.send(record).await.unwrap().await.unwrap();
    while consumer.poll(within).await.unwrap().is_empty() {
        assert!(healed.elapsed() < HEALED + LONG, "{:?}", healed.elapsed());
    }
    println!("a member reads on {:?} after the network works", healed.elapsed());
    consumer.commit().await.unwrap();
    proxy.swallow(true);
    drop(consumer);

    // By hand: a commit, where the group left off, a goodbye.
    let settings = GroupSettings::new(&group);
    let config = ConsumerConfig::in_group(settings).auto_commit(None).request_timeout(within);
    let mut consumer = Consumer::new(&client, config);
    let partition = TopicPartition::new(place.topics[0].as_str(), 0);
    let start = Instant::now();
    assert!(consumer.resume_from_group(std::slice::from_ref(&partition)).await.is_err());
    in_time("resume_from_group", start, within);
    let start = Instant::now();
    assert!(consumer.commit_these(&[(partition, Committed::at(1))].into()).await.is_err());
    in_time("commit", start, within);
    let start = Instant::now();
    consumer.close().await.unwrap();
    in_time("close", start, within + within);
}
