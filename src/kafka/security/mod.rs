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

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(in crate::kafka) use sasl::driver::RoundTrip;
pub use sasl::{Token, TokenError, TokenSource};
pub use secret::Hidden;
pub(in crate::kafka) use settings::{Pem, SecuritySettings, Tokens};
pub use settings::{SaslMechanism, SecurityProtocol};

use super::config::Config;
use super::error::{Error, ErrorKind};
use super::net::stream::BoxStream;
use sasl::driver::Credentials;
use tls::explain;

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
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let address = tcp.peer_addr().map_or_else(|_| host.to_owned(), |address| format!("{host}:{}", address.port()));
        let name = explain::server_name(host)?;
        match TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(explain::handshake(&error, &address, self.has_certificate())),
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

    /// What an error of a secured connection means when it comes after the handshake: under TLS 1.3 a broker refuses a
    /// client's certificate only then. `None` for what is about the network.
    pub(in crate::kafka) fn explain(&self, error: &io::Error, address: &str) -> Option<Error> {
        self.tls.as_ref()?;
        explain::later(error, address, self.has_certificate())
    }

    /// What it means that an answer starts with these bytes, when they are no length that a broker would send.
    pub(in crate::kafka) fn odd_answer(&self, start: [u8; 4], address: &str) -> Option<Error> {
        let text = match start {
            [0x15 | 0x16, 3, 0..=4, _] => format!(
                "{address} speaks TLS, and we don't; set security_protocol to SSL or SASL_SSL, or give the port of a \
                 plain listener"
            ),
            [b'H', b'T', b'T', b'P'] => format!("{address} is a web server; give the port of a Kafka broker"),
            _ => return None,
        };
        Some(Error::new(ErrorKind::NotKafka, text))
    }

    /// What it may mean that a broker closes a connection at its first request.
    pub(in crate::kafka) fn suspicion(&self) -> &'static str {
        match (&self.tls, &self.credentials) {
            (None, None) => "perhaps it wants TLS (security_protocol SSL) or credentials (SASL_PLAINTEXT, SASL_SSL)",
            (None, Some(_)) => "perhaps it wants TLS (security_protocol SASL_SSL)",
            (Some(_), None) => "perhaps it wants credentials (security_protocol SASL_SSL) or a client certificate",
            (Some(_), Some(_)) => "perhaps it wants a client certificate",
        }
    }

    fn has_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_auth_cert_resolver.has_certs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_no_frames_are_recognised() {
        let plain = Security::new(&Config::new(["b"])).unwrap();
        let told = |start| plain.odd_answer(start, "b:9093").map(|error| error.to_string()).unwrap_or_default();
        assert!(told([0x15, 3, 3, 0]).contains("speaks TLS"));
        assert!(told(*b"HTTP").contains("web server"));
        assert_eq!(told([0, 0, 1, 0]), "");
        assert!(plain.suspicion().contains("TLS") && plain.suspicion().contains("SASL_PLAINTEXT"));
    }
}
