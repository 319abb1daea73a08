use crate::chain::Description;
use crate::keys::SigningPublicKey;
use crate::store::config::{ConfigError, NodeConfig};

/// The key that a chain is for, by its own word.
#[must_use]
pub fn leaf_key(chain: &[u8]) -> Option<SigningPublicKey> {
    Description::of(chain).ok()?.elements.last()?.certificate.key().signing_key()
}

/// Stores a node's chain in its config, in the place of the one for the same key. `index` is the key's in the key file: the
/// chain is called `chain<index>`, unless that is the name of another key's.
///
/// Names alone don't say whose a chain is: Python counts only the keys that `keytypes` enables, and finds a chain by the
/// key that it is for.
///
/// # Errors
/// [`ConfigError`].
///
/// ```
/// use kafkacrypto::chain::{chain_of, root_certificate};
/// use kafkacrypto::keys::SigningKey;
/// use kafkacrypto::provision::store_chain;
/// use kafkacrypto::store::config::NodeConfig;
/// let key = |seed| SigningKey::from_ed25519_seed(&[seed; 32]);
/// let chain = |seed| chain_of(&[&key(9).sign(&root_certificate(key(seed).public()))]);
/// let mut config = NodeConfig::new("n")?;
/// store_chain(&mut config, 0, &chain(1))?;
/// store_chain(&mut config, 1, &chain(1))?;
/// assert_eq!(config.entries("chains").len(), 1);
/// store_chain(&mut config, 0, &chain(2))?;
/// assert_eq!(config.entries("chains").len(), 2);
/// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
/// ```
pub fn store_chain(config: &mut NodeConfig, index: usize, chain: &[u8]) -> Result<(), ConfigError> {
    let key = leaf_key(chain);
    let stored: Vec<_> = (config.entries("chains").into_iter())
        .map(|entry| (entry.name, entry.value.ok().and_then(|value| leaf_key(value.as_bytes()?))))
        .collect();
    let mut same = stored.iter().filter(|(_, stored)| stored.is_some() && *stored == key).map(|(name, _)| name.clone());
    let taken = |name: &String| stored.iter().any(|(stored, key)| stored == name && key.is_some());
    let free = || (index..).map(|number| format!("chain{number}")).find(|name| !taken(name));
    match same.next_back().or_else(free) {
        Some(name) => config.set("chains", &name, chain),
        None => Ok(()),
    }
}
