//! What fails and is tried again. The log tells that once, then when the reason changes, and when it works again.

use std::collections::BTreeMap;

use crate::kafka::Error;

/// What fails now, and why it did last.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Trouble(BTreeMap<&'static str, Error>);

impl Trouble {
    pub(in crate::kafka) fn failed(&mut self, what: &'static str, error: &Error) {
        match self.is_news(what, error) {
            true => tracing::warn!(%error, "{what} failed and is tried again"),
            false => tracing::debug!(%error, "{what} failed again"),
        }
    }

    pub(in crate::kafka) fn works(&mut self, what: &'static str) {
        if self.0.remove(what).is_some() {
            tracing::info!("{what} works again");
        }
    }

    fn is_news(&mut self, what: &'static str, error: &Error) -> bool {
        self.0.insert(what, error.clone()).as_ref() != Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ErrorKind;

    #[test]
    fn a_reason_is_news_once_until_it_changes_or_it_works() {
        let (mut trouble, of) = (Trouble::default(), |text| Error::new(ErrorKind::TimedOut, text));
        assert!(trouble.is_news("a", &of("no")) && trouble.is_news("b", &of("no")));
        assert!(!trouble.is_news("a", &of("no")) && trouble.is_news("a", &of("why")));
        trouble.works("a");
        assert!(trouble.is_news("a", &of("why")) && !trouble.is_news("b", &of("no")));
    }
}
