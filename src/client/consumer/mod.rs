//! Reads a topic: fetches, decrypts, and hands on in order.

mod lane;
mod locate;
mod options;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

pub use options::{ConsumerOptions, OutOfRange, Start};

#[cfg(feature = "kafka")]
pub(in crate::client) use lane::Patience;

use lane::Item;
use reader::Reader;

use super::ReadError;
use crate::message::Message;
use crate::runtime::Node;
use crate::serdes::Deserializer;
use crate::transport::{Headers, Transport};

/// Reads and decrypts the records of a topic: a [`Stream`], or call [`next`](Consumer::next).
///
/// # What comes
///
/// Every record, whatever it is: [`Message::state`] of its key and value says whether it is cleartext. In each partition
/// records come in the order of their offsets; partitions go on independently. The first record of an unknown key waits
/// for it [as long as it may](ConsumerOptions::wait_for_keys), and the records behind it in its partition with it; a
/// record whose key doesn't come is handed on pending, and can be retried or waited for later. Records that name made-up
/// keys can't hold a partition up for long: the keyring waits only for a few unknown keys of a root.
///
/// Instead of a record there may be a [`ReadError`]: an offset that can't be read, an outage, an offset that is gone. All
/// name topic and partition, and reading goes on by itself wherever [`ReadError::is_passing`]. The stream ends when
/// every partition has ended: at the end if [that was asked for](ConsumerOptions::stop_at_end), or failed for good.
///
/// # Positions
///
/// Nothing is committed: keep the last offset of each partition where you keep the results, and go on with
/// [`ConsumerOptions::partition_from`]. [`GroupConsumer`](super::GroupConsumer) reads as a member of a consumer group.
///
/// Dropping it ends all its work. It must be made inside a tokio runtime.
///
/// ```
/// # use std::sync::Arc;
/// # use kafkacrypto::{keyring::Keyring, keys::Purpose, serdes::Deserializer};
/// # let keyring = Arc::new(Keyring::new());
/// # let deserializer = |purpose| Deserializer::new(keyring.clone(), Arc::default(), purpose);
/// # let (keys, values) = (deserializer(Purpose::Key), deserializer(Purpose::Value));
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use kafkacrypto::client::{Consumer, ConsumerOptions, Start};
/// use kafkacrypto::message::State;
/// use kafkacrypto::transport::{Outgoing, Transport, memory::Broker};
///
/// let broker = Broker::new();
/// broker.create_topic("lab.sensor", 1);
/// let in_the_clear = vec![Outgoing::new(None, Some(b"not encrypted".to_vec()))];
/// broker.transport().produce("lab.sensor", 0, in_the_clear, Duration::from_secs(1)).await.unwrap();
///
/// let options = ConsumerOptions::new(Start::Beginning).stop_at_end(true);
/// let mut consumer = Consumer::new(Arc::new(broker.transport()), "lab.sensor", keys, values, options);
/// let record = consumer.next().await.unwrap().unwrap();
/// assert_eq!((record.offset, record.value.state()), (0, State::Foreign));
/// assert!(consumer.next().await.is_none());
/// # });
/// ```
pub struct Consumer {
    items: Receiver<Vec<Item>>,
    ready: VecDeque<Item>,
    task: Option<JoinHandle<()>>,
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Message,
    /// Its value.
    pub value: Message,
    /// Its headers. They were never encrypted.
    pub headers: Headers,
}

impl Consumer {
    /// A consumer with a node's transport, deserializers and waits.
    #[must_use]
    pub fn of(node: &Node, topic: impl Into<Arc<str>>, options: ConsumerOptions) -> Self {
        let options = options.or_as(node.settings());
        Self::new(node.transport(), topic, node.key_deserializer(), node.value_deserializer(), options)
    }

    /// A consumer of a topic over a transport, with a node's deserializers for keys and for values. It starts to read
    /// at once. Outside of a tokio runtime it ends at once.
    #[must_use]
    pub fn new(
        transport: Arc<dyn Transport>,
        topic: impl Into<Arc<str>>,
        keys: Deserializer,
        values: Deserializer,
        options: ConsumerOptions,
    ) -> Self {
        let (out, items) = channel(READ_AHEAD);
        let options = options.over(transport.preferences());
        let reader = Reader::new(transport, topic.into(), keys, values, options, out);
        Self {
            items,
            ready: VecDeque::new(),
            task: Handle::try_current().ok().map(|runtime| runtime.spawn(reader.run())),
        }
    }

    /// The next record, or what is in its place; `None` at the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<ConsumerRecord, ReadError>> {
        poll_fn(|context| self.poll_item(context)).await
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        while self.ready.is_empty() {
            match self.items.poll_recv(context) {
                Poll::Ready(Some(items)) => self.ready.extend(items),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(self.ready.pop_front())
    }
}

impl Stream for Consumer {
    type Item = Result<ConsumerRecord, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(context)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

/// How often records that are decrypted can be handed on before they are read.
const READ_AHEAD: usize = 2;
