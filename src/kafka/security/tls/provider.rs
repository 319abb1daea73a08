//! Whose cryptography TLS uses. Neither is C.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// Graviola's where the processor has what it needs, else RustCrypto's.
///
/// The README of the second, `oxitls-rustcrypto-provider`, calls it not for production: its parts weren't reviewed
/// together. So it is said in the log when it is used; who needs better there hands in a `rustls::ClientConfig`.
pub(super) fn best() -> Arc<CryptoProvider> {
    static BEST: Choice = Choice::new();
    BEST.of(is_enough())
}

/// Made once.
pub(super) struct Choice(OnceLock<Arc<CryptoProvider>>);

impl Choice {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The provider for a processor that has what graviola needs, or for one that hasn't.
    pub(super) fn of(&self, enough: bool) -> Arc<CryptoProvider> {
        let choose = || enough.then(fast).flatten().unwrap_or_else(slow);
        Arc::clone(self.0.get_or_init(choose))
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn fast() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls_graviola::default_provider()))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn fast() -> Option<Arc<CryptoProvider>> {
    None
}

fn slow() -> Arc<CryptoProvider> {
    tracing::warn!(
        "TLS uses oxitls-rustcrypto-provider, whose README calls it not for production, since this processor lacks what \
         graviola needs ({NEEDS}); hand in a rustls::ClientConfig to choose another one"
    );
    Arc::new(oxitls_rustcrypto_provider::provider())
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

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn is_enough() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
const NEEDS: &str = "adx, aes, avx, avx2, bmi1, bmi2, pclmulqdq, ssse3";
#[cfg(target_arch = "aarch64")]
const NEEDS: &str = "neon, aes, pmull, sha2";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NEEDS: &str = "x86-64 or aarch64";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn there_is_always_one_and_it_is_made_once() {
        assert!(Arc::ptr_eq(&best(), &best()));
        assert!(!best().cipher_suites.is_empty());
        assert_eq!(is_rustcrypto_s(&best()), !is_enough());
    }

    #[test]
    fn the_other_one_is_rustcrypto_s_and_the_log_says_so_once() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let choice = Choice::new();
        let (one, two) = (choice.of(false), choice.of(false));
        assert!(Arc::ptr_eq(&one, &two) && is_rustcrypto_s(&one));
        assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
        if is_enough() {
            assert!(!is_rustcrypto_s(&Choice::new().of(true)));
            assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
        }
    }

    fn is_rustcrypto_s(provider: &CryptoProvider) -> bool {
        format!("{provider:?}") == format!("{:?}", oxitls_rustcrypto_provider::provider())
    }

    /// Counts what is logged here as a warning.
    #[derive(Debug, Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == module_path!().trim_end_matches("::tests") && *metadata.level() == tracing::Level::WARN
        }

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
}
