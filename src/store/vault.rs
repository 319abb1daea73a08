use std::fmt;

use zeroize::Zeroizing;

use crate::keys::KeyIndex;
use crate::primitives::secretbox;
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::{Item, Reader, WireError, Writer};

/// Why an opaque value can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Sealed with another key file's vault key, or changed.
    #[error("the value can't be opened with this key file; restore the config and the key file from the same backup")]
    Sealed,
    /// Opened, but not what should be inside.
    #[error("the opened value is damaged ({0}); restore the config from a backup")]
    Damaged(#[from] WireError),
}

/// An opaque value of a config (protocol §12.1), sealed with the key file's [`ek`](super::KeyFile::ek):
///
/// ```text
/// nonce(24) ‖ secretbox(ek, nonce, bytes)
/// ```
#[must_use]
pub fn seal(ek: &Secret<32>, rng: &mut dyn rand_core::CryptoRng, bytes: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    let mut out = Vec::with_capacity(NONCE + secretbox::OVERHEAD + bytes.len());
    out.extend_from_slice(&nonce);
    secretbox::seal_into(&mut out, ek.expose(), &nonce, bytes);
    out
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`VaultError::Sealed`].
///
/// ```
/// use kafkacrypto::{secret::Secret, store::{self, VaultError}};
/// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// let ek = Secret::random(&mut rng);
/// let opaque = store::seal(&ek, &mut rng, b"secret");
/// assert_eq!(*store::open(&ek, &opaque).unwrap(), b"secret");
/// assert_eq!(store::open(&Secret::random(&mut rng), &opaque), Err(VaultError::Sealed));
/// ```
pub fn open(ek: &Secret<32>, opaque: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (nonce, sealed) = opaque.split_first_chunk::<NONCE>().ok_or(VaultError::Sealed)?;
    secretbox::open(ek.expose(), nonce, sealed).map(Zeroizing::new).ok_or(VaultError::Sealed)
}

/// The secrets that a producer still gives out on request: what the opened `oldkeys` of a config holds.
///
/// ```
/// use kafkacrypto::{keys::KeyIndex, secret::Secret, store::{OldKey, OldKeys}, time::UnixTime, topic::Root};
/// let mut keys = OldKeys::default();
/// let (root, index) = (Root::new("lab"), KeyIndex::Short(7));
/// let secret = Secret::from_slice(&[1; 32]).unwrap();
/// keys.entries.push(OldKey { root, index, secret, birth: UnixTime::from_secs(1_800_000_000) });
/// let (read, skipped) = OldKeys::decode(&keys.encode()).unwrap();
/// assert_eq!((read.entries.len(), skipped), (1, 0));
/// assert!(OldKeys::decode(b"").is_err());
/// ```
#[derive(Debug, Default)]
pub struct OldKeys {
    /// In the order of the file.
    pub entries: Vec<OldKey>,
}

/// One secret of one root.
pub struct OldKey {
    /// Whose records it encrypts.
    pub root: Root,
    /// Its public name.
    pub index: KeyIndex,
    /// What records' keys are made from.
    pub secret: Secret<32>,
    /// When it was made.
    pub birth: UnixTime,
}

impl OldKeys {
    /// Reads the layout of [`OldKeys::encode`]. Entries that are malformed are left out: the answer says how many.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] if it isn't a list of entries at all.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), VaultError> {
        let mut reader = Reader::new(bytes, "old keys");
        let Item::Map(pairs) = reader.item()? else { return Err(reader.unexpected("a map").into()) };
        let (mut keys, mut skipped) = (Self::default(), 0);
        for _ in 0..pairs {
            if reader.bytes()? != LIST {
                reader.raw()?;
                continue;
            }
            for _ in 0..reader.array()? {
                match OldKey::decode(reader.raw()?) {
                    Some(entry) => keys.entries.push(entry),
                    None => skipped += 1,
                }
            }
        }
        reader.end()?;
        Ok((keys, skipped))
    }

    /// What is sealed as `oldkeys` (protocol §12.1):
    ///
    /// ```text
    /// map(1) ‖ str "pgens" ‖ array(n) ‖ (array(4) ‖ str root ‖ keyidx ‖ bin secret(32) ‖ float64 birth) …
    /// ```
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // room for all of it, so that no copy of a secret is left behind by growing
        let room = self.entries.iter().map(|entry| entry.root.as_str().len() + KeyIndex::MAX_BYTES + 64).sum::<usize>();
        let mut out = Writer::after(Vec::with_capacity(32 + room));
        out.map(1).str("pgens").array(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.iter().for_each(|entry| entry.encode(&mut out));
        Zeroizing::new(out.finish())
    }
}

impl OldKey {
    fn encode(&self, out: &mut Writer) {
        out.array(4).str(self.root.as_str());
        self.index.encode(out);
        out.bin(self.secret.expose()).float(self.birth.as_secs_f64());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, "old key");
        reader.array_of(4, "[root, index, secret, birth]").ok()?;
        let root = Root::new(std::str::from_utf8(reader.bytes().ok()?).ok()?);
        let index = KeyIndex::decode(&mut reader).ok()?;
        let secret = Secret::from_slice(reader.bytes().ok()?)?;
        let birth = match reader.item().ok()? {
            Item::Float(secs) => UnixTime::from_secs_f64(secs)?,
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
            Item::UInt(secs) => UnixTime::from_secs_f64(secs as f64)?,
            _ => return None,
        };
        reader.end().ok()?;
        Some(Self { root, index, secret, birth })
    }
}

impl fmt::Debug for OldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, index, secret: _, birth } = self;
        write!(f, "OldKey({root:?}, {index:?}, born {birth})")
    }
}

const NONCE: usize = 24;
const LIST: &[u8] = b"pgens";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(root: &str, index: KeyIndex, secret: u8) -> OldKey {
        let (root, secret) = (Root::new(root), Secret::filled(|place| place.fill(secret)));
        OldKey { root, index, secret, birth: UnixTime::from_secs_f64(1.5).unwrap() }
    }

    #[test]
    fn opaque_values_open_with_their_key_only() {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let ek = Secret::random(&mut rng);
        let opaque = seal(&ek, &mut rng, b"text");
        assert_eq!(opaque.len(), 24 + 16 + 4);
        for length in 0..opaque.len() {
            assert_eq!(open(&ek, &opaque[..length]), Err(VaultError::Sealed));
        }
        assert_ne!(seal(&ek, &mut rng, b"text"), opaque);
    }

    #[test]
    fn a_malformed_entry_drops_no_other() {
        let mut out = Writer::new();
        out.map(2).str("later").array(1).nil().bin(b"pgens").array(4);
        entry("a", KeyIndex::Short(1), 1).encode(&mut out);
        out.nil().array(4).str("b").uint(2).bin(&[1; 31]).uint(3);
        out.array(4).str("c").bin(b"index").bin(&[3; 32]).uint(1_800_000_000);
        let (read, skipped) = OldKeys::decode(&out.finish()).unwrap();
        let roots: Vec<_> = read.entries.iter().map(|entry| entry.root.as_str()).collect();
        assert_eq!((roots, skipped), (vec!["a", "c"], 2));
        assert_eq!(read.entries[1].birth, UnixTime::from_secs(1_800_000_000));
    }

    #[test]
    fn damage_is_an_error() {
        let keys = OldKeys { entries: vec![entry("a", KeyIndex::Short(1), 1)] };
        let bytes = keys.encode();
        for length in 0..bytes.len() {
            assert!(OldKeys::decode(&bytes[..length]).is_err());
        }
        assert!(OldKeys::decode(&[&bytes[..], b"\0"].concat()).is_err());
        assert!(!format!("{keys:?}").contains("1, 1"));
    }

    proptest! {
        #[test]
        fn entries_survive(roots in prop::collection::vec(".{0,9}", 0..5), long in prop::collection::vec(any::<u8>(), 0..=64)) {
            let index = KeyIndex::long(&long).unwrap();
            let keys = OldKeys { entries: roots.iter().map(|root| entry(root, index.clone(), 9)).collect() };
            let bytes = keys.encode();
            let (read, skipped) = OldKeys::decode(&bytes).unwrap();
            prop_assert_eq!(skipped, 0);
            prop_assert_eq!(&*read.encode(), &*bytes);
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = OldKeys::decode(&bytes);
        }
    }
}
