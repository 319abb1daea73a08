//! The fleet that signed targets play in: a few keys that everything is signed with, and certificates built by a program.

use std::sync::LazyLock;

use super::program::Program;
use crate::chain::{TEMPORARY_ROOT_SEED, chain_of};
use crate::keys::{SigningKey, SigningPublicKey, SigningType};
use crate::wire::{Reader, Writer, read_all};

/// When everything happens, in Unix seconds; after the date of any release of this program.
pub(super) const TIME: u32 = 1_900_000_000;

pub(super) const TOPICS: [&str; 11] = ["lab", "labs", "xlab", "foo", "foobar", "", "bar", "a", "b", "sensor", "x_y"];

/// What stands in lists of topics: names, expressions that we run, and expressions that we don't.
const ENTRIES: [&[u8]; 18] = [
    b"^.*$",
    b"lab",
    b"^lab",
    b"labs",
    b"foo",
    b"^foo|b",
    b"^(lab|foo)$",
    b"^[a-l]+",
    b"^[^a-k]a{1,2}b",
    b"^lab$",
    b"^\\w{2,3}?",
    b"^(?i)lab",
    b"^.*+",
    b"^",
    b"",
    b"^[[a]]",
    b"\xff",
    b"^x?lab\\b",
];

const USAGES: [&[u8]; 8] = [
    b"^.*$",
    b"key-encrypt",
    b"key-encrypt-request",
    b"key-encrypt-subscribe",
    b"key-allowlist",
    b"key-denylist",
    b"key-",
    b"^key",
];

/// Everybody's key: 0 the root, 7 the temporary root that everybody has the secret of, 8 the node under test.
pub(super) fn key(n: usize) -> &'static SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
        let seeds = (1..8).map(|n| [n; 32]).chain([TEMPORARY_ROOT_SEED, [42; 32]]);
        seeds.map(|seed| SigningKey::from_ed25519_seed(&seed)).collect()
    });
    KEYS.get(n % KEYS.len()).expect("a modulus")
}

pub(super) fn public(n: usize) -> [u8; 32] {
    match key(n).public() {
        SigningPublicKey::Ed25519(bytes) => *bytes,
        SigningPublicKey::Ed25519SlhDsa { .. } => [0; 32],
    }
}

/// Keys of type 4: 0 a root, 1 and 2 others, 3 the node under test. A signature by one takes tens of milliseconds, so that
/// what they sign is made once, and what is changed afterwards is the signed form.
pub(super) fn hybrid(n: usize) -> &'static SigningKey {
    static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
        (1..5).map(|n| SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[n; 80]).expect("80 bytes")).collect()
    });
    KEYS.get(n % KEYS.len()).expect("a modulus")
}

/// The elements of a chain, as they stand in it.
pub(super) fn elements(chain: &[u8]) -> Vec<Vec<u8>> {
    let read = read_all(chain, "chain", |reader: &mut Reader<'_>| {
        (0..reader.array()?).map(|_| Ok::<_, crate::wire::WireError>(reader.bytes()?.to_vec())).collect()
    });
    read.unwrap_or_default()
}

/// `chain` with one more element that `signer` signs.
pub(super) fn extend(chain: &[u8], signer: &SigningKey, body: &[u8]) -> Vec<u8> {
    with(chain, signer.sign(body))
}

/// `chain` with one more element.
pub(super) fn with(chain: &[u8], signed: Vec<u8>) -> Vec<u8> {
    let mut all = elements(chain);
    all.push(signed);
    chain_of(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A certificate by a program: zeros make one that never ends, allows everything and is for `next`'s key. Nothing
/// guarantees that it can be read.
pub(super) fn certificate(program: &mut Program<'_>, next: usize) -> Vec<u8> {
    let mut out = Writer::new();
    let extras = program.below(3) as u32;
    out.array(3 + extras);
    expiry(program, &mut out);
    let poison = restrictions(program);
    if program.rarely() {
        out.str_bytes(&poison)
    } else {
        out.bin(&poison)
    };
    leaf_key(program, &mut out, next);
    for _ in 0..extras {
        match program.below(3) {
            0 => out.bin(program.bytes()),
            1 => out.array(2).bin(&[1; 32]).bin(program.bytes()),
            _ => out.raw(program.bytes()),
        };
    }
    program.mutate(out.finish())
}

fn expiry(program: &mut Program<'_>, out: &mut Writer) {
    let time = f64::from(TIME);
    match program.below(8) {
        0 | 1 => out.uint(0),
        2 => out.float(time + 1000.0),
        3 => out.float(time + f64::from(program.byte())),
        4 => out.uint(u64::from(TIME) + 77),
        5 => out.float(time - 1.0),
        6 => out.uint(program.long()),
        _ => out.float(f64::from_bits(program.long())),
    };
}

/// Restrictions by a program: zeros allow every topic and every usage.
pub(super) fn restrictions(program: &mut Program<'_>) -> Vec<u8> {
    let what = program.byte();
    if what == 0xff {
        return program.bytes().to_vec();
    }
    let (topics, usages, pathlen) = (what & 1 == 0, what & 2 == 0, what & 4 != 0);
    let mut out = Writer::new();
    out.array([topics, usages, pathlen].map(u32::from).iter().sum());
    if topics {
        list(program, &mut out, "topics", &ENTRIES);
    }
    if usages {
        list(program, &mut out, "usages", &USAGES);
    }
    if pathlen {
        let length = program.byte();
        out.array(2).str("pathlen").int(if length < 250 {
            i64::from(length % 6)
        } else {
            program.long().cast_signed()
        });
    }
    program.mutate(out.finish())
}

fn list(program: &mut Program<'_>, out: &mut Writer, name: &str, entries: &[&[u8]]) {
    let count = 1 + program.below(5) as u32 % 4;
    out.array(2).str(name).array(count);
    for _ in 0..count {
        let entry = if program.rarely() { program.bytes() } else { program.choice(entries) };
        out.str_bytes(entry);
    }
}

fn leaf_key(program: &mut Program<'_>, out: &mut Writer, next: usize) {
    match program.below(12) {
        0..=4 => out.bin(&public(next)),
        5 => out.array(2).uint(1).bin(&public(next)),
        6 => out.array(2).uint(4).array(2).bin(&public(next)).bin(&[4; 32]),
        7 => out.array(1).bin(&[9; 32]),
        8 => out.array(3).bin(&public(program.below(8))).array(2).uint(9).raw(&[0xc0]).bin(&[9; 32]),
        9 => out.array(2).bin(&public(next)).array(2).uint(4).array(2).bin(&public(next)).bin(&[4; 32]),
        10 => out.array(2).array(2).uint(5).array(2).bin(&[1; 32]).bin(&[2; 1568]).bin(&[9; 32]),
        _ => out.raw(program.bytes()),
    };
}
