//! The text of a config: sections and entries, and all that stands between them.

use std::collections::HashSet;
use std::fmt;

use super::ConfigError;
use super::interpolate::interpolate;
use super::lines::{DEFAULT, Kind, Line, Parser, is_comment};
use crate::store::value::{Value, bytes_name, is_space};

/// A config as Python's configparser reads it (delimiter `:`, comments `;`), which renders to the very text that was
/// parsed, but for what was changed.
///
/// `Debug` shows sections, never values: a config may hold passwords.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    lines: Vec<Line>,
}

/// One entry of a section, read on its own: one that is broken doesn't hide the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The name as it is written.
    pub name: String,
    /// The value, or why it can't be read.
    pub value: Result<Value, ConfigError>,
}

impl Entry {
    /// The name, when it stands for bytes (`base64#…`).
    pub fn name_bytes(&self) -> Option<Vec<u8>> {
        match Value::parse(&self.name) {
            Ok(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl Config {
    /// Parses the text of a config.
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    ///
    /// let text = "[DEFAULT]\nnode_id : n\n; a comment\n[n]\na : 1\n";
    /// assert_eq!(Config::parse(text)?.render(), text);
    /// assert!(Config::parse("[n]\na = 1\n").is_err());
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self { lines: Parser::run(text)? })
    }

    /// [`Config::parse`] for the bytes of a file.
    ///
    /// ```
    /// use kafkacrypto::store::config::{Config, ConfigError};
    ///
    /// assert_eq!(Config::from_bytes(b"\xff"), Err(ConfigError::NotText));
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| ConfigError::NotText)?)
    }

    /// The text for the file.
    pub fn render(&self) -> String {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }

    /// The sections in their order, `DEFAULT` included.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        let mut seen = HashSet::new();
        self.lines.iter().filter_map(Line::section).filter(move |name| seen.insert(*name))
    }

    /// Whether there is such a section.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections().any(|name| name == section)
    }

    /// The value of a name in a section, or else in `DEFAULT`, with `%(…)s` replaced, but not decoded.
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    ///
    /// let config = Config::parse("[DEFAULT]\nnode_id : 007\n[x]\na : %(node_id)s!\n")?;
    /// assert_eq!(config.text("x", "a")?.as_deref(), Some("007!"));
    /// assert_eq!(config.text("x", "node_id")?.as_deref(), Some("007"));
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn text(&self, section: &str, name: &str) -> Result<Option<String>, ConfigError> {
        let lookup = |wanted: &str| self.lookup(section, wanted);
        lookup(name).map(|raw| interpolate(section, name, raw, &lookup)).transpose()
    }

    /// The value of a name in a section, or else in `DEFAULT`.
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    /// use kafkacrypto::store::value::Value;
    ///
    /// let config = Config::parse("[x]\na : base64#YQ==\n")?;
    /// assert_eq!(config.get("x", "a")?, Some(Value::Bytes(b"a".to_vec())));
    /// assert_eq!(config.get("x", "A")?, None);
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn get(&self, section: &str, name: &str) -> Result<Option<Value>, ConfigError> {
        self.text(section, name)?.map(|text| decoded(section, name, &text)).transpose()
    }

    /// The entries of a section in their order, without those of `DEFAULT`.
    pub fn entries(&self, section: &str) -> Vec<Entry> {
        let own = self.own(section);
        let read = |(_, name, raw): (usize, &str, &str)| {
            let lookup = |wanted: &str| self.lookup(section, wanted);
            let text = interpolate(section, name, raw, &lookup);
            Entry { name: name.to_owned(), value: text.and_then(|text| decoded(section, name, &text)) }
        };
        own.map(read).collect()
    }

    /// The name in this section under which exactly this value is stored.
    pub fn name_of(&self, section: &str, value: &Value) -> Option<String> {
        let same = |entry: &Entry| entry.value.as_ref() == Ok(value);
        self.entries(section).into_iter().find(same).map(|entry| entry.name)
    }

    /// Sets a name in a section; makes the section when it is missing. Percent signs are escaped.
    ///
    /// What the format can't hold is refused: names with `:` or that begin with `[` or `;`, and text with space
    /// around it or around one of its lines, or that begins with `base64#` and isn't base64. Write such text as bytes.
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    ///
    /// let mut config = Config::parse("; mine\n[x]\na : 1 \n")?;
    /// config.set("x", "b", "50%")?;
    /// assert_eq!(config.render(), "; mine\n[x]\na : 1 \nb : 50%%\n");
    /// assert!(config.set("x", "a:b", 1).is_err());
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn set(&mut self, section: &str, name: &str, value: impl Into<Value>) -> Result<(), ConfigError> {
        let value = value.into().render();
        let readable = Value::parse(&value).map_err(|_| "text that begins with `base64#` must be base64");
        let value = value.replace('%', "%%");
        let unwritable = |why| ConfigError::Unwritable { section: section.to_owned(), name: name.to_owned(), why };
        check_section(section)
            .and_then(|()| check_name(name))
            .and_then(|()| check_value(&value))
            .and(readable)
            .map_err(unwritable)?;
        match self.position(section, name) {
            Some(at) => self.replace(at, name, value),
            None => self.add(section, name, value),
        }
        Ok(())
    }

    /// [`Config::set`] with bytes for a name (`base64#…`).
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    ///
    /// let mut config = Config::default();
    /// config.set_bytes("x", b"a", true)?;
    /// assert_eq!(config.render(), "[x]\nbase64#YQ== : True\n");
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn set_bytes(&mut self, section: &str, name: &[u8], value: impl Into<Value>) -> Result<(), ConfigError> {
        self.set(section, &bytes_name(name), value)
    }

    /// Removes a name from a section; says whether it was there. `DEFAULT` is left alone.
    pub fn remove(&mut self, section: &str, name: &str) -> bool {
        let Some(at) = self.position(section, name) else { return false };
        let comments = self.lines.get(at).map(Line::comments).unwrap_or_default();
        self.lines.splice(at..=at, comments);
        true
    }

    /// Makes a section when it is missing.
    ///
    /// ```
    /// use kafkacrypto::store::config::Config;
    ///
    /// let mut config = Config::parse("[a]\n")?;
    /// config.add_section("b")?;
    /// assert_eq!(config.render(), "[a]\n\n[b]\n");
    /// # Ok::<(), kafkacrypto::store::config::ConfigError>(())
    /// ```
    pub fn add_section(&mut self, section: &str) -> Result<(), ConfigError> {
        let unwritable = |why| ConfigError::Unwritable { section: section.to_owned(), name: String::new(), why };
        check_section(section).map_err(unwritable)?;
        if !self.has_section(section) {
            self.append_section(section);
        }
        Ok(())
    }

    /// The entries of a section: position, name, raw value.
    fn own<'a>(&'a self, section: &str) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
        let mut inside = false;
        let section = section.to_owned();
        self.lines.iter().enumerate().filter_map(move |(at, line)| {
            if let Some(name) = line.section() {
                inside = name == section;
            }
            line.entry().filter(|_| inside).map(|(name, value)| (at, name, value))
        })
    }

    fn position(&self, section: &str, name: &str) -> Option<usize> {
        self.own(section).find(|(_, known, _)| *known == name).map(|(at, ..)| at)
    }

    fn lookup<'a>(&'a self, section: &str, name: &str) -> Option<&'a str> {
        let find = |section| self.own(section).find(|(_, known, _)| *known == name).map(|(.., value)| value);
        find(section).or_else(|| find(DEFAULT))
    }

    fn replace(&mut self, at: usize, name: &str, value: String) {
        let ending = self.ending();
        let Some(old) = self.lines.get(at) else { return };
        if old.entry() == Some((name, &value)) {
            return;
        }
        let mut new = vec![Line::new_entry(old.indent(), name, value, ending)];
        new.extend(old.comments());
        self.lines.splice(at..=at, new);
    }

    fn add(&mut self, section: &str, name: &str, value: String) {
        let last = self.lines.iter().rposition(|line| line.section() == Some(section));
        let header = last.unwrap_or_else(|| self.append_section(section));
        let at = self.own(section).map(|(at, ..)| at).filter(|at| *at > header).last().unwrap_or(header);
        let indent = self.indent_behind(at);
        let ending = self.ending();
        if let Some(line) = self.lines.get_mut(at) {
            line.terminate(ending);
        }
        self.lines.insert(at + 1, Line::new_entry(&indent, name, value, ending));
    }

    /// How far to indent an entry behind line `at`, so that neither it nor what follows it becomes a continuation.
    fn indent_behind(&self, at: usize) -> String {
        let own = self.lines.get(at).filter(|line| line.entry().is_some());
        let next = || self.lines.iter().skip(at + 1).find(|line| line.section().is_some());
        own.or_else(next).map(|line| line.indent().to_owned()).unwrap_or_default()
    }

    /// Appends an empty section and returns its position.
    fn append_section(&mut self, section: &str) -> usize {
        let ending = self.ending();
        if let Some(last) = self.lines.last_mut() {
            last.terminate(ending);
        }
        if self.lines.last().is_some_and(|last| !last.is_blank()) {
            self.lines.push(Line { text: ending.to_owned(), kind: Kind::Gap });
        }
        self.lines.push(Line { text: format!("[{section}]{ending}"), kind: Kind::Section(section.to_owned()) });
        self.lines.len() - 1
    }

    /// The line ending of this text: that of its first line.
    fn ending(&self) -> &'static str {
        let first = self.lines.first().map(|line| line.text.as_str()).unwrap_or_default();
        if first.ends_with("\r\n") { "\r\n" } else { "\n" }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config")?;
        f.debug_list().entries(self.sections()).finish()
    }
}

fn decoded(section: &str, name: &str, text: &str) -> Result<Value, ConfigError> {
    Value::parse(text).map_err(|bad| ConfigError::BadValue {
        section: section.to_owned(),
        name: name.to_owned(),
        expected: format!("readable, but {bad}"),
    })
}

fn check_section(section: &str) -> Result<(), &'static str> {
    if section.is_empty() || section.contains(['\n', '\r']) {
        return Err("a section needs a name of one line");
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let odd = name.contains([':', '\n', '\r']) || name.starts_with(['[', ';']) || name != name.trim_matches(is_space);
    if odd || name.is_empty() {
        return Err("a name must not be empty, hold `:` or a line break, nor begin with `[`, `;` or space");
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), &'static str> {
    let untrimmed = |line: &str| line != line.trim_matches(is_space) || line.contains('\r');
    if value.split('\n').any(untrimmed) || value.ends_with('\n') {
        return Err("the format drops space around text and its lines: store it as bytes");
    }
    if value.split('\n').skip(1).any(is_comment) {
        return Err("a further line that begins with `;` would be a comment: store it as bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
