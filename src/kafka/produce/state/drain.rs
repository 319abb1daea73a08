//! Which batches go out now, and what has to wait until when.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::cluster::Lane;
use crate::kafka::error::Error;
use crate::kafka::record::{Compression, Stamp};

use super::super::batch::{Batch, Body};
use super::partition::Partition;
use super::{Action, Identity, Outgoing, Parcel, Request, State, Traffic};

/// The requests that are being filled, by broker and connection.
type Loads = BTreeMap<(i32, Lane), Outgoing>;

impl State {
    /// Does what is due, and says when more will be.
    pub(super) fn advance(&mut self, now: Duration, spare: &dyn Fn(i32) -> bool) {
        self.wake = None;
        self.expire(now);
        loop {
            let mut loads = Loads::new();
            let mut served = VecDeque::new();
            for _ in 0..self.busy.len() {
                let Some(slot) = self.busy.pop_front() else { break };
                if self.offer(slot, &mut loads, now, spare) {
                    served.push_back(slot);
                } else if self.partitions.get(slot).is_some_and(|partition| !partition.is_empty()) {
                    self.busy.push_back(slot);
                } else {
                    self.partitions.get_mut(slot).into_iter().for_each(|partition| partition.busy = false);
                }
            }
            self.busy.append(&mut served);
            if loads.is_empty() {
                break;
            }
            self.actions.extend(loads.into_values().map(Action::Send));
        }
    }

    /// Reports the batches whose time is up.
    fn expire(&mut self, now: Duration) {
        for at in 0..self.busy.len() {
            let slot = self.busy.get(at).copied();
            let Some(partition) = slot.and_then(|slot| self.partitions.get_mut(slot)) else { continue };
            let first = |partition: &Partition| partition.queue.iter().chain(&partition.out).map(Batch::deadline).min();
            if first(partition).is_some_and(|first| first <= now) {
                let expired = partition.expire(now);
                let topic = self.topics.get(partition.topic).map_or("", |topic| &topic.name);
                for batch in expired.iter().rev() {
                    partition.forget(batch);
                    let error = batch.expired().at(&what(topic, partition.number));
                    super::settle(&mut self.live, &mut self.actions, batch, Err(error));
                }
            }
            let next = first(partition);
            next.into_iter().for_each(|next| self.wake_at(next));
        }
    }

    /// Puts the first batch of a partition into the request to its leader, if all is ready for that.
    fn offer(&mut self, slot: usize, loads: &mut Loads, now: Duration, spare: &dyn Fn(i32) -> bool) -> bool {
        self.compress(slot);
        if !self.reset(slot) || !self.is_led(slot, now) {
            return false;
        }
        let Some(way) = self.way(slot, now, spare) else { return false };
        self.is_its_turn(slot, way, loads, now) && self.is_known(slot, now) && self.load(slot, way, loads).is_some()
    }

    /// The broker and the connection for a partition's next batch: those of what is out, so that the order stays. `None`
    /// as long as it is out where no more may go.
    fn way(&mut self, slot: usize, now: Duration, spare: &dyn Fn(i32) -> bool) -> Option<(i32, Lane)> {
        let partition = self.partitions.get(slot)?;
        let leader = partition.leader?;
        if !partition.out.is_empty() && partition.out_at != Some(leader) {
            return None;
        }
        if let Some((_, lane)) = partition.flying.iter().find(|(at, _)| *at == leader) {
            return (*lane == Lane::Main || spare(leader)).then_some((leader, *lane));
        }
        let broker = self.brokers.entry(leader).or_default();
        let is_busy = broker.main.bytes >= self.rules.share_from && broker.main.bytes > broker.spare.bytes;
        let shared = is_busy && broker.alone_until <= now && spare(leader);
        Some((leader, if shared { Lane::Spare } else { Lane::Main }))
    }

    /// The same, when only the room in the request can be missing.
    fn load(&mut self, slot: usize, way: (i32, Lane), loads: &mut Loads) -> Option<()> {
        let partition = self.partitions.get_mut(slot)?;
        let (leader, lane) = way;
        let topic = self.topics.get(partition.topic)?;
        let size = partition.queue.front()?.body.as_ref()?.size();
        let broker = self.brokers.entry(leader).or_default();
        match loads.get(&way).and_then(|outgoing| self.requests.get(&outgoing.request)) {
            Some(request) if request.bytes.saturating_add(size) > self.rules.request_size => return None,
            Some(_) => {}
            None if broker.requests() >= broker.most(self.rules.max_in_flight) => return None,
            None => {
                broker.over(lane).requests += 1;
                self.requests.insert(self.next, Request { broker: leader, lane, bytes: 0 });
                loads.insert(way, Outgoing { request: self.next, broker: leader, lane, parcels: Vec::new() });
                self.next = self.next.saturating_add(1);
            }
        }
        let outgoing = loads.get_mut(&way)?;
        let mut batch = partition.queue.pop_front()?;
        let stamp = match batch.stamp {
            Some(stamp) => stamp,
            None if self.rules.idempotent => {
                let (stamp, number) = partition.stamp(batch.count)?;
                batch.number = Some(number);
                stamp
            }
            None => Stamp::NONE,
        };
        let body = batch.body.take()?;
        self.requests.get_mut(&outgoing.request)?.bytes += size;
        broker.over(lane).bytes += size;
        let (topic, topic_id, place) = (Arc::clone(&topic.name), topic.id, batch.place);
        outgoing.parcels.push(Parcel { topic, topic_id, partition: partition.number, stamp, body, slot, place });
        (batch.stamp, batch.closed) = (Some(stamp), true);
        partition.hint = size;
        partition.out_at = Some(leader);
        partition.flying.push(way);
        partition.out.push_back(batch);
        Some(())
    }

    /// Has batches compressed that no record comes to any more; more than one at once, since there may be processors.
    fn compress(&mut self, slot: usize) {
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        if self.rules.compression == Compression::None {
            return;
        }
        for batch in partition.queue.iter_mut().take(COMPRESS_AHEAD).take_while(|batch| batch.closed) {
            let large = |body: &mut Body| matches!(body, Body::Open(writer) if writer.size() > COMPRESS_AT_ONCE);
            if let Some(body) = batch.body.take_if(large) {
                self.actions.push(Action::Compress { slot, place: batch.place, body });
            }
        }
    }

    /// Starts a new sequence if one is due; `false` as long as it can't be.
    fn reset(&mut self, slot: usize) -> bool {
        let Some(partition) = self.partitions.get_mut(slot) else { return false };
        let Some(reset) = partition.reset else { return true };
        if !partition.out.is_empty() {
            return false;
        }
        let old = partition.identity;
        let lost = partition.start_anew(reset);
        match (old, self.identity) {
            (Some((old, _)), Identity::Known { id, .. }) if partition.identity.is_none() && old == id => {
                self.identity = Identity::Unknown;
            }
            _ => {}
        }
        for batch in lost {
            let error = batch.last_error.clone().unwrap_or_else(|| batch.expired());
            self.settle(&batch, Err(error.maybe_sent()));
        }
        true
    }

    /// Whether the partition has a leader that can be asked now.
    fn is_led(&mut self, slot: usize, now: Duration) -> bool {
        let Some(partition) = self.partitions.get(slot) else { return false };
        if partition.queue.is_empty() {
            return false;
        }
        let (leader, at, pause) = (partition.leader, partition.topic, partition.pause.until);
        let old = |topic: &super::Topic| topic.stale || now.saturating_sub(topic.asked) >= LOOK_AGAIN;
        if leader.is_none() || self.topics.get(at).is_some_and(old) {
            self.refresh(at, leader.is_none(), now);
        }
        let Some(leader) = leader else { return false };
        let broker = self.brokers.entry(leader).or_default();
        let until = pause.max(broker.quiet_until).max(broker.pause.until);
        if until > now {
            self.wake_at(until);
        }
        until <= now
    }

    /// Whether the first batch may go: no other is in its way, and it is full or has waited long enough.
    fn is_its_turn(&mut self, slot: usize, way: (i32, Lane), loads: &Loads, now: Duration) -> bool {
        let (idempotent, most) = (self.rules.idempotent, self.rules.max_in_flight);
        let Some(partition) = self.partitions.get_mut(slot) else { return false };
        let most_out = partition.most_out(idempotent, most, now);
        let last_out = partition.out.back().map(|batch| batch.place);
        let forgotten = partition.would_be_forgotten();
        let Some(batch) = partition.queue.front_mut() else { return false };
        if forgotten || partition.out.len() >= most_out || last_out.is_some_and(|last| last > batch.place) {
            return false;
        }
        if !batch.closed {
            let due = batch.created.saturating_add(self.rules.linger);
            if due > now {
                self.wake_at(due);
                return false;
            }
            let broker = self.brokers.entry(way.0).or_default();
            if !loads.contains_key(&way) && broker.over(way.1).requests >= EAGER {
                return false;
            }
            batch.closed = true;
            self.compress(slot);
        }
        self.partitions
            .get(slot)
            .and_then(|partition| partition.queue.front())
            .is_some_and(|batch| batch.body.is_some())
    }

    /// Whether the partition has a producer id, if it needs one.
    fn is_known(&mut self, slot: usize, now: Duration) -> bool {
        let Some(partition) = self.partitions.get_mut(slot) else { return false };
        let stamped = partition.queue.front().is_some_and(|batch| batch.stamp.is_some());
        if stamped || !self.rules.idempotent || partition.identity.is_some() {
            return true;
        }
        match self.identity {
            Identity::Known { id, epoch } => {
                partition.identity = Some((id, epoch));
                return true;
            }
            Identity::Asking { .. } => {}
            Identity::Failed(pause) if pause.until > now => self.wake_at(pause.until),
            Identity::Failed(pause) => self.ask_id(pause.failures),
            Identity::Unknown => self.ask_id(0),
        }
        false
    }

    fn ask_id(&mut self, failures: u32) {
        self.identity = Identity::Asking { failures };
        self.actions.push(Action::AskId);
    }

    /// Asks where a topic is, when it is time to.
    pub(super) fn refresh(&mut self, at: usize, stale: bool, now: Duration) {
        let Some(topic) = self.topics.get_mut(at) else { return };
        topic.stale |= stale;
        if topic.asking {
            return;
        }
        let until = topic.pause.until;
        if until > now {
            self.wake_at(until);
            return;
        }
        topic.asking = true;
        let stale = mem::take(&mut topic.stale);
        let topic = Arc::clone(&topic.name);
        self.actions.push(Action::Refresh { topic, stale });
    }

    /// What failed when a batch of this partition did.
    pub(super) fn what(&self, slot: usize) -> String {
        let partition = self.partitions.get(slot);
        let topic = partition.and_then(|partition| self.topics.get(partition.topic));
        what(topic.map_or("", |topic| &topic.name), partition.map_or(-1, |partition| partition.number))
    }

    /// Fails all of a topic that isn't out.
    pub(super) fn give_up(&mut self, slots: &[usize], error: &Error) {
        for slot in slots {
            let Some(partition) = self.partitions.get_mut(*slot) else { continue };
            for (batch, error) in partition.give_up(error) {
                super::settle(&mut self.live, &mut self.actions, &batch, Err(error));
            }
        }
    }
}

impl super::Broker {
    pub(super) fn over(&mut self, lane: Lane) -> &mut Traffic {
        if lane == Lane::Main { &mut self.main } else { &mut self.spare }
    }

    fn requests(&self) -> usize {
        self.main.requests + self.spare.requests
    }

    /// How many requests may be out: one, until a broker that failed has answered.
    fn most(&self, most: usize) -> usize {
        if self.pause.failures > 0 { 1 } else { most }
    }
}

/// What failed, for an error.
pub(in crate::kafka::produce) fn what(topic: &str, partition: i32) -> String {
    format!("can't write to topic \"{}\", partition {partition}", crate::kafka::error::escaped(topic))
}

/// A batch that isn't full waits while so many requests are out: it would only be one more of the small ones.
const EAGER: usize = 2;
/// How many batches of a partition are compressed before their turn.
const COMPRESS_AHEAD: usize = 8;
/// What is smaller is compressed where it is sent: that takes less than to hand it over.
const COMPRESS_AT_ONCE: usize = 8 * 1024;
/// After how long the cluster is asked again whether the topic has more partitions. (The client asks the brokers only when
/// its own answer is old.)
const LOOK_AGAIN: Duration = Duration::from_secs(2);
