//! Whether a list of names and expressions matches a name (protocol §7.1, *Matching*).
//!
//! Expressions are in Python's syntax. They run on a linear-time engine, and only what means the same in both is
//! accepted: whatever ours matches, Python's `re.match` on bytes does too.

use std::cell::{Cell, OnceCell};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Mutex;

use regex::bytes::{Regex, RegexBuilder};

use super::MAX_EXPRESSION_BYTES;

/// The one entry that matches everything, expressions included.
pub(super) const EVERYTHING: &[u8] = b"^.*$";

/// A list, made ready for many questions: exact entries cost one look-up, and expressions are compiled when the first
/// question reaches them.
pub(super) struct Matcher<'a> {
    list: &'a [Vec<u8>],
    everything: bool,
    exact: HashSet<&'a [u8]>,
    expressions: OnceCell<Vec<Regex>>,
    runs: Cell<usize>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(list: &'a [Vec<u8>]) -> Self {
        let exact: HashSet<&[u8]> = list.iter().map(Vec::as_slice).collect();
        let everything = exact.contains(EVERYTHING);
        Self { list, everything, exact, expressions: OnceCell::new(), runs: Cell::new(MAX_RUNS) }
    }

    /// An entry `^.*$` matches everything. An expression matches only an identical entry; a name an equal one, or an
    /// expression that matches at its start.
    pub(super) fn matches(&self, wanted: &[u8]) -> bool {
        // DIFFERENCE: none to Python, which never matches a name that begins with such a byte
        let foreign = wanted.first().is_some_and(|byte| *byte >= 0x80);
        let runs = !is_expression(wanted);
        self.everything || !foreign && (self.exact.contains(wanted) || runs && self.run(wanted))
    }

    fn run(&self, wanted: &[u8]) -> bool {
        let expressions = self.expressions.get_or_init(|| self.compile());
        // DIFFERENCE: a list of many names against one of many expressions isn't matched to its end
        let Some(left) = self.runs.get().checked_sub(expressions.len()) else { return false };
        self.runs.set(left);
        expressions.iter().any(|expression| expression.is_match(wanted))
    }

    fn compile(&self) -> Vec<Regex> {
        // in the order of the list: a verdict must not depend on how a set is ordered today
        let mut seen = HashSet::new();
        let expressions = self.list.iter().filter(|entry| is_expression(entry) && seen.insert(*entry));
        expressions.take(MAX_EXPRESSIONS).filter_map(|entry| compile_or_warn(entry)).collect()
    }
}

/// Whether an entry is an expression and not a name.
pub(super) fn is_expression(entry: &[u8]) -> bool {
    entry.first() == Some(&b'^')
}

/// Whether one expression matches at the start of a name.
#[cfg(test)]
pub(super) fn expression_matches(expression: &[u8], wanted: &[u8]) -> bool {
    Matcher::new(&[expression.to_vec()]).matches(wanted)
}

/// What in an expression makes it match nothing.
pub(super) fn unusable(entry: &[u8]) -> Option<&'static str> {
    let expression = is_expression(entry) && entry != EVERYTHING;
    expression.then(|| compile(entry).err()).flatten()
}

/// DIFFERENCE: an expression that isn't accepted matches nothing, where Python runs it or gives up on the chain.
fn compile(expression: &[u8]) -> Result<Regex, &'static str> {
    let pattern = format!(r"\A(?:{})", translate(expression)?);
    RegexBuilder::new(&pattern).unicode(false).size_limit(MAX_PROGRAM).build().map_err(|_| "its size")
}

fn compile_or_warn(expression: &[u8]) -> Option<Regex> {
    compile(expression).map_err(|construct| warn_once(expression, construct)).ok()
}

/// An expression in the syntax of the regex crate, with every byte spelled out so that nothing is left to chance; or what
/// in it isn't accepted.
fn translate(expression: &[u8]) -> Result<String, &'static str> {
    if expression.len() > MAX_EXPRESSION_BYTES {
        return Err("its length");
    }
    let mut scanner = Scanner { rest: expression, out: String::new(), depth: 0, repeatable: false };
    while let Some(byte) = scanner.next() {
        scanner.step(byte)?;
    }
    if scanner.depth == 0 { Ok(scanner.out) } else { Err("a group that isn't closed") }
}

struct Scanner<'a> {
    rest: &'a [u8],
    out: String,
    depth: u32,
    /// Whether a quantifier may follow.
    repeatable: bool,
}

impl Scanner<'_> {
    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        match byte {
            b'.' => self.put(".", true),
            b'^' => self.put(r"\A", false),
            // DIFFERENCE: Python's also matches before a newline at the end
            b'$' => self.put(r"\z", false),
            b'|' => self.put("|", false),
            b'(' => return self.open(),
            b')' => return self.close(),
            b'[' => return self.class(),
            b'\\' => return self.escape(),
            b'*' | b'+' | b'?' => return self.repeat(&char::from(byte).to_string()),
            b'{' => return self.counted(),
            _ => self.literal(byte),
        }
        Ok(())
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn eat(&mut self, prefix: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn put(&mut self, text: &str, repeatable: bool) {
        self.out.push_str(text);
        self.repeatable = repeatable;
    }

    fn literal(&mut self, byte: u8) {
        let _ = write!(self.out, r"\x{byte:02x}");
        self.repeatable = true;
    }

    fn open(&mut self) -> Result<(), &'static str> {
        if !self.eat(b"?:") && self.rest.first() == Some(&b'?') {
            return Err("a group with (?");
        }
        self.depth += 1;
        self.put("(?:", false);
        if self.depth > MAX_GROUPS { Err("groups nested deeply") } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), &'static str> {
        self.depth = self.depth.checked_sub(1).ok_or("a parenthesis without its other half")?;
        self.put(")", true);
        Ok(())
    }

    fn repeat(&mut self, quantifier: &str) -> Result<(), &'static str> {
        if !self.repeatable {
            return Err("a quantifier behind nothing that can be repeated");
        }
        self.put(quantifier, false);
        if self.eat(b"?") {
            self.put("?", false);
        }
        if self.rest.first() == Some(&b'+') { Err("a possessive quantifier") } else { Ok(()) }
    }

    /// `{n}`, `{n,}` or `{n,m}`.
    fn counted(&mut self) -> Result<(), &'static str> {
        let invalid = "a brace that isn't {n}, {n,} or {n,m}";
        let end = self.rest.iter().position(|byte| *byte == b'}').ok_or(invalid)?;
        let (inside, rest) = self.rest.split_at_checked(end).ok_or(invalid)?;
        self.rest = rest.get(1..).unwrap_or_default();
        let mut bounds = inside.splitn(2, |byte| *byte == b',');
        let least = bounds.next().and_then(count).ok_or(invalid)?;
        match bounds.next() {
            None => self.repeat(&format!("{{{least}}}")),
            Some(b"") => self.repeat(&format!("{{{least},}}")),
            Some(most) => {
                let most = count(most).filter(|most| *most >= least).ok_or(invalid)?;
                self.repeat(&format!("{{{least},{most}}}"))
            }
        }
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        match self.next().ok_or("a backslash at the end")? {
            b'b' => self.put(r"\b", false),
            b'd' => self.put(r"\d", true),
            b'w' => self.put(r"\w", true),
            b's' => self.put(r"\s", true),
            byte if !byte.is_ascii_alphanumeric() => self.literal(byte),
            _ => return Err("an escape other than \\d \\w \\s \\b and of what is no letter or digit"),
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), &'static str> {
        let negated = self.eat(b"^");
        self.out.push_str(if negated { "[^" } else { "[" });
        self.class_item()?;
        while !self.eat(b"]") {
            self.class_item()?;
        }
        self.put("]", true);
        Ok(())
    }

    /// One byte, one of `\d \w \s`, or a range of bytes.
    fn class_item(&mut self) -> Result<(), &'static str> {
        let low = self.class_atom()?;
        let range = self.rest.first() == Some(&b'-') && self.rest.get(1).is_some_and(|byte| *byte != b']');
        let high = if range && self.eat(b"-") { Some(self.class_atom()?) } else { None };
        match (low, high) {
            (Atom::Set(set), None) => self.put(set, true),
            (Atom::Byte(byte), None) => self.literal(byte),
            (Atom::Byte(low), Some(Atom::Byte(high))) if low <= high => {
                let _ = write!(self.out, r"\x{low:02x}-\x{high:02x}");
            }
            _ => return Err("a range in a class that isn't one"),
        }
        Ok(())
    }

    fn class_atom(&mut self) -> Result<Atom, &'static str> {
        if [b"&&", b"--", b"~~"].iter().any(|operation| self.rest.starts_with(*operation)) {
            return Err("an operation on classes");
        }
        match self.next().ok_or("a class that isn't closed")? {
            b'[' => Err("a [ in a class"),
            b']' => Err("a class that begins with ]"),
            b'\\' => match self.next().ok_or("a backslash at the end")? {
                b'd' => Ok(Atom::Set(r"\d")),
                b'w' => Ok(Atom::Set(r"\w")),
                b's' => Ok(Atom::Set(r"\s")),
                byte if !byte.is_ascii_alphanumeric() => Ok(Atom::Byte(byte)),
                _ => Err("an escape in a class other than \\d \\w \\s and of what is no letter or digit"),
            },
            byte => Ok(Atom::Byte(byte)),
        }
    }
}

enum Atom {
    Byte(u8),
    Set(&'static str),
}

fn count(digits: &[u8]) -> Option<u16> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u16 = std::str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()?;
    (number <= MAX_COUNT).then_some(number)
}

/// Once for each expression, and for so many at most: whoever may delegate could fill the log otherwise.
fn warn_once(expression: &[u8], construct: &str) {
    static WARNED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let Ok(mut warned) = WARNED.lock() else { return };
    let head = expression.get(..MAX_EXPRESSION_BYTES).unwrap_or(expression);
    if warned.len() < MAX_WARNINGS && !warned.iter().any(|known| known == head) {
        warned.push(head.to_vec());
        tracing::warn!(expression = %head.escape_ascii(), because_of = construct, "an expression in a certificate matches nothing");
    }
}

/// How large one compiled expression may be, in bytes.
const MAX_PROGRAM: usize = 32_768;
/// How many expressions of one list are looked at.
const MAX_EXPRESSIONS: usize = 256;
/// How often expressions of one list are run.
const MAX_RUNS: usize = 65_536;
const MAX_GROUPS: u32 = 32;
const MAX_COUNT: u16 = 1000;
const MAX_WARNINGS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<Vec<u8>> {
        entries.iter().map(|entry| entry.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_four_rules() {
        let some = list(&["lab", "^foo", "^a|b"]);
        let some = Matcher::new(&some);
        for wanted in ["lab", "foo", "foobar", "a", "ab", "b", "bx", "^foo", "^a|b"] {
            assert!(some.matches(wanted.as_bytes()), "{wanted}");
        }
        for wanted in ["labs", "xfoo", "xb", "^fo", "^lab", "^.*$", "", "c"] {
            assert!(!some.matches(wanted.as_bytes()), "{wanted}");
        }
        let every = list(&["^.*$"]);
        for wanted in ["", "lab", "^foo", "^.*$", "a\nb", "é"] {
            assert!(Matcher::new(&every).matches(wanted.as_bytes()), "{wanted}");
        }
    }

    #[test]
    fn of_many_expressions_the_first_count_every_time() {
        let list: Vec<_> = (0..2 * MAX_EXPRESSIONS).map(|n| format!("^{n}$").into_bytes()).collect();
        for _ in 0..4 {
            let matcher = Matcher::new(&list);
            assert!((0..MAX_EXPRESSIONS).all(|n| matcher.matches(n.to_string().as_bytes())));
            assert!(!matcher.matches(MAX_EXPRESSIONS.to_string().as_bytes()));
        }
    }

    #[test]
    fn what_differs_matches_nothing() {
        for expression in [
            "^a*+",
            "^a++",
            "^(?i)a",
            "^(?=a)",
            "^(?P<n>a)",
            "^[a&&b]",
            "^[a--b]",
            "^[a~~b]",
            "^[[:alpha:]]",
            "^[]a]",
            r"^\pL",
            r"^\x61",
            r"^\Aa",
            r"^a\z",
            "^a{,3}",
            "^a{3,2}",
            "^a{",
            "^*a",
            "^a**",
            "^a{2}{3}",
            "^(a",
            "^a)",
            "^[a",
            "^a\\",
            r"^[\d-z]",
            r"^[z-a]",
            "^a{1001}",
            "^(a{100}){100}",
            r"^\Ba",
        ] {
            for wanted in ["a", "A", "aa", "aaa", "alpha", "<a", "{", "^a", "xa"] {
                assert!(!expression_matches(expression.as_bytes(), wanted.as_bytes()), "{expression} {wanted}");
            }
        }
        assert!(!expression_matches(format!("^{}", "a?".repeat(128)).as_bytes(), b"a"), "257 bytes");
        assert!(expression_matches(format!("^{}", "a?".repeat(127)).as_bytes(), b"a"), "255 bytes");
    }

    #[test]
    fn what_is_the_same_matches() {
        for (expression, wanted) in [
            (r"^lab\.", "lab.x"),
            ("^[a-f]+$", "deaf"),
            ("^[^a-f]$", "z"),
            ("^[a-]$", "-"),
            ("^[-a]$", "-"),
            (r"^[\w.-]{1,64}$", "a.b-c"),
            (r"^\w+\b-\d{2,}?\s$", "ab-12 "),
            ("^(a|b)*?c", "ababc"),
            ("^(?:x|)y", "y"),
            ("^x_.$", "x_y"),
            ("^a}]", "a}]"),
            (r"^\<a", "<a"),
        ] {
            assert!(expression_matches(expression.as_bytes(), wanted.as_bytes()), "{expression} {wanted}");
        }
        assert!(!expression_matches(b"^.$", b"\n"));
        assert!(!expression_matches(b"^x_.$", "x_é".as_bytes()), "one byte, not one character");
    }

    #[test]
    fn costly_expressions_are_cheap_or_match_nothing() {
        let name = [b"a".repeat(249), b"!".to_vec()].concat();
        for expression in ["^(a+)+$", "^(a|aa)*$", "^(.*)*(.*)*(.*)*x", "^((a{1,50}){1,50}){1,50}$", "^(a?){200}$"] {
            let before = std::time::Instant::now();
            assert!(!expression_matches(expression.as_bytes(), &name), "{expression}");
            assert!(before.elapsed().as_millis() < 500, "{expression}: {:?}", before.elapsed());
        }
    }
}
