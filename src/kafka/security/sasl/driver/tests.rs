use std::any::Any;

use kafka_protocol::messages::SaslAuthenticateResponse;

use super::*;
use crate::kafka::security::Token;

/// A broker by script: what it answers to the handshake, and then to each message.
struct Script {
    handshake: SaslHandshakeResponse,
    answers: Vec<SaslAuthenticateResponse>,
    sent: Vec<Bytes>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = SaslAuthenticateResponse>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self { handshake: SaslHandshakeResponse::default(), answers, sent: Vec::new() }
    }
}

impl RoundTrip for Script {
    async fn call<R: Request<Response: Send + 'static> + Send + Sync + 'static>(
        &mut self,
        request: R,
    ) -> Result<R::Response, Error> {
        let request: Box<dyn Any> = Box::new(request);
        let response: Box<dyn Any + Send> = match request.downcast::<SaslAuthenticateRequest>() {
            Ok(request) => {
                self.sent.push(request.auth_bytes);
                Box::new(self.answers.pop().expect("no more messages"))
            }
            Err(_) => Box::new(self.handshake.clone()),
        };
        Ok(*response.downcast().expect("the response of the request"))
    }
}

fn challenge(bytes: &'static [u8]) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from_static(bytes))
}

fn refusal(text: &'static str) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default().with_error_code(58).with_error_message(Some(text.into()))
}

fn password(mechanism: SaslMechanism) -> Credentials {
    Credentials::Password { mechanism, username: "alice".to_owned(), password: "hush-hush".into() }
}

fn tokens(token: &'static str) -> Credentials {
    Credentials::Tokens(Arc::new(move || std::future::ready(Token::new(token))))
}

#[tokio::test]
async fn the_broker_may_bound_the_connection_s_life() {
    let mut script = Script::new([challenge(b"").with_session_lifetime_ms(60_000)]);
    let lifetime = password(SaslMechanism::Plain).authenticate(&mut script).await;
    assert_eq!(lifetime, Ok(Some(Duration::from_secs(60))));
    assert_eq!(script.sent, [Bytes::from_static(b"\0alice\0hush-hush")]);
    let mut script = Script::new([challenge(b"")]);
    assert_eq!(password(SaslMechanism::Plain).authenticate(&mut script).await, Ok(None));
}

#[tokio::test]
async fn a_wrong_password_is_told_and_never_shown() {
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let mut script = Script::new([refusal("Authentication failed: invalid credentials")]);
        let error = password(mechanism).authenticate(&mut script).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Authentication, false));
        let text = error.to_string();
        assert!(text.contains("alice") && text.contains("invalid credentials") && text.contains(mechanism.name()));
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn a_broker_that_skips_its_proof_is_not_believed() {
    let mut script = Script::new([challenge(b"")]);
    let error = password(SaslMechanism::ScramSha256).authenticate(&mut script).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.to_string().contains("breaks the rules"), "{error}");
}

#[tokio::test]
async fn mechanisms_that_the_broker_lacks_are_named() {
    let mut script = Script::new([]);
    script.handshake = SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec!["PLAIN".into(), "SCRAM-SHA-256".into()]);
    let error = password(SaslMechanism::ScramSha512).authenticate(&mut script).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert_eq!(error.message(), "the broker doesn't take sasl_mechanism SCRAM-SHA-512 here, but PLAIN, SCRAM-SHA-256");
    script.handshake = SaslHandshakeResponse::default().with_error_code(34);
    let error = password(SaslMechanism::Plain).authenticate(&mut script).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Authentication, false));
    assert!(error.to_string().contains("takes no credentials at this port"));
}

#[tokio::test]
async fn a_token_is_sent_and_its_refusal_told() {
    let mut script = Script::new([challenge(b"")]);
    assert_eq!(tokens("abc").authenticate(&mut script).await, Ok(None));
    assert_eq!(script.sent, [Bytes::from_static(b"n,,\x01auth=Bearer abc\x01\x01")]);

    let mut script = Script::new([challenge(br#"{"status":"invalid_token"}"#), refusal("no")]);
    let error = tokens("secret").authenticate(&mut script).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Authentication, false));
    assert!(error.to_string().contains("invalid_token") && !error.to_string().contains("secret"), "{error}");
    assert_eq!(script.sent.last().unwrap().as_ref(), b"\x01");

    let away = Credentials::Tokens(Arc::new(|| std::future::ready(Err("the identity provider is away".into()))));
    let error = away.authenticate(&mut Script::new([])).await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("is away"), "{error}");
}
