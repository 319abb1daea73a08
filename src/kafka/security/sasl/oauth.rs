//! OAUTHBEARER (RFC 7628): a token from somewhere else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

use super::{SaslError, Step, quoted};
use crate::kafka::security::Hidden;

/// Where tokens come from: asked for one before each connection, so that it can hand out a new one in time.
///
/// A function that returns a future of a token is one:
///
/// ```
/// use kafkacrypto::kafka::{Token, TokenSource};
///
/// fn takes(_: impl TokenSource) {}
/// takes(|| async { Token::new("eyJhbGciOiJub25lIn0.e30.") });
/// takes(|| std::future::ready(Err("the identity provider is away".into()) as Result<Token, _>));
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// A token that is valid now.
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>>;
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<Token, TokenError>> + Send + 'static,
{
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        Box::pin(self())
    }
}

/// Why there is no token. Its text is shown, so no secret belongs in it.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// A token, and what goes with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: Hidden,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token as the identity provider gave it.
    ///
    /// # Errors
    /// When it is empty or has characters that no token has (RFC 6750: letters, digits and `-._~+/=`).
    ///
    /// ```
    /// use kafkacrypto::kafka::Token;
    ///
    /// assert!(Token::new("eyJhbGciOiJub25lIn0.e30.").is_ok());
    /// assert!(Token::new("two words").is_err());
    /// ```
    pub fn new(value: impl Into<String>) -> Result<Self, TokenError> {
        let value = Hidden::new(value);
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if value.expose().is_empty() || !value.expose().bytes().all(is_token) {
            return Err("the token is empty or has a character that no token has (RFC 6750)".into());
        }
        Ok(Self { value, extensions: Vec::new() })
    }

    /// Adds an extension (KIP-342), which the broker may look at.
    ///
    /// # Errors
    /// When the name isn't letters only, is `auth`, or the value has control characters.
    ///
    /// ```
    /// use kafkacrypto::kafka::Token;
    ///
    /// let token = Token::new("e30")?;
    /// assert!(token.clone().extension("logicalCluster", "lkc-1").is_ok());
    /// assert!(token.extension("auth", "x").is_err());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, TokenError> {
        let (name, value) = (name.into(), value.into());
        let is_value = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) || name == "auth" {
            return Err(format!("{name:?} can't be the name of an extension: use letters only, and not auth").into());
        }
        if !value.bytes().all(is_value) {
            return Err(format!("the value of the extension {name} has a character that none may have").into());
        }
        self.extensions.push((name, value));
        Ok(self)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, extensions } = self;
        let names: Vec<_> = extensions.iter().map(|(name, _)| name).collect();
        f.debug_struct("Token").field("value", value).field("extensions", &names).finish()
    }
}

/// One run of OAUTHBEARER.
pub(in crate::kafka::security) struct Oauth {
    token: Token,
    refusal: Option<String>,
}

impl Oauth {
    pub(super) fn new(token: Token) -> Self {
        Self { token, refusal: None }
    }

    /// ```text
    /// n,, 0x01 auth=Bearer TOKEN 0x01 { NAME=VALUE 0x01 } 0x01
    /// ```
    pub(super) fn first(&self) -> Zeroizing<Vec<u8>> {
        let mut first = Zeroizing::new(Vec::new());
        first.extend_from_slice(b"n,,\x01auth=Bearer ");
        first.extend_from_slice(self.token.value.expose().as_bytes());
        first.push(1);
        for (name, value) in &self.token.extensions {
            first.extend_from_slice(format!("{name}={value}\x01").as_bytes());
        }
        first.push(1);
        first
    }

    /// Nothing is success. Anything else is the reason of a refusal, which has to be answered by a single 0x01.
    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        match self.refusal.take() {
            Some(reason) => Err(SaslError::Refused(reason)),
            None if challenge.is_empty() => Ok(Step::Done),
            None => {
                self.refusal = Some(quoted(challenge));
                Ok(Step::Send(Zeroizing::new(vec![1])))
            }
        }
    }

    /// Why the broker refused, when it has said so.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_and_its_extensions_are_sent() {
        let token = Token::new("abc.def").unwrap().extension("traceId", "7 ").unwrap();
        assert!(!format!("{token:?}").contains("abc"));
        let mut oauth = Oauth::new(token);
        assert_eq!(oauth.first().as_slice(), b"n,,\x01auth=Bearer abc.def\x01traceId=7 \x01\x01");
        assert!(oauth.step(b"").unwrap() == Step::Done);
    }

    #[test]
    fn a_refusal_is_answered_and_told() {
        let mut oauth = Oauth::new(Token::new("abc").unwrap());
        let refusal = br#"{"status":"invalid_token"}"#;
        assert!(oauth.step(refusal).unwrap() == Step::Send(Zeroizing::new(vec![1])));
        assert!(oauth.refusal().unwrap().contains("invalid_token"));
        assert!(matches!(oauth.step(b""), Err(SaslError::Refused(why)) if why.contains("invalid_token")));
    }

    #[test]
    fn nothing_gets_between_the_separators() {
        assert!(Token::new("").is_err() && Token::new("a\u{1}b").is_err());
        let token = Token::new("a").unwrap();
        for (name, value) in [("", "x"), ("a b", "x"), ("auth", "x"), ("a", "x\u{1}")] {
            assert!(token.clone().extension(name, value).is_err(), "{name}={value}");
        }
    }
}
