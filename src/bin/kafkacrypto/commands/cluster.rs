//! What a cluster has (`-L`), and which offset a time has (`-Q`): kcat's output, without any node.

use std::time::Duration;

use kafkacrypto::kafka::{Cluster, Isolation, OffsetAt, PartitionInfo, TopicInfo, TopicPartition};
use kafkacrypto::transport::TransportError;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kcat;
use crate::output;
use crate::session::{self, NodeArgs};

/// Brokers, topics, partitions.
pub(crate) async fn list(node: &NodeArgs, topics: &[String], json: bool) -> Result<(), Failure> {
    let client = node.cluster_alone()?.client;
    let named: Vec<&str> = topics.iter().map(String::as_str).collect();
    let asked = client.describe(Some(&*named).filter(|named| !named.is_empty()), session::CONNECT).await;
    let cluster = asked.map_err(|error| session::broker(&TransportError::from(error)))?;
    client.close().await;
    let known = |name: &str| cluster.topics.iter().find(|topic| *topic.name == *name);
    let missing: Vec<_> = named.iter().copied().filter(|name| known(name).is_none()).collect();
    match json {
        true => output::line(&object(&cluster, topics, &missing).to_string())?,
        false => output::bytes(text(&cluster, &missing).as_bytes())?,
    }
    let refused = named.iter().find_map(|name| Some(format!("topic {name:?}: {}", known(name)?.error.as_ref()?)));
    match missing.first().map(|name| absent(name)).or(refused) {
        Some(why) => Err(Failure::new(Failure::BROKER, why)),
        None => Ok(()),
    }
}

/// The offset of the first record of a time or later, for each partition that is named.
pub(crate) async fn query(node: &NodeArgs, asked: &[String]) -> Result<(), Failure> {
    if asked.is_empty() {
        return Err(Failure::usage(ASK));
    }
    let client = node.cluster_alone()?.client;
    for one in asked {
        let (topic, partition, time) = kcat::query(one).ok_or_else(|| Failure::usage(ASK))?;
        let at = match time {
            -1 => OffsetAt::Latest,
            -2 => OffsetAt::Earliest,
            time => OffsetAt::Time(time),
        };
        let place = TopicPartition::new(topic, partition);
        let found = client.offset(&place, at, Isolation::Committed, QUERY).await;
        let offset = found.map_err(|error| session::broker(&TransportError::from(error)))?;
        output::line(&format!("{topic} [{partition}] offset {offset}"))?;
    }
    client.close().await;
    Ok(())
}

fn text(cluster: &Cluster, missing: &[&str]) -> String {
    let mut out = String::new();
    let mut say = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    say(format!("Metadata for cluster {}:", cluster.id.as_deref().unwrap_or("without an ID")));
    say(format!(" {} brokers:", cluster.brokers.len()));
    for broker in &cluster.brokers {
        let controller = if cluster.controller == Some(broker.id) { " (controller)" } else { "" };
        say(format!("  broker {} at {}{controller}", broker.id, broker.address));
    }
    say(format!(" {} topics:", cluster.topics.len() + missing.len()));
    for topic in &cluster.topics {
        let trouble = topic.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        say(format!("  topic \"{}\" with {} partitions{trouble}", topic.name, topic.partitions.len()));
        for partition in &topic.partitions {
            let PartitionInfo { number, replicas, in_sync, .. } = partition;
            let leader = partition.leader.unwrap_or(-1);
            let (replicas, in_sync) = (listed(replicas), listed(in_sync));
            say(format!("    partition {number}, leader {leader}, replicas: {replicas}, isrs: {in_sync}"));
        }
    }
    for name in missing {
        say(format!("  topic \"{name}\" with 0 partitions: {}", absent(name)));
    }
    out
}

fn listed(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The names that kcat uses.
fn object(cluster: &Cluster, asked: &[String], missing: &[&str]) -> Value {
    let ids = |ids: &[i32]| -> Value { ids.iter().map(|id| json!({"id": id})).collect() };
    let partition = |partition: &PartitionInfo| {
        json!({"partition": partition.number, "leader": partition.leader.unwrap_or(-1),
            "replicas": ids(&partition.replicas), "isrs": ids(&partition.in_sync)})
    };
    let topic = |topic: &TopicInfo| {
        let partitions: Value = topic.partitions.iter().map(partition).collect();
        json!({"topic": *topic.name, "partitions": partitions, "error": topic.error.as_ref().map(ToString::to_string)})
    };
    let absent = |name: &&str| json!({"topic": name, "partitions": [], "error": absent(name)});
    let topics: Value = cluster.topics.iter().map(topic).chain(missing.iter().map(absent)).collect();
    let brokers: Value =
        cluster.brokers.iter().map(|broker| json!({"id": broker.id, "name": broker.address})).collect();
    let origin = cluster.brokers.iter().find(|broker| broker.address == cluster.origin).map(|broker| broker.id);
    let name = origin.map_or("bootstrap".to_owned(), |id| id.to_string());
    let origin = json!({"id": origin.unwrap_or(-1), "name": format!("{}/{name}", cluster.origin)});
    let query = if asked.is_empty() { "*".to_owned() } else { asked.join(",") };
    json!({"cluster": cluster.id, "originating_broker": origin, "query": {"topic": query}, "controllerid": cluster.controller.unwrap_or(-1), "brokers": brokers, "topics": topics})
}

fn absent(name: &str) -> String {
    format!("there is no topic {name:?} that this user may see")
}

const ASK: &str = "with -Q, give -t TOPIC:PARTITION:TIME, with the time in milliseconds since 1970";
const QUERY: Duration = Duration::from_secs(10);
