//! SCRAM-SHA-256 (RFC 7677) and SCRAM-SHA-512, by the rules of RFC 5802, without channel binding.
//!
//! DIFFERENCE: RFC 5802 passes user and password through SASLprep. Kafka's brokers don't when they make the credentials,
//! nor do its other clients, so neither does this: the bytes are the UTF-8 of the text as it stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{SaslError, Step, quoted};
use crate::kafka::security::Hidden;

/// One run of SCRAM.
pub(in crate::kafka::security) struct Scram {
    hash: Hash,
    username: String,
    password: Hidden,
    nonce: String,
    state: State,
}

/// The hash of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kafka::security) enum Hash {
    Sha256,
    Sha512,
}

enum State {
    /// We have sent the user and a nonce.
    Asked,
    /// We have sent our proof, and expect this one.
    Proved(Zeroizing<Vec<u8>>),
    Over,
}

impl Scram {
    /// A run with 18 random bytes.
    pub(in crate::kafka::security) fn new(hash: Hash, username: &str, password: Hidden, random: [u8; 18]) -> Self {
        Self::with_nonce(hash, username, password, BASE64.encode(random))
    }

    fn with_nonce(hash: Hash, username: &str, password: Hidden, nonce: String) -> Self {
        let username = username.replace('=', "=3D").replace(',', "=2C");
        Self { hash, username, password, nonce, state: State::Asked }
    }

    /// ```text
    /// n,,n=USER,r=NONCE        USER with "=3D" for "=", "=2C" for ","
    /// ```
    pub(super) fn first(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(format!("{GS2}{}", self.first_bare()).into_bytes())
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        let text = std::str::from_utf8(challenge).map_err(|_| SaslError::Malformed("not UTF-8"))?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked => self.prove(text),
            State::Proved(expected) => check(text, &expected),
            State::Over => Err(SaslError::Malformed("a challenge after the last one")),
        }
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.username, self.nonce)
    }

    /// ```text
    /// <- r=NONCE+MORE,s=SALT,i=ITERATIONS        SALT in base64
    /// -> c=biws,r=NONCE+MORE,p=PROOF             "biws" is "n,," in base64
    /// ```
    fn prove(&mut self, server_first: &str) -> Result<Step, SaslError> {
        let Challenge { nonce, salt, iterations } = Challenge::parse(server_first)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(SaslError::Malformed("its nonce doesn't go on from ours"));
        }
        let bare = format!("c={},r={nonce}", BASE64.encode(GS2));
        let signed = format!("{},{server_first},{bare}", self.first_bare());
        let salted = self.hash.salted(self.password.expose(), &salt, iterations);
        let client_key = self.hash.mac(&salted, b"Client Key");
        let signature = self.hash.mac(&self.hash.digest(&client_key), signed.as_bytes());
        let proof: Zeroizing<Vec<u8>> =
            Zeroizing::new(client_key.iter().zip(signature.iter()).map(|(a, b)| a ^ b).collect());
        let expected = self.hash.mac(&self.hash.mac(&salted, b"Server Key"), signed.as_bytes());
        self.state = State::Proved(expected);
        Ok(Step::Send(Zeroizing::new(format!("{bare},p={}", BASE64.encode(&*proof)).into_bytes())))
    }
}

/// The broker's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn parse(text: &'a str) -> Result<Self, SaslError> {
        let mut fields = text.split(',');
        let mut field = |prefix, missing| {
            let field = fields.next().unwrap_or_default();
            if let Some(why) = field.strip_prefix("e=") {
                return Err(SaslError::Refused(quoted(why.as_bytes())));
            }
            field.strip_prefix(prefix).filter(|value| !value.is_empty()).ok_or(SaslError::Malformed(missing))
        };
        let nonce = field("r=", "no nonce where one belongs")?;
        let salt = BASE64.decode(field("s=", "no salt where one belongs")?);
        let salt = salt.map_err(|_| SaslError::Malformed("its salt is not base64"))?;
        let iterations: u64 = field("i=", "no iterations where they belong")?
            .parse()
            .map_err(|_| SaslError::Malformed("its iterations are no number"))?;
        match u32::try_from(iterations) {
            Ok(count) if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count) => {
                Ok(Self { nonce, salt, iterations: count })
            }
            _ => Err(SaslError::Iterations(iterations)),
        }
    }
}

impl Hash {
    fn digest(self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        })
    }

    fn mac(self, key: &[u8], bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        // HMAC takes a key of any length.
        let mac =
            match self {
                Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                    .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
                Self::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                    .map(|mac| mac.chain_update(bytes).finalize().into_bytes().to_vec()),
            };
        Zeroizing::new(mac.unwrap_or_default())
    }

    fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(vec![0; if self == Self::Sha256 { 32 } else { 64 }]);
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, iterations, &mut salted),
        }
        salted
    }
}

/// ```text
/// <- v=SIGNATURE     or     e=REASON
/// ```
fn check(server_final: &str, expected: &[u8]) -> Result<Step, SaslError> {
    let first = server_final.split(',').next().unwrap_or_default();
    if let Some(why) = first.strip_prefix("e=") {
        return Err(SaslError::Refused(quoted(why.as_bytes())));
    }
    let signature = first.strip_prefix("v=").ok_or(SaslError::Malformed("no signature where one belongs"))?;
    let signature = BASE64.decode(signature).map_err(|_| SaslError::Malformed("its signature is not base64"))?;
    if bool::from(signature.as_slice().ct_eq(expected)) && !expected.is_empty() {
        Ok(Step::Done)
    } else {
        Err(SaslError::NotProved)
    }
}

/// No channel binding, no other identity.
const GS2: &str = "n,,";
/// Kafka's smallest, and RFC 7677's.
pub(super) const MIN_ITERATIONS: u32 = 4096;
/// Kafka's own tool stops at 16,384; a million take about a second.
pub(super) const MAX_ITERATIONS: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(step: Step) -> String {
        let Step::Send(bytes) = step else { panic!("done") };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn rfc7677() -> Scram {
        Scram::with_nonce(Hash::Sha256, "user", "pencil".into(), "rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    #[test]
    fn the_example_of_rfc_7677() {
        let mut scram = rfc7677();
        assert_eq!(scram.first().as_slice(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            text(scram.step(SERVER_FIRST.as_bytes()).unwrap()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(scram.step(SERVER_FINAL.as_bytes()).unwrap() == Step::Done);
        assert!(matches!(scram.step(SERVER_FINAL.as_bytes()), Err(SaslError::Malformed(_))));
    }

    #[test]
    fn sha_512_signs_longer() {
        // made with Python: hashlib.pbkdf2_hmac, hmac
        let mut scram = Scram::with_nonce(Hash::Sha512, "user", "pencil".into(), "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(text(scram.step(SERVER_FIRST.as_bytes()).unwrap()), SHA512_PROOF);
        assert!(scram.step(SHA512_FINAL.as_bytes()).unwrap() == Step::Done);
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_found_out() {
        for (last, wanted) in [
            ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", SaslError::Malformed("its signature is not base64")),
            ("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", SaslError::NotProved),
            ("v=", SaslError::NotProved),
            ("v=6rri", SaslError::NotProved),
            ("", SaslError::Malformed("no signature where one belongs")),
            ("e=invalid-proof", SaslError::Refused("invalid-proof".to_owned())),
            ("e=\u{1b}[1m", SaslError::Refused("\\u{1b}[1m".to_owned())),
        ] {
            let mut scram = rfc7677();
            scram.step(SERVER_FIRST.as_bytes()).unwrap();
            assert_eq!(scram.step(last.as_bytes()).err(), Some(wanted), "{last}");
        }
    }

    #[test]
    fn a_challenge_that_breaks_the_rules_is_refused() {
        let first = |text: &str| rfc7677().step(text.as_bytes()).err().unwrap();
        let nonce = "r=rOprNGfwEbeRWgbNEkqOx";
        assert_eq!(first(&format!("{nonce},s=W22Z,i=4095")), SaslError::Iterations(4095));
        assert_eq!(first(&format!("{nonce},s=W22Z,i=1000001")), SaslError::Iterations(1_000_001));
        assert_eq!(first(&format!("{nonce},s=W22Z,i=5000000000")), SaslError::Iterations(5_000_000_000));
        assert_eq!(first("e=unknown-user"), SaslError::Refused("unknown-user".to_owned()));
        for wrong in [
            "".to_owned(),
            format!("{nonce},s=W22Z,i=many"),
            format!("{nonce},s=W22Z,i=-1"),
            format!("{nonce},s=W22Z"),
            format!("{nonce},s=,i=4096"),
            format!("{nonce},s=!,i=4096"),
            format!("m=x,{nonce},s=W22Z,i=4096"),
            "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096".to_owned(),
            "r=another,s=W22Z,i=4096".to_owned(),
        ] {
            assert!(matches!(first(&wrong), SaslError::Malformed(_)), "{wrong}");
        }
        assert!(matches!(rfc7677().step(b"\xff"), Err(SaslError::Malformed(_))));
    }

    #[test]
    fn names_are_escaped_and_nonces_differ() {
        let scram = Scram::new(Hash::Sha256, "a=b,c", "x".into(), [7; 18]);
        assert_eq!(scram.first().as_slice(), format!("n,,n=a=3Db=2Cc,r={}", BASE64.encode([7; 18])).as_bytes());
    }

    proptest::proptest! {
        #[test]
        fn no_broker_is_believed_without_the_signature(bytes in proptest::collection::vec(0..=255_u8, 0..100)) {
            let first = rfc7677().step(&bytes);
            proptest::prop_assert!(first.is_err());
            let mut scram = Scram { state: State::Proved(Zeroizing::new(vec![7; 32])), ..rfc7677() };
            proptest::prop_assert!(scram.step(&bytes).is_err());
        }
    }

    const SHA512_PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    const SHA512_FINAL: &str =
        "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";
}
