//! Carries out what the core says: one task for each request that is out, one timer, nothing for each partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use tokio::runtime::Handle as Runtime;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::core::{Action, Ask, AskId, Core, Item, Kind, Leaders, Limits, Options, ReaderId};
use super::unpack::Unpacker;
use super::{CLIENT_BUFFER, TopicPartition, offsets, wire};
use crate::kafka::Client;
use crate::kafka::cluster::{Lane, Target, TopicMetadata};

/// What all Readers of one Client share.
#[derive(Debug)]
pub(in crate::kafka) struct Hub {
    state: Mutex<State>,
    unpacker: Arc<Unpacker>,
    start: Instant,
}

#[derive(Debug)]
struct State {
    core: Core,
    wakes: BTreeMap<ReaderId, Arc<Notify>>,
    timer: Option<(Duration, AbortHandle)>,
}

impl Hub {
    pub(in crate::kafka) fn new() -> Self {
        let limits = Limits { client_bytes: CLIENT_BUFFER, poll_wait: POLL_WAIT, response_bytes: RESPONSE_BYTES };
        let state = State { core: Core::new(limits), wakes: BTreeMap::new(), timer: None };
        Self { state: Mutex::new(state), unpacker: Unpacker::new(), start: Instant::now() }
    }

    pub(super) fn open(&self, options: Options, wake: Arc<Notify>) -> ReaderId {
        let mut state = self.lock();
        let id = state.core.open(options);
        state.wakes.insert(id, wake);
        id
    }

    pub(super) fn close(&self, reader: ReaderId) {
        let mut state = self.lock();
        state.core.close(reader);
        state.wakes.remove(&reader);
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        f(&mut self.lock().core)
    }

    /// The next thing that waits for a Reader, of these partitions. If it is compressed, other threads begin with it and with
    /// what is behind it.
    pub(super) fn take(
        &self,
        reader: ReaderId,
        of: impl Fn(&TopicPartition) -> bool,
    ) -> Option<(TopicPartition, Item)> {
        let (taken, behind) = self.with(|core| {
            let taken = core.take(reader, of)?;
            let behind = taken.1.packed().map(|_| core.packed(reader)).unwrap_or_default();
            Some((taken, behind))
        })?;
        self.unpacker.ahead(taken.1.packed().into_iter().chain(&behind));
        Some(taken)
    }

    /// Does what is to be done now. Outside of a runtime that is nothing.
    pub(super) fn act(self: &Arc<Self>, client: &Client) {
        let Ok(runtime) = Runtime::try_current() else { return };
        for action in self.turn(client, &runtime) {
            self.begin(client, &runtime, action);
        }
    }

    fn begin(self: &Arc<Self>, client: &Client, runtime: &Runtime, action: Action) {
        runtime.spawn(self.clone().carry_out(client.clone(), action));
    }

    /// Wakes who may go on, and says what is to be done now.
    fn turn(self: &Arc<Self>, client: &Client, runtime: &Runtime) -> Vec<Action> {
        let mut state = self.lock();
        let turn = state.core.turn(self.now());
        for wake in turn.wakes.iter().filter_map(|reader| state.wakes.get(reader)) {
            wake.notify_one(); // the next who waits, if nobody does
            wake.notify_waiters();
        }
        self.set_timer(&mut state, turn.due, runtime, client);
        turn.actions
    }

    fn set_timer(self: &Arc<Self>, state: &mut State, due: Option<Duration>, runtime: &Runtime, client: &Client) {
        let Some(due) = due else { return };
        if let Some((armed, timer)) = &state.timer {
            if *armed <= due && !timer.is_finished() {
                return;
            }
            timer.abort();
        }
        let (hub, client, at) = (self.clone(), client.clone(), self.start + due);
        let timer = runtime.spawn(async move {
            tokio::time::sleep_until(at).await;
            hub.lock().timer = None;
            hub.act(&client);
        });
        state.timer = Some((due, timer.abort_handle()));
    }

    /// Does this and what follows from it; a task of its own gets only what is done beside.
    async fn carry_out(self: Arc<Self>, client: Client, mut action: Action) {
        let runtime = Runtime::current();
        loop {
            self.do_one(&client, action).await;
            let mut actions = self.turn(&client, &runtime);
            let Some(next) = actions.pop() else { return };
            action = next;
            for beside in actions {
                self.begin(&client, &runtime, beside);
            }
        }
    }

    async fn do_one(&self, client: &Client, action: Action) {
        match action {
            Action::Ask(id, ask) => self.ask(client, id, ask).await,
            Action::Lookup { topic, stale } => {
                if stale {
                    client.stale(&topic);
                }
                let found = client.topic(&topic, self.deadline(client, Duration::ZERO)).await;
                let found = found.map(|found| found.map(|metadata| leaders(&metadata)));
                self.with(|core| core.found(self.now(), &topic, found));
            }
            Action::Offsets { id, broker, isolation, wants } => {
                let deadline = self.deadline(client, Duration::ZERO);
                let found = offsets::find(client, broker, isolation, &wants, deadline).await;
                self.with(|core| core.offsets(self.now(), id, found));
            }
        }
    }

    async fn ask(&self, client: &Client, id: AskId, ask: Ask) {
        let (to, hold, deadline) = (Target::Broker(ask.broker), ask.wait, self.deadline(client, ask.wait));
        let lane = if matches!(ask.kind, Kind::Poll | Kind::Next) { Lane::Poll } else { Lane::Main };
        let build = |version, wait| wire::request(&Ask { wait, ..ask }, version, client.config().rack());
        let answer = client.call_over::<FetchRequest>(to, lane, hold, deadline, build).await;
        let reply = answer.map(|(response, version)| wire::reply(response, version));
        self.with(|core| core.answer(self.now(), id, reply));
    }

    fn deadline(&self, client: &Client, wait: Duration) -> Instant {
        Instant::now() + wait + client.config().times().request
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leaders(topic: &TopicMetadata) -> Leaders {
    let led = topic.partitions.iter().map(|(partition, of)| (*partition, (of.leader.unwrap_or(-1), of.epoch)));
    Leaders { topic_id: topic.id.as_u128(), partitions: led.collect() }
}

/// How long a broker holds back an empty answer.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Bytes in one answer; a single batch may be bigger.
const RESPONSE_BYTES: usize = 16 << 20;
