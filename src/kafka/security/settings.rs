//! What a caller says about security, before any file is read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::sasl::TokenSource;
use super::sasl::driver::Credentials;
use super::secret::Hidden;
use crate::kafka::error::{Error, ErrorKind};

/// What protects a connection, and whether it starts with credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecurityProtocol {
    /// In the clear, without credentials.
    #[default]
    Plaintext,
    /// TLS, without credentials but for a client certificate.
    Ssl,
    /// In the clear, with credentials.
    SaslPlaintext,
    /// TLS, with credentials.
    SaslSsl,
}

impl SecurityProtocol {
    /// By Kafka's name, in any case.
    ///
    /// ```
    /// use kafkacrypto::kafka::SecurityProtocol;
    ///
    /// assert_eq!(SecurityProtocol::named("sasl_ssl"), Some(SecurityProtocol::SaslSsl));
    /// assert_eq!(SecurityProtocol::named("TLS"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }

    pub(in crate::kafka) fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub(in crate::kafka) fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How credentials are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The password itself (RFC 4616): only inside TLS, or on a network that you trust.
    Plain,
    /// A proof of the password (RFC 7677), and the broker's own.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
    /// A token (RFC 7628).
    OauthBearer,
}

impl SaslMechanism {
    /// By Kafka's name, in any case.
    ///
    /// ```
    /// use kafkacrypto::kafka::SaslMechanism;
    ///
    /// assert_eq!(SaslMechanism::named("scram-sha-512"), Some(SaslMechanism::ScramSha512));
    /// assert_eq!(SaslMechanism::named("GSSAPI"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Kafka's name.
    ///
    /// ```
    /// assert_eq!(kafkacrypto::kafka::SaslMechanism::OauthBearer.name(), "OAUTHBEARER");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// All that a caller says about security.
#[derive(Debug, Clone, Default)]
pub(in crate::kafka) struct SecuritySettings {
    pub(in crate::kafka) protocol: SecurityProtocol,
    pub(in crate::kafka) mechanism: Option<SaslMechanism>,
    pub(in crate::kafka) username: Option<String>,
    pub(in crate::kafka) password: Option<Hidden>,
    pub(in crate::kafka) tokens: Option<Tokens>,
    pub(in crate::kafka) tls: TlsSettings,
}

impl SecuritySettings {
    /// Whether nothing is missing but a source of tokens, which no text can be.
    pub(in crate::kafka) fn check(&self) -> Result<(), Error> {
        match self.protocol.has_sasl() && self.mechanism != Some(SaslMechanism::OauthBearer) {
            true => self.credentials().map(drop),
            false => Ok(()),
        }
    }

    /// The credentials, or what is missing.
    pub(super) fn credentials(&self) -> Result<Credentials, Error> {
        let mechanism = self.mechanism.ok_or_else(|| missing("sasl_mechanism"))?;
        if mechanism == SaslMechanism::OauthBearer {
            let tokens = self.tokens.as_ref().ok_or_else(|| {
                let needs = "sasl_mechanism OAUTHBEARER needs a source of tokens (sasl_oauth_token_provider), which a \
                             Rust program can hand in (Config::sasl_oauth_token_provider) and no text can";
                Error::new(ErrorKind::Config, needs).advising("choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
            })?;
            return Ok(Credentials::Tokens(Arc::clone(&tokens.0)));
        }
        let username = self.username.clone().ok_or_else(|| missing("sasl_plain_username"))?;
        let password = self.password.clone().ok_or_else(|| missing("sasl_plain_password"))?;
        if username.contains('\0') || password.expose().contains('\0') {
            return Err(Error::new(ErrorKind::Config, "sasl_plain_username or sasl_plain_password has a zero byte"));
        }
        Ok(Credentials::Password { mechanism, username, password })
    }
}

/// Where tokens come from.
#[derive(Clone)]
pub(in crate::kafka) struct Tokens(pub(in crate::kafka) Arc<dyn TokenSource>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a token source)")
    }
}

/// What a caller says about TLS.
#[derive(Debug, Clone)]
pub(in crate::kafka) struct TlsSettings {
    /// The authorities that are believed; the system's when there are none.
    pub(in crate::kafka) authorities: Option<Pem>,
    pub(in crate::kafka) certificate: Option<Pem>,
    pub(in crate::kafka) key: Option<Pem>,
    pub(in crate::kafka) key_password: Option<Hidden>,
    pub(in crate::kafka) revoked: Option<Pem>,
    pub(in crate::kafka) check_hostname: bool,
    /// Instead of all of the above.
    pub(in crate::kafka) custom: Option<Arc<rustls::ClientConfig>>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            authorities: None,
            certificate: None,
            key: None,
            key_password: None,
            revoked: None,
            check_hostname: true,
            custom: None,
        }
    }
}

/// PEM (RFC 7468), somewhere.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::kafka) enum Pem {
    /// In a file, or, for authorities, in the files of a folder.
    File(PathBuf),
    /// Here.
    Text(Hidden),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{name} is missing beside security_protocol SASL_PLAINTEXT or SASL_SSL"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let missing = |settings: &SecuritySettings| {
            settings.credentials().err().map(|error| error.to_string()).unwrap_or_default()
        };
        let mut settings = SecuritySettings::default();
        assert!(missing(&settings).contains("sasl_mechanism"));
        settings.mechanism = Some(SaslMechanism::OauthBearer);
        assert!(missing(&settings).contains("sasl_oauth_token_provider"));
        settings.mechanism = Some(SaslMechanism::Plain);
        assert!(missing(&settings).contains("sasl_plain_username"));
        settings.username = Some("alice".to_owned());
        assert!(missing(&settings).contains("sasl_plain_password"));
        settings.password = Some("a\0b".into());
        assert!(missing(&settings).contains("zero byte"));
        settings.password = Some("hush-hush".into());
        assert_eq!(missing(&settings), "");
        settings.tls.key = Some(Pem::Text("hush-hush".into()));
        assert!(!format!("{settings:?}").contains("hush-hush"));
    }
}
