//! What brokers may demand: rights, quotas, a new login every few seconds.
#![cfg(feature = "kafka")]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Committed, Config, Consumer, ConsumerConfig, Error, ErrorKind, FetchError, GroupProtocol, GroupSettings,
    Most, NewTopic, OffsetAt, Producer, ProducerConfig, ProducerRecord, Reader, ReaderConfig, Rebalance, Reset,
    SaslMechanism, SecurityProtocol, Start, Subscription, Token, TopicPartition,
};
use kafkacrypto::provision::NodeRole;
use support::fleet::Fleet;
use support::{Broker, Certificates};

const LONG: Duration = Duration::from_secs(30);
/// No refusal takes longer, however long the call may.
const SOON: Duration = Duration::from_secs(15);

/// Bytes in a second, for `carol` and for the client of this name.
const QUOTA: usize = 200_000;
const QUOTED: &str = "quoted";

/// Nobody may do anything but what is said, and logins are good for three seconds.
const SETTINGS: &str = r#"
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
connections.max.reauth.ms=3000
quota.window.num=3
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret" user_carol="carol-secret";
"#;

/// A broker with rules; all tests of this file use it.
///
/// `alice` and `carol` may read and write topics and be in groups whose names begin with `open`, and see topics `seen…`;
/// `bob` may see those. Nobody may see `hidden…`. `carol` has a quota.
struct Strict {
    broker: Broker,
    certificates: Certificates,
}

impl Strict {
    fn get() -> Option<&'static Self> {
        static STRICT: OnceLock<Option<Strict>> = OnceLock::new();
        Broker::script()?;
        STRICT.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let certificates = Certificates::make()?;
        let broker = Broker::set(certificates.listeners(&["SASL_SSL"]), SETTINGS)?;
        let version = std::env::var("KAFKA_VERSION").unwrap_or_default();
        let tool =
            if version.starts_with("3.") { "kafka.admin.AclCommand" } else { "org.apache.kafka.tools.AclCommand" };
        let allow = |arguments: &[&str]| {
            broker.tool(tool, &[&["--add", "--resource-pattern-type", "prefixed"], arguments].concat())
        };
        let alice = ["--allow-principal", "User:alice", "--allow-principal", "User:carol"];
        let bob = ["--allow-principal", "User:bob"];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                allow(&[&alice[..], &["--operation", "Read", "--topic", "open", "--group", "open"]].concat())
            });
            scope.spawn(|| allow(&[&alice[..], &["--operation", "Write", "--topic", "open"]].concat()));
            scope.spawn(|| allow(&[&alice[..], &bob, &["--operation", "Describe", "--topic", "seen"]].concat()));
            for entity in [["users", "carol"], ["clients", QUOTED]] {
                let quotas = format!("producer_byte_rate={QUOTA},consumer_byte_rate={QUOTA}");
                let entity = ["--entity-type", entity[0], "--entity-name", entity[1], "--alter", "--add-config"];
                let broker = &broker;
                scope.spawn(move || broker.tool("kafka.admin.ConfigCommand", &[&entity[..], &[&quotas]].concat()));
            }
        });
        Some(Self { broker, certificates })
    }

    /// Who may do everything.
    fn root(&self) -> Client {
        Client::new(Config::new([self.broker.bootstrap()])).unwrap()
    }

    fn plain(&self, user: &str) -> Config {
        Config::new([self.broker.bootstrap_sasl()])
            .security_protocol(SecurityProtocol::SaslPlaintext)
            .sasl_mechanism(SaslMechanism::Plain)
            .sasl_plain_username(user)
            .sasl_plain_password(format!("{user}-secret"))
    }

    fn user(&self, user: &str) -> Client {
        Client::new(self.plain(user)).unwrap()
    }

    /// A topic whose name begins so, with a record.
    async fn topic(&self, begins: &str) -> String {
        let (name, root) = (support::fresh(begins), self.root());
        root.create_topic(&NewTopic::new(&name).partitions(1), LONG).await.unwrap();
        let producer = Producer::new(&root, ProducerConfig::new());
        producer.send(ProducerRecord::new(name.as_str(), "there")).await.unwrap().await.unwrap();
        root.close().await;
        name
    }

    /// How many records it has.
    async fn count(&self, topic: &str) -> i64 {
        let root = self.root();
        root.offset(&TopicPartition::new(topic, 0), OffsetAt::Latest, Default::default(), LONG).await.unwrap()
    }
}

/// One sentence about a right that is missing, which says of what.
fn is_refusal(error: &Error, says: &[&str]) {
    let told = error.to_string();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::NotAuthorised, false), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    says.iter().for_each(|part| assert!(told.contains(part), "{told} has no {part:?}"));
}

// ---- rights

#[tokio::test]
async fn who_may_not_write_is_told_so_for_each_record() {
    let Some(strict) = Strict::get() else { return };
    let (seen, hidden) = (strict.topic("seen").await, strict.topic("hidden").await);
    for (user, topic, idempotent, says) in [
        // There is something that she may write to, so she is given a producer id.
        ("alice", &seen, true, "TopicAuthorizationFailed"),
        ("alice", &seen, false, "TopicAuthorizationFailed"),
        ("bob", &seen, true, "ClusterAuthorizationFailed"),
        ("bob", &seen, false, "TopicAuthorizationFailed"),
        ("alice", &hidden, true, "TopicAuthorizationFailed"),
    ] {
        let (client, start) = (strict.user(user), Instant::now());
        let producer = Producer::new(&client, ProducerConfig::new().idempotent(idempotent));
        let mut told = 0;
        for number in 0..3 {
            let record = ProducerRecord::new(topic.as_str(), format!("{number}"));
            let error = match producer.send(record).await {
                Ok(delivery) => delivery.await.unwrap_err(),
                Err(error) => error,
            };
            is_refusal(&error, &[topic, says, "write to"]);
            assert!(!error.may_have_arrived());
            told += 1;
        }
        assert_eq!(told, 3);
        assert!(start.elapsed() < SOON);
        client.close().await;
    }
    assert_eq!((strict.count(&seen).await, strict.count(&hidden).await), (1, 1));
}

#[tokio::test]
async fn who_may_not_read_is_told_so_at_once() {
    let Some(strict) = Strict::get() else { return };
    for topic in [strict.topic("seen").await, strict.topic("hidden").await] {
        let (client, start) = (strict.user("alice"), Instant::now());
        let mut reader = Reader::new(&client, ReaderConfig::default());
        reader.assign(&[(TopicPartition::new(topic.as_str(), 0), Start::Offset(0))]);
        let fetched = reader.next(Most::default(), LONG).await;
        let [of] = &fetched[..] else { panic!("{fetched:?}") };
        let Some(FetchError::Failed { error, .. }) = &of.error else { panic!("{of:?}") };
        is_refusal(error, &[&topic, "TopicAuthorizationFailed", "can't"]);
        assert!(of.records.is_empty() && start.elapsed() < SOON);
        let place = TopicPartition::new(topic.as_str(), 0);
        match client.offset(&place, OffsetAt::Latest, Default::default(), LONG).await {
            Ok(offset) => assert!(topic.starts_with("seen") && offset == 1),
            Err(error) => is_refusal(&error, &[&topic, "TopicAuthorizationFailed"]),
        }
        client.close().await;
    }
}

#[tokio::test]
async fn who_may_not_be_in_a_group_is_told_so_at_once() {
    let Some(strict) = Strict::get() else { return };
    let topic = strict.topic("open").await;
    let (client, group, start) = (strict.user("alice"), support::fresh("closed"), Instant::now());
    for protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        let settings = GroupSettings::new(group.as_str()).protocol(protocol);
        let mut consumer = Consumer::new(&client, ConsumerConfig::in_group(settings));
        consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
        let error = consumer.poll(LONG).await.unwrap_err();
        is_refusal(&error, &[&group, "GroupAuthorizationFailed", "member of the group"]);
    }
    let place = TopicPartition::new(topic.as_str(), 0);
    let error = client.committed(&group, std::slice::from_ref(&place), LONG).await.unwrap_err();
    is_refusal(&error, &[&group, "GroupAuthorizationFailed"]);
    let error = client.commit(&group, &[(place, Committed::at(1))].into(), LONG).await.unwrap_err();
    is_refusal(&error, &[&group, "GroupAuthorizationFailed"]);
    assert!(start.elapsed() < SOON);
    client.close().await;
}

#[tokio::test]
async fn a_member_that_may_not_read_a_topic_is_told_so_at_once() {
    let Some(strict) = Strict::get() else { return };
    for topic in [strict.topic("seen").await, strict.topic("hidden").await] {
        let (client, start) = (strict.user("alice"), Instant::now());
        let group = GroupSettings::new(support::fresh("open"));
        let mut consumer = Consumer::new(&client, ConsumerConfig::in_group(group));
        consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
        match consumer.poll(LONG).await {
            Err(error) => is_refusal(&error, &[&topic, "TopicAuthorizationFailed"]),
            Ok(fetched) => {
                let [of] = &fetched[..] else { panic!("{topic}: {fetched:?}") };
                let Some(FetchError::Failed { error, .. }) = &of.error else { panic!("{of:?}") };
                is_refusal(error, &[&topic, "TopicAuthorizationFailed"]);
            }
        }
        assert!(start.elapsed() < SOON);
        client.close().await;
    }
}

#[tokio::test]
async fn who_may_not_administer_is_told_so_at_once() {
    let Some(strict) = Strict::get() else { return };
    let (seen, client, start) = (strict.topic("seen").await, strict.user("alice"), Instant::now());
    let new = support::fresh("new");
    let error = client.create_topic(&NewTopic::new(&new).partitions(1), LONG).await.unwrap_err();
    is_refusal(&error, &[&new, "create"]);
    is_refusal(&client.delete_topic(&seen, LONG).await.unwrap_err(), &[&seen, "delete", "TopicAuthorizationFailed"]);
    is_refusal(&client.add_partitions(&seen, 2, LONG).await.unwrap_err(), &[&seen, "TopicAuthorizationFailed"]);
    is_refusal(&client.topic_settings(&seen, LONG).await.unwrap_err(), &[&seen, "TopicAuthorizationFailed"]);
    assert!(start.elapsed() < SOON);
    client.close().await;
}

/// The tool as alice: its exit code, and what it says.
fn tool(strict: &Strict, command: &str, config: &Path, arguments: &[&str], input: &str) -> (i32, String) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_kafkacrypto"));
    tool.args([command, "-n", config.to_str().unwrap(), "-b", &strict.broker.bootstrap_sasl()]);
    for setting in [
        "security.protocol=SASL_PLAINTEXT",
        "sasl.mechanism=PLAIN",
        "sasl.username=alice",
        "sasl.password=alice-secret",
    ] {
        tool.args(["-X", setting]);
    }
    tool.args(arguments).env_remove("RUST_LOG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), errors)
}

#[tokio::test]
async fn the_tool_says_which_right_is_missing() {
    let Some(strict) = Strict::get() else { return };
    let fleet = Fleet::new();
    let (open, closed) = (support::fresh("open"), support::fresh("closed"));
    for begins in ["seen", "hidden"] {
        let root = strict.topic(begins).await;
        let (producer, consumer) = (
            fleet.node(&support::fresh("p"), NodeRole::Producer, &[&root]),
            fleet.node(&support::fresh("c"), NodeRole::Consumer, &[&root]),
        );
        for (command, config, arguments, resource) in [
            ("produce", &producer, vec!["-t", &root], &root),
            ("consume", &consumer, vec!["-t", &root], &root),
            ("consume", &consumer, vec!["-G", &open, &root, "-o", "beginning"], &root),
            ("consume", &consumer, vec!["-G", &closed, &root], &closed),
        ] {
            let start = Instant::now();
            let (code, told) = tool(strict, command, config, &arguments, "one\ntwo\n");
            assert_eq!(code, 6, "{told}");
            assert!(told.contains("AuthorizationFailed") && told.contains(resource.as_str()), "{told}");
            assert!(told.contains("give this user the right to ") && told.contains("ACLs"), "{told}");
            assert!(!told.contains("the right to it") && start.elapsed() < 2 * SOON, "{told}");
            // That it may not make the topics for keys either is another matter, said once for all of them.
            assert_eq!(told.matches("kafkacrypto: ").count(), 1, "{told}");
            assert!(told.matches("AuthorizationFailed").count() <= 2, "{told}");
        }
        assert_eq!(strict.count(&root).await, 1);
        let (code, told) = tool(strict, "consume", &consumer, &["-L", "-t", &root], "");
        assert_eq!((code, told.contains("AuthorizationFailed")), if begins == "seen" { (0, false) } else { (6, true) });
    }
}

#[tokio::test]
async fn rights_that_are_there_are_enough() {
    let Some(strict) = Strict::get() else { return };
    let (topic, client) = (strict.topic("open").await, strict.user("alice"));
    let producer = Producer::new(&client, ProducerConfig::new());
    producer.send(ProducerRecord::new(topic.as_str(), "two")).await.unwrap().await.unwrap();
    let mut consumer = Consumer::new(
        &client,
        ConsumerConfig::in_group(GroupSettings::new(support::fresh("open")))
            .reader(ReaderConfig::default().reset(Reset::Earliest)),
    );
    consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
    let (mut read, deadline) = (0, Instant::now() + LONG);
    while read < 2 && Instant::now() < deadline {
        for of in consumer.poll(Duration::from_secs(1)).await.unwrap() {
            assert!(of.error.is_none(), "{of:?}");
            read += of.records.len();
        }
    }
    assert_eq!(read, 2);
    consumer.close().await.unwrap();
    client.close().await;
}

// ---- quotas

/// Counts what the Kafka client notes in the log.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// From now on, in this thread.
    fn take() -> (Self, tracing::subscriber::DefaultGuard) {
        let notes = Self::default();
        (notes.clone(), tracing::subscriber::set_default(notes))
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|note| note.as_str() == what).count()
    }
}

impl tracing::Subscriber for Notes {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("kafkacrypto::kafka")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(Option<String>);
        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = (field.name() == "message").then(|| format!("{value:?}")).or(self.0.take());
            }
        }
        let mut message = Message(None);
        event.record(&mut message);
        self.0.lock().unwrap().extend(message.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Writes and reads six seconds' worth: all of it arrives, once and in order, and no faster.
async fn keeps_to_its_quota(strict: &Strict, config: Config) {
    const RECORDS: usize = 120;
    let topic = support::fresh("open");
    strict.root().create_topic(&NewTopic::new(&topic).partitions(1), LONG).await.unwrap();
    let (notes, _guard) = Notes::take();
    let client = Client::new(config).unwrap();
    // A batch of more than a quota's windows can hold would never be given out by the broker, whoever asks.
    let producer = Producer::new(&client, ProducerConfig::new().batch_size(16 << 10));
    let (start, mut deliveries) = (Instant::now(), Vec::new());
    for number in 0..RECORDS {
        let value = format!("{number:010000}");
        deliveries.push(producer.send(ProducerRecord::new(topic.as_str(), value)).await.unwrap());
    }
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Some(offset));
    }
    // What the broker's three windows of a second let through is free.
    let least = Duration::from_secs(2);
    assert!(start.elapsed() > least, "{:?}", start.elapsed());
    let throttled = notes.count(THROTTLED);
    assert!(throttled > 0);

    let (start, mut read) = (Instant::now(), Vec::new());
    let mut reader = Reader::new(&client, ReaderConfig::default().partition_bytes(100_000));
    reader.assign(&[(TopicPartition::new(topic.as_str(), 0), Start::Offset(0))]);
    while read.len() < RECORDS && start.elapsed() < 3 * LONG {
        for of in reader.next(Most::default(), Duration::from_secs(1)).await {
            assert!(of.error.is_none(), "{of:?}");
            read.extend(of.records.into_iter().map(|record| record.value.unwrap()));
        }
    }
    assert!(read.iter().enumerate().all(|(number, value)| *value == format!("{number:010000}").as_bytes()));
    assert_eq!((read.len(), strict.count(&topic).await), (RECORDS, RECORDS as i64));
    assert!(start.elapsed() > least, "{:?}", start.elapsed());
    assert!(notes.count(THROTTLED) > throttled);
    eprintln!("throttled {throttled} times while producing, {} while reading", notes.count(THROTTLED) - throttled);
    client.close().await;
}

#[tokio::test]
async fn the_quota_of_a_user_is_kept_to() {
    let Some(strict) = Strict::get() else { return };
    keeps_to_its_quota(strict, strict.plain("carol")).await;
}

#[tokio::test]
async fn the_quota_of_a_client_is_kept_to() {
    let Some(strict) = Strict::get() else { return };
    keeps_to_its_quota(strict, Config::new([strict.broker.bootstrap()]).client_id(QUOTED)).await;
}

const THROTTLED: &str = "the broker throttles us";

// ---- logins that end (KIP-368)

/// Writes and reads, as a member of a group, for longer than three logins last.
async fn goes_on(config: Config) {
    let Some(strict) = Strict::get() else { return };
    let topic = support::fresh("open");
    strict.root().create_topic(&NewTopic::new(&topic).partitions(2), LONG).await.unwrap();
    let (notes, _guard) = Notes::take();
    let client = Client::new(config).unwrap();
    let producer = Producer::new(&client, ProducerConfig::new());
    let group = GroupSettings::new(support::fresh("open"));
    let reading = ReaderConfig::default().reset(Reset::Earliest);
    let config = ConsumerConfig::in_group(group).reader(reading).auto_commit(Some(Duration::from_millis(200)));
    let mut consumer = Consumer::new(&client, config);
    consumer.subscribe(Subscription::topics([&topic]).unwrap()).unwrap();
    let (lost, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let losses = lost.clone();
    consumer.on_rebalance(move |change| {
        _ = losses.fetch_add(matches!(change, Rebalance::Lost(_)).into(), Ordering::Relaxed)
    });
    let (mut sent, mut deliveries, mut read) = (0, Vec::new(), [Vec::new(), Vec::new()]);
    loop {
        let writing = start.elapsed() < Duration::from_secs(10);
        if writing {
            for partition in 0..2 {
                let record = ProducerRecord::new(topic.as_str(), sent.to_string()).partition(partition);
                deliveries.push(producer.send(record).await.unwrap());
            }
            sent += 1;
        }
        for of in consumer.poll(Duration::from_millis(20)).await.unwrap() {
            assert!(of.error.is_none(), "{of:?}");
            read[of.partition as usize].extend(of.records.into_iter().map(|record| record.value.unwrap()));
        }
        if !writing && read.iter().all(|read| read.len() >= sent) {
            break;
        }
        assert!(start.elapsed() < 2 * LONG, "{sent} written, {:?} read", read.each_ref().map(Vec::len));
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    for read in read {
        assert!(read.into_iter().eq((0..sent).map(|number| number.to_string())), "each once, in order");
    }
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    client.close().await;
    assert_eq!(lost.load(Ordering::Relaxed), 0);
    // Two at a time, and the bootstrap address's.
    let connections = notes.count("connected to a Kafka broker");
    assert!(connections > 2 * 3, "{connections}");
    eprintln!("{} records over {connections} connections", 2 * sent);
}

#[tokio::test]
async fn a_login_that_ends_is_renewed_by_plain() {
    let Some(strict) = Strict::get() else { return };
    goes_on(strict.plain("alice")).await;
}

#[tokio::test]
async fn a_login_that_ends_is_renewed_by_scram() {
    let Some(strict) = Strict::get() else { return };
    goes_on(strict.plain("alice").sasl_mechanism(SaslMechanism::ScramSha256)).await;
}

#[tokio::test]
async fn a_login_that_ends_is_renewed_by_token() {
    let Some(strict) = Strict::get() else { return };
    let config = Config::new([format!("localhost:{}", strict.broker.port(4))])
        .security_protocol(SecurityProtocol::SaslSsl)
        .ssl_cafile(strict.certificates.path("ca.pem"))
        .sasl_mechanism(SaslMechanism::OauthBearer)
        .sasl_oauth_token_provider(|| async { Token::new(support::token(300)) });
    goes_on(config).await;
}
