use std::fmt;

use super::{Certificate, LeafKey, Restrictions};
use crate::time::UnixTime;

/// What a chain says, element by element, the root of trust first. For people; nothing in it was necessarily verified.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Trail {
    /// The elements.
    pub steps: Vec<Step>,
}

/// One element of a [`Trail`], with what is left of it after intersection with those before.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Until when.
    pub max_age: UnixTime,
    /// Limited to what.
    pub restrictions: Restrictions,
    /// For which key.
    pub key: LeafKey,
}

impl Step {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let Certificate { max_age, restrictions, key, extras: _ } = certificate;
        Self { max_age: *max_age, restrictions: restrictions.clone(), key: key.clone() }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().enumerate().try_for_each(|(index, step)| {
            let arrow = if index == 0 { "" } else { " -> " };
            write!(f, "{arrow}{step}")
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if self.max_age != UnixTime::ZERO {
            write!(f, " until {}", self.max_age)?;
        }
        write!(f, "{}", self.restrictions)
    }
}
