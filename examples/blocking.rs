//! A program without tokio: the node has a thread of its own, and waits block.
//!
//! `cargo run --example blocking -- node.config lab.data < text` encrypts each line of standard input and decrypts it again
//! (for a node with role prodcon).

use std::io::BufRead;
use std::time::Duration;

use kafkacrypto::runtime::Node;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, topic] = &arguments[..] else { return Err("usage: blocking NODE.config TOPIC < TEXT".into()) };
    let node = Node::spawn(config)?;
    let (serializer, deserializer) = (node.value_serializer(), node.value_deserializer());
    for line in std::io::stdin().lock().lines() {
        let sealed = serializer.serialize(topic, Some(line?.as_bytes()))?;
        let mut message = deserializer.deserialize(topic, sealed.as_deref());
        let cleartext = message.wait_blocking(Duration::from_secs(10))?;
        println!("{:?}", cleartext.map(String::from_utf8_lossy));
    }
    node.close_blocking();
    Ok(())
}
