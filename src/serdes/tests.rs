use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::keyring::{Keyring, Prepare, PrepareError, ProducerSecret};
use crate::keys::{KeyIndex, Purpose};
use crate::message::State;
use crate::secret::Secret;
use crate::topic::Root;

/// Installs what is asked for, as the runtime does; counts calls and roots.
struct Installer {
    keyring: Arc<Keyring>,
    calls: AtomicUsize,
    fails: bool,
}

impl Prepare for Installer {
    fn prepare(&self, roots: &[Root]) -> Result<(), PrepareError> {
        let step = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(root) = roots.first().filter(|_| self.fails) {
            return Err(PrepareError::Failed { root: root.clone(), reason: "disk full".into() });
        }
        let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        for root in roots {
            let index = KeyIndex::of_node(root.as_str().as_bytes(), step as u64);
            let secret = Secret::random(&mut rng);
            let _ = self.keyring.install_producer(ProducerSecret::new(root.clone(), index, secret, &mut rng));
        }
        Ok(())
    }
}

struct Fleet {
    installer: Arc<Installer>,
    keyring: Arc<Keyring>,
}

impl Fleet {
    fn new(fails: bool) -> Self {
        let keyring = Arc::new(Keyring::new());
        let installer = Installer { keyring: keyring.clone(), calls: AtomicUsize::new(0), fails };
        Self { installer: Arc::new(installer), keyring }
    }

    fn serializer(&self, purpose: Purpose) -> Serializer {
        Serializer::new(self.keyring.clone(), Arc::default(), self.installer.clone(), purpose)
    }

    fn deserializer(&self, purpose: Purpose) -> Deserializer {
        Deserializer::new(self.keyring.clone(), Arc::default(), purpose)
    }

    fn calls(&self) -> usize {
        self.installer.calls.load(Ordering::SeqCst)
    }
}

#[test]
fn a_secret_is_prepared_once_for_each_root_and_ratchet_step() {
    let fleet = Fleet::new(false);
    let values = fleet.serializer(Purpose::Value);
    for topic in ["lab.a", "lab.b", "lab", "plant.a", "lab.a"] {
        assert!(values.serialize(topic, Some(b"text")).is_ok());
    }
    assert_eq!(fleet.calls(), 2);
    assert_eq!(fleet.keyring.drain_uses(), [Root::new("lab"), Root::new("plant")]);
    fleet.keyring.retire_producers();
    assert!(values.prepare(&["lab.x", "plant.x", "lab.y", "third"]).is_ok());
    assert!(values.serialize("lab.a", Some(b"text")).is_ok());
    assert_eq!(fleet.calls(), 3, "one call for all roots");
}

#[test]
fn what_is_not_durable_does_not_encrypt() {
    let fleet = Fleet::new(true);
    let error = fleet.serializer(Purpose::Value).serialize("lab", Some(b"text")).unwrap_err();
    assert!(error.to_string().contains("disk full"), "{error}");
    assert_eq!(fleet.serializer(Purpose::Value).serialize("lab", None), Ok(None));
    assert_eq!(fleet.keyring.counters().encrypted, 0);
}

#[test]
fn messages_are_forwarded_or_encrypted_afresh() {
    let (fleet, stranger) = (Fleet::new(false), Fleet::new(false));
    let values = fleet.serializer(Purpose::Value);
    let sealed = values.serialize("lab", Some(b"text")).unwrap().unwrap();
    let readable = fleet.deserializer(Purpose::Value).deserialize("lab", Some(&sealed));
    let afresh = values.serialize_message("lab", &readable).unwrap().unwrap();
    assert_ne!(afresh, sealed);
    let again = fleet.deserializer(Purpose::Value).deserialize("lab", Some(&afresh));
    assert_eq!(again.cleartext(), Ok(Some(&b"text"[..])));

    let deserializer = stranger.deserializer(Purpose::Value);
    let pending = deserializer.deserialize("lab", Some(&sealed));
    assert_eq!(values.serialize_message("lab", &pending), Ok(Some(sealed)));
    assert_eq!(values.serialize_message("lab", &deserializer.deserialize("lab", None)), Ok(None));
    let foreign = deserializer.deserialize("lab", Some(b"plain"));
    assert_eq!(values.serialize_message("lab", &foreign), Err(SerializeError::Foreign));
}

#[test]
fn nothing_repeats_from_many_threads() {
    let fleet = Fleet::new(false);
    let seen = Mutex::new(HashSet::new());
    std::thread::scope(|scope| {
        for purpose in [Purpose::Key, Purpose::Value, Purpose::Key, Purpose::Value] {
            let (serializer, seen) = (fleet.serializer(purpose), &seen);
            scope.spawn(move || {
                for _ in 0..200 {
                    let sealed = serializer.serialize("lab", Some(b"the same text")).unwrap().unwrap();
                    assert!(seen.lock().unwrap().insert(sealed), "a key and nonce were used twice");
                }
            });
        }
    });
    assert_eq!(fleet.keyring.counters().encrypted, 800);
}

/// Decimal numbers as text.
#[derive(Debug)]
struct Decimal;

impl Codec<u32> for Decimal {
    type Error = std::num::ParseIntError;

    fn encode(&self, value: &u32) -> Result<Vec<u8>, Self::Error> {
        Ok(value.to_string().into_bytes())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, Self::Error> {
        String::from_utf8_lossy(bytes).parse()
    }
}

#[test]
fn codecs_stack_on_the_encryption() {
    let fleet = Fleet::new(false);
    let numbers = TypedSerializer::new(Decimal, fleet.serializer(Purpose::Value));
    let reader = TypedDeserializer::new(fleet.deserializer(Purpose::Value), Decimal);
    let sealed = numbers.serialize("lab", Some(&42)).unwrap();
    assert_eq!(reader.deserialize("lab", sealed.as_deref()).value::<u32>(), Ok(Some(42)));
    assert_eq!(reader.deserialize("lab", None).value::<u32>(), Ok(None));
    let text = fleet.serializer(Purpose::Value).serialize("lab", Some(b"no number")).unwrap();
    assert!(matches!(reader.deserialize("lab", text.as_deref()).value::<u32>(), Err(TypedError::Codec(_))));
    let mut plain = reader.deserialize("lab", Some(b"42"));
    assert!(matches!(plain.value::<u32>(), Err(TypedError::NotCleartext(_))), "plaintext is never taken for cleartext");
    assert_eq!(plain.message_mut().retry(), State::Foreign);
}

proptest! {
    #[test]
    fn what_is_encrypted_is_read(text: Vec<u8>, key: bool) {
        let fleet = Fleet::new(false);
        let purpose = if key { Purpose::Key } else { Purpose::Value };
        let sealed = fleet.serializer(purpose).serialize("lab.topic", Some(&text)).unwrap().unwrap();
        let message = fleet.deserializer(purpose).deserialize("lab.other", Some(&sealed));
        prop_assert_eq!(message.cleartext(), Ok(Some(&text[..])));
    }

    #[test]
    fn no_bytes_are_called_cleartext_unless_they_were_encrypted(bytes: Vec<u8>, flip in 0_usize..600) {
        let fleet = Fleet::new(false);
        let deserializer = fleet.deserializer(Purpose::Value);
        prop_assert!(!deserializer.deserialize("lab", Some(&bytes)).is_cleartext());
        let mut sealed = fleet.serializer(Purpose::Value).serialize("lab", Some(b"text")).unwrap().unwrap();
        let bit = flip % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!deserializer.deserialize("lab", Some(&sealed)).is_cleartext());
    }
}
