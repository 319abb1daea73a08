//! Which records of an input were not delivered, and why: told while the input goes on, and at its end.

use kafkacrypto::client::{ProducerRecord, SendError};
use kafkacrypto::error::Error;

use crate::failure::Failure;

/// A record's place in the input, and its key if that says something to people.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    key: Option<String>,
}

impl Place {
    pub(super) fn of(number: u64, record: &ProducerRecord) -> Self {
        let short = record.key.as_deref().filter(|key| key.len() <= SHORT);
        let text = short.and_then(|key| std::str::from_utf8(key).ok());
        let key = text.filter(|text| !text.is_empty() && !text.contains(char::is_control)).map(str::to_owned);
        Self { number, key }
    }

    fn told(&self) -> String {
        let key = self.key.as_ref().map(|key| format!(", key {key:?},")).unwrap_or_default();
        format!("record {}{key}", self.number)
    }
}

/// The records that failed.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) count: u64,
    /// The first, why, and its exit code.
    first: Option<(Place, Failure)>,
    /// Where the first few are, and the last.
    numbers: Vec<u64>,
    last: u64,
    /// How many weren't told since the last line, and the last of them.
    untold: u64,
    latest: Option<(Place, String)>,
    /// Whether there was a line since the last [`Lost::tick`].
    told: bool,
}

impl Lost {
    /// One more. `at_once`: whether the end, which tells it too, may be far away. What is to be said now, if anything.
    pub(super) fn add(&mut self, place: Place, error: SendError, at_once: bool) -> Option<String> {
        let failure = Failure::from(Error::from(error));
        let why = failure.message.clone();
        self.count += 1;
        self.last = place.number;
        if self.numbers.len() < FEW {
            self.numbers.push(place.number);
        }
        self.first.get_or_insert_with(|| (place.clone(), failure));
        self.untold += 1;
        self.latest = Some((place, why));
        if at_once && !self.told { self.tell() } else { None }
    }

    /// A second has gone by.
    pub(super) fn tick(&mut self) -> Option<String> {
        self.told = false;
        self.tell()
    }

    fn tell(&mut self) -> Option<String> {
        let (place, why) = self.latest.take()?;
        let others = std::mem::take(&mut self.untold) - 1;
        self.told = true;
        let before = if others == 0 { String::new() } else { format!(", and {others} before it") };
        Some(format!("{} of the input was not delivered{before}: {why}", place.told()))
    }

    /// What the command ends with.
    pub(super) fn end(self, delivered: u64) -> Option<Failure> {
        let (place, Failure { code, message }) = self.first?;
        let all = self.count + delivered;
        let message = match self.count {
            1 if all == 1 => message,
            1 => format!("1 of {all} records was not delivered, {}: {message}", place.told().trim_end_matches(',')),
            count => {
                let numbers = listed(&self.numbers, count, self.last);
                format!("{count} of {all} records were not delivered, {numbers}; the first because: {message}")
            }
        };
        Some(Failure::new(code, message))
    }
}

/// `records 2, 5 and 9`, `records 3 to 900`, `records 1, 2, 5 and others up to 900`.
fn listed(first: &[u64], count: u64, last: u64) -> String {
    let start = first.first().copied().unwrap_or(last);
    if last - start + 1 == count && count > 2 {
        return format!("records {start} to {last}");
    }
    let whole = first.len() as u64 == count;
    let shown = if whole { first.split_last().map_or(first, |(_, rest)| rest) } else { first };
    let shown = shown.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!("records {shown} and {}", if whole { last.to_string() } else { format!("others up to {last}") })
}

/// A longer key isn't shown.
const SHORT: usize = 40;
/// How many numbers are listed at the end.
const FEW: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u64) -> Place {
        Place::of(number, &ProducerRecord::new("lab").key(format!("k{number}")))
    }

    #[test]
    fn the_first_failure_is_told_at_once_and_the_rest_by_the_second() {
        let mut lost = Lost::default();
        let said = lost.add(place(7), SendError::Closed, true).unwrap();
        assert!(said.starts_with("record 7, key \"k7\", of the input was not delivered: the producer was"), "{said}");
        assert!(lost.add(place(8), SendError::Closed, true).is_none());
        assert!(lost.add(place(9), SendError::Closed, true).is_none());
        assert!(lost.tick().unwrap().contains("record 9, key \"k9\", of the input was not delivered, and 1 before it"));
        assert!(lost.tick().is_none());
        assert!(lost.add(place(10), SendError::Closed, true).is_some());
    }

    #[test]
    fn the_end_tells_what_there_was_no_time_to_tell() {
        let end = |numbers: &[u64], delivered| {
            let mut lost = Lost::default();
            for number in numbers {
                assert!(lost.add(place(*number), SendError::Closed, false).is_none());
            }
            lost.end(delivered).map(|failure| failure.message)
        };
        assert_eq!(end(&[], 3), None);
        assert_eq!(end(&[1], 0).unwrap(), SendError::Closed.to_string());
        assert!(end(&[4], 5).unwrap().starts_with("1 of 6 records was not delivered, record 4, key \"k4\": the prod"));
        assert!(end(&[2, 5, 9], 7).unwrap().starts_with("3 of 10 records were not delivered, records 2, 5 and 9; the"));
        assert!(end(&(3..=900).collect::<Vec<_>>(), 0).unwrap().contains("delivered, records 3 to 900; the first"));
        let scattered: Vec<_> = (1..=7).map(|n| n * n).collect();
        assert!(end(&scattered, 0).unwrap().contains("records 1, 4, 9, 16, 25 and others up to 49; the first because"));
    }

    #[test]
    fn a_key_is_shown_if_it_is_short_text() {
        let of = |key: &[u8]| Place::of(1, &ProducerRecord::new("lab").key(key.to_vec())).told();
        assert_eq!(of(b"a"), "record 1, key \"a\",");
        for key in [&b""[..], b"\xff", b"\x1b[31m", &[b'a'; 41]] {
            assert_eq!(of(key), "record 1");
        }
    }
}
