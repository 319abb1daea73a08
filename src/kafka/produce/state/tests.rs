//! The state machine against the model of a cluster, and case by case.

use proptest::prelude::*;

use super::model;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_happens(program in proptest::collection::vec(any::<u8>(), 0..600)) {
        model::run(&program);
    }
}
