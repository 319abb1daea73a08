//! What all parts of an engine share.

use std::collections::BTreeMap;

use super::types::{Action, ActionId, Counters, Failure, Notice, Outcome, Rejection, Settings};
use crate::exchange::Request;
use crate::keys::{KeyIndex, Scheme};
use crate::time::{Now, UnixTime};
use crate::topic::{Naming, Root, Topic};

/// Facts that don't change, and the actions that are being collected.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) naming: Naming,
    pub(super) settings: Settings,
    /// Enabled and allowed, in order of preference.
    pub(super) schemes: Vec<Scheme>,
    pub(super) legacy: bool,
    pub(super) counters: Counters,
    pub(super) pending: BTreeMap<ActionId, Pending>,
    pub(super) actions: Vec<(ActionId, Action)>,
    pub(super) last_id: ActionId,
}

/// What an action was for, until it is done.
#[derive(Debug)]
pub(super) enum Pending {
    Step,
    Derive,
    SaveOldKeys,
    Save(&'static str),
    FollowKeys(Root),
    Follow(Topic),
    SignRequest { root: Root, number: u64, slot: usize, direct: bool },
    ProduceRequest { root: Root, number: u64 },
    SignReply(Answer),
    ProduceReply(Answer),
}

/// One request, verified, and what is given out for it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) root: Root,
    pub(super) request: Request,
    /// Position of the key that signs the reply.
    pub(super) slot: usize,
    pub(super) indices: Vec<KeyIndex>,
}

impl Core {
    pub(super) fn new(
        naming: Naming,
        settings: Settings,
        schemes: Vec<Scheme>,
        legacy: bool,
        last_id: ActionId,
    ) -> Self {
        // what policy refuses is neither offered nor answered
        let schemes = schemes.into_iter().filter(|scheme| scheme.is_post_quantum() || !settings.require_pq).collect();
        let legacy = legacy && !settings.require_pq;
        let (counters, pending, actions) = (Counters::default(), BTreeMap::new(), Vec::new());
        Self { naming, settings, schemes, legacy, counters, pending, actions, last_id }
    }

    /// Emits an action and remembers what it is for.
    pub(super) fn act(&mut self, pending: Pending, action: Action) {
        let id = self.emit(action);
        self.pending.insert(id, pending);
    }

    /// Emits an action whose end doesn't matter.
    pub(super) fn emit(&mut self, action: Action) -> ActionId {
        self.last_id += 1;
        self.actions.push((self.last_id, action));
        self.last_id
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.emit(Action::Notice(notice));
    }

    pub(super) fn reject(&mut self, source: &str, reason: impl ToString) {
        self.counters.rejected += 1;
        self.emit(Action::Rejected(Rejection { source: source.into(), reason: reason.to_string() }));
    }

    /// Refuses an input because there are too many of its kind.
    pub(super) fn drop_input(&mut self, source: &str, reason: &str) {
        self.counters.dropped += 1;
        self.reject(source, reason);
    }

    pub(super) fn report_failure(&mut self, what: &'static str, result: Result<Outcome, Failure>) {
        if let Err(failure) = result {
            self.notice(Notice::Failed { what, why: failure.to_string() });
        }
    }

    pub(super) fn take_actions(&mut self) -> Vec<(ActionId, Action)> {
        std::mem::take(&mut self.actions)
    }
}

/// Whether the system's clock can be believed.
pub(super) fn clock_is_set(now: Now) -> bool {
    is_believable(now.wall)
}

/// Whether a time can have been read from a clock that was set.
pub(super) fn is_believable(wall: UnixTime) -> bool {
    wall >= UnixTime::from_secs(EARLIEST)
}

/// The date of this release: a clock before it isn't set.
const EARLIEST: u32 = 1_790_000_000;
