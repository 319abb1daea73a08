use std::fmt;
use std::sync::Arc;

use super::{Deserializer, SerializeError, Serializer};
use crate::message::{Message, NotCleartext};

/// How values of type `T` become bytes and bytes values again: JSON, Avro, text… It runs inside of the encryption.
pub trait Codec<T> {
    /// Why a value or bytes can't be converted.
    type Error;

    /// The bytes of a value.
    ///
    /// # Errors
    /// The codec's own.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Self::Error>;

    /// The value of bytes.
    ///
    /// # Errors
    /// The codec's own.
    fn decode(&self, bytes: &[u8]) -> Result<T, Self::Error>;
}

/// A codec stacked on an encrypting serializer.
#[derive(Clone, Debug)]
pub struct TypedSerializer<C> {
    codec: C,
    inner: Serializer,
}

/// A codec stacked on a decrypting deserializer.
#[derive(Clone, Debug)]
pub struct TypedDeserializer<C> {
    codec: Arc<C>,
    inner: Deserializer,
}

/// A message whose cleartext a codec understands.
#[derive(Clone)]
pub struct TypedMessage<C> {
    codec: Arc<C>,
    message: Message,
}

/// Which of the two layers failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError<E> {
    /// The codec.
    #[error("the value can't be converted: {0}")]
    Codec(E),
    /// The encryption.
    #[error(transparent)]
    Serialize(#[from] SerializeError),
    /// The decryption.
    #[error(transparent)]
    NotCleartext(#[from] NotCleartext),
}

impl<C> TypedSerializer<C> {
    /// `codec` first, `inner` next.
    #[must_use]
    pub fn new(codec: C, inner: Serializer) -> Self {
        Self { codec, inner }
    }

    /// The value encoded and encrypted; null stays null.
    ///
    /// # Errors
    /// [`TypedError`].
    pub fn serialize<T>(&self, topic: &str, value: Option<&T>) -> Result<Option<Vec<u8>>, TypedError<C::Error>>
    where
        C: Codec<T>,
    {
        let bytes = value.map(|value| self.codec.encode(value)).transpose().map_err(TypedError::Codec)?;
        Ok(self.inner.serialize(topic, bytes.as_deref())?)
    }
}

impl<C> TypedDeserializer<C> {
    /// `inner` first, `codec` next.
    #[must_use]
    pub fn new(inner: Deserializer, codec: C) -> Self {
        Self { codec: Arc::new(codec), inner }
    }

    /// What the bytes of a record's key or value are; [`TypedMessage::value`] decodes it.
    #[must_use]
    pub fn deserialize(&self, topic: &str, bytes: Option<&[u8]>) -> TypedMessage<C> {
        TypedMessage { codec: self.codec.clone(), message: self.inner.deserialize(topic, bytes) }
    }
}

impl<C> TypedMessage<C> {
    /// The value (`None` for a null).
    ///
    /// # Errors
    /// [`TypedError`].
    pub fn value<T>(&self) -> Result<Option<T>, TypedError<C::Error>>
    where
        C: Codec<T>,
    {
        let bytes = self.message.cleartext()?;
        bytes.map(|bytes| self.codec.decode(bytes)).transpose().map_err(TypedError::Codec)
    }

    /// The message, to look at.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The message, to retry it or to wait for its key.
    pub fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }
}

impl<C> fmt::Debug for TypedMessage<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { codec: _, message } = self;
        message.fmt(f)
    }
}
