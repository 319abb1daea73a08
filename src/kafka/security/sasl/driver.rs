//! SASL's messages in Kafka's requests.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest, SaslHandshakeResponse};
use kafka_protocol::protocol::{Request, StrBytes};

use super::{Exchange, Hash, Plain, SaslError, Scram, Step, TokenSource};
use crate::kafka::error::{Error, ErrorKind, escaped};
use crate::kafka::security::Hidden;
use crate::kafka::security::settings::SaslMechanism;

/// A connection before it is in use: one request, then its response.
pub(in crate::kafka) trait RoundTrip: Send {
    /// Sends a request and waits for its response.
    fn call<R>(&mut self, request: R) -> impl Future<Output = Result<R::Response, Error>> + Send
    where
        R: Request<Response: Send + 'static> + Send + Sync + 'static;
}

/// Who we say that we are.
#[derive(Clone)]
pub(in crate::kafka::security) enum Credentials {
    /// By a password.
    Password { mechanism: SaslMechanism, username: String, password: Hidden },
    /// By a token.
    Tokens(Arc<dyn TokenSource>),
}

impl Credentials {
    /// Runs the mechanism. Returns how long the broker lets the connection live, when it says so.
    pub(in crate::kafka::security) async fn authenticate(
        &self,
        line: &mut impl RoundTrip,
    ) -> Result<Option<Duration>, Error> {
        let mechanism = StrBytes::from_static_str(self.mechanism().name());
        let offered = line.call(SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
        self.accepted(&offered)?;
        let mut exchange = self.exchange().await?;
        let mut message = exchange.first();
        loop {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(&message));
            let answer = line.call(request).await?;
            if answer.error_code != 0 {
                return Err(self.refused(&exchange, answer.error_code, answer.error_message.as_deref()));
            }
            let step;
            (exchange, step) = take_step(exchange, answer.auth_bytes).await?;
            message = match step.map_err(|error| self.failed(&error))? {
                Step::Send(next) => next,
                Step::Done => return Ok(lifetime(answer.session_lifetime_ms)),
            };
        }
    }

    fn mechanism(&self) -> SaslMechanism {
        match self {
            Self::Password { mechanism, .. } => *mechanism,
            Self::Tokens(_) => SaslMechanism::OauthBearer,
        }
    }

    async fn exchange(&self) -> Result<Exchange, Error> {
        match self {
            Self::Tokens(source) => match source.token().await {
                Ok(token) => Ok(Exchange::oauth(token)),
                Err(error) => Err(no_token(&error.to_string())),
            },
            Self::Password { mechanism: SaslMechanism::ScramSha256, username, password } => {
                scram(Hash::Sha256, username, password)
            }
            Self::Password { mechanism: SaslMechanism::ScramSha512, username, password } => {
                scram(Hash::Sha512, username, password)
            }
            Self::Password { username, password, .. } => {
                Ok(Exchange::Plain(Plain::new(username.clone(), password.clone())))
            }
        }
    }

    /// Whether the broker has the mechanism.
    fn accepted(&self, offered: &SaslHandshakeResponse) -> Result<(), Error> {
        let name = self.mechanism().name();
        let message = match offered.error_code {
            0 => return Ok(()),
            UNSUPPORTED_MECHANISM => {
                let offered: Vec<_> = offered.mechanisms.iter().map(|name| escaped(name)).collect();
                format!("the broker doesn't take sasl_mechanism {name} here, but {}", offered.join(", "))
            }
            ILLEGAL_STATE => {
                "the broker takes no credentials at this port: set security_protocol to PLAINTEXT or SSL, or give the \
                 port of a listener that does"
                    .to_owned()
            }
            code => return Err(Error::from_code(code, &format!("can't authenticate by {name}"))),
        };
        Err(Error::new(ErrorKind::Authentication, message))
    }

    fn refused(&self, exchange: &Exchange, code: i16, text: Option<&str>) -> Error {
        let what = format!("{} was not accepted", self.whom());
        let error = Error::from_code_and_text(code, text, &what);
        match exchange {
            Exchange::Oauth(oauth) if error.kind() == ErrorKind::Authentication => match oauth.refusal() {
                Some(reason) => Error::new(ErrorKind::Authentication, format!("{what}: the broker says {reason}")),
                None => error,
            },
            _ => error,
        }
    }

    fn failed(&self, error: &SaslError) -> Error {
        Error::new(ErrorKind::Authentication, format!("{} failed: {error}", self.whom()))
    }

    fn whom(&self) -> String {
        match self {
            Self::Password { mechanism, username, .. } => {
                format!("the login of {username:?} by {}", mechanism.name())
            }
            Self::Tokens(_) => "the login by OAUTHBEARER".to_owned(),
        }
    }
}

/// Finds out whether a broker wants credentials, when we have none. `protocol` is that of such a listener.
pub(in crate::kafka::security) async fn none_wanted(line: &mut impl RoundTrip, protocol: &str) -> Result<(), Error> {
    let nothing = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("NONE"));
    let answer = line.call(nothing).await?;
    if answer.error_code != UNSUPPORTED_MECHANISM {
        return Ok(());
    }
    let offered: Vec<_> = answer.mechanisms.iter().map(|name| escaped(name)).collect();
    let message = format!(
        "the broker takes nobody without credentials at this port: set security_protocol to {protocol}, sasl_mechanism \
         to one of {}, and the credentials, or give the port of a listener that takes everybody",
        offered.join(", ")
    );
    Err(Error::new(ErrorKind::Authentication, message))
}

/// Takes a step where thousands of hash computations hold nobody up.
async fn take_step(mut exchange: Exchange, challenge: Bytes) -> Result<(Exchange, Result<Step, SaslError>), Error> {
    let step = move || {
        let step = exchange.step(&challenge);
        (exchange, step)
    };
    let closed = |_| Error::new(ErrorKind::Closed, "the runtime ended while a login was under way");
    tokio::task::spawn_blocking(step).await.map_err(closed)
}

fn scram(hash: Hash, username: &str, password: &Hidden) -> Result<Exchange, Error> {
    let mut random = [0; 18];
    let failed = |error| Error::new(ErrorKind::Unsupported, format!("this system has no random bytes ({error})"));
    getrandom::fill(&mut random).map_err(failed)?;
    Ok(Exchange::Scram(Scram::new(hash, username, password.clone(), random)))
}

/// Tokens come over the network, so that another try may help.
fn no_token(why: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("there is no token to log in with: {}", escaped(why)))
}

fn lifetime(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;

#[cfg(test)]
mod tests;
