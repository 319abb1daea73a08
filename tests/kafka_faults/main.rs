//! Our Kafka client over a bad network: connections cut anywhere, answers held back, lost or dripping, black holes.
//! What was sent is there once and in order, no call outlives its deadline, and all is well soon after the network is.
#![cfg(feature = "kafka")]

mod clients;
mod groups;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafkacrypto::kafka::Config;
use kafkacrypto::transport::kafka::Kafka;
use kafkacrypto::transport::{FetchFrom, OffsetAt, Outgoing, Transport, TransportErrorKind};
use support::Proxy;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);
/// How late an answer may be on a busy machine; a call that minds no deadline takes ten times as long.
const GRACE: Duration = Duration::from_secs(4);
/// After so long with a good network everything works again.
const HEALED: Duration = Duration::from_secs(5);

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;

/// A client behind a proxy, and a topic of its own.
async fn set_up(name: &str) -> Option<(Kafka, Proxy, String)> {
    set_up_as(name, |address| Config::new([address])).await
}

async fn set_up_as(name: &str, config: fn(&str) -> Config) -> Option<(Kafka, Proxy, String)> {
    let address = support::bootstrap()?;
    let (proxy, topic) = (Proxy::start(&address).await, support::fresh(name));
    let kafka = Kafka::connect(config(&proxy.address), LONG).await.unwrap();
    kafka.create_topic(&topic, 1, LONG).await.unwrap();
    Some((kafka, proxy, topic))
}

/// Every answer to a produce is cut at every byte: each record is there once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_cut_at_every_byte() {
    let Some((kafka, proxy, topic)) = set_up_as("cut-acks", config).await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    cut_everywhere(&proxy, PRODUCE, 0, async || send(&kafka, &topic, &mut sent).await).await;
    assert!(sent > 40, "{sent}");
    all_there(&kafka, &topic, sent).await;
}

/// Answers to what a new client asks first, cut at every byte: it gets through.
async fn first_answers_cut_at_every_byte(api: i16, whole: u32) {
    let Some((kafka, proxy, topic)) = set_up_as("cut-first", config).await else { return };
    let mut sent = 0;
    cut_everywhere(&proxy, api, whole, async || send(&connect(&proxy.address).await, &topic, &mut sent).await).await;
    all_there(&kafka, &topic, sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_cut_at_every_byte() {
    // The brokers, then the topic.
    first_answers_cut_at_every_byte(METADATA, 0).await;
    first_answers_cut_at_every_byte(METADATA, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producer_ids_cut_at_every_byte() {
    first_answers_cut_at_every_byte(INIT_PRODUCER_ID, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_cut_at_every_byte() {
    first_answers_cut_at_every_byte(API_VERSIONS, 0).await;
}

/// What is read arrives whole, wherever the answers break off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_cut_at_every_byte() {
    let Some((kafka, proxy, topic)) = set_up_as("cut-fetch", config).await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    for api in [FETCH, LIST_OFFSETS] {
        let new_reader = async || {
            let reader = connect(&proxy.address).await;
            assert_eq!(reader.offset(&topic, 0, OffsetAt::Latest, LONG).await.unwrap(), 1);
            assert_eq!(read(&reader, &topic, 0).await, ["0"]);
        };
        cut_everywhere(&proxy, api, 0, new_reader).await;
    }
}

/// Acknowledgements are lost, several in a row: no duplicate, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_acknowledgements_make_no_duplicate() {
    let Some((kafka, proxy, topic)) = set_up("lost-acks").await else { return };
    let mut sent = 0;
    for times in [1, 2, 3, 1] {
        proxy.lose(PRODUCE, times);
        for _ in 0..5 {
            send(&kafka, &topic, &mut sent).await;
        }
    }
    // Many at once.
    proxy.lose(PRODUCE, 2);
    let records = (sent..sent + 500).map(|n| value(&n.to_string())).collect();
    kafka.produce(&topic, 0, records, LONG).await.unwrap();
    all_there(&kafka, &topic, sent + 500).await;
}

/// Answers are held back: every call ends in time, and those that come late break nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_held_back() {
    let Some((kafka, proxy, topic)) = set_up("held").await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    for time in [300, 1500, 6000] {
        proxy.hold(true);
        everything_ends_in_time(&kafka, &topic).await;
        tokio::time::sleep(Duration::from_millis(time)).await;
        proxy.hold(false);
        heals(&kafka, &topic, &mut sent).await;
    }
}

/// Everything vanishes, for longer and longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn black_holes() {
    let Some((kafka, proxy, topic)) = set_up("holes").await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    for time in [100, 3000, 9000] {
        proxy.swallow(true);
        everything_ends_in_time(&kafka, &topic).await;
        tokio::time::sleep(Duration::from_millis(time)).await;
        proxy.swallow(false);
        heals(&kafka, &topic, &mut sent).await;
    }
}

/// A call with much time, begun in a hole, ends soon after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_through_a_hole() {
    let Some((kafka, proxy, topic)) = set_up("through").await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    for time in [500, 6000] {
        proxy.swallow(true);
        let (writer, name) = (kafka.clone(), topic.clone());
        let number = sent.to_string();
        let writing = tokio::spawn(async move { writer.produce(&name, 0, vec![value(&number)], LONG).await });
        tokio::time::sleep(Duration::from_millis(time)).await;
        proxy.swallow(false);
        let healed = Instant::now();
        writing.await.unwrap().unwrap();
        println!("a produce that waited through {time} ms: {:?} after it", healed.elapsed());
        assert!(healed.elapsed() < HEALED + GRACE, "{:?}", healed.elapsed());
        sent += 1;
    }
    all_there(&kafka, &topic, sent).await;
}

/// Answers that come byte by byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_drips() {
    let Some((kafka, proxy, topic)) = set_up("drips").await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    // Slow, but it comes.
    proxy.drip(Some(Duration::from_millis(5)));
    send(&kafka, &topic, &mut sent).await;
    // Too slow for the deadlines.
    proxy.drip(Some(Duration::from_millis(300)));
    everything_ends_in_time(&kafka, &topic).await;
    proxy.drip(None);
    heals(&kafka, &topic, &mut sent).await;
}

/// Nobody answers at the address for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_refused_for_a_while() {
    let Some((kafka, proxy, topic)) = set_up("refused").await else { return };
    let mut sent = 0;
    send(&kafka, &topic, &mut sent).await;
    proxy.refuse(true);
    everything_ends_in_time(&kafka, &topic).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.refuse(false);
    heals(&kafka, &topic, &mut sent).await;
}

/// Cuts an answer to this API, after so many whole ones, at each of its bytes in turn and then behind the last; `act`
/// makes it come each time. Returns how long it was.
async fn cut_everywhere(proxy: &Proxy, api: i16, whole: u32, mut act: impl AsyncFnMut()) -> usize {
    for byte in 0.. {
        proxy.cut_later(api, whole, byte);
        act().await;
        let length = proxy.was_cut().unwrap_or_else(|| panic!("no answer to API {api} came to be cut at {byte}"));
        if byte >= length {
            println!("API {api}: cut at each of {length} bytes");
            return length;
        }
    }
    unreachable!("an answer ends")
}

/// Each kind of call, with half a second for it, while nothing works. None of them writes a record that counts.
async fn everything_ends_in_time(kafka: &Kafka, topic: &str) {
    let within = Duration::from_millis(500);
    let end = [FetchFrom::new(topic, 0, i64::from(u32::MAX))];
    let start = Instant::now();
    let late = |what: &str, start: Instant| {
        assert!(start.elapsed() < within + GRACE, "{what}: {:?}", start.elapsed());
        Instant::now()
    };
    let _ = kafka.fetch(&end, 1000, within, within).await;
    let start = late("fetch", start);
    assert!(kafka.offset(topic, 0, OffsetAt::Latest, within).await.is_err());
    let start = late("offset", start);
    assert!(kafka.topics(within).await.is_err());
    let start = late("topics", start);
    assert!(kafka.partitions(topic, within).await.is_err());
    let start = late("partitions", start);
    assert!(kafka.create_topic(topic, 1, within).await.is_err());
    let start = late("create_topic", start);
    assert!(kafka.produce("no-such-topic", 0, vec![value("x")], within).await.is_err());
    late("produce", start);
}

/// The network is well again: soon all calls work.
async fn heals(kafka: &Kafka, topic: &str, sent: &mut u64) {
    let healed = Instant::now();
    let end = loop {
        match kafka.offset(topic, 0, OffsetAt::Latest, HEALED).await {
            Ok(end) => break end,
            Err(error) => assert!(healed.elapsed() < HEALED + GRACE, "{error}"),
        }
    };
    assert_eq!(end, i64::try_from(*sent).unwrap());
    send(kafka, topic, sent).await;
    assert_eq!(read(kafka, topic, end).await, [(*sent - 1).to_string()]);
    println!("all calls work {:?} after the network does", healed.elapsed());
    assert!(healed.elapsed() < HEALED + GRACE, "{:?}", healed.elapsed());
    all_there(kafka, topic, *sent).await;
}

/// One more record.
async fn send(kafka: &Kafka, topic: &str, sent: &mut u64) {
    let offsets = kafka.produce(topic, 0, vec![value(&sent.to_string())], LONG).await.unwrap();
    assert_eq!(offsets, [i64::try_from(*sent).unwrap()]);
    *sent += 1;
}

async fn all_there(kafka: &Kafka, topic: &str, sent: u64) {
    let expected: Vec<_> = (0..sent).map(|n| n.to_string()).collect();
    assert_eq!(read(kafka, topic, 0).await, expected);
}

/// The values from an offset to the end.
async fn read(kafka: &Kafka, topic: &str, from: i64) -> Vec<String> {
    let end = kafka.offset(topic, 0, OffsetAt::Latest, LONG).await.unwrap();
    let (mut next, mut values) = (from, Vec::new());
    let start = Instant::now();
    while next < end {
        assert!(start.elapsed() < LONG, "at {next} of {end}");
        for fetched in kafka.fetch(&[FetchFrom::new(topic, 0, next)], 1 << 20, LONG, LONG).await.unwrap() {
            match fetched.result {
                Ok(batch) => {
                    let texts = batch.records.into_iter().map(|record| String::from_utf8(record.value.unwrap()));
                    values.extend(texts.map(Result::unwrap));
                    next = batch.next;
                }
                Err(error) => assert!(error.kind() != TransportErrorKind::OffsetOutOfRange, "{error}"),
            }
        }
    }
    values
}

async fn connect(address: &str) -> Kafka {
    Kafka::connect(config(address), LONG).await.unwrap()
}

/// One that comes back soon, since there are many cuts.
fn config(address: &str) -> Config {
    Config::new([address]).backoff(Duration::from_millis(5), Duration::from_millis(20))
}

fn value(text: &str) -> Outgoing {
    // Of today, or the broker deletes it for its age.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Outgoing::new(None, Some(text.as_bytes().to_vec())).at(i64::try_from(now).unwrap())
}
