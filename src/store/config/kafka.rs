//! The Kafka settings of a config, merged for one use.

use std::collections::BTreeMap;

use super::{ConfigError, NodeConfig};
use crate::store::value::Value;

/// What a Kafka client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaUse {
    /// Reading.
    Consumer,
    /// Writing.
    Producer,
}

impl NodeConfig {
    /// The Kafka settings for a use, for the key exchange (`crypto`) or for the application: `kafka`, overridden by
    /// `kafka-<use>` and, with `crypto`, by `kafka-crypto` and `kafka-crypto-<use>`. Names are in lower case, values are
    /// the text of the config. A blank value unsets. A consumer always has a `group_id`.
    ///
    /// DIFFERENCE: blank values never show (Python keeps those that override nothing).
    ///
    /// ```
    /// use kafkacrypto::store::config::{KafkaUse, NodeConfig};
    ///
    /// let text = "[DEFAULT]\nnode_id : n\n[n-kafka]\nbootstrap_servers : a:9092\n[n-kafka-crypto]\nclient_id : x\n";
    /// let settings = NodeConfig::parse(text)?.kafka(KafkaUse::Consumer, true)?;
    /// assert_eq!(settings["bootstrap_servers"], "a:9092");
    /// assert_eq!(settings["client_id"], "x");
    /// assert_eq!(settings["group_id"], "n.kafkacrypto");
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    #[doc(alias = "get_kafka_config")]
    pub fn kafka(&self, usage: KafkaUse, crypto: bool) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut settings = BTreeMap::new();
        let sections = ["kafka", usage.section(false), "kafka-crypto", usage.section(true)];
        for short in sections.into_iter().take(if crypto { 4 } else { 2 }) {
            self.merge(short, &mut settings)?;
        }
        match usage {
            KafkaUse::Producer => drop(settings.remove("group_id")),
            KafkaUse::Consumer => drop(settings.entry("group_id".to_owned()).or_insert_with(|| self.group_id(crypto))),
        }
        Ok(settings)
    }

    fn merge(&self, short: &str, settings: &mut BTreeMap<String, String>) -> Result<(), ConfigError> {
        let section = self.section(short);
        for entry in self.entries(short) {
            let text = match entry.value? {
                Value::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| not_text(&section, &entry.name))?,
                _ => self.config().text(&section, &entry.name)?.unwrap_or_default(),
            };
            let name = entry.name.to_lowercase();
            if text.is_empty() {
                settings.remove(&name)
            } else {
                settings.insert(name, text)
            };
        }
        Ok(())
    }

    fn group_id(&self, crypto: bool) -> String {
        if crypto { format!("{}.kafkacrypto", self.node_id()) } else { self.node_id().to_owned() }
    }
}

impl KafkaUse {
    fn section(self, crypto: bool) -> &'static str {
        match (self, crypto) {
            (Self::Consumer, false) => "kafka-consumer",
            (Self::Producer, false) => "kafka-producer",
            (Self::Consumer, true) => "kafka-crypto-consumer",
            (Self::Producer, true) => "kafka-crypto-producer",
        }
    }
}

fn not_text(section: &str, name: &str) -> ConfigError {
    let expected = "text (its bytes are not UTF-8)".to_owned();
    ConfigError::BadValue { section: section.to_owned(), name: name.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[DEFAULT]\nnode_id : n\nnot_kafka : 1\n\
        [n-kafka]\nBootstrap_Servers : a\nx : 1\ny : base\nsasl_plain_password : 007\nby : base64#YQ==\nz :\n\
        [n-kafka-consumer]\nBOOTSTRAP_SERVERS : c\ny : consumer\n\
        [n-kafka-producer]\nx :\ngroup_id : never\n\
        [n-kafka-crypto]\ny : crypto\n[n-kafka-crypto-consumer]\nbootstrap_servers :\n";

    fn merged(usage: KafkaUse, crypto: bool) -> String {
        let settings = NodeConfig::parse(TEXT).unwrap().kafka(usage, crypto).unwrap();
        settings.into_iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn later_sections_override_and_blank_unsets() {
        let password = "sasl_plain_password=007";
        assert_eq!(merged(KafkaUse::Producer, false), format!("bootstrap_servers=a by=a {password} y=base "));
        assert_eq!(
            merged(KafkaUse::Consumer, false),
            format!("bootstrap_servers=c by=a group_id=n {password} x=1 y=consumer ")
        );
        assert_eq!(merged(KafkaUse::Consumer, true), format!("by=a group_id=n.kafkacrypto {password} x=1 y=crypto "));
    }
}
