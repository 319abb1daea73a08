//! Connections over a pipe, with a broker that does what a test says, in virtual time.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Limits};
use super::dial::Dialed;
use super::raw::Raw;
use crate::kafka::error::{Error, ErrorKind};

const LIMITS: Limits = Limits { patience: Duration::from_secs(4), idle: Duration::from_secs(60) };
const VERSION: i16 = 12;

/// The broker's end of a connection.
pub(in crate::kafka) struct Far<S = DuplexStream>(pub(in crate::kafka) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Far<S> {
    /// The next request: API, version, number. `None` at the end.
    pub(in crate::kafka) async fn next(&mut self) -> Option<(i16, i16, i32)> {
        let (header, _) = self.request().await?;
        Some((header.request_api_key, header.request_api_version, header.correlation_id))
    }

    async fn request(&mut self) -> Option<(RequestHeader, Bytes)> {
        let size = self.0.read_u32().await.ok()?;
        let mut frame = vec![0; size as usize];
        self.0.read_exact(&mut frame).await.ok()?;
        let mut frame = Bytes::from(frame);
        Some((RequestHeader::decode(&mut frame, 2).unwrap(), frame))
    }

    async fn asked(&mut self) -> (i16, i16, i32) {
        self.next().await.unwrap()
    }

    async fn answer(&mut self, number: i32) {
        self.0.write_all(&answer(number)).await.unwrap();
    }
}

/// A whole frame: brokers, one of them with the number of the request as its port.
fn answer(number: i32) -> BytesMut {
    frame(number, 1, VERSION, &MetadataResponse::default().with_cluster_id(Some("c".into())))
}

pub(in crate::kafka) fn frame(number: i32, header: i16, version: i16, body: &impl Encodable) -> BytesMut {
    let mut inner = BytesMut::new();
    ResponseHeader::default().with_correlation_id(number).encode(&mut inner, header).unwrap();
    body.encode(&mut inner, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(inner.len()).unwrap());
    frame.extend_from_slice(&inner);
    frame
}

fn raw() -> (Raw, Far) {
    let (near, far) = duplex(1 << 16);
    (Raw::new(Box::new(near), "test", 1000, "who knows"), Far(far))
}

fn connected(lifetime: Option<Duration>) -> (Connection, Far) {
    let (raw, far) = raw();
    (Connection::start(Dialed { raw, lifetime }, "test", LIMITS), far)
}

async fn ask(connection: &Connection, within: Duration) -> Result<MetadataResponse, Error> {
    let request = MetadataRequest::default();
    connection.request(&request, VERSION, Duration::ZERO, Instant::now() + within).await
}

/// A call that runs beside the test.
fn asking(connection: &Connection, ms: u64) -> tokio::task::JoinHandle<Result<MetadataResponse, Error>> {
    let connection = connection.clone();
    tokio::spawn(async move { ask(&connection, Duration::from_millis(ms)).await })
}

#[tokio::test(start_paused = true)]
async fn requests_go_out_before_answers_come() {
    let (connection, mut far) = connected(None);
    let (one, two) = (asking(&connection, 1000), asking(&connection, 1000));
    let (first, second) = (far.asked().await, far.asked().await);
    assert_eq!((first.0, first.1), (3, VERSION));
    far.answer(first.2).await;
    far.answer(second.2).await;
    assert_eq!(one.await.unwrap().unwrap().cluster_id.as_deref(), Some("c"));
    assert!(two.await.unwrap().is_ok() && connection.has_answered());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_breaks_nothing() {
    let (connection, mut far) = connected(None);
    let start = Instant::now();
    let late = asking(&connection, 100);
    let first = far.asked().await;
    let error = late.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::TimedOut, true));
    assert!(start.elapsed() < Duration::from_millis(110));
    sleep(Duration::from_millis(500)).await;
    far.answer(first.2).await;
    let next = asking(&connection, 100);
    let second = far.asked().await.2;
    far.answer(second).await;
    assert!(next.await.unwrap().is_ok() && connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_stays_silent_is_given_up() {
    let (connection, mut far) = connected(None);
    let start = Instant::now();
    let (short, long) = (asking(&connection, 100), asking(&connection, 60_000));
    far.asked().await;
    assert_eq!(short.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    let error = long.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::Disconnected, true));
    assert!(start.elapsed() < Duration::from_millis(1100) && !connection.is_open() && connection.fell_silent());
    // Nobody has given up: it takes as long as patience does.
    let (connection, mut far) = connected(None);
    let (start, waiting) = (Instant::now(), asking(&connection, 60_000));
    far.asked().await;
    assert!(waiting.await.unwrap().is_err());
    assert!(start.elapsed() >= Duration::from_secs(4) && start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_is_no_silence() {
    let (connection, mut far) = connected(None);
    let waiting = asking(&connection, 600_000);
    let number = far.asked().await.2;
    for byte in answer(number) {
        sleep(Duration::from_secs(3)).await;
        far.0.write_all(&[byte]).await.unwrap();
    }
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_anywhere_tells_all_who_wait() {
    let whole = answer(1000);
    for end in 0..whole.len() {
        let (connection, mut far) = connected(None);
        let (one, two) = (asking(&connection, 1000), asking(&connection, 1000));
        far.asked().await;
        far.asked().await;
        far.0.write_all(&whole[..end]).await.unwrap();
        drop(far);
        for waiting in [one, two] {
            let error = waiting.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::Unreachable, true), "{end}");
            assert!(error.message().ends_with("at the first request; who knows"), "{error}");
        }
        let error = ask(&connection, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::Disconnected, false));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_asked_for_end_it() {
    for bytes in [answer(999), BytesMut::from(&[0, 0, 100, 0][..]), BytesMut::from(&[0xff; 8][..])] {
        let (connection, mut far) = connected(None);
        let waiting = asking(&connection, 1000);
        far.asked().await;
        far.0.write_all(&bytes).await.unwrap();
        assert!(waiting.await.unwrap().is_err());
        connection.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way() {
    let (connection, mut far) = connected(None);
    let waiting = asking(&connection, 1000);
    let number = far.asked().await.2;
    connection.close();
    assert!(!connection.is_open());
    far.answer(number).await;
    assert!(waiting.await.unwrap().is_ok());
    connection.closed().await;
    assert_eq!(far.0.read(&mut [0; 9]).await.unwrap(), 0, "the broker sees the end");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_and_an_old_login_end() {
    let (connection, _far) = connected(None);
    let start = Instant::now();
    connection.closed().await;
    assert!(start.elapsed() >= LIMITS.idle && start.elapsed() < LIMITS.idle * 2);
    let (connection, _far) = connected(Some(Duration::from_secs(10)));
    assert!(connection.is_open());
    sleep(Duration::from_secs(8)).await;
    assert!(!connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_queue_sends_nothing() {
    let (near, mut far) = duplex(10); // takes ten bytes, then the writer waits
    let raw = Raw::new(Box::new(near), "test", 1000, "who knows");
    let connection = Connection::start(Dialed { raw, lifetime: None }, "test", LIMITS);
    let (first, second) = (asking(&connection, 900), asking(&connection, 300));
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    let third = asking(&connection, 400);
    let mut sent = vec![0; 4096];
    let mut size = 0;
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(200), far.read(&mut sent[size..])).await {
        size += n;
    }
    assert!(first.await.unwrap().is_err() && third.await.unwrap().is_err());
    let length = 4 + usize::try_from(u32::from_be_bytes(*sent.first_chunk().unwrap())).unwrap();
    assert_eq!(size, 2 * length, "the second was never sent");
}

/// Polls once, as who doesn't wait.
fn once<F: Future>(call: Pin<&mut F>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(Waker::noop()))
}

/// What the far end can read at once.
fn there(far: &mut Far) -> usize {
    let mut bytes = [0; 4096];
    let mut bytes = ReadBuf::new(&mut bytes);
    let _none = Pin::new(&mut far.0).poll_read(&mut Context::from_waker(Waker::noop()), &mut bytes);
    bytes.filled().len()
}

#[tokio::test(start_paused = true)]
async fn who_sends_writes_at_once() {
    let (connection, mut far) = connected(None);
    let second = Duration::from_secs(1);
    {
        // No other task has run, the connection's own neither.
        let mut call = pin!(ask(&connection, second));
        assert!(once(call.as_mut()).is_pending());
        let size = there(&mut far);
        assert!(size > 20);
        // Once is enough.
        sleep(Duration::from_millis(1)).await;
        assert!(once(call.as_mut()).is_pending());
        assert_eq!(there(&mut far), 0);
        far.answer(1000).await;
        assert!(call.await.is_ok());
    }
    let post = MetadataRequest::default();
    let mut post = pin!(connection.post(&post, VERSION, Instant::now() + second));
    assert!(matches!(once(post.as_mut()), Poll::Ready(Ok(()))));
    assert_eq!(far.asked().await.2, 1001);
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_does_not_take_is_written_later() {
    for room in 1..60 {
        let (near, far) = duplex(room);
        let raw = Raw::new(Box::new(near), "test", 1000, "who knows");
        let (connection, mut far) = (Connection::start(Dialed { raw, lifetime: None }, "test", LIMITS), Far(far));
        let calls: Vec<_> = (0..4).map(|_| asking(&connection, 1000)).collect();
        sleep(Duration::from_millis(1)).await;
        // The first has begun, so it goes out as a whole.
        calls[0].abort();
        calls[2].abort();
        sleep(Duration::from_millis(1)).await;
        let mut numbers = Vec::new();
        while let Ok(Some(next)) = timeout(Duration::from_millis(100), far.next()).await {
            numbers.push(next.2);
        }
        // Those that were given up before they began don't.
        assert!(numbers.is_sorted() && numbers.first() == Some(&1000), "{numbers:?}");
        assert!(numbers.contains(&1001) && numbers.contains(&1003), "{numbers:?}");
        assert!(room > 20 || numbers.len() == 3, "{numbers:?}");
        let answering = tokio::spawn(async move {
            for number in numbers {
                far.answer(number).await;
            }
            far
        });
        for (at, call) in calls.into_iter().enumerate() {
            assert!(at % 2 == 0 || call.await.unwrap().is_ok());
        }
        answering.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_a_caller_stay_in_order_beside_others() {
    const CALLERS: usize = 4;
    const CALLS: usize = 400;
    let (near, far) = duplex(300);
    let raw = Raw::new(Box::new(near), "test", 1000, "who knows");
    let (connection, mut far) = (Connection::start(Dialed { raw, lifetime: None }, "test", LIMITS), Far(far));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let deadline = Instant::now() + Duration::from_secs(60);
                let name = TopicName(StrBytes::from_string(caller.to_string()));
                for _ in 0..CALLS / 4 {
                    let request = MetadataRequest::default()
                        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name.clone()))]));
                    let call = || connection.request(&request, VERSION, Duration::ZERO, deadline);
                    // Each is polled first in its turn.
                    let (one, two, three, four) = tokio::join!(biased; call(), call(), call(), call());
                    assert!(one.is_ok() && two.is_ok() && three.is_ok() && four.is_ok());
                }
            })
        })
        .collect();
    let mut last = [0; CALLERS];
    for _ in 0..CALLS * CALLERS {
        let (header, mut body) = far.request().await.unwrap();
        let request = MetadataRequest::decode(&mut body, VERSION).unwrap();
        let caller: usize = request.topics.unwrap()[0].name.as_ref().unwrap().parse().unwrap();
        assert!(header.correlation_id > last[caller], "{} after {}", header.correlation_id, last[caller]);
        last[caller] = header.correlation_id;
        far.answer(header.correlation_id).await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_rest_is_noticed_in_time() {
    let (connection, mut far) = connected(None);
    sleep(Duration::from_secs(10)).await;
    let (start, waiting) = (Instant::now(), asking(&connection, 60_000));
    far.asked().await;
    assert!(waiting.await.unwrap().is_err() && connection.fell_silent());
    assert!(start.elapsed() >= Duration::from_secs(4) && start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_last_handle() {
    let (connection, mut far) = connected(None);
    let (clone, start) = (connection.clone(), Instant::now());
    let waiting = asking(&connection, 60_000);
    far.asked().await;
    waiting.abort();
    drop(connection);
    sleep(Duration::from_millis(100)).await;
    assert!(clone.is_open());
    drop(clone);
    assert_eq!(far.0.read(&mut [0; 9]).await.unwrap(), 0);
    assert!(start.elapsed() < Duration::from_millis(110));
}

#[test]
fn it_ends_with_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let (connection, mut far) = theirs.block_on(async { connected(None) });
    let entered = ours.enter();
    let waiting = asking(&connection, 60_000);
    drop(entered);
    ours.block_on(far.asked());
    theirs.shutdown_timeout(Duration::from_secs(60));
    let error = ours.block_on(waiting).unwrap().unwrap_err();
    assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::Disconnected, true));
    assert!(!connection.is_open());
    let error = ours.block_on(ask(&connection, Duration::from_secs(60))).unwrap_err();
    assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::Disconnected, false));
}

#[tokio::test(start_paused = true)]
async fn versions_are_agreed_on_with_older_brokers_too() {
    let range = |key: i16, max| ApiVersion::default().with_api_key(key).with_max_version(max);
    let (mut raw, mut far) = raw();
    let broker = tokio::spawn(async move {
        assert_eq!(far.asked().await, (18, 4, 1));
        let refusal = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![range(18, 3)]);
        far.0.write_all(&frame(1, 0, 0, &refusal)).await.unwrap();
        assert_eq!(far.asked().await, (18, 3, 2));
        let response = ApiVersionsResponse::default().with_api_keys(vec![range(18, 3), range(3, 11)]);
        far.0.write_all(&frame(2, 0, 3, &response)).await.unwrap();
    });
    raw.agree().await.unwrap();
    assert_eq!(raw.versions.pick::<MetadataRequest>(), Ok(11));
    broker.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn strangers_are_told_apart() {
    for (bytes, kind, says) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ErrorKind::NotKafka, "web server"),
        (&[0x15, 3, 3, 0, 2, 2, 80], ErrorKind::NotKafka, "TLS"),
        (&[0, 0, 0, 5, 9, 9, 9, 9, 9], ErrorKind::NotKafka, "Kafka's protocol"),
        (&[], ErrorKind::Unreachable, "closed at the first request; who knows"),
    ] {
        let (mut raw, mut far) = raw();
        far.0.write_all(bytes).await.unwrap();
        let reading = tokio::spawn(async move {
            far.asked().await;
        });
        let error = raw.agree().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
        reading.await.unwrap();
    }
}
