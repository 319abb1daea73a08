use super::*;

#[test]
fn every_form_of_a_public_key_is_read() {
    let hybrid = SigningPublicKey::Ed25519SlhDsa { ed25519: [1; 32], slh_dsa: [2; 32] };
    let single = SigningPublicKey::Ed25519([1; 32]);
    let read = |bytes: &[u8]| read_all(bytes, "key", SigningPublicKey::decode).unwrap();
    let mut out = Writer::new();
    hybrid.encode(&mut out);
    assert_eq!(read(&out.finish()), hybrid);
    let mut wrapped = Writer::new();
    wrapped.bin(&hybrid.to_bytes());
    assert_eq!(read(&wrapped.finish()), hybrid);
    let mut typed = Writer::new();
    typed.array(2).uint(1).bin(&[1; 32]);
    assert_eq!(read(&typed.finish()), single);
    let mut text = Writer::new();
    text.str_bytes(&[1; 32]);
    assert_eq!(read(&text.finish()), single);
}

#[test]
fn unknown_types_are_told_from_damage() {
    assert_eq!(SigningPublicKey::from_bytes(b"\x92\x09\xc0"), Err(KeyError::UnknownVersion(9)));
    assert!(matches!(SigningPublicKey::from_bytes(&[1; 31]), Err(KeyError::Wire(_))));
}

fn type_4(seed: u8) -> SigningKey {
    SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[seed; 80]).unwrap()
}

#[test]
fn secrets_survive_and_stay_unseen() {
    for key in [SigningKey::from_ed25519_seed(&[9; 32]), type_4(9)] {
        let read = SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
        assert_eq!(read.public(), key.public());
        let debug = format!("{key:?}");
        assert!(!debug.contains(&hex::encode([9; 8])) && !debug.contains("9, 9"), "{debug}");
    }
}

#[test]
fn secret_keys_of_another_length_or_with_another_s_public_half_are_refused() {
    let good = type_4(9).to_bytes().expose().to_vec();
    for at in [60, 134] {
        let mut mixed = good.clone();
        mixed[at] ^= 1;
        assert_eq!(SigningKey::from_bytes(&mixed).unwrap_err(), KeyError::Mismatch, "byte {at}");
    }
    for length in [0, 63, 65, 134] {
        assert!(SigningKey::from_bytes(&good[..length]).is_err(), "{length} bytes");
    }
    for (kind, length) in [(SigningType::Ed25519, 80), (SigningType::Ed25519SlhDsa, 32), (SigningType::Ed25519, 0)] {
        assert!(matches!(SigningKey::from_seed(kind, &vec![1; length]), Err(KeyError::Length { .. })));
    }
    let mut unknown = Writer::new();
    unknown.array(2).uint(9).bin(&[1; 64]);
    assert_eq!(SigningKey::from_bytes(&unknown.finish()).unwrap_err(), KeyError::UnknownVersion(9));
}

#[test]
fn both_halves_of_a_signature_of_type_4_count() {
    let (key, message) = (type_4(9), b"message");
    let (signed, public) = (key.sign(message), key.public());
    let (slh, rest) = signed.split_at(slh_dsa::SIGNATURE);
    let (ed, _) = rest.split_at(64);
    assert_eq!(public.open(&signed).unwrap(), message);
    let refused = |what: &str, signed: &[u8]| assert_eq!(public.open(signed), Err(KeyError::Signature), "{what}");
    for at in [0, 16, 5000, slh.len() - 1, slh.len(), slh.len() + 63, signed.len() - 1] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        refused(&format!("byte {at}"), &changed);
    }
    for length in [0, 64, slh.len(), slh.len() + 63, slh.len() + 64, signed.len() - 1] {
        refused(&format!("{length} bytes"), &signed[..length]);
    }
    refused("swapped", &[ed, slh, message].concat());
    refused("the classical half alone", rest);
    refused("the post-quantum half alone", &[slh, message].concat());
    refused(
        "the post-quantum half over the message alone",
        &[&key.slh_dsa.as_ref().unwrap().sign(message), rest].concat(),
    );
    let other = type_4(8).sign(message);
    refused("another key's post-quantum half", &[&other[..slh.len()], rest].concat());
    refused("another key's classical half", &[slh, &other[slh.len()..]].concat());
    refused("more in front", &[&[0], &signed[..]].concat());
}

#[test]
fn the_cheap_half_comes_first_and_is_not_enough() {
    let signed = type_4(9).sign(b"message");
    let (key, mut changed) = (type_4(9), signed.clone());
    changed[100] ^= 1;
    assert_eq!(key.public().open_ed25519(&changed).unwrap(), b"message");
    assert_eq!(key.public().check_slh_dsa(&changed), Err(KeyError::Signature));
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(key.public().open_ed25519(&changed), Err(KeyError::Signature));
    assert_eq!(key.public().check_slh_dsa(&signed), Ok(()));
    let classical = SigningKey::from_ed25519_seed(&[9; 32]);
    assert_eq!(classical.public().check_slh_dsa(&classical.sign(b"")), Ok(()));
}
