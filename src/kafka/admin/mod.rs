//! Administration: topics, their settings, their records; groups. All are calls of [`Client`](super::Client).
//!
//! What it must never do: change anything that wasn't named, or take an answer for yes that says no. It owns no bytes.

mod cluster;
mod groups;
mod topics;

pub use cluster::{Broker, Cluster, PartitionInfo, TopicInfo};
pub use groups::GroupInfo;
pub use topics::{Created, NewTopic, Setting};
