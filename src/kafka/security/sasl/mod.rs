//! SASL: how this client proves who it is.
//!
//! Each mechanism is a state machine from the broker's challenges to our answers: no socket, no clock, and randomness
//! is an argument. [`driver`] carries its messages in `SaslHandshake` and `SaslAuthenticate`.
//!
//! Never: a password or a token in an error, and no success before the broker's own proof was checked (SCRAM).

pub(super) mod driver;
mod oauth;
mod plain;
mod scram;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::kafka::error::escaped;

pub use oauth::{Token, TokenError, TokenSource};
pub(super) use plain::Plain;
pub(super) use scram::{Hash, Scram};

/// What to do after a challenge.
#[derive(PartialEq, Eq)]
pub(super) enum Step {
    /// Send this, and wait for the next challenge.
    Send(Zeroizing<Vec<u8>>),
    /// The broker has proved itself, or there is nothing to prove.
    Done,
}

/// One run of a mechanism.
pub(super) enum Exchange {
    Plain(Plain),
    Scram(Scram),
    Oauth(oauth::Oauth),
}

impl Exchange {
    /// An exchange by token.
    pub(super) fn oauth(token: Token) -> Self {
        Self::Oauth(oauth::Oauth::new(token))
    }

    /// Our first message.
    pub(super) fn first(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Plain(plain) => plain.first(),
            Self::Scram(scram) => scram.first(),
            Self::Oauth(oauth) => oauth.first(),
        }
    }

    /// What the broker's challenge calls for.
    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        match self {
            Self::Plain(plain) => plain.step(challenge),
            Self::Scram(scram) => scram.step(challenge),
            Self::Oauth(oauth) => oauth.step(challenge),
        }
    }
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum SaslError {
    /// The broker says no.
    #[error("the broker refused it ({0})")]
    Refused(String),
    /// The broker's message breaks the mechanism's rules.
    #[error("the broker's answer breaks the rules of the mechanism ({0})")]
    Malformed(&'static str),
    /// The broker asks for a number of iterations that is too low to be safe, or too high to be meant.
    #[error(
        "the broker asks for {0} iterations of SCRAM, and only {min} to {max} are taken",
        min = scram::MIN_ITERATIONS,
        max = scram::MAX_ITERATIONS
    )]
    Iterations(u64),
    /// The broker doesn't know the password.
    #[error("the broker could not prove that it knows the password, so it is perhaps not the one that it says it is")]
    NotProved,
}

/// A peer's text, short and on one line.
fn quoted(text: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(text))
}
