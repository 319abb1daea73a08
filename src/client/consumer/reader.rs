//! Keeps fetches under way for all partitions that have room, and hands what comes to their lanes.
//!
//! Each fetch covers the partitions that were idle when it began, so a busy partition never waits for a quiet one, and
//! no fetch is cut short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::lane::{Item, Lane, Patience, Work};
use super::locate::{Bounds, locate};
use super::{ConsumerOptions, OutOfRange, Start};
use crate::client::ReadError;
use crate::serdes::Deserializer;
use crate::transport::{Batch, FetchFrom, Fetched, Transport, TransportError, TransportErrorKind};

/// Reads one topic.
pub(super) struct Reader {
    transport: Arc<dyn Transport>,
    topic: Arc<str>,
    keys: Deserializer,
    values: Deserializer,
    options: ConsumerOptions,
    patience: Arc<Patience>,
    out: Sender<Vec<Item>>,
    tracks: BTreeMap<i32, Track>,
    calls: JoinSet<Answer>,
    lanes: JoinSet<()>,
    done: (UnboundedSender<i32>, UnboundedReceiver<i32>),
    partitions: Partitions,
}

/// What is known about the topic's partitions.
#[derive(Default)]
struct Partitions {
    /// When to ask; `None` while a call is under way, or when there is nothing to ask for.
    ask_at: Option<Instant>,
    /// They were answered once.
    known: bool,
    failures: u32,
}

/// One partition: where it is, and what it does.
struct Track {
    start: Start,
    next: Option<i64>,
    stop: Option<i64>,
    /// A call for it is under way.
    busy: bool,
    /// Work that its lane has yet to do.
    queued: usize,
    failures: u32,
    not_before: Option<Instant>,
    /// Where it was when its offset turned out to be gone.
    lost: Option<i64>,
    work: Option<Sender<Work>>,
}

/// What a call came back with.
enum Answer {
    Partitions(Result<Option<Vec<i32>>, TransportError>),
    Located(i32, Result<Bounds, TransportError>),
    Fetched(Vec<i32>, Result<Vec<Fetched>, TransportError>),
}

impl Reader {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        topic: Arc<str>,
        keys: Deserializer,
        values: Deserializer,
        options: ConsumerOptions,
        out: Sender<Vec<Item>>,
    ) -> Self {
        let (tracks, calls, lanes, done) = (BTreeMap::new(), JoinSet::new(), JoinSet::new(), unbounded_channel());
        let partitions = Partitions { ask_at: Some(Instant::now()), ..Partitions::default() };
        let patience = Arc::new(Patience::new(options.wait_for_keys.unwrap_or(WAIT_FOR_KEYS)));
        Self { transport, topic, keys, values, options, patience, out, tracks, calls, lanes, done, partitions }
    }

    /// Reads until every partition has ended, or nobody is there any more.
    pub(super) async fn run(mut self) {
        if let Some(explicit) = self.options.partitions.clone() {
            self.partitions = Partitions { known: true, ..Partitions::default() };
            explicit.into_iter().for_each(|partition| self.add(partition, self.options.start_of(partition)));
        }
        while !self.is_over() {
            self.begin_calls();
            let wake = self.next_wake();
            tokio::select! {
                Some(answer) = self.calls.join_next() => {
                    if let Ok(answer) = answer && !self.take(answer).await {
                        break;
                    }
                }
                Some(partition) = self.done.1.recv() => self.lane_did(partition),
                () = sleep_until(wake) => {}
                () = self.out.closed() => return,
            }
        }
        // The lanes finish what they have.
        self.tracks.clear();
        while self.lanes.join_next().await.is_some() {}
    }

    fn is_over(&self) -> bool {
        let ended = self.tracks.values().all(|track| track.work.is_none());
        self.partitions.known && ended && (self.options.stop_at_end || !self.tracks.is_empty())
    }

    fn add(&mut self, partition: i32, start: Start) {
        let (work, queue) = channel(LANE_DEPTH);
        let lane = Lane {
            topic: self.topic.clone(),
            partition,
            keys: self.keys.clone(),
            values: self.values.clone(),
            patience: self.patience.clone(),
            out: self.out.clone(),
            done: self.done.0.clone(),
        };
        self.lanes.spawn(lane.run(queue));
        self.tracks.insert(partition, Track::new(start, work));
    }

    /// Starts whatever call can start now.
    fn begin_calls(&mut self) {
        let now = Instant::now();
        let (transport, topic, within) = (self.transport.clone(), self.topic.clone(), self.options.request_timeout);
        if self.partitions.ask_at.take_if(|at| *at <= now).is_some() {
            let (transport, topic) = (transport.clone(), topic.clone());
            self.calls.spawn(async move { Answer::Partitions(transport.partitions(&topic, within).await) });
        }
        let mut from = Vec::new();
        for (&partition, track) in self.tracks.iter_mut().filter(|(_, track)| track.is_idle(now)) {
            track.busy = true;
            let Some(next) = track.next else {
                let (transport, topic, start) = (transport.clone(), topic.clone(), track.start);
                let stop = self.options.stop_before;
                self.calls.spawn(async move {
                    Answer::Located(partition, locate(&*transport, &topic, partition, start, stop, within).await)
                });
                continue;
            };
            from.push(FetchFrom::new(topic.clone(), partition, next));
        }
        if !from.is_empty() {
            let bytes = self.fetch_bytes();
            self.calls.spawn(async move {
                let fetched = transport.fetch(&from, bytes, FETCH_WAIT, FETCH_WAIT + within).await;
                Answer::Fetched(from.iter().map(|from| from.partition).collect(), fetched)
            });
        }
    }

    /// What a partition may send at once, so that all together stay within the buffer.
    fn fetch_bytes(&self) -> i32 {
        let shares = self.tracks.len().max(1).saturating_mul(LANE_DEPTH + 1);
        let share = self.options.buffer_bytes.unwrap_or(BUFFER_BYTES).checked_div(shares).unwrap_or(0);
        i32::try_from(share.clamp(LEAST_FETCH, MOST_FETCH)).unwrap_or(i32::MAX)
    }

    fn next_wake(&self) -> Instant {
        let waiting = self.tracks.values().filter(|track| !track.busy).filter_map(|track| track.not_before);
        waiting.chain(self.partitions.ask_at).min().unwrap_or_else(|| Instant::now() + LONG)
    }

    fn lane_did(&mut self, partition: i32) {
        if let Some(track) = self.tracks.get_mut(&partition) {
            track.queued = track.queued.saturating_sub(1);
        }
    }

    /// Takes an answer; false if it is the end.
    async fn take(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Partitions(answer) => return self.take_partitions(answer).await,
            Answer::Located(partition, answer) => self.take_bounds(partition, answer),
            Answer::Fetched(partitions, Ok(fetched)) => {
                self.release(&partitions);
                for one in fetched {
                    match one.result {
                        Ok(batch) => self.take_batch(one.partition, batch),
                        Err(error) => self.take_error(one.partition, error),
                    }
                }
            }
            Answer::Fetched(partitions, Err(error)) => {
                self.release(&partitions);
                for partition in partitions {
                    self.take_error(partition, error.clone());
                }
            }
        }
        true
    }

    fn release(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.tracks.entry(*partition).and_modify(|track| track.busy = false);
        }
    }

    async fn take_partitions(&mut self, answer: Result<Option<Vec<i32>>, TransportError>) -> bool {
        let partitions = match answer {
            Ok(Some(partitions)) => partitions,
            Ok(None) if self.partitions.known => Vec::new(),
            Ok(None) => return self.topic_failed(unknown(&self.topic)).await,
            Err(error) => return self.topic_failed(error).await,
        };
        for partition in partitions {
            if !self.tracks.contains_key(&partition) {
                // A partition that is new later has had no record before.
                let start = if self.partitions.known { Start::Beginning } else { self.options.start_of(partition) };
                self.add(partition, start);
            }
        }
        let ask_at = (!self.options.stop_at_end).then(|| Instant::now() + self.options.notice_partitions);
        self.partitions = Partitions { ask_at, known: true, failures: 0 };
        true
    }

    /// The topic's partitions aren't known. Says so once, and asks again; false if that is no use.
    async fn topic_failed(&mut self, source: TransportError) -> bool {
        let missing = source.kind() == TransportErrorKind::UnknownTopic && self.options.stop_at_end;
        let failed = (missing || !source.is_retriable()) && !self.partitions.known;
        self.partitions.ask_at = Some(Instant::now() + pause(self.partitions.failures));
        self.partitions.failures = self.partitions.failures.saturating_add(1);
        if failed || self.partitions.failures == 1 {
            let report = self.failure(None, source, failed);
            return self.out.send(vec![Err(report)]).await.is_ok() && !failed;
        }
        true
    }

    fn take_bounds(&mut self, partition: i32, answer: Result<Bounds, TransportError>) {
        self.release(&[partition]);
        let bounds = match answer {
            Ok(bounds) => bounds,
            Err(error) => return self.take_error(partition, error),
        };
        let Some(track) = self.tracks.get_mut(&partition) else { return };
        track.next = Some(bounds.next);
        track.not_before = None;
        track.failures = 0;
        if matches!(track.start, Start::Offset(wanted) if wanted > bounds.end) {
            return self.out_of_range(partition);
        }
        if self.options.stop_at_end && track.stop.is_none() {
            track.stop = Some(bounds.stop);
        }
        if let Some(offset) = track.lost.take() {
            let report =
                ReadError::OutOfRange { topic: self.topic.clone(), partition, offset, resumed: Some(bounds.next) };
            track.hand(Work::Report(report));
        }
        track.end_if_there();
    }

    fn take_batch(&mut self, partition: i32, mut batch: Batch) {
        let Some(track) = self.tracks.get_mut(&partition) else { return };
        let next = track.next.unwrap_or(batch.next);
        track.not_before = None;
        track.failures = 0;
        // A batch may begin before the offset that was asked for, and go beyond where we are to stop.
        let wanted = next..track.stop.unwrap_or(i64::MAX);
        batch.records.retain(|record| wanted.contains(&record.offset));
        batch.skipped.retain(|skipped| wanted.contains(&skipped.offset));
        track.next = Some(batch.next.max(next));
        if !batch.records.is_empty() || !batch.skipped.is_empty() {
            track.hand(Work::Batch(batch));
        } else if batch.next <= next && batch.end > next {
            // Neither records nor progress: not at once again.
            track.not_before = Some(Instant::now() + FIRST_PAUSE);
        }
        track.end_if_there();
    }

    fn take_error(&mut self, partition: i32, error: TransportError) {
        let at_end = self.options.stop_at_end;
        let Some(track) = self.tracks.get_mut(&partition) else { return };
        if error.kind() == TransportErrorKind::OffsetOutOfRange && track.next.is_some() {
            return self.out_of_range(partition);
        }
        let missing = error.kind() == TransportErrorKind::UnknownTopic && at_end;
        let failed = missing || !(error.is_retriable() || error.kind() == TransportErrorKind::Corrupt);
        track.not_before = Some(Instant::now() + pause(track.failures));
        track.failures = track.failures.saturating_add(1);
        if failed || track.failures == 1 {
            let report = self.failure(Some(partition), error, failed);
            self.report(partition, report, failed);
        }
    }

    fn out_of_range(&mut self, partition: i32) {
        let Some(track) = self.tracks.get_mut(&partition) else { return };
        let offset = track.next.take().unwrap_or_default();
        track.start = match self.options.out_of_range.unwrap_or(OutOfRange::Beginning) {
            OutOfRange::Beginning => Start::Beginning,
            OutOfRange::End => Start::End,
            OutOfRange::Fail => {
                let report = ReadError::OutOfRange { topic: self.topic.clone(), partition, offset, resumed: None };
                return self.report(partition, report, true);
            }
        };
        track.lost = Some(offset);
        // A broker that goes back and forth isn't asked without a pause.
        track.not_before = Some(Instant::now() + FIRST_PAUSE);
    }

    fn report(&mut self, partition: i32, report: ReadError, last: bool) {
        if let Some(track) = self.tracks.get_mut(&partition) {
            track.hand(Work::Report(report));
            track.work.take_if(|_| last);
        }
    }

    fn failure(&self, partition: Option<i32>, source: TransportError, failed: bool) -> ReadError {
        let topic = self.topic.clone();
        // Whoever reads is told; here it would be the second time.
        tracing::debug!(topic = &*topic, partition, %source, failed, "reading is interrupted");
        match failed {
            true => ReadError::Failed { topic, partition, source },
            false => ReadError::Interrupted { topic, partition, source },
        }
    }
}

impl Track {
    fn new(start: Start, work: Sender<Work>) -> Self {
        Self {
            start,
            next: None,
            stop: None,
            busy: false,
            queued: 0,
            failures: 0,
            not_before: None,
            lost: None,
            work: Some(work),
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let room = self.work.is_some() && self.queued < LANE_DEPTH;
        room && !self.busy && self.not_before.is_none_or(|at| at <= now)
    }

    /// Hands work to the lane. It has room: a call is made only when it has, and hands on one piece of work at most.
    fn hand(&mut self, work: Work) {
        if self.work.as_ref().is_some_and(|lane| lane.try_send(work).is_ok()) {
            self.queued = self.queued.saturating_add(1);
        }
    }

    fn end_if_there(&mut self) {
        if self.stop.is_some_and(|stop| self.next.is_some_and(|next| next >= stop)) {
            self.work = None;
        }
    }
}

fn unknown(topic: &str) -> TransportError {
    TransportError::new(TransportErrorKind::UnknownTopic, format!("there is no topic {topic:?}"))
}

fn pause(failures: u32) -> Duration {
    LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)))
}

/// How much work a lane may have: one piece that it works on, and one ahead.
const LANE_DEPTH: usize = 2;
/// What an empty config says.
const WAIT_FOR_KEYS: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 * 1024 * 1024;
const FETCH_WAIT: Duration = Duration::from_secs(5);
const LEAST_FETCH: usize = 16 * 1024;
const MOST_FETCH: usize = 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(3600);
