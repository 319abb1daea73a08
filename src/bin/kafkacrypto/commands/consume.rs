use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use kafkacrypto::chain::Usage;
#[cfg(feature = "kafka")]
use kafkacrypto::client::GroupConsumer;
use kafkacrypto::client::{Consumer, ConsumerOptions, ConsumerRecord, ReadError, Start};
#[cfg(feature = "kafka")]
use kafkacrypto::kafka;
use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::KeyIndex;
use kafkacrypto::message::{Message, State};
use kafkacrypto::transport::Headers;
#[cfg(feature = "kafka")]
use kafkacrypto::transport::TransportError;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kcat::{self, Delimiter, Format, Offset, Part};
use crate::output;
use crate::session::{self, NodeArgs, Opened};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The topic; with -L any number of them, with -Q TOPIC:PARTITION:TIME
    #[arg(short, long)]
    topic: Vec<String>,
    /// Read TOPICS (names, or ^expressions) as a member of this consumer group, and on from where it left off
    #[arg(short = 'G', value_name = "GROUP", conflicts_with_all = ["topic", "partition"])]
    group: Option<String>,
    /// Show brokers, topics and partitions instead (-J as JSON); needs no node where there is -b
    #[arg(short = 'L', conflicts_with_all = ["group", "query"])]
    list: bool,
    /// Show the offset of a time for each -t TOPIC:PARTITION:TIME instead; needs no node where there is -b
    #[arg(short = 'Q', conflicts_with = "group")]
    query: bool,
    /// The partition [default: all of them]
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Where to start: beginning, end, stored (by the group of -X group.id=GROUP), an offset N, -N from
    /// the end, or s@MILLISECONDS since 1970; and e@MILLISECONDS: where to stop [default: beginning]. With -G, what to do where the
    /// group has stored nothing: beginning, end, s@MILLISECONDS or error [default: end]
    #[arg(short, long, allow_hyphen_values = true, value_parser = kcat::offset)]
    offset: Vec<Offset>,
    /// Stop after so many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Stop at the end that each partition has now
    #[arg(short = 'e', long = "exit")]
    exit: bool,
    /// Print keys too, with this in between
    #[arg(short = 'K', value_name = "DELIMITER", value_parser = Delimiter::parse)]
    key_delimiter: Option<Delimiter>,
    /// What comes after each record
    #[arg(short = 'D', value_name = "DELIMITER", value_parser = Delimiter::parse, default_value = r"\n")]
    delimiter: Delimiter,
    /// Print null as NULL
    #[arg(short = 'Z')]
    show_null: bool,
    /// Print by this: %t topic, %p partition, %o offset, %T time, %h headers, %k key, %K its length, %s value, %S its length
    #[arg(short, long, value_parser = Format::parse, conflicts_with_all = ["key_delimiter", "json"])]
    format: Option<Format>,
    /// Print each record as a JSON object, those that can't be decrypted too
    #[arg(short = 'J', long)]
    json: bool,
    /// Write each record at once; else when no other one is there yet
    #[arg(short = 'u')]
    unbuffered: bool,
    /// The topics of -G
    #[arg(requires = "group")]
    topics: Vec<String>,
    /// How long to wait for each key, in seconds [default: as the config says, which is 10 if it says nothing]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    wait: Option<f64>,
}

pub(crate) fn run(args: ConsumeArgs) -> Result<(), Failure> {
    session::block_on(async {
        match (args.list, args.query) {
            (false, false) => consume(args).await,
            #[cfg(feature = "kafka")]
            (true, _) => super::cluster::list(&args.node, &args.topic, args.json).await,
            #[cfg(feature = "kafka")]
            _ => super::cluster::query(&args.node, &args.topic).await,
            #[cfg(not(feature = "kafka"))]
            _ => Err(Failure::usage(session::NO_KAFKA)),
        }
    })
}

async fn consume(args: ConsumeArgs) -> Result<(), Failure> {
    let topics = args.wanted()?;
    kcat::possible(&args.offset, args.group.is_some(), args.node.names_group()).map_err(Failure::usage)?;
    let opened = args.node.open_with(&args.settings()).await?;
    let mut not_allowed = None;
    for topic in topics.iter().filter(|topic| !topic.starts_with('^')) {
        let why = opened.allowed.why_not(topic, &[Usage::EncryptRequest, Usage::EncryptSubscribe])?;
        not_allowed = not_allowed.or(why);
    }
    if let Some(why) = &not_allowed {
        eprintln!("kafkacrypto: this node can't get keys: {why}");
    }
    let result = read(&args, topics, &opened).await;
    opened.node.close().await;
    let left = result?;
    match (left, not_allowed) {
        (0, _) => Ok(()),
        (left, Some(why)) => Err(Failure::new(Failure::NOT_AUTHORISED, format!("{left} not decrypted: {why}"))),
        (left, None) => Err(Failure::new(
            Failure::UNDECRYPTABLE,
            format!(
                "{left} not decrypted; where a key is missing, run its producer (or `kafkacrypto serve`) and try again"
            ),
        )),
    }
}

/// How many records could not be decrypted.
async fn read(args: &ConsumeArgs, topics: &[String], opened: &Opened) -> Result<u64, Failure> {
    let reading = Reading { args, left: 0, failed: false, out: Vec::new() };
    match (topics, &args.group) {
        (topics, Some(_)) => reading.run(Source::group(args, topics, opened)?).await,
        ([topic], None) => {
            let transport = opened.node.transport();
            let partitions = transport.partitions(topic, session::CONNECT).await;
            let partitions = partitions.map_err(|error| session::broker(&error))?.unwrap_or_default();
            let options = args.options(topic, &partitions, opened).await?;
            reading.run(Source::Topic(Consumer::of(&opened.node, topic.as_str(), options))).await
        }
        _ => Err(Failure::usage("give one topic: -t TOPIC")),
    }
}

/// Where records come from.
enum Source {
    Topic(Consumer),
    #[cfg(feature = "kafka")]
    Group(Box<GroupConsumer>, bool),
}

impl Source {
    #[cfg(feature = "kafka")]
    fn group(args: &ConsumeArgs, topics: &[String], opened: &Opened) -> Result<Self, Failure> {
        let Some(cluster) = &opened.cluster else { return Err(Failure::usage("-G needs a Kafka cluster")) };
        let mut config = cluster.settings.consumer().map_err(Failure::configuration)?;
        if let Some(time) = args.since() {
            config = config.unread(kafka::Unread::At(kafka::OffsetAt::Time(time)));
        }
        let subscription = kafka::Subscription::topics(topics).map_err(Failure::usage)?;
        let mut consumer = GroupConsumer::of(&opened.node, &cluster.client, config, subscription)?;
        if let Some(wait) = args.wait() {
            consumer = consumer.wait_for_keys(wait);
        }
        consumer.on_rebalance(|rebalance| tracing::info!(?rebalance, "the group shares out"));
        Ok(Self::Group(Box::new(consumer), args.exit))
    }

    #[cfg(not(feature = "kafka"))]
    fn group(_args: &ConsumeArgs, _topics: &[String], _opened: &Opened) -> Result<Self, Failure> {
        Err(Failure::usage(session::NO_KAFKA))
    }

    /// The next record. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Result<ConsumerRecord, ReadError>> {
        match self {
            Self::Topic(consumer) => consumer.next().await,
            #[cfg(feature = "kafka")]
            Self::Group(consumer, false) => consumer.next().await,
            #[cfg(feature = "kafka")]
            Self::Group(consumer, true) => loop {
                match tokio::time::timeout(LOOK, consumer.next()).await {
                    Ok(next) => return next,
                    Err(_) if consumer.is_at_end() => return None,
                    Err(_) => {}
                }
            },
        }
    }

    /// Commits what was printed, and leaves the group.
    async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Topic(_) => Ok(()),
            #[cfg(feature = "kafka")]
            Self::Group(consumer, _) => Ok(consumer.close().await?),
        }
    }
}

impl ConsumeArgs {
    /// The topics to read.
    fn wanted(&self) -> Result<&[String], Failure> {
        match (&self.group, &*self.topic, &*self.topics) {
            (Some(_), _, []) => Err(Failure::usage("give the topics of the group: -G GROUP TOPIC…")),
            (Some(_), _, topics) => Ok(topics),
            (None, [_], _) => Ok(&self.topic),
            _ => Err(Failure::usage("give one topic: -t TOPIC")),
        }
    }

    /// Kafka settings that arguments stand for.
    fn settings(&self) -> Vec<(&str, &str)> {
        let Some(group) = &self.group else { return Vec::new() };
        let mut settings = vec![("group_id", group.as_str())];
        for offset in &self.offset {
            match offset {
                Offset::Start(Start::Beginning) => settings.push(("auto_offset_reset", "earliest")),
                Offset::Start(Start::End) => settings.push(("auto_offset_reset", "latest")),
                Offset::Error => settings.push(("auto_offset_reset", "none")),
                _ => {}
            }
        }
        settings
    }

    /// With -G: the time from which to read what the group has stored nothing of.
    #[cfg(feature = "kafka")]
    fn since(&self) -> Option<i64> {
        self.offset.iter().find_map(|offset| match offset {
            Offset::Start(Start::Time(time)) => Some(*time),
            _ => None,
        })
    }

    fn wait(&self) -> Option<Duration> {
        self.wait.map(|wait| Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }

    async fn options(&self, topic: &str, partitions: &[i32], opened: &Opened) -> Result<ConsumerOptions, Failure> {
        let start = self.offset.iter().find_map(|offset| match offset {
            Offset::Start(start) => Some(*start),
            _ => None,
        });
        let mut options = ConsumerOptions::new(start.unwrap_or(Start::Beginning)).stop_at_end(self.exit);
        for offset in &self.offset {
            match offset {
                Offset::StopBefore(time) => options = options.stop_before(*time),
                Offset::Stored => {
                    for (partition, stored) in stored(topic, partitions, opened).await? {
                        options = options.partition_from(partition, Start::Offset(stored));
                    }
                }
                Offset::Start(_) | Offset::Error => {}
            }
        }
        if let Some(partition) = self.partition {
            options = options.partitions([partition]);
        }
        Ok(match self.wait() {
            Some(wait) => options.wait_for_keys(wait),
            None => options,
        })
    }

    /// Whether the output shows keys, and values.
    fn shows(&self) -> (bool, bool) {
        match &self.format {
            Some(format) => (format.shows_key(), format.shows_value()),
            None => (self.json || self.key_delimiter.is_some(), true),
        }
    }
}

/// Where the group of the settings left off in each partition.
#[cfg(feature = "kafka")]
async fn stored(topic: &str, partitions: &[i32], opened: &Opened) -> Result<Vec<(i32, i64)>, Failure> {
    let Some(cluster) = &opened.cluster else { return Ok(Vec::new()) };
    let config = cluster.settings.consumer().map_err(Failure::configuration)?;
    let Some(group) = config.group() else { return Ok(Vec::new()) };
    let places: Vec<_> = partitions.iter().map(|number| kafka::TopicPartition::new(topic, *number)).collect();
    let committed = cluster.client.committed(group.id(), &places, session::CONNECT).await;
    let committed = committed.map_err(|error| session::broker(&TransportError::from(error)))?;
    Ok(committed.into_iter().map(|(place, committed)| (place.partition, committed.offset)).collect())
}

#[cfg(not(feature = "kafka"))]
async fn stored(_topic: &str, _partitions: &[i32], _opened: &Opened) -> Result<Vec<(i32, i64)>, Failure> {
    Err(Failure::usage(session::NO_KAFKA))
}

struct Reading<'a> {
    args: &'a ConsumeArgs,
    /// Records that were not decrypted.
    left: u64,
    /// A partition can't be read on.
    failed: bool,
    /// What is still to be written.
    out: Vec<u8>,
}

impl Reading<'_> {
    /// How many records could not be decrypted.
    async fn run(mut self, mut source: Source) -> Result<u64, Failure> {
        let stopped = session::stopped();
        tokio::pin!(stopped);
        let mut count = 0;
        while self.args.count.is_none_or(|limit| count < limit) {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break,
                next = source.next() => next,
                // Nothing more is there yet: whoever reads sees it all now.
                () = std::future::ready(()), if !self.out.is_empty() => {
                    self.flush()?;
                    continue;
                }
            };
            match next {
                Some(Ok(record)) => {
                    count += 1;
                    self.record(&record);
                }
                Some(Err(error)) => {
                    eprintln!("kafkacrypto: {error}");
                    self.failed |= !error.is_passing();
                    // A member of a group reads on where it can, so nothing else would end it.
                    if self.failed && self.args.group.is_some() {
                        break;
                    }
                }
                None => break,
            }
            if self.args.unbuffered || self.out.len() > MUCH {
                self.flush()?;
            }
        }
        self.flush()?;
        source.close().await?;
        // Why was said when it was found out.
        if self.failed { Err(Failure::new(Failure::BROKER, "")) } else { Ok(self.left) }
    }

    fn record(&mut self, record: &ConsumerRecord) {
        let (key, value) = self.args.shows();
        let shown = [("key", &record.key, key), ("value", &record.value, value)];
        let missing = shown.into_iter().filter(|(_, _, shown)| *shown);
        let missing: Vec<_> =
            missing.filter_map(|(name, message, _)| Some((name, message.cleartext().err()?))).collect();
        self.left += u64::from(!missing.is_empty());
        if self.args.json {
            self.out.extend_from_slice(object(record).to_string().as_bytes());
            self.out.push(b'\n');
            return;
        }
        let ConsumerRecord { topic, partition, offset, .. } = record;
        for (name, why) in &missing {
            eprintln!("kafkacrypto: {topic} [{partition}] at offset {offset}, {name}: {why}");
        }
        if missing.is_empty() {
            let text = self.text(record);
            self.out.extend_from_slice(&text);
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        output::bytes(&std::mem::take(&mut self.out)).and_then(|()| output::flush())
    }

    fn text(&self, record: &ConsumerRecord) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(format) = &self.args.format {
            format.0.iter().for_each(|part| self.part(part, record, &mut out));
            return out;
        }
        if let Some(delimiter) = &self.args.key_delimiter {
            out.extend_from_slice(self.bytes(&record.key));
            out.extend_from_slice(&delimiter.0);
        }
        out.extend_from_slice(self.bytes(&record.value));
        out.extend_from_slice(&self.args.delimiter.0);
        out
    }

    fn part(&self, part: &Part, record: &ConsumerRecord, out: &mut Vec<u8>) {
        // The length of a null is -1, as in kcat.
        let length = |message: &Message| match message.state() {
            State::Null => "-1".to_owned(),
            _ => message.bytes().len().to_string(),
        };
        match part {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Topic => out.extend_from_slice(record.topic.as_bytes()),
            Part::Partition => out.extend_from_slice(record.partition.to_string().as_bytes()),
            Part::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
            Part::Timestamp => out.extend_from_slice(record.timestamp_ms.to_string().as_bytes()),
            Part::Headers => headers(&record.headers, out),
            Part::Key => out.extend_from_slice(self.bytes(&record.key)),
            Part::KeyLength => out.extend_from_slice(length(&record.key).as_bytes()),
            Part::Value => out.extend_from_slice(self.bytes(&record.value)),
            Part::ValueLength => out.extend_from_slice(length(&record.value).as_bytes()),
        }
    }

    /// Only what is cleartext, or null, comes here.
    fn bytes<'m>(&self, message: &'m Message) -> &'m [u8] {
        if self.args.show_null && message.state() == State::Null { b"NULL" } else { message.bytes() }
    }
}

/// `name=value,name=value`, as in kcat.
fn headers(headers: &Headers, out: &mut Vec<u8>) {
    for (place, (name, value)) in headers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_deref().unwrap_or(b"NULL"));
    }
}

// ---- JSON

fn object(record: &ConsumerRecord) -> Value {
    let ConsumerRecord { topic, partition, offset, timestamp_ms, key, value, headers } = record;
    let mut object = Map::new();
    object.insert("topic".into(), json!(**topic));
    object.insert("partition".into(), json!(partition));
    object.insert("offset".into(), json!(offset));
    object.insert("timestamp".into(), json!(timestamp_ms));
    if !headers.is_empty() {
        let one = |(name, value): &(String, Option<Vec<u8>>)| {
            json!([name, value.as_ref().map(|value| String::from_utf8_lossy(value))])
        };
        object.insert("headers".into(), headers.iter().map(one).collect());
    }
    add(&mut object, "key", key);
    add(&mut object, "value", value);
    Value::Object(object)
}

/// `NAME` is the cleartext only; whatever isn't text stands in `NAME_base64`, what wasn't decrypted in `NAME_raw_base64`.
fn add(object: &mut Map<String, Value>, name: &str, message: &Message) {
    let mut put = |suffix: &str, value: Value| object.insert(format!("{name}{suffix}"), value);
    match message.cleartext() {
        Ok(None) => drop(put("", Value::Null)),
        Ok(Some(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => drop(put("", json!(text))),
            Err(_) => {
                put("", Value::Null);
                put("_base64", json!(STANDARD.encode(bytes)));
            }
        },
        Err(why) => {
            put("", Value::Null);
            put("_raw_base64", json!(STANDARD.encode(message.bytes())));
            put("_reason", json!(why.to_string()));
        }
    }
    put("_state", json!(message.state().to_string()));
    if let Some(index) = message.key_index() {
        put("_key_index", key_index(index));
    }
    if let Some(scheme) = message.origin().and_then(Origin::scheme) {
        put("_exchange", json!(scheme.to_string()));
    }
}

fn key_index(index: &KeyIndex) -> Value {
    match index {
        KeyIndex::Long(bytes) => json!(hex::encode(bytes)),
        KeyIndex::Short(number) => json!(number),
    }
}

/// So many bytes are written without waiting for a pause.
const MUCH: usize = 64 * 1024;
/// How often a member looks whether it is at the end.
#[cfg(feature = "kafka")]
const LOOK: Duration = Duration::from_millis(100);
const AFTER_HELP: &str = "\
Only what was decrypted is printed; the rest is named on stderr, with why (-J prints it too, and says what it is).

With -J, each record is one line: topic, partition, offset, timestamp (milliseconds since 1970), headers, and for `key` and
`value` each: the cleartext (null if there is none), NAME_state (null, cleartext, pending, refused or foreign),
NAME_key_index, NAME_exchange (by which its key came here: x25519, x25519+sntrup761 or x25519+mlkem1024), NAME_base64 where
the cleartext isn't UTF-8, and NAME_reason and NAME_raw_base64 where there is no cleartext.

Examples:
  kafkacrypto consume -n archive.config -t lab.data
  kafkacrypto consume -n archive.config -t lab.data -o -10 -e -f '%o %k: %s\\n'
  kafkacrypto consume -n archive.config -t lab.data -o s@1700000000000 -e -J --wait 30
  kafkacrypto consume -n archive.config -G billing lab.data lab.events -o beginning
  kafkacrypto consume -L -b broker.example:9093 -X security.protocol=SSL -X ssl.ca.location=ca.pem
  kafkacrypto consume -Q -b broker.example:9092 -t lab.data:0:1700000000000";
