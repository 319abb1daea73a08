//! The brokers that we know, each with its connections. [`Lanes`] decides which request goes over which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::protocol::Request;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::lanes::{Lane, Lanes, Pass, Road};
use super::link::Link;
use super::metadata::BrokerInfo;
use super::throttle::Throttled;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::connection::Connection;
use crate::kafka::net::dial::Dialer;
use crate::kafka::protocol::Body;

/// A broker.
pub(in crate::kafka) struct Peer {
    pub(super) address: String,
    lanes: Mutex<Lanes<Arc<Link>>>,
    /// A request over one of the lanes was answered or given up.
    left: Notify,
}

/// The way for one request to a broker, over which it may go now.
pub(in crate::kafka) struct Way {
    peer: Arc<Peer>,
    pass: Pass,
    connection: Connection,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.peer.lanes().leave(self.pass, now());
        self.peer.left.notify_waiters();
    }
}

/// All brokers.
pub(in crate::kafka) struct Peers {
    seeds: Vec<Arc<Peer>>,
    known: Mutex<BTreeMap<i32, Arc<Peer>>>,
    dialer: Arc<Dialer>,
}

impl Way {
    pub(super) fn address(&self) -> &str {
        &self.peer.address
    }

    /// How long the answer may be held back, of so long.
    pub(super) fn hold(&self, hold: Duration) -> Duration {
        self.pass.hold(hold)
    }

    /// The highest version of a request that both sides speak.
    pub(in crate::kafka) fn version<R: Request>(&self) -> Result<i16, Error> {
        self.connection.versions().pick::<R>()
    }

    /// Sends the request and waits for its answer, that the broker may hold back for `hold`.
    pub(in crate::kafka) async fn ask<B>(
        &self,
        request: &B,
        version: i16,
        hold: Duration,
        deadline: Instant,
    ) -> Result<<B::Request as Request>::Response, Error>
    where
        B: Body<Request: Request<Response: Throttled>>,
    {
        let response = self.connection.request(request, version, hold, deadline).await?;
        if let Some(time) = response.quiet() {
            self.peer.throttled(time);
        }
        Ok(response)
    }

    /// Sends a request that the broker doesn't answer: returns when it is written.
    pub(in crate::kafka) async fn post<B: Body>(
        &self,
        request: &B,
        version: i16,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.connection.post(request, version, deadline).await
    }

    /// Waits for its turn, until the deadline.
    async fn turn(&self, deadline: Instant) {
        loop {
            let mut left = std::pin::pin!(self.peer.left.notified());
            left.as_mut().enable();
            if self.peer.lanes().may_go(self.pass) || timeout_at(deadline, left).await.is_err() {
                return;
            }
        }
    }
}

impl Peer {
    fn new(address: &str, dialer: &Arc<Dialer>) -> Arc<Self> {
        let lanes = Lanes::new(Link::new(address, dialer));
        Arc::new(Self { address: address.to_owned(), lanes: Mutex::new(lanes), left: Notify::new() })
    }

    /// A way for a request, within the deadline.
    pub(in crate::kafka) async fn way(self: Arc<Self>, lane: Lane, deadline: Instant) -> Result<Way, Error> {
        self.be_quiet(deadline).await?;
        let home = self.lanes().home(lane).clone();
        let connection = home.connection(deadline).await?;
        let entered = self.lanes().enter(lane, now());
        let (pass, link) = entered
            .ok_or_else(|| Error::new(ErrorKind::Disconnected, "the connection is needed for polling").unsent())?;
        let mut way = Way { peer: self, pass, connection };
        if !Arc::ptr_eq(&link, &home) {
            way.connection = link.connection(deadline).await?;
        }
        way.turn(deadline).await;
        Ok(way)
    }

    /// Whether [`Lane::Spare`] may be used.
    pub(super) fn has_spare(&self) -> bool {
        self.lanes().has_spare(now())
    }

    /// The broker wants no requests for a while.
    pub(in crate::kafka) fn throttled(&self, time: Duration) {
        self.lanes().throttled(now() + time);
        tracing::debug!(address = self.address, ?time, "the broker throttles us");
    }

    async fn be_quiet(&self, deadline: Instant) -> Result<(), Error> {
        loop {
            let until = self.lanes().quiet_until(now()).map(Instant::from);
            let Some(until) = until else { return Ok(()) };
            if until > deadline {
                let what =
                    format!("{} has a quota and wants no requests for longer than the call may take", self.address);
                return Err(Error::new(ErrorKind::TimedOut, what).unsent());
            }
            sleep_until(until).await;
        }
    }

    /// Its first connection.
    fn first(&self) -> Arc<Link> {
        self.lanes().first().clone()
    }

    fn close(&self) -> Vec<Connection> {
        self.lanes().all().filter_map(|link| link.close()).collect()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<Arc<Link>>> {
        lock(&self.lanes)
    }
}

impl Road for Arc<Link> {
    fn is_blocked(&self) -> bool {
        self.open().is_some_and(|connection| connection.is_blocked())
    }

    fn another(&self) -> Self {
        Link::another(self)
    }
}

impl Peers {
    pub(in crate::kafka) fn new(dialer: Arc<Dialer>) -> Self {
        let seeds = dialer.config().bootstrap().iter().map(|address| Peer::new(address, &dialer)).collect();
        Self { seeds, known: Mutex::default(), dialer }
    }

    pub(in crate::kafka) fn broker(&self, id: i32) -> Option<Arc<Peer>> {
        lock(&self.known).get(&id).cloned()
    }

    /// Brokers to ask what any broker knows, those first that we are connected to; the bootstrap addresses last.
    pub(in crate::kafka) fn any(&self) -> Vec<Arc<Peer>> {
        let mut all: Vec<_> = lock(&self.known).values().cloned().collect();
        for seed in &self.seeds {
            if !all.iter().any(|peer| peer.address == seed.address) {
                all.push(seed.clone());
            }
        }
        all.sort_by_key(|peer| {
            let first = peer.first();
            (first.open().is_none(), first.is_failing())
        });
        all
    }

    /// Follows what the cluster says of its brokers: new ones, gone ones, moved ones.
    pub(in crate::kafka) fn update(&self, brokers: &BTreeMap<i32, BrokerInfo>) {
        if brokers.is_empty() {
            return;
        }
        let mut known = lock(&self.known);
        known.retain(|id, peer| {
            let stays = brokers.get(id).is_some_and(|info| info.address == peer.address);
            if !stays {
                peer.close();
            }
            stays
        });
        for (id, info) in brokers {
            // The connection to a bootstrap address becomes the broker's when the broker is advertised there.
            let seed = || self.seeds.iter().find(|seed| seed.address == info.address).cloned();
            known.entry(*id).or_insert_with(|| seed().unwrap_or_else(|| Peer::new(&info.address, &self.dialer)));
        }
        for seed in &self.seeds {
            if !known.values().any(|peer| Arc::ptr_eq(peer, seed)) {
                seed.close();
            }
        }
    }

    /// Ends all connections; they answer what is under way first.
    pub(in crate::kafka) fn close(&self) -> Vec<Connection> {
        let known = std::mem::take(&mut *lock(&self.known));
        known.values().chain(&self.seeds).flat_map(|peer| peer.close()).collect()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
