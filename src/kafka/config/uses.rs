//! What settings say to a producer and to a consumer.

use std::time::Duration;

use super::Settings;
use crate::kafka::record::Compression;
use crate::kafka::{
    Acks, Assignor, ConsumerConfig, Error, GroupProtocol, GroupSettings, Isolation, Partitioner, ProducerConfig,
    ReaderConfig, Reset, Unread,
};

/// What was said to producers and consumers, as far as layers above have their own mind about it: `None` is "nothing".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Said {
    /// `partitioner`
    pub partitioner: Option<Partitioner>,
    /// `batch_size`
    pub batch_size: Option<usize>,
    /// `buffer_memory`
    pub buffer_memory: Option<usize>,
    /// `max_block_ms`
    pub max_block: Option<Duration>,
    /// `delivery_timeout_ms`
    pub delivery_timeout: Option<Duration>,
    /// `auto_offset_reset`
    pub reset: Option<Reset>,
    /// `fetch_max_bytes`
    pub fetch_max_bytes: Option<usize>,
    /// `max_poll_records`
    pub max_poll_records: Option<usize>,
}

impl Settings {
    /// What was said, where a layer above has to know whether it was.
    ///
    /// ```
    /// use kafkacrypto::kafka::{Partitioner, Settings};
    ///
    /// let said = Settings::new([("partitioner", "consistent")])?.said()?;
    /// assert_eq!((said.partitioner, said.batch_size), (Some(Partitioner::Librdkafka), None));
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn said(&self) -> Result<Said, Error> {
        Ok(Said {
            partitioner: self.partitioner()?,
            batch_size: self.number("batch_size")?,
            buffer_memory: self.number("buffer_memory")?,
            max_block: self.millis("max_block_ms")?,
            delivery_timeout: self.millis("delivery_timeout_ms")?,
            reset: self.reset()?,
            fetch_max_bytes: self.number("fetch_max_bytes")?,
            max_poll_records: self.number("max_poll_records")?,
        })
    }

    /// How to produce.
    ///
    /// ```
    /// use kafkacrypto::kafka::Settings;
    ///
    /// assert!(Settings::new([("acks", "all"), ("compression_type", "zstd")])?.producer()?.is_idempotent());
    /// assert!(!Settings::new([("acks", "1")])?.producer()?.is_idempotent());
    /// let error = Settings::new([("compression.type", "brotli")])?.producer().unwrap_err();
    /// assert!(error.to_string().starts_with("compression_type is \"brotli\""));
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn producer(&self) -> Result<ProducerConfig, Error> {
        let mut config = ProducerConfig::new();
        if let Some(acks) = self.parsed("acks", "all, 1 or 0", acks)? {
            config = config.acks(acks);
        }
        if let Some(idempotent) = self.flag("enable_idempotence")? {
            config = config.idempotent(idempotent);
        }
        if let Some(bytes) = self.number("batch_size")? {
            config = config.batch_size(bytes);
        }
        if let Some(time) = self.millis("linger_ms")? {
            config = config.linger(time);
        }
        if let Some(codec) = self.parsed("compression_type", "none, gzip, snappy, lz4 or zstd", compression)? {
            config = config.compression(codec).compression_level(self.number("compression_level")?);
        }
        if let Some(bytes) = self.number("buffer_memory")? {
            config = config.buffer_memory(bytes);
        }
        if let Some(time) = self.millis("max_block_ms")? {
            config = config.max_block(time);
        }
        if let Some(time) = self.millis("delivery_timeout_ms")? {
            config = config.delivery_timeout(time);
        }
        if let Some(requests) = self.number("max_in_flight_requests_per_connection")? {
            config = config.max_in_flight(requests);
        }
        if let Some(partitioner) = self.partitioner()? {
            config = config.partitioner(partitioner);
        }
        Ok(config)
    }

    fn partitioner(&self) -> Result<Option<Partitioner>, Error> {
        let named = |text: &str| Partitioner::from_name(&text.to_ascii_lowercase());
        self.parsed("partitioner", "murmur2 or consistent", named)
    }

    /// How to read, and in which group.
    ///
    /// ```
    /// use kafkacrypto::kafka::{GroupSettings, Settings};
    ///
    /// let settings = Settings::new([("group.id", "billing"), ("auto.offset.reset", "earliest")])?;
    /// assert_eq!(settings.consumer()?.group().map(GroupSettings::id), Some("billing"));
    /// assert!(Settings::new([("isolation_level", "dirty")])?.consumer().is_err());
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn consumer(&self) -> Result<ConsumerConfig, Error> {
        let mut config = match self.text("group_id") {
            Some(id) => ConsumerConfig::in_group(self.group(id)?).auto_commit(self.auto_commit()?),
            None => ConsumerConfig::alone(),
        };
        if self.reset()? == Some(Reset::Stop) {
            config = config.unread(Unread::Refused);
        }
        if let Some(most) = self.number("max_poll_records")? {
            config = config.max_poll_records(most);
        }
        Ok(config.reader(self.reader()?))
    }

    fn auto_commit(&self) -> Result<Option<Duration>, Error> {
        let every = self.millis("auto_commit_interval_ms")?.unwrap_or(Duration::from_secs(5));
        Ok(self.flag("enable_auto_commit")?.unwrap_or(true).then_some(every))
    }

    fn group(&self, id: &str) -> Result<GroupSettings, Error> {
        let mut group = GroupSettings::new(id);
        if let Some(instance) = self.text("group_instance_id") {
            group = group.instance(instance);
        }
        if let Some(protocol) = self.parsed("group_protocol", "classic or consumer", protocol)? {
            group = group.protocol(protocol);
        }
        let known = "range, roundrobin or cooperative-sticky, with commas";
        if let Some(assignors) = self.parsed("partition_assignment_strategy", known, assignors)? {
            group = group.assignors(assignors);
        }
        if let Some(time) = self.millis("session_timeout_ms")? {
            group = group.session_timeout(time);
        }
        if let Some(time) = self.millis("heartbeat_interval_ms")? {
            group = group.heartbeat_interval(time);
        }
        if let Some(time) = self.millis("max_poll_interval_ms")? {
            group = group.max_poll_interval(time);
        }
        Ok(group)
    }

    fn reset(&self) -> Result<Option<Reset>, Error> {
        self.parsed("auto_offset_reset", "earliest, latest or none", reset)
    }

    /// How to read, whoever does.
    ///
    /// ```
    /// use kafkacrypto::kafka::{Isolation, Settings};
    ///
    /// let settings = Settings::new([("isolation.level", "read_uncommitted")])?;
    /// assert_eq!(settings.reader()?.isolation, Isolation::Uncommitted);
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value that makes no sense.
    pub fn reader(&self) -> Result<ReaderConfig, Error> {
        let mut config = ReaderConfig::default();
        if let Some(reset) = self.reset()? {
            config = config.reset(reset);
        }
        if let Some(isolation) = self.parsed("isolation_level", "read_committed or read_uncommitted", isolation)? {
            config = config.isolation(isolation);
        }
        if let Some(bytes) = self.number("max_partition_fetch_bytes")? {
            config = config.partition_bytes(bytes);
        }
        if let Some(bytes) = self.number("fetch_max_bytes")? {
            config = config.buffer(bytes);
        }
        Ok(config)
    }
}

fn acks(text: &str) -> Option<Acks> {
    match text.to_ascii_lowercase().as_str() {
        "all" | "-1" => Some(Acks::All),
        "1" => Some(Acks::Leader),
        "0" => Some(Acks::None),
        _ => None,
    }
}

fn compression(text: &str) -> Option<Compression> {
    Compression::from_name(&text.to_ascii_lowercase())
}

fn protocol(text: &str) -> Option<GroupProtocol> {
    match text.to_ascii_lowercase().as_str() {
        "classic" => Some(GroupProtocol::Classic),
        "consumer" => Some(GroupProtocol::Consumer),
        _ => None,
    }
}

fn assignors(text: &str) -> Option<Vec<Assignor>> {
    text.split(',').map(Assignor::named).collect()
}

fn reset(text: &str) -> Option<Reset> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" | "smallest" | "beginning" => Some(Reset::Earliest),
        "latest" | "largest" | "end" => Some(Reset::Latest),
        "none" | "error" => Some(Reset::Stop),
        _ => None,
    }
}

fn isolation(text: &str) -> Option<Isolation> {
    match text.to_ascii_lowercase().as_str() {
        "read_committed" => Some(Isolation::Committed),
        "read_uncommitted" => Some(Isolation::Uncommitted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_what_is_done() {
        let settings = [
            ("linger_ms", "5"),
            ("partitioner", "consistent_random"),
            ("group_id", "g"),
            ("partition_assignment_strategy", "roundrobin,range"),
            ("enable_auto_commit", "False"),
            ("auto_offset_reset", "smallest"),
            ("fetch_max_bytes", "1000"),
        ];
        let settings = Settings::new(settings).unwrap();
        let producer = ProducerConfig::new().linger(Duration::from_millis(5)).partitioner(Partitioner::Librdkafka);
        assert_eq!(settings.producer().unwrap(), producer);
        let group = GroupSettings::new("g").assignors([Assignor::RoundRobin, Assignor::Range]);
        let reader = ReaderConfig::default().reset(Reset::Earliest).buffer(1000);
        assert_eq!(settings.consumer().unwrap(), ConsumerConfig::in_group(group).auto_commit(None).reader(reader));
    }

    #[test]
    fn values_that_mean_nothing_are_named() {
        for (name, value) in [("acks", "2"), ("linger_ms", "soon"), ("partitioner", "fair"), ("batch_size", "-1")] {
            let error = Settings::new([(name, value)]).unwrap().producer().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name} is \"{value}\"")), "{error}");
        }
        for (name, value) in [("partition_assignment_strategy", "range,fair"), ("group_protocol", "new")] {
            let error = Settings::new([("group_id", "g"), (name, value)]).unwrap().consumer().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name} is \"{value}\"")), "{error}");
        }
    }
}
