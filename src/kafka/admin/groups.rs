//! Groups: which there are, and getting rid of one. Their offsets: [`Client::committed`], [`Client::commit`].

use std::time::Duration;

use kafka_protocol::messages::{DeleteGroupsRequest, GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use crate::kafka::cluster::{Repeated, Target};
use crate::kafka::error::escaped;
use crate::kafka::{Client, Error};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub id: String,
    /// What its members are: `consumer`, `connect`.
    pub protocol: String,
    /// `Stable`, `Empty` and so on; nothing from an old broker.
    pub state: String,
}

impl Client {
    /// All groups that this user may see, by name.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// let groups = client.groups(within).await?;
    /// assert!(groups.is_sorted());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// A broker doesn't answer in time, or refuses.
    pub async fn groups(&self, within: Duration) -> Result<Vec<GroupInfo>, Error> {
        let deadline = Instant::now() + within;
        let brokers: Vec<i32> = self.look(Some(Vec::new()), deadline).await?.brokers.keys().copied().collect();
        let mut groups = Vec::new();
        for broker in brokers {
            let build = |_| ListGroupsRequest::default();
            let read = |response: ListGroupsResponse| match response.error_code {
                0 => Ok(response),
                code => Err(Error::from_code(code, "can't list the groups")),
            };
            let (to, repeated) = (Target::Broker(broker), Repeated::Harmless);
            let response = self.ask_until::<ListGroupsRequest, _>(to, repeated, deadline, build, read).await?;
            groups.extend(response.groups.into_iter().map(|group| GroupInfo {
                id: group.group_id.to_string(),
                protocol: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
            }));
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// Deletes a group and the offsets that it has committed.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// client.delete_group("billing", within).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// There is none, it has members, no right to it, or no answer in time.
    pub async fn delete_group(&self, group: &str, within: Duration) -> Result<(), Error> {
        let what = format!("can't delete the group \"{}\"", escaped(group));
        let id = GroupId(StrBytes::from_string(group.to_owned()));
        let build = |_| DeleteGroupsRequest::default().with_groups_names(vec![id.clone()]);
        let read = |response: kafka_protocol::messages::DeleteGroupsResponse, _| match response
            .results
            .first()
            .map_or(0, |result| result.error_code)
        {
            0 => Ok(()),
            code => Err(Error::from_code(code, &what)),
        };
        self.ask_coordinator::<DeleteGroupsRequest, _>(group, Repeated::Harmful, Instant::now() + within, build, read)
            .await
    }
}
