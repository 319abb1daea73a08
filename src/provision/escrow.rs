use std::fmt;

use crate::keys::{Ephemeral, ExchangeKey, KeyError, OfferKey, Scheme, SharedSecret};
use crate::primitives::{sealed_box, secretbox, sha256};
use crate::secret::{Fingerprint, Secret, SecretBytes};
use crate::wire::{Writer, read_all};

/// The public key that ratchet secrets are sealed to (protocol §14). There is none built in.
///
/// ```
/// use kafkacrypto::keys::{RatchetState, Scheme};
/// use kafkacrypto::provision::{EscrowError, EscrowKey, EscrowPublicKey};
/// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// let key = EscrowKey::generate(Scheme::X25519MlKem1024, &mut rng); // kept in a safe
/// let public = EscrowPublicKey::from_bytes(&key.public().to_bytes()).unwrap();
///
/// let seed = RatchetState::fresh(&mut rng);
/// let sealed = public.seal(seed.secret(), &mut rng).unwrap();
/// assert!(key.open(&sealed).unwrap().same_as(seed.secret()));
/// let other = EscrowKey::generate(Scheme::X25519MlKem1024, &mut rng);
/// assert_eq!(other.open(&sealed).unwrap_err(), EscrowError::Sealed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowPublicKey(OfferKey);

/// The secret key that opens them again: whoever has it can read what those nodes encrypt.
#[derive(Debug)]
pub struct EscrowKey(Ephemeral);

/// Why an escrowed secret can't be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EscrowError {
    /// Not the public key of an escrow.
    #[error("this is no public escrow key ({0}); take what `escrow keygen` has printed")]
    NotAPublicKey(KeyError),
    /// Not the secret key of an escrow.
    #[error("this is no secret escrow key ({0}); take the file that `escrow keygen` has made")]
    NotAKey(KeyError),
    /// The public key can't be sealed to.
    #[error("nothing can be sealed to this escrow key: {0}")]
    BadKey(KeyError),
    /// Not of the form that sealed secrets have.
    #[error("this is no escrowed secret; take what `escrow seal` has printed, whole")]
    Malformed,
    /// Sealed to a key of another scheme.
    #[error("this was sealed to a key for {sealed}, and the key is one for {key}; take the other key")]
    OtherScheme {
        /// What it was sealed with.
        sealed: Scheme,
        /// The key's.
        key: Scheme,
    },
    /// Sealed to another key, or changed.
    #[error("this was sealed to another key, or was changed; take the key that it was sealed to")]
    Sealed,
}

impl EscrowPublicKey {
    /// Which scheme it is for.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.0.scheme()
    }

    /// The bare 32 bytes for version 1, else `msgpack([version, [x25519, kem]])`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Reads the layout of [`EscrowPublicKey::to_bytes`].
    ///
    /// # Errors
    /// [`EscrowError::NotAPublicKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscrowError> {
        let key = ExchangeKey::from_bytes(bytes).map_err(EscrowError::NotAPublicKey)?;
        key.into_offer().map(Self).ok_or(EscrowError::NotAPublicKey(KeyError::SchemeMismatch))
    }

    /// Seals a ratchet's secret (protocol §14). The value isn't secret: only the escrow key opens it.
    ///
    /// ```text
    /// prefix = uint16be len(epk) ‖ uint16be 24
    /// ss     = sha256(prefix ‖ escrow pk ‖ epk ‖ nonce(24) ‖ shared)
    /// value  = prefix ‖ epk ‖ nonce(24) ‖ secretbox(ss, nonce, secret)
    /// ```
    ///
    /// `epk` is the answer to the escrow key, in byte form as that is.
    ///
    /// # Errors
    /// [`EscrowError::BadKey`].
    pub fn seal(&self, secret: &Secret<32>, rng: &mut dyn rand_core::CryptoRng) -> Result<Vec<u8>, EscrowError> {
        let (answer, shared) = self.0.answer(rng).map_err(EscrowError::BadKey)?;
        let epk = answer.to_bytes();
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let head = Head { epk: &epk, nonce: &nonce };
        let mut value = head.encode();
        secretbox::seal_into(&mut value, head.key(&self.0, &shared).expose(), &nonce, secret.expose());
        Ok(value)
    }
}

impl EscrowKey {
    /// A new key.
    #[must_use]
    pub fn generate(scheme: Scheme, rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Ephemeral::generate(scheme, rng))
    }

    /// A key from the secret halves of an exchange key.
    #[must_use]
    pub fn new(secret: Ephemeral) -> Self {
        Self(secret)
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> EscrowPublicKey {
        EscrowPublicKey(self.0.offer().clone())
    }

    /// The bytes of the file that `escrow keygen` makes; the format is ours, since no other implementation has one:
    ///
    /// ```text
    /// array(4) ‖ str "escrow" ‖ uint version ‖ bin(32) x25519 ‖ bin kem
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> SecretBytes {
        let (x25519, kem) = self.0.secrets();
        // room for all of it, so that no copy of a secret is left behind by growing
        let mut out = Writer::after(Vec::with_capacity(64 + kem.expose().len()));
        out.array(4).str(MAGIC).uint(self.0.offer().scheme().offer_version()).bin(x25519.expose()).bin(kem.expose());
        let bytes = zeroize::Zeroizing::new(out.finish());
        SecretBytes::from_slice(&bytes)
    }

    /// Reads the layout of [`EscrowKey::to_bytes`].
    ///
    /// # Errors
    /// [`EscrowError::NotAKey`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EscrowError> {
        let read = read_all(bytes, "escrow key", |reader| {
            reader.array_of(4, WHAT)?;
            if reader.bytes()? != MAGIC.as_bytes() {
                return Err(KeyError::from(reader.unexpected(WHAT)));
            }
            let version = reader.uint()?;
            let scheme = Scheme::from_offer_version(version).ok_or(KeyError::UnknownVersion(version))?;
            let x25519 = reader.bytes_exact::<32>("an X25519 secret of 32 bytes")?;
            Ephemeral::from_secrets(scheme, Secret::filled(|place| *place = *x25519), reader.bytes()?)
        });
        read.map(Self).map_err(EscrowError::NotAKey)
    }

    /// Opens what [`EscrowPublicKey::seal`] made; with a key of version 1 also a plain sealed box, as old nodes made them.
    ///
    /// # Errors
    /// [`EscrowError::Malformed`], [`EscrowError::OtherScheme`], [`EscrowError::Sealed`].
    pub fn open(&self, value: &[u8]) -> Result<Secret<32>, EscrowError> {
        let opened = self.open_value(value);
        if opened.is_err() && self.public().scheme() == Scheme::X25519 && value.len() == SEALED_BOX {
            return sealed_box::open(self.0.secrets().0, value).as_deref().and_then(secret).ok_or(EscrowError::Sealed);
        }
        opened
    }

    fn open_value(&self, value: &[u8]) -> Result<Secret<32>, EscrowError> {
        let (head, boxed) = Head::split(value).ok_or(EscrowError::Malformed)?;
        let answer = ExchangeKey::from_bytes(head.epk).ok().and_then(ExchangeKey::into_answer);
        let answer = answer.ok_or(EscrowError::Malformed)?;
        let (sealed, key) = (answer.scheme(), self.public().scheme());
        if sealed != key {
            return Err(EscrowError::OtherScheme { sealed, key });
        }
        let shared = self.0.complete(&answer).map_err(|_| EscrowError::Sealed)?;
        let opened = secretbox::open(head.key(self.0.offer(), &shared).expose(), head.nonce, boxed);
        opened.as_deref().and_then(secret).ok_or(EscrowError::Sealed)
    }
}

/// For people: the scheme, and a fingerprint.
impl fmt::Display for EscrowPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scheme(), Fingerprint::of(&sha256::hash(&[&self.to_bytes()])))
    }
}

/// What stands before the box.
struct Head<'a> {
    epk: &'a [u8],
    nonce: &'a [u8; NONCE],
}

impl<'a> Head<'a> {
    fn prefix(&self) -> [u8; 4] {
        let length = u16::try_from(self.epk.len()).unwrap_or(u16::MAX).to_be_bytes();
        let [high, low] = length;
        [high, low, 0, 24]
    }

    fn encode(&self) -> Vec<u8> {
        [&self.prefix()[..], self.epk, self.nonce].concat()
    }

    fn split(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([high, low, 0, 24], rest) = value.split_first_chunk::<4>()? else { return None };
        let (epk, rest) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
        let (nonce, boxed) = rest.split_first_chunk::<NONCE>()?;
        Some((Self { epk, nonce }, boxed))
    }

    fn key(&self, escrow: &OfferKey, shared: &SharedSecret) -> Secret<32> {
        sha256::secret_hash(&[&self.prefix(), &escrow.to_bytes(), self.epk, self.nonce, shared.expose()])
    }
}

fn secret(opened: &[u8]) -> Option<Secret<32>> {
    Secret::from_slice(opened)
}

const NONCE: usize = 24;
/// A plain sealed box around 32 bytes.
const SEALED_BOX: usize = 32 + 16 + 32;
const MAGIC: &str = "escrow";
const WHAT: &str = "[\"escrow\", version, x25519, kem]";

#[cfg(test)]
mod tests;
