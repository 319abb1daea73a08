use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::time::{Now, UnixTime};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Both clocks, read together.
    fn now(&self) -> Now;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = UnixTime::from_secs_f64(since.as_secs_f64()).unwrap_or(UnixTime::ZERO);
        Now { wall, mono: START.get_or_init(Instant::now).elapsed() }
    }
}

/// The monotonic clock of this process starts here.
static START: OnceLock<Instant> = OnceLock::new();
