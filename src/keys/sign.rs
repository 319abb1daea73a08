use std::fmt;

use super::KeyError;
use crate::primitives::ed25519;
use crate::secret::{Fingerprint, Secret};
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

    /// Whether this build can sign and verify with it.
    #[must_use]
    pub fn is_built(self) -> bool {
        self == Self::Ed25519
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

    /// The signed form of a message (protocol §6.1): for type 1 `sig(64) ‖ message`.
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

    /// The message inside a signed form, if its signature is this key's.
    ///
    /// # Errors
    /// [`KeyError::Signature`], and [`KeyError::NotBuilt`] for type 4.
    pub fn open<'a>(&self, signed: &'a [u8]) -> Result<&'a [u8], KeyError> {
        match self {
            Self::Ed25519(public) => {
                let (signature, message) = signed.split_first_chunk::<64>().ok_or(KeyError::Signature)?;
                ed25519::verify(public, message, signature).then_some(message).ok_or(KeyError::Signature)
            }
            Self::Ed25519SlhDsa { .. } => Err(KeyError::NotBuilt("signing type 4 (Ed25519 with SLH-DSA)")),
        }
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

/// A secret signing key in memory, of type 1 so far.
///
/// ```
/// use kafkacrypto::keys::SigningKey;
/// let key = SigningKey::from_ed25519_seed(&[7; 32]);
/// let again = SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
/// assert_eq!(again.public(), key.public());
/// assert!(SigningKey::from_bytes(&[7; 64]).is_err());
/// ```
pub struct SigningKey {
    secret: ed25519::Key,
    public: SigningPublicKey,
}

impl SigningKey {
    /// The key of a 32-byte Ed25519 seed.
    #[must_use]
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        Self::of(ed25519::Key::from_seed(seed))
    }

    /// A new key of type 1.
    #[must_use]
    pub fn generate(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self::from_ed25519_seed(Secret::random(rng).expose())
    }

    /// From the form in `.crypto` files: `seed ‖ pk`, 64 bytes.
    ///
    /// # Errors
    /// [`KeyError::Length`], [`KeyError::Mismatch`].
    pub fn from_bytes(pair: &[u8]) -> Result<Self, KeyError> {
        let length = KeyError::Length { what: "Ed25519 secret key", expected: 64, found: pair.len() };
        let pair = Secret::<64>::from_slice(pair).ok_or(length)?;
        ed25519::Key::from_pair(pair.expose()).map(Self::of).ok_or(KeyError::Mismatch)
    }

    /// `seed ‖ pk`.
    #[must_use]
    pub fn to_bytes(&self) -> Secret<64> {
        self.secret.to_pair()
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &SigningPublicKey {
        &self.public
    }

    /// `sig(64) ‖ message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        [&self.secret.sign(message)[..], message].concat()
    }

    fn of(secret: ed25519::Key) -> Self {
        let public = SigningPublicKey::Ed25519(secret.public());
        Self { secret, public }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_public_key_is_read() {
        let hybrid = SigningPublicKey::Ed25519SlhDsa { ed25519: [1; 32], slh_dsa: [2; 32] };
        let single = SigningPublicKey::Ed25519([1; 32]);
        let read = |bytes: &[u8]| read_all(bytes, "key", SigningPublicKey::decode).unwrap();
        let mut out = Writer::new();
        hybrid.encode(&mut out);
        assert_eq!(read(&out.finish()), hybrid);
        let mut wrapped = Writer::new();
        wrapped.bin(&hybrid.to_bytes());
        assert_eq!(read(&wrapped.finish()), hybrid);
        let mut typed = Writer::new();
        typed.array(2).uint(1).bin(&[1; 32]);
        assert_eq!(read(&typed.finish()), single);
        let mut text = Writer::new();
        text.str_bytes(&[1; 32]);
        assert_eq!(read(&text.finish()), single);
    }

    #[test]
    fn unknown_types_are_told_from_damage() {
        assert_eq!(SigningPublicKey::from_bytes(b"\x92\x09\xc0"), Err(KeyError::UnknownVersion(9)));
        assert!(matches!(SigningPublicKey::from_bytes(&[1; 31]), Err(KeyError::Wire(_))));
    }

    #[test]
    fn secrets_survive_and_stay_unseen() {
        let key = SigningKey::from_ed25519_seed(&[9; 32]);
        let read = SigningKey::from_bytes(key.to_bytes().expose()).unwrap();
        assert_eq!(read.public(), key.public());
        assert!(!format!("{key:?}").contains(&hex::encode([9; 8])));
    }
}
