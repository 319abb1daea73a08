//! What the tests of the client share: a node's part, by hand.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::keyring::{Keyring, Learned, Prepare, PrepareError, ProducerSecret, Timer};
use crate::keys::{KeyIndex, Purpose};
use crate::secret::Secret;
use crate::serdes::{Deserializer, Serializer};
use crate::topic::Root;

/// One who can encrypt under the root `lab` right away.
pub(super) fn writer(index: u64) -> Arc<Keyring> {
    let keyring = Arc::new(Keyring::new());
    let producer = ProducerSecret::new(root(), KeyIndex::Short(index), secret(index), &mut rng());
    assert_eq!(keyring.install_producer(producer), Learned::New);
    keyring
}

/// One who knows nothing yet, and can wait.
pub(super) fn reader() -> Arc<Keyring> {
    let keyring = Arc::new(Keyring::new());
    keyring.set_timer(Arc::new(TokioTimer));
    keyring
}

pub(super) fn root() -> Root {
    Root::new("lab")
}

pub(super) fn secret(index: u64) -> Secret<32> {
    Secret::filled(|bytes| bytes.fill(u8::try_from(index).unwrap()))
}

pub(super) fn serializers(keyring: &Arc<Keyring>) -> (Serializer, Serializer) {
    let serializer = |purpose| Serializer::new(keyring.clone(), Arc::default(), Arc::new(Ready), purpose);
    (serializer(Purpose::Key), serializer(Purpose::Value))
}

pub(super) fn deserializers(keyring: &Arc<Keyring>) -> (Deserializer, Deserializer) {
    let deserializer = |purpose| Deserializer::new(keyring.clone(), Arc::default(), purpose);
    (deserializer(Purpose::Key), deserializer(Purpose::Value))
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends") })
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

struct Ready;

impl Prepare for Ready {
    fn prepare(&self, _: &[Root]) -> Result<(), PrepareError> {
        Ok(())
    }
}

struct TokioTimer;

impl Timer for TokioTimer {
    fn wake_after(&self, delay: Duration, waker: Waker) {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            waker.wake();
        });
    }
}
