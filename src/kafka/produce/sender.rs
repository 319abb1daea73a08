//! Does what the state machine says: one task for each producer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use tokio::time::{Instant, Sleep, sleep_until};
use uuid::Uuid;

use crate::kafka::cluster::{Lane, Target, Throttled};
use crate::kafka::error::Error;

use super::batch::{Body, unwritable};
use super::producer::{Shared, closed};
use super::report::Ack;
use super::state::{Action, Event, Outgoing, Parcel, Places, Returned, what};
use super::wire::{Answer, Batch, Produce};
use super::{Acks, ProducerConfig};

/// Runs until the producer is closed and all records are reported.
pub(super) async fn run(shared: Arc<Shared>) {
    let _guard = Guard(Arc::clone(&shared));
    let mut jobs = Jobs::new();
    let mut event = Event::Tick;
    let mut timer = pin!(sleep_until(Instant::now() + FAR));
    loop {
        let (wake, idle) = advance(&shared, event, &mut jobs);
        if idle && shared.closing.load(Ordering::Relaxed) {
            return;
        }
        let wake = wake.map_or(Instant::now() + FAR, |wake| shared.instant(wake));
        // A tick too many does no harm, and costs less than to set the timer for each record.
        if wake < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(wake);
        }
        event = next(&shared, timer.as_mut(), &mut jobs).await;
    }
}

/// Tells the state machine what happened and does what it says. Returns when to wake it, and whether all is reported.
fn advance(shared: &Arc<Shared>, event: Event, jobs: &mut Jobs) -> (Option<Duration>, bool) {
    // A flush that finds all reported waits until those who wait for it were told.
    let _reporting = shared.reporting();
    let (actions, wake, idle) = {
        let mut state = shared.state();
        let actions = state.handle(event, shared.now(), &|broker| shared.client.has_spare(broker));
        (actions, state.next_wake(), state.is_idle())
    };
    for action in actions {
        perform(shared, action, jobs);
    }
    (wake, idle)
}

/// What is under way, in the order in which it was begun: requests must go out in that order, so they are polled in it.
type Jobs = Vec<Pin<Box<dyn Future<Output = Event> + Send>>>;

/// What happens next.
async fn next(shared: &Shared, mut timer: Pin<&mut Sleep>, jobs: &mut Jobs) -> Event {
    let mut news = pin!(shared.wake.notified());
    poll_fn(|context| {
        if let Poll::Ready(event) = poll_jobs(jobs, context) {
            return Poll::Ready(event);
        }
        match news.as_mut().poll(context).is_ready() || timer.as_mut().poll(context).is_ready() {
            true => Poll::Ready(Event::Tick),
            false => Poll::Pending,
        }
    })
    .await
}

fn poll_jobs(jobs: &mut Jobs, context: &mut Context<'_>) -> Poll<Event> {
    for (at, job) in jobs.iter_mut().enumerate() {
        if let Poll::Ready(event) = job.as_mut().poll(context) {
            drop(jobs.remove(at));
            return Poll::Ready(event);
        }
    }
    Poll::Pending
}

fn perform(shared: &Arc<Shared>, action: Action, jobs: &mut Jobs) {
    let shared = Arc::clone(shared);
    match action {
        Action::Send(outgoing) => jobs.push(Box::pin(send(shared, outgoing))),
        Action::AskId => jobs.push(Box::pin(async move { Event::Id(ask_id(&shared).await) })),
        Action::Refresh { topic, stale } => jobs.push(Box::pin(refresh(shared, topic, stale))),
        Action::Compress { slot, place, body } => {
            let (compression, level) = (shared.config.compression, shared.config.level);
            let work = tokio::task::spawn_blocking(move || body.compressed(compression, level));
            jobs.push(Box::pin(async move {
                let body = work.await.map_err(|_| closed()).and_then(|body| body.map_err(unwritable));
                Event::Compressed { slot, place, body }
            }));
        }
        Action::Report { report, piece, freed } => {
            report.settle(piece);
            shared.memory.add_permits(freed);
            shared.reported.notify_waiters();
        }
    }
}

async fn refresh(shared: Arc<Shared>, topic: Arc<str>, stale: bool) -> Event {
    if stale {
        shared.client.stale(&topic);
    }
    let found = shared.client.topic(&topic, Instant::now() + shared.request_timeout).await;
    let found = found.map(|found| found.map(|found| Places::new(&found)));
    Event::Topic { name: topic, found }
}

async fn ask_id(shared: &Shared) -> Result<(i64, i16), Error> {
    let what = "can't get a producer id";
    let build = |_| InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(i32::MAX);
    let deadline = Instant::now() + shared.request_timeout;
    let answer = shared.client.call::<InitProducerIdRequest>(Target::Any, deadline, build).await;
    let (response, _) = answer.map_err(|error| error.at(what).unsent())?;
    match response.error_code {
        0 => Ok((response.producer_id.0, response.producer_epoch)),
        code => {
            let right = || "write to the topic (or idempotent write to the cluster)".to_owned();
            Err(Error::from_code(code, what).unsent().needing(right))
        }
    }
}

/// A batch in a request.
struct Sealed {
    named: (Arc<str>, Uuid, i32),
    /// What is sent; `None` if nothing is.
    bytes: Option<Bytes>,
    returned: Returned,
}

impl Sealed {
    fn new(parcel: Parcel, config: &ProducerConfig) -> Self {
        let Parcel { topic, topic_id, partition, stamp, body, slot, place } = parcel;
        let (bytes, body, result) = match body.stamped(stamp, config.compression, config.level) {
            Ok(bytes) => (Some(bytes.clone()), Some(Body::Done { bytes, stamp }), Ok(Ack::default())),
            Err(error) => (None, None, Err(unwritable(error))),
        };
        Self { named: (topic, topic_id, partition), bytes, returned: Returned { slot, place, body, result } }
    }

    fn batch(&self) -> Option<Batch<'_>> {
        let (topic, topic_id, partition) = &self.named;
        Some(Batch { topic, topic_id: *topic_id, partition: *partition, bytes: self.bytes.as_ref()? })
    }
}

async fn send(shared: Arc<Shared>, outgoing: Outgoing) -> Event {
    let Outgoing { request, broker, lane, parcels } = outgoing;
    let mut sealed: Vec<_> = parcels.into_iter().map(|parcel| Sealed::new(parcel, &shared.config)).collect();
    let answer = exchange(&shared, broker, lane, &mut sealed).await;
    for Sealed { named: (topic, id, partition), returned, .. } in sealed.iter_mut().filter(|one| one.bytes.is_some()) {
        let what = || what(topic, *partition);
        returned.result = match &answer {
            Ok(Some(answer)) => answer.of(topic, *id, *partition, what),
            Ok(None) => Ok(Ack::default()),
            Err(error) => Err(error.clone().at(&what())),
        };
    }
    let quiet = answer.ok().flatten().and_then(|answer| answer.response.quiet()).unwrap_or_default();
    Event::Answered { request, quiet, parcels: sealed.into_iter().map(|one| one.returned).collect() }
}

/// One request, with what still has to go when there is a way to the broker. `None`: nothing had to, or no answer comes.
async fn exchange(shared: &Shared, broker: i32, lane: Lane, sealed: &mut [Sealed]) -> Result<Option<Answer>, Error> {
    let (config, time) = (&shared.config, shared.request_timeout);
    // A broker that answers soon, if only that others lag behind, can be told from one that is gone. Who isn't idempotent
    // needs the real answer.
    let (hold, slack) = if config.is_idempotent() { (time.min(SOON), Duration::ZERO) } else { (time, time) };
    let deadline = Instant::now() + time;
    let way = shared.client.way(Target::Broker(broker), lane, deadline).await?;
    let version = way.version::<ProduceRequest>()?;
    {
        let mut state = shared.state();
        for one in &mut *sealed {
            one.bytes.take_if(|_| !state.depart(one.returned.slot, one.returned.place));
        }
    }
    if sealed.iter().all(|one| one.bytes.is_none()) {
        return Ok(None);
    }
    let request = Produce::new(config.acks.number(), hold, sealed.iter().filter_map(Sealed::batch));
    match config.acks {
        Acks::None => way.post(&request, version, deadline).await.map(|()| None),
        _ => {
            let response = way.ask(&request, version, slack, deadline).await?;
            Ok(Some(Answer { response, version }))
        }
    }
}

/// Whatever ends the sender, nobody waits for a report in vain.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
        let _reporting = self.0.reporting();
        let actions = self.0.state().abandon(&closed());
        for action in actions {
            perform(&self.0, action, &mut Jobs::new());
        }
    }
}

/// How long a broker waits for other replicas before it says so.
const SOON: Duration = Duration::from_secs(3);
/// When there is nothing to wait for.
const FAR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;

    use crate::kafka::cluster::fake::FakeBroker;
    use crate::kafka::{Client, Config, ErrorKind, Producer, ProducerConfig, ProducerRecord};

    /// What became of a record for the leader at this address.
    async fn send_to(leader: SocketAddr) -> crate::kafka::Error {
        let broker = FakeBroker::start().await;
        broker.says_at(&[(1, broker.address), (2, leader)]);
        let client = Client::new(Config::new([broker.address.to_string()])).unwrap();
        let time = std::time::Duration::from_millis(500);
        let config = ProducerConfig::new().idempotent(false).delivery_timeout(time);
        Producer::new(&client, config).send(ProducerRecord::new("t", "v")).await.unwrap().await.unwrap_err()
    }

    #[tokio::test]
    async fn what_waited_for_a_connection_has_not_arrived() {
        // Who accepts and says nothing, and who says all but what he was asked.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = send_to(silent.local_addr().unwrap()).await;
        assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::TimedOut, false), "{error}");
        let mute = FakeBroker::start().await;
        mute.never_answers(PRODUCE);
        let error = send_to(mute.address).await;
        assert_eq!((error.kind(), error.may_have_arrived()), (ErrorKind::TimedOut, true), "{error}");
    }

    const PRODUCE: i16 = 0;
}
