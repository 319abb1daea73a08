//! Whose cryptography TLS uses. Neither is C.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// Graviola's where the processor has what it needs, else RustCrypto's.
///
/// The README of the second, `oxitls-rustcrypto-provider`, calls it not for production: its parts weren't reviewed
/// together. So it is said in the log when it is used; who needs better there hands in a `rustls::ClientConfig`.
pub(super) fn best() -> Arc<CryptoProvider> {
    static BEST: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let choose = || {
        fast().unwrap_or_else(|| {
            tracing::warn!(
                "TLS uses oxitls-rustcrypto-provider, whose README calls it not for production, since this processor \
                 lacks what graviola needs ({NEEDS}); hand in a rustls::ClientConfig to choose another one"
            );
            Arc::new(oxitls_rustcrypto_provider::provider())
        })
    };
    Arc::clone(BEST.get_or_init(choose))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fast() -> Option<Arc<CryptoProvider>> {
    is_enough().then(|| Arc::new(rustls_graviola::default_provider()))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fast() -> Option<Arc<CryptoProvider>> {
    None
}

/// Graviola panics when one of these is missing.
#[cfg(target_arch = "x86_64")]
fn is_enough() -> bool {
    use std::is_x86_feature_detected as has;
    has!("adx")
        && has!("aes")
        && has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("pclmulqdq")
        && has!("ssse3")
}

#[cfg(target_arch = "aarch64")]
fn is_enough() -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    has!("neon") && has!("aes") && has!("pmull") && has!("sha2")
}

#[cfg(target_arch = "x86_64")]
const NEEDS: &str = "adx, aes, avx, avx2, bmi1, bmi2, pclmulqdq, ssse3";
#[cfg(target_arch = "aarch64")]
const NEEDS: &str = "neon, aes, pmull, sha2";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NEEDS: &str = "x86-64 or aarch64";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_one_and_it_is_made_once() {
        assert!(Arc::ptr_eq(&best(), &best()));
        assert!(!best().cipher_suites.is_empty());
    }
}
