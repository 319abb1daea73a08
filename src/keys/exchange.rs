use std::fmt;

use super::KeyError;
use crate::primitives::kem::Kem;
use crate::primitives::{ml_kem, sntrup761, x25519};
use crate::secret::{Secret, SecretBytes};
use crate::wire::{Item, Reader, Writer, read_all};

/// A way to agree on a secret (protocol §6.2). Both halves of an exchange name the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Version 1: X25519.
    X25519,
    /// Versions 2 (offer) and 3 (answer): X25519 and sntrup761.
    X25519Sntrup761,
    /// Versions 5 (offer) and 6 (answer): X25519 and ML-KEM-1024.
    X25519MlKem1024,
}

/// One row of the table of schemes: X25519, and what is joined to it.
struct Layout {
    scheme: Scheme,
    name: &'static str,
    offer_version: u64,
    answer_version: u64,
    kem: Option<&'static Kem>,
}

const LAYOUTS: [Layout; 3] = [
    Layout { scheme: Scheme::X25519, name: "x25519", offer_version: 1, answer_version: 1, kem: None },
    Layout {
        scheme: Scheme::X25519Sntrup761,
        name: "x25519+sntrup761",
        offer_version: 2,
        answer_version: 3,
        kem: Some(&sntrup761::KEM),
    },
    Layout {
        scheme: Scheme::X25519MlKem1024,
        name: "x25519+mlkem1024",
        offer_version: 5,
        answer_version: 6,
        kem: Some(&ml_kem::KEM),
    },
];

impl Scheme {
    /// The version that files and offers name: 1, 2 or 5.
    #[must_use]
    pub fn offer_version(self) -> u64 {
        self.layout().offer_version
    }

    /// The version of answers: 1, 3 or 6.
    #[must_use]
    pub fn answer_version(self) -> u64 {
        self.layout().answer_version
    }

    /// The scheme of a version that files and offers name.
    #[must_use]
    pub fn from_offer_version(version: u64) -> Option<Self> {
        LAYOUTS.iter().find(|row| row.offer_version == version).map(|row| row.scheme)
    }

    /// Whether a quantum computer isn't enough to undo it.
    #[must_use]
    pub fn is_post_quantum(self) -> bool {
        self.layout().kem.is_some()
    }

    fn layout(self) -> &'static Layout {
        let [first, ..] = &LAYOUTS;
        LAYOUTS.iter().find(|row| row.scheme == self).unwrap_or(first)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layout().name)
    }
}

/// The requester's public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferKey {
    scheme: Scheme,
    x25519: [u8; 32],
    kem_public: Vec<u8>,
}

/// The answerer's public half. Not the same type as an offer, so that two answers can't be paired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerKey {
    scheme: Scheme,
    x25519: [u8; 32],
    kem_ciphertext: Vec<u8>,
}

/// A public half as it stands on the wire, where version 1 doesn't say which half it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeKey {
    /// 32 bare bytes: version 1, an offer or an answer.
    Bare([u8; 32]),
    /// Versions 2 and 5.
    Offer(OfferKey),
    /// Versions 3 and 6.
    Answer(AnswerKey),
}

/// The requester's secret half, kept until every key that was asked for has arrived.
#[derive(Debug)]
pub struct Ephemeral {
    secret: Secret<32>,
    kem_secret: SecretBytes,
    offer: OfferKey,
}

/// What both sides have in common afterwards: 32 bytes for version 1, 64 for hybrids.
pub struct SharedSecret(SecretBytes);

impl OfferKey {
    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// An offer of version 1.
    #[must_use]
    pub fn from_x25519(public: [u8; 32]) -> Self {
        Self { scheme: Scheme::X25519, x25519: public, kem_public: Vec::new() }
    }

    /// Answers the offer with a fresh key of the same scheme.
    ///
    /// # Errors
    /// [`KeyError::LowOrder`], [`KeyError::OutOfRange`].
    pub fn answer(&self, rng: &mut dyn rand_core::CryptoRng) -> Result<(AnswerKey, SharedSecret), KeyError> {
        let Layout { name, kem, .. } = self.scheme.layout();
        let secret = Secret::random(rng);
        let shared = x25519::shared(&secret, &self.x25519).ok_or(KeyError::LowOrder)?;
        let answer =
            |kem_ciphertext| AnswerKey { scheme: self.scheme, x25519: x25519::public(&secret), kem_ciphertext };
        let Some(kem) = kem else { return Ok((answer(Vec::new()), SharedSecret::of(&shared, None))) };
        let (ciphertext, more) = (kem.encapsulate)(&self.kem_public, rng).ok_or(KeyError::OutOfRange(name))?;
        Ok((answer(ciphertext), SharedSecret::of(&shared, Some(&more))))
    }

    /// The byte form: the bare 32 bytes for version 1, else `msgpack([version, [x25519, kem]])`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self.scheme.offer_version(), &self.x25519, &self.kem_public)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        encode(out, self.scheme.offer_version(), &self.x25519, &self.kem_public);
    }

    /// The bare 32 bytes of the oldest form of a request; version 1 only.
    pub(crate) fn bare(&self) -> Option<&[u8; 32]> {
        (self.scheme == Scheme::X25519).then_some(&self.x25519)
    }
}

impl AnswerKey {
    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// An answer of version 1.
    #[must_use]
    pub fn from_x25519(public: [u8; 32]) -> Self {
        Self { scheme: Scheme::X25519, x25519: public, kem_ciphertext: Vec::new() }
    }

    /// The byte form: the bare 32 bytes for version 1, else `msgpack([version, [x25519, kem]])`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self.scheme.answer_version(), &self.x25519, &self.kem_ciphertext)
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        encode(out, self.scheme.answer_version(), &self.x25519, &self.kem_ciphertext);
    }
}

impl ExchangeKey {
    /// Reads the byte form: [`OfferKey::to_bytes`] or [`AnswerKey::to_bytes`].
    ///
    /// # Errors
    /// [`KeyError::Wire`], [`KeyError::UnknownVersion`], [`KeyError::Length`].
    ///
    /// ```
    /// use kafkacrypto::keys::{Ephemeral, ExchangeKey, Scheme};
    /// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    /// let mine = Ephemeral::generate(Scheme::X25519MlKem1024, &mut rng);
    /// let read = ExchangeKey::from_bytes(&mine.offer().to_bytes()).unwrap();
    /// assert_eq!(read.into_offer().as_ref(), Some(mine.offer()));
    /// assert!(ExchangeKey::from_bytes(b"no key").is_err());
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.try_into() {
            Ok(public) => Ok(Self::Bare(public)),
            Err(_) => read_all(bytes, "exchange key", Self::decode),
        }
    }

    /// Reads 32 bare bytes, `[1, bytes]`, or `[version, [x25519, kem]]` (protocol §6.2).
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        match reader.item()? {
            Item::Bytes(bytes) => bare(bytes),
            Item::Array(2) => match reader.uint()? {
                1 => bare(reader.bytes()?),
                version => Self::decode_hybrid(version, reader),
            },
            _ => Err(reader.unexpected("an exchange key: 32 bytes or [version, keys]").into()),
        }
    }

    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Bare(public) => {
                out.bin(public);
            }
            Self::Offer(offer) => offer.encode(out),
            Self::Answer(answer) => answer.encode(out),
        }
    }

    /// As the requester's half.
    #[must_use]
    pub fn into_offer(self) -> Option<OfferKey> {
        match self {
            Self::Bare(public) => Some(OfferKey::from_x25519(public)),
            Self::Offer(offer) => Some(offer),
            Self::Answer(_) => None,
        }
    }

    /// As the answerer's half.
    #[must_use]
    pub fn into_answer(self) -> Option<AnswerKey> {
        match self {
            Self::Bare(public) => Some(AnswerKey::from_x25519(public)),
            Self::Offer(_) => None,
            Self::Answer(answer) => Some(answer),
        }
    }

    fn decode_hybrid(version: u64, reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        let row = LAYOUTS.iter().find(|row| [row.offer_version, row.answer_version].contains(&version));
        let Some((row, kem)) = row.and_then(|row| Some((row, row.kem?))) else {
            return Err(KeyError::UnknownVersion(version));
        };
        reader.array_of(2, "[x25519, kem]")?;
        let x25519 = *reader.bytes_exact("an X25519 public key of 32 bytes")?;
        let (bytes, scheme) = (reader.bytes()?, row.scheme);
        let expected = if version == row.offer_version { kem.public } else { kem.ciphertext };
        if bytes.len() != expected {
            return Err(KeyError::Length { what: row.name, expected, found: bytes.len() });
        }
        Ok(if version == row.offer_version {
            Self::Offer(OfferKey { scheme, x25519, kem_public: bytes.to_vec() })
        } else {
            Self::Answer(AnswerKey { scheme, x25519, kem_ciphertext: bytes.to_vec() })
        })
    }
}

impl Ephemeral {
    /// A fresh key of a scheme.
    ///
    /// ```
    /// use kafkacrypto::keys::{Ephemeral, Scheme};
    /// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    /// for scheme in [Scheme::X25519, Scheme::X25519Sntrup761, Scheme::X25519MlKem1024] {
    ///     let mine = Ephemeral::generate(scheme, &mut rng);
    ///     let (answer, theirs) = mine.offer().answer(&mut rng).unwrap();
    ///     assert_eq!(mine.complete(&answer).unwrap().expose(), theirs.expose());
    /// }
    /// ```
    #[must_use]
    pub fn generate(scheme: Scheme, rng: &mut dyn rand_core::CryptoRng) -> Self {
        let secret = Secret::random(rng);
        match scheme.layout().kem {
            None => Self::from_x25519(secret),
            Some(kem) => {
                let (kem_secret, kem_public) = (kem.generate)(rng);
                Self::of(scheme, secret, kem_secret, kem_public)
            }
        }
    }

    /// A key of version 1 from its secret bytes.
    #[must_use]
    pub fn from_x25519(secret: Secret<32>) -> Self {
        Self::of(Scheme::X25519, secret, SecretBytes::from_slice(&[]), Vec::new())
    }

    /// A key from its secret halves. The second is empty for version 1, 1763 bytes for sntrup761, and the expanded 3168
    /// for ML-KEM-1024.
    ///
    /// # Errors
    /// [`KeyError::Length`], [`KeyError::Mismatch`].
    pub fn from_secrets(scheme: Scheme, x25519: Secret<32>, kem: &[u8]) -> Result<Self, KeyError> {
        let Layout { name: what, kem: kind, .. } = scheme.layout();
        let (expected, found) = (kind.map_or(0, |kind| kind.secret), kem.len());
        if found != expected {
            return Err(KeyError::Length { what, expected, found });
        }
        let public = kind.map_or_else(|| Some(Vec::new()), |kind| (kind.public_of)(kem));
        Ok(Self::of(scheme, x25519, SecretBytes::from_slice(kem), public.ok_or(KeyError::Mismatch)?))
    }

    /// The two secret halves, as [`Ephemeral::from_secrets`] takes them.
    #[must_use]
    pub fn secrets(&self) -> (&Secret<32>, &SecretBytes) {
        (&self.secret, &self.kem_secret)
    }

    /// The public half.
    #[must_use]
    pub fn offer(&self) -> &OfferKey {
        &self.offer
    }

    /// What is in common with whoever made this answer. An answer for another hybrid key gives a secret that opens nothing.
    ///
    /// # Errors
    /// [`KeyError::SchemeMismatch`], [`KeyError::LowOrder`].
    pub fn complete(&self, answer: &AnswerKey) -> Result<SharedSecret, KeyError> {
        let Layout { scheme, name, kem, .. } = self.offer.scheme.layout();
        if answer.scheme != *scheme {
            return Err(KeyError::SchemeMismatch);
        }
        let shared = x25519::shared(&self.secret, &answer.x25519).ok_or(KeyError::LowOrder)?;
        let Some(kem) = kem else { return Ok(SharedSecret::of(&shared, None)) };
        let more = (kem.decapsulate)(self.kem_secret.expose(), &answer.kem_ciphertext);
        Ok(SharedSecret::of(&shared, Some(&more.ok_or(KeyError::OutOfRange(name))?)))
    }

    fn of(scheme: Scheme, secret: Secret<32>, kem_secret: SecretBytes, kem_public: Vec<u8>) -> Self {
        let offer = OfferKey { scheme, x25519: x25519::public(&secret), kem_public };
        Self { secret, kem_secret, offer }
    }
}

impl SharedSecret {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    fn of(x25519: &Secret<32>, kem: Option<&Secret<32>>) -> Self {
        let halves: Vec<&Secret<32>> = std::iter::once(x25519).chain(kem).collect();
        Self(SecretBytes::filled(32 * halves.len(), |place| {
            place.chunks_mut(32).zip(halves).for_each(|(place, half)| place.copy_from_slice(half.expose()));
        }))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(…)")
    }
}

/// `bin(32)` for version 1, `array(2) ‖ uint version ‖ array(2) ‖ bin(32) x25519 ‖ bin kem` for hybrids.
fn encode(out: &mut Writer, version: u64, x25519: &[u8; 32], kem: &[u8]) {
    if version == 1 {
        out.bin(x25519);
    } else {
        out.array(2).uint(version).array(2).bin(x25519).bin(kem);
    }
}

fn to_bytes(version: u64, x25519: &[u8; 32], kem: &[u8]) -> Vec<u8> {
    if version == 1 {
        return x25519.to_vec();
    }
    let mut out = Writer::new();
    encode(&mut out, version, x25519, kem);
    out.finish()
}

fn bare(bytes: &[u8]) -> Result<ExchangeKey, KeyError> {
    let length = KeyError::Length { what: "x25519", expected: 32, found: bytes.len() };
    bytes.try_into().map(ExchangeKey::Bare).map_err(|_| length)
}

#[cfg(test)]
mod tests;
