//! Entries of old configs, moved to where they belong now.

use super::{ConfigError, NodeConfig};

impl NodeConfig {
    /// Moves what old versions kept elsewhere (`rot`, `chainrot` and `chain` in `crypto`) and returns what was moved, as
    /// `from -> to`. What already is in the new place stays, and the old entry with it.
    ///
    /// ```
    /// use kafkacrypto::store::config::NodeConfig;
    ///
    /// let mut config = NodeConfig::parse("[DEFAULT]\nnode_id : n\n[n-crypto]\nrot : base64#YQ==\n")?;
    /// assert_eq!(config.migrate()?, ["[n-crypto] rot -> [n-allowlist] rot"]);
    /// assert_eq!(config.migrate()?.len(), 0);
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn migrate(&mut self) -> Result<Vec<String>, ConfigError> {
        let mut moved = Vec::new();
        for (name, target, new_name) in MOVES {
            let entry = self.entries("crypto").into_iter().find(|entry| entry.name == name);
            let taken = self.entries(target).iter().any(|entry| entry.name == new_name);
            if let Some(entry) = entry.filter(|_| !taken) {
                self.set(target, new_name, entry.value?)?;
                self.remove("crypto", name);
                moved.push(format!("[{}] {name} -> [{}] {new_name}", self.section("crypto"), self.section(target)));
            }
        }
        Ok(moved)
    }
}

const MOVES: [(&str, &str, &str); 3] =
    [("rot", "allowlist", "rot"), ("chainrot", "allowlist", "chainrot"), ("chain", "chains", "chain0")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_entries_move_and_nothing_is_overwritten() {
        let text = "[DEFAULT]\nnode_id : n\n[n-crypto]\nrot : base64#YQ==\nchainrot : base64#Yg==\nchain : base64#Yw==\n\
            maxage : 5\n[n-allowlist]\nrot : base64#enp6\n";
        let mut config = NodeConfig::parse(text).unwrap();
        assert_eq!(config.migrate().unwrap().len(), 2);
        assert_eq!(
            config.render(),
            "[DEFAULT]\nnode_id : n\n[n-crypto]\nrot : base64#YQ==\nmaxage : 5\n[n-allowlist]\nrot : base64#enp6\n\
            chainrot : base64#Yg==\n\n[n-chains]\nchain0 : base64#Yw==\n"
        );
    }
}
