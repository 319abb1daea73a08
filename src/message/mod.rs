//! What a deserializer makes of the bytes of a record's key or value (protocol §5).
//!
//! A message says what it is: null, cleartext, pending, refused or foreign. It must never call anything cleartext but what
//! was decrypted and authenticated, and never wait unless it is asked to. It owns the layout of encrypted messages, in
//! `frame`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::keyring::{Event, Keyring, Known, Origin, Refusal, WaitError, Wanted};
use crate::keys::{KeyIndex, Purpose, Salt, message_key};
use crate::topic::Root;
use crate::wire::WireError;

pub(crate) mod frame;

pub(crate) use frame::seal;
use frame::{Frame, NotAFrame};

/// The key or the value of a record, decrypted or on the way there.
///
/// ```
/// use std::sync::Arc;
/// use kafkacrypto::{keyring::Keyring, keys::Purpose, message::State, serdes::Deserializer};
/// let deserializer = Deserializer::new(Arc::new(Keyring::new()), Arc::default(), Purpose::Value);
/// let message = deserializer.deserialize("lab.sensor", Some(b"written by somebody else"));
/// assert_eq!(message.state(), State::Foreign);
/// assert!(message.cleartext().is_err());
/// assert_eq!(message.bytes(), b"written by somebody else");
/// ```
#[derive(Clone)]
pub struct Message {
    bytes: Vec<u8>,
    inner: Inner,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No value: a tombstone.
    Null,
    /// Decrypted and authenticated.
    Cleartext,
    /// Encrypted; its key hasn't arrived.
    Pending,
    /// Encrypted; no key that we have opens it, or its key can't be had.
    Refused,
    /// Not a kafkacrypto message.
    Foreign,
}

/// Why a message has no cleartext.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotCleartext {
    /// Its key hasn't arrived.
    #[error("no key yet for key index {index} of root {root}: {why}")]
    Pending {
        /// The root.
        root: Root,
        /// The key index.
        index: KeyIndex,
        /// How matters stand.
        why: Waiting,
    },
    /// No key that we have opens it, or its key can't be had.
    #[error("refused: {0}")]
    Refused(Why),
    /// Not a kafkacrypto message.
    #[error("not a kafkacrypto message: {0}")]
    Foreign(WireError),
}

/// How matters stand with the key of a pending message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Waiting {
    /// It is being asked for.
    #[error("it is being asked for; retry or wait")]
    Asked,
    /// What the node says of it.
    #[error("{0}")]
    Note(Arc<str>),
    /// A wait for it has ended.
    #[error("{0}")]
    Ended(WaitError),
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// No known secret of its key index opens it: it was changed or forged, or the right secret has yet to come.
    #[error("authentication failed: changed or forged, or its producer's key has yet to come")]
    AuthenticationFailed,
    /// The encrypted part is shorter than an authentication tag.
    #[error("its encrypted part is cut short")]
    CutShort,
    /// The key index is longer than 64 bytes.
    #[error("its key index is longer than 64 bytes")]
    IndexTooLong,
    /// The key can't be had.
    #[error("{0}")]
    Unavailable(Refusal),
}

#[derive(Clone)]
enum Inner {
    Null,
    Cleartext {
        index: KeyIndex,
        origin: Origin,
    },
    Sealed(Box<Sealed>),
    /// Refused for good.
    Broken(Why),
    Foreign(WireError),
}

/// What it takes to try again, and how the last try ended.
#[derive(Clone)]
struct Sealed {
    keyring: Arc<Keyring>,
    /// Root and key index.
    key: (Root, KeyIndex),
    purpose: Purpose,
    /// It was the first to name its key.
    first: bool,
    unopened: Unopened,
}

/// How a try ended.
enum Attempt {
    Opened(Vec<u8>, Origin),
    Unopened(Unopened),
}

#[derive(Clone)]
struct Unopened {
    /// Secrets were known, and none opened it.
    failed: bool,
    /// None if another key isn't worth waiting for, or too many are waited for.
    wanted: Option<Wanted>,
}

impl Message {
    pub(crate) fn read(keyring: &Arc<Keyring>, root: Root, purpose: Purpose, bytes: Option<&[u8]>) -> Self {
        // Python writes a null as zero bytes when it runs on librdkafka
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return Self { bytes: Vec::new(), inner: Inner::Null };
        };
        let message = match Frame::decode(bytes) {
            Ok(frame) if frame.sealed.len() < TAG => Self::kept(bytes, Inner::Broken(Why::CutShort)),
            Ok(frame) => Self::open(keyring, root, purpose, frame, bytes),
            Err(NotAFrame::IndexTooLong) => Self::kept(bytes, Inner::Broken(Why::IndexTooLong)),
            Err(NotAFrame::Foreign(error)) => Self::kept(bytes, Inner::Foreign(error)),
        };
        message.state().event().into_iter().for_each(|event| keyring.count(event));
        message
    }

    /// What it is.
    #[must_use]
    pub fn state(&self) -> State {
        match &self.inner {
            Inner::Null => State::Null,
            Inner::Cleartext { .. } => State::Cleartext,
            Inner::Sealed(sealed) if sealed.why().is_none() => State::Pending,
            Inner::Sealed(_) | Inner::Broken(_) => State::Refused,
            Inner::Foreign(_) => State::Foreign,
        }
    }

    /// Whether it was decrypted and authenticated.
    #[doc(alias = "isCleartext")]
    #[must_use]
    pub fn is_cleartext(&self) -> bool {
        self.state() == State::Cleartext
    }

    /// Whether a key that may still come could open it.
    #[doc(alias = "isPossiblyDecryptable")]
    #[must_use]
    pub fn is_possibly_decryptable(&self) -> bool {
        matches!(self.inner, Inner::Sealed(_))
    }

    /// The bytes: cleartext if [`Message::is_cleartext`], none if null, else what came from the broker.
    #[doc(alias = "getMessage")]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of [`Message::bytes`], without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The cleartext (`None` for a null), or why there is none.
    ///
    /// # Errors
    /// [`NotCleartext`].
    #[doc(alias = "getMessage")]
    pub fn cleartext(&self) -> Result<Option<&[u8]>, NotCleartext> {
        match &self.inner {
            Inner::Null => Ok(None),
            Inner::Cleartext { .. } => Ok(Some(&self.bytes)),
            Inner::Sealed(sealed) => Err(sealed.not_cleartext(None)),
            Inner::Broken(why) => Err(NotCleartext::Refused(why.clone())),
            Inner::Foreign(error) => Err(NotCleartext::Foreign(error.clone())),
        }
    }

    /// Which key it was encrypted with, if it says so.
    #[must_use]
    pub fn key_index(&self) -> Option<&KeyIndex> {
        match &self.inner {
            Inner::Cleartext { index, .. } => Some(index),
            Inner::Sealed(sealed) => Some(&sealed.key.1),
            _ => None,
        }
    }

    /// Who gave us the key that opened it, and by which exchange.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match &self.inner {
            Inner::Cleartext { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// Whether it was the first to name its key, among those that are still looked for. A consumer that waits for the first
    /// message of a key only can't be stalled by more of them.
    #[must_use]
    pub fn is_first_of_its_key(&self) -> bool {
        match &self.inner {
            Inner::Sealed(sealed) => sealed.first,
            _ => false,
        }
    }

    /// Tries again with the keys that have arrived since; says what the message is now.
    #[doc(alias = "isCleartext")]
    pub fn retry(&mut self) -> State {
        let Inner::Sealed(sealed) = &mut self.inner else { return self.state() };
        let Ok(frame) = Frame::decode(&self.bytes) else { return self.state() };
        match attempt(&sealed.keyring, &sealed.key, sealed.purpose, &frame.salt, frame.sealed) {
            Attempt::Opened(text, origin) => {
                sealed.keyring.count(Event::Decrypted);
                self.inner = Inner::Cleartext { index: frame.index, origin };
                self.bytes = text;
            }
            Attempt::Unopened(unopened) => sealed.unopened = unopened,
        }
        self.state()
    }

    /// Waits for the key, on any runtime, and gives the cleartext. Ends the moment a key arrives; at once if there is
    /// nothing to wait for.
    ///
    /// # Errors
    /// [`NotCleartext`]: the time is over, or why there is nothing to wait for.
    pub async fn wait(&mut self, deadline: Duration) -> Result<Option<&[u8]>, NotCleartext> {
        self.retry();
        if let Inner::Sealed(sealed) = &self.inner {
            let ended = match &sealed.unopened.wanted {
                Some(wanted) => sealed.keyring.wait(wanted, deadline).await,
                None => Err(WaitError::TooManyUnknown),
            };
            self.waited(ended)?;
        }
        self.cleartext()
    }

    /// [`Message::wait`] for threads without a runtime: blocks.
    ///
    /// # Errors
    /// [`NotCleartext`]: the time is over, or why there is nothing to wait for.
    pub fn wait_blocking(&mut self, deadline: Duration) -> Result<Option<&[u8]>, NotCleartext> {
        self.retry();
        if let Inner::Sealed(sealed) = &self.inner {
            let ended = match &sealed.unopened.wanted {
                Some(wanted) => sealed.keyring.wait_blocking(wanted, deadline),
                None => Err(WaitError::TooManyUnknown),
            };
            self.waited(ended)?;
        }
        self.cleartext()
    }

    fn waited(&mut self, ended: Result<(), WaitError>) -> Result<(), NotCleartext> {
        match (ended, &self.inner) {
            (Err(error), Inner::Sealed(sealed)) => Err(sealed.not_cleartext(Some(error))),
            _ => {
                self.retry();
                Ok(())
            }
        }
    }

    fn open(keyring: &Arc<Keyring>, root: Root, purpose: Purpose, frame: Frame<'_>, bytes: &[u8]) -> Self {
        let key = (root, frame.index);
        match attempt(keyring, &key, purpose, &frame.salt, frame.sealed) {
            Attempt::Opened(text, origin) => Self { bytes: text, inner: Inner::Cleartext { index: key.1, origin } },
            Attempt::Unopened(unopened) => {
                let first = unopened.wanted.as_ref().is_some_and(Wanted::is_first);
                let sealed = Sealed { keyring: keyring.clone(), key, purpose, first, unopened };
                Self::kept(bytes, Inner::Sealed(Box::new(sealed)))
            }
        }
    }

    fn kept(bytes: &[u8], inner: Inner) -> Self {
        Self { bytes: bytes.to_vec(), inner }
    }
}

/// Tries every known secret; if none fits, says that another one is wanted.
fn attempt(keyring: &Keyring, key: &(Root, KeyIndex), purpose: Purpose, salt: &Salt, sealed: &[u8]) -> Attempt {
    loop {
        let known = keyring.lookup_here(key);
        if let Some((text, origin)) = known.as_ref().and_then(|known| open(known, purpose, salt, sealed)) {
            return Attempt::Opened(text, origin);
        }
        let failed = known.is_some();
        if known.as_ref().is_some_and(|known| is_settled(known, &key.1)) {
            return Attempt::Unopened(Unopened { failed, wanted: None });
        }
        let tried = known.map_or(0, |known| known.secrets().len());
        match keyring.want(&key.0, &key.1, tried) {
            // one has arrived in between
            Ok(None) => {}
            Ok(wanted) => return Attempt::Unopened(Unopened { failed, wanted }),
            Err(_) => return Attempt::Unopened(Unopened { failed, wanted: None }),
        }
    }
}

/// DIFFERENCE: every distinct secret that was received for the key index is tried, so that one bad key message can't shadow
/// a good one.
fn open(known: &Known, purpose: Purpose, salt: &Salt, sealed: &[u8]) -> Option<(Vec<u8>, Origin)> {
    known.secrets().iter().find_map(|candidate| {
        let text = message_key(candidate.secret(), purpose, salt).open(sealed)?;
        known.prove();
        Some((text, candidate.origin().clone()))
    })
}

/// Whether the known secrets are certainly the right ones, so that what they don't open is forged and no reason to ask for
/// others. Never so with short indices: producers share them.
fn is_settled(known: &Known, index: &KeyIndex) -> bool {
    known.is_proven() && matches!(index, KeyIndex::Long(_))
}

impl Sealed {
    fn why(&self) -> Option<Why> {
        let Unopened { failed, wanted } = &self.unopened;
        let unavailable = || wanted.as_ref().and_then(Wanted::refusal).map(Why::Unavailable);
        if *failed { Some(Why::AuthenticationFailed) } else { unavailable() }
    }

    fn not_cleartext(&self, ended: Option<WaitError>) -> NotCleartext {
        let wanted = self.unopened.wanted.as_ref();
        let note = || wanted.and_then(Wanted::note).map(Waiting::Note);
        match (self.why(), ended) {
            (Some(why), _) => NotCleartext::Refused(why),
            (None, Some(WaitError::Refused(refusal))) => NotCleartext::Refused(Why::Unavailable(refusal)),
            (None, Some(error)) => self.pending(Waiting::Ended(error)),
            (None, None) if wanted.is_none() => self.pending(Waiting::Ended(WaitError::TooManyUnknown)),
            (None, None) => self.pending(note().unwrap_or(Waiting::Asked)),
        }
    }

    fn pending(&self, why: Waiting) -> NotCleartext {
        let (root, index) = self.key.clone();
        NotCleartext::Pending { root, index, why }
    }
}

impl State {
    fn event(self) -> Option<Event> {
        match self {
            Self::Null => None,
            Self::Cleartext => Some(Event::Decrypted),
            Self::Pending => Some(Event::Pending),
            Self::Refused => Some(Event::Refused),
            Self::Foreign => Some(Event::Foreign),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Cleartext => "cleartext",
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Foreign => "foreign",
        })
    }
}

/// Payloads stay out of logs: only what it is, and how long.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, inner: _ } = self;
        f.debug_struct("Message")
            .field("state", &self.state())
            .field("bytes", &bytes.len())
            .field("key_index", &self.key_index())
            .finish_non_exhaustive()
    }
}

/// The length of an authentication tag.
const TAG: usize = 16;

#[cfg(test)]
mod tests;
