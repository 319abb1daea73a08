//! A membership that runs: the state machine, a task that carries its steps out, and the program's end of it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::classic::{Answer, Classic, Request};
use super::hand::{Change, Refusal, Step};
use super::modern::{Beat, Beaten, Modern};
use super::watch::{Missing, Watch};
use super::{GroupProtocol, GroupSettings, wire};
use crate::kafka::cluster::{Coordinator, Lane, Target, Throttled};
use crate::kafka::error::escaped;
use crate::kafka::trouble::Trouble;
use crate::kafka::{Client, Error, ErrorKind};

/// The program's end of a membership. Leaves the group when it is dropped; [`Member::leave`] waits for that.
#[derive(Debug)]
pub(in crate::kafka) struct Member(Arc<Shared>);

/// Who a commit is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Identity {
    pub(in crate::kafka) member: String,
    /// The generation or the epoch; −1 for one who is no member.
    pub(in crate::kafka) generation: i32,
    pub(in crate::kafka) instance: Option<String>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    settings: GroupSettings,
    state: Mutex<State>,
    missing: Mutex<Missing>,
    trouble: Mutex<Trouble>,
    /// Something for the task.
    work: Notify,
    /// The program leaves: whatever is under way is given up.
    leaving: Notify,
    /// Something for the program.
    news: Notify,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    telling: Option<Change>,
    failed: Option<Error>,
    ended: bool,
}

#[derive(Debug)]
enum Machine {
    Classic(Classic),
    Modern(Modern),
}

enum Ask {
    Classic(Request),
    Modern(Beat),
}

impl Member {
    /// Joins, in a task of its own.
    pub(in crate::kafka) fn join(client: &Client, settings: GroupSettings, topics: BTreeSet<Arc<str>>) -> Self {
        let (now, wanted) = (now(), topics.clone());
        let machine = match settings.protocol {
            GroupProtocol::Classic => Machine::Classic(Classic::new(settings.clone(), topics, now)),
            GroupProtocol::Consumer => Machine::Modern(Modern::new(settings.clone(), topics, new_name(), now)),
        };
        let state = Mutex::new(State { machine, telling: None, failed: None, ended: false });
        let (missing, trouble) = Default::default();
        let (work, leaving, news, ended) = Default::default();
        let client = client.clone();
        let shared = Arc::new(Shared { client, settings, state, missing, trouble, work, leaving, news, ended });
        tokio::spawn(check(shared.clone(), wanted));
        tokio::spawn(run(shared.clone()));
        Self(shared)
    }

    /// The program lives.
    pub(in crate::kafka) fn polled(&self) {
        let now = now();
        let mut state = self.0.lock();
        let woken = match &mut state.machine {
            Machine::Classic(machine) => machine.polled(now),
            Machine::Modern(machine) => machine.polled(now),
        };
        drop(state);
        if woken {
            self.0.work.notify_one();
        }
    }

    /// What the program has to take in now, if anything. The same again until [`Member::told`], so that nothing is lost
    /// with a program that gives up half-way.
    pub(in crate::kafka) fn change(&self) -> Result<Option<Change>, Error> {
        let state = self.0.lock();
        match &state.telling {
            Some(change) => Ok(Some(change.clone())),
            None => state.failed.clone().map_or(Ok(None), Err),
        }
    }

    /// The program has taken it in.
    pub(in crate::kafka) fn told(&self) {
        let mut state = self.0.lock();
        if state.telling.take().is_some() {
            match &mut state.machine {
                Machine::Classic(machine) => machine.hand().told(),
                Machine::Modern(machine) => machine.hand().told(),
            }
        }
        drop(state);
        self.0.work.notify_one();
    }

    /// Ends when [`Member::change`] has something.
    pub(in crate::kafka) async fn news(&self) {
        self.0.news.notified().await;
    }

    /// These topics from now on.
    pub(in crate::kafka) fn subscribe(&self, topics: BTreeSet<Arc<str>>) {
        tokio::spawn(check(self.0.clone(), topics.clone()));
        match &mut self.0.lock().machine {
            Machine::Classic(machine) => machine.subscribe(topics),
            Machine::Modern(machine) => machine.subscribe(topics),
        }
        self.0.work.notify_one();
    }

    pub(in crate::kafka) fn identity(&self) -> Identity {
        let state = self.0.lock();
        let (member, generation) = match &state.machine {
            Machine::Classic(machine) => machine.identity(),
            Machine::Modern(machine) => machine.identity(),
        };
        Identity { member: member.to_owned(), generation, instance: self.0.settings.instance.clone() }
    }

    /// Leaves, and waits until the group knows it, or for so long.
    pub(in crate::kafka) async fn leave(self, within: Duration) {
        self.0.leave();
        let ended = async {
            while !self.0.lock().ended {
                self.0.ended.notified().await;
            }
        };
        let _in_time = timeout(within, ended).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn leave(&self) {
        let mut state = self.lock();
        state.telling = None;
        match &mut state.machine {
            Machine::Classic(machine) => machine.leave(),
            Machine::Modern(machine) => machine.leave(),
        }
        drop(state);
        self.leaving.notify_one();
        self.work.notify_one();
    }

    /// The program is told, and may leave.
    fn fail(&self, error: Error) {
        self.lock().failed.get_or_insert(error);
        self.news.notify_one();
    }

    fn end(&self, error: Option<Error>) {
        let mut state = self.lock();
        state.failed = error.or(state.failed.take());
        state.ended = true;
        drop(state);
        self.news.notify_one();
        self.ended.notify_one();
    }
}

impl State {
    fn step(&mut self, now: std::time::Instant) -> Step<Ask> {
        match &mut self.machine {
            Machine::Classic(machine) => machine.step(now).map(Ask::Classic),
            Machine::Modern(machine) => machine.step(now).map(Ask::Modern),
        }
    }

    fn has_left(&self) -> bool {
        match &self.machine {
            Machine::Classic(machine) => machine.has_left(),
            Machine::Modern(machine) => machine.has_left(),
        }
    }
}

/// A topic that we may not see is left out by the group, so it is looked for by ourselves.
async fn check(shared: Arc<Shared>, topics: BTreeSet<Arc<str>>) {
    let deadline = Instant::now() + shared.client.config().times().request;
    let named = topics.iter().map(ToString::to_string).collect();
    let Ok(found) = shared.client.look(Some(named), deadline).await else { return };
    let of = |wanted: fn(&Result<Option<_>, Error>) -> bool| -> BTreeSet<Arc<str>> {
        let some = found.topics.iter().filter(|(_, found)| wanted(found));
        some.map(|(name, _)| Arc::from(name.as_str())).collect()
    };
    let (missing, known) = (of(|found| matches!(found, Ok(None))), of(|found| matches!(found, Ok(Some(_)))));
    locked(&shared.missing).tell(missing, &known);
    let refused = found.topics.into_values().filter_map(Result::err);
    if let Some(error) = refused.into_iter().find(|error| error.kind() == ErrorKind::NotAuthorised) {
        let what = format!("can't be a member of the group \"{}\"", escaped(&shared.settings.id));
        shared.fail(error.at(&what));
    }
}

/// The task: one step after another, until the member has left.
async fn run(shared: Arc<Shared>) {
    let mut watch = Watch::default();
    loop {
        let step = {
            let mut state = shared.lock();
            if state.has_left() {
                break;
            }
            state.step(now())
        };
        match step {
            Step::Send(ask) if ask.is_goodbye() => send(&shared, ask, &mut watch).await,
            Step::Send(ask) => tokio::select! {
                () = shared.leaving.notified() => {}
                () = send(&shared, ask, &mut watch) => {}
            },
            Step::Tell(change) => {
                shared.lock().telling = Some(change);
                shared.news.notify_one();
            }
            Step::Count(topics) => {
                watch.look(&shared.client, &topics).await;
                if let Machine::Classic(machine) = &mut shared.lock().machine {
                    machine.counted(&watch.counts());
                }
            }
            Step::Over(refusal) => return shared.end(Some(refusal.into_error(&shared.settings.id))),
            Step::Wait(until) => rest(&shared, until.into(), &mut watch).await,
        }
    }
    shared.end(None);
}

/// Until there is something to do. The leader looks at the topics now and then: the group shares out anew when they have
/// other partitions.
async fn rest(shared: &Shared, until: Instant, watch: &mut Watch) {
    let leads = matches!(&shared.lock().machine, Machine::Classic(machine) if machine.leads());
    let look = watch.due(shared.client.config().times().metadata_max_age).filter(|_| leads);
    tokio::select! {
        () = shared.work.notified() => {}
        () = sleep_until(until.min(look.unwrap_or(until))) => {}
    }
    if look.is_some_and(|look| look <= Instant::now()) {
        let (before, topics) = (watch.counts(), watch.topics.keys().cloned().collect());
        watch.look(&shared.client, &topics).await;
        if let (true, Machine::Classic(machine)) = (watch.counts() != before, &mut shared.lock().machine) {
            machine.rejoin();
        }
    }
}

async fn send(shared: &Shared, ask: Ask, watch: &mut Watch) {
    match ask {
        Ask::Classic(request) => {
            let answer = classic(shared, &request).await;
            if let Machine::Classic(machine) = &mut shared.lock().machine {
                machine.answer(answer, now());
            }
        }
        Ask::Modern(beat) => {
            let answer = modern(shared, &beat, watch).await;
            let mut state = shared.lock();
            let Machine::Modern(machine) = &mut state.machine else { return };
            let unsupported = answer.as_ref().is_err_and(Refusal::is_unsupported);
            if unsupported && beat.epoch == 0 {
                // A broker may name this request and not do it.
                tracing::info!(
                    group = shared.settings.id,
                    "the broker can't share out (KIP-848): the classic protocol it is"
                );
                let topics = machine.topics().clone();
                state.machine = Machine::Classic(Classic::new(shared.settings.clone(), topics, now()));
            } else {
                machine.answer(answer, now());
            }
        }
    }
}

async fn classic(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let settings = &shared.settings;
    match request {
        Request::Join { member, protocols } => {
            let build = |version| wire::join(settings, member, protocols, version);
            wire::joined(shared.held::<JoinGroupRequest>(build).await?)
        }
        Request::Sync { member, generation, protocol, assignments } => {
            let build = |version| wire::sync(settings, (member, *generation, protocol), assignments, version);
            let response = shared.held::<SyncGroupRequest>(build).await?;
            wire::refused(response.error_code, None).map(|()| Answer::Synced(response.assignment))
        }
        Request::Heartbeat { member, generation } => {
            let build = |version| wire::heartbeat(settings, member, *generation, version);
            let response = shared.brief::<HeartbeatRequest>(build).await?;
            wire::refused(response.error_code, None).map(|()| Answer::Done)
        }
        Request::Leave { member } => {
            shared.brief::<LeaveGroupRequest>(|version| wire::leave(settings, member, version)).await?;
            Ok(Answer::Done)
        }
    }
}

async fn modern(shared: &Shared, beat: &Beat, watch: &mut Watch) -> Result<Beaten, Refusal> {
    let topics = beat.topics.clone().unwrap_or_else(|| watch.topics.keys().cloned().collect());
    if beat.epoch >= 0 && !topics.iter().all(|topic| watch.topics.get(topic).is_some_and(Option::is_some)) {
        watch.look(&shared.client, &topics).await;
    }
    let build = |_| wire::beat(&shared.settings, beat, &watch.ids());
    let response = shared.brief::<ConsumerGroupHeartbeatRequest>(build).await?;
    let (epoch, interval, assigned) = wire::beaten(response)?;
    let Some(assigned) = assigned else { return Ok(Beaten { epoch, interval, assigned: None }) };
    if !watch.knows(&assigned) {
        watch.look(&shared.client, &topics).await;
    }
    // An assignment that can't be read yet is asked for again: the next heartbeat says everything.
    let assigned = watch.named(&assigned).ok_or(Refusal::Silence)?;
    Ok(Beaten { epoch, interval, assigned: Some(assigned) })
}

impl Shared {
    /// A request that the coordinator may hold back while the others join.
    async fn held<R>(&self, build: impl FnOnce(i16) -> R + Send) -> Result<R::Response, Refusal>
    where
        R: kafka_protocol::protocol::Request + Send + Sync,
        R::Response: Throttled + Coded,
    {
        let hold = self.settings.max_poll_interval + GRACE;
        self.ask::<R>(Lane::Join, hold, hold + self.client.config().times().request, build).await
    }

    /// A request that is answered at once.
    async fn brief<R>(&self, build: impl FnOnce(i16) -> R + Send) -> Result<R::Response, Refusal>
    where
        R: kafka_protocol::protocol::Request + Send + Sync,
        R::Response: Throttled + Coded,
    {
        let within = self.client.config().times().request.min((self.settings.session / 3).max(GRACE / 5));
        self.ask::<R>(Lane::Main, Duration::ZERO, within, build).await
    }

    async fn ask<R>(
        &self,
        lane: Lane,
        hold: Duration,
        within: Duration,
        build: impl FnOnce(i16) -> R + Send,
    ) -> Result<R::Response, Refusal>
    where
        R: kafka_protocol::protocol::Request + Send + Sync,
        R::Response: Throttled + Coded,
    {
        let deadline = Instant::now() + within;
        let (client, group) = (&self.client, self.settings.id.as_str());
        let asked = async {
            let found = client.coordinator(Coordinator::Group, group, deadline.min(Instant::now() + FINDING));
            let broker = found.await?;
            client.call_over::<R>(Target::Broker(broker), lane, hold, deadline, |version, _| build(version)).await
        };
        let answer = asked.await;
        self.note(answer.as_ref().err());
        let elsewhere = match &answer {
            Ok((response, _)) => ResponseError::try_from_code(response.code()).is_some_and(is_about_the_coordinator),
            Err(_) => true,
        };
        if elsewhere {
            client.forget_coordinator(Coordinator::Group, group);
        }
        answer.map(|(response, _)| response).map_err(Refusal::from)
    }

    /// Whether the coordinator answers. That a broker names none passes by itself, as a rule: nothing to be warned of.
    fn note(&self, error: Option<&Error>) {
        let mut trouble = locked(&self.trouble);
        match error {
            None => trouble.works(TAKING_PART),
            Some(error) if error.code().is_none() && error.is_retriable() => trouble.failed(TAKING_PART, error),
            Some(_) => {}
        }
    }
}

impl Ask {
    fn is_goodbye(&self) -> bool {
        match self {
            Self::Classic(request) => matches!(request, Request::Leave { .. }),
            Self::Modern(beat) => beat.epoch < 0,
        }
    }
}

/// A response with an error code for all of it.
trait Coded {
    fn code(&self) -> i16;
}

macro_rules! coded {
    ($($response:ident),*) => {
        $(impl Coded for kafka_protocol::messages::$response {
            fn code(&self) -> i16 {
                self.error_code
            }
        })*
    };
}

coded!(JoinGroupResponse, SyncGroupResponse, HeartbeatResponse, LeaveGroupResponse, ConsumerGroupHeartbeatResponse);

fn is_about_the_coordinator(code: ResponseError) -> bool {
    matches!(code, ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that nobody else has; no secret hangs on it.
fn new_name() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    Uuid::from_u64_pair(random(), random()).to_string()
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// What a coordinator may take over its own deadline.
const GRACE: Duration = Duration::from_secs(5);
/// How long one look for the coordinator takes.
const FINDING: Duration = Duration::from_secs(10);
/// What may fail, for the log.
const TAKING_PART: &str = "taking part in the group";
