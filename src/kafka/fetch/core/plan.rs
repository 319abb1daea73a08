//! What to do next: which partitions are asked of which broker, in the poll or quickly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::{Isolation, TopicPartition};
use super::answer::whole_batches;
use super::slot::{At, Need, Slot};
use super::types::{Action, Ask, AskId, Find, Kind, OffsetWant, ReaderId, Sent};
use super::{Core, Finding, Out, Reading, Turn};

/// A slot that wants records.
#[derive(Debug, Clone)]
struct Want {
    reader: ReaderId,
    partition: TopicPartition,
    sent: Sent,
    need: bool,
    tried: bool,
    /// There was more when a broker last said where the partition ends.
    more: bool,
    /// Its slot has something to note when it is asked for.
    noted: bool,
}

/// All that is wanted, by broker and isolation.
#[derive(Debug, Default)]
struct Wants {
    records: BTreeMap<(i32, Isolation), Vec<Want>>,
    offsets: BTreeMap<(i32, Isolation), Vec<(ReaderId, OffsetWant)>>,
    lookups: BTreeSet<std::sync::Arc<str>>,
    /// Lanes that have any slot, even if it wants nothing now.
    lanes: BTreeSet<(i32, Isolation)>,
    due: Due,
}

/// The earliest of some times.
#[derive(Debug, Default)]
struct Due(Option<Duration>);

impl Due {
    fn at(&mut self, time: Duration) {
        self.0 = Some(self.0.map_or(time, |due| due.min(time)));
    }
}

impl Core {
    /// What to do now. Call it after every event, and when the last turn's time is due.
    pub(in crate::kafka::fetch) fn turn(&mut self, now: Duration) -> Turn {
        let mut wants = self.wants(now);
        let mut actions = Vec::new();
        for topic in std::mem::take(&mut wants.lookups) {
            actions.extend(self.lookup(topic));
        }
        for ((broker, isolation), of) in std::mem::take(&mut wants.offsets) {
            actions.push(self.find(broker, isolation, of));
        }
        for (lane, of) in std::mem::take(&mut wants.records) {
            self.plan_lane(now, lane, of, &mut actions, &mut wants.due);
        }
        self.close_sessions(&wants.lanes, &mut actions);
        Turn { actions, wakes: std::mem::take(&mut self.wakes).into_iter().collect(), due: wants.due.0 }
    }

    fn wants(&self, now: Duration) -> Wants {
        let mut wants = Wants::default();
        for (id, reading) in &self.readers {
            for (partition, slot) in &reading.slots {
                self.want(now, (*id, reading), (partition, slot), &mut wants);
            }
        }
        wants
    }

    /// Adds what one slot wants.
    fn want(
        &self,
        now: Duration,
        (reader, reading): (ReaderId, &Reading),
        (partition, slot): (&TopicPartition, &Slot),
        wants: &mut Wants,
    ) -> Option<()> {
        let topic = self.topics.get(&partition.topic)?;
        let part = topic.parts.get(&partition.partition)?;
        let isolation = reading.options.isolation;
        let replica = part.replica.filter(|(_, until)| *until > now).map(|(replica, _)| replica);
        let broker = replica.or(part.leader);
        wants.lanes.extend(broker.map(|broker| (broker, isolation)));
        if slot.halted || slot.paused || slot.at == At::Unsure {
            return None;
        }
        let Some(leader) = part.leader else {
            return self.want_lookup(now, partition, wants);
        };
        let wait_for =
            |broker| slot.retry_at.max(self.brokers.get(&broker).map_or(Duration::ZERO, |broker| broker.retry_at));
        let (At::Known { .. } | At::Find(_)) = slot.at else { return None };
        let broker = if matches!(slot.at, At::Find(_)) { leader } else { broker? };
        if wait_for(broker) > now {
            wants.due.at(wait_for(broker));
            return None;
        }
        match slot.at {
            At::Find(what) => {
                let want = OffsetWant { partition: partition.clone(), leader_epoch: part.epoch, what };
                wants.offsets.entry((leader, isolation)).or_default().push((reader, want));
            }
            At::Known { offset, epoch } => {
                let most = reading.options.partition_bytes.max(1);
                let max_bytes = slot.batch.map_or(most, |batch| whole_batches(most, batch));
                let sent = Sent { topic_id: topic.id, offset, leader_epoch: part.epoch, last_epoch: epoch, max_bytes };
                let need = slot.need == Need::Wanted;
                let noted = need || slot.topic_id.is_none();
                let (tried, more) = (slot.tried, slot.end.is_some_and(|end| end > offset));
                let want = Want { reader, partition: partition.clone(), sent, need, tried, more, noted };
                wants.records.entry((broker, isolation)).or_default().push(want);
            }
            At::Finding(..) | At::Unsure => {}
        }
        Some(())
    }

    fn want_lookup(&self, now: Duration, partition: &TopicPartition, wants: &mut Wants) -> Option<()> {
        let topic = self.topics.get(&partition.topic)?;
        if topic.looking {
            return None;
        }
        if topic.retry_at > now {
            wants.due.at(topic.retry_at);
            return None;
        }
        wants.lookups.insert(partition.topic.clone());
        Some(())
    }

    fn lookup(&mut self, name: std::sync::Arc<str>) -> Option<Action> {
        let topic = self.topics.get_mut(&name)?;
        topic.looking = true;
        let stale = std::mem::take(&mut topic.stale);
        Some(Action::Lookup { topic: name, stale })
    }

    fn find(&mut self, broker: i32, isolation: Isolation, of: Vec<(ReaderId, OffsetWant)>) -> Action {
        let id = AskId(self.next_id());
        let mut wants: Vec<OffsetWant> = Vec::new();
        let mut slots = Vec::new();
        for (reader, want) in of {
            if let Some(slot) = self.slot(reader, &want.partition) {
                slot.at = At::Finding(want.what, id);
            }
            slots.push((reader, want.partition.clone()));
            if !wants.contains(&want) {
                wants.push(want);
            }
        }
        self.finding.insert(id, Finding { broker, slots });
        Action::Offsets { id, broker, isolation, wants }
    }

    /// The poll if none is out, and a quick request for what the poll doesn't bring. Partitions that have more are shared out
    /// between the two: so the broker has one to answer while the other's answer is on its way.
    fn plan_lane(
        &mut self,
        now: Duration,
        lane: (i32, Isolation),
        wants: Vec<Want>,
        actions: &mut Vec<Action>,
        due: &mut Due,
    ) {
        let (poll, quick) = self.lanes.get(&lane).map_or((None, None), |lane| (lane.poll, lane.quick));
        if poll.is_none() {
            let shared = if quick.is_none() { every_other(&wants) } else { BTreeSet::new() };
            let quick = quick.and_then(|id| self.out.get(&id));
            let brought = |want: &Want| want.more && quick.is_some_and(|out| out.brings(want));
            let not_now = |want: &Want| shared.contains(&want.partition) || brought(want);
            let open: Vec<Want> = wants.iter().filter(|want| !not_now(want)).cloned().collect();
            actions.extend(self.ask(lane, Kind::Poll, &open));
        }
        if quick.is_some() || (poll.is_none() && self.covers_all(lane, wants.len())) {
            return;
        }
        let left: Vec<Want> = wants.into_iter().filter(|want| !self.is_covered(lane, want)).collect();
        if left.is_empty() {
            return;
        }
        let at = self.lanes.get(&lane).map_or(Duration::ZERO, |lane| lane.quick_at);
        if at > now && left.iter().all(|want| want.tried && !want.need) {
            due.at(at);
            return;
        }
        let (large, small): (Vec<_>, Vec<_>) = left.into_iter().partition(Want::is_large);
        if small.is_empty() && self.poll_of(lane).is_some_and(|out| out.more) {
            actions.extend(self.ask(lane, Kind::Next, &large));
        } else {
            actions.extend(self.ask(lane, Kind::Quick, &[large, small].concat()));
        }
    }

    fn poll_of(&self, lane: (i32, Isolation)) -> Option<&Out> {
        self.lanes.get(&lane)?.poll.and_then(|id| self.out.get(&id))
    }

    fn covers_all(&self, lane: (i32, Isolation), wants: usize) -> bool {
        self.poll_of(lane).is_some_and(|out| out.covers.values().map(Vec::len).sum::<usize>() == wants)
    }

    /// Whether the poll that is out brings it, and soon enough.
    fn is_covered(&self, lane: (i32, Isolation), want: &Want) -> bool {
        self.poll_of(lane).is_some_and(|out| out.brings(want) && (out.at_once || !want.need))
    }

    /// Makes a request of what its Readers have room for.
    fn ask(&mut self, lane: (i32, Isolation), kind: Kind, wants: &[Want]) -> Option<Action> {
        let (broker, isolation) = lane;
        let grants = self.grants(wants);
        for want in wants {
            if let Some(reading) = self.readers.get_mut(&want.reader) {
                reading.starved = !grants.contains_key(&want.reader);
            }
        }
        let chosen = choose(wants, &grants, kind);
        let max_bytes = chosen.readers().filter_map(|reader| grants.get(&reader)).min().copied();
        let max_bytes = max_bytes?.min(self.limits.response_bytes).max(1);
        let id = AskId(self.next_id());
        let reserved = self.reserve(&chosen, max_bytes);
        let need = self.note_asked(wants, &chosen, id);
        let more = wants.iter().any(|want| want.more && chosen.has(want));
        let entry = self.lanes.entry(lane).or_default();
        entry.turns = entry.turns.wrapping_add(1);
        let mut ask = Ask {
            broker,
            kind,
            isolation,
            session: 0,
            epoch: -1,
            wait: if need || kind != Kind::Poll { Duration::ZERO } else { self.limits.poll_wait },
            max_bytes,
            send: Vec::new(),
            forget: Vec::new(),
        };
        if kind == Kind::Poll {
            let difference = entry.session.ask(&chosen.sent);
            (ask.session, ask.epoch, ask.send, ask.forget) =
                (difference.id, difference.epoch, difference.send, difference.forget);
            entry.poll = Some(id);
        } else {
            ask.send = chosen.sent.iter().map(|(partition, sent)| (partition.clone(), *sent)).collect();
            entry.quick = Some(id);
        }
        // The broker fills its answer in this order, in a session it turns it itself.
        let turn = entry.turns.checked_rem(ask.send.len()).unwrap_or(0);
        ask.send.rotate_left(turn);
        let at_once = ask.wait.is_zero();
        self.out.insert(
            id,
            Out {
                broker,
                isolation,
                kind,
                at_once,
                more,
                needed: need,
                sent: chosen.sent,
                covers: chosen.covers,
                reserved,
            },
        );
        Some(Action::Ask(id, ask))
    }

    /// How much each Reader can take from one answer now: a quarter of its room, shared by all brokers that it reads from, so
    /// that a poll and a quick request of each of them fit into half of it. Readers without that much room are left out.
    fn grants(&self, wants: &[Want]) -> BTreeMap<ReaderId, usize> {
        let readers: BTreeSet<ReaderId> = wants.iter().map(|want| want.reader).collect();
        let grant = |id: ReaderId| {
            let reading = self.readers.get(&id)?;
            let room = self.room_of(reading);
            let brokers: BTreeSet<i32> = reading.slots.keys().filter_map(|partition| self.leader(partition)).collect();
            let grant = (room / 4 / brokers.len().max(1)).max(1);
            let held = reading.buffered.saturating_add(reading.reserved);
            (held.saturating_add(grant) <= room).then_some((id, grant))
        };
        readers.into_iter().filter_map(grant).collect()
    }

    fn leader(&self, partition: &TopicPartition) -> Option<i32> {
        self.topics.get(&partition.topic)?.parts.get(&partition.partition)?.leader
    }

    /// Sets aside what an answer of `max_bytes` may bring to each Reader.
    fn reserve(&mut self, chosen: &Chosen, max_bytes: usize) -> Vec<(ReaderId, usize)> {
        let mut reserved: BTreeMap<ReaderId, usize> = BTreeMap::new();
        for (partition, readers) in &chosen.covers {
            let part = chosen.sent.get(partition).map_or(0, |sent| sent.max_bytes);
            for reader in readers {
                let of = reserved.entry(*reader).or_default();
                *of = of.saturating_add(part).min(max_bytes);
            }
        }
        for (reader, bytes) in &reserved {
            if let Some(reading) = self.readers.get_mut(reader) {
                reading.reserved = reading.reserved.saturating_add(*bytes);
            }
        }
        reserved.into_iter().collect()
    }

    /// Notes in the slots that they were asked for; whether one of them wants its answer at once.
    fn note_asked(&mut self, wants: &[Want], chosen: &Chosen, id: AskId) -> bool {
        let mut need = false;
        for want in wants.iter().filter(|want| want.noted && chosen.has(want)) {
            let Some(slot) = self.slot(want.reader, &want.partition) else { continue };
            slot.topic_id = slot.topic_id.or(Some(want.sent.topic_id));
            if slot.need == Need::Wanted {
                slot.need = Need::Asked(id);
                need = true;
            }
        }
        need
    }

    /// Ends sessions of lanes that nobody reads from any more.
    fn close_sessions(&mut self, used: &BTreeSet<(i32, Isolation)>, actions: &mut Vec<Action>) {
        let idle = |key: &(i32, Isolation), lane: &super::Lane| {
            !used.contains(key) && lane.poll.is_none() && lane.quick.is_none()
        };
        let unused: Vec<_> = self.lanes.iter().filter(|(key, lane)| idle(key, lane)).map(|(key, _)| *key).collect();
        for key in unused {
            let Some(mut lane) = self.lanes.remove(&key) else { continue };
            if let Some(session) = lane.session.close() {
                let (id, (broker, isolation)) = (AskId(self.next_id()), key);
                actions.push(Action::Ask(id, close(broker, isolation, session)));
            }
        }
    }
}

impl Want {
    /// Whether what comes may be large, and nobody waits for just this answer.
    fn is_large(&self) -> bool {
        self.more && !self.need
    }
}

impl Out {
    /// Whether it asks for what is wanted.
    fn brings(&self, want: &Want) -> bool {
        let asked = self.sent.get(&want.partition);
        let covers = self.covers.get(&want.partition).is_some_and(|readers| readers.contains(&want.reader));
        covers && asked.is_some_and(|sent| sent.offset == want.sent.offset)
    }
}

/// Half of the partitions that have more.
fn every_other(wants: &[Want]) -> BTreeSet<TopicPartition> {
    let large: BTreeSet<_> = wants.iter().filter(|want| want.is_large()).map(|want| &want.partition).collect();
    large.into_iter().skip(1).step_by(2).cloned().collect()
}

/// What one request asks for.
#[derive(Debug, Default)]
struct Chosen {
    sent: BTreeMap<TopicPartition, Sent>,
    covers: BTreeMap<TopicPartition, Vec<ReaderId>>,
}

impl Chosen {
    fn has(&self, want: &Want) -> bool {
        self.covers.get(&want.partition).is_some_and(|readers| readers.contains(&want.reader))
    }

    fn readers(&self) -> impl Iterator<Item = ReaderId> + '_ {
        self.covers.values().flatten().copied()
    }
}

/// One offset of each partition: the last one in the poll, since the others have records to get already; else the first.
fn choose(wants: &[Want], grants: &BTreeMap<ReaderId, usize>, kind: Kind) -> Chosen {
    let mut chosen = Chosen::default();
    for want in wants.iter().filter(|want| grants.contains_key(&want.reader)) {
        let better = chosen.sent.get(&want.partition).is_none_or(|sent| match kind {
            Kind::Poll => want.sent.offset > sent.offset,
            Kind::Quick | Kind::Next | Kind::Close => want.sent.offset < sent.offset,
        });
        if better {
            chosen.sent.insert(want.partition.clone(), want.sent);
            chosen.covers.insert(want.partition.clone(), vec![want.reader]);
        } else if let Some(sent) = chosen.sent.get_mut(&want.partition).filter(|sent| sent.offset == want.sent.offset) {
            sent.max_bytes = sent.max_bytes.min(want.sent.max_bytes);
            sent.last_epoch = sent.last_epoch.max(want.sent.last_epoch);
            chosen.covers.entry(want.partition.clone()).or_default().push(want.reader);
        }
    }
    chosen
}

/// A request that ends a session.
fn close(broker: i32, isolation: Isolation, session: i32) -> Ask {
    Ask {
        broker,
        kind: Kind::Close,
        isolation,
        session,
        epoch: -1,
        wait: Duration::ZERO,
        max_bytes: 1,
        send: Vec::new(),
        forget: Vec::new(),
    }
}

impl Find {
    /// The offset that wasn't there.
    pub(super) fn lost(self) -> Option<i64> {
        match self {
            Self::Bounds { offset, .. } => Some(offset),
            Self::At(_) => None,
        }
    }
}
