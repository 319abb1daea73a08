//! Where records come from: a topic, or a consumer group's share of topics.

use std::sync::Arc;
#[cfg(feature = "kafka")]
use std::time::Duration;

#[cfg(feature = "kafka")]
use kafkacrypto::client::GroupConsumer;
use kafkacrypto::client::{Consumer, ConsumerRecord, ReadError};
#[cfg(feature = "kafka")]
use kafkacrypto::kafka::{self, Subscription, TopicPartition};
#[cfg(feature = "kafka")]
use kafkacrypto::transport::TransportError;

use super::ConsumeArgs;
use crate::failure::Failure;
use crate::session::{self, Opened};

pub(super) enum Source {
    Topic(Consumer),
    #[cfg(feature = "kafka")]
    Group(Box<Membership>),
}

#[cfg(feature = "kafka")]
pub(super) struct Membership {
    consumer: GroupConsumer,
    /// It ends at the end.
    exit: bool,
    /// What there is no topic for, if that is a failure.
    missing: Option<Failure>,
}

impl Source {
    #[cfg(feature = "kafka")]
    pub(super) async fn group(args: &ConsumeArgs, topics: &[String], opened: &Opened) -> Result<Self, Failure> {
        let Some(cluster) = &opened.cluster else { return Err(Failure::usage("-G needs a Kafka cluster")) };
        let mut config = cluster.settings.consumer().map_err(Failure::configuration)?;
        if let Some(time) = args.since() {
            config = config.unread(kafka::Unread::At(kafka::OffsetAt::Time(time)));
        }
        if args.skips_corrupt() {
            config = config.corrupt(kafka::Corrupt::Skip);
        }
        let subscription = Subscription::topics(topics).map_err(Failure::usage)?;
        let unmet = unmet(&cluster.client, topics, &subscription).await?;
        let missing = unmet.first().filter(|_| args.exit).map(|(what, all)| (absent(what), *all));
        let missing = match missing {
            Some((failure, true)) => return Err(failure),
            missing => missing.map(|(failure, _)| failure),
        };
        let mut consumer = GroupConsumer::of(&opened.node, &cluster.client, config, subscription)?;
        if let Some(wait) = args.wait() {
            consumer = consumer.wait_for_keys(wait);
        }
        consumer.on_rebalance(|rebalance| tracing::info!(?rebalance, "the group shares out"));
        Ok(Self::Group(Box::new(Membership { consumer, exit: args.exit, missing })))
    }

    #[cfg(not(feature = "kafka"))]
    pub(super) async fn group(_args: &ConsumeArgs, _topics: &[String], _opened: &Opened) -> Result<Self, Failure> {
        Err(Failure::usage(session::NO_KAFKA))
    }

    /// The next record. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<ConsumerRecord, ReadError>> {
        match self {
            Self::Topic(consumer) => consumer.next().await,
            #[cfg(feature = "kafka")]
            Self::Group(member) if !member.exit => member.consumer.next().await,
            #[cfg(feature = "kafka")]
            Self::Group(member) => loop {
                match tokio::time::timeout(LOOK, member.consumer.next()).await {
                    Ok(next) => return next,
                    Err(_) if member.consumer.is_at_end() => return None,
                    Err(_) => {}
                }
            },
        }
    }

    /// Nothing from this record on is committed, until it is done with.
    #[cfg_attr(not(feature = "kafka"), expect(unused_variables, reason = "there are no groups"))]
    pub(super) fn hold_back(&mut self, topic: &Arc<str>, partition: i32, offset: i64) {
        match self {
            Self::Topic(_) => {}
            #[cfg(feature = "kafka")]
            Self::Group(member) => {
                member.consumer.hold_back(&TopicPartition::new(topic.clone(), partition), offset);
            }
        }
    }

    #[cfg_attr(not(feature = "kafka"), expect(unused_variables, reason = "there are no groups"))]
    pub(super) fn done_with(&mut self, topic: &Arc<str>, partition: i32, offset: i64) {
        match self {
            Self::Topic(_) => {}
            #[cfg(feature = "kafka")]
            Self::Group(member) => {
                member.consumer.done_with(&TopicPartition::new(topic.clone(), partition), offset);
            }
        }
    }

    /// What couldn't be read at all.
    pub(super) fn missing(&mut self) -> Option<Failure> {
        match self {
            Self::Topic(_) => None,
            #[cfg(feature = "kafka")]
            Self::Group(member) => member.missing.take(),
        }
    }

    /// Commits what was written, and leaves the group.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Topic(_) => Ok(()),
            #[cfg(feature = "kafka")]
            Self::Group(member) => Ok(member.consumer.close().await?),
        }
    }
}

/// What there is no topic for, and whether there is none at all; also shows that a broker is there.
#[cfg(feature = "kafka")]
async fn unmet(
    client: &kafka::Client,
    topics: &[String],
    subscription: &Subscription,
) -> Result<Vec<(String, bool)>, Failure> {
    let names: Vec<_> = topics.iter().map(String::as_str).collect();
    let named = Some(&*names).filter(|_| !subscription.is_pattern());
    let cluster = client.describe(named, session::CONNECT).await;
    let cluster = cluster.map_err(|error| session::broker(&TransportError::from(error)))?;
    let known = cluster.topics.iter().filter(|topic| !topic.internal).map(|topic| &*topic.name);
    let unmet = subscription.unmet(known);
    let all = topics.iter().all(|topic| unmet.contains(&topic.as_str()));
    Ok(unmet.into_iter().map(|what| (what.to_owned(), all)).collect())
}

#[cfg(feature = "kafka")]
fn absent(what: &str) -> Failure {
    let sentence = match what.starts_with('^') {
        true => format!("no topic matches {what:?}"),
        false => format!("there is no topic {what:?}"),
    };
    Failure::new(Failure::BROKER, sentence)
}

/// How often a member looks whether it is at the end.
#[cfg(feature = "kafka")]
const LOOK: Duration = Duration::from_millis(100);
