//! A Kafka cluster of three, for leaders that move and brokers that die.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_response::MetadataResponsePartition;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, MetadataRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, HeaderVersion as _, Request, StrBytes};

/// `tests/peer/broker/broker start-cluster` on free ports: nodes 1, 2 and 3, every topic on all of them. Killed when
/// the value is dropped, or when this process ends. Takes 10 to 15 seconds to start, so one serves a whole test file.
pub struct Cluster {
    script: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
    /// What each node listens on besides.
    listeners: String,
    /// More lines of each node's settings.
    settings: String,
}

impl Cluster {
    /// Starts one, or skips where `tests/run` has named no broker script.
    pub fn start() -> Option<Self> {
        Self::listening(String::new())
    }

    /// The same, with the listeners in these files besides; see [`Certificates`](super::Certificates).
    pub fn listening(listeners: String) -> Option<Self> {
        Self::set(listeners, "")
    }

    /// The same, with more lines of `server.properties`, in which NODE stands for a node's number.
    pub fn set(listeners: String, settings: &str) -> Option<Self> {
        let script = super::needed("KAFKACRYPTO_BROKER", "no broker script")?.into();
        let mut cluster = Self { script, port: 0, folder: super::folder(), listeners, settings: settings.to_owned() };
        let started = (0..3).any(|_| {
            cluster.port = super::ports::free(&[0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
            let (folder, port) = (cluster.folder.path().to_owned(), cluster.port.to_string());
            cluster.command("start-cluster").arg(folder).arg(port).status().is_ok_and(|status| status.success())
        });
        assert!(started, "a cluster of the test's own starts");
        Some(cluster)
    }

    /// The addresses of all nodes (PLAINTEXT), with commas.
    pub fn bootstrap(&self) -> String {
        (1..=3).map(|node| self.address(node)).collect::<Vec<_>>().join(",")
    }

    /// A port of a node, by its distance from the first.
    pub fn port(&self, node: u16, offset: u16) -> u16 {
        self.port + 10 * (node - 1) + offset
    }

    /// `host:port` of one node (PLAINTEXT); the next port is SASL_PLAINTEXT.
    pub fn address(&self, node: u16) -> String {
        format!("127.0.0.1:{}", self.port + 10 * (node - 1))
    }

    /// Kills a node, as a crash would.
    pub fn kill(&self, node: u16) {
        self.on("kill", node);
    }

    /// Starts a node again, on the same port and data.
    pub fn restart(&self, node: u16) {
        self.on("start", node);
    }

    /// Makes a node the leader of a partition, and sees that it is.
    pub fn move_leader(&self, topic: &str, partition: i32, node: u16) {
        let name = || TopicName(StrBytes::from_string(topic.to_owned()));
        let others = (1..=3).filter(|other| *other != node);
        let replicas = std::iter::once(node).chain(others).map(|node| i32::from(node).into()).collect();
        let order = ReassignablePartition::default().with_partition_index(partition).with_replicas(Some(replicas));
        let order = ReassignableTopic::default().with_name(name()).with_partitions(vec![order]);
        let order = AlterPartitionReassignmentsRequest::default().with_timeout_ms(30_000).with_topics(vec![order]);
        let which = TopicPartitions::default().with_topic(name()).with_partitions(vec![partition]);
        let preferred = ElectLeadersRequest::default().with_timeout_ms(30_000).with_topic_partitions(Some(vec![which]));
        // One that isn't in sync can't lead yet.
        let leads = super::until(PATIENCE, || {
            self.ask(&order, 0)?;
            self.ask(&preferred, 2)?;
            let now = self.partitions(Some(topic))?;
            now.iter().any(|one| (one.partition_index, one.leader_id.0) == (partition, i32::from(node))).then_some(())
        });
        assert!(leads.is_some(), "node {node} leads {topic}/{partition}: {:?}", self.partitions(Some(topic)));
    }

    /// Waits until every node has everything again.
    pub fn whole(&self) {
        let whole = |one: &MetadataResponsePartition| one.isr_nodes.len() == 3 && one.leader_id.0 > 0;
        let all = super::until(PATIENCE, || self.partitions(None)?.iter().all(whole).then_some(()));
        assert!(all.is_some(), "the cluster is whole again: {:?}", self.partitions(None));
    }

    /// What the first node that answers says of a topic, or of all.
    fn partitions(&self, topic: Option<&str>) -> Option<Vec<MetadataResponsePartition>> {
        let topics = self.ask(&MetadataRequest::default().with_topics(None), 9)?.topics;
        let wanted =
            topics.into_iter().filter(|one| topic.is_none() || one.name.as_deref().map(|name| &**name) == topic);
        Some(wanted.flat_map(|one| one.partitions).collect())
    }

    /// Asks the first node that answers; Kafka's own tools take a JVM for each question.
    fn ask<R: Request>(&self, request: &R, version: i16) -> Option<R::Response> {
        (1..=3).find_map(|node| ask(&self.address(node), request, version).ok())
    }

    fn on(&self, command: &str, node: u16) {
        let status = self.command(command).arg(self.folder.path().join(node.to_string())).status();
        assert!(status.is_ok_and(|status| status.success()), "{command} of node {node}");
    }

    fn command(&self, command: &str) -> Command {
        let mut script = Command::new(&self.script);
        script.arg(command).env("KAFKA_OWNER", std::process::id().to_string()).stdout(Stdio::null());
        script.env("KAFKA_LISTENERS", &self.listeners).env("KAFKA_SETTINGS", &self.settings);
        script
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (1..=3).for_each(|node| self.on("kill", node));
    }
}

fn ask<R: Request>(address: &str, request: &R, version: i16) -> std::io::Result<R::Response> {
    let header = RequestHeader::default().with_request_api_key(R::KEY).with_request_api_version(version);
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version)).expect("a header");
    request.encode(&mut body, version).expect("a request");
    let mut frame = BytesMut::new();
    frame.put_u32(body.len().try_into().expect("a short request"));
    frame.extend_from_slice(&body);
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length).try_into().expect("a length")];
    stream.read_exact(&mut answer)?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).expect("a header");
    Ok(R::Response::decode(&mut answer, version).expect("a response"))
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
