//! The requests that a connection has sent and whose answers haven't come. Pure: time is an argument.
//!
//! Brokers answer the requests of one connection in the order in which they came.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::kafka::error::{Error, ErrorKind};

/// What waits for answers; `T` is how the answer gets to who asked.
#[derive(Debug)]
pub(in crate::kafka) struct InFlight<T> {
    queue: VecDeque<Pending<T>>,
    /// When bytes last went in or out.
    moved: Instant,
    bytes: usize,
    /// How long nothing may move while an answer is due, and while none is.
    patience: Duration,
    idle: Duration,
    /// When somebody asks for a verdict at the latest.
    look: Instant,
}

/// A request that was sent.
#[derive(Debug)]
pub(in crate::kafka) struct Pending<T> {
    pub(in crate::kafka) correlation: i32,
    pub(in crate::kafka) sent: Instant,
    /// How long the broker may hold the answer back on purpose.
    pub(in crate::kafka) hold: Duration,
    pub(in crate::kafka) bytes: usize,
    pub(in crate::kafka) reply: T,
}

/// What to think of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka) enum Verdict {
    /// It is well; look again then.
    Well(Instant),
    /// An answer should have come.
    Silent,
    /// Nobody has used it for long.
    Idle,
}

impl<T> InFlight<T> {
    pub(in crate::kafka) fn new(now: Instant, patience: Duration, idle: Duration) -> Self {
        Self { queue: VecDeque::new(), moved: now, bytes: 0, patience, idle, look: now }
    }

    /// A request goes out. Says whether a verdict is due earlier than the last one said.
    pub(in crate::kafka) fn push(&mut self, pending: Pending<T>) -> bool {
        let due = pending.sent + ABANDONED.min(self.patience);
        self.moved = self.moved.max(pending.sent);
        self.bytes = self.bytes.saturating_add(pending.bytes);
        self.queue.push_back(pending);
        due < self.look
    }

    /// Bytes went in or out.
    pub(in crate::kafka) fn moved(&mut self, now: Instant) {
        self.moved = now;
    }

    /// An answer has come: who asked for it.
    pub(in crate::kafka) fn answered(&mut self, correlation: i32) -> Result<Pending<T>, Error> {
        let unasked = || Error::new(ErrorKind::Disconnected, "the broker answered what wasn't asked");
        if self.queue.front().is_none_or(|pending| pending.correlation != correlation) {
            return Err(unasked());
        }
        let pending = self.queue.pop_front().ok_or_else(unasked)?;
        self.bytes = self.bytes.saturating_sub(pending.bytes);
        Ok(pending)
    }

    /// All that won't be answered any more.
    pub(in crate::kafka) fn drain(&mut self) -> impl Iterator<Item = Pending<T>> {
        self.bytes = 0;
        std::mem::take(&mut self.queue).into_iter()
    }

    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the broker still holds back what nobody waits for any more: whatever comes next waits behind it.
    pub(in crate::kafka) fn is_blocked(&self, given_up: impl Fn(&T) -> bool) -> bool {
        self.queue.iter().any(|pending| !pending.hold.is_zero() && given_up(&pending.reply))
    }

    /// What to think of the connection, when `given_up` says whose caller doesn't wait any more.
    ///
    /// A late answer is no fault of the connection, but one on which nothing has moved for `patience` while an answer
    /// was due (plus the time that the broker may hold it, and a second for each MiB on its way) is taken for dead.
    pub(in crate::kafka) fn verdict(&mut self, now: Instant, given_up: impl Fn(&T) -> bool) -> Verdict {
        let verdict = self.judge(now, given_up);
        match verdict {
            // To look earlier than needed costs less than to set the timer each time.
            Verdict::Well(at) if self.look > now => self.look = self.look.min(at),
            Verdict::Well(at) => self.look = at,
            end => return end,
        }
        Verdict::Well(self.look)
    }

    fn judge(&self, now: Instant, given_up: impl Fn(&T) -> bool) -> Verdict {
        let Some(front) = self.queue.front() else {
            let end = self.moved + self.idle;
            return if end <= now { Verdict::Idle } else { Verdict::Well(end) };
        };
        let abandoned = given_up(&front.reply);
        let hold = if abandoned && self.queue.len() > 1 { Duration::ZERO } else { front.hold };
        let patience = if abandoned { ABANDONED.min(self.patience) } else { self.patience };
        let due = front.sent.max(self.moved) + hold + patience + time_for(self.bytes);
        match due <= now {
            true => Verdict::Silent,
            // Whether a caller has given up isn't told, so it is looked for.
            false => Verdict::Well(due.min(now + ABANDONED)),
        }
    }
}

fn time_for(bytes: usize) -> Duration {
    Duration::from_micros(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// How long a connection may be silent when its caller doesn't wait any more.
const ABANDONED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);
    const IDLE: Duration = Duration::from_secs(60);

    fn pending(correlation: i32, sent: Instant, hold: u64, reply: bool) -> Pending<bool> {
        Pending { correlation, sent, hold: Duration::from_secs(hold), bytes: 0, reply }
    }

    fn new(now: Instant) -> InFlight<bool> {
        InFlight::new(now, PATIENCE, IDLE)
    }

    fn verdict(inflight: &mut InFlight<bool>, now: Instant) -> Verdict {
        inflight.verdict(now, |given_up| *given_up)
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn answers_come_in_order() {
        let start = Instant::now();
        let mut inflight = new(start);
        inflight.push(pending(1, start, 0, false));
        inflight.push(pending(2, start, 0, false));
        assert_eq!(inflight.answered(2).unwrap_err().kind(), ErrorKind::Disconnected);
        assert_eq!(inflight.answered(1).unwrap().correlation, 1);
        assert_eq!(inflight.answered(2).unwrap().correlation, 2);
        assert!(inflight.answered(2).is_err() && inflight.is_empty());
    }

    #[test]
    fn a_silent_connection_is_dead() {
        let start = Instant::now();
        let mut inflight = new(start);
        inflight.push(pending(1, start, 0, false));
        assert_eq!(verdict(&mut inflight, after(start, 3999)), Verdict::Well(after(start, 4000)));
        inflight.moved(after(start, 1000));
        assert_eq!(verdict(&mut inflight, after(start, 4000)), Verdict::Well(after(start, 5000)));
        assert_eq!(verdict(&mut inflight, after(start, 5000)), Verdict::Silent);
    }

    #[test]
    fn a_broker_may_hold_what_it_was_allowed_to() {
        let start = Instant::now();
        let mut inflight = new(start);
        inflight.push(pending(1, start, 30, false));
        assert!(matches!(verdict(&mut inflight, after(start, 33_999)), Verdict::Well(_)));
        assert_eq!(verdict(&mut inflight, after(start, 34_000)), Verdict::Silent);
    }

    #[test]
    fn after_a_caller_has_given_up_a_second_of_silence_is_enough() {
        let start = Instant::now();
        let mut inflight = new(start);
        inflight.push(pending(1, start, 30, true));
        assert!(matches!(verdict(&mut inflight, after(start, 30_999)), Verdict::Well(_)));
        assert_eq!(verdict(&mut inflight, after(start, 31_000)), Verdict::Silent);
        // Somebody waits behind it.
        inflight.push(pending(2, start, 0, false));
        assert_eq!(verdict(&mut inflight, after(start, 1000)), Verdict::Silent);
        inflight.moved(after(start, 500));
        assert!(matches!(verdict(&mut inflight, after(start, 1000)), Verdict::Well(_)));
    }

    #[test]
    fn what_is_held_back_and_given_up_is_in_the_way_until_it_is_answered() {
        let (start, is_blocked) =
            (Instant::now(), |inflight: &InFlight<bool>| inflight.is_blocked(|given_up| *given_up));
        let mut inflight = new(start);
        inflight.push(pending(1, start, 30, false));
        inflight.push(pending(2, start, 0, true));
        assert!(!is_blocked(&inflight));
        inflight.push(pending(3, start, 30, true));
        assert!(is_blocked(&inflight));
        (1..=3).for_each(|number| _ = inflight.answered(number));
        assert!(!is_blocked(&inflight));
    }

    #[test]
    fn what_is_big_takes_longer() {
        let start = Instant::now();
        let mut inflight = new(start);
        inflight.push(Pending { bytes: 2_000_000, ..pending(1, start, 0, false) });
        assert!(matches!(verdict(&mut inflight, after(start, 5999)), Verdict::Well(_)));
        assert_eq!(verdict(&mut inflight, after(start, 6000)), Verdict::Silent);
    }

    #[test]
    fn an_idle_connection_ends() {
        let start = Instant::now();
        let mut inflight = new(start);
        assert_eq!(verdict(&mut inflight, start), Verdict::Well(after(start, 60_000)));
        inflight.push(pending(1, after(start, 50_000), 0, false));
        inflight.answered(1).unwrap();
        assert_eq!(verdict(&mut inflight, after(start, 60_000)), Verdict::Well(after(start, 110_000)));
        assert_eq!(verdict(&mut inflight, after(start, 110_000)), Verdict::Idle);
    }

    #[test]
    fn a_request_on_an_idle_connection_makes_somebody_look_sooner() {
        let start = Instant::now();
        let mut inflight = new(start);
        assert_eq!(verdict(&mut inflight, start), Verdict::Well(after(start, 60_000)));
        assert!(inflight.push(pending(1, after(start, 100), 0, false)));
        assert_eq!(verdict(&mut inflight, after(start, 200)), Verdict::Well(after(start, 1200)));
        inflight.answered(1).unwrap();
        // The look is due soon enough for all that follow, whatever is asked in between.
        assert_eq!(verdict(&mut inflight, after(start, 300)), Verdict::Well(after(start, 1200)));
        assert!(!inflight.push(pending(2, after(start, 300), 0, false)));
        assert_eq!(verdict(&mut inflight, after(start, 1200)), Verdict::Well(after(start, 2200)));
    }
}
