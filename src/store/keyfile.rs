use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::keys::{KeyError, Scheme, SigningKey, SigningPublicKey, SigningType};
use crate::secret::Secret;
use crate::wire::{Item, Reader, WireError, Writer};

/// What a `.crypto` file holds (protocol §12.2): the node's signing keys, the key of its vault, and the exchange
/// versions that it offers.
///
/// What this build doesn't know, such as a signing key of a later type, is kept as it is and written back.
///
/// ```
/// use kafkacrypto::keys::SigningType;
/// use kafkacrypto::store::KeyFile;
/// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// let mut file = KeyFile::fresh(&mut rng);
/// file.add_signing_key(SigningType::Ed25519, &mut rng);
/// let read = KeyFile::decode(&file.encode()).unwrap();
/// assert_eq!(read.node_bytes(None), file.node_bytes(None));
/// assert!(KeyFile::decode(b"").is_err());
/// ```
pub struct KeyFile {
    keys: Vec<StoredKey>,
    ek: Secret<32>,
    legacy: bool,
    versions: Vec<u64>,
    /// Elements behind those that we know, as they stood in the file.
    extra: Vec<Zeroizing<Vec<u8>>>,
    outdated: bool,
}

/// Why bytes are no key file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Not of the form that key files have.
    #[error("the key file is damaged ({0}); restore it from a backup")]
    Damaged(#[from] WireError),
    /// A signing key of a known type that can't be used.
    #[error("signing key {position} of the key file is damaged ({reason}); restore the file from a backup")]
    Key {
        /// Its place in the file, from 0.
        position: u32,
        /// What is wrong with it.
        reason: KeyError,
    },
    /// Written by a later release.
    #[error("the key file has format {0}, which is newer than this program (it reads up to 2); use a later release")]
    Newer(u64),
}

/// What a key file holds that this build passes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileWarning {
    /// A signing key of a type that nobody has defined; `None` if it doesn't even name one.
    UnknownSigningType(Option<u64>),
    /// An exchange version that nobody has defined.
    UnknownExchangeVersion(u64),
}

/// One signing key as it stands in the file, and what this build makes of it.
struct StoredKey {
    raw: Zeroizing<Vec<u8>>,
    content: Content,
}

enum Content {
    Key(Arc<SigningKey>),
    Unknown(Option<u64>),
}

impl KeyFile {
    /// A new file: no keys, a random vault key, versions 5, 2, 1.
    #[must_use]
    pub fn fresh(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let versions = FRESH_VERSIONS.to_vec();
        Self { keys: Vec::new(), ek: Secret::random(rng), legacy: false, versions, extra: Vec::new(), outdated: false }
    }

    /// Reads the layout of [`KeyFile::encode`], the two older ones, and files with left-over bytes at their end:
    ///
    /// ```text
    /// array(5) ‖ uint 1 ‖ ssk ‖ bin ek(32) ‖ bool legacy ‖ array(k) ‖ uint version …
    /// array(2) ‖ ssk ‖ bin ek(32)                      legacy true, versions [1]
    /// ```
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let mut reader = Reader::new(bytes, "key file");
        let elements = reader.array()?;
        match reader.clone().item()? {
            // seed files are such, too
            Item::UInt(_) if elements < 5 => Err(reader.unexpected("[format, keys, ek, legacy, versions]").into()),
            Item::UInt(format @ (1 | 2)) => {
                reader.item()?;
                Self::decode_numbered(&mut reader, format == 1, elements - 5)
            }
            Item::UInt(newer) => Err(KeyFileError::Newer(newer)),
            _ if elements == 2 => Self::decode_oldest(&mut reader),
            _ => Err(reader.unexpected("[format, keys, ek, legacy, versions]").into()),
        }
    }

    /// The bytes of a `.crypto` file (protocol §12.2):
    ///
    /// ```text
    /// array(5) ‖ uint 2 ‖ array(n) ‖ ssk … ‖ bin ek(32) ‖ bool legacy ‖ array(k) ‖ uint version …
    /// ssk = bin(64) seed ‖ pk                                     type 1
    ///     = bin ‖ array(2) ‖ uint 4 ‖ array(2) ‖ bin(64) ‖ bin(64)  type 4
    /// ```
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let kept = self.keys.iter().map(|key| &key.raw).chain(&self.extra).map(|raw| raw.len()).sum::<usize>();
        // room for all of it, so that no copy of a secret is left behind by growing
        let mut out = Writer::after(Vec::with_capacity(128 + kept + 9 * self.versions.len()));
        out.array(5_u32.saturating_add(count(&self.extra))).uint(2).array(count(&self.keys));
        self.keys.iter().for_each(|key| _ = out.raw(&key.raw));
        out.bin(self.ek.expose()).bool(self.legacy).array(count(&self.versions));
        self.versions.iter().for_each(|version| _ = out.uint(*version));
        self.extra.iter().for_each(|raw| _ = out.raw(raw));
        Zeroizing::new(out.finish())
    }

    /// The signing keys, each with its index: its place among the file's keys of defined types,
    /// which names its chain in the config (`chain0`, `chain1` …). `enabled` is the config's `keytypes`.
    pub fn signing_keys(&self, enabled: Option<&[SigningType]>) -> impl Iterator<Item = (usize, &Arc<SigningKey>)> {
        self.indexed(enabled)
    }

    /// The public keys of all enabled signing keys, with their indices.
    pub fn public_keys(&self, enabled: Option<&[SigningType]>) -> impl Iterator<Item = (usize, &SigningPublicKey)> {
        self.indexed(enabled).map(|(index, key)| (index, key.public()))
    }

    /// What long key indices are made from: the enabled public keys in byte form, one after another (protocol §4).
    #[must_use]
    pub fn node_bytes(&self, enabled: Option<&[SigningType]>) -> Vec<u8> {
        self.public_keys(enabled).flat_map(|(_, public)| public.to_bytes()).collect()
    }

    /// Generates a signing key and adds it behind the others; returns its index.
    pub fn add_signing_key(&mut self, kind: SigningType, rng: &mut dyn rand_core::CryptoRng) -> usize {
        let index = self.indexed(None).count();
        self.keys.push(StoredKey::of(SigningKey::generate(kind, rng)));
        index
    }

    /// The exchange schemes that the file lists, the preferred one first.
    #[must_use]
    pub fn schemes(&self) -> Vec<Scheme> {
        self.versions.iter().filter_map(|version| Scheme::from_offer_version(*version)).collect()
    }

    /// The exchange versions as the file lists them, unknown ones included.
    #[must_use]
    pub fn versions(&self) -> &[u64] {
        &self.versions
    }

    /// The same file with other exchange versions.
    #[must_use]
    pub fn with_versions(mut self, versions: &[u64]) -> Self {
        self.versions = versions.to_vec();
        self
    }

    /// The same file, with requests also sent in the oldest form, or not.
    #[must_use]
    pub fn with_legacy(mut self, legacy: bool) -> Self {
        self.legacy = legacy;
        self
    }

    /// The same file with the post-quantum exchanges turned on: 5 and 2 come first, then what was there, unknown versions
    /// included. Version 1 stays off where it was off, unless the file lists no version that is known.
    ///
    /// ```
    /// use kafkacrypto::store::KeyFile;
    /// let fresh = || KeyFile::fresh(&mut getrandom::rand_core::UnwrapErr(getrandom::SysRng));
    /// for (before, after) in [(&[1][..], &[5, 2, 1][..]), (&[2, 9, 1], &[5, 2, 9, 1]), (&[5], &[5, 2]), (&[], &[5, 2, 1])] {
    ///     assert_eq!(fresh().with_versions(before).with_post_quantum().versions(), after);
    /// }
    /// ```
    #[must_use]
    pub fn with_post_quantum(self) -> Self {
        let first = if self.schemes().is_empty() { FRESH_VERSIONS.to_vec() } else { POST_QUANTUM.to_vec() };
        let rest = self.versions.iter().filter(|version| !first.contains(version)).copied().collect();
        let versions = [first, rest].concat();
        self.with_versions(&versions)
    }

    /// Whether requests are also sent in the oldest form.
    #[must_use]
    pub fn legacy(&self) -> bool {
        self.legacy
    }

    /// The key of the vault in the config (protocol §12.1, opaque values).
    #[must_use]
    pub fn ek(&self) -> &Secret<32> {
        &self.ek
    }

    /// Whether the file is of an older format, and should be written anew.
    #[must_use]
    pub fn needs_upgrade(&self) -> bool {
        self.outdated
    }

    /// What in it this build passes over.
    #[must_use]
    pub fn warnings(&self) -> Vec<KeyFileWarning> {
        let keys = self.keys.iter().filter_map(|key| match &key.content {
            Content::Key(_) => None,
            Content::Unknown(kind) => Some(KeyFileWarning::UnknownSigningType(*kind)),
        });
        let unknown = self.versions.iter().filter(|version| Scheme::from_offer_version(**version).is_none());
        keys.chain(unknown.map(|version| KeyFileWarning::UnknownExchangeVersion(*version))).collect()
    }

    /// Keys of undefined types aren't counted: Python doesn't either, and both must name the same chains.
    fn indexed(&self, enabled: Option<&[SigningType]>) -> impl Iterator<Item = (usize, &Arc<SigningKey>)> {
        let known = self.keys.iter().filter_map(|key| key.content.key()).enumerate();
        known.filter(move |(_, key)| enabled.is_none_or(|list| list.contains(&key.public().signing_type())))
    }

    fn decode_numbered(reader: &mut Reader<'_>, first: bool, more: u32) -> Result<Self, KeyFileError> {
        let listed = if first { 1 } else { reader.array()? };
        let keys = (0..listed).map(|position| StoredKey::decode(reader, position)).collect::<Result<_, _>>()?;
        let ek = vault_key(reader)?;
        let legacy = match reader.item()? {
            Item::Bool(legacy) => legacy,
            Item::UInt(number) => number != 0,
            _ => return Err(reader.unexpected("true or false for legacy").into()),
        };
        let versions = (0..reader.array()?).map(|_| reader.uint()).collect::<Result<_, _>>()?;
        let extra =
            (0..more).map(|_| reader.raw().map(|raw| Zeroizing::new(raw.to_vec()))).collect::<Result<_, _>>()?;
        Ok(Self { keys, ek, legacy, versions, extra, outdated: first })
    }

    fn decode_oldest(reader: &mut Reader<'_>) -> Result<Self, KeyFileError> {
        let keys = vec![StoredKey::decode(reader, 0)?];
        let ek = vault_key(reader)?;
        Ok(Self { keys, ek, legacy: true, versions: vec![1], extra: Vec::new(), outdated: true })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, ek: _, legacy, versions, extra: _, outdated } = self;
        let keys: Vec<_> = keys.iter().map(|key| key.content.key()).collect();
        f.debug_struct("KeyFile")
            .field("keys", &keys)
            .field("legacy", legacy)
            .field("versions", versions)
            .field("outdated", outdated)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for KeyFileWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSigningType(Some(kind)) => write!(f, "a signing key of unknown type {kind} is kept, unused"),
            Self::UnknownSigningType(None) => write!(f, "a signing key without a type is kept, unused"),
            Self::UnknownExchangeVersion(version) => write!(f, "unknown exchange version {version} is kept, unused"),
        }
    }
}

impl StoredKey {
    fn of(key: SigningKey) -> Self {
        let bytes = key.to_bytes();
        let mut raw = Writer::after(Vec::with_capacity(bytes.expose().len() + 2));
        raw.bin(bytes.expose());
        Self { raw: Zeroizing::new(raw.finish()), content: Content::Key(Arc::new(key)) }
    }

    fn decode(reader: &mut Reader<'_>, position: u32) -> Result<Self, KeyFileError> {
        let raw = reader.raw()?;
        let content = Content::decode(raw).map_err(|reason| KeyFileError::Key { position, reason })?;
        Ok(Self { raw: Zeroizing::new(raw.to_vec()), content })
    }
}

impl Content {
    /// `bin(64)` is type 1; anything else is `[type, key]`, as it is or inside a `bin`.
    fn decode(raw: &[u8]) -> Result<Self, KeyError> {
        match Reader::new(raw, WHAT).item()? {
            Item::Bytes(pair) if pair.len() == 64 => SigningKey::from_bytes(pair).map(Self::of),
            Item::Bytes(typed) => Self::decode_typed(typed),
            Item::Array(_) => Self::decode_typed(raw),
            _ => Ok(Self::Unknown(None)),
        }
    }

    fn of(key: SigningKey) -> Self {
        Self::Key(Arc::new(key))
    }

    fn decode_typed(bytes: &[u8]) -> Result<Self, KeyError> {
        match SigningKey::decode_typed(&mut Reader::new(bytes, WHAT)) {
            Err(KeyError::UnknownVersion(other)) => Ok(Self::Unknown(Some(other))),
            read => read.map(Self::of),
        }
    }

    fn key(&self) -> Option<&Arc<SigningKey>> {
        match self {
            Self::Key(key) => Some(key),
            Self::Unknown(_) => None,
        }
    }
}

fn vault_key(reader: &mut Reader<'_>) -> Result<Secret<32>, WireError> {
    let key = reader.bytes_exact::<32>("a vault key of 32 bytes")?;
    Ok(Secret::filled(|place| *place = *key))
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

const WHAT: &str = "secret signing key";
const FRESH_VERSIONS: [u64; 3] = [5, 2, 1];
const POST_QUANTUM: [u64; 2] = [5, 2];

#[cfg(test)]
mod tests;
