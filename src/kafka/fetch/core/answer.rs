//! What comes back: answers, and who leads which partition.

use std::sync::Arc;
use std::time::Duration;

use super::super::unpack::Parcel;
use super::super::{FetchError, Isolation, Reset, TopicPartition};
use super::slot::{At, Need, backoff};
use super::types::{AskId, Chunk, Find, Item, Kind, Leaders, Named, ReaderId, Reply, ReplyPart, Sent, TopicId};
use super::{Core, Out, Part};
use crate::kafka::error::{Error, escaped};

impl Core {
    /// What became of a fetch.
    pub(in crate::kafka::fetch) fn answer(&mut self, now: Duration, id: AskId, result: Result<Reply, Error>) {
        let Some(out) = self.out.remove(&id) else { return };
        for (reader, bytes) in &out.reserved {
            if let Some(reading) = self.readers.get_mut(reader) {
                reading.reserved = reading.reserved.saturating_sub(*bytes);
            }
        }
        let mut empty = true;
        match result {
            Ok(reply) => empty = self.replied(now, &out, reply),
            Err(error) => self.broke(now, &out, &error),
        }
        self.lane_is_free(now, id, &out, empty);
        if out.needed {
            self.no_longer_needed(id, &out);
        }
    }

    fn lane_is_free(&mut self, now: Duration, id: AskId, out: &Out, empty: bool) {
        let Some(lane) = self.lanes.get_mut(&(out.broker, out.isolation)) else { return };
        if lane.poll == Some(id) {
            lane.poll = None;
            (lane.quick_at, lane.quick_empty) = (Duration::ZERO, 0);
        }
        if lane.quick != Some(id) {
            return;
        }
        lane.quick = None;
        if !empty {
            (lane.quick_at, lane.quick_empty) = (Duration::ZERO, 0);
            return;
        }
        lane.quick_at = now.saturating_add((FIRST_QUICK * (1 << lane.quick_empty.min(10))).min(LAST_QUICK));
        lane.quick_empty = lane.quick_empty.saturating_add(1);
        for (partition, readers) in &out.covers {
            for reader in readers {
                if let Some(slot) = self.slot(*reader, partition) {
                    slot.tried = true;
                }
            }
        }
    }

    /// Those that waited for just this answer have it.
    fn no_longer_needed(&mut self, id: AskId, out: &Out) {
        for (partition, readers) in &out.covers {
            for reader in readers {
                let Some(slot) = self.slot(*reader, partition) else { continue };
                if slot.need == Need::Asked(id) {
                    slot.need = Need::No;
                    self.wakes.insert(*reader);
                }
            }
        }
    }

    /// Whether no partition had anything.
    fn replied(&mut self, now: Duration, out: &Out, reply: Reply) -> bool {
        self.brokers.entry(out.broker).or_default().fine(now, reply.throttle);
        if let Some(lane) = self.lanes.get_mut(&(out.broker, out.isolation)) {
            match (out.kind, reply.error) {
                (Kind::Poll, 0) => lane.session.accepted(reply.session),
                (Kind::Poll, NO_SUCH_SESSION) => lane.session.forgotten(),
                (Kind::Poll, _) => lane.session.lost(),
                (Kind::Quick | Kind::Next | Kind::Close, _) => {}
            }
        }
        match reply.error {
            0 => {}
            NO_SUCH_SESSION | BAD_SESSION_EPOCH => return true,
            SESSION_TOPIC_ID | UNKNOWN_TOPIC_ID | INCONSISTENT_TOPIC_ID => {
                self.lead_elsewhere(now, out);
                return true;
            }
            code => {
                self.broke(now, out, &Error::from_code(code, "can't fetch"));
                return true;
            }
        }
        let mut empty = true;
        for part in reply.parts {
            empty &= self.part(now, out, part).is_none();
        }
        empty
    }

    /// One partition's answer; `Some` if it brought anything.
    fn part(&mut self, now: Duration, out: &Out, part: ReplyPart) -> Option<()> {
        let partition = TopicPartition { topic: self.name(&part.topic)?, partition: part.partition };
        let sent = *out.sent.get(&partition)?;
        if matches!(part.topic, Named::Id(id) if id != sent.topic_id) {
            return None;
        }
        let waiting = self.waiting(out, &partition, sent.offset);
        if let Some((epoch, end)) = part.diverging.filter(|_| part.error == 0) {
            self.truncated(&waiting, &partition, sent, (epoch, end));
            return Some(());
        }
        match part.error {
            0 => self.arrived(now, out.isolation, &waiting, &partition, sent, &part),
            OFFSET_OUT_OF_RANGE => {
                self.not_from_a_replica(&partition);
                for reader in &waiting {
                    let Some(slot) = self.slot(*reader, &partition) else { continue };
                    slot.at = At::Find(Find::Bounds { offset: sent.offset, recreated: false });
                }
                Some(())
            }
            code => {
                self.refused(now, out.broker, &waiting, &partition, &part, code);
                Some(())
            }
        }
    }

    /// The readers that still wait for just this offset.
    fn waiting(&self, out: &Out, partition: &TopicPartition, offset: i64) -> Vec<ReaderId> {
        let waits = |reader: &ReaderId| {
            let slot = self.readers.get(reader).and_then(|reading| reading.slots.get(partition));
            slot.is_some_and(|slot| !slot.halted && matches!(slot.at, At::Known { offset: at, .. } if at == offset))
        };
        out.covers.get(partition).into_iter().flatten().copied().filter(waits).collect()
    }

    fn arrived(
        &mut self,
        now: Duration,
        isolation: Isolation,
        waiting: &[ReaderId],
        partition: &TopicPartition,
        sent: Sent,
        part: &ReplyPart,
    ) -> Option<()> {
        let end = if isolation == Isolation::Committed && part.stable >= 0 { part.stable } else { part.high_watermark };
        if let Some(replica) = part.replica {
            self.read_from(now, partition, replica);
            if part.records.is_empty() {
                return self.ask_there(waiting, partition);
            }
        }
        let ahead = look_ahead(&part.records, sent.offset);
        let chunk = Chunk {
            offset: sent.offset,
            #[cfg(any(fuzzing, test))]
            next: ahead.map(|ahead| ahead.next),
            end,
            aborted: part.aborted.clone().into(),
            records: part.records.clone(),
            batches: Parcel::new(part.records.clone()),
        };
        for reader in waiting {
            let Some(reading) = self.readers.get_mut(reader) else { continue };
            let Some(slot) = reading.slots.get_mut(partition) else { continue };
            slot.fine();
            slot.end = Some(end);
            if part.records.is_empty() {
                continue;
            }
            match ahead {
                Some(ahead) => slot.go(ahead.next, ahead.epoch),
                None => slot.at = At::Unsure,
            }
            slot.batch = ahead.and_then(|ahead| ahead.batch);
            reading.push(partition, Item::Chunk(chunk.clone()));
            self.wakes.insert(*reader);
        }
        (!part.records.is_empty()).then_some(())
    }

    /// What was read last isn't in the leader's log any more.
    fn truncated(&mut self, waiting: &[ReaderId], partition: &TopicPartition, sent: Sent, (epoch, end): (i32, i64)) {
        let end = end.clamp(0, sent.offset);
        for reader in waiting {
            let Some(reading) = self.readers.get_mut(reader) else { continue };
            let stop = reading.options.reset == Reset::Stop;
            let Some(slot) = reading.slots.get_mut(partition) else { continue };
            slot.go(end, epoch);
            if end == sent.offset {
                continue; // what we read is all there
            }
            slot.halted = stop;
            let next = (!stop).then_some(end);
            let error = FetchError::Truncated { partition: partition.clone(), offset: sent.offset, end, next };
            self.tell(*reader, partition, error, next);
        }
    }

    /// The broker can't or won't serve a partition.
    fn refused(
        &mut self,
        now: Duration,
        broker: i32,
        waiting: &[ReaderId],
        partition: &TopicPartition,
        part: &ReplyPart,
        code: i16,
    ) {
        let error = Error::from_code(code, &format!("can't read {partition} from broker {broker}"));
        let error = error.needing(|| format!("read topic \"{}\"", escaped(&partition.topic)));
        if error.wants_metadata() {
            self.led_elsewhere(now, partition, part.leader);
        }
        for reader in waiting {
            self.failed(now, *reader, partition, &error);
        }
    }

    /// A request got no answer: so its partitions may be led elsewhere by now.
    fn broke(&mut self, now: Duration, out: &Out, error: &Error) {
        if let Some(lane) = self.lanes.get_mut(&(out.broker, out.isolation)).filter(|_| out.kind == Kind::Poll) {
            lane.session.lost();
        }
        self.brokers.entry(out.broker).or_default().failed(now);
        for (partition, readers) in &out.covers {
            self.led_elsewhere(now, partition, None);
            for reader in readers {
                self.failed(now, *reader, partition, error);
            }
        }
    }

    fn lead_elsewhere(&mut self, now: Duration, out: &Out) {
        for partition in out.covers.keys() {
            self.led_elsewhere(now, partition, None);
        }
    }

    /// What we know about a partition's leader is old. A broker may have said who it is now.
    pub(super) fn led_elsewhere(&mut self, now: Duration, partition: &TopicPartition, hint: Option<(i32, i32)>) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return };
        let Some(part) = topic.parts.get_mut(&partition.partition) else { return };
        part.replica = None;
        topic.stale = true;
        if let Some((leader, epoch)) = hint.filter(|(leader, epoch)| *leader >= 0 && *epoch > part.epoch) {
            (part.leader, part.epoch) = (Some(leader), epoch);
            return;
        }
        if part.leader.take().is_some() && topic.retry_at <= now {
            topic.retry_at = now.saturating_add(backoff(topic.retries));
            topic.retries = topic.retries.saturating_add(1);
        }
    }

    /// Who leads a topic's partitions; `None`: there is no such topic.
    pub(in crate::kafka::fetch) fn found(
        &mut self,
        now: Duration,
        name: &Arc<str>,
        result: Result<Option<Leaders>, Error>,
    ) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.looking = false;
        topic.retry_at = now.saturating_add(backoff(topic.retries));
        let leaders = match result {
            Ok(Some(leaders)) => leaders,
            Ok(None) => return self.all_failed(now, name, None),
            Err(error) => return self.all_failed(now, name, Some(&error)),
        };
        let recreated = topic.id != leaders.topic_id;
        topic.id = leaders.topic_id;
        for (partition, part) in &mut topic.parts {
            part.learn(leaders.partitions.get(partition).copied(), recreated);
        }
        if topic.parts.values().all(|part| part.leader.is_some()) {
            topic.retries = 0;
        } else {
            topic.retries = topic.retries.saturating_add(1);
            topic.stale = true;
        }
        self.check_slots(now, name, &leaders);
    }

    /// Slots of partitions that are missing, leaderless or of a topic that was created again.
    fn check_slots(&mut self, now: Duration, name: &Arc<str>, leaders: &Leaders) {
        for (reader, partition) in self.slots_of(name) {
            match leaders.partitions.get(&partition.partition) {
                None => self.missing(now, reader, &partition),
                Some((leader, _)) if *leader < 0 => {
                    let error = Error::from_code(LEADER_NOT_AVAILABLE, &format!("can't read {partition}"));
                    self.failed(now, reader, &partition, &error);
                }
                Some(_) => self.check_topic_id(reader, &partition, leaders.topic_id),
            }
        }
    }

    fn check_topic_id(&mut self, reader: ReaderId, partition: &TopicPartition, id: TopicId) {
        let Some(slot) = self.slot(reader, partition) else { return };
        if slot.topic_id.is_none_or(|known| known == id) {
            return;
        }
        slot.topic_id = Some(id);
        let offset = match slot.at {
            At::Known { offset, .. } => offset,
            At::Find(find) | At::Finding(find, _) => find.lost().unwrap_or(0),
            At::Unsure => 0,
        };
        slot.at = At::Find(Find::Bounds { offset, recreated: true });
    }

    fn all_failed(&mut self, now: Duration, name: &Arc<str>, error: Option<&Error>) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.retries = topic.retries.saturating_add(1);
        topic.stale = true;
        for (reader, partition) in self.slots_of(name) {
            match error {
                Some(error) => self.failed(now, reader, &partition, error),
                None => self.missing(now, reader, &partition),
            }
        }
    }

    fn slots_of(&self, name: &Arc<str>) -> Vec<(ReaderId, TopicPartition)> {
        let of = |(id, reading): (&ReaderId, &super::Reading)| {
            let id = *id;
            let slots = reading.slots.keys().filter(|partition| partition.topic == *name);
            slots.map(|partition| (id, partition.clone())).collect::<Vec<_>>()
        };
        self.readers.iter().flat_map(of).collect()
    }

    fn name(&self, named: &Named) -> Option<Arc<str>> {
        match named {
            Named::Name(name) => self.topics.get_key_value(name.as_str()).map(|(name, _)| name.clone()),
            Named::Id(id) => self.topics.iter().find(|(_, topic)| topic.id == *id).map(|(name, _)| name.clone()),
        }
    }

    /// The broker would rather have us read from a replica.
    fn read_from(&mut self, now: Duration, partition: &TopicPartition, replica: i32) {
        let part = self.topics.get_mut(&partition.topic).and_then(|topic| topic.parts.get_mut(&partition.partition));
        if let Some(part) = part {
            part.replica = Some((replica, now.saturating_add(REPLICA_LEASE)));
        }
    }

    /// The answer was where to ask: who waited for one still does.
    fn ask_there(&mut self, waiting: &[ReaderId], partition: &TopicPartition) -> Option<()> {
        for reader in waiting {
            let Some(slot) = self.slot(*reader, partition) else { continue };
            slot.fine();
            if slot.need != Need::No {
                slot.need = Need::Wanted;
            }
        }
        Some(())
    }

    fn not_from_a_replica(&mut self, partition: &TopicPartition) {
        let part = self.topics.get_mut(&partition.topic).and_then(|topic| topic.parts.get_mut(&partition.partition));
        if let Some(part) = part {
            part.replica = None;
        }
    }
}

impl Part {
    /// What the metadata say, unless that is older than what we know.
    fn learn(&mut self, said: Option<(i32, i32)>, recreated: bool) {
        let (leader, epoch) = said.unwrap_or((-1, -1));
        if !recreated && epoch >= 0 && epoch < self.epoch {
            return;
        }
        (self.leader, self.epoch) = ((leader >= 0).then_some(leader), epoch);
        if recreated {
            self.replica = None;
        }
    }
}

impl super::Broker {
    fn fine(&mut self, now: Duration, throttle: Duration) {
        self.retries = 0;
        self.retry_at = now.saturating_add(throttle.min(LONGEST_THROTTLE));
    }

    pub(super) fn failed(&mut self, now: Duration) {
        self.retry_at = now.saturating_add(backoff(self.retries));
        self.retries = self.retries.saturating_add(1);
    }
}

/// What the headers of an answer's batches say.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    /// The offset after the last whole batch.
    next: i64,
    /// That batch's epoch.
    epoch: i32,
    /// The size of the largest, if all have about the same.
    batch: Option<usize>,
}

/// Looks at what came, without the records; `None` when a header can't be right, or no batch is whole.
fn look_ahead(records: &[u8], from: i64) -> Option<Ahead> {
    let (mut rest, mut last) = (records, None);
    let (mut least, mut most) = (usize::MAX, 0);
    while let Some(header) = rest.first_chunk::<BATCH_HEADER>() {
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, e0, e1, e2, e3, magic, _, _, _, _, _, _, d0, d1, d2, d3] =
            *header;
        let base = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        let length = usize::try_from(i32::from_be_bytes([l0, l1, l2, l3])).ok()?;
        let delta = i32::from_be_bytes([d0, d1, d2, d3]);
        let whole = length.checked_add(BEFORE_LENGTH)?;
        if magic != 2 || delta < 0 || whole < BATCH_HEADER {
            return None;
        }
        (least, most) = (least.min(whole), most.max(whole));
        let Some((_, behind)) = rest.split_at_checked(whole) else { break };
        let next = base.checked_add(i64::from(delta))?.checked_add(1)?;
        if next <= last.map_or(from, |(next, _)| next) {
            return None;
        }
        last = Some((next, i32::from_be_bytes([e0, e1, e2, e3])));
        rest = behind;
    }
    let batch = (most.saturating_sub(least) <= slack(most)).then_some(most);
    last.map(|(next, epoch)| Ahead { next, epoch, batch })
}

/// As many bytes as whole batches of this size take, of at most `most`: brokers cut an answer within a batch, and what they
/// send of that is in vain.
pub(super) fn whole_batches(most: usize, batch: usize) -> usize {
    let count = most.checked_div(batch).unwrap_or(0);
    if count == 0 { most } else { batch.saturating_add(slack(batch)).saturating_mul(count).min(most) }
}

/// How much batches of about the same size differ.
fn slack(batch: usize) -> usize {
    batch / 64
}

/// Offset and length, which the length doesn't count.
const BEFORE_LENGTH: usize = 12;
/// As much of a batch as [`look_ahead`] looks at.
const BATCH_HEADER: usize = 27;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const LEADER_NOT_AVAILABLE: i16 = 5;
const NO_SUCH_SESSION: i16 = 70;
const BAD_SESSION_EPOCH: i16 = 71;
const UNKNOWN_TOPIC_ID: i16 = 100;
const INCONSISTENT_TOPIC_ID: i16 = 103;
const SESSION_TOPIC_ID: i16 = 106;

/// How long partitions that had nothing aren't asked again while the poll is out.
const FIRST_QUICK: Duration = Duration::from_millis(1);
const LAST_QUICK: Duration = Duration::from_millis(4);
/// How long a broker's word that a replica is nearer holds.
const REPLICA_LEASE: Duration = Duration::from_secs(300);
const LONGEST_THROTTLE: Duration = Duration::from_secs(60);

#[cfg(any(fuzzing, test))]
impl Leaders {
    /// A topic whose partitions 0, 1, … have these leaders and epochs.
    pub(in crate::kafka::fetch) fn of(topic_id: TopicId, leaders: &[(i32, i32)]) -> Self {
        let partitions = (0..).zip(leaders.iter().copied()).collect();
        Self { topic_id, partitions }
    }
}
