use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use kafkacrypto::client::{
    Consumer, ConsumerOptions, ConsumerRecord, Producer, ProducerOptions, ProducerRecord, Start,
};
use kafkacrypto::error::Error;
use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::{Scheme, SigningType};
use kafkacrypto::message::State;
use kafkacrypto::provision::{Authority, NodePlan, NodeRole, Topics};
use kafkacrypto::runtime::{Event, Node, NodeFiles, OpenOptions};
use kafkacrypto::transport::memory::Broker;
use kafkacrypto::transport::{FetchFrom, Transport};
use serde_json::json;
use tokio::sync::broadcast::Receiver;

use crate::failure::Failure;
use crate::{clock, output, session};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DemoArgs {
    /// A Kafka broker to do it on (PLAINTEXT) [default: one within this program]
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Post-quantum throughout: signing keys of type 4, key exchange 5 alone, and nodes that refuse anything else
    #[arg(long)]
    pq: bool,
    /// Tell what was seen as JSON
    #[arg(long)]
    json: bool,
}

/// What was seen.
struct Seen {
    stored: Vec<u8>,
    exchange: Duration,
    scheme: Option<Scheme>,
    cleartext: String,
    refusal: String,
}

impl DemoArgs {
    /// The types of the nodes' signing keys.
    fn key_types(&self) -> &'static [SigningType] {
        if self.pq { &[SigningType::Ed25519SlhDsa] } else { &[SigningType::Ed25519] }
    }
}

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let started = Instant::now();
    session::block_on(async {
        let seen = tokio::select! {
            seen = tokio::time::timeout(PATIENCE, show(args)) => seen,
            () = session::stopped() => return Err(failed("stopped")),
        };
        let seen =
            seen.map_err(|_| failed("it took too long; try again when the machine or the broker is less busy"))??;
        end(args, &seen, started.elapsed())
    })
}

/// The main job, step by step.
async fn show(args: &DemoArgs) -> Result<Seen, Failure> {
    let say = |text: &str| if args.json { Ok(()) } else { output::line(text) };
    let scene = Scene::set(args)?;
    let (root, topic) = (&scene.root, &scene.topic);
    say(&format!("kafkacrypto: one producer, two consumers, and {}\n", scene.place))?;
    let (meter, office, guest) = scene.provision().await?;
    say("1  Three nodes get a key and a certificate each, from one root of trust")?;
    if args.pq {
        say("     all keys sign with Ed25519 and SLH-DSA (type 4)")?;
    }
    say(&format!("     meter   may produce to   {root}"))?;
    say(&format!("     office  may consume from {root}"))?;
    say(&format!("     guest   may consume from {root}-lobby only\n"))?;

    let meter = scene.open(meter, false).await?;
    let refusals = meter.events();
    let producer = Producer::of(&meter, ProducerOptions::new());
    let record = ProducerRecord::new(topic.as_str()).key("kitchen").value(READING);
    producer.send(record).await.map_err(Error::from)?;
    let stored = scene.stored().await?;
    say(&format!("2  meter sends a reading to {topic}:  {READING}"))?;
    say(&format!("   The broker has {} bytes that tell it nothing:", stored.len()))?;
    lines_of_hex(&stored).iter().try_for_each(|line| say(line))?;

    let office = scene.open(office, false).await?;
    let (cleartext, exchange, scheme) = read(&office, topic).await?;
    say("\n3  office reads it, asks meter for the key, and gets it")?;
    if let Some(scheme) = scheme {
        say(&format!("   The two agreed on a secret by {scheme}"))?;
    }
    say(&format!("   {:.1} ms from ciphertext to cleartext:  {cleartext}\n", millis(exchange)))?;

    let guest = scene.open(guest, true).await?;
    let refusal = be_refused(&guest, topic, &scene.reqs(), refusals).await?;
    say("4  guest reads it too, and asks meter for the key")?;
    say(&format!("   meter refuses: {refusal}"))?;
    say("   guest still has only the ciphertext\n")?;
    for node in [office, guest, meter] {
        node.close().await;
    }
    Ok(Seen { stored, exchange, scheme, cleartext, refusal })
}

fn end(args: &DemoArgs, seen: &Seen, took: Duration) -> Result<(), Failure> {
    if seen.cleartext != READING {
        return Err(failed("office decrypted something else than meter had sent"));
    }
    if args.pq && !seen.scheme.is_some_and(Scheme::is_post_quantum) {
        return Err(failed("the exchange was not a post-quantum one"));
    }
    if args.json {
        let told = json!({
            "broker": args.bootstrap.as_deref().unwrap_or("memory"),
            "stored": hex::encode(&seen.stored),
            "signing_types": args.key_types().iter().map(|kind| kind.number()).collect::<Vec<_>>(),
            "scheme": seen.scheme.map(|scheme| scheme.to_string()),
            "exchange_ms": millis(seen.exchange),
            "cleartext": seen.cleartext,
            "refusal": seen.refusal,
            "seconds": took.as_secs_f64(),
        });
        return output::line(&told.to_string());
    }
    output::line(&format!("All of it happened, in {:.1} s. Next: kafkacrypto provision -h", took.as_secs_f64()))
}

/// Where it happens: a broker, and a folder for the nodes' files, which goes with it.
struct Scene {
    transport: Option<Arc<dyn Transport>>,
    broker: Broker,
    place: String,
    folder: PathBuf,
    root: String,
    topic: String,
    pq: bool,
    key_types: &'static [SigningType],
}

impl Scene {
    fn set(args: &DemoArgs) -> Result<Self, Failure> {
        let id = hex::encode(random::<6>()?);
        let transport = args.bootstrap.as_deref().map(session::plain).transpose()?;
        // A broker of others gets topics of its own for each run.
        let root =
            if transport.is_some() { format!("kc-demo-{}", id.get(..6).unwrap_or(&id)) } else { "home".to_owned() };
        let place = match &args.bootstrap {
            Some(servers) => format!("Kafka at {servers}"),
            None => "a broker within this program".to_owned(),
        };
        let folder = std::env::temp_dir().join(format!("kafkacrypto-demo-{id}"));
        std::fs::create_dir(&folder).map_err(|error| {
            Failure::configuration(format!("could not make the folder {} ({error}); set TMPDIR", folder.display()))
        })?;
        let topic = format!("{root}.readings");
        let (pq, key_types) = (args.pq, args.key_types());
        Ok(Self { transport, broker: Broker::new(), place, folder, root, topic, pq, key_types })
    }

    /// The configs of a producer, of a consumer, and of a consumer of something else.
    async fn provision(&self) -> Result<(PathBuf, PathBuf, PathBuf), Failure> {
        let (folder, root, types) = (self.folder.clone(), self.root.clone(), self.key_types);
        let work = tokio::task::spawn_blocking(move || {
            let (password, provisioners) = (hex::encode(random::<16>()?), hex::encode(random::<16>()?));
            let authority = |role| Authority::of_types(role, types, &password, &provisioners).map_err(Failure::usage);
            let (producers, consumers) = std::thread::scope(|scope| {
                let producers = scope.spawn(|| authority(NodeRole::Producer));
                let consumers = authority(NodeRole::Consumer);
                (producers.join().unwrap_or_else(|_| Err(failed("a thread has failed"))), consumers)
            });
            let (producers, consumers) = (producers?, consumers?);
            let node = |name, authority, role, topics: &str| {
                provision(&folder, name, authority, types, &NodePlan::new(role, named(topics), clock::now()?))
            };
            Ok((
                node("meter", &producers, NodeRole::Producer, &root)?,
                node("office", &consumers, NodeRole::Consumer, &root)?,
                node("guest", &consumers, NodeRole::Consumer, &format!("{root}-lobby"))?,
            ))
        });
        work.await.unwrap_or_else(|_| Err(failed("provisioning has failed")))
    }

    async fn open(&self, config: PathBuf, ask_unauthorised: bool) -> Result<Node, Failure> {
        let builder = Node::builder(config).transport(self.transport()).ask_unauthorised(ask_unauthorised);
        let builder = builder.require_pq(self.pq);
        Ok(builder.open().await?)
    }

    /// The value as the broker has it.
    async fn stored(&self) -> Result<Vec<u8>, Failure> {
        let from = [FetchFrom::new(self.topic.as_str(), 0, 0)];
        let fetched = self.transport().fetch(&from, 1 << 20, SOON, SOON + SOON).await;
        let fetched = fetched.map_err(|error| session::broker(&error))?.into_iter().next();
        let batch = fetched.and_then(|fetched| fetched.result.ok());
        let value = batch.and_then(|batch| batch.records.into_iter().next()?.value);
        value.ok_or_else(|| failed("the broker doesn't have what was sent to it"))
    }

    fn transport(&self) -> Arc<dyn Transport> {
        self.transport.clone().unwrap_or_else(|| Arc::new(self.broker.transport()))
    }

    fn reqs(&self) -> String {
        format!("{}.reqs", self.root)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!("the folder {} is left ({error}); remove it", self.folder.display());
        }
    }
}

fn named(topic: &str) -> Topics {
    Topics::Named(vec![topic.to_owned()])
}

fn provision(
    folder: &Path,
    name: &str,
    authority: &Authority,
    types: &'static [SigningType],
    plan: &NodePlan,
) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("{name}.config"));
    let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    let options = OpenOptions::default().new_key_types(types);
    let mut files = NodeFiles::open_or_create(&path, name, options, &mut rng).map_err(Error::from)?;
    if types.contains(&SigningType::Ed25519SlhDsa) {
        files.edit_keys(|keys| keys.with_versions(&[5])).map_err(Error::from)?;
    }
    let mut config = files.config().clone();
    authority.provision(plan, &mut config, files.key_file(), None).map_err(Failure::configuration)?;
    files.save(config).map_err(Error::from)?;
    Ok(path)
}

/// The first record, still encrypted.
async fn first(node: &Node, topic: &str) -> Result<ConsumerRecord, Failure> {
    let options = ConsumerOptions::new(Start::Beginning).wait_for_keys(Duration::ZERO);
    let mut consumer = Consumer::of(node, topic, options);
    let record = consumer.next().await.ok_or_else(|| failed("there is no record to read"))?;
    Ok(record.map_err(Error::from)?)
}

/// What a record says, how long it took to have its key, and by which exchange that came.
async fn read(node: &Node, topic: &str) -> Result<(String, Duration, Option<Scheme>), Failure> {
    let mut record = first(node, topic).await?;
    let asked = Instant::now();
    let cleartext = record.value.wait(PATIENCE).await;
    let took = asked.elapsed();
    let cleartext = cleartext.map_err(|why| Failure::new(Failure::UNDECRYPTABLE, why))?.unwrap_or_default();
    let cleartext = String::from_utf8_lossy(cleartext).into_owned();
    Ok((cleartext, took, record.value.origin().and_then(Origin::scheme)))
}

/// Why the producer gave no key; the record is still ciphertext then.
async fn be_refused(node: &Node, topic: &str, reqs: &str, mut events: Receiver<Event>) -> Result<String, Failure> {
    let mut record = first(node, topic).await?;
    loop {
        let event = events.recv().await.map_err(|_| failed("the producer said nothing"))?;
        if let Event::Rejected(rejection) = event
            && rejection.source == reqs
        {
            return match record.value.retry() {
                State::Cleartext => Err(failed("guest could decrypt what it must not")),
                _ => Ok(rejection.reason),
            };
        }
    }
}

fn lines_of_hex(bytes: &[u8]) -> Vec<String> {
    let line = |chunk: &[u8]| chunk.iter().fold("    ".to_owned(), |line, byte| format!("{line} {byte:02x}"));
    bytes.chunks(24).map(line).collect()
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| failed(&format!("the system gives no random bytes ({error})")))?;
    Ok(bytes)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn failed(message: &str) -> Failure {
    Failure::new(Failure::FAILED, message)
}

const READING: &str = "21.5 °C, window open";
const SOON: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const AFTER_HELP: &str = "\
It needs nothing, leaves nothing behind (on a Kafka broker: a few topics, kc-demo-…), and ends by itself.
The exit code is 0 only if all that it shows has happened.

Examples:
  kafkacrypto demo
  kafkacrypto demo --bootstrap localhost:9092";
