//! Does what an engine can't: the network, signing that may take long, the passing of time.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::follower::Follower;
use super::machine::{Job, Machine};
use crate::engine::{ActionId, Draft, Failure, Outcome, SignJob};
use crate::keys::KeyError;
use crate::topic::{Naming, Role, Topic};
use crate::transport::{OffsetAt, Outgoing, Transport, TransportError, TransportErrorKind};

/// Everything that the driver's tasks share.
pub(super) struct Driver {
    pub(super) machine: Arc<Machine>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) naming: Naming,
    /// Notified when serializers or deserializers ask for something.
    pub(super) wake: Arc<Notify>,
    /// Jobs that aren't done yet.
    pub(super) busy: AtomicUsize,
    pub(super) signing: Arc<Semaphore>,
    /// Topics that are missing, until somebody has his turn at making them.
    pub(super) wanted: Mutex<BTreeSet<Topic>>,
    pub(super) making: tokio::sync::Mutex<()>,
}

impl Driver {
    /// Runs until dropped. May panic where a transport does: the supervisor starts it again.
    pub(super) async fn run(self: Arc<Self>, jobs: &mut mpsc::UnboundedReceiver<Job>) {
        let follower = Arc::new(Follower::new(self.machine.clone(), self.transport.clone(), self.naming.clone()));
        let mut tasks = JoinSet::new();
        let reading = follower.clone();
        tasks.spawn(async move { reading.run().await });
        loop {
            let wake_at = self.machine.schedule();
            let pause = wake_at.map_or(LONG, |at| at.saturating_sub(self.machine.now().mono));
            tokio::select! {
                Some(job) = jobs.recv() => self.start(job, &follower, &mut tasks),
                () = self.wake.notified() => self.attend().await,
                () = tokio::time::sleep(pause) => self.attend().await,
                // one that ended well too: a pattern that doesn't match would put this branch to sleep
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Some(Ok(panic)) = ended.err().map(tokio::task::JoinError::try_into_panic) {
                        follower.forget_all();
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Waits until no job is under way, or the time is over.
    pub(super) async fn flush(&self, within: Duration) {
        let end = tokio::time::Instant::now() + within;
        while self.busy.load(Ordering::Acquire) > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The engine may write files, so it is called on a thread that may block. A panic there, a caller's own ratchet's
    /// say, is this task's.
    async fn attend(&self) {
        let machine = self.machine.clone();
        if let Err(ended) = tokio::task::spawn_blocking(move || machine.attend()).await
            && let Ok(panic) = ended.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }

    fn start(self: &Arc<Self>, job: Job, follower: &Arc<Follower>, tasks: &mut JoinSet<()>) {
        let driver = self.clone();
        match job {
            Job::Follow(id, topic, from) => {
                let follower = follower.clone();
                tasks.spawn(async move {
                    let beside = driver.prepare(&topic).await;
                    let warm = driver.warm(beside.as_slice());
                    tokio::join!(warm, follower.follow(id, topic, from));
                });
            }
            Job::Sign(id, job) => {
                let counted = Counted::new(&driver);
                tasks.spawn(async move {
                    driver.sign(id, job).await;
                    drop(counted);
                });
            }
            Job::Produce(id, draft) => {
                let counted = Counted::new(&driver);
                tasks.spawn(async move {
                    driver.produce(id, draft).await;
                    drop(counted);
                });
            }
        }
    }

    async fn sign(&self, id: ActionId, SignJob { slot, message }: SignJob) {
        let Some(signer) = self.machine.signer(slot) else { return };
        let Ok(_permit) = self.signing.clone().acquire_owned().await else { return };
        let machine = self.machine.clone();
        let _ = tokio::task::spawn_blocking(move || {
            // a caller's own signer may panic
            let signed = catch_unwind(AssertUnwindSafe(|| signer.sign(&message)));
            let signed = signed.unwrap_or_else(|_| Err(KeyError::Source("the signer panicked".into())));
            machine.done(id, signed.map(Outcome::Signed).map_err(|error| Failure::Other(error.to_string())));
        })
        .await;
    }

    async fn produce(&self, id: ActionId, draft: Draft) {
        let result = self.send(&draft).await;
        let machine = self.machine.clone();
        let failure = |error: TransportError| match error.kind() {
            TransportErrorKind::TooLarge => Failure::TooLarge(error.to_string()),
            _ => Failure::Other(error.to_string()),
        };
        let result = result.map(|()| Outcome::Done).map_err(failure);
        let _ = tokio::task::spawn_blocking(move || machine.done(id, result)).await;
    }

    /// A key message that arrives twice does no harm, so what may have failed is sent again for a while.
    async fn send(&self, draft: &Draft) -> Result<(), TransportError> {
        let end = tokio::time::Instant::now() + SEND_WITHIN;
        let mut pause = Duration::from_millis(5);
        loop {
            let now = self.machine.now().wall.as_millis();
            let record = Outgoing::new(Some(draft.key.clone()), Some(draft.value.clone())).at(now);
            let error = match self.transport.produce(&draft.topic, 0, vec![record], CALL_WITHIN).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let missing = error.kind() == TransportErrorKind::UnknownTopic;
            if tokio::time::Instant::now() >= end || !(missing || error.is_retriable()) {
                return Err(error);
            }
            if missing {
                self.transport.create_topic(&draft.topic, 1, CALL_WITHIN).await?;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Makes a key topic that is going to be followed and those that will be written to, which it answers with; for all
    /// who wait in one request, since a broker takes as long for one: the first key is there sooner.
    async fn prepare(&self, topic: &Topic) -> Vec<Topic> {
        let beside = match self.naming.role_of(topic) {
            Role::Reqs(root) => [self.naming.keys(&root), self.naming.subs(&root)],
            Role::Keys(root) => [self.naming.reqs(&root), self.naming.subs(&root)],
            _ => return Vec::new(),
        };
        let [first, second] = &beside;
        tokio::join!(self.want(topic), self.want(first), self.want(second));
        let _turn = self.making.lock().await;
        let wanted = std::mem::take(&mut *self.wanted());
        let names: Vec<&str> = wanted.iter().map(|topic| &**topic).collect();
        if !names.is_empty() {
            for (topic, made) in names.iter().zip(self.transport.create_topics(&names, 1, CALL_WITHIN).await) {
                let what = format!("creating topic {topic}");
                match made {
                    Ok(_) => self.machine.works(&what),
                    Err(error) => self.machine.failed(what, topic, error.to_string()),
                }
            }
        }
        beside.into()
    }

    async fn want(&self, topic: &Topic) {
        if let Ok(None) = self.transport.partitions(topic, CALL_WITHIN).await {
            self.wanted().insert(topic.clone());
        }
    }

    /// Connects to where these topics are.
    async fn warm(&self, topics: &[Topic]) {
        for topic in topics {
            // if this fails, the first record says so
            let _ = self.transport.offset(topic, 0, OffsetAt::Latest, CALL_WITHIN).await;
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<Topic>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job under way.
struct Counted(Arc<Driver>);

impl Counted {
    fn new(driver: &Arc<Driver>) -> Self {
        driver.busy.fetch_add(1, Ordering::AcqRel);
        Self(driver.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How long one call to the broker may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// How long a key message is tried.
const SEND_WITHIN: Duration = Duration::from_secs(20);

/// How long to sleep when nothing is due.
const LONG: Duration = Duration::from_secs(3600);
