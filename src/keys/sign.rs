use std::fmt;

use zeroize::Zeroizing;

use super::KeyError;
use crate::primitives::{blake2b, ed25519, slh_dsa};
use crate::secret::{Fingerprint, Secret, SecretBytes};
use crate::wire::{Item, Reader, Writer, read_all};

/// Which algorithms sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningType {
    /// Type 1: Ed25519.
    Ed25519,
    /// Type 4: Ed25519 and SLH-DSA-SHAKE-128f together.
    Ed25519SlhDsa,
}

impl SigningType {
    /// The number on the wire and in configs: 1 or 4.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Ed25519 => 1,
            Self::Ed25519SlhDsa => 4,
        }
    }

    /// The type of a number; none for those that nobody has defined.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Ed25519, Self::Ed25519SlhDsa].into_iter().find(|kind| kind.number() == number)
    }

    /// Bytes of a signature, which stand before the message in its signed form: 64 or 17152.
    #[must_use]
    pub fn signature_length(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::Ed25519SlhDsa => slh_dsa::SIGNATURE + 64,
        }
    }

    /// Bytes of the seed that a key is made from: 32 or 80.
    #[must_use]
    pub fn seed_length(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::Ed25519SlhDsa => 80,
        }
    }
}

/// A public signing key (protocol §6.1).
///
/// ```
/// use kafkacrypto::keys::{SigningKey, SigningPublicKey};
/// let key = SigningKey::from_ed25519_seed(&[7; 32]);
/// let signed = key.sign(b"message");
/// assert_eq!(key.public().open(&signed).unwrap(), b"message");
/// assert!(key.public().open(b"forged").is_err());
/// assert_eq!(SigningPublicKey::from_bytes(&key.public().to_bytes()).unwrap(), *key.public());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningPublicKey {
    /// Type 1.
    Ed25519([u8; 32]),
    /// Type 4: `[ed25519 pk, slh-dsa pk]`.
    Ed25519SlhDsa {
        /// The classical half.
        ed25519: [u8; 32],
        /// The post-quantum half.
        slh_dsa: [u8; 32],
    },
}

/// Whoever holds a secret signing key: the `.crypto` file, or a device of the caller's own. Calls may block; they are made
/// on threads that may.
pub trait Signer: Send + Sync {
    /// The public key.
    fn public(&self) -> &SigningPublicKey;

    /// The signed form of a message (protocol §6.1), as [`SigningKey::sign`] makes it.
    ///
    /// # Errors
    /// [`KeyError::Source`] if the device fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

impl SigningPublicKey {
    /// Which algorithms it is for.
    #[must_use]
    pub fn signing_type(&self) -> SigningType {
        match self {
            Self::Ed25519(_) => SigningType::Ed25519,
            Self::Ed25519SlhDsa { .. } => SigningType::Ed25519SlhDsa,
        }
    }

    /// The message inside a signed form, if its signature is this key's: both halves of it for type 4.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn open<'a>(&self, signed: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let message = self.open_ed25519(signed)?;
        self.check_slh_dsa(signed).map(|()| message)
    }

    /// The message, if the length and the Ed25519 half of the signature are right. For type 4 that is the cheap part of
    /// [`SigningPublicKey::open`], and proves nothing before [`SigningPublicKey::check_slh_dsa`] has passed too.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    ///
    /// ```
    /// use kafkacrypto::keys::{SigningKey, SigningType};
    /// let key = SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[7; 80]).unwrap();
    /// let mut signed = key.sign(b"message");
    /// signed[0] ^= 1;
    /// assert!(key.public().open_ed25519(&signed).is_ok());
    /// assert!(key.public().check_slh_dsa(&signed).is_err() && key.public().open(&signed).is_err());
    /// ```
    pub fn open_ed25519<'a>(&self, signed: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let (Self::Ed25519(public) | Self::Ed25519SlhDsa { ed25519: public, .. }) = self;
        let (_, below) = self.split(signed)?;
        let (signature, message) = below.split_first_chunk::<64>().ok_or(KeyError::Signature)?;
        ed25519::verify(public, message, signature).then_some(message).ok_or(KeyError::Signature)
    }

    /// Whether the SLH-DSA half of a signed form is right; type 1 has none, and passes. Takes milliseconds.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn check_slh_dsa(&self, signed: &[u8]) -> Result<(), KeyError> {
        let Self::Ed25519SlhDsa { slh_dsa: public, .. } = self else { return Ok(()) };
        let (signature, below) = self.split(signed)?;
        slh_dsa::verify(public, below, signature).then_some(()).ok_or(KeyError::Signature)
    }

    /// Names this key and a signed form, for remembering what was found good. The type says how long the key is, so that the
    /// two can't be taken for two others.
    pub(crate) fn digest(&self, signed: &[u8]) -> [u8; 32] {
        let kind = self.signing_type().number().to_le_bytes();
        blake2b::generichash(&[&kind, &self.to_bytes(), signed])
    }

    /// The SLH-DSA signature, empty for type 1, and what it is over.
    fn split<'a>(&self, signed: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), KeyError> {
        signed.split_at_checked(self.signing_type().signature_length() - 64).ok_or(KeyError::Signature)
    }

    /// The byte form: the bare 32 bytes for type 1, `msgpack([4, [ed25519, slh_dsa]])` for type 4.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(public) => public.to_vec(),
            Self::Ed25519SlhDsa { .. } => {
                let mut out = Writer::new();
                self.encode(&mut out);
                out.finish()
            }
        }
    }

    /// Reads the byte form; `msgpack([1, bytes])` is taken too.
    ///
    /// # Errors
    /// [`KeyError::Wire`], [`KeyError::UnknownVersion`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.try_into() {
            Ok(public) => Ok(Self::Ed25519(public)),
            Err(_) => read_all(bytes, "signing key", Self::decode_typed),
        }
    }

    /// As it stands in another MessagePack structure: `bin(32)` for type 1, the array for type 4.
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Ed25519(public) => out.bin(public),
            Self::Ed25519SlhDsa { ed25519, slh_dsa } => out.array(2).uint(4).array(2).bin(ed25519).bin(slh_dsa),
        };
    }

    /// Reads the layout of [`SigningPublicKey::encode`], and what old writers made of it: `[1, bytes]`, and a `bin` that
    /// holds the array.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        match reader.clone().item()? {
            Item::Bytes(bytes) => reader.raw().map_err(KeyError::from).and_then(|_| Self::from_bytes(bytes)),
            _ => Self::decode_typed(reader),
        }
    }

    fn decode_typed(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        reader.array_of(2, "a signing key: 32 bytes or [type, key]")?;
        match reader.uint()? {
            1 => Ok(Self::Ed25519(*reader.bytes_exact("an Ed25519 public key of 32 bytes")?)),
            4 => {
                reader.array_of(2, "[ed25519, slh-dsa]")?;
                let ed25519 = *reader.bytes_exact("an Ed25519 public key of 32 bytes")?;
                Ok(Self::Ed25519SlhDsa { ed25519, slh_dsa: *reader.bytes_exact("an SLH-DSA public key of 32 bytes")? })
            }
            other => Err(KeyError::UnknownVersion(other)),
        }
    }
}

impl fmt::Display for SigningPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(public) => Fingerprint::of(public).fmt(f),
            Self::Ed25519SlhDsa { ed25519, .. } => write!(f, "pq:{}", Fingerprint::of(ed25519)),
        }
    }
}

impl fmt::Debug for SigningPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret signing key in memory.
///
/// ```
/// use kafkacrypto::keys::{SigningKey, SigningType};
/// for kind in [SigningType::Ed25519, SigningType::Ed25519SlhDsa] {
///     let key = SigningKey::from_seed(kind, &vec![7; kind.seed_length()]).unwrap();
///     let again = SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
///     assert_eq!(again.public(), key.public());
///     assert_eq!(again.public().signing_type(), kind);
/// }
/// assert!(SigningKey::from_bytes(&[7; 64]).is_err());
/// ```
pub struct SigningKey {
    ed25519: ed25519::Key,
    slh_dsa: Option<slh_dsa::Key>,
    public: SigningPublicKey,
}

impl SigningKey {
    /// The key of type 1 of a 32-byte Ed25519 seed.
    #[must_use]
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        Self::of(ed25519::Key::from_seed(seed), None)
    }

    /// The key of a seed: 32 bytes for type 1; 80 for type 4, `ed25519(32) ‖ sk.seed(16) ‖ sk.prf(16) ‖ pk.seed(16)`.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_seed(kind: SigningType, seed: &[u8]) -> Result<Self, KeyError> {
        let (expected, found) = (kind.seed_length(), seed.len());
        let length = KeyError::Length { what: "seed of a signing key", expected, found };
        if found != expected {
            return Err(length);
        }
        let (first, rest) = seed.split_first_chunk::<32>().ok_or(length)?;
        let slh_dsa = rest.first_chunk::<48>().map(slh_dsa::Key::from_seed);
        Ok(Self::of(ed25519::Key::from_seed(first), slh_dsa))
    }

    /// A new key.
    #[must_use]
    pub fn generate(kind: SigningType, rng: &mut dyn rand_core::CryptoRng) -> Self {
        let ed25519 = ed25519::Key::from_seed(Secret::random(rng).expose());
        let slh_dsa = match kind {
            SigningType::Ed25519 => None,
            SigningType::Ed25519SlhDsa => Some(slh_dsa::Key::from_seed(Secret::random(rng).expose())),
        };
        Self::of(ed25519, slh_dsa)
    }

    /// From the form in `.crypto` files, which is [`SigningKey::to_bytes`]; `msgpack([1, bytes])` is taken too.
    ///
    /// # Errors
    /// [`KeyError::Length`], [`KeyError::Wire`], [`KeyError::UnknownVersion`], [`KeyError::Mismatch`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.try_into() {
            Ok(pair) => Self::from_halves(pair, None),
            Err(_) if bytes.first() == Some(&ARRAY_OF_2) => read_all(bytes, WHAT, Self::decode_typed),
            Err(_) => Err(KeyError::Length { what: "Ed25519 secret key", expected: 64, found: bytes.len() }),
        }
    }

    /// Type 1: the bare `seed ‖ pk`. Type 4, where the SLH-DSA key is `sk.seed ‖ sk.prf ‖ pk.seed ‖ pk.root`:
    ///
    /// ```text
    /// array(2) ‖ uint 4 ‖ array(2) ‖ bin(64) ed25519 ‖ bin(64) slh_dsa
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        let ed25519 = self.ed25519.to_pair();
        let Some(slh_dsa) = &self.slh_dsa else { return SecretBytes::from_slice(ed25519.expose()) };
        // room for all of it, so that no copy of a secret is left behind by growing
        let mut out = Writer::after(Vec::with_capacity(135));
        out.array(2).uint(4).array(2).bin(ed25519.expose()).bin(slh_dsa.to_bytes().expose());
        let bytes = Zeroizing::new(out.finish());
        SecretBytes::from_slice(&bytes)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &SigningPublicKey {
        &self.public
    }

    /// The signed form (protocol §6.1): `ed_sig(64) ‖ message` for type 1, `slh_sig(17088) ‖ ed_sig(64) ‖ message` for
    /// type 4, whose SLH-DSA signature is over all that follows it, and takes tens of milliseconds.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let below = [&self.ed25519.sign(message)[..], message].concat();
        match &self.slh_dsa {
            None => below,
            Some(key) => [&key.sign(&below)[..], &below].concat(),
        }
    }

    /// Reads `[1, bytes]` or `[4, [ed25519, slh_dsa]]`.
    pub(crate) fn decode_typed(reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        reader.array_of(2, "64 bytes or [type, key]")?;
        match reader.uint()? {
            1 => Self::from_halves(reader.bytes_exact("an Ed25519 secret key of 64 bytes")?, None),
            4 => {
                reader.array_of(2, "[ed25519, slh-dsa]")?;
                let ed25519 = reader.bytes_exact("an Ed25519 secret key of 64 bytes")?;
                Self::from_halves(ed25519, Some(reader.bytes_exact("an SLH-DSA secret key of 64 bytes")?))
            }
            other => Err(KeyError::UnknownVersion(other)),
        }
    }

    fn from_halves(ed25519: &[u8; 64], slh_dsa: Option<&[u8; 64]>) -> Result<Self, KeyError> {
        let ed25519 = ed25519::Key::from_pair(ed25519).ok_or(KeyError::Mismatch)?;
        let slh_dsa = slh_dsa.map(|bytes| slh_dsa::Key::from_bytes(bytes).ok_or(KeyError::Mismatch)).transpose()?;
        Ok(Self::of(ed25519, slh_dsa))
    }

    fn of(ed25519: ed25519::Key, slh_dsa: Option<slh_dsa::Key>) -> Self {
        let public = match &slh_dsa {
            None => SigningPublicKey::Ed25519(ed25519.public()),
            Some(key) => SigningPublicKey::Ed25519SlhDsa { ed25519: ed25519.public(), slh_dsa: key.public() },
        };
        Self { ed25519, slh_dsa, public }
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &SigningPublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(Self::sign(self, message))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public: {:?})", self.public)
    }
}

const WHAT: &str = "secret signing key";
/// How `msgpack([type, key])` begins.
const ARRAY_OF_2: u8 = 0x92;

#[cfg(test)]
mod tests;
