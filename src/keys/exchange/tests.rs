use super::*;

fn read(bytes: &[u8]) -> Result<ExchangeKey, KeyError> {
    read_all(bytes, "key", ExchangeKey::decode)
}

#[test]
fn hybrids_are_read_and_kept() {
    for (version, length, offer) in [(2, 1158, true), (3, 1039, false), (5, 1568, true), (6, 1568, false)] {
        let mut out = Writer::new();
        encode(&mut out, version, &[1; 32], &vec![2; length]);
        let bytes = out.finish();
        let key = read(&bytes).unwrap();
        let mut again = Writer::new();
        key.encode(&mut again);
        assert_eq!(again.finish(), bytes);
        assert_eq!(key.clone().into_offer().is_some(), offer);
        assert_eq!(key.into_answer().is_some(), !offer);
    }
}

#[test]
fn wrong_lengths_and_versions_are_refused() {
    let mut short = Writer::new();
    encode(&mut short, 5, &[1; 32], &[2; 1567]);
    assert!(matches!(read(&short.finish()), Err(KeyError::Length { expected: 1568, found: 1567, .. })));
    let mut unknown = Writer::new();
    encode(&mut unknown, 9, &[1; 32], &[]);
    assert_eq!(read(&unknown.finish()), Err(KeyError::UnknownVersion(9)));
    assert!(matches!(read(b"\xc4\x02ab"), Err(KeyError::Length { expected: 32, found: 2, .. })));
}

const ALL: [Scheme; 3] = [Scheme::X25519, Scheme::X25519Sntrup761, Scheme::X25519MlKem1024];

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

/// RFC 7748 §7: the points whose order divides 8, in every encoding.
fn low_order_points() -> Vec<[u8; 32]> {
    let p = |last: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (last, 0x7f);
        bytes
    };
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut one = [0; 32];
    one[0] = 1;
    let named = order_8.map(|text| hex::decode(text).unwrap().try_into().unwrap());
    let mut points: Vec<[u8; 32]> = [[0; 32], one, p(0xec), p(0xed), p(0xee)].into_iter().chain(named).collect();
    let with_top_bit = |mut point: [u8; 32]| {
        point[31] |= 0x80;
        point
    };
    points.extend(points.clone().into_iter().map(with_top_bit));
    points
}

#[test]
fn low_order_points_give_no_secret_in_any_position() {
    for scheme in ALL {
        let mine = Ephemeral::generate(scheme, &mut rng());
        let (answer, _) = mine.offer().answer(&mut rng()).unwrap();
        for x25519 in low_order_points() {
            let offer = OfferKey { x25519, ..mine.offer().clone() };
            assert_eq!(offer.answer(&mut rng()).unwrap_err(), KeyError::LowOrder, "{scheme} {x25519:02x?}");
            let answer = AnswerKey { x25519, ..answer.clone() };
            assert_eq!(mine.complete(&answer).unwrap_err(), KeyError::LowOrder, "{scheme} {x25519:02x?}");
        }
        assert!(mine.complete(&answer).is_ok());
    }
}

#[test]
fn ml_kem_keys_out_of_range_are_refused() {
    let mine = Ephemeral::generate(Scheme::X25519MlKem1024, &mut rng());
    for (at, number) in [(0, 3329_u16), (0, 4095), (511, 3329), (1023, 4095)] {
        let mut offer = mine.offer().clone();
        let place = &mut offer.kem_public[at / 2 * 3..at / 2 * 3 + 3];
        let bits = if at % 2 == 0 { u32::from(number) } else { u32::from(number) << 12 };
        place.copy_from_slice(&bits.to_le_bytes()[..3]);
        assert_eq!(offer.answer(&mut rng()).unwrap_err(), KeyError::OutOfRange("x25519+mlkem1024"), "{at}");
    }
    let (secret, kem) = mine.secrets();
    let mut damaged = kem.expose().to_vec();
    damaged[2000] ^= 1;
    let read = Ephemeral::from_secrets(Scheme::X25519MlKem1024, secret.duplicate(), &damaged);
    assert_eq!(read.unwrap_err(), KeyError::Mismatch);
}

#[test]
fn both_halves_of_a_hybrid_count() {
    for scheme in [Scheme::X25519Sntrup761, Scheme::X25519MlKem1024] {
        let mine = Ephemeral::generate(scheme, &mut rng());
        let (answer, theirs) = mine.offer().answer(&mut rng()).unwrap();
        let (secret, kem) = mine.secrets();
        let again = Ephemeral::from_secrets(scheme, secret.duplicate(), kem.expose()).unwrap();
        assert_eq!(again.complete(&answer).unwrap().expose(), theirs.expose());
        let mut other = answer.clone();
        other.kem_ciphertext[100] ^= 1;
        let damaged = mine.complete(&other).unwrap();
        assert_eq!(damaged.expose()[..32], theirs.expose()[..32]);
        assert_ne!(damaged.expose()[32..], theirs.expose()[32..]);
        let (stranger, _) = mine.offer().answer(&mut rng()).unwrap();
        let mixed = AnswerKey { x25519: stranger.x25519, ..answer };
        assert_ne!(mine.complete(&mixed).unwrap().expose()[..32], theirs.expose()[..32]);
    }
}

#[test]
fn answers_are_for_their_scheme_only_and_no_offers() {
    let all: Vec<Ephemeral> = ALL.iter().map(|scheme| Ephemeral::generate(*scheme, &mut rng())).collect();
    for mine in &all {
        let read = ExchangeKey::from_bytes(&mine.offer().to_bytes()).unwrap();
        assert_eq!(read.into_answer().is_some(), mine.offer().scheme() == Scheme::X25519, "an answer of an offer type");
        for other in all.iter().filter(|other| other.offer().scheme() != mine.offer().scheme()) {
            let (answer, _) = other.offer().answer(&mut rng()).unwrap();
            assert_eq!(mine.complete(&answer).unwrap_err(), KeyError::SchemeMismatch);
        }
    }
}

#[test]
fn every_length_but_one_is_refused() {
    for (version, right) in [(2, 1158), (3, 1039), (5, 1568), (6, 1568)] {
        for length in [0, 31, right - 1, right + 1, 2 * right] {
            let mut out = Writer::new();
            encode(&mut out, version, &[1; 32], &vec![2; length]);
            assert!(matches!(read(&out.finish()), Err(KeyError::Length { expected, .. }) if expected == right));
        }
        let mut short = Writer::new();
        short.array(2).uint(version).array(2).bin(&[1; 31]).bin(&vec![2; right]);
        assert!(matches!(read(&short.finish()), Err(KeyError::Wire(_))));
    }
    for (scheme, right) in ALL.into_iter().zip([0, 1763, 3168]) {
        let read = Ephemeral::from_secrets(scheme, Secret::filled(|s| s.fill(5)), &vec![0; right + 1]);
        assert!(matches!(read, Err(KeyError::Length { expected, .. }) if expected == right));
    }
}
