use std::io::{self, IsTerminal, Read};
use std::path::Path;

use kafkacrypto::store::value::Value as Stored;

use crate::failure::Failure;

/// A file, stdin, hex, or a value as it stands in a config.
pub(crate) fn read(given: &str) -> Result<Vec<u8>, Failure> {
    if given == "-" {
        return read_stdin();
    }
    let path = Path::new(given);
    if path.is_file() {
        let failed = |error| format!("{given} can't be read ({error}); check who may read it");
        return std::fs::read(path).map(unwrapped).map_err(|error| Failure::configuration(failed(error)));
    }
    let message = format!("{given:.80} is neither a file that is there, nor hex, nor base64#…");
    as_text(given).ok_or_else(|| Failure::usage(message))
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::usage("stdin is a terminal; send the bytes into it, or name a file"));
    }
    let mut bytes = Vec::new();
    let failed = |error| Failure::new(Failure::FAILED, format!("stdin can't be read ({error})"));
    io::stdin().read_to_end(&mut bytes).map_err(failed)?;
    Ok(unwrapped(bytes))
}

/// Bytes as they are, unless they are text that stands for bytes.
fn unwrapped(bytes: Vec<u8>) -> Vec<u8> {
    std::str::from_utf8(&bytes).ok().and_then(as_text).unwrap_or(bytes)
}

fn as_text(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let stored = || Stored::parse(text).ok()?.as_bytes().map(<[u8]>::to_vec);
    (!text.is_empty()).then(|| hex::decode(text).ok().or_else(stored)).flatten()
}
