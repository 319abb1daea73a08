//! The settings of a node, typed and checked (protocol.md §9 and §12.1).

use std::time::Duration;

use super::{ConfigError, NodeConfig};

/// What `[<node>]` and `[<node>-crypto]` say, with the defaults of protocol.md §9 for what they leave out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NodeSettings {
    /// `topic_separator`: a root topic is what stands before the first one.
    pub topic_separator: String,
    /// `topic_suffix_subs`.
    pub topic_suffix_subs: String,
    /// `topic_suffix_keys`.
    pub topic_suffix_keys: String,
    /// `topic_suffix_reqs`.
    pub topic_suffix_reqs: String,
    /// `mgmt_topic_chains`.
    pub mgmt_topic_chains: String,
    /// `mgmt_topic_allowlist`.
    pub mgmt_topic_allowlist: String,
    /// `mgmt_topic_denylist`.
    pub mgmt_topic_denylist: String,
    /// `crypto_max_pgen_age`, in seconds: how long a producer's secret is given out.
    pub crypto_max_pgen_age: Duration,
    /// `crypto_sub_interval`, in seconds: the longest pause between two requests for the same key.
    pub crypto_sub_interval: Duration,
    /// `crypto_ratchet_interval`, in seconds.
    pub crypto_ratchet_interval: Duration,
    /// `mgmt_flush_time`, in seconds.
    pub mgmt_flush_time: Duration,
    /// `mgmt_poll_interval`, in milliseconds.
    pub mgmt_poll_interval: Duration,
    /// `mgmt_poll_records`.
    pub mgmt_poll_records: u32,
    /// `mgmt_subscribe_interval`, in seconds.
    pub mgmt_subscribe_interval: Duration,
    /// `mgmt_long_keyindex`.
    pub mgmt_long_keyindex: bool,
    /// `deser_initial_wait_intervals`: how long a consumer waits for a key that it meets for the first time.
    pub deser_initial_wait_intervals: u32,
    /// `deser_wait_interval`, in seconds: one of those intervals. Ours.
    pub deser_wait_interval: Duration,
    /// `crypto_reqs_lookback`, in seconds: how old a request may be that is still answered at the start. Ours;
    /// twice `crypto_sub_interval` when it is missing.
    pub crypto_reqs_lookback: Duration,
    /// `require_pq`: whether only post-quantum key exchanges are accepted. Ours.
    pub require_pq: bool,
    /// `cryptokey : file#…`: the key file.
    pub key_file: Option<String>,
    /// `ratchet : file#…`: the seed file.
    pub seed_file: Option<String>,
    /// `keytypes`: which of the keys in the key file are used; all of them when it is missing.
    pub key_types: Option<Vec<u8>>,
    /// `maxage` in `crypto`, in seconds: how long our requests and replies are valid.
    pub max_age: Duration,
    /// `log_level` in `crypto`, as it stands there.
    pub log_level: Option<String>,
}

impl Default for NodeSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            topic_separator: ".".to_owned(),
            topic_suffix_subs: ".subs".to_owned(),
            topic_suffix_keys: ".keys".to_owned(),
            topic_suffix_reqs: ".reqs".to_owned(),
            mgmt_topic_chains: "chains".to_owned(),
            mgmt_topic_allowlist: "allowlist".to_owned(),
            mgmt_topic_denylist: "denylist".to_owned(),
            crypto_max_pgen_age: seconds(604_800),
            crypto_sub_interval: seconds(60),
            crypto_ratchet_interval: seconds(86_400),
            mgmt_flush_time: seconds(2),
            mgmt_poll_interval: Duration::from_millis(500),
            mgmt_poll_records: 8,
            mgmt_subscribe_interval: seconds(300),
            mgmt_long_keyindex: true,
            deser_initial_wait_intervals: 10,
            deser_wait_interval: seconds(1),
            crypto_reqs_lookback: seconds(120),
            require_pq: false,
            key_file: None,
            seed_file: None,
            key_types: None,
            max_age: seconds(86_400),
            log_level: None,
        }
    }
}

impl NodeConfig {
    /// The settings of this node. A value that can't be what its name says is an error.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    /// use std::time::Duration;
    ///
    /// let text = "[DEFAULT]\nnode_id : n\n[n]\nmgmt_poll_interval : 100\ncryptokey : file#n.crypto\nkeytypes : 1,4\n";
    /// let settings = NodeConfig::parse(text)?.settings()?;
    /// assert_eq!(settings.mgmt_poll_interval, Duration::from_millis(100));
    /// assert_eq!(settings.key_file.as_deref(), Some("n.crypto"));
    /// assert_eq!(settings.key_types, Some(vec![1, 4]));
    /// assert!(NodeConfig::parse("[DEFAULT]\nnode_id : n\n[n]\nmgmt_poll_interval : soon\n")?.settings().is_err());
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn settings(&self) -> Result<NodeSettings, ConfigError> {
        let mut settings = NodeSettings::default();
        self.names(&mut settings)?;
        self.times(&mut settings)?;
        self.choices(&mut settings)?;
        settings.key_file = self.file("cryptokey")?;
        settings.seed_file = self.file("ratchet")?;
        Ok(settings)
    }

    fn names(&self, settings: &mut NodeSettings) -> Result<(), ConfigError> {
        let fields = [
            ("topic_separator", &mut settings.topic_separator),
            ("topic_suffix_subs", &mut settings.topic_suffix_subs),
            ("topic_suffix_keys", &mut settings.topic_suffix_keys),
            ("topic_suffix_reqs", &mut settings.topic_suffix_reqs),
            ("mgmt_topic_chains", &mut settings.mgmt_topic_chains),
            ("mgmt_topic_allowlist", &mut settings.mgmt_topic_allowlist),
            ("mgmt_topic_denylist", &mut settings.mgmt_topic_denylist),
        ];
        for (name, field) in fields {
            self.read("", name, "text that isn't empty", field, |text| (!text.is_empty()).then(|| text.to_owned()))?;
        }
        Ok(())
    }

    fn times(&self, settings: &mut NodeSettings) -> Result<(), ConfigError> {
        let second = 1.0;
        let millisecond = 0.001;
        self.time("", "crypto_sub_interval", &mut settings.crypto_sub_interval, second)?;
        settings.crypto_reqs_lookback = settings.crypto_sub_interval.saturating_mul(2);
        let fields = [
            ("", "crypto_max_pgen_age", &mut settings.crypto_max_pgen_age, second),
            ("", "crypto_ratchet_interval", &mut settings.crypto_ratchet_interval, second),
            ("", "crypto_reqs_lookback", &mut settings.crypto_reqs_lookback, second),
            ("", "mgmt_flush_time", &mut settings.mgmt_flush_time, second),
            ("", "mgmt_poll_interval", &mut settings.mgmt_poll_interval, millisecond),
            ("", "mgmt_subscribe_interval", &mut settings.mgmt_subscribe_interval, second),
            ("", "deser_wait_interval", &mut settings.deser_wait_interval, second),
            ("crypto", "maxage", &mut settings.max_age, second),
        ];
        for (short, name, field, unit) in fields {
            self.time(short, name, field, unit)?;
        }
        Ok(())
    }

    fn choices(&self, settings: &mut NodeSettings) -> Result<(), ConfigError> {
        let yes_or_no = "`True` or `False`";
        self.read("", "mgmt_long_keyindex", yes_or_no, &mut settings.mgmt_long_keyindex, boolean)?;
        self.read("", "require_pq", yes_or_no, &mut settings.require_pq, boolean)?;
        self.read("", "mgmt_poll_records", "a whole number above 0", &mut settings.mgmt_poll_records, |text| {
            whole(text).filter(|count| *count > 0)
        })?;
        let intervals = &mut settings.deser_initial_wait_intervals;
        self.read("", "deser_initial_wait_intervals", "a whole number", intervals, whole)?;
        let types = "key types separated by commas, such as `1` or `1,4`";
        self.read("", "keytypes", types, &mut settings.key_types, |text| key_types(text).map(Some))?;
        self.read("crypto", "log_level", "text", &mut settings.log_level, |text| Some(Some(text.to_owned())))
    }

    fn file(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let mut path = None;
        let parse =
            |text: &str| text.strip_prefix("file#").filter(|path| !path.is_empty()).map(|path| Some(path.to_owned()));
        self.read("", name, "`file#` and a path", &mut path, parse)?;
        Ok(path)
    }

    fn time(&self, short: &str, name: &str, field: &mut Duration, unit: f64) -> Result<(), ConfigError> {
        let expected = if unit < 1.0 { "a number of milliseconds above 0" } else { "a number of seconds above 0" };
        self.read(short, name, expected, field, |text| duration(text, unit))
    }

    /// Reads one setting into its field, if it is there.
    fn read<T>(
        &self,
        short: &str,
        name: &str,
        expected: &str,
        field: &mut T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<(), ConfigError> {
        let Some(text) = self.text(short, name)? else { return Ok(()) };
        let bad = || ConfigError::BadValue {
            section: self.section(short),
            name: name.to_owned(),
            expected: format!("{expected}, but is `{}`", text.escape_debug()),
        };
        *field = parse(&text).ok_or_else(bad)?;
        Ok(())
    }
}

fn duration(text: &str, unit: f64) -> Option<Duration> {
    let number = crate::store::value::Value::parse(text).ok()?.as_f64()?;
    Duration::try_from_secs_f64(number * unit).ok().filter(|time| !time.is_zero())
}

fn whole(text: &str) -> Option<u32> {
    let number = crate::store::value::Value::parse(text).ok()?.as_i64()?;
    number.try_into().ok()
}

fn boolean(text: &str) -> Option<bool> {
    crate::store::value::Value::parse(text).ok()?.as_bool()
}

fn key_types(text: &str) -> Option<Vec<u8>> {
    text.split(',').map(|part| part.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(own: &str) -> Result<NodeSettings, ConfigError> {
        NodeConfig::parse(&format!("[DEFAULT]\nnode_id : n\n[n]\n{own}\n")).unwrap().settings()
    }

    #[test]
    fn nothing_set_means_the_defaults() {
        assert_eq!(settings("").unwrap(), NodeSettings::default());
    }

    #[test]
    fn numbers_units_and_text() {
        let read = settings("crypto_sub_interval : 0.5\nmgmt_topic_chains : 7\nmgmt_long_keyindex : FALSE").unwrap();
        assert_eq!(read.crypto_sub_interval, Duration::from_millis(500));
        assert_eq!(read.crypto_reqs_lookback, Duration::from_secs(1));
        assert_eq!(read.mgmt_topic_chains, "7");
        assert!(!read.mgmt_long_keyindex);
    }

    #[test]
    fn the_crypto_section() {
        let read = settings("[n-crypto]\nmaxage : 604800\nlog_level : 20").unwrap();
        assert_eq!(read.max_age, Duration::from_secs(604_800));
        assert_eq!(read.log_level.as_deref(), Some("20"));
    }

    #[test]
    fn bad_values_are_named() {
        for (text, part) in [
            ("topic_separator :", "topic_separator"),
            ("crypto_max_pgen_age : -1", "seconds above 0, but is `-1`"),
            ("crypto_max_pgen_age : nan", "is `nan`"),
            ("crypto_max_pgen_age : 1e300", "is `1e300`"),
            ("mgmt_poll_interval : 0", "milliseconds"),
            ("mgmt_poll_records : 0", "above 0"),
            ("deser_initial_wait_intervals : 1.5", "whole number"),
            ("mgmt_long_keyindex : yes", "`True` or `False`"),
            ("cryptokey : n.crypto", "`file#` and a path"),
            ("keytypes : one", "key types"),
        ] {
            let message = settings(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("[n]"), "{message}");
        }
    }
}
