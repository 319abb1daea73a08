use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Writes a line of data to stdout. A reader that has gone away (`| head`) is no failure, but ends the program.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes()).and_then(|()| bytes(b"\n"))
}

/// Writes data to stdout as it is.
pub(crate) fn bytes(data: &[u8]) -> Result<(), Failure> {
    io::stdout().write_all(data).or_else(failed)
}

/// Sends on what was written, so that whoever reads sees it now.
pub(crate) fn flush() -> Result<(), Failure> {
    io::stdout().flush().or_else(failed)
}

fn failed(error: io::Error) -> Result<(), Failure> {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Err(Failure::new(Failure::FAILED, format!("could not write to stdout ({error}); check where it goes")))
}
