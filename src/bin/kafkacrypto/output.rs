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

/// Writes data to stdout, and sends it on. Whether whoever reads is still there.
pub(crate) fn all(data: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout();
    match stdout.write_all(data).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.or_else(failed).map(|()| true),
    }
}

fn failed(error: io::Error) -> Result<(), Failure> {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Err(Failure::new(Failure::FAILED, format!("could not write to stdout ({error}); check where it goes")))
}
