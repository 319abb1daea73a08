//! SHA-256 (FIPS 180-4).

use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// Over the concatenation of `parts`.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    chained(parts).finalize().into()
}

/// Likewise, of something secret.
pub(crate) fn secret_hash(parts: &[&[u8]]) -> Secret<32> {
    Secret::filled(|out| chained(parts).finalize_into(out.into()))
}

fn chained(parts: &[&[u8]]) -> Sha256 {
    parts.iter().fold(Sha256::new(), Digest::chain_update)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answer() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(hash(&[b"a", b"bc"])), known);
        assert_eq!(secret_hash(&[b"abc"]).expose(), &hash(&[b"abc"]));
    }
}
