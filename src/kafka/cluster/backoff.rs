//! How long to wait before something is tried again. Pure.

use std::time::{Duration, Instant};

/// Waits that double from failure to failure.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    next: Option<Instant>,
}

impl Backoff {
    pub(in crate::kafka) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, next: None }
    }

    /// It failed: not again before the answer's time. `random` spreads many clients, up to a fifth either way.
    pub(in crate::kafka) fn failed(&mut self, now: Instant, random: u32) -> Instant {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        let spread = 0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let next = now + doubled.mul_f64(spread);
        self.next = Some(next);
        next
    }

    /// It worked.
    pub(in crate::kafka) fn worked(&mut self) {
        self.failures = 0;
        self.next = None;
    }

    /// When it may be tried again, if that isn't now.
    pub(in crate::kafka) fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }
}

/// A number for [`Backoff::failed`]; no secret hangs on it.
pub(in crate::kafka) fn random() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0_u8);
    u32::try_from(bits >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let (first, most) = (Duration::from_millis(100), Duration::from_millis(350));
        let (mut backoff, now) = (Backoff::new(first, most), Instant::now());
        assert_eq!(backoff.wait(now), None);
        let waits: Vec<_> = (0..4).map(|_| (backoff.failed(now, u32::MAX / 2 + 1) - now).as_millis()).collect();
        assert_eq!(waits, [100, 200, 350, 350]);
        assert_eq!(backoff.wait(now + most), None);
        assert!(backoff.wait(now).is_some());
        backoff.worked();
        assert_eq!(backoff.wait(now), None);
        assert_eq!((backoff.failed(now, 0) - now).as_millis(), 80);
    }
}
