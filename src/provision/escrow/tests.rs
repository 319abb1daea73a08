use super::*;
use crate::keys::RatchetState;
use crate::wire::WireError;

const SCHEMES: [Scheme; 3] = [Scheme::X25519, Scheme::X25519Sntrup761, Scheme::X25519MlKem1024];

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

fn secret_of(byte: u8) -> Secret<32> {
    Secret::filled(|place| place.fill(byte))
}

#[test]
fn every_scheme_gives_back_what_was_sealed() {
    for scheme in SCHEMES {
        let key = EscrowKey::generate(scheme, &mut rng());
        let public = EscrowPublicKey::from_bytes(&key.public().to_bytes()).unwrap();
        assert_eq!(public, key.public());
        let read = EscrowKey::from_bytes(key.to_bytes().expose()).unwrap();
        assert_eq!(read.public(), public);
        let sealed = public.seal(&secret_of(7), &mut rng()).unwrap();
        assert!(read.open(&sealed).unwrap().same_as(&secret_of(7)));
        assert_ne!(public.seal(&secret_of(7), &mut rng()).unwrap(), sealed);
        let seed = RatchetState::new(0, read.open(&sealed).unwrap());
        assert_eq!(seed.encode(), RatchetState::new(0, secret_of(7)).encode());
    }
}

#[test]
fn what_was_changed_or_cut_is_refused() {
    for scheme in SCHEMES {
        let key = EscrowKey::generate(scheme, &mut rng());
        let sealed = key.public().seal(&secret_of(7), &mut rng()).unwrap();
        // a spread of places, since a decapsulation each costs time
        for at in (0..sealed.len()).step_by(sealed.len() / 97 + 1).chain(0..6).chain(sealed.len() - 80..sealed.len()) {
            let mut changed = sealed.clone();
            changed[at] ^= 0x40;
            assert!(key.open(&changed).is_err(), "{scheme}: byte {at}");
        }
        for length in (0..sealed.len()).step_by(sealed.len() / 97 + 1) {
            assert!(key.open(&sealed[..length]).is_err(), "{scheme}: {length} bytes");
        }
        assert_eq!(key.open(&[&sealed[..], b"\0"].concat()).unwrap_err(), EscrowError::Sealed);
    }
}

#[test]
fn keys_of_other_schemes_say_so() {
    for scheme in SCHEMES {
        let sealed = EscrowKey::generate(scheme, &mut rng()).public().seal(&secret_of(7), &mut rng()).unwrap();
        for other in SCHEMES {
            let error = EscrowKey::generate(other, &mut rng()).open(&sealed).unwrap_err();
            let expected = if other == scheme {
                EscrowError::Sealed
            } else {
                EscrowError::OtherScheme { sealed: scheme, key: other }
            };
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn an_answer_is_no_escrow_key_and_a_low_order_point_takes_nothing() {
    let (answer, _) = EscrowKey::generate(Scheme::X25519MlKem1024, &mut rng()).0.offer().answer(&mut rng()).unwrap();
    let error = EscrowPublicKey::from_bytes(&answer.to_bytes()).unwrap_err();
    assert_eq!(error, EscrowError::NotAPublicKey(KeyError::SchemeMismatch));
    let low = EscrowPublicKey::from_bytes(&[0; 32]).unwrap();
    assert_eq!(low.seal(&secret_of(7), &mut rng()).unwrap_err(), EscrowError::BadKey(KeyError::LowOrder));
    assert!(matches!(EscrowPublicKey::from_bytes(b""), Err(EscrowError::NotAPublicKey(_))));
}

#[test]
fn no_other_file_is_taken_for_a_secret_key() {
    let seed = RatchetState::fresh(&mut rng()).encode();
    assert!(matches!(
        EscrowKey::from_bytes(&seed),
        Err(EscrowError::NotAKey(KeyError::Wire(WireError::Unexpected { .. })))
    ));
    let mut out = Writer::new();
    out.array(4).str("escrow").uint(9).bin(&[1; 32]).bin(&[]);
    let error = EscrowKey::from_bytes(&out.finish()).unwrap_err();
    assert_eq!(error, EscrowError::NotAKey(KeyError::UnknownVersion(9)));
    let mut out = Writer::new();
    out.array(4).str("escrow").uint(5).bin(&[1; 32]).bin(&[2; 3167]);
    assert!(matches!(EscrowKey::from_bytes(&out.finish()), Err(EscrowError::NotAKey(KeyError::Length { .. }))));
}

#[test]
fn debug_shows_no_secret() {
    let key = EscrowKey::new(Ephemeral::from_x25519(secret_of(0x5a)));
    assert!(!format!("{key:?}").contains("90, 90") && !format!("{key:?}").contains("5a5a"));
}
