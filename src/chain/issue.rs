//! Making certificates and chains. Signing is the caller's: a key may be in a device.

use super::verify::read_elements;
use super::{Certificate, ChainError, LeafKey, MAX_ELEMENTS, Restrictions};
use crate::keys::SigningPublicKey;
use crate::time::UnixTime;
use crate::wire::{Reader, Writer, read_all};

/// A value behind a certificate's key.
#[derive(Clone, Debug)]
pub enum Extra<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of bytes.
    List(Vec<&'a [u8]>),
}

/// The certificate to sign (protocol §7): `max_age` is written as a float64, or as the integer 0 for forever.
///
/// ```
/// use kafkacrypto::chain::{Certificate, Extra, LeafKey, Restrictions, leaf};
/// use kafkacrypto::time::UnixTime;
/// let body = leaf(UnixTime::from_secs(9), &Restrictions::none(), &LeafKey::Bare([1; 32]), &[Extra::Bytes(b"more")]);
/// let read = Certificate::decode(&body).unwrap();
/// assert_eq!(read.max_age(), UnixTime::from_secs(9));
/// assert_eq!(read.extra_bytes(0), Some(&b"more"[..]));
/// ```
#[must_use]
pub fn leaf(max_age: UnixTime, restrictions: &Restrictions, key: &LeafKey, extras: &[Extra<'_>]) -> Vec<u8> {
    let mut certificate = Certificate::new(max_age, restrictions.clone(), key.clone());
    certificate.extras = extras.iter().map(Extra::encode).collect();
    certificate.encode()
}

/// The unsigned certificate by which an allowlist trusts a root without limits: `[0, 0x90, pk]` (protocol §13).
#[must_use]
pub fn root_certificate(key: &SigningPublicKey) -> Vec<u8> {
    leaf(UnixTime::ZERO, &Restrictions::none(), &LeafKey::Signing(key.clone()), &[])
}

/// A chain of signed elements: `array ‖ bin*`.
#[must_use]
pub fn chain_of(signed: &[&[u8]]) -> Vec<u8> {
    let mut out = Writer::new();
    out.array(u32::try_from(signed.len()).unwrap_or(u32::MAX));
    signed.iter().for_each(|element| {
        out.bin(element);
    });
    out.finish()
}

/// The chain with one more signed element. Elements that are there keep their bytes; no bytes at all are a chain without
/// elements.
///
/// # Errors
/// [`ChainError::Malformed`] and [`ChainError::TooLong`].
///
/// ```
/// use kafkacrypto::chain::{append, chain_of};
/// let one = append(b"", b"signed").unwrap();
/// assert_eq!(one, chain_of(&[b"signed"]));
/// assert_eq!(append(&one, b"another").unwrap(), chain_of(&[b"signed", b"another"]));
/// assert!(append(b"no chain", b"signed").is_err());
/// ```
pub fn append(chain: &[u8], signed: &[u8]) -> Result<Vec<u8>, ChainError> {
    let before = if chain.is_empty() { Vec::new() } else { raw_elements(chain)? };
    if before.len() >= MAX_ELEMENTS {
        let found = before.len().saturating_add(1);
        return Err(ChainError::TooLong { what: "the number of elements", found, limit: MAX_ELEMENTS });
    }
    let mut out = Writer::new();
    out.array(u32::try_from(before.len()).unwrap_or(u32::MAX).saturating_add(1));
    before.iter().for_each(|element| {
        out.raw(element);
    });
    out.bin(signed);
    Ok(out.finish())
}

impl Extra<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Bytes(bytes) => {
                out.bin(bytes);
            }
            Self::List(list) => {
                out.array(u32::try_from(list.len()).unwrap_or(u32::MAX));
                list.iter().for_each(|bytes| {
                    out.bin(bytes);
                });
            }
        }
        out.finish()
    }
}

fn raw_elements(chain: &[u8]) -> Result<Vec<&[u8]>, ChainError> {
    if read_elements(chain) == Err(ChainError::Empty) {
        return Ok(Vec::new());
    }
    read_elements(chain)?;
    read_all(chain, "chain", |reader: &mut Reader<'_>| (0..reader.array()?).map(|_| Ok(reader.raw()?)).collect())
}
