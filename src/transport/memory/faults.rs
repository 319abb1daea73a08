//! Faults on one node's way to the broker: counted, and the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::transport::TransportErrorKind;

/// What goes wrong on one [`Memory`](super::Memory): a list of rules, each with the calls that it strikes.
///
/// ```
/// use kafkacrypto::transport::TransportErrorKind::TimedOut;
/// use kafkacrypto::transport::memory::{Broker, Call, Faults, When};
///
/// // The second produce fails, every third is sent twice, and nobody ever reads `allowlist`.
/// let faults = Faults::new()
///     .fail(Call::Produce, When::Nth(2), TimedOut)
///     .duplicate(When::Every(3))
///     .withhold("allowlist");
/// let transport = Broker::new().transport().with_faults(faults);
/// assert_eq!(transport.injected(), 0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Vec<Rule>,
    withheld: Vec<Arc<str>>,
}

impl Faults {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The call waits this long before it does anything.
    pub fn delay(self, call: Call, when: When, by: Duration) -> Self {
        self.rule(call, when, Effect::Delay(by))
    }

    /// The call fails, and has no effect.
    pub fn fail(self, call: Call, when: When, kind: TransportErrorKind) -> Self {
        self.rule(call, when, Effect::Fail(kind))
    }

    /// The call has its effect, and then fails: the answer was lost.
    pub fn lose_answer(self, call: Call, when: When, kind: TransportErrorKind) -> Self {
        self.rule(call, when, Effect::LoseAnswer(kind))
    }

    /// The call has no effect and no answer until its time is over.
    pub fn black_hole(self, call: Call, when: When) -> Self {
        self.rule(call, when, Effect::BlackHole)
    }

    /// The records are acknowledged, and lost.
    pub fn drop_produced(self, when: When) -> Self {
        self.rule(Call::Produce, when, Effect::Drop)
    }

    /// The records are written twice, as by a client that repeats what it has sent already.
    pub fn duplicate(self, when: When) -> Self {
        self.rule(Call::Produce, when, Effect::Duplicate)
    }

    /// Of several partitions with news only the last one answers; the others come with later calls. So records of
    /// different partitions arrive in another order than they were written.
    pub fn reorder(self, when: When) -> Self {
        self.rule(Call::Fetch, when, Effect::Reorder)
    }

    /// Nobody gets anything of this topic: to a fetch it looks as if nothing was written.
    pub fn withhold(mut self, topic: &str) -> Self {
        self.withheld.push(topic.into());
        self
    }

    fn rule(mut self, call: Call, when: When, effect: Effect) -> Self {
        self.rules.push(Rule { call, when, effect });
        self
    }
}

/// A kind of call of [`Transport`](crate::transport::Transport).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `topics`.
    Topics,
    /// `partitions`.
    Partitions,
    /// `create_topic`.
    CreateTopic,
    /// `produce`.
    Produce,
    /// `fetch`.
    Fetch,
    /// `offset`.
    Offset,
}

/// Which calls of a kind are struck. They count from 1, from when the faults were set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Only this one.
    Nth(u64),
    /// This one, and every one as far after it: `Every(3)` strikes the third, the sixth, and so on.
    Every(u64),
    /// This one and all after it.
    From(u64),
    /// All.
    Always,
}

impl When {
    fn strikes(self, count: u64) -> bool {
        match self {
            Self::Nth(n) => count == n,
            Self::Every(n) => count.checked_rem(n) == Some(0),
            Self::From(n) => count >= n,
            Self::Always => true,
        }
    }
}

/// The faults, and how far the calls are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    faults: Faults,
    since: BTreeMap<Call, u64>,
    pub(super) calls: BTreeMap<Call, u64>,
    pub(super) injected: u64,
}

impl Progress {
    pub(super) fn set(&mut self, faults: Faults) {
        self.faults = faults;
        self.since.clear();
    }

    /// Counts a call and says what happens to it.
    pub(super) fn next(&mut self, call: Call) -> Plan {
        let total = self.calls.entry(call).or_default();
        *total = total.saturating_add(1);
        let count = self.since.entry(call).or_default();
        *count = count.saturating_add(1);
        let mut plan = Plan { withheld: self.faults.withheld.clone(), ..Plan::default() };
        for rule in self.faults.rules.iter().filter(|rule| rule.call == call && rule.when.strikes(*count)) {
            plan.add(rule.effect);
            self.injected = self.injected.saturating_add(1);
        }
        plan
    }
}

/// What happens to one call.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) fail: Option<TransportErrorKind>,
    pub(super) lose_answer: Option<TransportErrorKind>,
    pub(super) black_hole: bool,
    pub(super) drop: bool,
    pub(super) duplicate: bool,
    pub(super) reorder: bool,
    pub(super) withheld: Vec<Arc<str>>,
}

impl Plan {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Delay(by) => self.delay = self.delay.saturating_add(by),
            Effect::Fail(kind) => self.fail = Some(kind),
            Effect::LoseAnswer(kind) => self.lose_answer = Some(kind),
            Effect::BlackHole => self.black_hole = true,
            Effect::Drop => self.drop = true,
            Effect::Duplicate => self.duplicate = true,
            Effect::Reorder => self.reorder = true,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    call: Call,
    when: When,
    effect: Effect,
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Delay(Duration),
    Fail(TransportErrorKind),
    LoseAnswer(TransportErrorKind),
    BlackHole,
    Drop,
    Duplicate,
    Reorder,
}
