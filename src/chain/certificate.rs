use std::fmt;

use super::{ChainError, Level, Restrictions};
use crate::keys::{AnswerKey, ExchangeKey, KeyError, OfferKey, SigningPublicKey};
use crate::secret::Fingerprint;
use crate::time::UnixTime;
use crate::wire::{Item, Reader, WireError, Writer, read_all};

/// One certificate, unverified (protocol §7): until when, limited to what, for which key, and what it carries besides.
///
/// ```
/// use kafkacrypto::chain::{Certificate, LeafKey, Restrictions};
/// use kafkacrypto::keys::SigningKey;
/// use kafkacrypto::time::UnixTime;
/// let key = SigningKey::from_ed25519_seed(&[7; 32]).public().clone();
/// let certificate = Certificate::new(UnixTime::ZERO, Restrictions::none(), LeafKey::Signing(key.clone()));
/// let read = Certificate::decode(&certificate.encode()).unwrap();
/// assert_eq!(read.key().signing_key(), Some(key));
/// assert!(Certificate::decode(b"no certificate").is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    pub(super) max_age: UnixTime,
    pub(super) restrictions: Restrictions,
    pub(super) key: LeafKey,
    pub(super) extras: Vec<Vec<u8>>,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafKey {
    /// A signing key whose type is written down.
    Signing(SigningPublicKey),
    /// A list of key exchange keys, and of whatever else stands in it.
    Keys(Vec<ListedKey>),
    /// 32 bare bytes: an Ed25519 key where it has to sign, an X25519 key in the oldest form of a request.
    Bare([u8; 32]),
}

/// One key in a leaf's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedKey {
    /// A signing key whose type is written down; verified leaves have none.
    Signing(SigningPublicKey),
    /// A key exchange key whose version is written down.
    Exchange(ExchangeKey),
    /// 32 bare bytes: X25519, or a misplaced Ed25519 key.
    Bare([u8; 32]),
    /// A key of a version that nobody has defined; verified leaves have none.
    Unknown {
        /// The version.
        version: u64,
        /// The whole key as MessagePack.
        raw: Vec<u8>,
    },
    /// A hybrid key whose parts haven't the lengths of their version; verified leaves have none.
    Malformed {
        /// The version.
        version: u64,
        /// The whole key as MessagePack.
        raw: Vec<u8>,
    },
}

impl Certificate {
    /// A certificate without extras.
    #[must_use]
    pub fn new(max_age: UnixTime, restrictions: Restrictions, key: LeafKey) -> Self {
        Self { max_age, restrictions, key, extras: Vec::new() }
    }

    /// Until when it is valid; zero means forever.
    #[must_use]
    pub fn max_age(&self) -> UnixTime {
        self.max_age
    }

    /// What it is limited to.
    #[must_use]
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// What it is for.
    #[must_use]
    pub fn key(&self) -> &LeafKey {
        &self.key
    }

    /// Values behind the key, each as MessagePack.
    #[must_use]
    pub fn extras(&self) -> &[Vec<u8>] {
        &self.extras
    }

    /// The content of an extra that is `bin` or `str`.
    #[must_use]
    pub fn extra_bytes(&self, index: usize) -> Option<&[u8]> {
        read_all(self.extras.get(index)?, "extra", Reader::bytes).ok()
    }

    /// The contents of an extra that is a list of `bin` or `str`.
    #[must_use]
    pub fn extra_list(&self, index: usize) -> Option<Vec<&[u8]>> {
        read_all(self.extras.get(index)?, "extra", read_byte_list).ok()
    }

    /// What is left of it below another: limits and expiry of both, its own key and extras (protocol §7.1).
    pub(super) fn below(&self, parent: &Self, level: Level) -> Self {
        let ages = [parent.max_age, self.max_age].into_iter().filter(|age| *age != UnixTime::ZERO);
        Self {
            max_age: ages.reduce(|one, other| if other < one { other } else { one }).unwrap_or(UnixTime::ZERO),
            restrictions: parent.restrictions.intersection(&self.restrictions, level),
            key: self.key.clone(),
            extras: self.extras.clone(),
        }
    }

    /// ```text
    /// array(3 + extras) ‖ max_age ‖ bin(restrictions) ‖ key ‖ extra*
    /// ```
    ///
    /// `max_age` is a float64, or the integer 0 for forever (protocol §7).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let extras = u32::try_from(self.extras.len()).unwrap_or(u32::MAX);
        let mut out = Writer::new();
        out.array(extras.saturating_add(3));
        if self.max_age == UnixTime::ZERO {
            out.uint(0)
        } else {
            out.float(self.max_age.as_secs_f64())
        };
        out.bin(&self.restrictions.encode());
        self.key.encode(&mut out);
        self.extras.iter().for_each(|extra| {
            out.raw(extra);
        });
        out.finish()
    }

    /// Reads the layout of [`Certificate::encode`].
    ///
    /// # Errors
    /// [`ChainError::Malformed`], and what is wrong with expiry, restrictions or key.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChainError> {
        read_all(bytes, "certificate", |reader| {
            let fields = reader.array()?;
            let extras = fields.checked_sub(3).ok_or_else(|| reader.unexpected("[max_age, restrictions, key, …]"))?;
            Ok(Self {
                max_age: read_max_age(reader)?,
                restrictions: Restrictions::decode(reader.bytes()?)?,
                key: LeafKey::decode(reader)?,
                extras: (0..extras).map(|_| Ok(reader.raw()?.to_vec())).collect::<Result<_, WireError>>()?,
            })
        })
    }
}

impl LeafKey {
    /// The key as one that signs: typed, or bare.
    #[must_use]
    pub fn signing_key(&self) -> Option<SigningPublicKey> {
        match self {
            Self::Signing(key) => Some(key.clone()),
            Self::Bare(bytes) => Some(SigningPublicKey::Ed25519(*bytes)),
            Self::Keys(_) => None,
        }
    }

    /// The exchange keys in the order in which they are listed; a bare key is one too.
    #[must_use]
    pub fn exchange_keys(&self) -> Vec<ExchangeKey> {
        match self {
            Self::Signing(_) => Vec::new(),
            Self::Bare(bytes) => vec![ExchangeKey::Bare(*bytes)],
            Self::Keys(keys) => keys.iter().filter_map(ListedKey::exchange_key).collect(),
        }
    }

    /// The byte form of a single key (protocol §6.1); a list as MessagePack.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Signing(key) => key.to_bytes(),
            Self::Bare(bytes) => bytes.to_vec(),
            Self::Keys(_) => written(|out| self.encode(out)),
        }
    }

    /// A signing key of type 1 is 32 bare bytes, one of type 4 an array; a list is an array of keys.
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Signing(key) => key.encode(out),
            Self::Bare(bytes) => {
                out.bin(bytes);
            }
            Self::Keys(keys) => {
                out.array(u32::try_from(keys.len()).unwrap_or(u32::MAX));
                keys.iter().for_each(|key| key.encode(out));
            }
        }
    }

    /// Reads the layout of [`LeafKey::encode`], and a typed signing key in every form that was ever written.
    ///
    /// DIFFERENCE: a list within the list is refused.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, ChainError> {
        if typed_as(reader).is_some() {
            return decode_signing(reader).map(Self::Signing);
        }
        match reader.item()? {
            Item::Bytes(bytes) => match bytes.try_into() {
                Ok(bare) => Ok(Self::Bare(bare)),
                Err(_) => Ok(Self::Signing(SigningPublicKey::from_bytes(bytes)?)),
            },
            Item::Array(count) => {
                (0..count).map(|_| ListedKey::decode(reader)).collect::<Result<_, _>>().map(Self::Keys)
            }
            _ => Err(reader.unexpected("a key, or a list of keys").into()),
        }
    }
}

impl ListedKey {
    /// The key for an exchange, unless it is for something else.
    #[must_use]
    pub fn exchange_key(&self) -> Option<ExchangeKey> {
        match self {
            Self::Exchange(key) => Some(key.clone()),
            Self::Bare(bytes) => Some(ExchangeKey::Bare(*bytes)),
            Self::Signing(_) | Self::Unknown { .. } | Self::Malformed { .. } => None,
        }
    }

    /// The byte form: 32 bare bytes, or `msgpack([version, keys])`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bare(bytes) => bytes.to_vec(),
            Self::Signing(key) => key.to_bytes(),
            _ => written(|out| self.encode(out)),
        }
    }

    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Signing(key) => key.encode(out),
            Self::Exchange(key) => key.encode(out),
            Self::Bare(bytes) => {
                out.bin(bytes);
            }
            Self::Unknown { raw, .. } | Self::Malformed { raw, .. } => {
                out.raw(raw);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ChainError> {
        match typed_as(reader) {
            None => Self::decode_bytes(reader),
            Some(4) => decode_signing(reader).map(Self::Signing),
            Some(1) => match ExchangeKey::decode(reader)? {
                ExchangeKey::Bare(bytes) => Ok(Self::Bare(bytes)),
                key => Ok(Self::Exchange(key)),
            },
            Some(version @ (2 | 3 | 5 | 6)) => {
                let raw = reader.raw()?;
                let key = read_all(raw, "exchange key", ExchangeKey::decode);
                Ok(key.map_or_else(|_| Self::Malformed { version, raw: raw.to_vec() }, Self::Exchange))
            }
            // DIFFERENCE: skipped later on; Python refuses the whole message
            Some(version) => Ok(Self::Unknown { version, raw: reader.raw()?.to_vec() }),
        }
    }

    fn decode_bytes(reader: &mut Reader<'_>) -> Result<Self, ChainError> {
        let Item::Bytes(bytes) = reader.item()? else {
            return Err(ChainError::KeyForm("a list of keys within the list"));
        };
        match bytes.try_into() {
            Ok(bare) => Ok(Self::Bare(bare)),
            Err(_) => Ok(Self::Signing(SigningPublicKey::from_bytes(bytes)?)),
        }
    }
}

impl fmt::Display for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing(key) => write!(f, "{key}"),
            Self::Bare(bytes) => write!(f, "{}", Fingerprint::of(bytes)),
            Self::Keys(keys) => {
                f.write_str("[")?;
                for (index, key) in keys.iter().enumerate() {
                    write!(f, "{}{key}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for ListedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signing(key) => write!(f, "{key}"),
            Self::Bare(bytes) => write!(f, "{}", Fingerprint::of(bytes)),
            Self::Exchange(key) => match (key.clone().into_offer(), key.clone().into_answer()) {
                (Some(offer), _) => write!(f, "offer of {}", offer.scheme()),
                (None, Some(answer)) => write!(f, "answer of {}", answer.scheme()),
                (None, None) => Ok(()),
            },
            Self::Unknown { version, .. } => write!(f, "unknown version {version}"),
            Self::Malformed { version, .. } => write!(f, "malformed version {version}"),
        }
    }
}

impl From<OfferKey> for ListedKey {
    fn from(key: OfferKey) -> Self {
        Self::Exchange(ExchangeKey::Offer(key))
    }
}

impl From<AnswerKey> for ListedKey {
    fn from(key: AnswerKey) -> Self {
        Self::Exchange(ExchangeKey::Answer(key))
    }
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::new();
    write(&mut out);
    out.finish()
}

/// The type or version, if the next value is `[number, …]`.
fn typed_as(reader: &Reader<'_>) -> Option<u64> {
    let mut ahead = reader.clone();
    (ahead.array().ok()? > 0).then(|| ahead.uint().ok()).flatten()
}

fn decode_signing(reader: &mut Reader<'_>) -> Result<SigningPublicKey, ChainError> {
    SigningPublicKey::decode(reader).map_err(|error| match error {
        KeyError::UnknownVersion(2 | 3 | 5 | 6) => ChainError::KeyForm("an exchange key outside a list"),
        other => other.into(),
    })
}

/// DIFFERENCE: what is negative, not finite or not a number makes the certificate invalid; Python takes it for forever.
fn read_max_age(reader: &mut Reader<'_>) -> Result<UnixTime, ChainError> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Python compares integers with floats too; 2^53 seconds are far away"
    )]
    let seconds = match reader.item()? {
        Item::UInt(n) => n as f64,
        Item::Float(seconds) => seconds,
        _ => return Err(ChainError::MaxAge),
    };
    UnixTime::from_secs_f64(seconds).ok_or(ChainError::MaxAge)
}

fn read_byte_list<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, WireError> {
    (0..reader.array()?).map(|_| reader.bytes()).collect()
}
