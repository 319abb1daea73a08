//! The settings of a [`Config`] that are about security, with kafka-python's names.

use std::path::PathBuf;
use std::sync::Arc;

use super::Config;
use crate::kafka::security::{Hidden, Pem, SaslMechanism, SecurityProtocol, TokenSource, Tokens};

/// Security. What doesn't fit together, or a file that can't be read, is told when a client is made of it.
///
/// ```
/// use kafkacrypto::kafka::{Config, SaslMechanism, SecurityProtocol};
///
/// let config = Config::new(["broker.example:9093"])
///     .security_protocol(SecurityProtocol::SaslSsl)
///     .sasl_mechanism(SaslMechanism::ScramSha512)
///     .sasl_plain_username("meter-7")
///     .sasl_plain_password("hush-hush");
/// assert!(!format!("{config:?}").contains("hush-hush"));
/// ```
impl Config {
    /// Sets what protects the connections ([`SecurityProtocol::Plaintext`] at first).
    pub fn security_protocol(mut self, protocol: SecurityProtocol) -> Self {
        self.security.protocol = protocol;
        self
    }

    /// Sets how credentials are sent.
    pub fn sasl_mechanism(mut self, mechanism: SaslMechanism) -> Self {
        self.security.mechanism = Some(mechanism);
        self
    }

    /// Sets the user of PLAIN and SCRAM.
    pub fn sasl_plain_username(mut self, username: impl Into<String>) -> Self {
        self.security.username = Some(username.into());
        self
    }

    /// Sets the password of PLAIN and SCRAM.
    pub fn sasl_plain_password(mut self, password: impl Into<Hidden>) -> Self {
        self.security.password = Some(password.into());
        self
    }

    /// Sets where OAUTHBEARER's tokens come from.
    pub fn sasl_oauth_token_provider(mut self, source: impl TokenSource) -> Self {
        self.security.tokens = Some(Tokens(Arc::new(source)));
        self
    }

    /// Sets the PEM file (or the folder of such files) with the certificates of the authorities that are believed. The
    /// system's are when it isn't set.
    pub fn ssl_cafile(mut self, path: impl Into<PathBuf>) -> Self {
        self.security.tls.authorities = Some(Pem::File(path.into()));
        self
    }

    /// The same, as the text of such a file.
    pub fn ssl_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.security.tls.authorities = Some(Pem::Text(Hidden::new(pem)));
        self
    }

    /// Sets the PEM file with our certificate, those of the authorities in between after it, and perhaps the key.
    pub fn ssl_certfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.security.tls.certificate = Some(Pem::File(path.into()));
        self
    }

    /// The same, as the text of such a file.
    pub fn ssl_certificate_pem(mut self, pem: impl Into<Hidden>) -> Self {
        self.security.tls.certificate = Some(Pem::Text(pem.into()));
        self
    }

    /// Sets the PEM file with the key of our certificate: PKCS#8, PKCS#1 or SEC1.
    pub fn ssl_keyfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.security.tls.key = Some(Pem::File(path.into()));
        self
    }

    /// The same, as the text of such a file.
    pub fn ssl_key_pem(mut self, pem: impl Into<Hidden>) -> Self {
        self.security.tls.key = Some(Pem::Text(pem.into()));
        self
    }

    /// Sets the password of an encrypted key (PKCS#8).
    pub fn ssl_password(mut self, password: impl Into<Hidden>) -> Self {
        self.security.tls.key_password = Some(password.into());
        self
    }

    /// Sets the PEM file with the lists of certificates that their authorities have revoked. Then the broker's own
    /// certificate is accepted only when a list of its authority is there.
    pub fn ssl_crlfile(mut self, path: impl Into<PathBuf>) -> Self {
        self.security.tls.revoked = Some(Pem::File(path.into()));
        self
    }

    /// Sets whether a broker's certificate must name the host that we connect to (it must at first).
    ///
    /// Dangerous: without it, whoever has any certificate of an authority that is believed can take the broker's place.
    #[doc(alias = "ssl_check_hostname")]
    pub fn danger_ssl_check_hostname(mut self, check: bool) -> Self {
        self.security.tls.check_hostname = check;
        self
    }

    /// Sets all of TLS at once, instead of the other `ssl_…` settings: the authorities, our certificate, versions, and
    /// whose cryptography does it.
    pub fn ssl_context(mut self, context: Arc<rustls::ClientConfig>) -> Self {
        self.security.tls.custom = Some(context);
        self
    }
}
