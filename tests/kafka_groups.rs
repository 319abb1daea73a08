//! Groups whose members are ours, librdkafka's, kafka-python's and Java's: coming, leaving and dying.
#![cfg(feature = "kafka")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafkacrypto::kafka::{
    Assignor, Client, Committed, Config, Consumer, ConsumerConfig, GroupProtocol, GroupSettings, NewTopic, OffsetAt,
    Producer, ProducerConfig, ProducerRecord, ReaderConfig, Rebalance, Reset, Start, Subscription, TopicPartition,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(120);
/// Records of the tests with members of ours alone.
const WRITTEN: usize = 400;

/// What a member has, and has read.
#[derive(Default)]
struct Seen {
    owned: BTreeSet<i32>,
    read: BTreeSet<(i32, i64)>,
    /// Assignments without anything being given back before.
    kept: usize,
    written: Option<usize>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn owned(&self) -> BTreeSet<i32> {
        self.with(|seen| seen.owned.clone())
    }
}

/// A member of another implementation, or the writer.
struct Other {
    child: Child,
    seen: Shared,
    /// Takes what it prints, to the end.
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Other {
    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let seen = Shared::default();
        let (lines, shared) = (BufReader::new(child.stdout.take().unwrap()).lines(), seen.clone());
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                shared.with(|seen| take(seen, &event));
            }
        });
        Self { child, seen, reading: Some(reading) }
    }

    /// Ends its standard input and asks it to end, and waits.
    fn leave(mut self) -> Shared {
        drop(self.child.stdin.take());
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        self.ended()
    }

    fn finish(mut self) -> Shared {
        drop(self.child.stdin.take());
        self.ended()
    }

    fn die(mut self) -> Shared {
        self.child.kill().unwrap();
        self.ended()
    }

    /// All that it has said.
    fn ended(&mut self) -> Shared {
        self.child.wait().unwrap();
        self.reading.take().unwrap().join().unwrap();
        self.seen.clone()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn take(seen: &mut Seen, event: &Value) {
    let numbers = || {
        let partitions = event["partitions"].as_array().into_iter().flatten();
        partitions.filter_map(|of| of["partition"].as_i64()).map(|number| i32::try_from(number).unwrap())
    };
    match event["name"].as_str().unwrap_or_default() {
        "partitions_assigned" => seen.owned.extend(numbers()),
        "partitions_revoked" => numbers().for_each(|number| _ = seen.owned.remove(&number)),
        "record_data" => {
            let partition = event["partition"].as_i64().unwrap();
            seen.read.insert((i32::try_from(partition).unwrap(), event["offset"].as_i64().unwrap()));
        }
        "written" => seen.written = event["count"].as_u64().map(|count| usize::try_from(count).unwrap()),
        _ => {}
    }
}

/// A member of ours, which polls until it is told to leave.
struct Ours {
    seen: Shared,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Ours {
    fn join(bootstrap: &str, topic: &str, settings: GroupSettings) -> Self {
        Self::over(&Client::new(Config::new(bootstrap.split(','))).unwrap(), topic, settings)
    }

    fn over(client: &Client, topic: &str, settings: GroupSettings) -> Self {
        let config = ConsumerConfig::in_group(settings).reader(ReaderConfig::default().reset(Reset::Earliest));
        let mut consumer = Consumer::new(client, config.auto_commit(Some(Duration::from_millis(500))));
        let seen = Shared::default();
        let shared = seen.clone();
        consumer.on_rebalance(move |rebalance| shared.with(|seen| change(seen, rebalance)));
        consumer.subscribe(Subscription::topics([topic]).unwrap()).unwrap();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                for fetched in consumer.poll(Duration::from_millis(100)).await.unwrap() {
                    assert!(fetched.error.is_none(), "{:?}", fetched.error);
                    let offsets = fetched.records.iter().map(|record| (fetched.partition, record.offset));
                    shared.with(|seen| seen.read.extend(offsets));
                }
            }
            consumer.close().await.unwrap();
        });
        Self { seen, stop: Some(stop), task }
    }

    async fn leave(mut self) -> Shared {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        self.seen
    }
}

fn change(seen: &mut Seen, rebalance: &Rebalance) {
    match rebalance {
        Rebalance::Assigned(partitions) => {
            seen.kept += usize::from(!seen.owned.is_empty());
            seen.owned.extend(partitions.iter().map(|of| of.partition));
        }
        Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
            partitions.iter().for_each(|of| _ = seen.owned.remove(&of.partition));
        }
        _ => {}
    }
}

#[derive(Clone, Copy)]
enum Client_ {
    Confluent,
    KafkaPython,
    Java,
}

struct Group {
    bootstrap: String,
    topic: String,
    name: String,
    strategy: &'static str,
}

impl Group {
    fn other(&self, client: Client_) -> Other {
        Other::spawn(match client {
            Client_::Confluent => self.python("confluent"),
            Client_::KafkaPython => self.python("kafka-python"),
            Client_::Java => self.java(),
        })
    }

    fn python(&self, client: &str) -> Command {
        let mut command = Command::new(std::env::var("KAFKACRYPTO_PEER_PYTHON").unwrap());
        command.arg("tests/peer/member.py").args([client, &self.bootstrap, &self.topic, &self.name, self.strategy]);
        command
    }

    fn java(&self) -> Command {
        let mut command = Command::new(std::env::var("KAFKACRYPTO_BROKER").unwrap());
        command.args(["tool", "org.apache.kafka.tools.VerifiableConsumer", "--verbose", "--enable-autocommit"]);
        command.args(["--bootstrap-server", &self.bootstrap, "--topic", &self.topic, "--group-id", &self.name]);
        let assignor = match self.strategy {
            "range" => "RangeAssignor",
            "roundrobin" => "RoundRobinAssignor",
            "cooperative-sticky" => "CooperativeStickyAssignor",
            _ => {
                command.args(["--group-protocol", "CONSUMER"]);
                return command;
            }
        };
        command.args(["--session-timeout", "6000", "--assignment-strategy"]);
        command.arg(format!("org.apache.kafka.clients.consumer.{assignor}"));
        command
    }

    /// Writes records to some of its partitions in turn, and returns how many.
    async fn write(&self, client: &Client, partitions: usize) -> usize {
        let producer = Producer::new(client, ProducerConfig::new());
        let mut sent = Vec::new();
        for number in 0..WRITTEN {
            let partition = i32::try_from(number % partitions).unwrap();
            let record = ProducerRecord::new(self.topic.as_str(), number.to_string()).partition(partition);
            sent.push(producer.send(record).await.unwrap());
        }
        for delivery in sent {
            delivery.await.unwrap();
        }
        WRITTEN
    }

    fn ours(&self) -> Ours {
        let settings = GroupSettings::new(&self.name)
            .session_timeout(Duration::from_secs(6))
            .heartbeat_interval(Duration::from_millis(500));
        let settings = match Assignor::named(self.strategy) {
            Some(assignor) => settings.assignors([assignor]),
            None => settings.protocol(GroupProtocol::Consumer),
        };
        Ours::join(&self.bootstrap, &self.topic, settings)
    }

    /// Waits until each has so many partitions, every one at one place.
    async fn shares(&self, members: &[&Shared], shares: &[usize]) {
        if let Err(owned) = self.shares_within(LONG, members, shares).await {
            panic!("{}: {owned}, not {shares:?}", self.strategy);
        }
    }

    async fn shares_within(&self, time: Duration, members: &[&Shared], shares: &[usize]) -> Result<(), String> {
        let started = std::time::Instant::now();
        loop {
            let owned: Vec<_> = members.iter().map(|member| member.owned()).collect();
            let all: BTreeSet<i32> = owned.iter().flatten().copied().collect();
            let mut sizes: Vec<_> = owned.iter().map(BTreeSet::len).collect();
            sizes.sort_unstable();
            if sizes == shares && all.len() == 6 {
                return Ok(());
            }
            if started.elapsed() > time {
                return Err(format!("{owned:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A member of theirs that has all partitions. A kafka-python that is alone got none in two minutes once: it is
    /// started again.
    async fn theirs_alone(&self, client: Client_) -> Other {
        let other = self.other(client);
        match self.shares_within(LONG / 4, &[&other.seen], &[6]).await {
            Ok(()) => other,
            Err(_) => {
                other.die();
                let other = self.other(client);
                self.shares(&[&other.seen], &[6]).await;
                other
            }
        }
    }
}

async fn group(strategy: &'static str) -> Option<Group> {
    let bootstrap = support::bootstrap()?;
    support::python()?;
    let (topic, name) = (support::fresh("group-topic"), support::fresh("group"));
    let client = Client::new(Config::new([&bootstrap])).unwrap();
    client.create_topic(&NewTopic::new(&topic).partitions(6), LONG).await.unwrap();
    client.close().await;
    Some(Group { bootstrap, topic, name, strategy })
}

/// Members come, leave and die; whoever they are, every record is read.
async fn mixed(client: Client_, strategy: &'static str, theirs_first: bool) {
    let Some(group) = group(strategy).await else { return };
    let mut writer = Command::new(std::env::var("KAFKACRYPTO_PEER_PYTHON").unwrap());
    writer.args(["tests/peer/member.py", "write", &group.bootstrap, &group.topic, "6"]);
    let writer = Other::spawn(writer);
    let (first, other) = if theirs_first {
        let other = group.theirs_alone(client).await;
        (group.ours(), other)
    } else {
        let first = group.ours();
        group.shares(&[&first.seen], &[6]).await;
        (first, group.other(client))
    };
    group.shares(&[&first.seen, &other.seen], &[3, 3]).await;
    let second = group.ours();
    group.shares(&[&first.seen, &other.seen, &second.seen], &[2, 2, 2]).await;
    let died = other.die();
    group.shares(&[&first.seen, &second.seen], &[3, 3]).await;
    let other = group.other(client);
    group.shares(&[&first.seen, &second.seen, &other.seen], &[2, 2, 2]).await;
    let first = first.leave().await;
    group.shares(&[&second.seen, &other.seen], &[3, 3]).await;
    let left = other.leave();
    group.shares(&[&second.seen], &[6]).await;
    let written = writer.finish().with(|seen| seen.written).expect("how much was written");
    let everybody = [&first, &second.seen, &died, &left];
    let read =
        || -> BTreeSet<(i32, i64)> { everybody.iter().flat_map(|seen| seen.with(|seen| seen.read.clone())).collect() };
    let started = std::time::Instant::now();
    while read().len() < written && started.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(read().len(), written, "every record is read, and none that isn't there");
    second.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_round_robin() {
    mixed(Client_::Confluent, "roundrobin", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka_cooperative_and_it_leads() {
    mixed(Client_::Confluent, "cooperative-sticky", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_python_range() {
    mixed(Client_::KafkaPython, "range", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_python_cooperative() {
    mixed(Client_::KafkaPython, "cooperative-sticky", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_range() {
    mixed(Client_::Java, "range", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java_cooperative_and_it_leads() {
    mixed(Client_::Java, "cooperative-sticky", true).await;
}

/// KIP-848 where the broker has it; 3.9 says so and doesn't, so that there we are classic members.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_shares_out() {
    let old = std::env::var("KAFKA_VERSION").is_ok_and(|version| version.starts_with('3'));
    if !old {
        return mixed(Client_::Java, "consumer", false).await;
    }
    let Some(group) = group("consumer").await else { return };
    let (first, second) = (group.ours(), group.ours());
    group.shares(&[&first.seen, &second.seen], &[3, 3]).await;
    first.leave().await;
    group.shares(&[&second.seen], &[6]).await;
    second.leave().await;
}

/// Who comes back under its name within the session timeout finds what it had, and nobody else moves.
#[tokio::test(flavor = "multi_thread")]
async fn static_members_come_back_to_what_they_had() {
    let Some(group) = group("range").await else { return };
    let settings = |instance| {
        GroupSettings::new(&group.name)
            .assignors([Assignor::Range])
            .session_timeout(Duration::from_secs(20))
            .heartbeat_interval(Duration::from_millis(500))
            .instance(instance)
    };
    let join = |instance| Ours::join(&group.bootstrap, &group.topic, settings(instance));
    let (one, two) = (join("one"), join("two"));
    group.shares(&[&one.seen, &two.seen], &[3, 3]).await;
    let (had, others) = (one.seen.owned(), two.seen.owned());
    let assignments = two.seen.with(|seen| seen.kept);
    one.leave().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(two.seen.owned(), others, "nobody moves while it is away");
    let again = join("one");
    group.shares(&[&again.seen, &two.seen], &[3, 3]).await;
    assert_eq!((again.seen.owned(), two.seen.with(|seen| seen.kept)), (had, assignments));
    again.leave().await;
    two.leave().await;
}

/// A program that gives up a poll half-way, again and again, still joins and reads everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_given_up_loses_nothing() {
    let Some(group) = group("range").await else { return };
    let client = Client::new(Config::new([&group.bootstrap])).unwrap();
    let written = group.write(&client, 6).await;
    let config = ConsumerConfig::in_group(GroupSettings::new(&group.name));
    let config = config.reader(ReaderConfig::default().reset(Reset::Earliest)).auto_commit(Some(Duration::ZERO));
    let mut consumer = Consumer::new(&client, config);
    consumer.subscribe(Subscription::topics([&group.topic]).unwrap()).unwrap();
    let (mut read, started) = (BTreeSet::new(), std::time::Instant::now());
    while read.len() < written {
        assert!(started.elapsed() < LONG, "{} of {written} were read", read.len());
        // Shorter at first than a question to the broker takes.
        let patience = Duration::from_micros(100) + started.elapsed() / 100;
        let Ok(fetched) = tokio::time::timeout(patience, consumer.poll(Duration::from_secs(1))).await else { continue };
        for fetched in fetched.unwrap() {
            read.extend(fetched.records.iter().map(|record| (fetched.partition, record.offset)));
        }
    }
    assert_eq!(read.len(), written);
    consumer.close().await.unwrap();
    let committed = client.committed(&group.name, &[], LONG).await.unwrap();
    assert_eq!(committed.values().map(|committed| committed.offset).sum::<i64>(), i64::try_from(written).unwrap());
}

/// Commits by hand, where reading goes on, and offsets set from outside.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_where_reading_goes_on() {
    let Some(group) = group("range").await else { return };
    let within = LONG;
    let client = Client::new(Config::new([&group.bootstrap])).unwrap();
    let first = TopicPartition::new(group.topic.as_str(), 0);
    let written = i64::try_from(group.write(&client, 1).await).unwrap();
    client.commit(&group.name, &[(first.clone(), Committed::at(7))].into(), within).await.unwrap();
    let config = || {
        let settings = GroupSettings::new(&group.name);
        ConsumerConfig::in_group(settings).reader(ReaderConfig::default().reset(Reset::Earliest)).auto_commit(None)
    };
    let mut consumer = Consumer::new(&client, config());
    consumer.subscribe(Subscription::topics([&group.topic]).unwrap()).unwrap();
    let mut offsets = Vec::new();
    while offsets.last() != Some(&(written - 1)) {
        for fetched in consumer.poll(within).await.unwrap() {
            offsets.extend(fetched.records.iter().map(|record| record.offset));
        }
    }
    assert_eq!(offsets, (7..written).collect::<Vec<_>>());
    assert_eq!(client.committed(&group.name, std::slice::from_ref(&first), within).await.unwrap()[&first].offset, 7);
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    assert_eq!(client.committed(&group.name, &[], within).await.unwrap()[&first].offset, written);
    client.delete_group(&group.name, within).await.unwrap();
    assert!(client.committed(&group.name, &[], within).await.unwrap().is_empty());
}

/// Who has read nothing yet, and begins at the end, goes on there when it comes back: what was written meanwhile isn't
/// lost. So is it with Java's client.
#[tokio::test(flavor = "multi_thread")]
async fn where_reading_begins_is_committed_by_time() {
    let Some(group) = group("range").await else { return };
    let client = Client::new(Config::new([&group.bootstrap])).unwrap();
    group.write(&client, 1).await;
    let first = TopicPartition::new(group.topic.as_str(), 0);
    let member = || {
        let config =
            ConsumerConfig::in_group(GroupSettings::new(&group.name)).auto_commit(Some(Duration::from_millis(100)));
        let mut consumer = Consumer::new(&client, config.reader(ReaderConfig::default().reset(Reset::Latest)));
        consumer.subscribe(Subscription::topics([&group.topic]).unwrap()).unwrap();
        consumer
    };
    let mut consumer = member();
    let started = std::time::Instant::now();
    while client.committed(&group.name, std::slice::from_ref(&first), LONG).await.unwrap().is_empty() {
        assert!(started.elapsed() < LONG, "nothing is committed");
        assert!(consumer.poll(Duration::from_millis(200)).await.unwrap().is_empty());
    }
    drop(consumer); // commits nothing
    let producer = Producer::new(&client, ProducerConfig::new());
    let record = ProducerRecord::new(group.topic.as_str(), "meanwhile").partition(0);
    let written = producer.send(record).await.unwrap().await.unwrap().offset;
    let mut consumer = member();
    let fetched = consumer.poll(LONG).await.unwrap();
    assert_eq!(fetched[0].records.first().map(|record| record.offset), written);
    consumer.close().await.unwrap();
}

/// Two members of one group may share a client: neither's joining waits behind the other's.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_share_a_client_share_the_partitions() {
    let Some(group) = group("range").await else { return };
    let client = Client::new(Config::new([&group.bootstrap])).unwrap();
    let settings = GroupSettings::new(&group.name).heartbeat_interval(Duration::from_millis(500));
    let mut members: Vec<Ours> = Vec::new();
    for shares in [&[6][..], &[3, 3], &[2, 2, 2]] {
        members.push(Ours::over(&client, &group.topic, settings.clone()));
        group.shares(&members.iter().map(|member| &member.seen).collect::<Vec<_>>(), shares).await;
    }
    for member in members {
        member.leave().await;
    }
}

/// Who reads over the same client as a member that waits for its group isn't kept waiting with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_takes_long_to_share_out_holds_up_no_other_reader() {
    let Some(group) = group("range").await else { return };
    let [theirs, client] = [(); 2].map(|()| Client::new(Config::new([&group.bootstrap])).unwrap());
    let member = |client: &Client| {
        let settings = GroupSettings::new(&group.name).heartbeat_interval(Duration::from_millis(200));
        let mut consumer = Consumer::new(client, ConsumerConfig::in_group(settings));
        consumer.subscribe(Subscription::topics([&group.topic]).unwrap()).unwrap();
        consumer
    };
    let mut slow = member(&theirs);
    while slow.positions().is_empty() {
        slow.poll(Duration::from_millis(100)).await.unwrap();
    }
    // From now on it doesn't poll, so that it gives nothing back.
    let mut waiting = member(&client);
    waiting.poll(Duration::from_secs(1)).await.unwrap();
    let mut reader = Consumer::new(&client, ConsumerConfig::alone());
    reader.assign(&[(TopicPartition::new(group.topic.as_str(), 0), Start::At(OffsetAt::Latest))]);
    assert!(reader.poll(Duration::from_secs(1)).await.unwrap().is_empty());
    let producer = Producer::new(&client, ProducerConfig::new());
    for _ in 0..5 {
        let record = ProducerRecord::new(group.topic.as_str(), "now").partition(0);
        producer.send(record).await.unwrap().await.unwrap();
        assert_eq!(reader.poll(Duration::from_secs(2)).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(600)).await; // longer than a fetch is held
    }
    assert!(waiting.positions().is_empty(), "its group has shared out");
}
