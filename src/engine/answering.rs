//! Requests of others, and our replies (protocol §8.2; §15 rows 3, 9).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::CryptoRng;

use super::core::{Answer, Core, Pending};
use super::producing::Producing;
use super::trust::Trust;
use super::types::{Action, Draft, Failure, Notice, Outcome, Record, SignJob, Start};
use crate::chain::{Ask, Usage, Verified};
use crate::exchange::{ExchangeError, Request, reply_leaf};
use crate::keys::{KeyIndex, Scheme, SigningPublicKey};
use crate::time::Now;
use crate::topic::Root;

#[derive(Debug, Default)]
pub(super) struct Answering {
    followed: BTreeSet<Root>,
    answered: Recent,
    rates: BTreeMap<(Root, SigningPublicKey), Bucket>,
}

/// The requests that were answered last, by root and `random0`.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<(Root, Vec<u8>)>,
    set: BTreeSet<(Root, Vec<u8>)>,
}

/// Answers that a signer may still have.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Answering {
    /// Reads requests for a root from now on.
    pub(super) fn follow(&mut self, core: &mut Core, root: &Root) {
        if self.followed.insert(root.clone()) {
            let topic = core.naming.reqs(root);
            let from = Start::Recent(core.settings.history.unwrap_or(2 * core.settings.sub_interval));
            core.act(Pending::Follow(topic.clone()), Action::Follow { topic, from });
        }
    }

    /// The cheap checks come first: nothing is verified for keys that we don't have, nor for what was answered already.
    #[expect(clippy::too_many_arguments, reason = "one message on its way through all parts of the engine")]
    pub(super) fn request(
        &mut self,
        core: &mut Core,
        trust: &Trust,
        producing: &Producing,
        root: &Root,
        record: &Record<'_>,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) {
        let (Some(key), Some(value)) = (record.key, record.value) else {
            return core.reject(record.topic, "a request without key or value");
        };
        let wanted = match KeyIndex::decode_list(key, MAX_INDICES) {
            Ok(wanted) => wanted,
            Err(error) => return core.reject(record.topic, error),
        };
        let indices: Vec<_> = wanted.into_iter().filter(|index| producing.secret(root, index).is_some()).collect();
        if indices.is_empty() {
            core.counters.requests_ignored += 1;
            return;
        }
        if Request::claimed_random0(value).is_some_and(|random0| self.answered.contains(root, &random0)) {
            core.counters.requests_ignored += 1;
            return;
        }
        let ask = Ask { topic: Some(root.as_str()), usage: Some(Usage::EncryptRequest) };
        let verified = match trust.verify(value, ask, now) {
            Ok(verified) => verified,
            Err(rejected) => return core.reject(record.topic, rejected),
        };
        let request = match acceptable(core, &verified) {
            Ok(request) => request,
            Err(error) => return core.reject(record.topic, error),
        };
        if self.may_answer(core, root, &verified, &request, now) {
            // with each of our keys that has the type of the requester's root of trust; with all if none has
            let slots = trust.slots_for(verified.root().signing_type());
            let scheme = slots.into_iter().filter_map(|slot| {
                let (root, request, indices) = (root.clone(), request.clone(), indices.clone());
                Answer { root, request, slot, indices }.sign(core, producing, now, rng)
            });
            if let Some(scheme) = scheme.max() {
                self.answered.add(root, request.random0());
                core.counters.requests_answered += 1;
                core.counters.answered_by.add(scheme, 1);
                let (root, signer) = (root.clone(), signer(&verified).clone());
                core.notice(Notice::Answered { root, signer, count: indices.len(), scheme });
            }
        }
    }

    pub(super) fn signed(core: &mut Core, trust: &Trust, answer: Answer, result: Result<Outcome, Failure>) {
        let value = match result {
            Ok(Outcome::Signed(signed)) => trust.append(answer.slot, &signed),
            Ok(_) => None,
            Err(failure) => return core.report_failure("signing a reply", Err(failure)),
        };
        if let Some(value) = value {
            let (topic, key) = (core.naming.keys(&answer.root), KeyIndex::encode_list(answer.indices.iter()));
            core.act(Pending::ProduceReply(answer), Action::Produce(Draft { topic, key, value }));
        }
    }

    /// A reply that the broker finds too large is made anew as two.
    pub(super) fn sent(
        core: &mut Core,
        producing: &Producing,
        answer: Answer,
        result: Result<Outcome, Failure>,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) {
        if let (Err(Failure::TooLarge(_)), 2..) = (&result, answer.indices.len()) {
            let (first, second) = answer.indices.split_at(answer.indices.len() / 2);
            for half in [first, second] {
                answer.only(half).sign(core, producing, now, rng);
            }
        }
        core.report_failure("sending a reply", result);
    }

    /// The same request is answered once, and a signer can't have answers without end.
    fn may_answer(&mut self, core: &mut Core, root: &Root, verified: &Verified, request: &Request, now: Now) -> bool {
        if self.answered.contains(root, request.random0()) {
            core.counters.requests_ignored += 1;
            return false;
        }
        let signer = signer(verified);
        if self.rates.len() >= MAX_SIGNERS {
            self.rates.retain(|_, bucket| bucket.refill(now.mono) < BURST);
        }
        if !self.rates.contains_key(&(root.clone(), signer.clone())) && self.rates.len() >= MAX_SIGNERS {
            core.drop_input(&core.naming.reqs(root), "requests of too many signers at once");
            return false;
        }
        let bucket = self.rates.entry((root.clone(), signer.clone())).or_insert(Bucket { left: BURST, at: now.mono });
        if !bucket.take(now.mono) {
            core.drop_input(&core.naming.reqs(root), &format!("too many requests signed by {signer}"));
            return false;
        }
        true
    }
}

impl Recent {
    fn contains(&self, root: &Root, random0: &[u8]) -> bool {
        self.set.contains(&(root.clone(), random0.to_vec()))
    }

    fn add(&mut self, root: &Root, random0: &[u8]) {
        let entry = (root.clone(), random0.to_vec());
        if self.order.len() >= MAX_ANSWERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.order.push_back(entry.clone());
        self.set.insert(entry);
    }
}

impl Bucket {
    fn refill(&mut self, mono: Duration) -> f64 {
        let passed = mono.saturating_sub(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + passed * PER_SECOND).min(BURST), mono);
        self.left
    }

    fn take(&mut self, mono: Duration) -> bool {
        let enough = self.refill(mono) >= 1.0;
        self.left -= f64::from(u8::from(enough));
        enough
    }
}

impl Answer {
    fn only(&self, indices: &[KeyIndex]) -> Self {
        let Self { root, request, slot, indices: _ } = self;
        Self { root: root.clone(), request: request.clone(), slot: *slot, indices: indices.to_vec() }
    }

    /// Has the reply signed. `None` if there can't be one.
    fn sign(self, core: &mut Core, producing: &Producing, now: Now, rng: &mut dyn CryptoRng) -> Option<Scheme> {
        let expires = now.wall.after(core.settings.maxage);
        let pair = |index| Some((index, producing.secret(&self.root, index)?));
        let pairs: Vec<_> = self.indices.iter().filter_map(pair).collect();
        match reply_leaf(expires, &self.root, &self.request, &core.schemes, &pairs, rng) {
            Ok(reply) => {
                let job = SignJob { slot: self.slot, message: reply.leaf };
                core.act(Pending::SignReply(self), Action::Sign(job));
                Some(reply.scheme)
            }
            Err(error) => {
                core.reject(&core.naming.reqs(&self.root), error);
                None
            }
        }
    }
}

/// The request in a verified leaf, if anything in it can be answered.
fn acceptable(core: &Core, verified: &Verified) -> Result<Request, ExchangeError> {
    let request = Request::from_verified(verified)?;
    if core.settings.require_pq {
        request.require_pq()?;
    }
    request.choose(&core.schemes)?;
    Ok(request)
}

/// Whose key signed the leaf.
fn signer(verified: &Verified) -> &SigningPublicKey {
    verified.signers().last().unwrap_or_else(|| verified.root())
}

/// Indices of one request that are looked at.
const MAX_INDICES: usize = 5_000;

/// Requests that are remembered as answered.
const MAX_ANSWERED: usize = 10_000;

/// Signers whose rate is watched at once.
const MAX_SIGNERS: usize = 10_000;

/// Answers that a signer may have at once for one root.
const BURST: f64 = 200.0;

/// Answers that it may have after that, in each second.
const PER_SECOND: f64 = 20.0;
