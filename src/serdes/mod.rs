//! Serializers and deserializers for the keys and values of records, for any Kafka client (protocol §5).
//!
//! Synchronous, cheap to clone, usable from many threads at once. They never wait for the network and hold no lock while a
//! payload is encrypted or decrypted. The only call that may block is the first one under a root and ratchet index, until
//! the new secret is durable. They own no bytes: the layout is the message's.

mod codec;
mod deserializer;
mod serializer;

pub use codec::{Codec, TypedDeserializer, TypedError, TypedMessage, TypedSerializer};
pub use deserializer::Deserializer;
pub use serializer::{SerializeError, Serializer};

#[cfg(test)]
mod tests;
