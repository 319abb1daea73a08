use proptest::prelude::*;

use super::*;

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

fn pair(seed: u8) -> Vec<u8> {
    SigningKey::from_ed25519_seed(&[seed; 32]).to_bytes().expose().to_vec()
}

/// `msgpack([4, [ed25519, slh-dsa]])`.
fn hybrid(seed: u8) -> Vec<u8> {
    type_4(seed).to_bytes().expose().to_vec()
}

fn type_4(seed: u8) -> SigningKey {
    SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[seed; 80]).unwrap()
}

fn unknown() -> Vec<u8> {
    let mut out = Writer::new();
    out.array(2).uint(9).bin(b"from the future");
    out.finish()
}

fn file(format: u64, keys: &[&[u8]], versions: &[u64]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(5).uint(format);
    if format != 1 {
        out.array(count(keys));
    }
    keys.iter().for_each(|key| _ = out.bin(key));
    out.bin(&[7; 32]).bool(false).array(count(versions));
    versions.iter().for_each(|version| _ = out.uint(*version));
    out.finish()
}

fn oldest() -> Vec<u8> {
    let mut out = Writer::new();
    out.array(2).bin(&pair(1)).bin(&[7; 32]);
    out.finish()
}

#[test]
fn files_of_every_age_are_read_and_written_in_the_newest_form() {
    let newest = file(2, &[&pair(1)], &[1]);
    for (bytes, outdated, legacy) in [
        (newest.clone(), false, false),
        (file(1, &[&pair(1)], &[1]), true, false),
        (oldest(), true, true),
        ([newest.clone(), b"left over".to_vec()].concat(), false, false),
    ] {
        let read = KeyFile::decode(&bytes).unwrap();
        assert_eq!((read.needs_upgrade(), read.legacy()), (outdated, legacy));
        let again = KeyFile::decode(&read.encode()).unwrap();
        assert!(!again.needs_upgrade());
        assert_eq!((again.legacy(), again.versions()), (legacy, &[1][..]));
        assert_eq!(again.node_bytes(None), pair(1)[32..]);
        assert_eq!(again.ek().expose(), &[7; 32]);
        if !legacy {
            assert_eq!(*read.encode(), newest);
        }
    }
}

#[test]
fn what_is_not_known_is_kept_and_passed_over() {
    let bytes = file(2, &[&unknown(), &hybrid(2), &pair(1)], &[9, 5, 1]);
    let read = KeyFile::decode(&bytes).unwrap();
    assert_eq!(*read.encode(), bytes);
    assert_eq!(read.signing_keys(None).map(|(index, _)| index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(read.schemes(), [Scheme::X25519MlKem1024, Scheme::X25519]);
    assert_eq!(
        read.warnings(),
        [KeyFileWarning::UnknownSigningType(Some(9)), KeyFileWarning::UnknownExchangeVersion(9),]
    );
    for warning in read.warnings() {
        assert!(warning.to_string().ends_with("is kept, unused"), "{warning}");
    }
}

#[test]
fn the_node_is_its_enabled_keys_in_the_order_of_the_file() {
    let read = KeyFile::decode(&file(2, &[&hybrid(2), &pair(1)], &[1])).unwrap();
    let first = type_4(2).public().to_bytes();
    assert_eq!(read.node_bytes(None), [&first[..], &pair(1)[32..]].concat());
    assert_eq!(read.node_bytes(Some(&[SigningType::Ed25519])), pair(1)[32..]);
    assert_eq!(read.node_bytes(Some(&[SigningType::Ed25519SlhDsa])), first);
    assert_eq!(read.signing_keys(Some(&[SigningType::Ed25519SlhDsa])).count(), 1);
}

#[test]
fn every_form_of_a_secret_key_is_read() {
    let mut typed = Writer::new();
    typed.array(2).uint(1).bin(&pair(1));
    let mut bare = Writer::new();
    bare.array(5).uint(2).array(2).raw(&hybrid(2)).str_bytes(&pair(1)).bin(&[7; 32]).uint(1).array(0);
    for (bytes, keys) in [(file(2, &[&typed.finish()], &[1]), 1), (bare.finish(), 2)] {
        let read = KeyFile::decode(&bytes).unwrap();
        assert_eq!(read.public_keys(None).count(), keys);
        assert_eq!(read.signing_keys(None).count(), keys);
    }
}

#[test]
fn keys_are_added_behind_the_others() {
    let mut read = KeyFile::decode(&file(2, &[&hybrid(2)], &[1])).unwrap();
    assert_eq!(read.add_signing_key(SigningType::Ed25519, &mut rng()), 1);
    assert_eq!(read.add_signing_key(SigningType::Ed25519SlhDsa, &mut rng()), 2);
    let again = KeyFile::decode(&read.encode()).unwrap();
    assert_eq!(again.node_bytes(None), read.node_bytes(None));
    assert_eq!(again.signing_keys(None).map(|(index, _)| index).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn damage_and_newer_formats_are_told_apart() {
    let good = file(2, &[&pair(1)], &[1]);
    for length in 0..good.len() {
        assert!(matches!(KeyFile::decode(&good[..length]), Err(KeyFileError::Damaged(_))), "{length} bytes");
    }
    assert_eq!(KeyFile::decode(&file(3, &[], &[])).unwrap_err(), KeyFileError::Newer(3));
    let mut mixed = pair(1);
    mixed[40] ^= 1;
    let reason = KeyError::Mismatch;
    assert_eq!(KeyFile::decode(&file(2, &[&mixed], &[1])).unwrap_err(), KeyFileError::Key { position: 0, reason });
    assert!(KeyFile::decode(&file(2, &[&pair(1)[1..]], &[1])).is_err());
}

#[test]
fn debug_shows_no_secret() {
    let read = KeyFile::decode(&file(2, &[&pair(1), &hybrid(2), &unknown()], &[1])).unwrap();
    let shown = format!("{read:?}");
    assert!(!shown.contains("7, 7") && !shown.contains("102, 114") && !shown.contains(&hex::encode([1; 8])), "{shown}");
}

proptest! {
    #[test]
    fn no_input_panics(bytes: Vec<u8>, at in 0_usize..180, to: u8) {
        let _ = KeyFile::decode(&bytes);
        let mut changed = file(2, &[&pair(1), &hybrid(2)], &[5, 2, 1]);
        if let Some(byte) = changed.get_mut(at) {
            *byte = to;
        }
        if let Ok(read) = KeyFile::decode(&changed) {
            let once = read.encode();
            prop_assert_eq!(&*KeyFile::decode(&once).unwrap().encode(), &*once);
        }
    }
}
