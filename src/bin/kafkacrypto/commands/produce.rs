use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kafkacrypto::chain::Usage;
use kafkacrypto::client::{Producer, ProducerOptions, ProducerRecord, Queued, SendError};
use kafkacrypto::error::Error;
use kafkacrypto::runtime::Node;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::MissedTickBehavior;

use super::lost::{Lost, Place};
use crate::answers::Answers;
use crate::failure::Failure;
use crate::kcat::{self, Delimiter};
use crate::session::{self, NodeArgs};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The topic; it is created if it doesn't exist
    #[arg(short, long)]
    topic: String,
    /// The partition; -1 for any [default: by the plaintext key]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    partition: Option<i32>,
    /// The key of all records
    #[arg(short, long)]
    key: Option<String>,
    /// A header of all records; without =VALUE its value is null. Headers are not encrypted
    #[arg(short = 'H', value_name = "NAME=VALUE", value_parser = kcat::header)]
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// Compress: none, gzip, snappy, lz4 or zstd (what is encrypted hardly gets smaller) [default: as the config says]
    #[arg(short = 'z', value_name = "CODEC", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"], hide_possible_values = true)]
    codec: Option<String>,
    /// What separates key and value in each record
    #[arg(short = 'K', value_name = "DELIMITER", value_parser = Delimiter::parse)]
    key_delimiter: Option<Delimiter>,
    /// What separates records
    #[arg(short = 'D', value_name = "DELIMITER", value_parser = Delimiter::parse, default_value = r"\n")]
    delimiter: Delimiter,
    /// Send empty keys and values as null
    #[arg(short = 'Z')]
    empty_is_null: bool,
    /// Stop after so many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Take the lines of the file as records
    #[arg(short = 'l', requires = "files")]
    lines: bool,
    /// How long to go on answering requests for the keys after the last record, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = super::seconds)]
    linger: f64,
    /// Files to send, each as one record; without any, records come from stdin
    files: Vec<PathBuf>,
}

/// What became of the records.
#[derive(Default)]
struct Outcome {
    delivered: u64,
    lost: Lost,
    stopped: bool,
    /// What else ended it.
    first: Option<Failure>,
}

pub(crate) fn run(args: ProduceArgs) -> Result<(), Failure> {
    if args.lines && args.files.len() != 1 {
        return Err(Failure::usage("-l takes one file"));
    }
    session::block_on(produce(Arc::new(args)))
}

async fn produce(args: Arc<ProduceArgs>) -> Result<(), Failure> {
    let codec = args.codec.as_deref().map(|codec| ("compression_type", codec));
    let session::Opened { node, allowed, .. } = args.node.open_with(codec.as_slice()).await?;
    if let Some(why) = allowed.why_not(&args.topic, &[Usage::Encrypt])? {
        node.close().await;
        let message = format!("nothing was sent, since nobody would accept its keys: {why}");
        return Err(Failure::new(Failure::NOT_AUTHORISED, message));
    }
    if let Err(error) = node.transport().partitions(&args.topic, session::CONNECT).await {
        node.close().await;
        return Err(session::broker(&error));
    }
    let mut answers = Answers::of(&node);
    let outcome = tokio::select! {
        outcome = send_all(&args, &node) => outcome,
        () = answers.tell() => Outcome::default(),
    };
    if outcome.delivered > 0 && !outcome.stopped {
        linger(&args, &mut answers, outcome.delivered).await;
    }
    node.close().await;
    outcome.end()
}

/// Keys can be had only from a node that runs.
async fn linger(args: &ProduceArgs, answers: &mut Answers, delivered: u64) {
    let (records, topic) = (counted(delivered, "record"), &args.topic);
    if args.linger == 0.0 {
        return eprintln!("{records} delivered to {topic}; `kafkacrypto serve` answers for the keys later");
    }
    eprintln!("{records} delivered to {topic}; answering requests for the keys for {} s, Ctrl-C ends it", args.linger);
    let time = Duration::try_from_secs_f64(args.linger).unwrap_or(Duration::MAX);
    tokio::select! {
        () = answers.tell_for(time) => {}
        () = session::stopped() => {}
    }
    let given = answers.given as u64;
    match given {
        0 => eprintln!("nobody asked; `kafkacrypto serve` answers later"),
        _ => eprintln!("{} answered", counted(given, "request")),
    }
}

async fn send_all(args: &Arc<ProduceArgs>, node: &Node) -> Outcome {
    let producer = Producer::of(node, ProducerOptions::new());
    let (records, mut input) = channel(1000);
    let reading = args.clone();
    let reader = tokio::task::spawn_blocking(move || read(&reading, &records));
    let (on_their_way, results) = channel(10_000);
    let (queued, mut outcome) = tokio::join!(queue_all(&producer, &mut input, on_their_way), collect(results));
    drop(input);
    outcome.stopped = matches!(queued, Ok(End::Stopped));
    match queued {
        Ok(End::Input) => outcome.note(reader.await.unwrap_or_else(|_| Err(failed("reading the input has failed")))),
        Ok(End::Stopped) => outcome.note(Err(failed("stopped before the input had ended; what was read was sent"))),
        Err(failure) => outcome.note(Err(failure)),
    }
    outcome.note(producer.close().await.map_err(failure));
    outcome
}

/// Why no more records are queued.
enum End {
    Input,
    Stopped,
}

async fn queue_all(
    producer: &Producer,
    input: &mut Receiver<ProducerRecord>,
    on_their_way: Sender<(Place, Queued)>,
) -> Result<End, Failure> {
    let stopped = session::stopped();
    tokio::pin!(stopped);
    for number in 1.. {
        let record = tokio::select! {
            record = input.recv() => record,
            () = &mut stopped => return Ok(End::Stopped),
        };
        let Some(record) = record else { return Ok(End::Input) };
        let place = Place::of(number, &record);
        let queued = producer.queue(record).await.map_err(failure)?;
        if on_their_way.send((place, queued)).await.is_err() {
            break;
        }
    }
    Ok(End::Stopped)
}

/// What fails is told at once as long as the input goes on, which may be for weeks; at the most a line for each second.
async fn collect(mut results: Receiver<(Place, Queued)>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ended = {
            let next = async {
                let (place, queued) = results.recv().await?;
                Some((place, queued.await))
            };
            tokio::pin!(next);
            loop {
                tokio::select! {
                    biased;
                    _ = seconds.tick() => tell(outcome.lost.tick()),
                    ended = &mut next => break ended,
                }
            }
        };
        match ended {
            None => return outcome,
            Some((_, Ok(_))) => outcome.delivered += 1,
            Some((place, Err(error))) => tell(outcome.lost.add(place, error, !results.is_closed())),
        }
    }
}

fn tell(line: Option<String>) {
    if let Some(line) = line {
        eprintln!("kafkacrypto: {line}");
    }
}

impl Outcome {
    fn note(&mut self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.first.get_or_insert(failure);
        }
    }

    fn end(self) -> Result<(), Failure> {
        let lost = self.lost.end(self.delivered);
        lost.or(self.first).map_or(Ok(()), Err)
    }
}

fn failed(message: &str) -> Failure {
    Failure::new(Failure::FAILED, message)
}

fn failure(error: SendError) -> Failure {
    Error::from(error).into()
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

// ---- input

/// Reads records and hands them on, until there are no more, or nobody takes them.
fn read(args: &ProduceArgs, records: &Sender<ProducerRecord>) -> Result<(), Failure> {
    let limit = args.count.unwrap_or(u64::MAX);
    let hand_on = |bytes: &[u8]| records.blocking_send(record(args, bytes)).is_ok();
    if args.files.is_empty() {
        return pieces(&mut io::stdin().lock(), &args.delimiter, limit, hand_on)
            .map_err(|error| unreadable("stdin", &error));
    }
    for path in args.files.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        let mut file = open(path)?;
        if args.lines {
            pieces(&mut BufReader::new(file), &args.delimiter, limit, hand_on)
        } else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| {
                // Nobody takes it only when the sending has ended, which says why by itself.
                hand_on(&bytes);
            })
        }
        .map_err(|error| unreadable(&path.display().to_string(), &error))?;
    }
    Ok(())
}

/// What stands before, between and behind delimiters; nothing behind the last one is no record.
fn pieces(
    input: &mut impl BufRead,
    delimiter: &Delimiter,
    limit: u64,
    mut hand_on: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let last = delimiter.0.last().copied().unwrap_or(b'\n');
    let (mut piece, mut count) = (Vec::new(), 0);
    while count < limit {
        let read = input.read_until(last, &mut piece)?;
        let whole = piece.strip_suffix(delimiter.0.as_slice());
        let record = match whole {
            Some(record) => record,
            None if read == 0 && piece.is_empty() => break,
            None if read == 0 => piece.as_slice(),
            None => continue,
        };
        count += 1;
        if !hand_on(record) || read == 0 {
            break;
        }
        piece.clear();
    }
    Ok(())
}

fn record(args: &ProduceArgs, bytes: &[u8]) -> ProducerRecord {
    let fixed = args.key.as_deref().map(str::as_bytes);
    let split = args.key_delimiter.as_ref().and_then(|delimiter| delimiter.split(bytes));
    let (key, value) = split.map_or((fixed, bytes), |(key, value)| (Some(key), value));
    let part = |part: &[u8]| (!(args.empty_is_null && part.is_empty())).then(|| part.to_vec());
    let mut record = ProducerRecord::new(args.topic.as_str());
    let chosen = args.partition.filter(|number| *number >= 0);
    (record.key, record.value, record.partition) = (key.and_then(part), part(value), chosen);
    record.headers.clone_from(&args.headers);
    record
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(&path.display().to_string(), &error))
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::new(Failure::FAILED, format!("{what} can't be read ({error}); what was read before was sent"))
}

const AFTER_HELP: &str = "\
The partition is chosen by the plaintext key, as Java's producer does, so that the order of each key is kept.

Examples:
  echo 21.5 | kafkacrypto produce -n sensor-1.config -t lab.data
  kafkacrypto produce -n sensor-1.config -t lab.data -K : -l readings.txt
  kafkacrypto produce -n sensor-1.config -t lab.photos --linger 60 photo.jpg
  echo 21.5 | kafkacrypto produce -n sensor-1.config -t lab.data -H unit=C -X security.protocol=SASL_SSL \\
    -X sasl.mechanism=SCRAM-SHA-256 -X sasl.username=alice -X sasl.password=… -X ssl.ca.location=ca.pem";

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], delimiter: &str, limit: u64) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let delimiter = Delimiter::parse(delimiter).unwrap();
        pieces(&mut &*input, &delimiter, limit, |piece| {
            found.push(piece.to_vec());
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn input_is_cut_at_delimiters() {
        assert_eq!(all(b"a\nb\n", r"\n", 9), [b"a", b"b"]);
        assert_eq!(all(b"a\n\nb", r"\n", 9), [&b"a"[..], b"", b"b"]);
        assert_eq!(all(b"a|b||c", "||", 9), [&b"a|b"[..], b"c"]);
        assert_eq!(all(b"a\nb\nc", r"\n", 2), [b"a", b"b"]);
        assert!(all(b"", r"\n", 9).is_empty());
        assert_eq!(all(&[0xff, 0, b'\n', 0xfe], r"\n", 9), [&[0xff, 0][..], &[0xfe]]);
    }
}
