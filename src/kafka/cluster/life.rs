//! When a link dials, waits and gives up, one connection after another. Pure.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::kafka::error::{Error, ErrorKind};

/// What is decided with: what there is to know of a connection.
pub(super) trait Line: Clone {
    /// Whether requests can be sent over it.
    fn is_open(&self) -> bool;
    /// Whether it ended because an answer was due for too long.
    fn fell_silent(&self) -> bool;
    /// Whether it was of use.
    fn has_answered(&self) -> bool;
    /// Ends it once its requests are answered.
    fn close(&self);
}

/// The life of a link.
#[derive(Debug)]
pub(super) struct Life<L> {
    now: State<L>,
    backoff: Backoff,
    last_error: Option<Error>,
    /// How often dialling has failed.
    failures: u64,
    patience: Duration,
    /// When a connection last fell silent.
    silent: Option<Instant>,
    /// The last connection was of no use.
    doubtful: bool,
}

#[derive(Debug)]
enum State<L> {
    Down,
    /// `wanted`: somebody waits for it, or will come for it.
    Dialling {
        wanted: bool,
    },
    Up(L),
}

/// What who wants a connection does next.
#[derive(Debug)]
pub(super) enum Next<L> {
    Use(L),
    /// Dials, and says how that went with [`Life::dialled`].
    Dial(Terms),
    /// Waits for the one who dials.
    Await,
    Wait(Instant),
}

/// How the next connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long it may be silent while an answer is due.
    pub(super) patience: Duration,
    /// The one before was of no use.
    pub(super) doubtful: bool,
}

impl<L: Line> Life<L> {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            now: State::Down,
            backoff,
            last_error: None,
            failures: 0,
            patience: PATIENCE,
            silent: None,
            doubtful: false,
        }
    }

    /// The connection, if there is one.
    pub(super) fn open(&self) -> Option<L> {
        match &self.now {
            State::Up(line) if line.is_open() => Some(line.clone()),
            _ => None,
        }
    }

    /// What dialling failed with last, if it did.
    pub(super) fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// Ends the connection; one that is being made is for those who wait for it, if anybody does.
    pub(super) fn close(&mut self, is_awaited: bool) -> Option<L> {
        if let State::Dialling { wanted } = &mut self.now {
            *wanted = is_awaited;
        }
        let line = self.take()?;
        line.close();
        Some(line)
    }

    /// What to do for who came when dialling had failed `seen` times: fails when it has failed since, and at once when
    /// there is no use in trying.
    pub(super) fn next(&mut self, seen: u64, now: Instant, random: u32) -> Result<Next<L>, Error> {
        match &mut self.now {
            State::Up(line) if line.is_open() => return Ok(Next::Use(line.clone())),
            State::Dialling { wanted } => {
                *wanted = true;
                return Ok(Next::Await);
            }
            State::Up(_) | State::Down => self.bury(now, random),
        }
        let wait = self.backoff.wait(now);
        let last = self.last_error.as_ref();
        if let Some(error) = last.filter(|error| self.failures != seen || wait.is_some() && is_final(error)) {
            return Err(error.clone());
        }
        if let Some(until) = wait {
            return Ok(Next::Wait(until));
        }
        self.now = State::Dialling { wanted: true };
        if !self.fell_silent_lately(now) {
            self.patience = PATIENCE;
        }
        Ok(Next::Dial(Terms { patience: self.patience, doubtful: self.doubtful }))
    }

    /// How dialling went.
    pub(super) fn dialled(&mut self, result: Result<L, Error>, now: Instant, random: u32) {
        match result {
            Ok(line) => {
                self.last_error = None;
                let unwanted = matches!(self.now, State::Dialling { wanted: false });
                self.now = State::Up(line);
                if unwanted {
                    self.close(false);
                }
            }
            Err(error) => {
                self.now = State::Down;
                self.failures += 1;
                self.backoff.failed(now, random);
                self.last_error = Some(error);
            }
        }
    }

    /// Learns from a connection that has ended.
    fn bury(&mut self, now: Instant, random: u32) {
        let Some(line) = self.close(true) else { return };
        if line.fell_silent() {
            // A broker that is slow, not dead, gets more time each time.
            let patience = if self.fell_silent_lately(now) { self.patience } else { PATIENCE };
            self.patience = (patience * 2).min(MOST_PATIENCE);
            self.silent = Some(now);
        }
        // One that was of no use can't be made again without end.
        self.doubtful = !line.has_answered();
        match line.has_answered() {
            true => self.backoff.worked(),
            false => _ = self.backoff.failed(now, random),
        }
    }

    fn fell_silent_lately(&self, now: Instant) -> bool {
        self.silent.is_some_and(|at| now < at + LATELY)
    }

    fn take(&mut self) -> Option<L> {
        match std::mem::replace(&mut self.now, State::Down) {
            State::Up(line) => Some(line),
            other => {
                self.now = other;
                None
            }
        }
    }
}

/// Errors that don't go away by trying.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Authentication | ErrorKind::Config | ErrorKind::NotKafka | ErrorKind::Unsupported)
}

/// How long a connection may be silent while an answer is due, at first and at most.
const PATIENCE: Duration = Duration::from_secs(4);
const MOST_PATIENCE: Duration = Duration::from_secs(30);
/// After so long the patience is the first one again.
const LATELY: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A connection of which a test says what became.
    #[derive(Debug, Clone, Default)]
    struct Fake(Rc<Fate>);

    #[derive(Debug, Default)]
    struct Fate {
        over: Cell<bool>,
        silent: Cell<bool>,
        answered: Cell<bool>,
    }

    impl Line for Fake {
        fn is_open(&self) -> bool {
            !self.0.over.get()
        }

        fn fell_silent(&self) -> bool {
            self.0.silent.get()
        }

        fn has_answered(&self) -> bool {
            self.0.answered.get()
        }

        fn close(&self) {
            self.0.over.set(true);
        }
    }

    /// A link, and what time it is.
    struct Linked {
        life: Life<Fake>,
        now: Instant,
    }

    impl Linked {
        fn new() -> Self {
            let life = Life::new(Backoff::new(ms(100), ms(1000)));
            Self { life, now: Instant::now() }
        }

        /// For who comes now.
        fn next(&mut self) -> Result<Next<Fake>, Error> {
            self.next_for(self.life.failures())
        }

        fn next_for(&mut self, seen: u64) -> Result<Next<Fake>, Error> {
            self.life.next(seen, self.now, MIDDLE)
        }

        fn dials(&mut self) -> Terms {
            match self.next() {
                Ok(Next::Dial(terms)) => terms,
                other => panic!("{other:?}"),
            }
        }

        /// How long who comes now has to wait.
        fn waits(&mut self) -> Duration {
            match self.next() {
                Ok(Next::Wait(until)) => until - self.now,
                other => panic!("{other:?}"),
            }
        }

        fn succeeds(&mut self) -> Fake {
            let line = Fake::default();
            self.life.dialled(Ok(line.clone()), self.now, MIDDLE);
            line
        }

        fn fails(&mut self, kind: ErrorKind) {
            self.life.dialled(Err(Error::new(kind, "no")), self.now, MIDDLE);
        }

        /// One connection more, that ended like this.
        fn one_that(&mut self, answered: bool, silent: bool) -> Terms {
            let terms = self.dials();
            let line = self.succeeds();
            line.0.answered.set(answered);
            line.0.silent.set(silent);
            line.close();
            terms
        }
    }

    #[test]
    fn one_dials_and_the_others_wait_for_it() {
        let mut link = Linked::new();
        assert_eq!(link.dials(), Terms { patience: PATIENCE, doubtful: false });
        assert!(matches!(link.next(), Ok(Next::Await)) && link.life.open().is_none());
        link.succeeds();
        assert!(matches!(link.next(), Ok(Next::Use(_))) && link.life.open().is_some());
    }

    #[test]
    fn who_waited_learns_of_the_failure_and_who_comes_later_waits() {
        let mut link = Linked::new();
        let seen = link.life.failures();
        link.dials();
        link.fails(ErrorKind::Unreachable);
        assert_eq!(link.next_for(seen).unwrap_err().kind(), ErrorKind::Unreachable);
        assert!(link.life.last_error().is_some());
        assert_eq!(link.waits(), ms(100));
        link.now += ms(100);
        link.dials();
        link.fails(ErrorKind::TimedOut);
        assert_eq!(link.waits(), ms(200));
        link.now += ms(200);
        link.dials();
        link.succeeds();
        assert!(link.life.last_error().is_none());
    }

    #[test]
    fn what_does_not_go_away_by_trying_fails_at_once_until_it_is_time_to_try_again() {
        for kind in [ErrorKind::Authentication, ErrorKind::Config, ErrorKind::NotKafka, ErrorKind::Unsupported] {
            let mut link = Linked::new();
            link.dials();
            link.fails(kind);
            assert_eq!(link.next().unwrap_err().kind(), kind);
            link.now += ms(100);
            link.dials();
        }
    }

    #[test]
    fn one_that_was_of_use_is_made_again_at_once() {
        let mut link = Linked::new();
        link.dials();
        link.fails(ErrorKind::Unreachable);
        link.now += ms(100);
        link.one_that(true, false);
        assert_eq!(link.dials(), Terms { patience: PATIENCE, doubtful: false });
        link.fails(ErrorKind::Unreachable);
        assert_eq!(link.waits(), ms(100), "the backoff began anew");
    }

    #[test]
    fn those_of_no_use_are_made_less_and_less_often() {
        let mut link = Linked::new();
        for wait in [100, 200, 400, 800, 1000, 1000] {
            link.one_that(false, false);
            assert_eq!(link.waits(), ms(wait));
            link.now += ms(wait);
        }
        assert!(link.one_that(true, false).doubtful);
        assert!(!link.dials().doubtful);
    }

    #[test]
    fn patience_grows_while_brokers_fall_silent_and_is_forgotten() {
        let mut link = Linked::new();
        let patience = |link: &mut Linked| link.one_that(true, true).patience.as_secs();
        assert_eq!([(); 6].map(|()| patience(&mut link)), [4, 8, 16, 30, 30, 30]);
        link.now += LATELY - ms(1);
        assert_eq!(patience(&mut link), 30, "that one ended silent, too, just now");
        link.next().unwrap();
        link.succeeds();
        link.now += LATELY;
        link.life.close(true);
        assert_eq!(link.dials().patience, PATIENCE);
        // A connection that lived on past that time begins anew when it falls silent.
        let line = link.succeeds();
        line.0.answered.set(true);
        line.0.silent.set(true);
        line.close();
        assert_eq!(link.dials().patience, PATIENCE * 2);
    }

    #[test]
    fn closing_ends_the_connection_and_cuts_no_dial_short() {
        let mut link = Linked::new();
        assert!(link.life.close(true).is_none());
        link.dials();
        assert!(link.life.close(true).is_none());
        assert!(matches!(link.next(), Ok(Next::Await)), "no second one beside it");
        let line = link.succeeds();
        assert!(link.life.close(true).is_some() && !line.is_open());
        link.dials();
    }

    #[test]
    fn a_dial_that_nobody_waits_for_any_more_comes_to_nothing() {
        let mut link = Linked::new();
        link.dials();
        assert!(link.life.close(false).is_none());
        assert!(!link.succeeds().is_open() && link.life.open().is_none());
        link.dials();
        link.life.close(false);
        assert!(matches!(link.next(), Ok(Next::Await)), "somebody has come");
        assert!(link.succeeds().is_open());
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Spreads nothing.
    const MIDDLE: u32 = u32::MAX / 2 + 1;
}
