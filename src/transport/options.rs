//! How to reach a Kafka cluster, from settings with the names of kafka-python.

use std::collections::BTreeMap;
use std::fmt;

use super::{TransportError, TransportErrorKind};

/// How to reach a cluster.
///
/// ```
/// use kafkacrypto::transport::KafkaOptions;
///
/// let options = KafkaOptions::new(["broker.example:9092"]).client_id("meter-7");
/// assert_eq!(options.bootstrap(), ["broker.example:9092"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    bootstrap: Vec<String>,
    security: Security,
    client_id: String,
    max_request_bytes: usize,
    max_frame_bytes: usize,
}

impl KafkaOptions {
    /// A cluster that any of these addresses (`host:port`; the port is 9092 when it is left out) leads to, in the clear
    /// and without credentials.
    pub fn new<S: AsRef<str>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().filter_map(|address| with_port(address.as_ref())).collect(),
            security: Security::Plaintext,
            client_id: "kafkacrypto".to_owned(),
            max_request_bytes: MAX_REQUEST_BYTES,
            max_frame_bytes: MAX_FRAME_BYTES,
        }
    }

    /// From the settings of a config, with kafka-python's names in any case. Also returns a warning for each name that
    /// has no meaning here.
    ///
    /// Read here: `bootstrap_servers`, `security_protocol` (`PLAINTEXT` when missing), `sasl_mechanism`,
    /// `sasl_plain_username`, `sasl_plain_password`, `client_id`, `max_request_size`. Names that the producer and the
    /// consumer read (`group_id`, `auto_offset_reset` and the like), and `ssl_…`, pass without a warning.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use kafkacrypto::transport::{KafkaOptions, TransportErrorKind};
    ///
    /// let mut settings = BTreeMap::from([("bootstrap_servers".to_owned(), "a:9092, b".to_owned())]);
    /// let (options, warnings) = KafkaOptions::from_settings(&settings)?;
    /// assert_eq!(options.bootstrap(), ["a:9092", "b:9092"]);
    /// assert!(warnings.is_empty());
    ///
    /// settings.insert("security_protocol".to_owned(), "SSL".to_owned());
    /// assert_eq!(KafkaOptions::from_settings(&settings).unwrap_err().kind(), TransportErrorKind::Configuration);
    /// # Ok::<(), kafkacrypto::transport::TransportError>(())
    /// ```
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<(Self, Vec<String>), TransportError> {
        let settings: BTreeMap<String, &str> =
            settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
        let value = |name: &str| settings.get(name).copied().filter(|value| !value.is_empty());
        let mut options = Self::new(value("bootstrap_servers").unwrap_or_default().split(','));
        if options.bootstrap.is_empty() {
            return Err(bad("bootstrap_servers is missing in the Kafka settings".to_owned()));
        }
        options.security = security(value)?;
        if let Some(id) = value("client_id") {
            options.client_id = id.to_owned();
        }
        if let Some(bytes) = value("max_request_size") {
            options.max_request_bytes = bytes
                .parse()
                .map_err(|_| bad(format!("max_request_size is {bytes:?}, which is no number of bytes")))?;
        }
        Ok((options, settings.keys().filter(|name| !is_known(name)).map(|name| warning(name)).collect()))
    }

    /// Sets how to talk to the cluster.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Sets the name that the brokers' logs and quotas know this client by.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Sets how big a batch may be that is sent (1 MiB at first, as in kafka-python).
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Sets how big an answer of a broker may be (100 MiB at first); bigger ones end the connection.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// The addresses.
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    pub(super) fn parts(&self) -> (&Security, &str, usize, usize) {
        (&self.security, &self.client_id, self.max_request_bytes, self.max_frame_bytes)
    }
}

/// How to talk to a cluster.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Security {
    /// In the clear, without credentials.
    Plaintext,
    /// In the clear, with credentials.
    SaslPlaintext {
        /// How they are sent.
        mechanism: SaslMechanism,
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("Plaintext"),
            Self::SaslPlaintext { mechanism, username, password: _ } => f
                .debug_struct("SaslPlaintext")
                .field("mechanism", mechanism)
                .field("username", username)
                .finish_non_exhaustive(),
        }
    }
}

/// How credentials are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The password itself.
    Plain,
    /// RFC 7677.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

fn security<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Security, TransportError> {
    let protocol = value("security_protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
    match protocol.as_str() {
        "PLAINTEXT" => Ok(Security::Plaintext),
        "SASL_PLAINTEXT" => sasl(value),
        "SSL" | "SASL_SSL" => Err(bad(format!(
            "security_protocol is {protocol}, and this version can't do TLS yet: use PLAINTEXT or SASL_PLAINTEXT on a \
             network you trust, or bring a transport of your own"
        ))),
        _ => Err(bad(format!("security_protocol is {protocol:?}, which is not PLAINTEXT or SASL_PLAINTEXT"))),
    }
}

fn sasl<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Result<Security, TransportError> {
    let needed = |name: &str| {
        value(name).map(str::to_owned).ok_or_else(|| bad(format!("{name} is missing beside SASL_PLAINTEXT")))
    };
    let mechanism = match needed("sasl_mechanism")?.to_ascii_uppercase().as_str() {
        "PLAIN" => SaslMechanism::Plain,
        "SCRAM-SHA-256" => SaslMechanism::ScramSha256,
        "SCRAM-SHA-512" => SaslMechanism::ScramSha512,
        other => return Err(bad(format!("sasl_mechanism is {other:?}, not PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"))),
    };
    let (username, password) = (needed("sasl_plain_username")?, needed("sasl_plain_password")?);
    Ok(Security::SaslPlaintext { mechanism, username, password })
}

/// The address with its port; `None` when there is no address.
fn with_port(address: &str) -> Option<String> {
    let address = address.trim();
    let host = address.rsplit_once(':').map(|(host, _)| host);
    match host {
        None if address.is_empty() => None,
        Some(host) if !host.contains(':') || host.ends_with(']') => Some(address.to_owned()),
        Some(_) if !address.ends_with(']') => Some(format!("[{address}]:9092")),
        _ => Some(format!("{address}:9092")),
    }
}

fn is_known(name: &str) -> bool {
    HERE.contains(&name) || ELSEWHERE.contains(&name) || name.starts_with("ssl_")
}

fn warning(name: &str) -> String {
    format!("the Kafka setting {name:?} has no meaning here and is ignored")
}

fn bad(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::Configuration, message)
}

const HERE: [&str; 7] = [
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "client_id",
    "max_request_size",
];
/// Read by those who use a transport.
const ELSEWHERE: [&str; 8] = [
    "group_id",
    "auto_offset_reset",
    "enable_auto_commit",
    "auto_commit_interval_ms",
    "max_partition_fetch_bytes",
    "fetch_max_bytes",
    "fetch_max_wait_ms",
    "max_poll_records",
];
/// kafka-python's `max_request_size`.
const MAX_REQUEST_BYTES: usize = 1_048_576;
const MAX_FRAME_BYTES: usize = 100 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<(KafkaOptions, Vec<String>), TransportError> {
        KafkaOptions::from_settings(&settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn credentials_are_read_and_not_shown() {
        let (options, warnings) = read(&[
            ("BOOTSTRAP_SERVERS", "h:1"),
            ("security_protocol", "sasl_plaintext"),
            ("sasl_mechanism", "SCRAM-SHA-512"),
            ("sasl_plain_username", "alice"),
            ("sasl_plain_password", "hush-hush"),
            ("group_id", "g"),
            ("ssl_cafile", "x"),
            ("linger_ms", "5"),
        ])
        .unwrap();
        let Security::SaslPlaintext { mechanism, username, password } = &options.security else { panic!() };
        assert_eq!(
            (*mechanism, username.as_str(), password.as_str()),
            (SaslMechanism::ScramSha512, "alice", "hush-hush")
        );
        assert!(!format!("{options:?}").contains("hush-hush"));
        assert_eq!(warnings, [warning("linger_ms")]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let sasl = ("security_protocol", "SASL_PLAINTEXT");
        for (settings, name) in [
            (vec![], "bootstrap_servers"),
            (vec![("bootstrap_servers", " , ")], "bootstrap_servers"),
            (vec![("bootstrap_servers", "h"), sasl], "sasl_mechanism"),
            (vec![("bootstrap_servers", "h"), sasl, ("sasl_mechanism", "GSSAPI")], "GSSAPI"),
            (vec![("bootstrap_servers", "h"), sasl, ("sasl_mechanism", "PLAIN")], "sasl_plain_username"),
            (vec![("bootstrap_servers", "h"), ("security_protocol", "SASL_SSL")], "TLS yet"),
            (vec![("bootstrap_servers", "h"), ("security_protocol", "QUIC")], "QUIC"),
            (vec![("bootstrap_servers", "h"), ("max_request_size", "big")], "max_request_size"),
        ] {
            let error = read(&settings).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::Configuration);
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn ports_are_added() {
        let options = KafkaOptions::new(["a", "b:1", "::1", "[::1]", "[::1]:2", ""]);
        assert_eq!(options.bootstrap(), ["a:9092", "b:1", "[::1]:9092", "[::1]:9092", "[::1]:2"]);
    }
}
