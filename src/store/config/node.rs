//! The config of one node: its sections by their short names.

use std::fmt;

use super::{Config, ConfigError, Entry};
use crate::store::value::{Value, bytes_name};

/// A [`Config`] and the node that it is for.
///
/// Sections go by their short names: `""` for `[<node>]`, which holds the settings, `"crypto"` for `[<node>-crypto]`
/// and so on. An application keeps its own values in sections that it names, too. Names are looked up and written in
/// lower case, as Python does.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeConfig {
    config: Config,
    node_id: String,
}

impl NodeConfig {
    /// The config of a new node, not provisioned yet.
    ///
    /// DIFFERENCE: it trusts no temporary root, and has no `denylist` section (with one, a Python node takes no
    /// denylist message).
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// let config = NodeConfig::new("sensor-1")?;
    /// assert_eq!(config.text("kafka", "security_protocol")?.as_deref(), Some("SSL"));
    /// assert!(NodeConfig::new("").is_err());
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn new(node_id: &str) -> Result<Self, ConfigError> {
        let mut config = Config::default();
        config.set("DEFAULT", "node_id", node_id)?;
        let mut node = Self::from_config(config)?;
        node.set("", "mgmt_long_keyindex", true)?;
        node.config.add_section(&node.section("allowlist"))?;
        node.config.add_section(&node.section("crypto"))?;
        node.set("kafka", "bootstrap_servers", "")?;
        node.set("kafka", "security_protocol", "SSL")?;
        Ok(node)
    }

    /// Parses the text of a config.
    ///
    /// ```
    /// use kafkacrypto::store::config::{ConfigError, NodeConfig};
    ///
    /// assert_eq!(NodeConfig::parse("[DEFAULT]\nnode_id : 007\n")?.node_id(), "007");
    /// assert_eq!(NodeConfig::parse("[n]\n").unwrap_err(), ConfigError::NoNodeId);
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::from_config(Config::parse(text)?)
    }

    /// [`NodeConfig::parse`] for the bytes of a file.
    ///
    /// ```
    /// use kafkacrypto::store::config::{ConfigError, NodeConfig};
    ///
    /// assert_eq!(NodeConfig::from_bytes(b"\xff").unwrap_err(), ConfigError::NotText);
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::from_config(Config::from_bytes(bytes)?)
    }

    /// Takes a config for what its `node_id` says.
    ///
    /// ```
    /// use kafkacrypto::store::config::{Config, NodeConfig};
    ///
    /// let config = Config::parse("[DEFAULT]\nnode_id : n\n")?;
    /// assert_eq!(NodeConfig::from_config(config)?.section("crypto"), "n-crypto");
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn from_config(config: Config) -> Result<Self, ConfigError> {
        let node_id = config.text("DEFAULT", "node_id")?.filter(|id| !id.is_empty());
        Ok(Self { node_id: node_id.ok_or(ConfigError::NoNodeId)?, config })
    }

    /// Fails unless this is the config of the node `wanted`.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// assert!(NodeConfig::new("a")?.expect_node("b").is_err());
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn expect_node(&self, wanted: &str) -> Result<(), ConfigError> {
        if self.node_id == wanted {
            return Ok(());
        }
        Err(ConfigError::OtherNode { found: self.node_id.clone(), wanted: wanted.to_owned() })
    }

    /// The node ID.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// The text for the file.
    pub fn render(&self) -> String {
        self.config.render()
    }

    /// The whole config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The full name of a section, from its short name.
    pub fn section(&self, short: &str) -> String {
        if short.is_empty() { self.node_id.clone() } else { format!("{}-{short}", self.node_id) }
    }

    /// A value, decoded. What the section lacks is looked up in `DEFAULT`.
    ///
    /// ```
    /// use kafkacrypto::store::{config::NodeConfig, value::Value};
    ///
    /// let config = NodeConfig::parse("[DEFAULT]\nnode_id : n\n[n-crypto]\nmaxage : 5\n")?;
    /// assert_eq!(config.get("crypto", "maxage")?, Some(Value::Int(5)));
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    #[doc(alias = "load_value")]
    pub fn get(&self, short: &str, name: &str) -> Result<Option<Value>, ConfigError> {
        self.config.get(&self.section(short), &setting_name(name))
    }

    /// A value as the text that it is: `007` stays `007`.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// let config = NodeConfig::parse("[DEFAULT]\nnode_id : n\n[n-app]\npin : 007\n")?;
    /// assert_eq!(config.text("app", "pin")?.as_deref(), Some("007"));
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn text(&self, short: &str, name: &str) -> Result<Option<String>, ConfigError> {
        self.config.text(&self.section(short), &setting_name(name))
    }

    /// The entries of a section, without those of `DEFAULT`: chains, allowlist, denylist.
    #[doc(alias = "load_section")]
    pub fn entries(&self, short: &str) -> Vec<Entry> {
        self.config.entries(&self.section(short))
    }

    /// Sets a value; makes the section when it is missing.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// let mut config = NodeConfig::parse("[DEFAULT]\nnode_id : n\n")?;
    /// config.set("app", "Colour", "red")?;
    /// assert!(config.render().ends_with("\n[n-app]\ncolour : red\n"));
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    #[doc(alias = "store_value")]
    pub fn set(&mut self, short: &str, name: &str, value: impl Into<Value>) -> Result<(), ConfigError> {
        self.config.set(&self.section(short), &setting_name(name), value)
    }

    /// [`NodeConfig::set`] with bytes for a name: entries of the allowlist and the denylist.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// let mut config = NodeConfig::new("n")?;
    /// config.set_bytes("allowlist", b"a", &b"b"[..])?;
    /// assert!(config.render().contains("base64#YQ== : base64#Yg==\n"));
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn set_bytes(&mut self, short: &str, name: &[u8], value: impl Into<Value>) -> Result<(), ConfigError> {
        self.config.set(&self.section(short), &bytes_name(name), value)
    }

    /// Removes a value; says whether it was there. Takes names as [`Entry::name`] shows them, too.
    pub fn remove(&mut self, short: &str, name: &str) -> bool {
        let section = self.section(short);
        self.config.remove(&section, name) || self.config.remove(&section, &setting_name(name))
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, node_id } = self;
        f.debug_struct("NodeConfig").field("node_id", node_id).field("config", config).finish()
    }
}

/// Settings go by lower case names; bytes in the place of a name are left as they are.
fn setting_name(name: &str) -> String {
    if name.starts_with("base64#") { name.to_owned() } else { name.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_config_trusts_nobody_and_reads_back() {
        let new = NodeConfig::new("n").unwrap();
        assert!(new.entries("allowlist").is_empty());
        assert!(!new.config().has_section("n-denylist"));
        assert_eq!(NodeConfig::parse(&new.render()).unwrap(), new);
    }

    #[test]
    fn odd_node_ids() {
        assert_eq!(NodeConfig::new(" a").unwrap_err().to_string().matches("node_id").count(), 1);
        assert_eq!(NodeConfig::new("100%").unwrap().node_id(), "100%");
        assert!(NodeConfig::new("a\nb").is_err());
    }

    #[test]
    fn names_of_settings_are_lower_case() {
        let mut config = NodeConfig::parse("[DEFAULT]\nnode_id : n\n[n]\nMGMT_X : 1\n").unwrap();
        assert_eq!(config.get("", "MGMT_X").unwrap(), None);
        config.set("", "MGMT_X", 2).unwrap();
        assert_eq!(config.get("", "MGMT_x").unwrap(), Some(Value::Int(2)));
        assert!(config.remove("", "MGMT_X") && config.remove("", "MGMT_X") && !config.remove("", "MGMT_X"));
    }

    #[test]
    fn debug_shows_no_values() {
        let mut config = NodeConfig::new("n").unwrap();
        config.set("kafka", "sasl_plain_password", "hunter2").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
