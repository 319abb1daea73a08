//! The records of one partition on their way to the broker: in order, one request at a time unless the transport keeps
//! the order of several.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::Delivery;
use super::options::Rules;
use super::topics::Topics;
use crate::client::SendError;
use crate::transport::{InLine, Outgoing, Receipt, Transport, TransportError, TransportErrorKind};

/// A record that is encrypted and waits for delivery.
pub(super) struct Item {
    pub(super) record: Outgoing,
    pub(super) bytes: usize,
    pub(super) deadline: Instant,
    pub(super) answer: Answer,
}

/// Who waits for a record, and what it takes of the buffer, which is given back when this goes.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Delivery, SendError>>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// What all lanes of a producer share.
pub(super) struct Road {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) rules: Rules,
    pub(super) topics: Topics,
    pub(super) flushing: AtomicUsize,
    pub(super) hurry: Notify,
    pub(super) unclaimed: Mutex<Option<SendError>>,
}

impl Road {
    /// A failure that nobody waits for: the next flush tells it.
    pub(super) fn unclaimed(&self, error: SendError) {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first failure that nobody has waited for, since the last call.
    pub(super) fn take_unclaimed(&self) -> Option<SendError> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One partition.
pub(super) struct Lane {
    pub(super) road: Arc<Road>,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

impl Lane {
    /// Delivers until all senders are gone and all is delivered.
    pub(super) async fn run(self, mut items: UnboundedReceiver<Item>) {
        if let Some(line) = self.road.transport.in_line() {
            return self.stream(line, items).await;
        }
        while let Some(first) = items.recv().await {
            let batch = self.gather(first, &mut items).await;
            self.deliver(batch).await;
        }
    }

    /// Puts what comes in line, and answers when the broker has.
    async fn stream(&self, line: &dyn InLine, mut items: UnboundedReceiver<Item>) {
        let (mut out, mut more) = (VecDeque::<(Vec<Answer>, Receipt)>::new(), true);
        while more || !out.is_empty() {
            tokio::select! {
                told = poll_fn(|context| first(&mut out, context)) => {
                    let told = told.into_iter().map(|told| self.told(told));
                    let answers = out.pop_front().into_iter().flat_map(|(answers, _)| answers);
                    answers.zip(told).for_each(|(answer, told)| self.tell(answer, told));
                }
                item = items.recv(), if more => match item {
                    Some(item) => {
                        let batch = self.gather(item, &mut items).await;
                        out.extend(self.line_up(line, batch).await);
                    }
                    None => more = false,
                },
            }
        }
    }

    /// A batch, in line. What has waited for so long that its time is nearly over has no more than the rest of it.
    async fn line_up(&self, line: &dyn InLine, batch: Vec<Item>) -> Option<(Vec<Answer>, Receipt)> {
        let whole = self.road.rules.delivery_timeout;
        let rest = batch.first()?.deadline.saturating_duration_since(Instant::now());
        let within = if rest > whole * 9 / 10 { whole } else { rest };
        let (records, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|item| (item.record, item.answer)).unzip();
        let receipt = line.queue(&self.topic, self.partition, records, within).await;
        Some((answers, receipt))
    }

    /// As many records as fit in a request and come in time.
    async fn gather(&self, first: Item, items: &mut UnboundedReceiver<Item>) -> Vec<Item> {
        let until = Instant::now() + self.road.rules.options.linger;
        let (mut bytes, mut batch) = (first.bytes, vec![first]);
        while bytes < self.road.rules.batch_bytes && batch.len() < BATCH_RECORDS {
            let next = match items.try_recv() {
                Ok(item) => Some(item),
                Err(TryRecvError::Empty) => self.linger(items, until).await,
                Err(TryRecvError::Disconnected) => None,
            };
            let Some(item) = next else { break };
            bytes = bytes.saturating_add(item.bytes);
            batch.push(item);
        }
        batch
    }

    /// Waits for one more record, unless somebody is in a hurry.
    async fn linger(&self, items: &mut UnboundedReceiver<Item>, until: Instant) -> Option<Item> {
        let hurry = self.road.hurry.notified();
        tokio::pin!(hurry);
        hurry.as_mut().enable();
        if self.road.flushing.load(Ordering::Acquire) > 0 || until <= Instant::now() {
            return None;
        }
        tokio::select! {
            item = timeout_at(until, items.recv()) => item.ok().flatten(),
            () = hurry => None,
        }
    }

    /// Sends a batch; what is too large goes in halves, the first one first.
    async fn deliver(&self, batch: Vec<Item>) {
        let mut rest = vec![batch];
        while let Some(mut batch) = rest.pop() {
            let result = self.send(&batch).await;
            if matches!(&result, Err(SendError::NotDelivered { source, .. }) if source.kind() == TransportErrorKind::TooLarge)
                && batch.len() > 1
            {
                let second = batch.split_off(batch.len() / 2);
                rest.extend([second, batch]);
                continue;
            }
            self.answer(batch, &result);
        }
    }

    /// Sends one request, again as long as that can't double it (or may).
    async fn send(&self, batch: &[Item]) -> Result<Vec<i64>, SendError> {
        let rules = &self.road.rules;
        let deadline = batch.iter().map(|item| item.deadline).min().unwrap_or_else(Instant::now);
        let (mut pause, mut may_have_arrived) = (FIRST_PAUSE, false);
        loop {
            let within = rules.request_timeout.min(deadline.saturating_duration_since(Instant::now()));
            if within.is_zero() {
                let message = format!("its time of {:?} was over before it could be sent", rules.delivery_timeout);
                return Err(self.failed(TransportError::new(TransportErrorKind::TimedOut, message), may_have_arrived));
            }
            let records = batch.iter().map(|item| item.record.clone()).collect();
            let sent = self.road.transport.produce(&self.topic, self.partition, records, within).await;
            let Err(error) = sent else { return sent.map_err(|error| self.failed(error, false)) };
            let ambiguous = error.may_have_arrived();
            may_have_arrived |= ambiguous;
            let again = error.is_retriable() && (!ambiguous || rules.options.allow_duplicates);
            if !again || Instant::now() + pause >= deadline {
                return Err(self.failed(error, may_have_arrived));
            }
            tracing::debug!(topic = &*self.topic, partition = self.partition, %error, "sending is tried again");
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    fn answer(&self, batch: Vec<Item>, result: &Result<Vec<i64>, SendError>) {
        let mut offsets = result.as_deref().unwrap_or_default().iter();
        for item in batch {
            let one = match result {
                Err(error) => Err(error.clone()),
                Ok(_) => offsets.next().map(|offset| self.delivery(*offset)).ok_or_else(|| self.no_offset()),
            };
            self.tell(item.answer, one);
        }
    }

    fn tell(&self, answer: Answer, result: Result<Delivery, SendError>) {
        if let Err(Err(error)) = answer.to.send(result) {
            tracing::warn!(topic = &*self.topic, partition = self.partition, %error, "a record wasn't delivered");
            self.road.unclaimed(error);
        }
    }

    fn told(&self, told: Result<i64, TransportError>) -> Result<Delivery, SendError> {
        told.map(|offset| self.delivery(offset)).map_err(|error| {
            let may_have_arrived = error.may_have_arrived();
            self.failed(error, may_have_arrived)
        })
    }

    fn delivery(&self, offset: i64) -> Delivery {
        Delivery { topic: self.topic.clone(), partition: self.partition, offset }
    }

    fn no_offset(&self) -> SendError {
        let message = "the broker answered for fewer records than were sent";
        self.failed(TransportError::new(TransportErrorKind::Corrupt, message), true)
    }

    fn failed(&self, source: TransportError, may_have_arrived: bool) -> SendError {
        if source.kind() == TransportErrorKind::UnknownTopic {
            self.road.topics.forget(&self.topic);
        }
        let (topic, partition) = (self.topic.clone(), self.partition);
        match may_have_arrived {
            true => SendError::MayHaveArrived { topic, partition, source },
            false => SendError::NotDelivered { topic, partition: Some(partition), source },
        }
    }
}

/// What has become of the first batch in line.
fn first(
    out: &mut VecDeque<(Vec<Answer>, Receipt)>,
    context: &mut Context<'_>,
) -> Poll<Vec<Result<i64, TransportError>>> {
    match out.front_mut() {
        Some((_, receipt)) => receipt.as_mut().poll(context),
        None => Poll::Pending,
    }
}

const BATCH_RECORDS: usize = 10_000;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
