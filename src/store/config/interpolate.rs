//! `%%` and `%(name)s` in values.

use super::ConfigError;

/// A value with every `%%` and `%(name)s` replaced. `lookup` finds the raw text of a name.
pub(super) fn interpolate<'a>(
    section: &'a str,
    name: &'a str,
    raw: &str,
    lookup: &'a dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, ConfigError> {
    let mut expansion = Expansion { section, name, lookup, out: String::new(), steps: 0 };
    expansion.expand(raw, 1)?;
    Ok(expansion.out)
}

struct Expansion<'a> {
    section: &'a str,
    name: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<&'a str>,
    out: String,
    steps: usize,
}

impl Expansion<'_> {
    fn expand(&mut self, raw: &str, depth: usize) -> Result<(), ConfigError> {
        let mut rest = raw;
        while let Some((plain, after)) = rest.split_once('%') {
            self.push(plain)?;
            rest = self.reference(after, depth)?;
        }
        self.push(rest)
    }

    /// What stands behind a `%`; returns what follows it.
    fn reference<'t>(&mut self, after: &'t str, depth: usize) -> Result<&'t str, ConfigError> {
        if let Some(rest) = after.strip_prefix('%') {
            self.push("%")?;
            return Ok(rest);
        }
        let (name, rest) =
            after.strip_prefix('(').and_then(|text| text.split_once(")s")).ok_or_else(|| self.percent())?;
        if name.is_empty() || name.contains(')') {
            return Err(self.percent());
        }
        let value = (self.lookup)(name).ok_or_else(|| self.missing(name))?;
        self.steps += 1;
        if (value.contains('%') && depth >= MAX_DEPTH) || self.steps > MAX_STEPS {
            return Err(self.endless());
        }
        self.expand(value, depth + 1)?;
        Ok(rest)
    }

    fn push(&mut self, text: &str) -> Result<(), ConfigError> {
        if self.steps > 0 && self.out.len() + text.len() > MAX_EXPANDED {
            return Err(self.endless());
        }
        self.out.push_str(text);
        Ok(())
    }

    fn percent(&self) -> ConfigError {
        ConfigError::Percent { section: self.section.to_owned(), name: self.name.to_owned() }
    }

    fn missing(&self, missing: &str) -> ConfigError {
        let (section, name) = (self.section.to_owned(), self.name.to_owned());
        ConfigError::Missing { section, name, missing: missing.to_owned() }
    }

    fn endless(&self) -> ConfigError {
        ConfigError::Endless { section: self.section.to_owned(), name: self.name.to_owned() }
    }
}

/// Python's limit.
const MAX_DEPTH: usize = 10;
/// DIFFERENCE: ours alone, so that a small file can't make a huge value.
const MAX_STEPS: usize = 1000;
/// As above, in bytes.
const MAX_EXPANDED: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(raw: &str) -> Result<String, ConfigError> {
        let lookup: &dyn Fn(&str) -> Option<&'static str> = &|name| match name {
            "a" => Some("1"),
            "b" => Some("<%(a)s%%>"),
            "loop" => Some("%(loop)s"),
            "wide" => Some("%(wide)s%(wide)s"),
            _ => None,
        };
        interpolate("s", "n", raw, lookup)
    }

    #[test]
    fn references_and_percent_signs() {
        assert_eq!(expanded("x%(b)s%%y").unwrap(), "x<1%>%y");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for raw in ["50%", "%x", "%(a", "%(a)", "%()s", "%(a)b)s", "% (a)s"] {
            assert!(matches!(expanded(raw), Err(ConfigError::Percent { .. })), "{raw}");
        }
        assert!(matches!(expanded("%(c)s"), Err(ConfigError::Missing { missing, .. }) if missing == "c"));
    }

    #[test]
    fn circles_end() {
        for raw in ["%(loop)s", "%(wide)s"] {
            assert!(matches!(expanded(raw), Err(ConfigError::Endless { .. })), "{raw}");
        }
    }
}
