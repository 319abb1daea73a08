//! Private keys in PEM: PKCS#8, plain or encrypted; PKCS#1 (RSA); SEC1 (elliptic curves).

use pkcs8::der::zeroize::Zeroizing;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{pem, setting};
use crate::kafka::error::Error;
use crate::kafka::security::Hidden;
use crate::kafka::security::settings::Pem;

/// The first key there, decrypted when it has to be.
pub(super) fn read(from: &Pem, password: Option<&Hidden>, name: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = pem::text(from, name)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if let Some(encrypted) = section(text, ENCRYPTED) {
        return decrypted(encrypted, password, name);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        let why = "the key is encrypted in an old way, which isn't read; convert it with `openssl pkcs8 -topk8 -in \
                   OLD -out NEW`";
        return Err(setting(name, why));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| setting(name, &format!("{NONE} is in {}", pem::place(from))))
}

pub(super) const NONE: &str = "no private key in PEM (PKCS#8, PKCS#1 or SEC1)";

fn decrypted(pem: &str, password: Option<&Hidden>, name: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let password = password.ok_or_else(|| setting(name, "the key is encrypted, and ssl_password is missing"))?;
    let document = SecretDocument::from_pem(pem).map_err(|_| setting(name, "it is no proper PEM"))?;
    let (_, document) = document;
    let unreadable = "the key is encrypted in a way that isn't read (PBES2 with AES is); convert it with `openssl \
                      pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`";
    let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| setting(name, unreadable))?;
    let key = info.decrypt(password.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            setting(name, "ssl_password doesn't open the key")
        }
        _ => setting(name, unreadable),
    })?;
    let key: Zeroizing<Vec<u8>> = key.to_bytes();
    Ok(PrivatePkcs8KeyDer::from(key.to_vec()).into())
}

/// The first section with a label, its marks with it.
fn section<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let text = text.get(text.find(&begin)?..)?;
    text.get(..text.find(&end)? + end.len())
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
