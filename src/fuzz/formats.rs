//! Decoders that take the input as it is.

use std::sync::Arc;

use super::program::Program;
use crate::keyring::{Keyring, Origin};
use crate::keys::{KeyIndex, Purpose, RatchetState, SaltCounter, message_key};
use crate::message::frame::Frame;
use crate::message::{State, seal};
use crate::primitives::sha256;
use crate::secret::Secret;
use crate::serdes::Deserializer;
use crate::store::config::{Config, Entry, KafkaUse, NodeConfig};
use crate::store::value::Value;
use crate::store::{KeyFile, OldKeys};
use crate::topic::Root;
use crate::wire::{Item, Reader, WireError, Writer, read_all};

/// MessagePack: what is read is written, in one form, and read again as the same.
pub fn wire(data: &[u8]) {
    let mut reader = Reader::new(data, "fuzz");
    while reader.end().is_err() {
        let Ok(raw) = reader.raw() else { return };
        let tree = read_all(raw, "fuzz", Tree::read).expect("both ways of reading end at the same place");
        assert!(tree.nodes() <= raw.len(), "more values than bytes");
        let written = tree.written();
        let again = read_all(&written, "fuzz", Tree::read).expect("what is written can be read");
        assert_eq!(again, tree);
        assert!(written.len() <= raw.len(), "the shortest form is longer");
    }
    if let Ok(list) = KeyIndex::decode_list(data, 100) {
        assert!(list.len() <= 100);
        assert_eq!(KeyIndex::decode_list(&KeyIndex::encode_list(list.iter()), 100).as_ref(), Ok(&list));
    }
}

/// A value with all that is in it.
#[derive(Debug, PartialEq)]
enum Tree {
    Nil,
    Bool(bool),
    UInt(u64),
    Int(i64),
    Float(u64),
    Bytes(Vec<u8>),
    Ext(Vec<u8>),
    Array(Vec<Self>),
    Map(Vec<Self>),
}

impl Tree {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let many = |reader: &mut Reader<'_>, n: u32| (0..n).map(|_| Self::read(reader)).collect::<Result<_, _>>();
        Ok(match reader.item()? {
            Item::Nil => Self::Nil,
            Item::Bool(value) => Self::Bool(value),
            Item::UInt(n) => Self::UInt(n),
            Item::Int(n) => Self::Int(n),
            Item::Float(value) => Self::Float(value.to_bits()),
            Item::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Item::Ext(bytes) => Self::Ext(bytes.to_vec()),
            Item::Array(n) => Self::Array(many(reader, n)?),
            Item::Map(n) => Self::Map(many(reader, 2 * n)?),
        })
    }

    fn nodes(&self) -> usize {
        match self {
            Self::Array(inner) | Self::Map(inner) => 1 + inner.iter().map(Self::nodes).sum::<usize>(),
            _ => 1,
        }
    }

    fn written(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Our writers make `bin` of bytes, which is up to one byte longer than `str`, and float64 of float32: neither is
    /// counted, so both are written as they are shortest.
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Nil => out.raw(&[0xc0]),
            Self::Bool(value) => out.bool(*value),
            Self::UInt(n) => out.uint(*n),
            Self::Int(n) => out.int(*n),
            Self::Float(bits) => Self::write_float(f64::from_bits(*bits), out),
            Self::Bytes(bytes) => out.str_bytes(bytes),
            Self::Ext(bytes) => Self::write_ext(bytes, out),
            Self::Array(inner) => inner.iter().fold(out.array(inner.len() as u32), |out, value| {
                value.write(out);
                out
            }),
            Self::Map(inner) => inner.iter().fold(out.map(inner.len() as u32 / 2), |out, value| {
                value.write(out);
                out
            }),
        };
    }

    fn write_float(value: f64, out: &mut Writer) -> &mut Writer {
        let single = value as f32;
        if f64::from(single).to_bits() == value.to_bits() {
            return out.raw(&[&[0xca], &single.to_be_bytes()[..]].concat());
        }
        out.float(value)
    }

    fn write_ext<'w>(bytes: &[u8], out: &'w mut Writer) -> &'w mut Writer {
        let length = bytes.len() as u32;
        let [.., high, low] = length.to_be_bytes();
        match length {
            1 | 2 | 4 | 8 | 16 => out.raw(&[0xd4 + length.trailing_zeros() as u8, 0]),
            0..=0xff => out.raw(&[0xc7, low, 0]),
            0x100..=0xffff => out.raw(&[0xc8, high, low, 0]),
            _ => out.raw(&[0xc9]).raw(&length.to_be_bytes()).raw(&[0]),
        };
        out.raw(bytes)
    }
}

/// Encrypted messages: frames survive, and nothing is cleartext but what was sealed.
pub fn message(data: &[u8]) {
    let topic = "lab.data";
    // a secret that depends on every byte: whoever finds one input that opens can't have worked towards it
    let secret = || Secret::filled(|place| *place = sha256::hash(&[data]));
    let keyring = Arc::new(Keyring::new());
    let index = match Frame::decode(data) {
        Ok(frame) => {
            let mut out = Writer::after(vec![1]);
            out.array(3);
            frame.index.encode(&mut out);
            out.bin(&frame.salt).bin(frame.sealed);
            assert_eq!(Frame::decode(&out.finish()).as_ref(), Ok(&frame), "frames survive");
            frame.index
        }
        Err(_) => KeyIndex::Short(data.len() as u64),
    };
    let _ = keyring.learn(&Root::new("lab"), &index, secret(), Origin::Own);
    let values = Deserializer::new(keyring, Arc::default(), Purpose::Value);
    let read = values.deserialize(topic, Some(data));
    assert!(!read.is_cleartext(), "nobody has sealed this");
    assert_eq!(read.state() == State::Null, data.is_empty());
    assert_eq!(read.bytes(), data);
    let _ = (read.cleartext().err().map(|why| why.to_string()), format!("{read:?}"));

    let salt = SaltCounter::new(&mut super::program::Dice(data.len() as u64)).take();
    let sealed = seal(&index, &salt, &message_key(&secret(), Purpose::Value, &salt), data).expect("not 4 GiB");
    let opened = values.deserialize(topic, Some(&sealed));
    assert_eq!(opened.cleartext().ok().flatten().unwrap_or_default(), data);
    assert!(opened.is_cleartext());
    let keys = Deserializer::new(Arc::new(Keyring::new()), Arc::default(), Purpose::Key);
    assert_eq!(keys.deserialize(topic, Some(&sealed)).state(), State::Pending);
    let mut forged = sealed;
    let at = data.iter().fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into())) % forged.len();
    forged.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8));
    assert!(!values.deserialize(topic, Some(&forged)).is_cleartext(), "changed at {at}");
}

/// Configs: rendered as they were read; whatever can be set is read back, and nothing else changes.
pub fn config(data: &[u8]) {
    let mut program = Program::new(data);
    let (section, name, value) = (text(program.bytes()), text(program.bytes()), program.bytes());
    let Ok(config) = Config::from_bytes(program.rest()) else { return };
    assert_eq!(config.render().as_bytes(), program.rest());
    let before: Vec<_> = config.sections().map(|section| (section.to_owned(), config.entries(section))).collect();
    for value in [Value::Bytes(value.to_vec()), Value::Text(text(value))] {
        check_set(&config, &before, &section, &name, &value);
    }
    if let Ok(node) = NodeConfig::from_config(config) {
        check_node(node);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check_set(config: &Config, before: &[(String, Vec<Entry>)], section: &str, name: &str, value: &Value) {
    let mut changed = config.clone();
    if changed.set(section, name, value.clone()).is_err() {
        return assert_eq!(changed.render(), config.render(), "what fails changes nothing");
    }
    let again = Config::parse(&changed.render()).expect("what is set can be read");
    assert_eq!(again.render(), changed.render());
    let expected = Value::parse(&value.render()).expect("a value that was rendered");
    let found = again.get(section, name).expect("readable").expect("there");
    assert!(same(&found, &expected), "{found:?} instead of {expected:?}");
    for (other, entries) in before {
        let now = again.entries(other);
        for old in entries.iter().filter(|old| other != section || old.name != name) {
            let kept = now.iter().find(|entry| entry.name == old.name).expect("other entries stay");
            // a value may refer to the one that was set
            assert!(
                kept.value.is_err() || old.value.is_err() || config.render().contains("%(") || same_entry(kept, old)
            );
        }
    }
    assert!(again.clone().remove(section, name), "what is there can be removed");
}

fn same_entry(one: &Entry, other: &Entry) -> bool {
    matches!((&one.value, &other.value), (Ok(one), Ok(other)) if same(one, other))
}

/// Not a number is itself here.
fn same(one: &Value, other: &Value) -> bool {
    one == other || one.render() == other.render()
}

fn check_node(mut node: NodeConfig) {
    let _ = (node.settings(), node.kafka(KafkaUse::Consumer, true), node.kafka(KafkaUse::Producer, false));
    if node.migrate().is_ok() {
        assert_eq!(node.migrate().map(|moved| moved.len()), Ok(0), "nothing is moved twice");
    }
    let again = NodeConfig::parse(&node.render()).expect("what was moved can be read");
    assert_eq!(again.node_id(), node.node_id());
    assert_eq!(again.render(), node.render());
}

/// Key files: what is read is written in the newest form, and nothing is lost.
pub fn key_file(data: &[u8]) {
    let Ok(read) = KeyFile::decode(data) else { return };
    let written = read.encode();
    let again = KeyFile::decode(&written).expect("what is written can be read");
    assert_eq!(again.encode(), written);
    assert!(!again.needs_upgrade());
    assert_eq!(again.node_bytes(None), read.node_bytes(None));
    assert_eq!(again.warnings(), read.warnings());
    assert_eq!((again.legacy(), again.versions()), (read.legacy(), read.versions()));
    assert!(again.ek().same_as(read.ek()));
    let public =
        |file: &KeyFile| file.signing_keys(None).map(|(at, key)| (at, key.public().clone())).collect::<Vec<_>>();
    assert_eq!(public(&again), public(&read));
    for (_, key) in read.signing_keys(None) {
        assert_eq!(key.public().open(&key.sign(b"text")), Ok(&b"text"[..]));
    }
}

/// Seed files: one form, and a step that never stands still.
pub fn seed_file(data: &[u8]) {
    let Ok(read) = RatchetState::decode(data) else { return };
    let written = read.encode();
    let again = RatchetState::decode(&written).expect("what is written can be read");
    assert_eq!((again.encode(), again.index()), (written, read.index()));
    let (next, root) = (read.next(), Root::new("lab"));
    assert_eq!(next.index(), read.index().wrapping_add(1));
    assert!(!next.root_secret(&root).same_as(&read.root_secret(&root)));
    assert!(again.root_secret(&root).same_as(&read.root_secret(&root)));
}

/// The opened `oldkeys` of a config: a bad entry drops no other.
pub fn old_keys(data: &[u8]) {
    let Ok((read, skipped)) = OldKeys::decode(data) else { return };
    assert!(read.entries.len() + skipped <= data.len());
    let written = read.encode();
    let (again, none) = OldKeys::decode(&written).expect("what is written can be read");
    assert_eq!((none, again.entries.len()), (0, read.entries.len()));
    assert_eq!(again.encode(), written);
    for (one, other) in again.entries.iter().zip(&read.entries) {
        assert_eq!((&one.root, &one.index, one.birth), (&other.root, &other.index, other.birth));
        assert!(one.secret.same_as(&other.secret));
    }
}
