//! How to reach a cluster: addresses, names, limits, times, security.
//!
//! It reads settings and never a socket, and never shows a secret. It owns no bytes of the protocol.

mod librdkafka;
mod names;
mod security;
mod settings;
mod uses;

use std::time::Duration;

pub use settings::Settings;
pub use uses::Said;

use super::error::{Error, ErrorKind, escaped};
use super::security::SecuritySettings;

/// How to reach a cluster.
///
/// ```
/// use kafkacrypto::kafka::Config;
///
/// let config = Config::new(["broker.example:9092"]).client_id("meter-7");
/// assert_eq!(config.bootstrap(), ["broker.example:9092"]);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    bootstrap: Vec<String>,
    client_id: String,
    client_rack: String,
    setup_timeout: Duration,
    request_timeout: Duration,
    metadata_max_age: Duration,
    backoff: (Duration, Duration),
    idle_timeout: Duration,
    max_frame_bytes: usize,
    max_request_bytes: usize,
    security: SecuritySettings,
}

impl Config {
    /// A cluster that any of these addresses (`host:port`; the port is 9092 when it is left out) leads to, in the clear
    /// and without credentials.
    #[doc(alias = "bootstrap_servers")]
    pub fn new<S: AsRef<str>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().filter_map(|address| with_port(address.as_ref())).collect(),
            client_id: "kafka-rust".to_owned(),
            client_rack: String::new(),
            setup_timeout: Duration::from_secs(4),
            request_timeout: Duration::from_secs(30),
            metadata_max_age: Duration::from_secs(300),
            backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            idle_timeout: Duration::from_secs(540),
            max_frame_bytes: 100 * 1024 * 1024,
            max_request_bytes: 1024 * 1024,
            security: SecuritySettings::default(),
        }
    }

    /// Sets the name that the brokers' logs and quotas know this client by.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Sets where this client is, as brokers' `broker.rack` says it: brokers that choose by rack
    /// (`replica.selector.class`) then have it read from a replica that is near (KIP-392; from leaders at first).
    ///
    /// ```
    /// # use kafkacrypto::kafka::Config;
    /// let config = Config::new(["broker.example:9092"]).client_rack("eu-central-1a");
    /// ```
    pub fn client_rack(mut self, rack: impl Into<String>) -> Self {
        self.client_rack = rack.into();
        self
    }

    /// Sets how long making a connection may take: name look-up, TCP, TLS, version negotiation and SASL together (4 s
    /// at first).
    #[doc(alias = "socket_connection_setup_timeout_ms")]
    pub fn setup_timeout(mut self, time: Duration) -> Self {
        self.setup_timeout = time;
        self
    }

    /// Sets how long a request may take when the caller doesn't say (30 s at first).
    #[doc(alias = "request_timeout_ms")]
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// Sets after how long metadata is asked for again without any error (5 min at first).
    #[doc(alias = "metadata_max_age_ms")]
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = age;
        self
    }

    /// Sets how long to wait before a connection or a look at the metadata is tried again: at first, and at most (50 ms
    /// and 1 s).
    #[doc(alias = "reconnect_backoff_ms")]
    #[doc(alias = "reconnect_backoff_max_ms")]
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = (first, most.max(first));
        self
    }

    /// Sets how long a connection may be idle before it is closed (9 min at first, a minute less than brokers do).
    #[doc(alias = "connections_max_idle_ms")]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time;
        self
    }

    /// Sets how big an answer of a broker may be (100 MiB at first); bigger ones end the connection.
    #[doc(alias = "receive_message_max_bytes")]
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets how big a batch may be that is sent (1 MiB at first, as in kafka-python).
    #[doc(alias = "max_request_size")]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// The addresses.
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }

    /// Whether there are addresses, and all can be some.
    pub(in crate::kafka) fn check_bootstrap(&self) -> Result<(), Error> {
        if self.bootstrap.is_empty() {
            return Err(Error::new(ErrorKind::Config, "bootstrap_servers is missing"));
        }
        match self.bootstrap.iter().find(|address| !is_address(address)) {
            None => Ok(()),
            Some(wrong) => {
                let message = format!("bootstrap_servers has \"{}\", and that is no host:port", escaped(wrong));
                let advice = "give host:port with a port up to 65535, such as broker.example:9092, with commas between";
                Err(Error::new(ErrorKind::Config, message).advising(advice))
            }
        }
    }

    pub(in crate::kafka) fn security(&self) -> &SecuritySettings {
        &self.security
    }

    pub(in crate::kafka) fn name(&self) -> &str {
        &self.client_id
    }

    pub(in crate::kafka) fn rack(&self) -> &str {
        &self.client_rack
    }

    pub(in crate::kafka) fn times(&self) -> Times {
        Times {
            setup: self.setup_timeout,
            request: self.request_timeout,
            metadata_max_age: self.metadata_max_age,
            first_backoff: self.backoff.0,
            most_backoff: self.backoff.1,
            idle: self.idle_timeout,
        }
    }

    pub(in crate::kafka) fn most_frame_bytes(&self) -> usize {
        self.max_frame_bytes
    }

    pub(in crate::kafka) fn most_request_bytes(&self) -> usize {
        self.max_request_bytes
    }
}

/// All that is about time.
#[derive(Debug, Clone, Copy)]
pub(in crate::kafka) struct Times {
    pub(in crate::kafka) setup: Duration,
    pub(in crate::kafka) request: Duration,
    pub(in crate::kafka) metadata_max_age: Duration,
    pub(in crate::kafka) first_backoff: Duration,
    pub(in crate::kafka) most_backoff: Duration,
    pub(in crate::kafka) idle: Duration,
}

/// Whether this can be `host:port`.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |host: &str| !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    port.parse::<u16>().is_ok_and(|port| port > 0)
        && inner.map_or_else(|| named(host), |host| is_v6(host) || named(host))
}

/// With or without a zone.
fn is_v6(host: &str) -> bool {
    host.split('%').next().is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// The address with its port; `None` when there is no address.
fn with_port(address: &str) -> Option<String> {
    let address = address.trim();
    let host = address.rsplit_once(':').map(|(host, _)| host);
    match host {
        None if address.is_empty() => None,
        Some(host) if !host.contains(':') || host.ends_with(']') => Some(address.to_owned()),
        Some(_) if is_v6(address) => Some(format!("[{address}]:9092")),
        Some(_) if !address.ends_with(']') => Some(address.to_owned()),
        _ => Some(format!("{address}:9092")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for fine in ["a", "b.example:1", "::1", "[fe80::1%eth0]:2", "10.0.0.1:65535", "under_score:9"] {
            Config::new([fine]).check_bootstrap().unwrap();
        }
        for wrong in ["http://localhost:9092", "localhost:99999", "localhost:0", "a b:1", "a:", ":9092", "a:b:c"] {
            let error = Config::new(["fine:9092", wrong]).check_bootstrap().unwrap_err();
            assert!(error.to_string().contains(&format!("\"{wrong}\", and that is no host:port; give")), "{error}");
        }
    }

    #[test]
    fn ports_are_added() {
        let config = Config::new(["a", "b:1", "::1", "[::1]", "[::1]:2", ""]);
        assert_eq!(config.bootstrap(), ["a:9092", "b:1", "[::1]:9092", "[::1]:9092", "[::1]:2"]);
    }
}
