//! Commits: by hand, by time, and of what goes to another member. At most one is under way.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{Consumer, Offsets};
use crate::kafka::fetch::{Fetched, Start, TopicPartition};
use crate::kafka::group::{Committed, Identity, Member};
use crate::kafka::{Error, ErrorKind};

impl Consumer {
    /// Commits all that has been handed out, up to what is [held back](Consumer::hold_back), and waits for it. The program
    /// must be done with it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafkacrypto::kafka::Error> {
    /// use kafkacrypto::kafka::{Client, Config, Consumer, ConsumerConfig, ErrorKind, GroupSettings};
    ///
    /// let client = Client::new(Config::new(["127.0.0.1:1"]))?; // where no broker is
    /// let mut member = Consumer::new(&client, ConsumerConfig::in_group(GroupSettings::new("billing")));
    /// assert_eq!(member.commit().await, Ok(())); // nothing was handed out
    /// let mut alone = Consumer::new(&client, ConsumerConfig::alone());
    /// assert_eq!(alone.commit().await.unwrap_err().kind(), ErrorKind::Config);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Client::committed`](crate::kafka::Client::committed); [`ErrorKind::Fenced`] when the partitions have gone to another member.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.find_out();
        let due = self.due();
        self.commit_these(&due).await?;
        self.handed.retain(|partition, committed| due.get(partition) != Some(committed));
        Ok(())
    }

    /// Commits these offsets, of records that the program is done with: each is the offset *after* the last of them.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kafka/example.rs"));
    /// # fn main() { without_broker(async |client, within| {
    /// use kafkacrypto::kafka::{Committed, Consumer, ConsumerConfig, GroupSettings, TopicPartition};
    ///
    /// let config = ConsumerConfig::in_group(GroupSettings::new("billing")).request_timeout(within);
    /// let mut consumer = Consumer::new(&client, config);
    /// consumer.commit_these(&[(TopicPartition::new("readings", 0), Committed::at(42))].into()).await?;
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::commit`].
    pub async fn commit_these(&mut self, offsets: &BTreeMap<TopicPartition, Committed>) -> Result<(), Error> {
        let began = Instant::now();
        // What is older mustn't arrive later.
        self.committed_by_time().await;
        let commit = self.committed(offsets.clone(), self.config.within.saturating_sub(began.elapsed()))?;
        commit.await.map(|_| ())
    }

    /// Commits by time, while reading goes on.
    pub(super) async fn commit_when_due(&mut self) -> Result<(), Error> {
        if self.committing.is_answered() {
            self.committed_by_time().await;
        }
        self.find_out();
        let Some((every, due)) = self.config.auto_commit.zip(self.next_commit) else { return Ok(()) };
        if Instant::now() >= due && !self.handed.is_empty() && !self.committing.is_under_way() {
            self.next_commit = Some(Instant::now() + every);
            let commit = self.committed(self.due(), self.config.within)?;
            self.committing.begin(commit);
        }
        Ok(())
    }

    /// Notes what is handed out.
    pub(super) fn hand(&mut self, of: &Fetched) {
        let partition = TopicPartition::new(of.topic.clone(), of.partition);
        if let Some(error) = of.error.as_ref().filter(|_| of.records.is_empty() && of.skipped.is_empty()) {
            if error.resumed().is_some() && self.auto_commits() && self.config.group.is_some() {
                self.fresh.insert(partition);
            }
            return;
        }
        self.fresh.remove(&partition);
        let leader_epoch = self.reader.standing(&partition).and_then(|standing| standing.leader_epoch);
        self.handed.insert(partition, Committed { leader_epoch, ..Committed::at(of.next) });
    }

    /// A partition is read on from where the group left off, if it has ever been there.
    pub(super) fn begin(&mut self, partition: &TopicPartition, start: Start) {
        if self.auto_commits() && matches!(start, Start::At(_)) {
            self.fresh.insert(partition.clone());
        }
    }

    /// Where reading begins in what the group has never read. Committed as if it had been handed out: who reads
    /// on after us would begin elsewhere, behind what was written meanwhile.
    fn find_out(&mut self) {
        let (reader, handed) = (&self.reader, &mut self.handed);
        self.fresh.retain(|partition| {
            // Once a broker has let us read there: without that right, this isn't taken either.
            let standing = reader.standing(partition).filter(|at| at.end.is_some());
            let Some((next, leader_epoch)) = standing.and_then(|at| Some((at.next?, at.leader_epoch))) else {
                return true;
            };
            handed.insert(partition.clone(), Committed { leader_epoch, ..Committed::at(next) });
            false
        });
    }

    /// What became of a commit by time, if one is under way.
    async fn committed_by_time(&mut self) {
        match self.committing.end().await {
            Some(Ok(committed)) => {
                self.trouble.works(COMMITTING);
                self.handed.retain(|partition, of| committed.get(partition) != Some(of));
            }
            Some(Err(error)) => self.trouble.failed(COMMITTING, &error),
            None => {}
        }
    }

    /// A commit of these offsets, which come back when it is done.
    fn committed(
        &self,
        offsets: Offsets,
        within: Duration,
    ) -> Result<impl Future<Output = Result<Offsets, Error>> + Send + use<>, Error> {
        let Some(group) = &self.config.group else {
            return Err(Error::new(ErrorKind::Config, "group_id is missing, and offsets are committed for a group"));
        };
        let nobody = Identity { generation: -1, ..Identity::default() };
        let identity = self.member.as_ref().map_or(nobody, Member::identity);
        let (client, group) = (self.client.clone(), group.id().to_owned());
        Ok(async move { client.commit_as(&group, &identity, &offsets, within).await.map(|()| offsets) })
    }

    /// Commits what goes to another member, before it does.
    pub(super) async fn commit_revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), Error> {
        if self.config.auto_commit.is_none() {
            return Ok(());
        }
        if !self.parting.is_under_way() {
            self.committed_by_time().await;
            self.find_out();
            let mut due = self.due();
            due.retain(|partition, _| partitions.contains(partition));
            let commit = self.committed(due, self.config.within)?;
            self.parting.begin(commit);
        }
        if let Some(Err(error)) = self.parting.end().await {
            tracing::warn!(%error, "offsets couldn't be committed before others read on: they may read some again");
        }
        Ok(())
    }
}

/// What may fail, for the log.
const COMMITTING: &str = "committing offsets";
