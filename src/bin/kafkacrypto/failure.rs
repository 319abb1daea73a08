use std::process::ExitCode;

use kafkacrypto::error::{Error, ErrorKind};

/// Why a command ends without success: what its exit code is, and one sentence that says what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// Something failed.
    pub(crate) const FAILED: u8 = 1;
    /// An argument is missing or means nothing.
    pub(crate) const USAGE: u8 = 2;
    /// A certificate chain doesn't allow it.
    pub(crate) const NOT_AUTHORISED: u8 = 3;
    /// Records are left that could not be read or decrypted.
    pub(crate) const UNDECRYPTABLE: u8 = 4;
    /// A file of the node can't be used.
    pub(crate) const CONFIGURATION: u8 = 5;
    /// The broker can't be reached or refuses.
    pub(crate) const BROKER: u8 = 6;

    pub(crate) fn new(code: u8, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl ToString) -> Self {
        Self::new(Self::USAGE, message)
    }

    pub(crate) fn configuration(message: impl ToString) -> Self {
        Self::new(Self::CONFIGURATION, message)
    }

    /// Says why, and ends the program.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("kafkacrypto: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Configuration | ErrorKind::Permission => Self::CONFIGURATION,
            ErrorKind::Broker => Self::BROKER,
            ErrorKind::NotAuthorised => Self::NOT_AUTHORISED,
            ErrorKind::Usage => Self::USAGE,
            _ => Self::FAILED,
        };
        Self::new(code, error)
    }
}
