//! kafka-python's settings, and what becomes of each.

/// What becomes of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Read when a client is made.
    Client,
    /// Read when a producer is made.
    Producer,
    /// Read when a consumer is made.
    Consumer,
    /// Read when a consumer becomes a member of a group, and by nobody else.
    Group,
    /// Always as one of these values says, if there are any; another value is warned about.
    Fixed(&'static [&'static str]),
}

/// A setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) used: Use,
    /// What sets the same in a program; empty if nothing does.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the table in the docs"))]
    pub(super) builder: &'static str,
    /// What it does, or what is done instead.
    pub(super) says: &'static str,
}

/// The setting of this name.
pub(super) fn named(name: &str) -> Option<&'static Name> {
    NAMES.iter().find(|known| known.name == name)
}

/// All of them as a table, for the docs.
#[cfg(test)]
pub(super) fn table() -> String {
    let mut table =
        "| name | | in a program | what it does, or what is done instead |\n| --- | --- | --- | --- |\n".to_owned();
    for Name { name, used, builder, says } in NAMES {
        let used = match used {
            Use::Client => "client".to_owned(),
            Use::Producer => "producer".to_owned(),
            Use::Consumer => "consumer".to_owned(),
            Use::Group => "member of a group".to_owned(),
            Use::Fixed([]) => "warned about".to_owned(),
            Use::Fixed(values) => format!("warned about, but for {}", values.join(", ")),
        };
        let builder = if builder.is_empty() { String::new() } else { format!("`{builder}`") };
        table += &format!("| `{name}` | {used} | {builder} | {says} |\n");
    }
    table
}

const fn client(name: &'static str, builder: &'static str, says: &'static str) -> Name {
    Name { name, used: Use::Client, builder, says }
}

const fn producer(name: &'static str, builder: &'static str, says: &'static str) -> Name {
    Name { name, used: Use::Producer, builder, says }
}

const fn consumer(name: &'static str, builder: &'static str, says: &'static str) -> Name {
    Name { name, used: Use::Consumer, builder, says }
}

const fn group(name: &'static str, builder: &'static str, says: &'static str) -> Name {
    Name { name, used: Use::Group, builder, says }
}

const fn ignored(name: &'static str, says: &'static str) -> Name {
    Name { name, used: Use::Fixed(&[]), builder: "", says }
}

const fn fixed(name: &'static str, values: &'static [&'static str], says: &'static str) -> Name {
    Name { name, used: Use::Fixed(values), builder: "", says }
}

/// All settings of kafka-python 2.2 and 3.0 (`KafkaClient`, `KafkaProducer`, `KafkaConsumer`, `KafkaAdminClient`), and
/// those of ours that it lacks.
pub(super) const NAMES: &[Name] = &[
    // reaching the cluster
    client("bootstrap_servers", "Config::new", "addresses, `host:port,…`; the port is 9092 when it is left out"),
    client("client_id", "Config::client_id", "the name in the brokers' logs and quotas"),
    client(
        "client_rack",
        "Config::client_rack",
        "where we are: brokers that choose by rack have us read from a replica there (the leader)",
    ),
    client("request_timeout_ms", "Config::request_timeout", "how long a request may take (30000)"),
    client(
        "socket_connection_setup_timeout_ms",
        "Config::setup_timeout",
        "how long making a connection may take, TLS and SASL included (4000)",
    ),
    client("reconnect_backoff_ms", "Config::backoff", "the first wait before a connection is tried again (50)"),
    client("reconnect_backoff_max_ms", "Config::backoff", "the longest such wait (1000)"),
    client("connections_max_idle_ms", "Config::idle_timeout", "after how long an unused connection is closed (540000)"),
    client(
        "metadata_max_age_ms",
        "Config::metadata_max_age",
        "after how long metadata is asked for again without an error (300000)",
    ),
    client("receive_message_max_bytes", "Config::max_frame_bytes", "how big a broker's answer may be (104857600)"),
    client("max_request_size", "Config::max_request_bytes", "how big a batch may be (1048576)"),
    // security
    client("security_protocol", "Config::security_protocol", "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`"),
    client(
        "sasl_mechanism",
        "Config::sasl_mechanism",
        "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`; an error when it is another one",
    ),
    client("sasl_plain_username", "Config::sasl_plain_username", "the user of PLAIN and SCRAM"),
    client("sasl_plain_password", "Config::sasl_plain_password", "the password of PLAIN and SCRAM"),
    client(
        "ssl_cafile",
        "Config::ssl_cafile",
        "PEM file (or folder) with the authorities that are believed; the system's when it isn't set",
    ),
    client("ssl_certfile", "Config::ssl_certfile", "PEM file with our certificate and its chain, and perhaps the key"),
    client("ssl_keyfile", "Config::ssl_keyfile", "PEM file with its key: PKCS#8, PKCS#1 or SEC1"),
    client("ssl_password", "Config::ssl_password", "the password of a key in encrypted PKCS#8"),
    client(
        "ssl_crlfile",
        "Config::ssl_crlfile",
        "PEM file with lists of revoked certificates; only the broker's own is looked up",
    ),
    client(
        "ssl_check_hostname",
        "Config::danger_ssl_check_hostname",
        "whether the broker's certificate must name its host; false is obeyed with a warning",
    ),
    client("ssl_ca_pem", "Config::ssl_ca_pem", "`ssl_cafile` as a text (not in kafka-python)"),
    client("ssl_certificate_pem", "Config::ssl_certificate_pem", "`ssl_certfile` as a text (not in kafka-python)"),
    client("ssl_key_pem", "Config::ssl_key_pem", "`ssl_keyfile` as a text (not in kafka-python)"),
    ignored("sasl_oauth_token_provider", "no text can be one; `Config::sasl_oauth_token_provider` takes it"),
    ignored("ssl_context", "no text can be one; `Config::ssl_context` takes a `rustls::ClientConfig`"),
    ignored("ssl_ciphers", "TLS 1.2 and 1.3 with all ciphers that rustls holds to be safe"),
    ignored("sasl_kerberos_name", "there is no Kerberos"),
    ignored("sasl_kerberos_service_name", "there is no Kerberos"),
    ignored("sasl_kerberos_domain_name", "there is no Kerberos"),
    // producing
    producer(
        "acks",
        "ProducerConfig::acks",
        "`all` (or -1), `1` or `0`; all at first, and anything else makes the producer not idempotent; with 0 nobody learns what was lost, and offsets aren't told",
    ),
    producer("enable_idempotence", "ProducerConfig::idempotent", "whether a repeated batch makes no duplicate (true)"),
    producer("batch_size", "ProducerConfig::batch_size", "bytes in a batch before it is compressed"),
    producer("linger_ms", "ProducerConfig::linger", "how long a record waits for others (0)"),
    producer("compression_type", "ProducerConfig::compression", "`none`, `gzip`, `snappy`, `lz4` or `zstd`"),
    producer(
        "compression_level",
        "ProducerConfig::compression_level",
        "the codec's own level: gzip 1 to 9 (6), zstd -7 to 4 (3; more is taken as 4); not in kafka-python",
    ),
    producer("buffer_memory", "ProducerConfig::buffer_memory", "bytes of records that may be on their way"),
    producer(
        "max_block_ms",
        "ProducerConfig::max_block",
        "how long sending may wait for memory and metadata (60000; for memory until there is some when a node encrypts)",
    ),
    producer(
        "delivery_timeout_ms",
        "ProducerConfig::delivery_timeout",
        "after how long a record that isn't acknowledged has failed (120000; 30000 when a node encrypts it)",
    ),
    producer(
        "max_in_flight_requests_per_connection",
        "ProducerConfig::max_in_flight",
        "requests to one broker that may be out (at most 5)",
    ),
    producer(
        "partitioner",
        "ProducerConfig::partitioner",
        "`murmur2` (Java's) or `consistent` (librdkafka's), both also with `_random`: records without a key go anywhere",
    ),
    ignored("retries", "trying again goes on until `delivery_timeout_ms`"),
    ignored("retry_backoff_ms", "waits double from `reconnect_backoff_ms` to `reconnect_backoff_max_ms`"),
    ignored("transactional_id", "there are no transactions of our own"),
    ignored("transaction_timeout_ms", "there are no transactions of our own"),
    // consuming
    consumer(
        "group_id",
        "GroupSettings::new",
        "the group of `-G` and `-o stored`; without one, partitions are assigned and nothing is committed",
    ),
    group("group_instance_id", "GroupSettings::instance", "the name of a static member"),
    group("group_protocol", "GroupSettings::protocol", "`classic` or `consumer` (KIP-848) (not in kafka-python)"),
    group(
        "partition_assignment_strategy",
        "GroupSettings::assignors",
        "`range`, `roundrobin`, `cooperative-sticky`, with commas",
    ),
    group("session_timeout_ms", "GroupSettings::session_timeout", "after how long a silent member is out (45000)"),
    group(
        "heartbeat_interval_ms",
        "GroupSettings::heartbeat_interval",
        "how often a member says that it is there (3000)",
    ),
    group(
        "max_poll_interval_ms",
        "GroupSettings::max_poll_interval",
        "after how long a member that takes no records is out (300000)",
    ),
    group(
        "enable_auto_commit",
        "ConsumerConfig::auto_commit",
        "whether what was handed out is committed by time (true)",
    ),
    group("auto_commit_interval_ms", "ConsumerConfig::auto_commit", "how often (5000)"),
    consumer(
        "auto_offset_reset",
        "ReaderConfig::reset",
        "`earliest`, `latest` or `none`: where to go on when an offset isn't there; key topics are always read on from the first record that is",
    ),
    consumer(
        "isolation_level",
        "ReaderConfig::isolation",
        "`read_committed` (at first, unlike in kafka-python) or `read_uncommitted`",
    ),
    consumer(
        "max_partition_fetch_bytes",
        "ReaderConfig::partition_bytes",
        "bytes of a partition in one answer (2097152)",
    ),
    consumer("fetch_max_bytes", "ReaderConfig::buffer", "bytes that are read ahead"),
    consumer("max_poll_records", "ConsumerConfig::max_poll_records", "records that are handed out at once"),
    ignored("fetch_max_wait_ms", "a record is answered at once, however long the broker may wait for one"),
    fixed("fetch_min_bytes", &["1"], "an answer is sent as soon as there is a record"),
    fixed("check_crcs", &["true"], "checksums are always checked"),
    fixed("exclude_internal_topics", &["true"], "no subscription by pattern finds internal topics"),
    fixed("enable_incremental_fetch_sessions", &["true"], "fetch sessions are always incremental"),
    fixed("allow_auto_create_topics", &["false"], "no topic is created by asking for it"),
    ignored("consumer_timeout_ms", "each call says how long it may wait"),
    ignored("default_offset_commit_callback", "no text can be one; a commit returns its result"),
    ignored("key_serializer", "no text can be one; keys and values are bytes"),
    ignored("value_serializer", "no text can be one; keys and values are bytes"),
    ignored("key_deserializer", "no text can be one; keys and values are bytes"),
    ignored("value_deserializer", "no text can be one; keys and values are bytes"),
    // how kafka-python works inside
    ignored("api_version", "each broker is asked which versions it speaks"),
    ignored("api_version_auto_timeout_ms", "the answer has to come within `socket_connection_setup_timeout_ms`"),
    ignored("bootstrap_timeout_ms", "each call says how long it may take"),
    ignored("bootstrap_topics_filter", "metadata is asked for topic by topic"),
    ignored("client_dns_lookup", "all addresses of a name are tried, as by `use_all_dns_ips`"),
    ignored("client_software_name", "brokers are told the name of this crate"),
    ignored("client_software_version", "brokers are told the version of this crate"),
    ignored("socket_connection_setup_timeout_max_ms", "the time for a connection doesn't grow"),
    ignored("socket_options", "TCP_NODELAY is always set, and the system's defaults hold"),
    ignored("receive_buffer_bytes", "the system's default holds"),
    ignored("send_buffer_bytes", "the system's default holds"),
    ignored("sock_chunk_bytes", "as much is read as the next answer needs"),
    ignored("sock_chunk_buffer_count", "as much is read as the next answer needs"),
    ignored("socks5_proxy", "connections are direct"),
    ignored("proxy_url", "connections are direct"),
    ignored("selector", "tokio waits for sockets"),
    ignored("kafka_client", "no text can be one"),
    ignored("node_id", "connections know their brokers"),
    ignored("state_change_callback", "no text can be one; the log tells"),
    ignored("wakeup_timeout_ms", "nothing has to be woken up"),
    ignored("metrics", "what is measured is in the log"),
    ignored("metrics_enabled", "what is measured is in the log"),
    ignored("metric_reporters", "what is measured is in the log"),
    ignored("metric_group_prefix", "what is measured is in the log"),
    ignored("metrics_num_samples", "what is measured is in the log"),
    ignored("metrics_sample_window_ms", "what is measured is in the log"),
];
