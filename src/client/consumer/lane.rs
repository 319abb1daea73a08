//! The records of one partition on their way to whoever reads: decrypted, in order, waiting for keys if need be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender};
use tokio::time::Instant;

use super::ConsumerRecord;
use crate::client::ReadError;
use crate::keys::KeyIndex;
use crate::message::Message;
use crate::serdes::Deserializer;
use crate::transport::{Batch, Record, Skipped};

/// What whoever reads gets.
pub(super) type Item = Result<ConsumerRecord, ReadError>;

/// One partition.
pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) keys: Deserializer,
    pub(super) values: Deserializer,
    pub(super) patience: Arc<Patience>,
    pub(super) out: Sender<Vec<Item>>,
    pub(super) done: UnboundedSender<i32>,
}

/// Work for a lane, in order.
pub(super) enum Work {
    Batch(Batch),
    Report(ReadError),
}

impl Lane {
    /// Works until there is no more, or nobody reads any more.
    pub(super) async fn run(self, mut work: Receiver<Work>) {
        while let Some(work) = work.recv().await {
            let passed = match work {
                Work::Batch(batch) => self.batch(batch).await,
                Work::Report(error) => self.out.send(vec![Err(error)]).await.is_ok(),
            };
            if !passed || self.done.send(self.partition).is_err() {
                return;
            }
        }
    }

    /// Whether somebody still reads.
    async fn batch(&self, batch: Batch) -> bool {
        let mut skipped = batch.skipped.into_iter().peekable();
        let mut ready = Ready::new(&self.out);
        for record in batch.records {
            while let Some(before) = skipped.next_if(|skipped| skipped.offset < record.offset) {
                ready.push(Err(self.skipped(before)), 0);
            }
            let bytes = [&record.key, &record.value].into_iter().flatten().map(Vec::len).sum();
            let mut record = self.record(record);
            for message in [&mut record.key, &mut record.value] {
                if message.is_possibly_decryptable() {
                    if !ready.send().await {
                        return false;
                    }
                    self.patience.wait(message).await;
                }
            }
            ready.push(Ok(record), bytes);
            if ready.is_full() && !ready.send().await {
                return false;
            }
        }
        skipped.for_each(|last| ready.push(Err(self.skipped(last)), 0));
        ready.send().await
    }

    fn record(&self, record: Record) -> ConsumerRecord {
        let Record { topic, partition, offset, timestamp_ms, key, value, headers } = record;
        let key = self.keys.deserialize(&topic, key.as_deref());
        let value = self.values.deserialize(&topic, value.as_deref());
        ConsumerRecord { topic, partition, offset, timestamp_ms, key, value, headers }
    }

    fn skipped(&self, skipped: Skipped) -> ReadError {
        let Skipped { offset, reason } = skipped;
        ReadError::Skipped { topic: self.topic.clone(), partition: self.partition, offset, reason }
    }
}

/// What can be handed on together, since each handing over costs as much as some records.
struct Ready<'a> {
    out: &'a Sender<Vec<Item>>,
    items: Vec<Item>,
    bytes: usize,
}

impl<'a> Ready<'a> {
    fn new(out: &'a Sender<Vec<Item>>) -> Self {
        Self { out, items: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, item: Item, bytes: usize) {
        self.items.push(item);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn is_full(&self) -> bool {
        self.items.len() >= MOST_ITEMS || self.bytes >= MOST_BYTES
    }

    /// Whether somebody still reads.
    async fn send(&mut self) -> bool {
        self.bytes = 0;
        self.items.is_empty() || self.out.send(std::mem::take(&mut self.items)).await.is_ok()
    }
}

/// Until when keys are waited for: each for the same time from when its first record was met, in whichever partition.
pub(in crate::client) struct Patience {
    wait: Duration,
    until: Mutex<HashMap<KeyIndex, Instant>>,
}

impl Patience {
    pub(in crate::client) fn new(wait: Duration) -> Self {
        Self { wait, until: Mutex::default() }
    }

    pub(in crate::client) async fn wait(&self, message: &mut Message) {
        if !message.is_possibly_decryptable() {
            return;
        }
        let left = message.key_index().map(|index| self.left(index)).unwrap_or_default();
        if left.is_zero() {
            message.retry();
        } else if let Err(why) = message.wait(left).await {
            tracing::debug!(%why, "a record is handed on without its cleartext");
        }
    }

    fn left(&self, index: &KeyIndex) -> Duration {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST_KEYS {
            // Those that are forgotten may be waited for once more; the keyring's budget bounds that.
            until.clear();
        }
        until.entry(index.clone()).or_insert_with(|| now + self.wait).saturating_duration_since(now)
    }
}

const MOST_KEYS: usize = 10_000;
/// What is handed on together at most.
const MOST_ITEMS: usize = 256;
const MOST_BYTES: usize = 256 << 10;
