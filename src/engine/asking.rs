//! Keys that this node wants: requests, their repeats, and the replies (protocol §8.1, §8.3, §9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::CryptoRng;

use super::core::{Core, Pending};
use super::trust::Trust;
use super::types::{Action, Draft, Failure, KeyringChange, Notice, Outcome, Record, SignJob, Start};
use crate::chain::{Ask, Usage, Verified};
use crate::exchange::{Asked, ExchangeError, Opened, Outstanding, Reply, request_leaf};
use crate::keys::{Ephemeral, KeyIndex};
use crate::time::Now;
use crate::topic::Root;

#[derive(Debug, Default)]
pub(super) struct Asking {
    roots: BTreeMap<Root, Wanted>,
    last_number: u64,
    ready: Ready,
}

/// Ephemeral keys for the next request, made while nobody waits for one: an sntrup761 key takes ten milliseconds.
#[derive(Debug)]
enum Ready {
    /// To be made at this time.
    At(Duration),
    Made(Vec<Ephemeral>),
    /// Our chains don't allow requests to producers.
    Needless,
}

impl Default for Ready {
    fn default() -> Self {
        Self::At(Duration::ZERO)
    }
}

impl Ready {
    fn take(&mut self, core: &Core, now: Now, rng: &mut dyn CryptoRng) -> Vec<Ephemeral> {
        match std::mem::replace(self, Self::At(now.mono.saturating_add(REST))) {
            Self::Made(keys) => keys,
            Self::At(_) | Self::Needless => make(core, rng),
        }
    }

    fn tick(&mut self, core: &Core, trust: &Trust, now: Now, rng: &mut dyn CryptoRng) {
        if matches!(self, Self::At(at) if *at <= now.mono) {
            let asks = trust.requesters().iter().any(|(_, direct)| *direct);
            *self = if asks { Self::Made(make(core, rng)) } else { Self::Needless };
        }
    }
}

fn make(core: &Core, rng: &mut dyn CryptoRng) -> Vec<Ephemeral> {
    core.schemes.iter().map(|scheme| Ephemeral::generate(*scheme, rng)).collect()
}

/// What is wanted under one root.
#[derive(Debug, Default)]
struct Wanted {
    following: Following,
    /// Not asked for yet.
    new: BTreeSet<KeyIndex>,
    /// Not asked for, since our own chain doesn't allow it.
    refused: BTreeSet<KeyIndex>,
    open: Outstanding,
}

/// Whether `root.keys` is read: a request leaves only then, since an answer could be missed.
#[derive(Debug, Default, PartialEq)]
enum Following {
    #[default]
    No,
    Starting,
    Yes,
}

impl Asking {
    pub(super) fn want(&mut self, core: &mut Core, root: &Root, index: &KeyIndex) {
        let full = self.roots.len() >= MAX_ROOTS && !self.roots.contains_key(root);
        let wanted = if full { None } else { Some(self.roots.entry(root.clone()).or_default()) };
        let Some(wanted) = wanted.filter(|wanted| wanted.count() < MAX_WANTED) else {
            let why = "too many unknown key indices are asked for already";
            refuse(core, root, index, why);
            return core.drop_input(&core.naming.keys(root), why);
        };
        if !wanted.open.asks_for(index) {
            wanted.new.insert(index.clone());
        }
        if wanted.following == Following::No {
            wanted.following = Following::Starting;
            let topic = core.naming.keys(root);
            core.act(Pending::FollowKeys(root.clone()), Action::Follow { topic, from: Start::End });
        }
    }

    pub(super) fn forget(&mut self, root: &Root, index: &KeyIndex, now: Now) {
        if let Some(wanted) = self.roots.get_mut(root) {
            wanted.new.remove(index);
            wanted.refused.remove(index);
            wanted.open.forget(index, now.mono);
        }
    }

    /// What was refused may be allowed now: our chain or the lists have changed.
    pub(super) fn reconsider(&mut self, core: &mut Core) {
        if let Ready::Needless = self.ready {
            self.ready = Ready::default();
        }
        for (root, wanted) in &mut self.roots {
            for index in std::mem::take(&mut wanted.refused) {
                let change = KeyringChange::Reconsider { root: root.clone(), index: index.clone() };
                core.emit(Action::Install(change));
                wanted.new.insert(index);
            }
        }
    }

    pub(super) fn following(&mut self, root: &Root) {
        if let Some(wanted) = self.roots.get_mut(root) {
            wanted.following = Following::Yes;
        }
    }

    /// At once while anything is new; else at the next repeat.
    pub(super) fn next_wake(&self, gate_open: bool) -> Option<Duration> {
        let ready = self.roots.values().filter(|wanted| gate_open && wanted.following == Following::Yes);
        let due = |wanted: &Wanted| {
            let repeat = wanted.open.iter().filter(|asked| !asked.missing.is_empty()).map(|asked| asked.next).min();
            if wanted.new.is_empty() { repeat } else { Some(Duration::ZERO) }
        };
        let keys = match self.ready {
            Ready::At(at) if gate_open => Some(at),
            _ => None,
        };
        ready.filter_map(due).chain(keys).min()
    }

    pub(super) fn due(&self, mono: Duration) -> Vec<(Root, KeyIndex)> {
        let sets = self.roots.iter().flat_map(|(root, wanted)| wanted.open.iter().map(move |asked| (root, asked)));
        let due = sets.filter(|(_, asked)| asked.next <= mono && asked.was_sent());
        due.flat_map(|(root, asked)| asked.missing.iter().map(|index| (root.clone(), index.clone()))).collect()
    }

    pub(super) fn tick(&mut self, core: &mut Core, trust: &Trust, now: Now, rng: &mut dyn CryptoRng) {
        for (root, wanted) in self.roots.iter_mut().filter(|(_, wanted)| wanted.following == Following::Yes) {
            wanted.new.extend(wanted.open.sweep(now.mono));
            wanted.ask_for_new(core, trust, root, (&mut self.last_number, &mut self.ready), now, rng);
            for asked in wanted.open.iter_mut() {
                if !asked.missing.is_empty() && asked.next <= now.mono {
                    ask(core, trust, root, asked, now, rng);
                }
            }
        }
        self.ready.tick(core, trust, now, rng);
    }

    pub(super) fn signed(
        &mut self,
        core: &mut Core,
        root: &Root,
        (number, slot, direct): (u64, usize, bool),
        trust: &Trust,
        result: Result<Outcome, Failure>,
    ) {
        let value = match result {
            Ok(Outcome::Signed(signed)) => trust.append(slot, &signed),
            Ok(_) => None,
            Err(failure) => return core.report_failure("signing a request", Err(failure)),
        };
        let Some(asked) = self.roots.get_mut(root).and_then(|wanted| wanted.open.get_mut(number)) else { return };
        let Some(value) = value.filter(|_| !asked.missing.is_empty()) else { return };
        let key = KeyIndex::encode_list(asked.missing.iter());
        if direct {
            produce(core, root, number, core.naming.reqs(root), key.clone(), value.clone());
        }
        produce(core, root, number, core.naming.subs(root), key, value);
    }

    /// A request that the broker finds too large is split.
    pub(super) fn sent(&mut self, core: &mut Core, root: &Root, number: u64, result: Result<Outcome, Failure>) {
        let Err(failure) = result else { return };
        if let (Failure::TooLarge(_), Some(wanted)) = (&failure, self.roots.get_mut(root))
            && let Some(asked) = wanted.open.get_mut(number)
            && asked.missing.len() > 1
        {
            let half = asked.missing.len() / 2;
            wanted.new.extend(asked.missing.iter().skip(half).cloned());
            asked.missing = asked.missing.iter().take(half).cloned().collect();
            asked.next = Duration::ZERO;
        }
        core.report_failure("sending a request", Err(failure));
    }

    pub(super) fn reply(&mut self, core: &mut Core, trust: &Trust, root: &Root, record: &Record<'_>, now: Now) {
        let open = self.roots.get_mut(root).map(|wanted| &mut wanted.open);
        let (Some(open), Some(value)) = (open, record.value) else { return };
        if !open.may_answer(value) {
            core.counters.replies_ignored += 1;
            return;
        }
        let ask = Ask { topic: Some(root.as_str()), usage: Some(Usage::Encrypt) };
        match trust.verify(value, ask, now) {
            Ok(verified) => {
                if let Err(error) = accept(core, open, root, &verified, now) {
                    core.reject(record.topic, error);
                }
            }
            Err(rejected) => core.reject(record.topic, rejected),
        }
    }
}

impl Wanted {
    fn count(&self) -> usize {
        self.new.len() + self.refused.len() + self.open.iter().map(|asked| asked.missing.len()).sum::<usize>()
    }

    /// Opens requests for what is new, at most 500 indices each.
    fn ask_for_new(
        &mut self,
        core: &mut Core,
        trust: &Trust,
        root: &Root,
        (last_number, ready): (&mut u64, &mut Ready),
        now: Now,
        rng: &mut dyn CryptoRng,
    ) {
        if self.new.is_empty() {
            return;
        }
        let why = trust.why_not_ask(root, now).filter(|_| !core.settings.ask_unauthorised);
        if let Some(why) = why.or_else(|| core.schemes.is_empty().then(|| NO_SCHEME.into())) {
            self.new.iter().for_each(|index| refuse(core, root, index, &why));
            return self.refused.append(&mut self.new);
        }
        while !self.new.is_empty() {
            // whoever waits for a key of a set that had to go still waits
            self.new.extend(self.open.make_room());
            let rest =
                self.new.iter().nth(MAX_INDICES).cloned().map_or_else(BTreeSet::new, |at| self.new.split_off(&at));
            let asked = std::mem::replace(&mut self.new, rest);
            let ephemerals = ready.take(core, now, rng);
            *last_number += 1;
            let expires = now.mono.saturating_add(core.settings.maxage);
            self.open.add(Asked::new(*last_number, asked, ephemerals, expires));
        }
    }
}

/// Sends a set, or sends it again: a new `random0`, the same ephemeral keys, one message for each signing key.
fn ask(core: &mut Core, trust: &Trust, root: &Root, asked: &mut Asked, now: Now, rng: &mut dyn CryptoRng) {
    let mut random0 = [0; 32];
    rng.fill_bytes(&mut random0);
    asked.sent(random0);
    asked.next = now.mono.saturating_add(asked.pause);
    asked.pause = (asked.pause * 2).min(core.settings.sub_interval);
    let expires = now.wall.after(core.settings.maxage);
    let offers: Vec<_> = asked.ephemerals.iter().map(Ephemeral::offer).collect();
    let forms = if core.legacy { &[false, true][..] } else { &[false] };
    for (slot, direct) in trust.requesters() {
        for message in forms.iter().filter_map(|legacy| request_leaf(expires, root, &offers, &random0, *legacy)) {
            let pending = Pending::SignRequest { root: root.clone(), number: asked.number, slot, direct };
            core.act(pending, Action::Sign(SignJob { slot, message }));
        }
    }
    core.counters.requests_sent += 1;
    core.notice(Notice::Asked { root: root.clone(), count: asked.missing.len() });
}

/// Takes what a verified reply holds; nothing of the request is used up by one that doesn't open.
fn accept(
    core: &mut Core,
    open: &mut Outstanding,
    root: &Root,
    verified: &Verified,
    now: Now,
) -> Result<(), ExchangeError> {
    let reply = Reply::from_verified(verified)?;
    if core.settings.require_pq {
        reply.require_pq()?;
    }
    let asked = open.answered_by(reply.random0()).ok_or(ExchangeError::NotOurs)?;
    let Opened { pairs, malformed, scheme } = reply.open(root, &asked.ephemerals)?;
    let signer = verified.signers().last().unwrap_or_else(|| verified.root());
    let source = core.naming.keys(root);
    let mut learned = 0;
    for (index, secret) in pairs {
        if !asked.asked_for(&index) {
            core.reject(&source, format!("{signer} sent a key that wasn't asked for: {index}"));
            continue;
        }
        asked.arrived(&index, now.mono);
        learned += 1;
        let (root, signer) = (root.clone(), signer.clone());
        core.emit(Action::Install(KeyringChange::Learn { root, index, secret, signer, scheme }));
    }
    core.counters.secrets_learned += learned;
    core.counters.learned_by.add(scheme, learned);
    if learned > 0 {
        let (root, signer) = (root.clone(), signer.clone());
        let count = usize::try_from(learned).unwrap_or(usize::MAX);
        core.notice(Notice::Learned { root, signer, count, scheme });
    }
    if malformed > 0 {
        core.reject(&source, format!("{signer} sent {malformed} malformed secret(s)"));
    }
    Ok(())
}

fn produce(core: &mut Core, root: &Root, number: u64, topic: crate::topic::Topic, key: Vec<u8>, value: Vec<u8>) {
    let pending = Pending::ProduceRequest { root: root.clone(), number };
    core.act(pending, Action::Produce(Draft { topic, key, value }));
}

fn refuse(core: &mut Core, root: &Root, index: &KeyIndex, why: &str) {
    core.emit(Action::Install(KeyringChange::Refuse { root: root.clone(), index: index.clone(), why: why.into() }));
}

/// Why nothing can be asked for where no exchange is left.
const NO_SCHEME: &str = "no exchange that policy allows is enabled in the key file, so no keys can be asked for; run `kafkacrypto key enable-pq`";

/// Indices in one request.
const MAX_INDICES: usize = 500;

/// Indices that are wanted at once under one root.
const MAX_WANTED: usize = 2_000;

/// Roots under which anything is wanted.
const MAX_ROOTS: usize = 10_000;

/// How long after a request the keys for the next are made, so that they are in nobody's way.
const REST: Duration = Duration::from_secs(1);
