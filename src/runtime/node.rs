use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use super::builder::NodeBuilder;
use super::clock::Clock;
use super::driver::Driver;
use super::event::Event;
use super::health::Health;
use super::machine::{Job, Machine, Parts};
use super::setup::{FileStore, naming};
use super::timer::TokioTimer;
use crate::error::{Error, ErrorKind};
use crate::keyring::Keyring;
use crate::keys::{Purpose, Ratchet, Signer};
use crate::serdes::{Deserializer, Serializer};
use crate::store::config::{KafkaUse, NodeSettings};
use crate::store::value::Value;
use crate::topic::Naming;
use crate::transport::Transport;

/// A running node: it answers requests for keys, asks for those that are missed, and makes serializers and deserializers.
///
/// Cheap to clone; the node ends with [`Node::close`], or when the last clone is dropped (then without waiting for what is
/// under way).
///
/// ```
/// use std::sync::Arc;
/// use kafkacrypto::runtime::{Node, NodeFiles, OpenOptions};
/// use kafkacrypto::transport::memory::Broker;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("n.config");
/// # let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// # drop(NodeFiles::open_or_create(&path, "n", OpenOptions::default(), &mut rng).unwrap());
/// let broker = Broker::new();
/// // `kafkacrypto provision` gives a node its chain; this one was never provisioned
/// let unprovisioned = Node::builder(&path).transport(Arc::new(broker.transport()));
/// assert!(unprovisioned.open().await.unwrap_err().is_configuration());
///
/// let builder = Node::builder(&path).transport(Arc::new(broker.transport())).allow_unprovisioned(true);
/// let node = builder.open().await.unwrap();
/// let sealed = node.value_serializer().serialize("lab.data", Some(b"42")).unwrap();
/// let message = node.value_deserializer().deserialize("lab.data", sealed.as_deref());
/// assert_eq!(message.cleartext().unwrap(), Some(&b"42"[..]));
///
/// node.store_value("app", "place", "attic").unwrap();
/// assert_eq!(node.load_value("app", "place").unwrap().unwrap().as_str(), Some("attic"));
/// assert!(node.health().running);
/// node.close().await;
/// assert!(node.load_value("app", "place").unwrap_err().is_closed());
/// # });
/// ```
#[doc(alias = "KafkaCrypto")]
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    node_id: String,
    settings: NodeSettings,
    naming: Arc<Naming>,
    keyring: Arc<Keyring>,
    driver: Arc<Driver>,
    store: FileStore,
    data: Arc<dyn Transport>,
    events: broadcast::Sender<Event>,
    stop: watch::Sender<bool>,
    restarts: Arc<AtomicU64>,
    background: Mutex<Option<Background>>,
}

/// What runs the node.
enum Background {
    Task(JoinHandle<()>),
    Thread(std::thread::JoinHandle<()>),
}

/// A node that was loaded and doesn't run yet.
pub(super) struct Opening {
    pub(super) node_id: String,
    pub(super) settings: NodeSettings,
    pub(super) store: FileStore,
    pub(super) signers: BTreeMap<usize, Arc<dyn Signer>>,
    pub(super) ratchet: Arc<dyn Ratchet>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: Arc<dyn Transport>,
    pub(super) data: Arc<dyn Transport>,
}

impl Node {
    /// How to open a node otherwise than its files alone say.
    #[must_use]
    pub fn builder(config: impl AsRef<Path>) -> NodeBuilder {
        NodeBuilder::new(config.as_ref())
    }

    /// Opens the node of a `.config`, on the tokio runtime of the caller.
    ///
    /// # Errors
    /// What is wrong with the files. The broker need not be there yet.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let error = kafkacrypto::runtime::Node::open("nowhere.config").await.unwrap_err();
    /// assert!(error.is_configuration());
    /// # });
    /// ```
    pub async fn open(config: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(config).open().await
    }

    /// Opens the node of a `.config` with a background thread of its own, for programs without tokio.
    ///
    /// # Errors
    /// What is wrong with the files; that no thread could be started.
    ///
    /// ```
    /// assert!(kafkacrypto::runtime::Node::spawn("nowhere.config").unwrap_err().is_configuration());
    /// ```
    pub fn spawn(config: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(config).spawn()
    }

    /// Encrypts record keys.
    #[doc(alias = "getKeySerializer")]
    #[must_use]
    pub fn key_serializer(&self) -> Serializer {
        self.serializer(Purpose::Key)
    }

    /// Encrypts record values.
    #[doc(alias = "getValueSerializer")]
    #[must_use]
    pub fn value_serializer(&self) -> Serializer {
        self.serializer(Purpose::Value)
    }

    /// Decrypts record keys.
    #[doc(alias = "getKeyDeserializer")]
    #[must_use]
    pub fn key_deserializer(&self) -> Deserializer {
        self.deserializer(Purpose::Key)
    }

    /// Decrypts record values.
    #[doc(alias = "getValueDeserializer")]
    #[must_use]
    pub fn value_deserializer(&self) -> Deserializer {
        self.deserializer(Purpose::Value)
    }

    /// The way to the broker for data.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.0.data.clone()
    }

    /// The node's name.
    #[must_use]
    pub fn node_id(&self) -> &str {
        &self.0.node_id
    }

    /// What the config sets.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.0.settings
    }

    /// How topics are named.
    #[must_use]
    pub fn naming(&self) -> &Arc<Naming> {
        &self.0.naming
    }

    /// What happens from now on; a listener that falls behind by more than 1024 events misses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// How the node is.
    #[must_use]
    pub fn health(&self) -> Health {
        let machine = &self.0.driver.machine;
        Health {
            running: !*self.0.stop.borrow() && self.is_running(),
            exchanging: machine.is_exchanging(),
            restarts: self.0.restarts.load(Ordering::Relaxed),
            chain_expires: machine.chain_expires(),
            exchange: machine.counters(),
            messages: self.0.keyring.counters(),
        }
    }

    /// The config's Kafka settings for a use, in kafka-python's names, for programs with a client of their own; `crypto` for
    /// those of the key topics (protocol §12.1).
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], [`ErrorKind::Closed`].
    #[doc(alias = "get_kafka_config")]
    pub fn kafka_settings(&self, usage: KafkaUse, crypto: bool) -> Result<BTreeMap<String, String>, Error> {
        let failed = |error| Error::new(ErrorKind::Configuration, error);
        self.0.store.with(|files| files.config().kafka(usage, crypto).map_err(failed))
    }

    /// A value that the application keeps in the config, in section `<node>-<section>`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], [`ErrorKind::Closed`].
    pub fn load_value(&self, section: &str, name: &str) -> Result<Option<Value>, Error> {
        let failed = |error| Error::new(ErrorKind::Configuration, error);
        self.0.store.with(|files| files.config().get(section, name).map_err(failed))
    }

    /// Keeps a value of the application in the config, durably. Blocks while the file is written.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], [`ErrorKind::Permission`], [`ErrorKind::Closed`].
    pub fn store_value(&self, section: &str, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        self.0.store.with(|files| {
            let mut config = files.config().clone();
            config.set(section, name, value).map_err(|error| Error::new(ErrorKind::Configuration, error))?;
            Ok(files.save(config)?)
        })
    }

    /// Sends what is under way, for at most `mgmt_flush_time`, stops the background and lets go of the files.
    pub async fn close(&self) {
        self.0.driver.flush(self.0.settings.mgmt_flush_time).await;
        self.0.halt();
        match self.0.take_background() {
            Some(Background::Task(task)) => drop(task.await),
            Some(Background::Thread(thread)) => {
                drop(tokio::task::spawn_blocking(move || thread.join()).await);
            }
            None => {}
        }
        self.0.release();
    }

    /// [`Node::close`] for programs without tokio.
    pub fn close_blocking(&self) {
        let end = std::time::Instant::now() + self.0.settings.mgmt_flush_time;
        while self.0.driver.busy.load(Ordering::Acquire) > 0 && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.0.halt();
        match self.0.take_background() {
            Some(Background::Thread(thread)) => drop(thread.join()),
            Some(Background::Task(task)) => task.abort(),
            None => {}
        }
        self.0.release();
    }

    pub(super) async fn start(opening: Opening) -> Result<Self, Error> {
        let timer = TokioTimer(tokio::runtime::Handle::current());
        let (node, run) = tokio::task::spawn_blocking(|| Self::assemble(opening, timer))
            .await
            .map_err(|_| Error::new(ErrorKind::Closed, "the tokio runtime is shutting down"))??;
        node.set_background(Background::Task(tokio::spawn(run.supervise())));
        Ok(node)
    }

    pub(super) fn start_on_thread(opening: Opening) -> Result<Self, Error> {
        let failed =
            |error: std::io::Error| Error::new(ErrorKind::Closed, format!("no thread could be started: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (node, run) = Self::assemble(opening, TokioTimer(runtime.handle().clone()))?;
        let work = move || runtime.block_on(run.supervise());
        let thread = std::thread::Builder::new().name("kafkacrypto".into()).spawn(work).map_err(failed)?;
        node.set_background(Background::Thread(thread));
        Ok(node)
    }

    fn assemble(opening: Opening, timer: TokioTimer) -> Result<(Self, Run), Error> {
        let Opening { node_id, settings, store, signers, ratchet, clock, keys, data } = opening;
        let keyring = Arc::new(Keyring::new());
        let wake = Arc::new(Notify::new());
        let (jobs, queue) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(EVENTS);
        let naming = naming(&settings);
        let machine = Machine::start(Parts {
            store: Box::new(store.clone()),
            keyring: keyring.clone(),
            clock,
            signers,
            ratchet: Some(ratchet),
            jobs,
            events: events.clone(),
            wake: wake.clone(),
        })?;
        let waker = wake.clone();
        keyring.set_waker(move || waker.notify_one());
        keyring.set_timer(Arc::new(timer));
        let driver = Arc::new(Driver {
            machine: Arc::new(machine),
            transport: keys,
            naming: naming.clone(),
            wake,
            busy: AtomicUsize::new(0),
            signing: Arc::new(Semaphore::new(signing_at_once())),
            wanted: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let restarts = Arc::new(AtomicU64::new(0));
        let run = Run { driver: driver.clone(), queue, stopped, restarts: restarts.clone(), keyring: keyring.clone() };
        let naming = Arc::new(naming);
        let background = Mutex::new(None);
        let inner =
            Inner { node_id, settings, naming, keyring, driver, store, data, events, stop, restarts, background };
        Ok((Self(Arc::new(inner)), run))
    }

    fn serializer(&self, purpose: Purpose) -> Serializer {
        let Inner { keyring, naming, driver, .. } = &*self.0;
        Serializer::new(keyring.clone(), naming.clone(), driver.machine.clone(), purpose)
    }

    fn deserializer(&self, purpose: Purpose) -> Deserializer {
        Deserializer::new(self.0.keyring.clone(), self.0.naming.clone(), purpose)
    }

    fn is_running(&self) -> bool {
        match &*self.0.background.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Background::Task(task)) => !task.is_finished(),
            Some(Background::Thread(thread)) => !thread.is_finished(),
            None => false,
        }
    }

    fn set_background(&self, background: Background) {
        *self.0.background.lock().unwrap_or_else(PoisonError::into_inner) = Some(background);
    }
}

impl Inner {
    fn halt(&self) {
        self.keyring.set_halted(Some(CLOSED));
        self.stop.send_replace(true);
    }

    /// Files are free for others once the background has ended; serializers that live on go on under secrets they have.
    fn release(&self) {
        self.driver.machine.close();
        self.store.close();
    }

    fn take_background(&self) -> Option<Background> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.halt();
        self.release();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("node_id", &self.0.node_id).finish_non_exhaustive()
    }
}

/// The background of a node, and what starts it again when it fails.
struct Run {
    driver: Arc<Driver>,
    queue: mpsc::UnboundedReceiver<Job>,
    stopped: watch::Receiver<bool>,
    restarts: Arc<AtomicU64>,
    keyring: Arc<Keyring>,
}

impl Run {
    /// Runs the driver until the node is closed. A panic in it (a transport's, say) is reported and counted, waits end
    /// with the reason, and after a pause it starts again, with an engine that was built anew from the files.
    async fn supervise(self) {
        let Self { driver, queue, mut stopped, restarts, keyring } = self;
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        let mut pause = RESTART_AFTER;
        loop {
            let started = tokio::time::Instant::now();
            let (running, jobs) = (driver.clone(), queue.clone());
            let mut task = tokio::spawn(async move { running.run(&mut *jobs.lock().await).await });
            let ended = tokio::select! {
                ended = &mut task => ended,
                () = until_stopped(&mut stopped) => {
                    task.abort();
                    // what ended it is known
                    let _ = task.await;
                    return keyring.set_halted(Some(CLOSED));
                }
            };
            pause = if started.elapsed() > STEADY { RESTART_AFTER } else { pause };
            let Err(failed) = ended else { continue };
            let why = panic_text(failed);
            restarts.fetch_add(1, Ordering::Relaxed);
            keyring.set_halted(Some(&format!("the node's background task failed ({why}) and is being started again")));
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(STEADY),
                () = until_stopped(&mut stopped) => return keyring.set_halted(Some(CLOSED)),
            }
            keyring.set_halted(None);
            let machine = driver.machine.clone();
            // the engine may not panic here either; if it does, the next round says so
            let _ = tokio::task::spawn_blocking(move || machine.restart(&why)).await;
        }
    }
}

/// Ends when the node is closed, or its last handle is gone.
async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await.map(drop);
}

fn panic_text(failed: tokio::task::JoinError) -> String {
    let Ok(panic) = failed.try_into_panic() else { return "it was cancelled".into() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// Events that a listener may be behind.
const EVENTS: usize = 1024;

/// Signatures that are made at once: one of type 4 takes tens of milliseconds of a core, and one core is left to others.
fn signing_at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1).clamp(1, MAX_SIGNERS)
}

/// Signatures that are made at once, at most.
const MAX_SIGNERS: usize = 4;

/// How long until a background that failed is started again, for the first time; then twice as long each time.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// How long a background has run that doesn't fail all the time; and the longest pause until it is started again.
const STEADY: Duration = Duration::from_secs(60);

/// Why nothing is fetched any more.
const CLOSED: &str = "the node was closed";
