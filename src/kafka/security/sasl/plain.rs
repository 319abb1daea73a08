//! RFC 4616: the user and the password, as they are.

use zeroize::Zeroizing;

use super::{SaslError, Step, quoted};
use crate::kafka::security::Hidden;

/// One run of PLAIN.
pub(in crate::kafka::security) struct Plain {
    username: String,
    password: Hidden,
}

impl Plain {
    pub(in crate::kafka::security) fn new(username: String, password: Hidden) -> Self {
        Self { username, password }
    }

    /// ```text
    /// 0x00  user (UTF-8)  0x00  password (UTF-8)
    /// ```
    pub(super) fn first(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(["\0", &self.username, "\0", self.password.expose()].concat().into_bytes())
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        if challenge.is_empty() { Ok(Step::Done) } else { Err(SaslError::Refused(quoted(challenge))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_message() {
        let mut plain = Plain::new("tim".to_owned(), "tanstaaftanstaaf".into());
        assert_eq!(plain.first().as_slice(), b"\0tim\0tanstaaftanstaaf");
        assert!(plain.step(b"").unwrap() == Step::Done);
        assert!(matches!(plain.step(b"no"), Err(SaslError::Refused(text)) if text == "no"));
    }
}
