use std::path::Path;

use super::engine::run;
use super::program::Program;
use crate::time::UnixTime;

type Body = fn(&[u8]);

const TARGETS: &[(&str, Body)] = &[
    #[cfg(feature = "kafka")]
    ("batches", super::batches),
    #[cfg(feature = "kafka")]
    ("kafka_connection", super::kafka_connection),
    #[cfg(feature = "kafka")]
    ("kafka_fetch", super::kafka_fetch),
    #[cfg(feature = "kafka")]
    ("kafka_groups", super::kafka_groups),
    #[cfg(feature = "kafka")]
    ("kafka_produce", super::kafka_produce),
    #[cfg(feature = "kafka")]
    ("kafka_responses", super::kafka_responses),
    ("wire", super::wire),
    ("message", super::message),
    ("certificate", super::certificate),
    ("chain", super::chain),
    ("request", super::request),
    ("reply", super::reply),
    ("config", super::config),
    ("key_file", super::key_file),
    ("seed_file", super::seed_file),
    ("old_keys", super::old_keys),
    ("engine", super::engine),
];

/// The committed corpora, through the same bodies as the fuzzer's.
#[test]
fn corpora_are_replayed() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    if !corpora.is_dir() {
        assert!(std::env::var_os("KAFKACRYPTO_NO_SKIP").is_none(), "no fuzz/corpus");
        return println!("SKIPPED corpora_are_replayed: there is no fuzz/corpus in a package");
    }
    let mut known: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut found: Vec<_> =
        corpora.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    known.sort();
    found.sort();
    assert_eq!(found, known, "a corpus for each target");
    for (name, body) in TARGETS {
        let files: Vec<_> = corpora.join(name).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{name}: an empty corpus");
        for file in files {
            // the name of the input is the last line of a failure's output
            println!("{}", file.display());
            body(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn empty_inputs_and_zeros_are_honest() {
    for (_, body) in TARGETS {
        for length in [0, 1, 2, 40, 1000] {
            body(&vec![0; length]);
        }
    }
}

/// A target whose honest case fails would test nothing.
#[test]
fn honest_programs_go_all_the_way() {
    assert!(super::trust::built(&mut Program::new(b""), UnixTime::from_secs(super::model::TIME)));
    // all that is asked, one element by the root of type 4 that is a leaf; and two more keys in between
    assert!(super::trust::mixed(&mut Program::new(&[0, 0, 0, 0, 0, 0, 4])));
    assert!(super::trust::mixed(&mut Program::new(&[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4])));
    let (want, tick, reply, request, use_root) = ([0, 0, 0], [3, 0, 0], [4, 0, 0, 9], [5, 0, 0, 0], [2, 0]);
    let learned = run(&[&[0][..], &want, &tick, &reply].concat());
    assert_eq!((learned.secrets_learned, learned.rejected), (1, 0));
    let answered = run(&[&[0][..], &use_root, &tick, &request].concat());
    assert_eq!((answered.requests_answered, answered.rejected), (1, 0));
    // with a key of type 4 beside the other, post-quantum exchanges only, for a request that is signed with type 4
    let hybrid = 8 | 3 << 4 | 64;
    let learned = run(&[&[hybrid][..], &want, &tick, &reply].concat());
    assert_eq!((learned.secrets_learned, learned.learned_by.x25519_mlkem1024, learned.rejected), (1, 1, 0));
    let answered = run(&[&[hybrid][..], &use_root, &tick, &[5, 1, 4]].concat());
    assert_eq!((answered.requests_answered, answered.answered_by.x25519_mlkem1024, answered.rejected), (1, 1, 0));
    let refused = run(&[&[hybrid][..], &use_root, &tick, &[5, 1, 0]].concat());
    assert_eq!((refused.requests_answered, refused.rejected), (0, 1));
    let revoked = run(&[&[0][..], &want, &tick, &[6, 0, 0, 0, 0, 0, 0, 0], &reply].concat());
    assert_eq!((revoked.secrets_learned, revoked.rejected, revoked.trust_changes), (0, 1, 1));
    let renewed = run(&[0, 8, 2, 0, 0, 0, 0, 8, 1, 0, 0, 0, 0, 8, 3]);
    assert_eq!((renewed.trust_changes, renewed.rejected), (2, 0));
}

/// Found on 2026-11-24: a config took text that it couldn't read back.
#[test]
fn text_that_looks_like_bytes_and_is_not_is_refused() {
    let mut config = crate::store::config::Config::default();
    assert!(config.set("n", "a", "base64#no base64").is_err());
    assert_eq!(config.render(), "");
    assert!(config.set("n", "a", "base64#YQ==").is_ok());
    super::config(b"\x01\0n\x01\0a\x08\0base64#-[n]\n");
}

/// What a running node can't judge while its clock is wrong, it reads again.
#[test]
fn a_revocation_that_comes_while_the_clock_is_wrong_is_not_lost() {
    let (clock_wrong, clock_right, revocation) = ([3, 1, 0xf0, 1], [3, 1, 0xf0, 0], [7, 0, 0, 0, 0]);
    let counters = run(&[&[0][..], &clock_wrong, &revocation, &clock_right].concat());
    assert_eq!(counters.trust_changes, 1);
}

/// A wrong clock must not make a running node spin.
#[test]
fn a_clock_that_goes_wrong_while_keys_are_wanted_makes_no_spin() {
    let (want, clock_wrong) = ([0, 0, 0], [3, 1, 0xf0, 1]);
    run(&[&[0][..], &clock_wrong, &want].concat());
    run(&[&[0][..], &want, &clock_wrong].concat());
}
