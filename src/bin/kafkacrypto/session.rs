#[cfg(feature = "kafka")]
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kafkacrypto::chain::{self, Ask, ChainError, TrustLists, Usage};
use kafkacrypto::error::Error;
#[cfg(feature = "kafka")]
use kafkacrypto::kafka::{Client, Settings};
use kafkacrypto::runtime::{List, Node, NodeFiles, OpenOptions};
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::topic::Root;
use kafkacrypto::transport::{Transport, TransportError};

use crate::clock;
use crate::failure::Failure;
use crate::kcat;

/// Which node a command works as.
#[derive(Args)]
pub(crate) struct NodeArgs {
    /// The node's config
    #[arg(short, long, value_name = "NODE.config")]
    node: Option<PathBuf>,
    /// Kafka brokers, separated by commas [default: those in the config]
    #[arg(short, long, value_name = "HOST:PORT,…")]
    bootstrap: Option<String>,
    /// A Kafka setting, over what the config says: kafka-python's names, or librdkafka's
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = kcat::setting)]
    settings: Vec<(String, String)>,
    /// Take a key file and a seed file that others on this machine can read
    #[arg(long)]
    allow_readable_by_others: bool,
}

/// What the node's own chains allow it for a root.
pub(crate) struct Allowed {
    lists: TrustLists,
    chains: Vec<Vec<u8>>,
    separator: String,
}

impl NodeArgs {
    /// Opens the node, in the background of this runtime.
    pub(crate) async fn open(&self) -> Result<(Node, Allowed), Failure> {
        let opened = self.open_with(&[]).await?;
        Ok((opened.node, opened.allowed))
    }

    /// The same with more Kafka settings.
    pub(crate) async fn open_with(&self, more: &[(&str, &str)]) -> Result<Opened, Failure> {
        let config = self.node.as_ref().ok_or_else(|| Failure::usage("give the node's config: -n NODE.config"))?;
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let options = OpenOptions::default().allow_readable_by_others(self.allow_readable_by_others);
        let files = NodeFiles::open(config, options, &mut rng).map_err(Error::from)?;
        let allowed = Allowed::of(&files);
        let mut builder = Node::builder(config).permit_readable_files(self.allow_readable_by_others);
        let mut cluster = None;
        if self.bootstrap.is_some() || !self.settings.is_empty() || !more.is_empty() {
            let chosen = self.cluster(Some(files.config()), more)?;
            chosen.warn(more.iter().any(|(name, _)| *name == "group_id"));
            builder = builder.transport(chosen.transport()?);
            cluster = Some(chosen);
        }
        drop(files);
        Ok(Opened { node: builder.open().await?, allowed, cluster })
    }

    /// Whether a setting of the command line names a consumer group.
    pub(crate) fn names_group(&self) -> bool {
        self.settings.iter().any(|(name, _)| matches!(name.as_str(), "group.id" | "group_id"))
    }

    /// The cluster alone: that of the command line, else that of the config. No node works for it.
    #[cfg(feature = "kafka")]
    pub(crate) fn cluster_alone(&self) -> Result<Cluster, Failure> {
        let config = match &self.node {
            Some(path) => Some(read_config(path)?),
            None => None,
        };
        let cluster = self.cluster(config.as_ref(), &[])?;
        cluster.warn(true);
        Ok(cluster)
    }

    #[cfg(feature = "kafka")]
    fn cluster(&self, config: Option<&NodeConfig>, more: &[(&str, &str)]) -> Result<Cluster, Failure> {
        use kafkacrypto::store::config::KafkaUse;
        let mut settings = Settings::default();
        for usage in [KafkaUse::Producer, KafkaUse::Consumer] {
            for (name, value) in config
                .map(|config| config.kafka(usage, false))
                .transpose()
                .map_err(Failure::configuration)?
                .unwrap_or_default()
            {
                settings.set(&name, &value).map_err(Failure::configuration)?;
            }
        }
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let servers = self.bootstrap.iter().map(|servers| ("bootstrap_servers", servers.as_str()));
        for (name, value) in servers.chain(given).chain(more.iter().copied()) {
            settings.set(name, value).map_err(Failure::usage)?;
        }
        let client = Client::new(settings.client().map_err(Failure::configuration)?).map_err(Failure::configuration)?;
        Ok(Cluster { client, settings })
    }

    #[cfg(not(feature = "kafka"))]
    fn cluster(&self, _config: Option<&NodeConfig>, _more: &[(&str, &str)]) -> Result<Cluster, Failure> {
        Err(Failure::usage(NO_KAFKA))
    }
}

/// A node that works, and the cluster that it works with if the command line had a say in that.
pub(crate) struct Opened {
    pub(crate) node: Node,
    pub(crate) allowed: Allowed,
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "there is none"))]
    pub(crate) cluster: Option<Cluster>,
}

/// A Kafka cluster, as the command line and the config describe it.
pub(crate) struct Cluster {
    #[cfg(feature = "kafka")]
    pub(crate) client: Client,
    #[cfg(feature = "kafka")]
    pub(crate) settings: Settings,
}

impl Cluster {
    /// Says what is ignored, by members of groups or by others.
    #[cfg(feature = "kafka")]
    fn warn(&self, grouped: bool) {
        let alone = if grouped { Vec::new() } else { self.settings.without_group() };
        let warnings: BTreeSet<_> = self.settings.warnings().iter().chain(&alone).collect();
        warnings.iter().for_each(|warning| eprintln!("kafkacrypto: {warning}"));
    }

    #[cfg(feature = "kafka")]
    fn transport(&self) -> Result<Arc<dyn Transport>, Failure> {
        let kafka = kafkacrypto::transport::kafka::Kafka::set_by(&self.client, &self.settings);
        Ok(Arc::new(kafka.map_err(Failure::configuration)?))
    }

    #[cfg(not(feature = "kafka"))]
    fn warn(&self, _grouped: bool) {}

    #[cfg(not(feature = "kafka"))]
    fn transport(&self) -> Result<Arc<dyn Transport>, Failure> {
        Err(Failure::usage(NO_KAFKA))
    }
}

/// A config to look at; nothing of the node is opened.
#[cfg(feature = "kafka")]
fn read_config(path: &std::path::Path) -> Result<NodeConfig, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::configuration(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    NodeConfig::parse(&text).map_err(|error| unreadable(&error))
}

impl Allowed {
    fn of(files: &NodeFiles) -> Self {
        let (allow, deny) = (files.listed(List::Allow), files.listed(List::Deny));
        let (lists, _) = TrustLists::new(allow.iter().map(Vec::as_slice), deny.iter().map(Vec::as_slice));
        let chains = files.chains().into_iter().map(|(_, chain)| chain).collect();
        Self { lists, chains, separator: files.settings().topic_separator.clone() }
    }

    /// Why the chains certainly don't allow any of these usages for a topic.
    pub(crate) fn why_not(&self, topic: &str, usages: &[Usage]) -> Result<Option<String>, Failure> {
        let root = Root::new(topic.split(self.separator.as_str()).next().unwrap_or(topic));
        let now = clock::now()?;
        let mut why = None;
        for chain in &self.chains {
            for usage in usages {
                let ask = Ask { topic: Some(root.as_str()), usage: Some(*usage) };
                match chain::verify(chain, ask, &self.lists, now).map_err(|rejected| rejected.reason) {
                    Err(reason @ (ChainError::TopicNotAllowed { .. } | ChainError::UsageNotAllowed { .. })) => {
                        why = Some(format!("{reason}; have the node provisioned for it"));
                    }
                    // What else is wrong may be mended while the node runs, and it warns by itself.
                    _ => return Ok(None),
                }
            }
        }
        Ok(why)
    }
}

/// Runs a command on a runtime of its own.
pub(crate) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let failed = |error| Failure::new(Failure::FAILED, format!("no threads could be started ({error}); try again"));
    let runtime = runtime.map_err(failed)?;
    let result = runtime.block_on(work);
    // A thread may still wait for input that never comes.
    runtime.shutdown_background();
    result
}

/// Returns when the program is asked to stop.
pub(crate) async fn stopped() {
    let interrupted = async { tokio::signal::ctrl_c().await.is_ok() };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    interrupted.await;
}

/// The exit code and the sentence for a broker's refusal.
pub(crate) fn broker(error: &TransportError) -> Failure {
    Failure::new(Failure::BROKER, error)
}

/// The way to a broker by its address alone, in the clear.
#[cfg(feature = "kafka")]
pub(crate) fn plain(servers: &str) -> Result<Arc<dyn Transport>, Failure> {
    use kafkacrypto::{kafka::Config, transport::kafka::Kafka};
    Ok(Arc::new(Kafka::lazy(Config::new(servers.split(','))).map_err(Failure::configuration)?))
}

#[cfg(not(feature = "kafka"))]
pub(crate) fn plain(_servers: &str) -> Result<Arc<dyn Transport>, Failure> {
    Err(Failure::usage(NO_KAFKA))
}

#[cfg(not(feature = "kafka"))]
pub(crate) const NO_KAFKA: &str = "this program was built without a Kafka client; build it with the feature `kafka`";
/// How long a broker may take to show that it is there.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
