//! The state machine against the model of a cluster, and case by case.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Action, Event, Parcel, Places, Rules, State, model};
use crate::kafka::produce::{ProducerConfig, ProducerRecord};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_happens(program in proptest::collection::vec(any::<u8>(), 0..600)) {
        model::run(&program);
    }
}

/// A batch for a connection that isn't there: whether it may have arrived when its time is up, and what of its request
/// still goes then.
fn expire(departs: bool) -> (bool, bool) {
    let config = ProducerConfig::new().idempotent(false);
    let mut state = State::new(Rules::new(&config, 1000, (SECOND, SECOND)), 7);
    let topic = Arc::from("t");
    state.learn(&topic, Some(Places { id: uuid::Uuid::from_u128(1), leaders: vec![Some(1)] }), Duration::ZERO);
    let record = ProducerRecord::new(topic, "v");
    let (delivery, _) = state.append(&record, 0, SECOND, 1, Duration::ZERO).unwrap();
    let mut parcels = Vec::new();
    for action in state.handle(Event::Tick, Duration::ZERO, &|_| false) {
        if let Action::Send(outgoing) = action {
            parcels.extend(outgoing.parcels);
        }
    }
    let [Parcel { slot, place, .. }] = parcels[..] else { panic!("{parcels:?}") };
    assert!(!departs || state.depart(slot, place));
    for action in state.handle(Event::Tick, SECOND, &|_| false) {
        if let Action::Report { report, piece, .. } = action {
            report.settle(piece);
        }
    }
    (delivery.now().unwrap().unwrap_err().may_have_arrived(), state.depart(slot, place))
}

#[test]
fn what_has_not_departed_when_its_time_is_up_never_does() {
    assert_eq!(expire(true), (true, false));
    assert_eq!(expire(false), (false, false));
}

const SECOND: Duration = Duration::from_secs(1);
