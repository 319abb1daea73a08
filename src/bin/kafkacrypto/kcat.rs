//! What kcat's arguments mean: delimiters, offsets, formats.

use kafkacrypto::client::Start;

/// A delimiter: text with `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delimiter(pub(crate) Vec<u8>);

/// How a record is printed: kcat's `-f`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(pub(crate) Vec<Part>);

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Key,
    KeyLength,
    Value,
    ValueLength,
}

impl Delimiter {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bytes = unescaped(text)?;
        if bytes.is_empty() { Err("a delimiter can't be empty".to_owned()) } else { Ok(Self(bytes)) }
    }

    /// Text before and after the first delimiter.
    pub(crate) fn split<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = bytes.windows(self.0.len()).position(|window| window == self.0)?;
        let (before, rest) = bytes.split_at_checked(at)?;
        Some((before, rest.get(self.0.len()..)?))
    }
}

impl Format {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut pieces = text.split('%');
        push_text(&mut parts, pieces.next().unwrap_or_default())?;
        while let Some(piece) = pieces.next() {
            let Some(letter) = piece.chars().next() else {
                // `%%`, and what follows it
                parts.push(Part::Text(b"%".to_vec()));
                push_text(&mut parts, pieces.next().ok_or("a format can't end with a single %; write %%")?)?;
                continue;
            };
            parts.push(Part::of(letter).ok_or(format!("%{letter} means nothing; there are {LETTERS}"))?);
            push_text(&mut parts, piece.get(letter.len_utf8()..).unwrap_or_default())?;
        }
        Ok(Self(parts))
    }

    /// Whether it shows record keys.
    pub(crate) fn shows_key(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Key | Part::KeyLength))
    }

    /// Whether it shows record values.
    pub(crate) fn shows_value(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Value | Part::ValueLength))
    }
}

impl Part {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'T' => Self::Timestamp,
            'h' => Self::Headers,
            'k' => Self::Key,
            'K' => Self::KeyLength,
            's' => Self::Value,
            'S' => Self::ValueLength,
            _ => return None,
        })
    }
}

/// A setting: `name=value`.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give name=value, such as security.protocol=SSL")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// A header: `name=value`; without `=` its value is null.
pub(crate) fn header(text: &str) -> Result<(String, Option<Vec<u8>>), String> {
    Ok(match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.as_bytes().to_vec())),
        None => (text.to_owned(), None),
    })
}

/// Which offset of which partition: `topic:partition:milliseconds`.
pub(crate) fn query(text: &str) -> Option<(&str, i32, i64)> {
    let (rest, time) = text.rsplit_once(':')?;
    let (topic, partition) = rest.rsplit_once(':')?;
    Some((topic, partition.parse().ok()?, time.parse().ok()?))
}

/// Where to start, or where to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offset {
    Start(Start),
    /// Where the group left off.
    Stored,
    /// Where the group left off, and nowhere else.
    Error,
    /// Before the first record of this time or later.
    StopBefore(i64),
}

/// `beginning`, `end`, `stored`, `error`, an offset, `-N` from the end, `s@TIME` and `e@TIME` in milliseconds since 1970.
pub(crate) fn offset(text: &str) -> Result<Offset, String> {
    match (text, text.strip_prefix("e@")) {
        ("stored", _) => Ok(Offset::Stored),
        ("error", _) => Ok(Offset::Error),
        (_, Some(time)) => time.parse().map(Offset::StopBefore).map_err(|_| unknown(text)),
        _ => start(text).map(Offset::Start),
    }
}

/// Whether these offsets can be obeyed: by a member of a group, or by who only knows one.
pub(crate) fn possible(offsets: &[Offset], member: bool, names_group: bool) -> Result<(), &'static str> {
    use Start::{Beginning, End, Time};
    let of_member =
        |offset: &Offset| matches!(offset, Offset::Start(Beginning | End | Time(_)) | Offset::Stored | Offset::Error);
    match member {
        true if !offsets.iter().all(of_member) => Err(
            "a group goes on from what it has stored; where that is nothing, -o can say beginning, end, s@MILLISECONDS \
             or error",
        ),
        false if offsets.contains(&Offset::Error) => Err("-o error is for groups: -G GROUP TOPIC…"),
        false if offsets.contains(&Offset::Stored) && !names_group => {
            Err("-o stored needs the group that stored it: -X group.id=GROUP")
        }
        _ => Ok(()),
    }
}

fn unknown(text: &str) -> String {
    let known = "beginning, end, stored, error, N, -N, s@MILLISECONDS or e@MILLISECONDS";
    format!("`{}` is no offset; give {known}", text.escape_debug())
}

/// Where to start: `beginning`, `end`, an offset, `-N` from the end, `s@TIME` in milliseconds since 1970.
fn start(text: &str) -> Result<Start, String> {
    let unknown = || unknown(text);
    if let Some(time) = text.strip_prefix("s@") {
        return time.parse().map(Start::Time).map_err(|_| unknown());
    }
    if let Some(count) = text.strip_prefix('-') {
        return count.parse().map(Start::Tail).map_err(|_| unknown());
    }
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        offset => offset.parse().map(Start::Offset).map_err(|_| unknown()),
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        parts.push(Part::Text(unescaped(text)?));
    }
    Ok(())
}

fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut pieces = text.split('\\');
    bytes.extend(pieces.next().unwrap_or_default().bytes());
    while let Some(piece) = pieces.next() {
        let Some(letter) = piece.chars().next() else {
            bytes.push(b'\\');
            bytes.extend(pieces.next().unwrap_or_default().bytes());
            continue;
        };
        let (byte, length) = match letter {
            'n' => (b'\n', 1),
            'r' => (b'\r', 1),
            't' => (b'\t', 1),
            '0' => (0, 1),
            'x' => (hex_byte(piece)?, 3),
            other => return Err(format!("\\{other} means nothing; there are \\n \\r \\t \\0 \\\\ and \\xHH")),
        };
        bytes.push(byte);
        bytes.extend(piece.get(length..).unwrap_or_default().bytes());
    }
    Ok(bytes)
}

fn hex_byte(piece: &str) -> Result<u8, String> {
    let digits = piece.get(1..3).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.ok_or_else(|| "\\x is followed by two hexadecimal digits".to_owned())
}

const LETTERS: &str = "%t %p %o %T %h %k %K %s %S and %%";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_have_escapes_and_split_once() {
        let delimiter = |text| Delimiter::parse(text).map(|delimiter| delimiter.0);
        assert_eq!(delimiter(r"\n"), Ok(b"\n".to_vec()));
        assert_eq!(delimiter(r"\x00-\\:\t"), Ok(b"\x00-\\:\t".to_vec()));
        assert!(delimiter("").is_err() && delimiter(r"\q").is_err() && delimiter(r"\x1").is_err());
        assert_eq!(Delimiter::parse(":").unwrap().split(b"a:b:c"), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(Delimiter::parse("::").unwrap().split(b"a:b"), None);
    }

    #[test]
    fn formats_are_read() {
        use Part::*;
        let text = |text: &str| Text(text.as_bytes().to_vec());
        let format = Format::parse(r"%t[%p]@%o: %k=%s %%\n").unwrap();
        let parts = [
            Topic,
            text("["),
            Partition,
            text("]@"),
            Offset,
            text(": "),
            Key,
            text("="),
            Value,
            text(" "),
            text("%"),
            text("\n"),
        ];
        assert_eq!(format.0, parts);
        assert!(Format::parse("%q").unwrap_err().contains("%t %p"));
        assert!(Format::parse("100%").is_err());
    }

    #[test]
    fn offsets_are_read() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("-5"), Ok(Start::Tail(5)));
        assert_eq!(start("5"), Ok(Start::Offset(5)));
        assert_eq!(start("s@1700000000000"), Ok(Start::Time(1_700_000_000_000)));
        assert_eq!(offset("stored"), Ok(Offset::Stored));
        assert_eq!(offset("error"), Ok(Offset::Error));
        assert_eq!(offset("e@1700000000000"), Ok(Offset::StopBefore(1_700_000_000_000)));
        assert!(offset("soon").is_err() && offset("e@").unwrap_err().contains("e@MILLISECONDS"));
    }

    #[test]
    fn a_group_goes_on_from_what_it_has_stored() {
        let (all, one) =
            ([Offset::Stored, Offset::Error, Offset::Start(Start::Time(7))], Offset::Start(Start::Tail(2)));
        assert_eq!(possible(&all, true, false), Ok(()));
        assert!(possible(&[one], true, false).is_err() && possible(&[Offset::StopBefore(7)], true, true).is_err());
        assert_eq!(possible(&[one, Offset::StopBefore(7)], false, false), Ok(()));
        assert!(possible(&all, false, true).unwrap_err().contains("-o error"));
        assert!(possible(&[Offset::Stored], false, false).unwrap_err().contains("group.id"));
    }

    #[test]
    fn pairs_are_split_once() {
        assert_eq!(setting("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(setting("a").is_err());
        assert_eq!(header("n=v"), Ok(("n".to_owned(), Some(b"v".to_vec()))));
        assert_eq!(header("n"), Ok(("n".to_owned(), None)));
        assert_eq!(query("a:b:3:17"), Some(("a:b", 3, 17)));
        assert_eq!(query("a:x:17"), None);
    }
}
