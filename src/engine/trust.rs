//! The one trust store of a node: who is allowed and denied, and our own chains (protocol §7.3, §7.4).

use std::time::Duration;

use super::core::{Core, Pending};
use super::types::{Action, Change, Notice, OwnKey, Record};
use crate::chain::{self, Ask, ChainError, LeafKey, Rejected, Signatures, TrustLists, Usage, Verified};
use crate::keys::{SigningPublicKey, SigningType};
use crate::time::{Now, UnixTime};
use crate::topic::Root;

#[derive(Debug)]
pub(super) struct Trust {
    lists: TrustLists,
    own: Vec<Own>,
    /// What was found good before.
    signatures: Signatures,
    remind_at: Duration,
}

#[derive(Debug)]
struct Own {
    key: OwnKey,
    /// The effective expiry of the validated chain; none when it doesn't validate here.
    expires: Option<UnixTime>,
    /// Whether requests may go to producers directly.
    direct: bool,
}

impl Trust {
    pub(super) fn new(core: &mut Core, lists: TrustLists, keys: Vec<OwnKey>, now: Now) -> Self {
        let mut trust = Self { lists, own: Vec::new(), signatures: Signatures::new(), remind_at: now.mono };
        for key in keys {
            let (expires, direct) = judge(&trust.signatures, &trust.lists, &key.chain, now);
            trust.own.push(Own { key, expires, direct });
        }
        trust.tick(core, now);
        trust
    }

    pub(super) fn verify(&self, chain: &[u8], ask: Ask<'_>, now: Now) -> Result<Verified, Rejected> {
        self.signatures.verify(chain, ask, &self.lists, now.wall)
    }

    /// Our chain with one more signed element.
    pub(super) fn append(&self, slot: usize, signed: &[u8]) -> Option<Vec<u8>> {
        let own = self.own.iter().find(|own| own.key.slot == slot)?;
        chain::append(&own.key.chain, signed).ok()
    }

    /// Our signing keys of a type; all of them if there is none.
    pub(super) fn slots_for(&self, kind: SigningType) -> Vec<usize> {
        let slots = |all: bool| {
            let fits = self.own.iter().filter(|own| all || own.key.public.signing_type() == kind);
            fits.map(|own| own.key.slot).collect::<Vec<_>>()
        };
        Some(slots(false)).filter(|slots| !slots.is_empty()).unwrap_or_else(|| slots(true))
    }

    /// Our signing keys, and whether each may ask producers directly.
    pub(super) fn requesters(&self) -> Vec<(usize, bool)> {
        self.own.iter().map(|own| (own.key.slot, own.direct)).collect()
    }

    /// Why no producer or controller could ever answer our requests for a root. None if one might: what a chain doesn't
    /// allow is allowed nowhere, but whom we trust is our affair only.
    pub(super) fn why_not_ask(&self, root: &Root, now: Now) -> Option<String> {
        let may = |own: &Own| {
            [Usage::EncryptRequest, Usage::EncryptSubscribe].into_iter().try_fold((), |(), usage| {
                let ask = Ask { topic: Some(root.as_str()), usage: Some(usage) };
                match self.signatures.verify_own(&own.key.chain, ask, &self.lists, now.wall) {
                    Err(rejected) => match rejected.reason {
                        ChainError::TopicNotAllowed { .. } | ChainError::UsageNotAllowed { .. } => Ok(()),
                        _ => Err(()),
                    },
                    Ok(_) => Err(()),
                }
            })
        };
        let hopeless = !self.own.is_empty() && self.own.iter().all(|own| may(own).is_ok());
        hopeless.then(|| format!("not authorised: this node's chain doesn't allow it to ask for keys of {root:?}"))
    }

    pub(super) fn chain_expires(&self) -> Option<UnixTime> {
        let ends = self.own.iter().map(|own| own.expires);
        let ends: Option<Vec<UnixTime>> = ends.map(|end| end.filter(|end| *end != UnixTime::ZERO)).collect();
        ends?.into_iter().max_by(|a, b| a.as_secs_f64().total_cmp(&b.as_secs_f64()))
    }

    pub(super) fn next_wake(&self) -> Option<Duration> {
        Some(self.remind_at)
    }

    /// Warns of chains that end soon or don't validate, now and every day.
    pub(super) fn tick(&mut self, core: &mut Core, now: Now) {
        if now.mono < self.remind_at {
            return;
        }
        self.remind_at = now.mono + DAY;
        for own in &self.own {
            let key = own.key.public.clone();
            match own.expires {
                None => {
                    let verdict = self.verify(&own.key.chain, Ask { topic: None, usage: None }, now);
                    let why = verdict.err().map(|rejected| rejected.reason.to_string()).unwrap_or_default();
                    core.notice(Notice::ChainInvalid { key, why });
                }
                Some(at) if at != UnixTime::ZERO && at < now.wall.after(WARN_BEFORE) => {
                    core.notice(Notice::ChainExpires { key, at });
                }
                Some(_) => {}
            }
        }
    }

    /// A record of the topic of chains: a later chain for one of our keys replaces ours.
    pub(super) fn new_chain(&mut self, core: &mut Core, record: &Record<'_>, now: Now) {
        let (Some(key), Some(value)) = (record.key, record.value) else { return };
        let Some(own) = self.own.iter_mut().find(|own| own.key.public.to_bytes() == key) else { return };
        // no usage is asked, so that a self-revocation is never tried; the temporary root doesn't count
        let lists = self.lists.without_temporary();
        let verified = match self.signatures.verify_own(value, Ask::nothing(), &lists, now.wall) {
            Ok(verified) => verified,
            Err(rejected) => return core.reject(record.topic, rejected),
        };
        if !proves(&verified, &own.key.public) {
            return core.reject(record.topic, "a chain for this node that doesn't end in its key");
        }
        if own.key.chain == value || !chain::supersedes(own.expires, verified.max_age()) {
            return;
        }
        own.key.chain = value.to_vec();
        (own.expires, own.direct) = judge(&self.signatures, &self.lists, value, now);
        core.counters.trust_changes += 1;
        core.notice(Notice::ChainRenewed { key: own.key.public.clone() });
        let change = Change::Chain { slot: own.key.slot, chain: value.to_vec() };
        core.act(Pending::Save("storing a new chain"), Action::Save(change));
    }

    pub(super) fn allowlist_message(&mut self, core: &mut Core, record: &Record<'_>, now: Now) {
        let Some((change, _)) = self.list_change(core, record, Usage::Allowlist, now) else { return };
        if !self.lists.is_allowed_key(&change.key) && self.lists.allow(&change.certificate).is_ok() {
            self.changed(core, "allowlist", change.key, Change::Allow(change.certificate), now);
        }
    }

    pub(super) fn denylist_message(&mut self, core: &mut Core, record: &Record<'_>, now: Now) {
        let Some((mut change, is_self_revocation)) = self.list_change(core, record, Usage::Denylist, now) else {
            return;
        };
        if self.lists.is_denied_key(&change.key) {
            return;
        }
        if is_self_revocation {
            // just the key is kept, in a list of its own that is bounded
            if !self.lists.deny_key(change.key.clone()) {
                return core.drop_input(record.topic, "too many keys have revoked themselves; this one isn't kept");
            }
            change.certificate = chain::root_certificate(&change.key);
        } else if self.lists.deny(&change.certificate).is_err() {
            return;
        }
        self.changed(core, "denylist", change.key, Change::Deny(change.certificate), now);
    }

    /// The change that a message makes, if it may; and whether it is a key's revocation of itself.
    fn list_change(
        &self,
        core: &mut Core,
        record: &Record<'_>,
        usage: Usage,
        now: Now,
    ) -> Option<(chain::ListChange, bool)> {
        let lists = self.lists.without_temporary();
        match self.signatures.verify(record.value?, Ask::usage(usage), &lists, now.wall) {
            Ok(verified) => {
                let change = chain::list_change(&verified);
                if change.is_none() {
                    core.reject(record.topic, "a list message without a certificate for its own key");
                }
                change.map(|change| (change, verified.is_self_revocation()))
            }
            Err(rejected) => {
                core.reject(record.topic, rejected);
                None
            }
        }
    }

    /// In force for the next message already; what depends on it is judged anew.
    fn changed(&mut self, core: &mut Core, list: &'static str, key: SigningPublicKey, change: Change, now: Now) {
        self.judge_anew(now);
        core.counters.trust_changes += 1;
        core.notice(Notice::ListChanged { list, key });
        core.act(Pending::Save("storing a change of the lists"), Action::Save(change));
    }

    /// The clock was wrong until now.
    pub(super) fn clock_was_set(&mut self, now: Now) {
        self.judge_anew(now);
        self.remind_at = now.mono;
    }

    fn judge_anew(&mut self, now: Now) {
        for own in &mut self.own {
            (own.expires, own.direct) = judge(&self.signatures, &self.lists, &own.key.chain, now);
        }
    }
}

/// The effective expiry of one of our chains, and whether it may ask producers directly.
fn judge(signatures: &Signatures, lists: &TrustLists, chain: &[u8], now: Now) -> (Option<UnixTime>, bool) {
    let verify = |usage| signatures.verify_own(chain, Ask { topic: None, usage }, lists, now.wall);
    let expires = verify(None).ok().map(|verified| verified.max_age());
    (expires, verify(Some(Usage::EncryptRequest)).is_ok())
}

fn proves(verified: &Verified, key: &SigningPublicKey) -> bool {
    match verified.key() {
        LeafKey::Signing(signing) => signing == key,
        LeafKey::Bare(public) => *key == SigningPublicKey::Ed25519(*public),
        LeafKey::Keys(_) => false,
    }
}

/// How long before its end a chain is warned about.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// How often a warning is repeated.
const DAY: Duration = Duration::from_secs(86_400);
