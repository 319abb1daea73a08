//! Whole systems, with real files: every role, faults, restarts, changes of trust. Each test twice: over the broker in the
//! process, and over Apache Kafka where the environment names one ([`place`]); the faults are those that each can have.
//!
//! Where each row of protocol §15 that concerns a node is tested (`sim` is `src/engine/tests`, `system` is here):
//!
//! | # | tried | tests |
//! |---|---|---|
//! | 1 | a revoked key adds other keys to its leaf | sim `trust::a_revoked_key_gains_nothing_by_adding_other_keys_to_its_leaf`; `src/chain` and `vectors_chains` |
//! | 2 | a revocation while running | sim `trust::a_revoked_consumer_is_refused_…`, `a_revoked_producer_…`, `a_key_that_revokes_itself_…`; system `trust::a_revocation_counts_…` |
//! | 3 | small messages that cost much | sim `asking::requests_that_nobody_could_mean_…`; `src/wire`, `src/chain`, fuzz targets |
//! | 4 | malformed secrets, huge or countless indices | sim `asking::a_malformed_secret_…`, `wants_are_bounded_…`, `a_request_asks_for_500_…`; `src/exchange/tests.rs`; `src/keyring/tests.rs` |
//! | 5 | the background fails | system `supervisor::*` |
//! | 6 | old chains, self-revocations as new chains | sim `trust::only_a_later_chain_replaces_ours` |
//! | 7 | a restored or cloned seed | sim `producing::a_restored_seed_…`; system `restarts::a_seed_restored_…`, `a_cloned_node_…` |
//! | 8 | a claimed key index | sim `asking::both_secrets_are_kept_…`; system `trust::a_claimed_index_…` |
//! | 9 | replayed and flooded requests | sim `asking::a_replayed_request_…`, `a_flood_of_one_signer_…`, `requests_that_nobody_could_mean_…`; `src/chain/tests.rs` `of_a_type_4_chain_…`, `what_is_remembered_…` |
//! | 10 | garbage that names unknown indices | system `trust::garbage_doesnt_stall_…`; `src/keyring/tests.rs` |
//! | 11 | secrets in `Debug` and files | sim `producing::no_secret_stands_in_…`; `src/exchange/tests.rs`; `src/files/tests.rs` for modes and links |
//! | 12 | kill at any instruction | sim `crash::*`; system `restarts::*`; `src/files/tests.rs` |
//! | 13 | a wrong clock | sim `trust::before_the_clock_is_set_…`, `a_clock_that_falls_back_…`, `records_from_the_future_…`, `producing::a_secret_made_before_…` |
//! | 14 | injected plaintext | system `trust::what_is_injected_or_changed_…`; `src/message/tests.rs` |
//! | 15 | key topics with several partitions | system `roles::key_topics_with_several_partitions_…` |
//! | 16 | a push for a weaker exchange | sim `post_quantum::who_requires_…`; system `post_quantum::who_requires_…` |
//! | 17 | files shared with another process | system `restarts::files_are_held_…`; `src/files/tests.rs`, `tests/python_peer.rs` for Python's locks |

#![cfg(feature = "kafka")]

mod bad_network;
mod faults;
mod part;
mod place;
mod post_quantum;
mod restarts;
mod roles;
mod supervisor;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafkacrypto::message::State;
use kafkacrypto::runtime::{Event, Node};
use kafkacrypto::transport::{Outgoing, Transport};
use place::Place;

/// Far longer than anything takes here, on a busy machine too.
const SOON: Duration = Duration::from_secs(60);
/// How often what can't be waited for is looked at.
const POLL: Duration = Duration::from_millis(10);

async fn open(place: &Place, config: &Path) -> Node {
    open_on(place.transport(), config).await
}

async fn open_on(way: Arc<dyn Transport>, config: &Path) -> Node {
    Node::builder(config).transport(way).open().await.unwrap()
}

fn seal(node: &Node, topic: &str, text: &[u8]) -> Vec<u8> {
    node.value_serializer().serialize(topic, Some(text)).unwrap().unwrap()
}

/// Decrypts, and waits for the key if need be.
async fn read(node: &Node, topic: &str, sealed: &[u8]) -> Vec<u8> {
    let mut message = node.value_deserializer().deserialize(topic, Some(sealed));
    message.wait(SOON).await.unwrap_or_else(|error| panic!("{error}")).unwrap().to_vec()
}

fn state(node: &Node, topic: &str, sealed: &[u8]) -> State {
    node.value_deserializer().deserialize(topic, Some(sealed)).state()
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "never so: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The next event that is meant.
async fn event(events: &mut tokio::sync::broadcast::Receiver<Event>, is_meant: impl Fn(&Event) -> bool) -> Event {
    let search = async {
        loop {
            let event = events.recv().await.unwrap();
            if is_meant(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.expect("the event never came")
}
