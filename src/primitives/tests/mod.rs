//! The algorithms against others' vectors (NIST's ACVP, Wycheproof, PQClean) and others' implementations.

mod acvp;
mod differential;
mod wycheproof;

use std::path::Path;

use serde_json::Value;

/// The rows of a file of `tests/vectors`; none, with a word, in a package, which has no tests.
pub(super) fn vectors(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    if !folder.is_dir() {
        assert!(std::env::var_os("KAFKACRYPTO_NO_SKIP").is_none(), "no tests/vectors");
        println!("SKIPPED {name}: there is no tests/vectors in a package");
        return Vec::new();
    }
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

pub(super) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}
