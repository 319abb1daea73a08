//! The transports against their contract: the broker in the process, and Apache Kafka where the environment names one,
//! by way of our own client and, with the feature `rskafka`, of that crate.
#![cfg(feature = "kafka")]

mod contract;
mod ours;
mod raw;
#[cfg(feature = "rskafka")]
mod rskafka;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use kafkacrypto::transport::Outgoing;
use kafkacrypto::transport::memory::Broker;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    contract::check(&Broker::new().transport(), &support::fresh("contract")).await;
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn value(text: &str) -> Outgoing {
    Outgoing::new(None, Some(text.as_bytes().to_vec())).at(1_700_000_000_000)
}

/// Every scenario as a test of one transport.
#[macro_export]
macro_rules! scenarios {
    ($way:ty) => {
        $crate::scenarios! { $way:
            the_contract,
            the_contract_with_credentials,
            a_wrong_password_is_refused_at_once,
            no_password_where_one_is_needed_ends_in_time,
            nobody_there_ends_in_time,
            one_that_never_answers_ends_in_time,
            a_black_hole_ends_every_call_in_time_and_heals,
            a_broker_that_comes_back_is_used_again,
            a_broker_is_killed_and_started_again,
            asking_creates_no_topic,
            two_hundred_topics_and_still_quick
        }
    };
    ($way:ty: $($scenario:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scenario() {
            $crate::scenarios::$scenario::<$way>().await;
        })*
    };
}
