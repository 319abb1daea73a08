//! JSON on top of the encryption: a codec, and the typed serializer and deserializer that it is stacked on.
//!
//! The keyring is filled by hand here, so that the example needs no broker; with a running node, take its serializers and
//! deserializers instead: `cargo run --example json`.

use std::sync::Arc;

use kafkacrypto::keyring::{Keyring, Prepare, PrepareError, ProducerSecret};
use kafkacrypto::keys::{KeyIndex, Purpose};
use kafkacrypto::secret::Secret;
use kafkacrypto::serdes::{Codec, Deserializer, Serializer, TypedDeserializer, TypedSerializer};
use kafkacrypto::topic::Root;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Anything that serde knows, as JSON.
struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    type Error = serde_json::Error;

    fn encode(&self, value: &T) -> Result<Vec<u8>, Self::Error> {
        serde_json::to_vec(value)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Self::Error> {
        serde_json::from_slice(bytes)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

/// What a node's runtime does: here, a secret of the moment.
struct InMemory(Arc<Keyring>);

impl Prepare for InMemory {
    fn prepare(&self, roots: &[Root]) -> Result<(), PrepareError> {
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        for root in roots {
            let secret = ProducerSecret::new(root.clone(), KeyIndex::Short(1), Secret::random(&mut rng), &mut rng);
            let _ = self.0.install_producer(secret);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keyring = Arc::new(Keyring::new());
    let prepare = Arc::new(InMemory(keyring.clone()));
    let values = TypedSerializer::new(Json, Serializer::new(keyring.clone(), Arc::default(), prepare, Purpose::Value));
    let reader = TypedDeserializer::new(Deserializer::new(keyring, Arc::default(), Purpose::Value), Json);

    let reading = Reading { sensor: "roof".into(), celsius: 21.5 };
    let sealed = values.serialize("lab.sensor", Some(&reading))?;
    println!("on the broker: {} bytes that nobody else can read", sealed.as_ref().map_or(0, Vec::len));

    let message = reader.deserialize("lab.sensor", sealed.as_deref());
    println!("{}: {:?}", message.message().state(), message.value::<Reading>()?);
    assert_eq!(message.value()?, Some(reading));
    Ok(())
}
