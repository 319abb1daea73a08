//! Who we talk to, and who we say that we are: TLS around a connection, and SASL as its first requests.
//!
//! A connection is made in the order TCP, [`wrap`](Security::wrap) (TLS), version negotiation,
//! [`authenticate`](Security::authenticate) (SASL). Files are read once, when the client is made. What a peer did wrong
//! comes out as one sentence, of kind `Authentication` when trying again can't help.
//!
//! What it must never do: show a password, a token or a key; take a certificate that no known authority signed; answer a
//! broker that hasn't proved itself as if it had; compile or link C.
//!
//! It owns the bytes of SASL messages; those of TLS are rustls's.

mod sasl;
mod secret;
mod settings;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

pub(in crate::kafka) use sasl::driver::RoundTrip;
pub use sasl::{Token, TokenError, TokenSource};
pub use secret::Hidden;
pub(in crate::kafka) use settings::{Pem, SecuritySettings, Tokens};
pub use settings::{SaslMechanism, SecurityProtocol};

use super::config::Config;
use super::error::Error;
use super::net::stream::BoxStream;
use sasl::driver::Credentials;

/// How the connections of one client are secured: its settings checked, its files read.
#[derive(Clone)]
pub(in crate::kafka) struct Security {
    tls: Option<Arc<rustls::ClientConfig>>,
    credentials: Option<Credentials>,
}

impl Security {
    /// Checks the settings and reads the files that they name.
    pub(in crate::kafka) fn new(config: &Config) -> Result<Self, Error> {
        let settings = config.security();
        let tls = settings.protocol.has_tls().then(|| tls::client_config(&settings.tls)).transpose()?;
        let credentials = settings.protocol.has_sasl().then(|| settings.credentials()).transpose()?;
        Ok(Self { tls, credentials })
    }

    /// A TCP connection with TLS around it, when that is wanted. `host` is the name that the certificate must have.
    pub(in crate::kafka) async fn wrap(&self, tcp: TcpStream, host: &str) -> Result<BoxStream, Error> {
        match &self.tls {
            Some(tls) => tls::connect(Arc::clone(tls), tcp, host).await,
            None => Ok(Box::new(tcp)),
        }
    }

    /// Proves who we are by the first requests of a connection, when that is wanted. Returns how long the broker lets
    /// the connection live, when it says so: another one has to be made in time.
    pub(in crate::kafka) async fn authenticate(&self, line: &mut impl RoundTrip) -> Result<Option<Duration>, Error> {
        match &self.credentials {
            Some(credentials) => credentials.authenticate(line).await,
            None => Ok(None),
        }
    }

    /// Whether a broker that closed a connection at its first request may have had another reason than that we have no
    /// credentials.
    pub(in crate::kafka) async fn may_be_nobody(&self, line: &mut impl RoundTrip) -> Result<(), Error> {
        match &self.credentials {
            Some(_) => Ok(()),
            None => {
                sasl::driver::none_wanted(line, if self.tls.is_some() { "SASL_SSL" } else { "SASL_PLAINTEXT" }).await
            }
        }
    }

    /// What it may mean that a broker closes a connection at its first request.
    pub(in crate::kafka) fn suspicion(&self) -> &'static str {
        match (&self.tls, &self.credentials) {
            (None, None) => {
                "perhaps it wants TLS (security_protocol SSL) or credentials (SASL_PLAINTEXT, SASL_SSL), or is shutting down"
            }
            (None, Some(_)) => "perhaps it wants TLS (security_protocol SASL_SSL), or is shutting down",
            (Some(_), None) => {
                "perhaps it wants credentials (security_protocol SASL_SSL) or a client certificate, or is shutting down"
            }
            (Some(_), Some(_)) => "perhaps it wants a client certificate, or is shutting down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::error::ErrorKind;

    #[test]
    fn what_a_broker_may_want_is_what_it_does_not_get() {
        let plain = Security::new(&Config::new(["b"])).unwrap();
        assert!(plain.suspicion().contains("TLS") && plain.suspicion().contains("SASL_PLAINTEXT"));
        let sasl = Config::new(["b"]).security_protocol(SecurityProtocol::SaslPlaintext);
        assert_eq!(Security::new(&sasl).err().map(|error| error.kind()), Some(ErrorKind::Config));
        let sasl = sasl.sasl_mechanism(SaslMechanism::Plain).sasl_plain_username("a").sasl_plain_password("b");
        assert!(!Security::new(&sasl).unwrap().suspicion().contains("credentials"));
    }
}
