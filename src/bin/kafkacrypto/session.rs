use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kafkacrypto::chain::{self, Ask, ChainError, TrustLists, Usage};
use kafkacrypto::error::Error;
use kafkacrypto::runtime::{List, Node, NodeFiles, OpenOptions};
use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::topic::Root;
use kafkacrypto::transport::{Transport, TransportError, TransportErrorKind};

use crate::clock;
use crate::failure::Failure;

/// Which node a command works as.
#[derive(Args)]
pub(crate) struct NodeArgs {
    /// The node's config
    #[arg(short, long, value_name = "NODE.config")]
    node: PathBuf,
    /// Kafka brokers, separated by commas [default: those in the config]
    #[arg(short, long, value_name = "HOST:PORT,…")]
    bootstrap: Option<String>,
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
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let options = OpenOptions::default().allow_readable_by_others(self.allow_readable_by_others);
        let files = NodeFiles::open(&self.node, options, &mut rng).map_err(Error::from)?;
        let allowed = Allowed::of(&files);
        let mut builder = Node::builder(&self.node).permit_readable_files(self.allow_readable_by_others);
        if let Some(servers) = &self.bootstrap {
            builder = builder.transport(transport(files.config(), servers)?);
        }
        drop(files);
        Ok((builder.open().await?, allowed))
    }
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
    let code = match error.kind() {
        TransportErrorKind::Unsupported => Failure::CONFIGURATION,
        _ => Failure::BROKER,
    };
    Failure::new(code, error)
}

/// A way to the brokers that the command line names, with everything else as the config has it.
#[cfg(feature = "kafka")]
fn transport(config: &NodeConfig, servers: &str) -> Result<Arc<dyn Transport>, Failure> {
    use kafkacrypto::store::config::KafkaUse;
    use kafkacrypto::transport::kafka::Kafka;
    let mut settings = config.kafka(KafkaUse::Producer, false).map_err(Failure::configuration)?;
    settings.extend(config.kafka(KafkaUse::Consumer, false).map_err(Failure::configuration)?);
    settings.insert("bootstrap_servers".to_owned(), servers.to_owned());
    let (kafka, _) = Kafka::from_settings(&settings).map_err(Failure::configuration)?;
    Ok(Arc::new(kafka))
}

#[cfg(not(feature = "kafka"))]
fn transport(_config: &NodeConfig, _servers: &str) -> Result<Arc<dyn Transport>, Failure> {
    Err(Failure::usage(NO_KAFKA))
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
const NO_KAFKA: &str = "this program was built without a Kafka client; build it with the feature `kafka`";
/// How long a broker may take to show that it is there.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
