use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::prompt;

/// Where a password comes from: a file, the environment, a terminal; never an argument.
pub(crate) struct Source<'a> {
    /// As in `the root password`.
    pub(crate) name: &'a str,
    pub(crate) file: Option<&'a PathBuf>,
    pub(crate) flag: &'a str,
    pub(crate) variable: &'a str,
}

impl Source<'_> {
    /// The password; asked for twice if `twice`.
    pub(crate) fn read(&self, twice: bool) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = self.file {
            return self.read_file(path);
        }
        if let Some(value) = std::env::var_os(self.variable) {
            let not_text = |_| Failure::usage(format!("{} is not UTF-8 text; set it anew", self.variable));
            return value.into_string().map(Zeroizing::new).map_err(not_text);
        }
        if prompt::possible() { self.ask(twice) } else { Err(self.missing()) }
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<String>, Failure> {
        let failed = |why: String| {
            let (name, path) = (self.name, path.display());
            Failure::configuration(format!(
                "the file of the {name} password, {path}, can't be read ({why}); correct {}",
                self.flag
            ))
        };
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| failed(error.to_string()))?);
        let text = std::str::from_utf8(&bytes).map_err(|_| failed("not UTF-8 text".into()))?;
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        Ok(Zeroizing::new(line.to_owned()))
    }

    fn ask(&self, twice: bool) -> Result<Zeroizing<String>, Failure> {
        let ask = |again: &str| {
            let question = format!("The {} password{again}: ", self.name);
            let failed = |error| {
                Failure::new(Failure::FAILED, format!("could not ask for the password ({error}); use {}", self.flag))
            };
            rpassword::prompt_password(question).map(Zeroizing::new).map_err(failed)
        };
        let password = ask("")?;
        if twice && *ask(", again")? != *password {
            return Err(Failure::usage(format!(
                "the two {} passwords differ; nothing was changed, try again",
                self.name
            )));
        }
        Ok(password)
    }

    fn missing(&self) -> Failure {
        let (name, flag, variable) = (self.name, self.flag, self.variable);
        Failure::usage(format!(
            "the {name} password is missing; give {flag} FILE, set {variable}, or run on a terminal"
        ))
    }
}
