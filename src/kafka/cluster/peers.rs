//! The brokers that we know, each with its two connections, and one more for each member of a group that joins while
//! another one of the same client is kept waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::link::Link;
use super::metadata::BrokerInfo;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::connection::Connection;
use crate::kafka::net::dial::Dialer;

/// Which of the two connections to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kafka) enum Lane {
    /// For everything that is answered at once.
    Main,
    /// For what the broker holds back: joining a group. Also for long fetches, see [`Client::poll`](super::Client::poll).
    Poll,
    /// The connection of [`Poll`](Self::Poll), for what is answered at once, as long as nothing is held back there.
    Spare,
}

/// A broker.
pub(in crate::kafka) struct Peer {
    address: String,
    main: Arc<Link>,
    poll: Arc<Link>,
    beside: Mutex<Vec<Beside>>,
    quiet_until: Mutex<Option<Instant>>,
    polls: Mutex<Polls>,
    /// Nothing is lent any more or polls, perhaps.
    returned: Notify,
}

/// A connection for what would wait behind what is held back for long.
struct Beside {
    link: Arc<Link>,
    used: bool,
}

/// Who uses the connection of [`Lane::Poll`].
#[derive(Default)]
struct Polls {
    /// Requests that are held back for a short time.
    now: usize,
    /// One that is held back for long.
    held: bool,
    last: Option<Instant>,
    /// Requests over [`Lane::Spare`].
    lent: usize,
}

impl Polls {
    fn has_spare(&self) -> bool {
        self.now == 0 && !self.held && self.last.is_none_or(|last| last.elapsed() >= POLLS_AGAIN)
    }
}

/// A request that the broker may hold back for a short time.
pub(super) struct Polling<'a>(&'a Peer);

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let mut polls = lock(&self.0.polls);
        polls.now = polls.now.saturating_sub(1);
        polls.last = Some(Instant::now());
        self.0.returned.notify_waiters();
    }
}

/// A request that the broker may hold back for long.
pub(super) enum Held<'a> {
    /// Over [`Lane::Poll`].
    There(&'a Peer),
    Beside(&'a Peer, Arc<Link>),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        match self {
            Self::There(peer) => {
                let mut polls = lock(&peer.polls);
                polls.held = false;
                polls.last = Some(Instant::now());
            }
            Self::Beside(peer, link) => {
                let mut beside = lock(&peer.beside);
                beside.iter_mut().filter(|one| Arc::ptr_eq(&one.link, link)).for_each(|one| one.used = false);
            }
        }
    }
}

/// A request over [`Lane::Spare`].
pub(super) struct Lent<'a>(&'a Peer);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut polls = lock(&self.0.polls);
        polls.lent = polls.lent.saturating_sub(1);
        self.0.returned.notify_waiters();
    }
}

/// All brokers.
pub(in crate::kafka) struct Peers {
    seeds: Vec<Arc<Peer>>,
    known: Mutex<BTreeMap<i32, Arc<Peer>>>,
    dialer: Arc<Dialer>,
}

impl Peer {
    fn new(address: &str, dialer: &Arc<Dialer>) -> Arc<Self> {
        Arc::new(Self {
            address: address.to_owned(),
            main: Link::new(address, dialer),
            poll: Link::new(address, dialer),
            beside: Mutex::default(),
            quiet_until: Mutex::new(None),
            polls: Mutex::default(),
            returned: Notify::new(),
        })
    }

    pub(in crate::kafka) fn address(&self) -> &str {
        &self.address
    }

    /// A connection, within the deadline.
    pub(in crate::kafka) async fn connection(&self, lane: Lane, deadline: Instant) -> Result<Connection, Error> {
        self.be_quiet(deadline).await?;
        let link = match lane {
            Lane::Main => &self.main,
            Lane::Poll | Lane::Spare => &self.poll,
        };
        link.connection(deadline).await
    }

    /// From now on and until some time after the end of what this returns, nothing else begins to use [`Lane::Poll`]; it
    /// waits for what does. `None` as long as something is held back there for long.
    pub(super) async fn polling(&self, deadline: Instant) -> Option<Polling<'_>> {
        let blocked = self.is_blocked();
        {
            let mut polls = lock(&self.polls);
            if polls.held || blocked {
                return None;
            }
            polls.now += 1;
        }
        let polling = Polling(self);
        self.settled(|polls| polls.lent == 0, deadline).await;
        Some(polling)
    }

    /// The same for what is held back for long: nobody polls there, either. It gets another connection as long as it would
    /// wait behind such a one, which may well wait for just this: another member of the same group.
    pub(super) async fn holding(&self, dialer: &Arc<Dialer>, deadline: Instant) -> Held<'_> {
        let blocked = self.is_blocked();
        if blocked || std::mem::replace(&mut lock(&self.polls).held, true) {
            return Held::Beside(self, self.link_beside(dialer));
        }
        let held = Held::There(self);
        self.settled(|polls| polls.lent == 0 && polls.now == 0, deadline).await;
        held
    }

    async fn settled(&self, is_settled: impl Fn(&Polls) -> bool, deadline: Instant) {
        loop {
            let mut returned = std::pin::pin!(self.returned.notified());
            returned.as_mut().enable();
            if is_settled(&lock(&self.polls)) || timeout_at(deadline, returned).await.is_err() {
                return;
            }
        }
    }

    fn link_beside(&self, dialer: &Arc<Dialer>) -> Arc<Link> {
        let mut beside = lock(&self.beside);
        let is_free = |one: &&mut Beside| !one.used && !is_blocked(&one.link);
        if let Some(free) = beside.iter_mut().find(is_free) {
            free.used = true;
            return free.link.clone();
        }
        let link = Link::new(&self.address, dialer);
        beside.push(Beside { link: link.clone(), used: true });
        link
    }

    /// Whether [`Lane::Spare`] may be used.
    pub(super) fn has_spare(&self) -> bool {
        lock(&self.polls).has_spare() && !self.is_blocked()
    }

    /// [`Lane::Spare`], if it may be used.
    pub(super) fn lend(&self) -> Option<Lent<'_>> {
        let blocked = self.is_blocked();
        let mut polls = lock(&self.polls);
        (polls.has_spare() && !blocked).then(|| {
            polls.lent += 1;
            Lent(self)
        })
    }

    /// Whether the broker still holds back what a poll has given up.
    fn is_blocked(&self) -> bool {
        is_blocked(&self.poll)
    }

    /// The broker wants no requests for a while.
    pub(in crate::kafka) fn throttled(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut quiet = lock(&self.quiet_until);
        *quiet = Some(quiet.map_or(until, |old| old.max(until)));
        tracing::debug!(address = self.address, ?time, "the broker throttles us");
    }

    async fn be_quiet(&self, deadline: Instant) -> Result<(), Error> {
        loop {
            let until = *lock(&self.quiet_until);
            let Some(until) = until.filter(|until| *until > Instant::now()) else { return Ok(()) };
            if until > deadline {
                let what =
                    format!("{} has a quota and wants no requests for longer than the call may take", self.address);
                return Err(Error::new(ErrorKind::TimedOut, what).unsent());
            }
            sleep_until(until).await;
        }
    }

    fn close(&self) -> impl Iterator<Item = Connection> {
        let beside = lock(&self.beside).drain(..).filter_map(|one| one.link.close()).collect::<Vec<_>>();
        [self.main.close(), self.poll.close()].into_iter().flatten().chain(beside)
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
        all.sort_by_key(|peer| (peer.main.open().is_none(), peer.main.is_failing()));
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
                peer.close().for_each(drop);
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
                seed.close().for_each(drop);
            }
        }
    }

    /// Ends all connections; they answer what is under way first.
    pub(in crate::kafka) fn close(&self) -> Vec<Connection> {
        let known = std::mem::take(&mut *lock(&self.known));
        known.values().chain(&self.seeds).flat_map(|peer| peer.close()).collect()
    }
}

fn is_blocked(link: &Link) -> bool {
    link.open().is_some_and(|connection| connection.is_blocked())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has polled so lately will again.
const POLLS_AGAIN: Duration = Duration::from_secs(2);
