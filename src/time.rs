//! Time as the protocol has it, and as engines are handed it.

use std::fmt;
use std::time::Duration;

/// Seconds since 1970-01-01 UTC, as a finite number that isn't negative; on the wire an integer or a float.
///
/// ```
/// use kafkacrypto::time::UnixTime;
/// assert_eq!(UnixTime::from_secs_f64(1.5).unwrap().as_secs_f64(), 1.5);
/// assert!(UnixTime::from_secs_f64(f64::NAN).is_none());
/// assert!(UnixTime::from_secs_f64(-1.0).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct UnixTime(f64);

impl UnixTime {
    /// 0: in certificates it means "never expires".
    pub const ZERO: Self = Self(0.0);

    /// None if `secs` is negative or not finite.
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        // `+ 0.0` turns the negative zero into the positive one
        (secs.is_finite() && secs >= 0.0).then_some(Self(secs + 0.0))
    }

    /// Whole seconds.
    #[must_use]
    pub fn from_secs(secs: u32) -> Self {
        Self(f64::from(secs))
    }

    /// Seconds since the epoch.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0
    }

    /// This moment plus a duration.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_secs_f64())
    }

    /// How long it is from `earlier` to this moment; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from_secs_f64((self.0 - earlier.0).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// Milliseconds since the epoch, as Kafka's timestamps are.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` saturates, and times of records are far from the limit"
        )]
        let millis = (self.0 * 1000.0) as i64;
        millis
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The two clocks that an engine is handed with every input: `wall` for certificates, `mono` for timers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// The system's clock.
    pub wall: UnixTime,
    /// A clock that never jumps, from an arbitrary start.
    pub mono: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_go_below_zero() {
        let (a, b) = (UnixTime::from_secs(5), UnixTime::from_secs(7));
        assert_eq!(b.since(a), Duration::from_secs(2));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(a.after(Duration::from_millis(500)).as_millis(), 5500);
    }
}
