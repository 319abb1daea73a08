//! Settings as texts, with kafka-python's names or librdkafka's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::names::{self, Use};
use super::{Config, librdkafka};
use crate::kafka::error::{Error, ErrorKind, escaped};
use crate::kafka::security::{SaslMechanism, SecurityProtocol};

/// Settings as texts, such as a file or a command line has them: with kafka-python's names in any case, or with
/// librdkafka's (`security.protocol`).
///
/// Each setting is obeyed, or warned about, or refused when to go on without it isn't safe:
///
#[doc = include_str!("settings.md")]
///
/// ```
/// use kafkacrypto::kafka::Settings;
///
/// let settings = Settings::new([("bootstrap.servers", "a:9093"), ("SECURITY_PROTOCOL", "ssl"), ("selector", "x")])?;
/// assert_eq!(settings.client()?.bootstrap(), ["a:9093"]);
/// assert_eq!(settings.warnings(), ["the Kafka setting \"selector\" is ignored: tokio waits for sockets"]);
/// # Ok::<(), kafkacrypto::kafka::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
    warnings: Vec<String>,
}

impl Settings {
    /// Reads the names. Empty values are as if they weren't there.
    ///
    /// # Errors
    /// A setting of librdkafka's that can't be obeyed and can't be left out.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(settings: impl IntoIterator<Item = (N, V)>) -> Result<Self, Error> {
        let mut read = Self::default();
        for (name, value) in settings {
            read.set(name.as_ref(), value.as_ref())?;
        }
        Ok(read)
    }

    /// Sets one more, over what was there.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use kafkacrypto::kafka::Settings;
    ///
    /// let mut settings = Settings::default();
    /// settings.set("metadata.broker.list", "a")?;
    /// assert_eq!(settings.client()?.bootstrap(), ["a:9092"]);
    /// assert!(settings.set("enable.ssl.certificate.verification", "false").is_err());
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (said, lower) = (escaped(name), name.trim().to_ascii_lowercase());
        let (canonical, value) = match lower.contains('.') {
            true => librdkafka::translated(&lower, value.trim()).map_err(|why| bad(&said, why))?,
            false => (lower, value.trim().to_owned()),
        };
        let warning = match names::named(&canonical) {
            None => "it is unknown",
            Some(known) => match known.used {
                Use::Fixed(values) if !is_one_of(&value, values) => known.says,
                _ => {
                    if known.name == "bootstrap_servers" && !value.is_empty() {
                        Config::new(value.split(',')).check_bootstrap()?;
                    }
                    self.keep(known.name, value);
                    return Ok(());
                }
            },
        };
        self.warnings.push(format!("the Kafka setting \"{said}\" is ignored: {warning}"));
        Ok(())
    }

    /// What is ignored, and why.
    ///
    /// ```
    /// let settings = kafkacrypto::kafka::Settings::new([("linger_millis", "1")])?;
    /// assert_eq!(settings.warnings(), ["the Kafka setting \"linger_millis\" is ignored: it is unknown"]);
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What only members of a group heed, and nobody does who reads without one: a warning for each. The group's name isn't
    /// among them, since what a group committed can be read without being in it.
    ///
    /// ```
    /// let settings = kafkacrypto::kafka::Settings::new([("group_id", "g"), ("session_timeout_ms", "6000")])?;
    /// let warning = "the Kafka setting \"session_timeout_ms\" is ignored: only members of a group heed it";
    /// assert_eq!(settings.without_group(), [warning]);
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn without_group(&self) -> Vec<String> {
        let of_groups = |name: &&&str| names::named(name).is_some_and(|known| known.used == Use::Group);
        let names = self.values.keys().filter(of_groups);
        names.map(|name| format!("the Kafka setting \"{name}\" is ignored: only members of a group heed it")).collect()
    }

    /// How to reach the cluster.
    ///
    /// # Errors
    /// No address, or a value that makes no sense.
    ///
    /// ```
    /// use kafkacrypto::kafka::Settings;
    ///
    /// let error = Settings::new([("security_protocol", "SSL")])?.client().unwrap_err();
    /// assert!(error.to_string().starts_with("bootstrap_servers is missing"));
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn client(&self) -> Result<Config, Error> {
        let config = Config::new(self.text("bootstrap_servers").unwrap_or_default().split(','));
        if config.bootstrap().is_empty() {
            return Err(Error::new(ErrorKind::Config, "bootstrap_servers is missing in the Kafka settings"));
        }
        config.check_bootstrap()?;
        self.secured(self.timed(self.limited(config)?)?)
    }

    fn limited(&self, mut config: Config) -> Result<Config, Error> {
        if let Some(id) = self.text("client_id") {
            config = config.client_id(id);
        }
        if let Some(rack) = self.text("client_rack") {
            config = config.client_rack(rack);
        }
        if let Some(bytes) = self.number("receive_message_max_bytes")? {
            config = config.max_frame_bytes(bytes);
        }
        if let Some(bytes) = self.number("max_request_size")? {
            config = config.max_request_bytes(bytes);
        }
        Ok(config)
    }

    fn timed(&self, mut config: Config) -> Result<Config, Error> {
        let times = config.times();
        if let Some(time) = self.millis("request_timeout_ms")? {
            config = config.request_timeout(time);
        }
        if let Some(time) = self.millis("socket_connection_setup_timeout_ms")? {
            config = config.setup_timeout(time);
        }
        if let Some(time) = self.millis("connections_max_idle_ms")? {
            config = config.idle_timeout(time);
        }
        if let Some(time) = self.millis("metadata_max_age_ms")? {
            config = config.metadata_max_age(time);
        }
        let first = self.millis("reconnect_backoff_ms")?.unwrap_or(times.first_backoff);
        let most = self.millis("reconnect_backoff_max_ms")?.unwrap_or(times.most_backoff);
        Ok(config.backoff(first, most))
    }

    fn secured(&self, mut config: Config) -> Result<Config, Error> {
        if let Some(name) = self.text("security_protocol") {
            let protocol = SecurityProtocol::named(name);
            let expected = "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
            config = config.security_protocol(protocol.ok_or_else(|| self.not("security_protocol", expected))?);
        }
        if let Some(name) = self.text("sasl_mechanism") {
            let expected = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
            let mechanism = SaslMechanism::named(name);
            config = config.sasl_mechanism(mechanism.ok_or_else(|| self.not("sasl_mechanism", expected))?);
        }
        if let Some(check) = self.flag("ssl_check_hostname")? {
            config = config.danger_ssl_check_hostname(check);
        }
        let texts: [(&str, Setter); 10] = [
            ("sasl_plain_username", Config::sasl_plain_username),
            ("sasl_plain_password", Config::sasl_plain_password),
            ("ssl_cafile", Config::ssl_cafile),
            ("ssl_ca_pem", Config::ssl_ca_pem),
            ("ssl_certfile", Config::ssl_certfile),
            ("ssl_certificate_pem", Config::ssl_certificate_pem),
            ("ssl_keyfile", Config::ssl_keyfile),
            ("ssl_key_pem", Config::ssl_key_pem),
            ("ssl_password", Config::ssl_password),
            ("ssl_crlfile", Config::ssl_crlfile),
        ];
        for (name, set) in texts {
            if let Some(text) = self.text(name) {
                config = set(config, text.to_owned());
            }
        }
        config.security().check()?;
        Ok(config)
    }

    fn keep(&mut self, name: &'static str, value: String) {
        match value.is_empty() {
            true => self.values.remove(name),
            false => self.values.insert(name, value),
        };
    }

    /// The text of a setting.
    pub(in crate::kafka) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A number.
    pub(in crate::kafka) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        self.parsed(name, "a number that fits", |text| text.parse().ok())
    }

    /// A time in milliseconds, perhaps with a fraction.
    pub(in crate::kafka) fn millis(&self, name: &str) -> Result<Option<Duration>, Error> {
        let millis = |text: &str| Duration::try_from_secs_f64(text.parse::<f64>().ok()? / 1000.0).ok();
        self.parsed(name, "a number of milliseconds", millis)
    }

    /// Yes or no.
    pub(in crate::kafka) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.parsed(name, "true or false", flag)
    }

    /// Whatever a text stands for.
    pub(in crate::kafka) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| self.not(name, expected))
    }

    /// The error of a value that isn't what it should be. Not for secrets: it shows the value.
    fn not(&self, name: &str, expected: &str) -> Error {
        let value = escaped(self.text(name).unwrap_or_default());
        Error::new(ErrorKind::Config, format!("{name} is \"{value}\", and not {expected}"))
    }
}

/// The names, since values can be secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { values, warnings } = self;
        let names: Vec<_> = values.keys().collect();
        f.debug_struct("Settings").field("names", &names).field("warnings", warnings).finish()
    }
}

impl Config {
    /// From settings as texts: see [`Settings`]. Also returns a warning for each that is ignored.
    ///
    /// # Errors
    /// As [`Settings::new`] and [`Settings::client`].
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use kafkacrypto::kafka::Config;
    ///
    /// let settings = BTreeMap::from([("bootstrap_servers".to_owned(), "a:9092, b".to_owned())]);
    /// let (config, warnings) = Config::from_settings(&settings)?;
    /// assert_eq!(config.bootstrap(), ["a:9092", "b:9092"]);
    /// assert!(warnings.is_empty());
    /// # Ok::<(), kafkacrypto::kafka::Error>(())
    /// ```
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<(Self, Vec<String>), Error> {
        let settings = Settings::new(settings)?;
        Ok((settings.client()?, settings.warnings))
    }
}

type Setter = fn(Config, String) -> Config;

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "t" => Some(true),
        "false" | "no" | "off" | "0" | "f" => Some(false),
        _ => None,
    }
}

/// Whether a value is one of these, or the same flag, or isn't there.
fn is_one_of(value: &str, values: &[&str]) -> bool {
    let same = |one: &&str| one.eq_ignore_ascii_case(value) || flag(one).is_some() && flag(one) == flag(value);
    value.is_empty() || values.iter().any(same)
}

fn bad(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the Kafka setting \"{name}\" can't be obeyed: {why}"))
}

#[cfg(test)]
mod tests;
