//! Connections over a pipe, with a broker that does what a test says, in virtual time.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

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
        let size = self.0.read_u32().await.ok()?;
        let mut frame = vec![0; size as usize];
        self.0.read_exact(&mut frame).await.ok()?;
        let header = RequestHeader::decode(&mut bytes::Bytes::from(frame), 2).unwrap();
        Some((header.request_api_key, header.request_api_version, header.correlation_id))
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
