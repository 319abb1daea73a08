//! TLS 1.2 and 1.3 by rustls: whom we believe, and what we show.
//!
//! Never: a certificate that isn't signed by a known authority, old versions, or a key in an error.

mod explain;
mod key;
mod pem;
mod provider;
mod stream;
mod verify;

use std::sync::Arc;

use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::{Pem, TlsSettings};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::net::stream::BoxStream;

/// What the settings come to.
pub(super) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>, Error> {
    match &settings.custom {
        Some(custom) => Ok(Arc::clone(custom)),
        None => build(settings, provider::best()).map(Arc::new),
    }
}

/// Puts TLS around a connection. `host` is the name that the broker's certificate must have.
pub(super) async fn connect(config: Arc<ClientConfig>, tcp: TcpStream, host: &str) -> Result<BoxStream, Error> {
    let has_certificate = config.client_auth_cert_resolver.has_certs();
    match TlsConnector::from(config).connect(explain::server_name(host)?, tcp).await {
        Ok(tls) => Ok(Box::new(stream::Stream::new(tls, has_certificate))),
        Err(error) => Err(explain::handshake(&error, has_certificate)),
    }
}

fn build(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<ClientConfig, Error> {
    let verifier = verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| setting("security_protocol", &error.to_string()))?;
    let builder = if settings.check_hostname {
        builder.with_webpki_verifier(verifier)
    } else {
        tracing::warn!(
            "ssl_check_hostname is off: any broker with a certificate of a known authority is taken for the one that \
             was meant"
        );
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::AnyName(verifier)))
    };
    let Some(certificate) = &settings.certificate else {
        return match settings.key {
            Some(_) => Err(setting("ssl_keyfile", "it is there without ssl_certfile")),
            None => Ok(builder.with_no_client_auth()),
        };
    };
    let chain = pem::certificates(certificate, "ssl_certfile")?;
    let (name, key) = match &settings.key {
        Some(key) => ("ssl_keyfile", key),
        None => ("ssl_certfile", certificate),
    };
    let key = key::read(key, settings.key_password.as_ref(), name);
    let key = key.map_err(|error| match settings.key {
        None if error.message().contains(key::NONE) => error.advising(KEY),
        _ => error,
    })?;
    builder.with_client_auth_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            setting(name, "the key doesn't belong to the certificate in ssl_certfile")
        }
        error => setting(name, &error.to_string()),
    })
}

fn verifier(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let roots = Arc::new(authorities(settings.authorities.as_ref())?);
    let mut builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    if let Some(revoked) = &settings.revoked {
        builder = builder.with_crls(pem::revocations(revoked, "ssl_crlfile")?).only_check_end_entity_revocation();
    }
    builder.build().map_err(|error| match &error {
        VerifierBuilderError::InvalidCrl(_) => setting("ssl_crlfile", &error.to_string()),
        _ => setting("ssl_cafile", &error.to_string()),
    })
}

fn authorities(from: Option<&Pem>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let certificates = match from {
        Some(from) => pem::certificates(from, "ssl_cafile")?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (_, unread) = roots.add_parsable_certificates(certificates);
    if unread > 0 {
        tracing::warn!("{unread} certificates of authorities can't be read and are left out");
    }
    match (roots.is_empty(), from) {
        (false, _) => Ok(roots),
        (true, Some(_)) => Err(setting("ssl_cafile", "none of its certificates can be read")),
        (true, None) => Err(setting("ssl_cafile", "it is missing, and this system has no list of authorities")),
    }
}

const KEY: &str = "set ssl_keyfile (ssl.key.location), or put the key in the same file";

fn setting(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{name} can't be used: {why}"))
}

#[cfg(test)]
mod tests;
