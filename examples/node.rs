//! Two nodes end to end: a producer that encrypts, a consumer that asks for the key and decrypts.
//!
//! `cargo run --example node -- producer.config consumer.config lab.data` with nodes that `kafkacrypto provision` made.

use std::time::Duration;

use kafkacrypto::runtime::Node;
use kafkacrypto::transport::{FetchFrom, OffsetAt, Outgoing};

const WITHIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [producer, consumer, topic] = &arguments[..] else {
        return Err("usage: node PRODUCER.config CONSUMER.config TOPIC".into());
    };
    let (producer, consumer) = (Node::open(producer).await?, Node::open(consumer).await?);

    // any Kafka client will do; this one is the node's own
    let transport = producer.transport();
    transport.create_topic(topic, 1, WITHIN).await?;
    let end = transport.offset(topic, 0, OffsetAt::Latest, WITHIN).await?;
    let sealed = producer.value_serializer().serialize(topic, Some(b"hello"))?;
    transport.produce(topic, 0, vec![Outgoing::new(None, sealed)], WITHIN).await?;

    let from = [FetchFrom::new(topic.as_str(), 0, end)];
    for fetched in consumer.transport().fetch(&from, 1 << 20, WITHIN, WITHIN * 2).await? {
        for record in fetched.result?.records {
            let mut message = consumer.value_deserializer().deserialize(topic, record.value.as_deref());
            println!("{:?}", message.wait(WITHIN).await?.map(String::from_utf8_lossy));
        }
    }
    producer.close().await;
    consumer.close().await;
    Ok(())
}
