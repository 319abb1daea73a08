//! Apache Kafka behind a network that breaks, holds answers back and loses them.

use super::*;
use faults::{away_at_the_start, black_hole, each_once, suffer};
use support::Proxy;

/// The same as under the faults of the broker in the process, under trouble that comes again and again.
async fn suffer_trouble(trouble: impl AsyncFn(&Proxy)) {
    let Some(place) = Place::kafka() else { return };
    let proxy = place.proxy().await;
    amid(|| trouble(&proxy), suffer(|| place.by(&proxy.address), place.by(&proxy.address))).await;
}

/// Works amid trouble that ends some time: else all that is sent again after a pause could meet it again.
async fn amid(trouble: impl AsyncFn(), work: impl Future<Output = ()>) {
    let mut times = 0;
    let troubled = async {
        while times < 8 {
            trouble().await;
            times += 1;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = work => {}
        () = troubled => {}
    }
    assert!(times > 0, "no trouble");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_break() {
    suffer_trouble(async |proxy| {
        pause(150).await;
        proxy.cut();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_writing_get_lost() {
    suffer_trouble(async |proxy| lose(proxy).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_held_back() {
    suffer_trouble(async |proxy| {
        for hold in [true, false] {
            proxy.hold(hold);
            pause(100).await;
        }
    })
    .await;
}

/// The answer to a produce is lost, after a while in which what was lost before could be repeated.
async fn lose(proxy: &Proxy) {
    pause(150).await;
    proxy.lose(PRODUCE, 1);
    while proxy.loses() {
        pause(10).await;
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_holds_nothing_up_but_the_exchange() {
    let Some(place) = Place::kafka() else { return };
    let proxy = place.proxy().await;
    proxy.refuse(true);
    away_at_the_start([(); 2].map(|()| place.by(&proxy.address)), || proxy.refuse(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_ends_when_the_call_does() {
    let Some(place) = Place::kafka() else { return };
    let proxy = place.proxy().await;
    black_hole(&place, place.by(&proxy.address), |hole| proxy.swallow(hole)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_and_none_doubled_by_us() {
    let Some(place) = Place::kafka() else { return };
    let proxy = place.proxy().await;
    let trouble = async || {
        lose(&proxy).await;
        pause(100).await;
        proxy.cut();
    };
    amid(trouble, each_once(&place, place.by(&proxy.address), place.by(&proxy.address))).await;
}

/// The number of Kafka's API.
const PRODUCE: i16 = 0;
