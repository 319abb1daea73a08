//! Certificates and revocation lists in PEM files.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use zeroize::Zeroizing;

use super::setting;
use crate::kafka::error::Error;
use crate::kafka::security::settings::Pem;

/// All certificates, in their order.
pub(super) fn certificates(from: &Pem, name: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    for text in texts(from, name)? {
        found.extend(sections(&text, name)?);
    }
    if found.is_empty() {
        Err(setting(name, &format!("no certificate in PEM is in {}", place(from))))
    } else {
        Ok(found)
    }
}

/// All revocation lists.
pub(super) fn revocations(from: &Pem, name: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let found = sections(&text(from, name)?, name)?;
    if found.is_empty() {
        Err(setting(name, &format!("no revocation list in PEM is in {}", place(from))))
    } else {
        Ok(found)
    }
}

/// The text of one file.
pub(super) fn text(from: &Pem, name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    match from {
        Pem::Text(text) => Ok(Zeroizing::new(text.expose().as_bytes().to_vec())),
        Pem::File(path) => read(path, name),
    }
}

/// Where it is, for people.
pub(super) fn place(from: &Pem) -> String {
    match from {
        Pem::Text(_) => "the text".to_owned(),
        Pem::File(path) => path.display().to_string(),
    }
}

/// The text of one file, or of all files of a folder.
fn texts(from: &Pem, name: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    match from {
        Pem::File(folder) if folder.is_dir() => {
            let unreadable = |error| setting(name, &format!("{}: {error}", folder.display()));
            let entries = fs::read_dir(folder).map_err(unreadable)?.flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_file()).map(|path| read(&path, name)).collect()
        }
        _ => Ok(vec![text(from, name)?]),
    }
}

fn read(path: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    fs::read(path).map(Zeroizing::new).map_err(|error| setting(name, &format!("{}: {error}", path.display())))
}

fn sections<T: PemObject>(text: &[u8], name: &str) -> Result<Vec<T>, Error> {
    let sections = T::pem_slice_iter(text).collect::<Result<_, _>>();
    sections.map_err(|error| setting(name, &format!("it is no proper PEM ({error})")))
}
