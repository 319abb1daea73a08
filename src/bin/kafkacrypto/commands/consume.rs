use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use kafkacrypto::chain::Usage;
use kafkacrypto::client::{Consumer, ConsumerOptions, ConsumerRecord, ReadError, Start};
use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::KeyIndex;
use kafkacrypto::message::{Message, State};
use kafkacrypto::transport::Headers;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kcat::{self, Delimiter, Format, Part};
use crate::output;
use crate::session::{self, NodeArgs};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The partition [default: all of them]
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Where to start: beginning, end, an offset N, -N from the end, or s@MILLISECONDS since 1970
    #[arg(short, long, allow_hyphen_values = true, value_parser = kcat::start, default_value = "beginning")]
    offset: Start,
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
    /// How long to wait for each key, in seconds [default: as the config says, which is 10 if it says nothing]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    wait: Option<f64>,
}

pub(crate) fn run(args: ConsumeArgs) -> Result<(), Failure> {
    session::block_on(consume(args))
}

async fn consume(args: ConsumeArgs) -> Result<(), Failure> {
    let (node, allowed) = args.node.open().await?;
    let not_allowed = allowed.why_not(&args.topic, &[Usage::EncryptRequest, Usage::EncryptSubscribe])?;
    if let Some(why) = &not_allowed {
        eprintln!("kafkacrypto: this node can't get keys: {why}");
    }
    let result = async {
        node.transport().partitions(&args.topic, session::CONNECT).await.map_err(|error| session::broker(&error))?;
        let consumer = Consumer::of(&node, args.topic.as_str(), args.options());
        Reading { args: &args, left: 0, failed: None }.run(consumer).await
    }
    .await;
    node.close().await;
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

impl ConsumeArgs {
    fn options(&self) -> ConsumerOptions {
        let mut options = ConsumerOptions::new(self.offset).stop_at_end(self.exit);
        if let Some(partition) = self.partition {
            options = options.partitions([partition]);
        }
        match self.wait.map(|wait| Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)) {
            Some(wait) => options.wait_for_keys(wait),
            None => options,
        }
    }

    /// Whether the output shows keys, and values.
    fn shows(&self) -> (bool, bool) {
        match &self.format {
            Some(format) => (format.shows_key(), format.shows_value()),
            None => (self.json || self.key_delimiter.is_some(), true),
        }
    }
}

struct Reading<'a> {
    args: &'a ConsumeArgs,
    /// Records that were not decrypted.
    left: u64,
    failed: Option<ReadError>,
}

impl Reading<'_> {
    /// How many records could not be decrypted.
    async fn run(mut self, mut consumer: Consumer) -> Result<u64, Failure> {
        let stopped = session::stopped();
        tokio::pin!(stopped);
        let mut count = 0;
        while self.args.count.is_none_or(|limit| count < limit) {
            let next = tokio::select! {
                next = consumer.next() => next,
                () = &mut stopped => break,
            };
            match next {
                Some(Ok(record)) => {
                    count += 1;
                    self.record(&record)?;
                }
                Some(Err(error)) => self.error(error),
                None => break,
            }
        }
        self.failed.map_or(Ok(self.left), |error| Err(Failure::new(Failure::BROKER, error)))
    }

    fn error(&mut self, error: ReadError) {
        if error.is_passing() {
            eprintln!("kafkacrypto: {error}");
        } else {
            self.failed.get_or_insert(error);
        }
    }

    fn record(&mut self, record: &ConsumerRecord) -> Result<(), Failure> {
        let (key, value) = self.args.shows();
        let shown = [("key", &record.key, key), ("value", &record.value, value)];
        let missing = shown.into_iter().filter(|(_, _, shown)| *shown);
        let missing: Vec<_> =
            missing.filter_map(|(name, message, _)| Some((name, message.cleartext().err()?))).collect();
        self.left += u64::from(!missing.is_empty());
        if self.args.json {
            return output::line(&object(record).to_string());
        }
        let ConsumerRecord { topic, partition, offset, .. } = record;
        for (name, why) in &missing {
            eprintln!("kafkacrypto: {topic} [{partition}] at offset {offset}, {name}: {why}");
        }
        if missing.is_empty() { output::bytes(&self.text(record)).and_then(|()| output::flush()) } else { Ok(()) }
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

const AFTER_HELP: &str = "\
Only what was decrypted is printed; the rest is named on stderr, with why (-J prints it too, and says what it is).

With -J, each record is one line: topic, partition, offset, timestamp (milliseconds since 1970), headers, and for `key` and
`value` each: the cleartext (null if there is none), NAME_state (null, cleartext, pending, refused or foreign),
NAME_key_index, NAME_exchange (by which its key came here: x25519, x25519+sntrup761 or x25519+mlkem1024), NAME_base64 where
the cleartext isn't UTF-8, and NAME_reason and NAME_raw_base64 where there is no cleartext.

Examples:
  kafkacrypto consume -n archive.config -t lab.data
  kafkacrypto consume -n archive.config -t lab.data -o -10 -e -f '%o %k: %s\\n'
  kafkacrypto consume -n archive.config -t lab.data -o s@1700000000000 -e -J --wait 30";
