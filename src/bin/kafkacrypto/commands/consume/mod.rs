//! `consume`: reads a topic, or a group's share of several, and prints what was decrypted. It must never print ciphertext as if it
//! were a record, nor commit what isn't written. The bytes it owns are those of its output.

mod json;
mod source;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use kafkacrypto::chain::Usage;
use kafkacrypto::client::{Consumer, ConsumerOptions, ConsumerRecord, ReadError, Start};
#[cfg(feature = "kafka")]
use kafkacrypto::kafka;
use kafkacrypto::message::{Message, State};
#[cfg(feature = "kafka")]
use kafkacrypto::transport::TransportError;
use kafkacrypto::transport::{Headers, TransportErrorKind};

use crate::failure::Failure;
use crate::kcat::{self, Delimiter, Format, Offset, Part};
use crate::output;
use crate::session::{self, NodeArgs, Opened};
use source::Source;

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
    /// Where a record can't be read since its bytes are damaged: go on behind it, or stop [default: skip; with -G stop]
    #[arg(long, value_enum, value_name = "skip|stop", hide_possible_values = true)]
    corrupt: Option<Corrupt>,
    /// The topics of -G
    #[arg(requires = "group")]
    topics: Vec<String>,
    /// How long to wait for each key, in seconds [default: as the config says, which is 10 if it says nothing]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    wait: Option<f64>,
}

/// What to do where a record can't be read.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Corrupt {
    Skip,
    Stop,
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
    let Seen { left, skipped } = result?;
    match (left, not_allowed) {
        (0, _) if skipped == 0 => Ok(()),
        (0, _) => Err(Failure::new(Failure::UNDECRYPTABLE, format!("{skipped} passed over that could not be read"))),
        (left, Some(why)) => Err(Failure::new(Failure::NOT_AUTHORISED, format!("{left} not decrypted: {why}"))),
        (left, None) => Err(Failure::new(
            Failure::UNDECRYPTABLE,
            format!(
                "{left} not decrypted; where a key is missing, run its producer (or `kafkacrypto serve`) and try again"
            ),
        )),
    }
}

/// What is to be said of it in the end.
#[derive(Default)]
struct Seen {
    /// Records that were not decrypted.
    left: u64,
    /// Offsets that could not be read.
    skipped: u64,
}

async fn read(args: &ConsumeArgs, topics: &[String], opened: &Opened) -> Result<Seen, Failure> {
    let reading = Reading::new(args);
    match (topics, &args.group) {
        (topics, Some(_)) => reading.run(Source::group(args, topics, opened).await?).await,
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

    fn skips_corrupt(&self) -> bool {
        self.corrupt.unwrap_or(if self.group.is_some() { Corrupt::Stop } else { Corrupt::Skip }) == Corrupt::Skip
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
    seen: Seen,
    /// Why it can't go on.
    failed: Option<Failure>,
    /// What is still to be written.
    out: Vec<u8>,
    /// Of a group: the records behind which nothing may be committed before that.
    unwritten: Vec<(Arc<str>, i32, i64)>,
    /// The partitions of those.
    held: BTreeSet<(Arc<str>, i32)>,
}

impl<'a> Reading<'a> {
    fn new(args: &'a ConsumeArgs) -> Self {
        let (seen, failed, out, unwritten, held) = Default::default();
        Self { args, seen, failed, out, unwritten, held }
    }

    async fn run(mut self, mut source: Source) -> Result<Seen, Failure> {
        let result = self.all(&mut source).await;
        let missing = source.missing();
        let closed = source.close().await;
        result?;
        closed?;
        match self.failed.or(missing) {
            Some(failure) => Err(failure),
            None => Ok(self.seen),
        }
    }

    async fn all(&mut self, source: &mut Source) -> Result<(), Failure> {
        let stopped = session::stopped();
        tokio::pin!(stopped);
        let mut count = 0;
        while self.args.count.is_none_or(|limit| count < limit) {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break,
                next = source.next() => next,
                // Nothing more is there yet: whoever reads sees it all now.
                () = std::future::ready(()), if !(self.out.is_empty() && self.unwritten.is_empty()) => {
                    match self.flush(source)? {
                        true => continue,
                        false => return Ok(()),
                    }
                }
            };
            match next {
                Some(Ok(record)) => {
                    count += 1;
                    self.record(&record);
                    self.hold(&record, source);
                }
                Some(Err(error)) => {
                    eprintln!("kafkacrypto: {error}");
                    self.error(&error);
                    // A member of a group reads on where it can, so nothing else would end it.
                    if self
                        .failed
                        .as_ref()
                        .is_some_and(|failed| self.args.group.is_some() || !failed.message.is_empty())
                    {
                        break;
                    }
                }
                None => break,
            }
            if (self.args.unbuffered || self.out.len() > MUCH) && !self.flush(source)? {
                return Ok(());
            }
        }
        self.flush(source).map(|_| ())
    }

    /// Why was said already.
    fn error(&mut self, error: &ReadError) {
        let skips = self.args.skips_corrupt();
        match error {
            ReadError::Skipped { .. } if skips => self.seen.skipped += 1,
            ReadError::Skipped { .. } => self.failed = Some(damaged()),
            ReadError::Failed { source, .. } if source.kind() == TransportErrorKind::Corrupt => {
                self.failed = Some(damaged());
            }
            error if !error.is_passing() => self.failed = Some(Failure::new(Failure::BROKER, "")),
            _ => {}
        }
    }

    /// Nothing is committed that isn't written. What is shown as pending stays held back for good.
    fn hold(&mut self, record: &ConsumerRecord, source: &mut Source) {
        if self.args.group.is_none() {
            return;
        }
        let (key, value) = self.args.shows();
        let pending = [(&record.key, key), (&record.value, value)].map(|(message, shown)| {
            let pending = message.state() == State::Pending;
            (pending, pending && shown)
        });
        if pending.iter().any(|(_, shown)| *shown) {
            return;
        }
        let place = (record.topic.clone(), record.partition);
        if self.held.insert(place) || pending.iter().any(|(pending, _)| *pending) {
            source.hold_back(&record.topic, record.partition, record.offset);
            self.unwritten.push((record.topic.clone(), record.partition, record.offset));
        }
    }

    fn record(&mut self, record: &ConsumerRecord) {
        let (key, value) = self.args.shows();
        let shown = [("key", &record.key, key), ("value", &record.value, value)];
        let missing = shown.into_iter().filter(|(_, _, shown)| *shown);
        let missing: Vec<_> =
            missing.filter_map(|(name, message, _)| Some((name, message.cleartext().err()?))).collect();
        self.seen.left += u64::from(!missing.is_empty());
        if self.args.json {
            self.out.extend_from_slice(json::object(record).to_string().as_bytes());
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

    /// Whether somebody still reads.
    fn flush(&mut self, source: &mut Source) -> Result<bool, Failure> {
        if !output::all(&std::mem::take(&mut self.out))? {
            return Ok(false);
        }
        self.held.clear();
        for (topic, partition, offset) in self.unwritten.drain(..) {
            source.done_with(&topic, partition, offset);
        }
        Ok(true)
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

fn damaged() -> Failure {
    Failure::new(Failure::UNDECRYPTABLE, "stopped where a record can't be read; go on behind it with --corrupt skip")
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

/// So many bytes are written without waiting for a pause.
const MUCH: usize = 64 * 1024;
const AFTER_HELP: &str = "\
Only what was decrypted is printed; the rest is named on stderr, with why (-J prints it too, and says what it is).
With -G, what is written is committed, but nothing from a record on whose key hasn't come yet: it is read again next time. What is
passed over with --corrupt skip is committed too.

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
