//! The lines of a config, told apart as Python's configparser does.

use std::collections::HashSet;

use super::ConfigError;
use crate::store::value::is_space;

/// A header, an entry with all its lines, or a line that is neither; `text` with the line endings.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A comment or a blank line.
    Gap,
    Section(String),
    Entry {
        name: String,
        value: String,
    },
}

impl Line {
    pub(super) fn new_entry(indent: &str, name: &str, value: String, ending: &str) -> Self {
        let lines = value.split('\n').collect::<Vec<_>>().join(&format!("{ending}{indent}\t"));
        Self { text: format!("{indent}{name} : {lines}{ending}"), kind: Kind::Entry { name: name.to_owned(), value } }
    }

    pub(super) fn section(&self) -> Option<&str> {
        if let Kind::Section(name) = &self.kind { Some(name) } else { None }
    }

    pub(super) fn entry(&self) -> Option<(&str, &str)> {
        if let Kind::Entry { name, value } = &self.kind { Some((name, value)) } else { None }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.kind == Kind::Gap && self.text.trim_matches(is_space).is_empty()
    }

    pub(super) fn indent(&self) -> &str {
        let end = self.text.find(|c| !is_space(c)).unwrap_or(0);
        self.text.get(..end).unwrap_or_default()
    }

    /// The comments among the lines of an entry.
    pub(super) fn comments(&self) -> Vec<Self> {
        let comment = |line: &&str| is_comment(line.trim_matches(is_space));
        let lines = physical_lines(&self.text).filter(comment);
        lines.map(|line| Self { text: line.to_owned(), kind: Kind::Gap }).collect()
    }

    /// Gives the last line of a file that lacks one an ending.
    pub(super) fn terminate(&mut self, ending: &str) {
        if !self.text.ends_with(['\n', '\r']) {
            self.text.push_str(ending);
        }
    }
}

/// Follows configparser line by line.
#[derive(Default)]
pub(super) struct Parser {
    lines: Vec<Line>,
    section: Option<String>,
    seen: HashSet<(String, Option<String>)>,
    /// Position of the entry that a deeper line continues.
    open: Option<usize>,
    indent: usize,
}

impl Parser {
    pub(super) fn run(text: &str) -> Result<Vec<Line>, ConfigError> {
        let mut parser = Self::default();
        for (index, line) in physical_lines(text).enumerate() {
            parser.line(index + 1, line)?;
        }
        Ok(parser.lines)
    }

    fn line(&mut self, number: usize, text: &str) -> Result<(), ConfigError> {
        let content = text.trim_matches(is_space);
        if content.is_empty() || is_comment(content) {
            self.lines.push(Line { text: text.to_owned(), kind: Kind::Gap });
            return Ok(());
        }
        let indent = text.chars().take_while(|c| is_space(*c)).count();
        if let Some(open) = self.open.filter(|_| indent > self.indent) {
            self.continuation(open, text, content);
            return Ok(());
        }
        self.indent = indent;
        let kind = match header(content) {
            Some(name) => self.section(number, name)?,
            None => self.entry(number, content)?,
        };
        self.open = matches!(kind, Kind::Entry { .. }).then_some(self.lines.len());
        self.lines.push(Line { text: text.to_owned(), kind });
        Ok(())
    }

    /// Joins a line, and the blank lines and comments before it, to the open entry.
    fn continuation(&mut self, open: usize, text: &str, content: &str) {
        let gaps = self.lines.split_off(open + 1);
        let Some(Line { text: all, kind: Kind::Entry { value, .. } }) = self.lines.last_mut() else { return };
        for gap in gaps {
            all.push_str(&gap.text);
            value.push_str(if gap.is_blank() { "\n" } else { "" });
        }
        all.push_str(text);
        value.push('\n');
        value.push_str(content);
    }

    fn section(&mut self, line: usize, name: &str) -> Result<Kind, ConfigError> {
        let section = name.to_owned();
        if !self.seen.insert((section.clone(), None)) && name != DEFAULT {
            return Err(ConfigError::DuplicateSection { line, section });
        }
        self.section = Some(section.clone());
        Ok(Kind::Section(section))
    }

    fn entry(&mut self, line: usize, content: &str) -> Result<Kind, ConfigError> {
        let section = self.section.clone().ok_or(ConfigError::NoSection { line })?;
        let (name, value) = content.split_once(':').ok_or(ConfigError::Syntax { line })?;
        let name = name.trim_end_matches(is_space).to_owned();
        if name.is_empty() {
            return Err(ConfigError::Syntax { line });
        }
        if !self.seen.insert((section.clone(), Some(name.clone()))) {
            return Err(ConfigError::DuplicateName { line, section, name });
        }
        Ok(Kind::Entry { name, value: value.trim_matches(is_space).to_owned() })
    }
}

/// The lines of a text with their endings: `\n`, `\r\n` or a lone `\r`.
fn physical_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\n', '\r']).map_or(rest.len(), |at| at + 1);
        let more = rest.get(..end).is_some_and(|line| line.ends_with('\r')) && rest.get(end..)?.starts_with('\n');
        let (line, after) = rest.split_at_checked(end + usize::from(more))?;
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

pub(super) fn is_comment(content: &str) -> bool {
    content.starts_with(';')
}

/// The name in `[name]`: up to the *last* bracket; what follows it is ignored.
fn header(content: &str) -> Option<&str> {
    let (name, _) = content.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// The section whose entries show in all others.
pub(super) const DEFAULT: &str = "DEFAULT";
