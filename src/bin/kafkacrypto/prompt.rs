use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Whether there is somebody to ask.
pub(crate) fn possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a line of text, which may be empty.
pub(crate) fn text(question: &str) -> Result<String, Failure> {
    let failed =
        |error: io::Error| Failure::new(Failure::FAILED, format!("could not ask ({error}); use the flags instead"));
    write!(io::stderr(), "{question} ").and_then(|()| io::stderr().flush()).map_err(failed)?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    if read == 0 {
        Err(Failure::new(Failure::FAILED, "stopped; nothing was changed"))
    } else {
        Ok(answer.trim().to_owned())
    }
}

/// Asks until `parse` takes the answer; it says why it doesn't.
pub(crate) fn until<T>(question: &str, mut parse: impl FnMut(&str) -> Result<T, String>) -> Result<T, Failure> {
    loop {
        match parse(&text(question)?) {
            Ok(value) => return Ok(value),
            Err(why) => eprintln!("{why}"),
        }
    }
}

/// Asks for a yes.
pub(crate) fn confirmed(question: &str) -> Result<bool, Failure> {
    let answer = text(&format!("{question} [y/N]"))?.to_lowercase();
    Ok(answer == "y" || answer == "yes")
}
