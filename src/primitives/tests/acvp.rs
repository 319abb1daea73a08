use super::{bytes, vectors};
use crate::primitives::{ml_kem, sntrup761};
use crate::secret::Secret;

/// Algorithms 16 to 18 of FIPS 203 and its input checks.
#[test]
fn ml_kem_1024() {
    let (rows, kem) = (vectors("acvp-ml-kem-1024.json"), &ml_kem::KEM);
    assert!(rows.is_empty() || rows.len() == 80, "{}", rows.len());
    for row in rows {
        let field = |name: &str| bytes(&row[name]);
        match row["what"].as_str().unwrap() {
            "keygen" => {
                let seed = Secret::from_slice(&[field("d"), field("z")].concat()).unwrap();
                let (secret, public) = ml_kem::from_seed(&seed);
                assert_eq!((secret.expose(), public), (&field("dk")[..], field("ek")));
            }
            "encapsulate" => {
                let made = ml_kem::encapsulate_with(&field("ek"), &Secret::from_slice(&field("m")).unwrap());
                let (ciphertext, secret) = made.unwrap();
                assert_eq!((ciphertext, secret.expose().as_slice()), (field("c"), &field("k")[..]));
            }
            "decapsulate" => {
                let secret = (kem.decapsulate)(&field("dk"), &field("c")).unwrap();
                assert_eq!(secret.expose().as_slice(), field("k"));
            }
            "ek" => {
                let made = (kem.encapsulate)(&field("ek"), &mut super::rng());
                assert_eq!(Some(made.is_some()), row["valid"].as_bool(), "{}", row["reason"]);
            }
            "dk" => {
                assert_eq!(Some((kem.public_of)(&field("dk")).is_some()), row["valid"].as_bool(), "{}", row["reason"]);
            }
            other => panic!("{other}"),
        }
    }
}

/// What PQClean's C code made, the secrets of its implicit rejections too.
#[test]
fn sntrup761_s_known_answers() {
    let (rows, kem) = (vectors("sntrup761.json"), &sntrup761::KEM);
    for row in &rows {
        assert_eq!((kem.public_of)(&bytes(&row["secret"])).unwrap(), bytes(&row["public"]));
        let secret = (kem.decapsulate)(&bytes(&row["secret"]), &bytes(&row["ciphertext"])).unwrap();
        assert_eq!(secret.expose().as_slice(), bytes(&row["shared"]), "damaged: {}", row["damaged"]);
    }
    assert!(rows.is_empty() || rows.len() == 25, "{}", rows.len());
}
