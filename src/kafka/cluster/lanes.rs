//! Which of the connections to a broker a request goes over, and when. Pure.
//!
//! Brokers answer the requests of one connection in turn, so whatever is held back holds up all that comes behind it.
//! There are two connections, therefore, and one more for each member of a group that joins while another one of the
//! same client is kept waiting.

use std::time::{Duration, Instant};

/// What a request is to those behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka) enum Lane {
    /// It is answered at once: over the first connection.
    Main,
    /// It is answered at once, too, but goes over the second, as long as nothing is held back there.
    Spare,
    /// It is held back for a short time, as a long fetch is: over the second. Briefly over the first, as long as
    /// something is held back for long there.
    Poll,
    /// It is held back for long, as joining a group is: over the second. It gets another as long as it would wait behind
    /// such a one, which may well wait for just this: another member of the same group.
    Join,
}

/// A connection, as far as is decided with it.
pub(super) trait Road: Clone {
    /// Whether the broker still holds back what was given up.
    fn is_blocked(&self) -> bool;
    /// Another one to the same broker.
    fn another(&self) -> Self;
}

/// The connections to one broker, and who uses them.
#[derive(Debug)]
pub(super) struct Lanes<R> {
    first: R,
    second: R,
    /// All others, and whether they are used.
    others: Vec<(R, bool)>,
    /// How many requests of which kind are under way over the second.
    spares: usize,
    polls: usize,
    joins: bool,
    /// When something was last held back there.
    held: Option<Instant>,
    quiet_until: Option<Instant>,
}

/// For one request to be under way, from [`Lanes::enter`] to [`Lanes::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Over the first connection.
    Main,
    /// Over the first, but it is a poll.
    Briefly,
    /// Over the second.
    Spare,
    Poll,
    Join,
    /// Over another.
    Beside(usize),
}

impl Pass {
    /// How long the answer may be held back, of so long.
    pub(super) fn hold(self, hold: Duration) -> Duration {
        if self == Self::Briefly { hold.min(BRIEFLY) } else { hold }
    }
}

impl<R: Road> Lanes<R> {
    pub(super) fn new(first: R) -> Self {
        let second = first.another();
        let (spares, polls, joins) = (0, 0, false);
        Self { first, second, others: Vec::new(), spares, polls, joins, held: None, quiet_until: None }
    }

    pub(super) fn first(&self) -> &R {
        &self.first
    }

    /// The connection that a request needs, whatever else is under way.
    pub(super) fn home(&self, lane: Lane) -> &R {
        if lane == Lane::Main { &self.first } else { &self.second }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &R> {
        [&self.first, &self.second].into_iter().chain(self.others.iter().map(|(other, _)| other))
    }

    /// Lets a request in, and says over which connection it goes once it [may](Self::may_go). `None`: not over
    /// [`Lane::Spare`] now.
    pub(super) fn enter(&mut self, lane: Lane, now: Instant) -> Option<(Pass, R)> {
        let (pass, road) = match lane {
            Lane::Main => (Pass::Main, &self.first),
            Lane::Spare if !self.has_spare(now) => return None,
            Lane::Spare => {
                self.spares += 1;
                (Pass::Spare, &self.second)
            }
            Lane::Poll if self.is_taken() => (Pass::Briefly, &self.first),
            Lane::Poll => {
                self.polls += 1;
                (Pass::Poll, &self.second)
            }
            Lane::Join if self.is_taken() => return Some(self.beside()),
            Lane::Join => {
                self.joins = true;
                (Pass::Join, &self.second)
            }
        };
        Some((pass, road.clone()))
    }

    /// Whether all has left that a request must not wait behind, or hold up.
    pub(super) fn may_go(&self, pass: Pass) -> bool {
        match pass {
            Pass::Poll => self.spares == 0,
            Pass::Join => self.spares == 0 && self.polls == 0,
            Pass::Main | Pass::Briefly | Pass::Spare | Pass::Beside(_) => true,
        }
    }

    /// A request was answered, or given up.
    pub(super) fn leave(&mut self, pass: Pass, now: Instant) {
        match pass {
            Pass::Main | Pass::Briefly => {}
            Pass::Spare => self.spares = self.spares.saturating_sub(1),
            Pass::Poll => (self.polls, self.held) = (self.polls.saturating_sub(1), Some(now)),
            Pass::Join => (self.joins, self.held) = (false, Some(now)),
            Pass::Beside(at) => self.others.get_mut(at).into_iter().for_each(|(_, used)| *used = false),
        }
    }

    /// Whether [`Lane::Spare`] may be used: nobody polls nor joins, nor did lately.
    pub(super) fn has_spare(&self, now: Instant) -> bool {
        let lately = self.held.is_some_and(|held| now.saturating_duration_since(held) < AGAIN);
        self.polls == 0 && !lately && !self.is_taken()
    }

    /// The broker wants no requests until then.
    pub(super) fn throttled(&mut self, until: Instant) {
        self.quiet_until = self.quiet_until.max(Some(until));
    }

    /// Until when it wants none.
    pub(super) fn quiet_until(&self, now: Instant) -> Option<Instant> {
        self.quiet_until.filter(|until| *until > now)
    }

    /// Whether something is held back for long over the second, or given up and not answered.
    fn is_taken(&self) -> bool {
        self.joins || self.second.is_blocked()
    }

    fn beside(&mut self) -> (Pass, R) {
        let free = self.others.iter().position(|(other, used)| !used && !other.is_blocked());
        let at = free.unwrap_or(self.others.len());
        if let Some((other, used)) = self.others.get_mut(at) {
            *used = true;
            return (Pass::Beside(at), other.clone());
        }
        let other = self.first.another();
        self.others.push((other.clone(), true));
        (Pass::Beside(at), other)
    }
}

/// How long a poll may be held back where others wait behind it.
const BRIEFLY: Duration = Duration::from_millis(50);
/// Who has polled so lately will again.
const AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
