//! The node's own secrets: the ratchet's steps, a secret for each root in use, and those of earlier steps that are still
//! given out (protocol §4, §9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::core::{Core, Pending, clock_is_set, is_believable};
use super::types::{Action, Change, Failure, KeyringChange, Notice, Outcome};
use crate::keys::KeyIndex;
use crate::secret::Secret;
use crate::store::OldKey;
use crate::time::{Now, UnixTime};
use crate::topic::Root;

#[derive(Debug)]
pub(super) struct Producing {
    node: Vec<u8>,
    can_produce: bool,
    durable: BTreeMap<Root, Vec<OldKey>>,
    /// Derived, and on their way to the disk.
    saving: Vec<OldKey>,
    /// Roots that serializers have used since the start.
    used: BTreeSet<Root>,
    /// Used roots that have no secret under the present index yet.
    waiting: BTreeSet<Root>,
    current: Option<KeyIndex>,
    busy: bool,
    step_at: Duration,
    sweep_at: Duration,
}

impl Producing {
    pub(super) fn new(node: Vec<u8>, old_keys: Vec<OldKey>, can_produce: bool) -> Self {
        let mut durable: BTreeMap<Root, Vec<OldKey>> = BTreeMap::new();
        for old in old_keys {
            durable.entry(old.root.clone()).or_default().push(old);
        }
        Self {
            node,
            can_produce,
            durable,
            saving: Vec::new(),
            used: BTreeSet::new(),
            waiting: BTreeSet::new(),
            current: None,
            busy: false,
            step_at: Duration::ZERO,
            sweep_at: Duration::ZERO,
        }
    }

    /// The ratchet is stepped at every start, so that no secret serves two runs.
    pub(super) fn start(&mut self, core: &mut Core, now: Now) {
        self.sweep(core, now);
        self.advance(core, now);
    }

    /// Roots that this node has secrets of.
    pub(super) fn roots(&self) -> impl Iterator<Item = &Root> {
        self.durable.keys()
    }

    /// The durable secret of an index.
    pub(super) fn secret(&self, root: &Root, index: &KeyIndex) -> Option<&Secret<32>> {
        let old = self.durable.get(root)?.iter().find(|old| old.index == *index)?;
        Some(&old.secret)
    }

    pub(super) fn use_roots(&mut self, core: &mut Core, roots: &[Root], now: Now) {
        if !self.can_produce {
            let why = "this node has no ratchet, so that it can't encrypt; provision it as a producer".to_string();
            return roots.iter().for_each(|root| cannot(core, root, &why));
        }
        self.used.extend(roots.iter().cloned());
        self.waiting.extend(roots.iter().cloned());
        if self.current.is_none() {
            self.step_at = now.mono;
        }
        self.advance(core, now);
    }

    pub(super) fn next_wake(&self, core: &Core) -> Option<Duration> {
        let step = (self.can_produce && !self.busy && core.settings.ratchet_interval < FOREVER).then_some(self.step_at);
        [step, Some(self.sweep_at)].into_iter().flatten().min()
    }

    pub(super) fn tick(&mut self, core: &mut Core, now: Now) {
        if now.mono >= self.sweep_at {
            self.sweep(core, now);
        }
        self.advance(core, now);
    }

    pub(super) fn stepped(&mut self, core: &mut Core, result: Result<Outcome, Failure>, now: Now) {
        self.busy = false;
        match result {
            Ok(Outcome::Stepped(index)) => self.take_index(core, index, now),
            Ok(_) => {}
            Err(failure) => self.failed(core, "stepping the ratchet", &failure, now),
        }
    }

    pub(super) fn derived(&mut self, core: &mut Core, result: Result<Outcome, Failure>, now: Now) {
        self.busy = false;
        match (result, self.current.clone()) {
            (Ok(Outcome::RootSecrets(secrets)), Some(index)) => self.save(core, secrets, &index, now),
            (Ok(_), _) => {}
            (Err(failure), _) => self.failed(core, "deriving secrets from the ratchet", &failure, now),
        }
    }

    /// What is durable is used from now on; says for which roots.
    pub(super) fn saved(&mut self, core: &mut Core, result: Result<Outcome, Failure>, now: Now) -> Vec<Root> {
        self.busy = false;
        let saving = std::mem::take(&mut self.saving);
        if let Err(failure) = result {
            self.failed(core, "storing producer secrets", &failure, now);
            return Vec::new();
        }
        let roots = saving.iter().map(|fresh| fresh.root.clone()).collect();
        for fresh in saving {
            self.waiting.remove(&fresh.root);
            let OldKey { root, index, secret, .. } = copy(&fresh);
            core.emit(Action::Install(KeyringChange::Produce { root, index, secret }));
            self.durable.entry(fresh.root.clone()).or_default().push(fresh);
        }
        self.advance(core, now);
        roots
    }

    /// The next thing to do, one at a time: a step that is due, or secrets that are waited for.
    fn advance(&mut self, core: &mut Core, now: Now) {
        if self.busy || !self.can_produce {
            return;
        }
        if now.mono >= self.step_at {
            self.busy = true;
            core.act(Pending::Step, Action::Step);
        } else if !self.waiting.is_empty() {
            self.busy = true;
            core.act(Pending::Derive, Action::Derive(self.waiting.iter().cloned().collect()));
        }
    }

    fn take_index(&mut self, core: &mut Core, number: u64, now: Now) {
        let long = core.settings.long_keyindex;
        let index = if long { KeyIndex::of_node(&self.node, number) } else { KeyIndex::Short(number) };
        if self.durable.values().flatten().any(|old| old.index == index) {
            core.notice(Notice::IndexRepeated);
            self.step_at = now.mono;
        } else {
            let interval = core.settings.ratchet_interval.min(core.settings.max_pgen_age);
            self.current = Some(index);
            self.step_at = now.mono.saturating_add(interval);
            self.waiting.extend(self.used.iter().cloned());
        }
        self.advance(core, now);
    }

    fn save(&mut self, core: &mut Core, secrets: Vec<(Root, Secret<32>)>, index: &KeyIndex, now: Now) {
        let fresh = |(root, secret)| OldKey { root, index: index.clone(), secret, birth: now.wall };
        self.saving = secrets.into_iter().map(fresh).collect();
        self.busy = true;
        let all = self.durable.values().flatten().chain(&self.saving).map(copy).collect();
        core.act(Pending::SaveOldKeys, Action::Save(Change::OldKeys(all)));
    }

    /// Nothing is encrypted with what isn't durable: roots that wait are told so, and the rest is tried again later.
    fn failed(&mut self, core: &mut Core, what: &'static str, failure: &Failure, now: Now) {
        let why = format!("{what} failed: {failure}");
        std::mem::take(&mut self.waiting).iter().for_each(|root| cannot(core, root, &why));
        core.notice(Notice::Failed { what, why: failure.to_string() });
        // roots in use go on under the old index, whose secrets are durable, until the next step succeeds
        self.step_at = now.mono + RETRY;
    }

    /// Forgets secrets that are too old to be given out.
    fn sweep(&mut self, core: &mut Core, now: Now) {
        self.sweep_at = now.mono + SWEEP;
        let (age, current) = (core.settings.max_pgen_age, self.current.clone());
        let keep = |old: &OldKey| Some(&old.index) == current.as_ref() || !is_older(old.birth, age, now);
        let aged = self.count_births(now);
        let before: usize = self.durable.values().map(Vec::len).sum();
        self.durable.values_mut().for_each(|olds| olds.retain(keep));
        self.durable.retain(|_, olds| !olds.is_empty());
        let after: usize = self.durable.values().map(Vec::len).sum();
        if (aged || after < before) && self.saving.is_empty() {
            let all = self.durable.values().flatten().map(copy).collect();
            core.act(Pending::Save("storing producer secrets"), Action::Save(Change::OldKeys(all)));
        }
    }

    /// Secrets that were made before the clock was set count as made now. Says whether there were any.
    fn count_births(&mut self, now: Now) -> bool {
        let unknown = self.durable.values_mut().flatten().filter(|old| clock_is_set(now) && !is_believable(old.birth));
        unknown.map(|old| old.birth = now.wall).count() > 0
    }
}

fn is_older(birth: UnixTime, age: Duration, now: Now) -> bool {
    now.wall.since(birth) > age
}

fn copy(old: &OldKey) -> OldKey {
    let OldKey { root, index, secret, birth } = old;
    OldKey { root: root.clone(), index: index.clone(), secret: secret.duplicate(), birth: *birth }
}

fn cannot(core: &mut Core, root: &Root, why: &str) {
    core.emit(Action::Install(KeyringChange::CannotProduce { root: root.clone(), why: why.into() }));
}

/// How long until a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// How often old secrets are looked through.
const SWEEP: Duration = Duration::from_secs(60);

/// Ratchet intervals from here on mean "never".
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);
