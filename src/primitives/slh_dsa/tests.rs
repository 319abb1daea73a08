use slh_dsa::signature::Verifier;
use slh_dsa::{Shake128f, Signature, SigningKey, VerifyingKey};

use super::*;
use crate::primitives::sha256;
use crate::primitives::tests::{bytes, vectors};

#[test]
fn signs_and_refuses() {
    let key = Key::from_seed(&[9; 48]);
    let mut signature = key.sign(b"message");
    assert_eq!(signature.len(), 17_088);
    assert!(verify(&key.public(), b"message", &signature));
    assert!(!verify(&key.public(), b"massage", &signature));
    assert!(!verify(&key.public(), b"message", &signature[1..]));
    signature[17_000] ^= 1;
    assert!(!verify(&key.public(), b"message", &signature));
}

#[test]
fn a_root_must_belong_to_its_seeds() {
    let mut bytes = *Key::from_seed(&[9; 48]).to_bytes().expose();
    assert!(Key::from_bytes(&bytes).is_some());
    bytes[63] ^= 1;
    assert!(Key::from_bytes(&bytes).is_none());
}

/// NIST's vectors: whole keys, signatures with and without randomness, and which signatures verify.
#[test]
fn acvp() {
    let rows = vectors("acvp-slh-dsa-shake-128f.json");
    assert!(rows.is_empty() || rows.len() == 66, "{}", rows.len());
    for row in rows {
        let field = |name: &str| bytes(&row[name]);
        let prefix = row["context"].is_string().then(|| {
            let context = field("context");
            [&[0, u8::try_from(context.len()).unwrap()][..], &context].concat()
        });
        let prefix = prefix.unwrap_or_default();
        match row["what"].as_str().unwrap() {
            "keygen" => {
                let key = Key::from_seed(&field("seed").try_into().unwrap());
                assert_eq!(
                    (key.to_bytes().expose().to_vec(), key.public().to_vec()),
                    (field("secret"), field("public"))
                );
            }
            "sign" => {
                let key = Key::from_bytes(&field("secret").try_into().unwrap()).unwrap();
                let randomness = (!row["randomness"].is_null()).then(|| field("randomness").try_into().unwrap());
                let randomness = randomness.unwrap_or(part(&key.public(), 0));
                let signature = key.sign_internal(&[&prefix, &field("message")], &randomness);
                assert_eq!(sha256::hash(&[&signature]).to_vec(), field("signature_sha256"));
            }
            "verify" => {
                let public = field("public").try_into().unwrap();
                let good = verify_internal(&public, &[&prefix, &field("message")], &field("signature"));
                assert_eq!(Some(good), row["valid"].as_bool());
            }
            other => panic!("{other}"),
        }
    }
}

/// Against RustCrypto's: the same keys and signatures, and each takes the other's, and no damaged one.
#[test]
fn rust_crypto_s_agrees() {
    for n in 0..3_u8 {
        let seed: [u8; 48] = std::array::from_fn(|at| u8::try_from(at).unwrap().wrapping_mul(29) ^ n);
        let (ours, message) = (Key::from_seed(&seed), vec![n; usize::from(n) * 500]);
        let theirs = SigningKey::<Shake128f>::slh_keygen_internal(&seed[..16], &seed[16..32], &seed[32..]);
        assert_eq!(ours.to_bytes().expose()[..], theirs.to_bytes()[..]);
        let mut signature = ours.sign(&message);
        assert_eq!(signature, theirs.try_sign_with_context(&message, &[], None).unwrap().to_vec());
        let public: &VerifyingKey<Shake128f> = theirs.as_ref();
        for at in [None, Some(0), Some(100), Some(3_800), Some(17_087)] {
            at.into_iter().for_each(|at: usize| signature[at] ^= 1 << n);
            let read = Signature::<Shake128f>::try_from(&signature[..]).unwrap();
            assert_eq!(verify(&ours.public(), &message, &signature), at.is_none());
            assert_eq!(public.verify(&message, &read).is_ok(), at.is_none());
        }
    }
}
