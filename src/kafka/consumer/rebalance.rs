//! What the group has decided: partitions come, and are read on from where the group left off; and go.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Consumer, Rebalance, Unread};
use crate::kafka::error::escaped;
use crate::kafka::fetch::{Start, TopicPartition};
use crate::kafka::group::{Change, Committed};
use crate::kafka::{Error, ErrorKind};

impl Consumer {
    /// Takes in what the group has decided. A change is taken in whole behind its last wait, or once more from its
    /// beginning when the caller gave up before.
    pub(super) async fn rebalance(&mut self) -> Result<(), Error> {
        while let Some(member) = &self.member {
            member.polled();
            let Some(change) = member.change()? else { return Ok(()) };
            match self.take_in(&change).await {
                Err(error) if error.is_retriable() => {
                    self.trouble.failed(TAKING_IN, &error);
                    sleep(PAUSE).await;
                    continue;
                }
                taken => taken?,
            }
            self.trouble.works(TAKING_IN);
            if let Some(member) = &self.member {
                member.told();
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Assigned(partitions) => {
                let partitions = listed(partitions);
                if !self.starting.is_under_way() {
                    let starts = self.starts(partitions.clone())?;
                    self.starting.begin(starts);
                }
                let starts = self.starting.end().await.transpose()?.unwrap_or_default();
                self.tell(&Rebalance::Assigned(partitions));
                for (partition, start) in starts {
                    self.reader.seek(&partition, start);
                    self.begin(&partition, start);
                }
            }
            Change::Revoked(partitions) => {
                let partitions = listed(partitions);
                self.commit_revoked(&partitions).await?;
                self.tell(&Rebalance::Revoked(partitions.clone()));
                self.let_go(&partitions);
            }
            Change::Lost(partitions) => {
                let partitions = listed(partitions);
                self.tell(&Rebalance::Lost(partitions.clone()));
                self.let_go(&partitions);
            }
        }
        Ok(())
    }

    fn let_go(&mut self, partitions: &[TopicPartition]) {
        self.reader.remove(partitions);
        self.handed.retain(|partition, _| !partitions.contains(partition));
        self.held.retain(|partition| !partitions.contains(partition));
        self.fresh.retain(|partition| !partitions.contains(partition));
    }

    pub(super) fn tell(&mut self, rebalance: &Rebalance) {
        tracing::debug!(?rebalance, "the group shares out");
        if let Some(call) = &mut self.on_rebalance {
            call(rebalance);
        }
    }

    /// Where each is read on.
    pub(super) fn starts(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<impl Future<Output = Result<Vec<(TopicPartition, Start)>, Error>> + Send + use<>, Error> {
        let Some(group) = &self.config.group else {
            return Err(Error::new(ErrorKind::Config, "group_id is missing, and only groups have committed offsets"));
        };
        let (client, group, within) = (self.client.clone(), group.id().to_owned(), self.config.within);
        let unread = self.config.first();
        Ok(async move {
            let committed = match partitions.as_slice() {
                [] => BTreeMap::new(),
                _ => client.committed(&group, &partitions, within).await?,
            };
            let start = |partition: &TopicPartition| match (committed.get(partition), unread) {
                (Some(Committed { offset, leader_epoch: Some(epoch), .. }), _) => {
                    Ok(Start::Kept { offset: *offset, leader_epoch: *epoch })
                }
                (Some(committed), _) => Ok(Start::Offset(committed.offset)),
                (None, Unread::At(at)) => Ok(Start::At(at)),
                (None, Unread::Refused) => {
                    let group = escaped(&group);
                    let what = format!("the group \"{group}\" has committed no offset of {partition} to go on from");
                    Err(Error::new(ErrorKind::OffsetOutOfRange, what))
                }
            };
            partitions.iter().map(|partition| Ok((partition.clone(), start(partition)?))).collect()
        })
    }
}

fn listed(partitions: &BTreeSet<(Arc<str>, i32)>) -> Vec<TopicPartition> {
    partitions.iter().map(|(topic, partition)| TopicPartition::new(topic.clone(), *partition)).collect()
}

/// Between two attempts to take in what the group has decided.
const PAUSE: Duration = Duration::from_millis(200);
/// What may fail, for the log.
const TAKING_IN: &str = "taking in what the group has decided";
