//! What can be wrong with a config.

/// Why a config can't be read or changed.
///
/// Messages name the section and the name. They show the value only of settings that are never secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file isn't text.
    #[error("the config is not UTF-8 text: restore it from a backup, or provision the node again")]
    NotText,
    /// A line is none of what the format knows.
    #[error("line {line} of the config is neither `[section]`, `name : value` nor a comment (`;`): correct it")]
    Syntax {
        /// Counted from 1.
        line: usize,
    },
    /// A line stands before the first section.
    #[error("line {line} of the config stands before the first `[section]`: move it into one")]
    NoSection {
        /// Counted from 1.
        line: usize,
    },
    /// A section stands twice.
    #[error("line {line} of the config begins section [{section}] a second time: merge the two")]
    DuplicateSection {
        /// Counted from 1.
        line: usize,
        /// The section.
        section: String,
    },
    /// A name stands twice in a section.
    #[error("line {line} of the config sets `{name}` in [{section}] a second time: remove one of the two")]
    DuplicateName {
        /// Counted from 1.
        line: usize,
        /// The section.
        section: String,
        /// The name.
        name: String,
    },
    /// No node ID.
    #[error("the config names no node: add `node_id : NAME` to its section [DEFAULT]")]
    NoNodeId,
    /// The config of another node.
    #[error("this is the config of node `{found}`, not of `{wanted}`: check the file name and the node ID")]
    OtherNode {
        /// The node ID in the config.
        found: String,
        /// The node ID asked for.
        wanted: String,
    },
    /// A `%` in a value means nothing.
    #[error("`{name}` in [{section}] has a `%` that is neither `%%` nor `%(name)s`: write `%%` for a percent sign")]
    Percent {
        /// The section.
        section: String,
        /// The name.
        name: String,
    },
    /// `%(…)s` names nothing.
    #[error("`{name}` in [{section}] refers to `%({missing})s`, which is not set: set it there or in [DEFAULT]")]
    Missing {
        /// The section.
        section: String,
        /// The name.
        name: String,
        /// What isn't set.
        missing: String,
    },
    /// `%(…)s` goes round in a circle, or grows without bounds.
    #[error("`{name}` in [{section}] refers to itself, or too deeply, by `%(…)s`: write the value out")]
    Endless {
        /// The section.
        section: String,
        /// The name.
        name: String,
    },
    /// A value isn't what this name needs.
    #[error("`{name}` in [{section}] must be {expected}: correct it")]
    BadValue {
        /// The section.
        section: String,
        /// The name.
        name: String,
        /// What it has to be, and what it is when that is no secret.
        expected: String,
    },
    /// The format can't hold this.
    #[error("`{name}` can't be written to [{section}]: {why}")]
    Unwritable {
        /// The section.
        section: String,
        /// The name.
        name: String,
        /// What the format lacks, and what to do.
        why: &'static str,
    },
}
