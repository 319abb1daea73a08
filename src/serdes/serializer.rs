use std::fmt;
use std::sync::Arc;

use crate::keyring::{Event, Here, Keyring, Prepare, PrepareError, ProducerSecret};
use crate::keys::Purpose;
use crate::message::{self, Message, State};
use crate::topic::{Naming, Root};

/// Encrypts record keys or values. Never waits for the network; the first call under a root and ratchet index returns only
/// when the new secret is durable, since a record whose secret dies with the process is lost.
#[derive(Clone)]
pub struct Serializer {
    keyring: Arc<Keyring>,
    naming: Arc<Naming>,
    prepare: Arc<dyn Prepare>,
    purpose: Purpose,
}

/// Why nothing was encrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerializeError {
    /// There is no durable secret to encrypt with.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The format ends at 4 GiB.
    #[error("a message of {0} bytes is too long to be encrypted; split it")]
    TooLong(usize),
    /// A foreign message was to be forwarded.
    #[error("the message isn't encrypted, so it can't be forwarded; serialize its bytes to encrypt them")]
    Foreign,
}

impl Serializer {
    /// A serializer for record keys or record values, by `purpose`. `prepare` makes secrets durable.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, naming: Arc<Naming>, prepare: Arc<dyn Prepare>, purpose: Purpose) -> Self {
        Self { keyring, naming, prepare, purpose }
    }

    /// The encrypted message; null stays null.
    ///
    /// # Errors
    /// [`SerializeError`]: nothing was encrypted.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use kafkacrypto::{keyring::*, keys::{KeyIndex, Purpose}, secret::Secret, serdes::*, topic::Root};
    /// struct Ready;
    /// impl Prepare for Ready {
    ///     fn prepare(&self, _: &[Root]) -> Result<(), PrepareError> { Ok(()) }
    /// }
    /// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    /// let keyring = Arc::new(Keyring::new());
    /// let secret = ProducerSecret::new(Root::new("lab"), KeyIndex::Short(1), Secret::random(&mut rng), &mut rng);
    /// assert_eq!(keyring.install_producer(secret), Learned::New);
    /// let values = Serializer::new(keyring.clone(), Arc::default(), Arc::new(Ready), Purpose::Value);
    /// let sealed = values.serialize("lab.sensor", Some(b"21.5")).unwrap();
    /// assert_eq!(values.serialize("lab.sensor", None), Ok(None));
    /// assert!(values.serialize("elsewhere", Some(b"21.5")).is_err());
    ///
    /// let opened = Deserializer::new(keyring, Arc::default(), Purpose::Value).deserialize("lab.sensor", sealed.as_deref());
    /// assert_eq!(opened.cleartext(), Ok(Some(&b"21.5"[..])));
    /// ```
    pub fn serialize(&self, topic: &str, plaintext: Option<&[u8]>) -> Result<Option<Vec<u8>>, SerializeError> {
        plaintext.map(|plaintext| self.encrypt(topic, plaintext)).transpose()
    }

    /// A message that was consumed, to be produced again: what is decrypted is encrypted afresh, what is encrypted is
    /// forwarded unchanged (its readers need the key of the root that it came from).
    ///
    /// # Errors
    /// [`SerializeError`]: nothing was encrypted.
    pub fn serialize_message(&self, topic: &str, message: &Message) -> Result<Option<Vec<u8>>, SerializeError> {
        match message.state() {
            State::Null => Ok(None),
            State::Cleartext => self.encrypt(topic, message.bytes()).map(Some),
            State::Pending | State::Refused => Ok(Some(message.bytes().to_vec())),
            // DIFFERENCE: others forward what was never encrypted
            State::Foreign => Err(SerializeError::Foreign),
        }
    }

    /// Whether there is a durable secret for this topic, so that serializing returns at once.
    #[must_use]
    pub fn is_ready(&self, topic: &str) -> bool {
        self.keyring.current(&self.naming.root_of(topic)).is_some()
    }

    /// Makes the secrets for these topics ready ahead, with one write for all of them.
    ///
    /// # Errors
    /// [`SerializeError::Prepare`].
    pub fn prepare(&self, topics: &[&str]) -> Result<(), SerializeError> {
        let roots = topics.iter().map(|topic| self.naming.root_of(topic));
        let missing: Vec<Root> = roots.filter(|root| self.keyring.current(root).is_none()).collect();
        missing.iter().for_each(|root| self.keyring.use_root(root));
        if missing.is_empty() { Ok(()) } else { Ok(self.prepare.prepare(&missing)?) }
    }

    fn encrypt(&self, topic: &str, plaintext: &[u8]) -> Result<Vec<u8>, SerializeError> {
        let producer = self.producer(&self.naming.root_of(topic))?;
        let (salt, key) = producer.next_key(self.purpose);
        let sealed = message::seal(producer.index(), &salt, &key, plaintext);
        let sealed = sealed.ok_or(SerializeError::TooLong(plaintext.len()))?;
        self.keyring.count(Event::Encrypted);
        Ok(sealed)
    }

    fn producer(&self, root: &Root) -> Result<Arc<Here<ProducerSecret>>, SerializeError> {
        if let Some(producer) = self.keyring.current_here(root) {
            return Ok(producer);
        }
        self.keyring.use_root(root);
        self.prepare.prepare(std::slice::from_ref(root))?;
        // the ratchet may have stepped in between: then it is tried again by the caller
        let timed_out = || PrepareError::TimedOut { root: root.clone() };
        Ok(self.keyring.current_here(root).ok_or_else(timed_out)?)
    }
}

impl fmt::Debug for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyring: _, naming: _, prepare: _, purpose } = self;
        f.debug_struct("Serializer").field("purpose", purpose).finish_non_exhaustive()
    }
}
