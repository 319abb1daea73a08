//! A record as a JSON object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kafkacrypto::client::ConsumerRecord;
use kafkacrypto::keyring::Origin;
use kafkacrypto::keys::KeyIndex;
use kafkacrypto::message::Message;
use serde_json::{Map, Value, json};

/// All that is known of a record.
pub(super) fn object(record: &ConsumerRecord) -> Value {
    let ConsumerRecord { topic, partition, offset, timestamp_ms, key, value, headers } = record;
    let mut object = Map::new();
    object.insert("topic".into(), json!(**topic));
    object.insert("partition".into(), json!(partition));
    object.insert("offset".into(), json!(offset));
    object.insert("timestamp".into(), json!(timestamp_ms));
    if !headers.is_empty() {
        let one = |(name, value): &(String, Option<Vec<u8>>)| {
            json!([name, value.as_ref().map(|value| String::from_utf8_lossy(value))])
        };
        object.insert("headers".into(), headers.iter().map(one).collect());
    }
    add(&mut object, "key", key);
    add(&mut object, "value", value);
    Value::Object(object)
}

/// `NAME` is the cleartext only; whatever isn't text stands in `NAME_base64`, what wasn't decrypted in `NAME_raw_base64`.
fn add(object: &mut Map<String, Value>, name: &str, message: &Message) {
    let mut put = |suffix: &str, value: Value| object.insert(format!("{name}{suffix}"), value);
    match message.cleartext() {
        Ok(None) => drop(put("", Value::Null)),
        Ok(Some(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => drop(put("", json!(text))),
            Err(_) => {
                put("", Value::Null);
                put("_base64", json!(STANDARD.encode(bytes)));
            }
        },
        Err(why) => {
            put("", Value::Null);
            put("_raw_base64", json!(STANDARD.encode(message.bytes())));
            put("_reason", json!(why.to_string()));
        }
    }
    put("_state", json!(message.state().to_string()));
    if let Some(index) = message.key_index() {
        put("_key_index", key_index(index));
    }
    if let Some(scheme) = message.origin().and_then(Origin::scheme) {
        put("_exchange", json!(scheme.to_string()));
    }
}

fn key_index(index: &KeyIndex) -> Value {
    match index {
        KeyIndex::Long(bytes) => json!(hex::encode(bytes)),
        KeyIndex::Short(number) => json!(number),
    }
}
