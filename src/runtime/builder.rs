#[cfg(feature = "kafka")]
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use tracing::warn;

use super::clock::{Clock, SystemClock};
use super::node::{Node, Opening};
use super::node_files::{NodeFiles, OpenOptions};
use super::setup::{FileStore, Policy};
use crate::error::{Error, ErrorKind};
use crate::keys::{Ratchet, Signer};
#[cfg(feature = "kafka")]
use crate::store::config::KafkaUse;
use crate::store::config::NodeConfig;
use crate::transport::Transport;

/// What a node is opened with, beyond its files.
///
/// ```
/// use std::sync::Arc;
/// use kafkacrypto::runtime::Node;
/// use kafkacrypto::transport::memory::Broker;
/// let broker = Broker::new();
/// let node = Node::builder("nowhere.config").transport(Arc::new(broker.transport())).spawn();
/// assert!(node.unwrap_err().is_configuration());
/// ```
pub struct NodeBuilder {
    config: PathBuf,
    options: OpenOptions,
    policy: Policy,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    signers: Option<Vec<Arc<dyn Signer>>>,
    ratchet: Option<Arc<dyn Ratchet>>,
}

impl NodeBuilder {
    pub(super) fn new(config: &Path) -> Self {
        Self {
            config: config.into(),
            options: OpenOptions::default(),
            policy: Policy::default(),
            transport: None,
            clock: Arc::new(SystemClock),
            signers: None,
            ratchet: None,
        }
    }

    /// The way to the broker, for keys and for data. Without it, the config's Kafka settings are used.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Where the time comes from: the system, unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Signing keys that are not in the key file (an HSM's), in place of those that are. The chain of the first one is
    /// `chain0` of the config, and so on. They don't change the key index, which is made of the key file's own keys.
    #[must_use]
    pub fn signers(mut self, signers: Vec<Arc<dyn Signer>>) -> Self {
        let public = signers.iter().enumerate().map(|(slot, signer)| (slot, signer.public().clone()));
        self.policy.own_signers = Some(public.collect());
        self.signers = Some(signers);
        self
    }

    /// A ratchet that is not in the seed file.
    #[must_use]
    pub fn ratchet(mut self, ratchet: Arc<dyn Ratchet>) -> Self {
        self.ratchet = Some(ratchet);
        self
    }

    /// How far back requests are answered at the start; `crypto_reqs_lookback` of the config, unless set.
    #[must_use]
    pub fn history(mut self, history: Duration) -> Self {
        self.policy.history = Some(history);
        self
    }

    /// Takes key and seed files that others on this machine can read. Refused otherwise.
    #[must_use]
    pub fn permit_readable_files(mut self, permit: bool) -> Self {
        self.options = self.options.allow_readable_by_others(permit);
        self
    }

    /// Starts a node that has no chain, under the temporary root whose key everybody knows (protocol §8.4). Only nodes that
    /// still trust that root will have anything to do with it.
    #[must_use]
    pub fn allow_unprovisioned(mut self, allow: bool) -> Self {
        self.policy.allow_unprovisioned = allow;
        self
    }

    /// Takes part in post-quantum key exchanges only, on both sides: classical ones are neither offered nor answered nor
    /// accepted, and whoever tries is refused with that reason. `require_pq` of the config does the same; either is enough.
    #[must_use]
    pub fn require_pq(mut self, require: bool) -> Self {
        self.policy.require_pq = require;
        self
    }

    /// Asks for keys even where our own chain doesn't allow it, which can't succeed: to see how producers refuse.
    #[must_use]
    pub fn ask_unauthorised(mut self, ask: bool) -> Self {
        self.policy.ask_unauthorised = ask;
        self
    }

    /// Opens the node on the tokio runtime of the caller, whose tasks then do its work in the background.
    ///
    /// # Errors
    /// What is wrong with the files. The broker need not be there yet.
    pub async fn open(self) -> Result<Node, Error> {
        let opening = tokio::task::spawn_blocking(|| self.load()).await;
        let opening = opening.map_err(|_| Error::new(ErrorKind::Closed, "the tokio runtime is shutting down"))??;
        Node::start(opening).await
    }

    /// Opens the node with a background thread of its own, for programs without tokio.
    ///
    /// # Errors
    /// What is wrong with the files; that no thread could be started.
    pub fn spawn(self) -> Result<Node, Error> {
        Node::start_on_thread(self.load()?)
    }

    fn load(self) -> Result<Opening, Error> {
        let files = NodeFiles::open(&self.config, self.options, &mut UnwrapErr(SysRng))?;
        files.notices().iter().for_each(|notice| warn!("{notice}"));
        let config = files.config();
        let (keys, data) = match self.transport {
            Some(transport) => (transport.clone(), transport),
            None => from_config(config)?,
        };
        let key_file = files.signers().into_iter().map(|(slot, key)| (slot, key as Arc<dyn Signer>));
        let own = self.signers.map(|signers| signers.into_iter().enumerate().collect());
        Ok(Opening {
            node_id: config.node_id().to_owned(),
            settings: files.settings().clone(),
            signers: own.unwrap_or_else(|| key_file.collect()),
            ratchet: self.ratchet.unwrap_or_else(|| files.ratchet()),
            store: FileStore::new(files, self.policy),
            clock: self.clock,
            keys,
            data,
        })
    }
}

/// For keys, and for data.
type Ways = (Arc<dyn Transport>, Arc<dyn Transport>);

/// The ways to the broker that a config names.
#[cfg(feature = "kafka")]
fn from_config(config: &NodeConfig) -> Result<Ways, Error> {
    use crate::transport::kafka::Kafka;
    let wrong = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Configuration, error);
    let way = |crypto| {
        let mut settings = config.kafka(KafkaUse::Producer, crypto).map_err(|error| wrong(&error))?;
        settings.extend(config.kafka(KafkaUse::Consumer, crypto).map_err(|error| wrong(&error))?);
        let (kafka, warnings) = Kafka::from_settings(&settings).map_err(|error| wrong(&error))?;
        Ok::<_, Error>((Arc::new(kafka), warnings))
    };
    for section in ["kafka-crypto", "kafka-crypto-consumer"] {
        let reset = config.text(section, "auto_offset_reset").map_err(|error| wrong(&error))?;
        if let Some(reset) = reset.filter(|reset| !reset.eq_ignore_ascii_case("earliest")) {
            warn!("auto_offset_reset {reset:?} of {section} is ignored: key topics are read on from what is there");
        }
    }
    // never one for both: the node's may live on another runtime than the caller's
    let ((keys, of_keys), (data, of_data)) = (way(true)?, way(false)?);
    of_keys.into_iter().chain(of_data).collect::<BTreeSet<_>>().iter().for_each(|warning| warn!("{warning}"));
    Ok((keys, data))
}

#[cfg(not(feature = "kafka"))]
fn from_config(_config: &NodeConfig) -> Result<Ways, Error> {
    let text =
        "this program was built without a Kafka client; hand in a transport, or build it with the feature `kafka`";
    Err(Error::new(ErrorKind::Usage, text))
}
