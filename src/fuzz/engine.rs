//! A node among others: a program of records, honest ones and mutations of them, of time, failures and crashes.
//!
//! What the bodies know independently of the engine is in [`Facts`]: every action is held against it.

mod cast;
mod facts;

use std::collections::VecDeque;
use std::time::Duration;

use cast::{HYBRID, HYBRID_REQUESTS, half_signed, key_of, list_leaf, own_chain, peer_chain, sealed_pairs};
use facts::{Effect, Facts, Passed};

use super::exchange::{encode_pairs, ephemeral, forge_reply, indices, leaf_of, time};
use super::model::{extend, key, public};
use super::program::{Dice, Program};
use crate::chain::{Usage, chain_of, root_certificate};
use crate::engine::{
    Action, ActionId, Change, Counters, Failure, Input, NodeEngine, Outcome, Record, Settings, SignJob, Start,
};
use crate::exchange::request_leaf;
use crate::keys::{KeyIndex, Scheme};
use crate::secret::Secret;
use crate::time::{Now, UnixTime};
use crate::topic::Root;

/// A stream of records, honest ones and mutations of them, into a node: no panic, bounded memory, no secret taken that no
/// authorised producer sent, none given to whoever may not have it, none used before it is durable.
pub fn engine(data: &[u8]) {
    run(data);
}

/// What has happened at the end.
pub(super) fn run(data: &[u8]) -> Counters {
    let mut program = Program::new(data);
    let mut world = World::new(&mut program);
    for _ in 0..MAX_STEPS {
        if program.is_done() {
            break;
        }
        world.step(&mut program);
    }
    world.end()
}

struct World {
    node: NodeEngine,
    now: Now,
    dice: Dice,
    facts: Facts,
    settings: Settings,
    kind: Kind,
    /// Actions that aren't done.
    waiting: VecDeque<(ActionId, Action)>,
    /// Actions are done one by one, when the program says so.
    lazy: bool,
    flooded: u64,
}

/// What the node is.
#[derive(Clone, Copy)]
struct Kind {
    legacy: bool,
    /// Whether it has a key of type 4 too, and is asked by one who has.
    hybrid: bool,
    schemes: &'static [Scheme],
}

impl Kind {
    fn of(flags: u8) -> Self {
        let schemes: &[Scheme] = match flags >> 4 & 3 {
            0 => &[Scheme::X25519],
            1 => &[Scheme::X25519MlKem1024, Scheme::X25519],
            2 => &[Scheme::X25519Sntrup761, Scheme::X25519],
            _ => &[Scheme::X25519MlKem1024, Scheme::X25519Sntrup761],
        };
        Self { legacy: flags & 2 != 0, hybrid: flags & 8 != 0, schemes }
    }
}

impl World {
    fn new(program: &mut Program<'_>) -> Self {
        let flags = program.byte();
        let (kind, require_pq) = (Kind::of(flags), flags & 64 != 0);
        let settings = Settings { long_keyindex: flags & 1 == 0, require_pq, ..Settings::default() };
        let now = Now { wall: time(0), mono: Duration::from_secs(100) };
        let facts = Facts { allow: vec![root_certificate(key(0).public())], require_pq, ..Facts::default() };
        let setup = facts.setup(&settings, kind);
        let (node, actions) = NodeEngine::new(setup, now);
        let (waiting, lazy) = (VecDeque::new(), flags & 4 != 0);
        let mut world = Self { node, now, dice: Dice(1), facts, settings, kind, waiting, lazy, flooded: 0 };
        world.absorb(actions);
        world.settle();
        world
    }

    fn step(&mut self, program: &mut Program<'_>) {
        match program.below(16) {
            0 => self.want(program, true),
            1 => self.want(program, false),
            2 => self.handle(Input::RootsUsed { roots: &[root(program)] }),
            3 => self.pass_time(program),
            4 => self.reply(program),
            5 => self.request(program),
            6 => self.list_message(program),
            7 => self.self_revocation(program),
            8 => self.new_chain(program),
            9 => self.again(program),
            10 => self.noise(program),
            11 => self.done(program),
            12 => self.lazy = !self.lazy,
            13 => {
                self.handle(Input::CaughtUp { topic: program.choice(&["chains", "allowlist", "denylist", "lab.keys"]) })
            }
            14 => self.flood(program),
            _ => self.restart(program),
        }
        if !self.lazy {
            self.settle();
        }
    }

    fn end(mut self) -> Counters {
        self.settle();
        for _ in 0..20 {
            if self.node.next_wake().is_none_or(|wake| wake > self.now.mono) {
                break;
            }
            self.handle(Input::Tick);
            self.settle();
        }
        self.check_revocations();
        let wake = self.node.next_wake();
        assert!(wake.is_none_or(|wake| wake > self.now.mono), "the node would spin");
        if self.flooded > 0 {
            let size = format!("{:?}", self.node).len();
            assert!(size < MOST_BYTES, "{size} bytes after {} wants", self.flooded);
        }
        self.node.counters()
    }

    /// A revocation that the node was given, at whatever time, is in force in the end, if the clock is set.
    fn check_revocations(&self) {
        for passed in self.facts.records.iter().filter(|_| self.now.wall >= time(0)) {
            let Effect::DeniesItself(n) = passed.effect else { continue };
            assert!(self.facts.is_denied(n), "the revocation of key {n} is lost");
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let actions = self.node.handle(input, self.now, &mut self.dice);
        self.absorb(actions);
    }

    fn record(&mut self, topic: &str, key: Option<Vec<u8>>, value: Option<Vec<u8>>, effect: Effect) {
        let passed = Passed { topic: topic.to_owned(), key, value, effect };
        self.facts.records.push(passed.clone());
        self.read(&passed);
    }

    fn read(&mut self, passed: &Passed) {
        let Passed { topic, key, value, effect } = passed;
        if *effect == Effect::AllowsStranger {
            self.facts.stranger_allowed = true;
        }
        let lists_can_change = !self.facts.is_denied(6) && !self.facts.is_denied(0);
        let record = Record { topic, key: key.as_deref(), value: value.as_deref(), timestamp: Some(self.now.wall) };
        self.handle(Input::Record(record));
        match effect {
            _ if self.now.wall < time(0) => {}
            Effect::Denies(n) if lists_can_change => self.facts.deny(*n, &self.waiting),
            Effect::DeniesItself(n) => self.facts.deny(*n, &self.waiting),
            _ => {}
        }
    }

    fn want(&mut self, program: &mut Program<'_>, wanted: bool) {
        let (root, index) = (root(program), self.facts.index(program));
        let (root, index) = (&root, &index);
        self.handle(if wanted { Input::KeyWanted { root, index } } else { Input::KeyUnwanted { root, index } });
    }

    fn flood(&mut self, program: &mut Program<'_>) {
        let root = root(program);
        for n in 0..16 * u64::from(program.byte()) {
            self.flooded += 1;
            let index = KeyIndex::Short(1 << 32 | self.flooded);
            self.handle(Input::KeyWanted { root: &root, index: &index });
            assert!(self.waiting.len() < 1000 + MAX_STEPS * 10, "{n} wants make {} actions", self.waiting.len());
        }
    }

    fn pass_time(&mut self, program: &mut Program<'_>) {
        let passed = program.choice(&[1, 0, 2, 5, 60, 3600, 86_400, 700_000]);
        self.now.mono += Duration::from_secs(passed);
        self.now.wall = self.now.wall.after(Duration::from_secs(passed));
        if program.rarely() {
            self.now.wall = program.choice(&[time(0), UnixTime::from_secs(1000), time(86_400)]);
        }
        self.handle(Input::Tick);
    }

    /// A reply to one of the node's requests: by an authorised producer or another node, mutated or not.
    fn reply(&mut self, program: &mut Program<'_>) {
        let by = program.choice(&[1, 1, 3, 4, 2, 6]);
        let Some((root, record_key, chain)) = self.facts.asked.iter().rev().nth(program.below(16) % 4).cloned() else {
            return;
        };
        let Some(asked) = leaf_of(&chain) else { return };
        let offers = asked.key().exchange_keys();
        let offer = offers.into_iter().next().and_then(crate::keys::ExchangeKey::into_offer);
        let (Some(random0), Some(offer)) = (asked.extra_bytes(0), offer) else { return };
        let fill = program.byte();
        let mut pairs: Vec<_> =
            indices(&record_key).into_iter().map(|index| (index, Secret::filled(|place| place.fill(fill)))).collect();
        if program.rarely() {
            pairs.push((self.facts.index(program), Secret::filled(|place| place.fill(1))));
        }
        let inside = program.mutate(encode_pairs(&pairs));
        let sealed_for = if program.rarely() { self::root(program) } else { root.clone() };
        let Some(body) = forge_reply(&sealed_for, &offer, random0, &inside, &mut self.dice) else { return };
        for (index, secret) in sealed_pairs(&inside) {
            self.facts.sealed.insert((sealed_for.clone(), index, secret, key(by).public().clone()));
        }
        let value = extend(&peer_chain(by), key(by), &program.mutate(body));
        let topic = if program.rarely() { self::root(program) } else { root };
        let (record_key, value) = (program.mutate(record_key), program.mutate(value));
        self.record(&format!("{topic}.keys"), Some(record_key), Some(value), Effect::Unknown);
    }

    /// A request by a consumer or another node, mutated or not.
    fn request(&mut self, program: &mut Program<'_>) {
        if self.kind.hybrid && program.byte() & 1 == 1 {
            return self.hybrid_request(program);
        }
        let by = program.choice(&[2, 2, 4, 1, 6]);
        let root = root(program);
        let wanted: Vec<_> = self.facts.old_keys.iter().filter(|old| old.0 == root).map(|old| old.1.clone()).collect();
        let wanted = if wanted.is_empty() { vec![self.facts.index(program)] } else { wanted };
        let mut random0 = [0; 32];
        rand_core::Rng::fill_bytes(&mut self.dice, &mut random0);
        let scheme = self.kind.schemes.first().copied().unwrap_or(Scheme::X25519);
        let (mine, legacy) = (ephemeral(scheme, by as u8), program.rarely());
        let Some(body) = request_leaf(time(50_000), &root, &[mine.offer()], &random0, legacy) else { return };
        let body = program.mutate(body);
        let value = extend(&peer_chain(by), key(by), &body);
        if let Some(random0) = leaf_of(&value).and_then(|leaf| leaf.extra_bytes(0).map(<[u8]>::to_vec)) {
            self.facts.requested.insert((random0, by));
        }
        let (record_key, value) = (program.mutate(KeyIndex::encode_list(wanted.iter())), program.mutate(value));
        self.record(&format!("{root}.reqs"), Some(record_key), Some(value), Effect::Unknown);
    }

    /// A request that a consumer with a key of type 4 has signed before, mutated or not.
    fn hybrid_request(&mut self, program: &mut Program<'_>) {
        let (root, random0, value) = program.choice(&HYBRID_REQUESTS.iter().collect::<Vec<_>>());
        self.facts.requested.insert((random0.to_vec(), HYBRID));
        let wanted: Vec<_> = self.facts.old_keys.iter().filter(|old| old.0 == *root).map(|old| old.1.clone()).collect();
        let record_key = program.mutate(KeyIndex::encode_list(wanted.iter()));
        let value = program.mutate(value.clone());
        self.record(&format!("{root}.reqs"), Some(record_key), Some(value), Effect::Unknown);
    }

    /// Somebody changes the lists: one who may when the program is zeros.
    fn list_message(&mut self, program: &mut Program<'_>) {
        let by = if program.rarely() { program.below(9) } else { 6 };
        let deny = program.below(2) == 0;
        let (usage, topic) = if deny { (Usage::Denylist, "denylist") } else { (Usage::Allowlist, "allowlist") };
        let target = if deny { program.choice(&[1, 2, 3, 4, 5, 6, 8, 0, 7]) } else { 5 };
        let honest = list_leaf(usage, target, None);
        let body = program.mutate(honest.clone());
        let whole = extend(&peer_chain(by), key(by), &body);
        let value = program.mutate(whole.clone());
        let effect = match (by, deny) {
            // the root may, too
            (0 | 6, false) => Effect::AllowsStranger,
            (6, true) if target != 7 && body == honest && value == whole => Effect::Denies(target),
            _ => Effect::Unknown,
        };
        self.record(topic, None, Some(value), effect);
    }

    /// A key takes itself out: always in force, but for the key that everybody has.
    fn self_revocation(&mut self, program: &mut Program<'_>) {
        let who = program.choice(&[1, 2, 3, 4, 5, 6, 8, 0, 7]);
        let signed = key(who).sign(&list_leaf(Usage::Denylist, who, None));
        let whole = chain_of(&[&list_leaf(Usage::Denylist, who, Some(1)), &signed]);
        let value = program.mutate(whole.clone());
        let topic = program.choice(&["denylist", "denylist", "allowlist", "chains"]);
        let honest = who != 7 && topic == "denylist" && value == whole;
        self.record(topic, None, Some(value), if honest { Effect::DeniesItself(who) } else { Effect::Unknown });
    }

    fn new_chain(&mut self, program: &mut Program<'_>) {
        let chain = own_chain(program.below(4));
        let chain = program.mutate(chain);
        let record_key = program.mutate(public(8).to_vec());
        self.record("chains", Some(record_key), Some(chain), Effect::Unknown);
    }

    /// A record that came by before, as it was or changed, perhaps on another topic.
    fn again(&mut self, program: &mut Program<'_>) {
        let back = usize::from(program.byte());
        let Some(passed) = self.facts.records.iter().rev().cycle().nth(back).cloned() else { return };
        let topic = if program.rarely() { program.choice(&FOLLOWED).to_owned() } else { passed.topic.clone() };
        let key = passed.key.clone().map(|key| program.mutate(key));
        let value = passed.value.clone().map(|value| if program.byte() & 1 == 0 { value } else { program.edit(value) });
        // the stranger's root may be allowed by another form of the same message
        let keeps = topic == passed.topic && value == passed.value || passed.effect == Effect::AllowsStranger;
        self.record(&topic, key, value, if keeps { passed.effect } else { Effect::Unknown });
    }

    fn noise(&mut self, program: &mut Program<'_>) {
        let topic = program.choice(&FOLLOWED);
        let (key, value) = (program.bytes().to_vec(), program.bytes().to_vec());
        let (key, value) = (Some(key).filter(|key| key != b"\0"), Some(value).filter(|value| value != b"\0"));
        self.record(topic, key, value, Effect::Unknown);
    }

    /// Ends one action, well or not.
    fn done(&mut self, program: &mut Program<'_>) {
        let (place, how) = (program.below(16), program.below(4));
        let is_save = |(_, action): &(ActionId, Action)| matches!(action, Action::Save(_));
        // a driver saves in order
        let place = match self.waiting.get(place) {
            Some(action) if is_save(action) => self.waiting.iter().position(is_save).unwrap_or(place),
            _ => place,
        };
        let Some((id, action)) = self.waiting.remove(place) else { return };
        let failure = match how {
            // a driver tries to follow for as long as it takes
            _ if matches!(action, Action::Follow { .. }) => None,
            0 | 1 => None,
            2 => Some(Failure::TooLarge("2 MB".into())),
            _ => Some(Failure::Other("no".into())),
        };
        self.finish(id, action, failure);
    }

    /// A crash: what isn't durable is gone; the seed file may be an older one.
    fn restart(&mut self, program: &mut Program<'_>) {
        self.waiting.clear();
        let back = program.below(4) as u64;
        self.facts.ratchet = self.facts.ratchet.saturating_sub(back);
        self.facts.restarted();
        let setup = self.facts.setup(&self.settings, self.kind);
        let (node, actions) = NodeEngine::new_after(self.node.last_id(), setup, self.now);
        self.node = node;
        self.absorb(actions);
    }

    /// Ends all actions well.
    fn settle(&mut self) {
        for _ in 0..5000 {
            let Some((id, action)) = self.waiting.pop_front() else { return };
            self.finish(id, action, None);
        }
        assert!(self.waiting.is_empty(), "actions without end");
    }

    fn finish(&mut self, id: ActionId, action: Action, failure: Option<Failure>) {
        if let Some(failure) = failure {
            return self.handle(Input::Done { id, result: Err(failure) });
        }
        let mut read = None;
        let outcome = match action {
            Action::Save(change) => self.facts.saved(change, self.now.wall),
            Action::Sign(SignJob { slot, message }) => {
                Outcome::Signed(if slot == 0 { key(8).sign(&message) } else { half_signed(&message) })
            }
            Action::Produce(draft) => {
                if let Some(root) = draft.topic.strip_suffix(".reqs") {
                    self.facts.asked.push((Root::new(root), draft.key.clone(), draft.value.clone()));
                }
                let (topic, key, value) = (draft.topic.to_string(), Some(draft.key), Some(draft.value));
                self.facts.records.push(Passed { topic, key, value, effect: Effect::Unknown });
                Outcome::Done
            }
            Action::Follow { topic, from } => {
                read = (from == Start::Beginning).then_some(topic);
                Outcome::Done
            }
            Action::Step => {
                self.facts.ratchet += 1;
                Outcome::Stepped(self.facts.ratchet)
            }
            Action::Derive(roots) => Outcome::RootSecrets(self.facts.derive(roots)),
            Action::Install(_) | Action::Rejected(_) | Action::Notice(_) => return,
        };
        self.handle(Input::Done { id, result: Ok(outcome) });
        if let Some(topic) = read {
            let old = self.facts.records.iter().filter(|passed| *passed.topic == *topic);
            old.cloned().collect::<Vec<_>>().iter().for_each(|passed| self.read(passed));
            self.handle(Input::CaughtUp { topic: &topic });
        }
    }

    /// Holds actions against what is known, and queues those that want an answer.
    fn absorb(&mut self, actions: Vec<(ActionId, Action)>) {
        for (id, action) in actions {
            match &action {
                Action::Install(change) => self.facts.check_install(change),
                Action::Sign(job) => self.facts.check_sign(&job.message),
                Action::Save(Change::Chain { slot, chain }) => self.facts.check_chain(*slot, chain),
                Action::Save(Change::Deny(certificate)) => self.facts.denied.extend(key_of(certificate)),
                Action::Save(Change::Allow(certificate)) => {
                    self.facts.odd |= key_of(certificate).as_ref() != Some(key(5).public());
                }
                Action::Rejected(rejection) => {
                    assert!(!rejection.reason.chars().any(char::is_control), "{:?}", rejection.reason);
                }
                _ => {}
            }
            if !matches!(action, Action::Install(_) | Action::Rejected(_) | Action::Notice(_)) {
                self.waiting.push_back((id, action));
            }
        }
    }
}

fn root(program: &mut Program<'_>) -> Root {
    Root::new(program.choice(&["lab", "lab", "foo", "bar"]))
}

const FOLLOWED: [&str; 8] =
    ["lab.keys", "lab.reqs", "foo.keys", "foo.reqs", "chains", "allowlist", "denylist", "lab.subs"];

const MAX_STEPS: usize = 64;

/// What a node may hold, written out, after any number of wants.
const MOST_BYTES: usize = 3_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_before_the_lists_are_bounded_in_bytes() {
        let now = Now { wall: time(0), mono: Duration::ZERO };
        let (mut node, _) = NodeEngine::new(Facts::default().setup(&Settings::default(), Kind::of(0)), now);
        let megabyte = vec![0; 1 << 20];
        for _ in 0..40 {
            let record = Record { topic: "lab.reqs", key: None, value: Some(&megabyte), timestamp: None };
            node.handle(Input::Record(record), now, &mut Dice(1));
        }
        assert_eq!(node.counters().dropped, 24);
    }
}
