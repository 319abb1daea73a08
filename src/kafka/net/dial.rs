//! Making a connection: name, TCP, TLS, versions, authentication, all within one deadline.

use std::net::SocketAddr;
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use super::race::race;
use super::raw::Raw;
use crate::kafka::config::Config;
use crate::kafka::error::{Error, ErrorKind, escaped};
use crate::kafka::security::Security;

/// A connection that requests can be sent over.
pub(in crate::kafka) struct Dialed {
    pub(in crate::kafka) raw: Raw,
    /// How long the broker lets us stay without a new authentication (KIP-368).
    pub(in crate::kafka) lifetime: Option<Duration>,
}

/// How the connections of one client are made.
pub(in crate::kafka) struct Dialer {
    config: Config,
    security: Security,
}

impl Dialer {
    pub(in crate::kafka) fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { security: Security::new(&config)?, config })
    }

    pub(in crate::kafka) fn config(&self) -> &Config {
        &self.config
    }

    /// Connects to `host:port`. `doubtful`: the connection before was closed at its first request.
    pub(in crate::kafka) async fn dial(
        &self,
        address: &str,
        deadline: Instant,
        doubtful: bool,
    ) -> Result<Dialed, Error> {
        let at = |error: Error| error.at(&format!("can't connect to {}", escaped(address))).unsent();
        let mut doing = "the name look-up";
        match timeout_at(deadline, self.steps(address, deadline, doubtful, &mut doing)).await {
            Ok(result) => result.map_err(at),
            Err(_) => Err(at(Error::new(ErrorKind::TimedOut, format!("{doing} takes too long")))),
        }
    }

    async fn steps(
        &self,
        address: &str,
        deadline: Instant,
        doubtful: bool,
        doing: &mut &'static str,
    ) -> Result<Dialed, Error> {
        let (host, port) = split(address)?;
        let addresses = look_up(host, port).await?;
        *doing = "the TCP connection";
        let tcp = first_of(&addresses, deadline).await?;
        tcp.set_nodelay(true).map_err(|error| unreachable(&error.to_string()))?;
        *doing = "the TLS handshake";
        let stream = match self.security.wrap(tcp, host).await {
            Err(error) if error.kind() == ErrorKind::Unreachable && self.speaks_plainly(&addresses).await => {
                return Err(Error::new(ErrorKind::NotKafka, PLAIN));
            }
            wrapped => wrapped?,
        };
        *doing = "the first answer (is it a Kafka broker?)";
        let (name, most) = (self.config.name(), self.config.most_frame_bytes());
        let mut raw = Raw::new(stream, name, most, self.security.suspicion());
        raw.agree().await?;
        raw.versions.pick::<MetadataRequest>()?;
        *doing = "the authentication";
        if doubtful {
            self.security.may_be_nobody(&mut raw).await?;
        }
        let lifetime = self.security.authenticate(&mut raw).await?;
        Ok(Dialed { raw, lifetime })
    }

    /// Whether who hung up when we began with TLS answers without it. Nothing about us is said.
    async fn speaks_plainly(&self, addresses: &[SocketAddr]) -> bool {
        let answer = async {
            let tcp = first_of(addresses, Instant::now() + PROBE).await?;
            Raw::new(Box::new(tcp), "", self.config.most_frame_bytes(), "").agree().await
        };
        timeout(PROBE, answer).await.is_ok_and(|answer| answer.is_ok())
    }
}

fn split(address: &str) -> Result<(&str, u16), Error> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse() {
        Ok(port) if !host.is_empty() => Ok((host, port)),
        _ => Err(Error::new(ErrorKind::Config, "that is no address like host:port")),
    }
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let found = lookup_host((host, port)).await.map_err(|error| unreachable(&error.to_string()))?;
    let found: Vec<_> = found.collect();
    match found.is_empty() {
        true => Err(unreachable("the name has no address")),
        false => Ok(found),
    }
}

/// The first address that answers.
async fn first_of(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let ways = addresses.iter().copied().map(|address| async move {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(tcp) => tcp.map_err(|error| unreachable(&error.to_string())),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "the TCP connection takes too long")),
        }
    });
    let failed = race(ways, HEAD_START).await;
    failed.map_err(|mut failed| failed.pop().unwrap_or_else(|| unreachable("there is no address")))
}

fn unreachable(why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, escaped(why))
}

const PLAIN: &str = "it speaks without TLS, and security_protocol says that it does with it; set that to PLAINTEXT or \
                     SASL_PLAINTEXT, or give the port of a TLS listener";
/// How long an address of a name may be silent before the next is tried, too (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// How long finding out may take what a listener is that hung up.
const PROBE: Duration = Duration::from_secs(1);
