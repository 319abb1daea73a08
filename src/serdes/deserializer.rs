use std::fmt;
use std::sync::Arc;

use crate::keyring::Keyring;
use crate::keys::Purpose;
use crate::message::Message;
use crate::topic::Naming;

/// Decrypts record keys or values. Never waits: a message whose key is unknown comes back pending, and the key is asked for.
///
/// ```
/// use std::sync::Arc;
/// use kafkacrypto::{keyring::Keyring, keys::Purpose, message::State, serdes::Deserializer};
/// let values = Deserializer::new(Arc::new(Keyring::new()), Arc::default(), Purpose::Value);
/// assert_eq!(values.deserialize("lab.sensor", None).state(), State::Null);
/// ```
#[derive(Clone)]
pub struct Deserializer {
    keyring: Arc<Keyring>,
    naming: Arc<Naming>,
    purpose: Purpose,
}

impl Deserializer {
    /// A deserializer for record keys or record values, by `purpose`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, naming: Arc<Naming>, purpose: Purpose) -> Self {
        Self { keyring, naming, purpose }
    }

    /// What the bytes of a record's key or value are.
    #[must_use]
    pub fn deserialize(&self, topic: &str, bytes: Option<&[u8]>) -> Message {
        Message::read(&self.keyring, self.naming.root_of(topic), self.purpose, bytes)
    }
}

impl fmt::Debug for Deserializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyring: _, naming: _, purpose } = self;
        f.debug_struct("Deserializer").field("purpose", purpose).finish_non_exhaustive()
    }
}
