//! One value of a config: integer, float, boolean, bytes or text (protocol.md §12.1).

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// What stands behind the `:` in a config.
///
/// The format has no quotes, so text that looks like another kind is read back as that kind: `"7"` becomes the
/// integer 7. Read the raw text ([`Config::text`](super::config::Config::text)) where that matters.
///
/// `Debug` shows neither bytes nor text: either may be a secret.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `7`, `+7`, `007`, `1_000`. Integers beyond 64 bits are read as [`Value::Text`], with all their digits.
    Int(i64),
    /// `1.5`, `1e3`, `inf`, `nan`.
    Float(f64),
    /// `True` or `False`, in any case.
    Bool(bool),
    /// `base64#YQ==`.
    Bytes(Vec<u8>),
    /// Everything else.
    Text(String),
}

impl Value {
    /// Decodes the text of a value.
    ///
    /// `base64#` with something else than standard base64 behind it is an error.
    ///
    /// ```
    /// use kafkacrypto::store::value::Value;
    ///
    /// assert_eq!(Value::parse("007")?, Value::Int(7));
    /// assert_eq!(Value::parse("base64#YQ==")?, Value::Bytes(b"a".to_vec()));
    /// assert!(Value::parse("base64#YQ").is_err());
    /// # Ok::<(), kafkacrypto::store::value::BadBase64>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, BadBase64> {
        if let Some(encoded) = text.strip_prefix(BASE64) {
            return decode(encoded).map(Self::Bytes);
        }
        Ok(number(text).or_else(|| boolean(text)).unwrap_or_else(|| Self::Text(text.to_owned())))
    }

    /// The text that stands for this value in a config.
    ///
    /// ```
    /// use kafkacrypto::store::value::Value;
    ///
    /// assert_eq!(Value::Bool(true).render(), "True");
    /// assert_eq!(Value::Bytes(b"a".to_vec()).render(), "base64#YQ==");
    /// ```
    pub fn render(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Float(value) => render_float(*value),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Bytes(value) => bytes_name(value),
            Self::Text(value) => value.clone(),
        }
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The number, if it is one: integers count.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "what Python's float() does too")]
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The boolean, if it is one. Integers 0 and 1 count.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Int(0) => Some(false),
            Self::Int(1) => Some(true),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(value) = self { Some(value) } else { None }
    }
}

/// A value that begins with `base64#`, but isn't standard base64 with padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what follows `base64#` is not standard base64 with padding")]
pub struct BadBase64;

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "Int({value})"),
            Self::Float(value) => write!(f, "Float({value:?})"),
            Self::Bool(value) => write!(f, "Bool({value})"),
            Self::Bytes(value) => write!(f, "Bytes({} bytes)", value.len()),
            Self::Text(value) => write!(f, "Text({} bytes)", value.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// How bytes are written in the place of a name: `base64#…`.
///
/// ```
/// assert_eq!(kafkacrypto::store::value::bytes_name(b"a"), "base64#YQ==");
/// ```
pub fn bytes_name(bytes: &[u8]) -> String {
    format!("{BASE64}{}", ENGINE.encode(bytes))
}

fn decode(encoded: &str) -> Result<Vec<u8>, BadBase64> {
    ENGINE.decode(encoded).map_err(|_| BadBase64)
}

/// Python's `int()`, then its `float()`: digits may be grouped by single underscores.
fn number(text: &str) -> Option<Value> {
    let trimmed = text.trim_matches(is_space);
    let plain = without_underscores(trimmed)?;
    let digits = plain.trim_start_matches(['+', '-']);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let huge = || Value::Text(text.to_owned());
        return (plain.len() - digits.len() < 2).then(|| plain.parse().map_or_else(|_| huge(), Value::Int));
    }
    plain.parse().ok().map(Value::Float)
}

/// Removes underscores between two digits; nothing if there is another one.
fn without_underscores(text: &str) -> Option<String> {
    let grouped = text.split('_').collect::<Vec<_>>();
    let digit_after = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    let digit_before = |part: &&str| part.ends_with(|c: char| c.is_ascii_digit());
    let starts = grouped.iter().skip(1).all(digit_after);
    let ends = grouped.iter().rev().skip(1).all(digit_before);
    (starts && ends).then(|| grouped.concat())
}

fn boolean(text: &str) -> Option<Value> {
    if text.eq_ignore_ascii_case("true") {
        return Some(Value::Bool(true));
    }
    text.eq_ignore_ascii_case("false").then_some(Value::Bool(false))
}

/// The shortest text that is read back as the same float, and as a float.
fn render_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    format!("{value:?}")
}

/// What Python's `str.strip` takes away.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

const BASE64: &str = "base64#";

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn integers_as_python_reads_them() {
        for (text, value) in [("1", 1), ("+5", 5), ("-0", 0), ("007", 7), ("1_000", 1000), (" 12", 12)] {
            assert_eq!(parsed(text), Value::Int(value), "{text}");
        }
    }

    #[test]
    fn floats_as_python_reads_them() {
        for (text, value) in [("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("1_0.5", 10.5)] {
            assert_eq!(parsed(text), Value::Float(value), "{text}");
        }
        assert_eq!(parsed("-Infinity"), Value::Float(f64::NEG_INFINITY));
        assert!(parsed("NaN").as_f64().unwrap().is_nan());
    }

    #[test]
    fn everything_else_is_text() {
        for text in ["", "1__0", "_1", "1_", "++1", "+-1", "- 1", "0x10", "1e", "yes", "BASE64#YQ==", "1_.5", "+", "."]
        {
            assert_eq!(parsed(text).as_str(), Some(text), "{text}");
        }
        assert_eq!(parsed("12345678901234567890").as_str(), Some("12345678901234567890"));
    }

    #[test]
    fn base64_is_strict() {
        for text in ["base64#YQ", "base64#Y Q==", "base64#YQ==x", "base64#-_8=", "base64#Y\nQ=="] {
            assert_eq!(Value::parse(text), Err(BadBase64), "{text}");
        }
        assert_eq!(parsed("base64#"), Value::Bytes(vec![]));
    }

    #[test]
    fn debug_shows_no_content() {
        let shown = format!("{:?} {:?}", Value::from("hunter2"), Value::from(&b"hunter2"[..]));
        assert_eq!(shown, "Text(7 bytes) Bytes(7 bytes)");
    }

    proptest! {
        #[test]
        fn integers_round_trip(value: i64) {
            prop_assert_eq!(parsed(&Value::Int(value).render()), Value::Int(value));
        }

        #[test]
        fn floats_round_trip(value in any::<f64>()) {
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parsed(&Value::Float(value).render()), Value::Float(value));
        }

        #[test]
        fn bytes_round_trip(value: Vec<u8>) {
            prop_assert_eq!(parsed(&Value::Bytes(value.clone()).render()), Value::Bytes(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(Value::Text(read)) = Value::parse(&text) {
                prop_assert_eq!(read, text);
            }
        }
    }
}
