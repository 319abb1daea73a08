//! Who is dialled and who is asked, with fake brokers; waits in virtual time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{JoinGroupRequest, MetadataRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::fake::{FakeBroker, JOIN_GROUP};
use super::peers::Peer;
use super::{Attempts, Client, Lane, Target};
use crate::kafka::config::Config;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::tests::Far;

fn client(bootstrap: &[SocketAddr]) -> Client {
    let config = Config::new(bootstrap.iter().map(ToString::to_string)).setup_timeout(SETUP);
    Client::new(config.backoff(ms(10), ms(20))).unwrap()
}

async fn ask(client: &Client, to: Target, lane: Lane) -> Result<(), Error> {
    let build = |_, _| MetadataRequest::default();
    client.call_over(to, lane, Duration::ZERO, Instant::now() + SOON, build).await.map(drop)
}

/// For how long the answer could have been held back.
async fn poll(client: &Client) -> Result<Duration, Error> {
    let mut held = Duration::ZERO;
    let build = |_, hold| {
        held = hold;
        MetadataRequest::default()
    };
    client.call_over(Target::Broker(1), Lane::Poll, ms(500), Instant::now() + SOON, build).await?;
    Ok(held)
}

async fn any(client: &Client) -> Result<(), Error> {
    client.look(Some(Vec::new()), Instant::now() + SOON).await.map(drop)
}

fn addresses(peers: &[Arc<Peer>]) -> Vec<&str> {
    peers.iter().map(|peer| peer.address.as_str()).collect()
}

#[tokio::test]
async fn a_broker_that_moves_is_followed_and_its_old_connections_end() {
    let (old, new) = (FakeBroker::start().await, FakeBroker::start().await);
    old.says(&[(1, &old)]);
    let client = client(&[old.address]);
    any(&client).await.unwrap();
    ask(&client, Target::Broker(1), Lane::Main).await.unwrap();
    assert_eq!(old.accepted(), 1, "the connection to a bootstrap address is the broker's");
    ask(&client, Target::Broker(1), Lane::Poll).await.unwrap();
    assert_eq!((old.accepted(), new.accepted()), (2, 0));
    old.says(&[(1, &new)]);
    new.says(&[(1, &new)]);
    any(&client).await.unwrap();
    timeout(SOON, old.deserted()).await.expect("its connections end");
    for _ in 0..3 {
        ask(&client, Target::Broker(1), Lane::Main).await.unwrap();
        any(&client).await.unwrap();
    }
    assert_eq!((old.accepted(), new.accepted()), (2, 1));
}

#[tokio::test]
async fn a_broker_that_has_gone_is_not_asked() {
    let (one, two) = (FakeBroker::start().await, FakeBroker::start().await);
    one.says(&[(1, &one), (2, &two)]);
    let client = client(&[one.address]);
    ask(&client, Target::Broker(2), Lane::Main).await.unwrap();
    one.says(&[(1, &one)]);
    any(&client).await.unwrap();
    timeout(SOON, two.deserted()).await.expect("its connection ends");
    let error = ask(&client, Target::Broker(2), Lane::Main).await.unwrap_err();
    assert!(error.is_retriable() && error.message().contains("there is no broker 2"), "{error}");
}

#[tokio::test]
async fn a_dead_bootstrap_address_costs_no_more_than_setting_up_may() {
    let alive = FakeBroker::start().await;
    alive.says(&[(1, &alive)]);
    // Nobody listens; and one who accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (dead, within) in [(nobody(), SETUP), (silent.local_addr().unwrap(), SETUP * 3)] {
        let (client, start) = (client(&[dead, alive.address]), Instant::now());
        ask(&client, Target::Any, Lane::Main).await.unwrap();
        assert!(start.elapsed() < within, "{dead}: {:?}", start.elapsed());
        // From now on the one that answered comes first.
        let (peers, start) = (client.0.peers.any(), Instant::now());
        assert_eq!(addresses(&peers), [alive.address, dead].map(|address| address.to_string()));
        any(&client).await.unwrap();
        assert!(start.elapsed() < SETUP);
    }
}

#[tokio::test]
async fn a_silent_bootstrap_address_is_not_waited_for() {
    let alive = FakeBroker::start().await;
    alive.says(&[(1, &alive)]);
    let (silent, web) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), nobody_s_web_server().await);
    let silent = silent.local_addr().unwrap();
    let ask = async |bootstrap: &[SocketAddr]| {
        let config = Config::new(bootstrap.iter().map(ToString::to_string)); // connecting may take seconds
        let client = Client::new(config).unwrap();
        client.look(Some(Vec::new()), Instant::now() + ms(1500)).await
    };
    ask(&[silent, alive.address]).await.unwrap();
    ask(&[silent, web, alive.address]).await.unwrap();
    // What is wrong for good is told.
    for bootstrap in [[silent, web], [web, silent]] {
        assert_eq!(ask(&bootstrap).await.unwrap_err().kind(), ErrorKind::NotKafka);
    }
    let start = Instant::now();
    assert_eq!(ask(&[web, web]).await.unwrap_err().kind(), ErrorKind::NotKafka);
    assert!(start.elapsed() < ms(1000), "at once");
}

#[tokio::test]
async fn who_comes_too_late_is_not_kept() {
    let (slow, quick) = (FakeBroker::start().await, FakeBroker::start().await);
    quick.says(&[(1, &quick)]);
    slow.takes(ms(1000));
    let client = Client::new(Config::new([slow.address, quick.address].map(|address| address.to_string()))).unwrap();
    any(&client).await.unwrap();
    assert_eq!((slow.accepted(), quick.accepted()), (1, 1));
    timeout(ms(5000), slow.deserted()).await.expect("nobody needs it any more");
    assert!(client.0.peers.broker(1).is_some());
}

#[tokio::test]
async fn who_is_known_comes_before_the_bootstrap_addresses() {
    let (seed, one) = (FakeBroker::start().await, FakeBroker::start().await);
    seed.says(&[(1, &one)]);
    one.says(&[(1, &one)]);
    let client = client(&[seed.address]);
    any(&client).await.unwrap();
    timeout(SOON, seed.deserted()).await.expect("nobody needs it any more");
    assert_eq!(addresses(&client.0.peers.any()), [one.address, seed.address].map(|address| address.to_string()));
    any(&client).await.unwrap();
    assert_eq!((seed.accepted(), one.accepted()), (1, 1));
    // Nobody has them at no address: such an answer changes nothing.
    one.says(&[]);
    any(&client).await.unwrap();
    assert!(client.0.peers.broker(1).is_some());
}

#[tokio::test]
async fn many_at_once_share_two_connections() {
    let broker = FakeBroker::start().await;
    broker.says(&[(1, &broker)]);
    let client = client(&[broker.address]);
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                match n % 2 {
                    0 => ask(&client, Target::Broker(1), Lane::Main).await,
                    _ => poll(&client).await.map(drop),
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(broker.accepted(), 2);
    client.close().await;
    timeout(SOON, broker.deserted()).await.expect("closing ends them");
    assert_eq!(ask(&client, Target::Any, Lane::Main).await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_broker_with_a_quota_gets_its_quiet_or_an_answer_at_once() {
    let client = client(&[nobody()]);
    let peer = client.0.peers.any().remove(0);
    peer.throttled(ms(5000));
    peer.throttled(ms(1000)); // says nothing new
    let start = Instant::now();
    let error = peer.clone().way(Lane::Main, start + ms(4999)).await.err().unwrap();
    assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::TimedOut, false));
    assert!(error.message().contains("quota") && start.elapsed() == Duration::ZERO, "{error}");
    assert_eq!(peer.clone().way(Lane::Main, start + ms(9000)).await.err().unwrap().kind(), ErrorKind::Unreachable);
    assert!(start.elapsed() >= ms(5000) && start.elapsed() < ms(9000));
}

#[tokio::test]
async fn nobody_waits_behind_what_is_held_back_for_long() {
    let broker = FakeBroker::start().await;
    broker.says(&[(1, &broker)]);
    broker.never_answers(JOIN_GROUP);
    let client = client(&[broker.address]);
    ask(&client, Target::Broker(1), Lane::Main).await.unwrap();
    assert_eq!((poll(&client).await.unwrap(), broker.accepted()), (ms(500), 2));
    let join = || {
        let client = client.clone();
        tokio::spawn(async move {
            let build = |_, _| JoinGroupRequest::default();
            client.call_over(Target::Broker(1), Lane::Join, SOON, Instant::now() + SOON, build).await.map(drop)
        })
    };
    let (first, second) = (join(), join());
    while broker.accepted() < 3 {
        sleep(ms(10)).await; // each over a connection of its own: one may wait for the other
    }
    assert!(poll(&client).await.unwrap() < ms(500));
    first.abort();
    second.abort();
    assert!(first.await.is_err() && second.await.is_err());
    // The broker still holds back what was given up.
    assert!(poll(&client).await.unwrap() < ms(500));
    assert_eq!(broker.accepted(), 3);
    client.close().await;
    timeout(SOON, broker.deserted()).await.expect("closing ends them");
}

#[tokio::test]
async fn a_poll_waits_for_what_was_lent_until_its_deadline() {
    let broker = FakeBroker::start().await;
    broker.says(&[(1, &broker)]);
    let client = client(&[broker.address]);
    any(&client).await.unwrap();
    let peer = client.0.peers.broker(1).unwrap();
    let way = async |lane, within| peer.clone().way(lane, Instant::now() + within).await;
    let (lent, start) = (way(Lane::Spare, SOON).await.unwrap(), Instant::now());
    drop(way(Lane::Poll, ms(100)).await.unwrap());
    assert!(start.elapsed() >= ms(100));
    let (polling, ()) = tokio::join!(way(Lane::Poll, SOON), async {
        sleep(ms(100)).await;
        assert_eq!(way(Lane::Spare, SOON).await.err().unwrap().kind(), ErrorKind::Disconnected, "it is waited for");
        drop(lent);
    });
    assert!(polling.is_ok() && start.elapsed() < SOON && !peer.has_spare());
}

#[tokio::test]
async fn nothing_is_lent_behind_what_was_given_up_until_it_is_answered() {
    let broker = FakeBroker::start().await;
    broker.says(&[(1, &broker)]);
    let client = client(&[broker.address]);
    ask(&client, Target::Broker(1), Lane::Join).await.unwrap();
    let peer = client.0.peers.broker(1).unwrap();
    broker.takes(ms(3000));
    let start = Instant::now();
    let build = |_, _| MetadataRequest::default();
    let join = client.call_over(Target::Broker(1), Lane::Join, SOON, start + SOON, build);
    timeout(ms(200), join).await.unwrap_err();
    sleep(ms(2300)).await;
    assert!(start.elapsed() > ms(2300) && !peer.has_spare());
    timeout(SOON, async {
        while !peer.has_spare() {
            sleep(ms(10)).await;
        }
    })
    .await
    .unwrap();
    assert!(start.elapsed() >= ms(3000));
}

#[tokio::test(start_paused = true)]
async fn attempts_wait_longer_each_time_and_end_before_the_deadline() {
    let times = Config::new(["b:1"]).backoff(ms(100), ms(1000)).times();
    let start = Instant::now();
    let mut attempts = Attempts::new(times, start + ms(5000));
    let mut waits = Vec::new();
    let error = loop {
        let asked = Instant::now();
        match attempts.again(Error::new(ErrorKind::Unreachable, "nobody there")).await {
            Ok(()) => waits.push(asked.elapsed()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    for (wait, about) in waits.iter().zip([100, 200, 400, 800, 1000, 1000, 1000, 1000]) {
        assert!((ms(about * 8 / 10)..=ms(about * 12 / 10 + 1)).contains(wait), "{waits:?}");
    }
    let last = start.elapsed();
    assert!((6..=8).contains(&waits.len()) && last < ms(5000) && last > ms(3700), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_once_where_another_is_of_no_use_and_say_what_went_wrong_first() {
    let times = Config::new(["b:1"]).times();
    let (start, late) = (Instant::now(), || Error::new(ErrorKind::TimedOut, "no answer in time"));
    let mut attempts = Attempts::new(times, start + ms(60_000));
    let refused = attempts.again(Error::new(ErrorKind::Authentication, "wrong password")).await.unwrap_err();
    assert_eq!((refused.kind(), start.elapsed()), (ErrorKind::Authentication, Duration::ZERO));
    // No time is left for another attempt: that says less than what went wrong before.
    let mut attempts = Attempts::new(times, start + ms(2000));
    attempts.again(Error::new(ErrorKind::Unreachable, "nobody there")).await.unwrap();
    sleep(ms(2000)).await;
    assert_eq!(attempts.again(late()).await.unwrap_err().message(), "nobody there");
    let mut attempts = Attempts::new(times, Instant::now());
    assert_eq!(attempts.again(late()).await.unwrap_err().kind(), ErrorKind::TimedOut);
}

async fn nobody_s_web_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            tokio::spawn(async move {
                let mut far = Far(stream);
                while far.next().await.is_some() {}
            });
        }
    });
    address
}

fn nobody() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How long dialling may take.
const SETUP: Duration = Duration::from_secs(1);
/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(20);
