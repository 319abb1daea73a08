//! Configs as the Python implementation reads them: every row of `config.jsonl` in `KAFKACRYPTO_VECTORS` (default: the
//! copy in `tests/vectors`; `generate_config.py` makes it).

mod support;

use std::collections::BTreeMap;

use kafkacrypto::store::config::{Config, ConfigError, Entry, KafkaUse, NodeConfig};
use kafkacrypto::store::value::Value;
use serde_json::Value as Json;

#[test]
fn vectors_config() {
    let Some(text) = vectors() else { return };
    let rows = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Json>>();
    let wrong = rows.iter().flat_map(check).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{} in {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(!rows.is_empty());
    println!("{} configs", rows.len());
}

fn vectors() -> Option<String> {
    let path = support::vectors().join("config.jsonl");
    if std::env::var_os("KAFKACRYPTO_VECTORS").is_some() && !path.exists() {
        support::skipped(&format!("{} is missing", path.display()));
        return None;
    }
    Some(std::fs::read_to_string(path).unwrap())
}

/// What is wrong in a row: empty when we agree, or differ on purpose.
fn check(row: &Json) -> Vec<String> {
    let text = row["text"].as_str().unwrap();
    let mut wrong = Vec::new();
    if let Ok(config) = Config::parse(text) {
        report(&mut wrong, config.render() == text, "not rendered as it was");
    }
    let opened = NodeConfig::parse(text).and_then(|config| match row["node"].as_str() {
        Some(node) => config.expect_node(node).map(|()| config),
        None => Ok(config),
    });
    match opened {
        Ok(config) if row["open"] == true => compare(&config, row, &mut wrong),
        opened => report(&mut wrong, opened.is_ok() == row["open"], &format!("opened: {opened:?}")),
    }
    let name = row["name"].as_str().unwrap();
    wrong.into_iter().map(|what| format!("{name}: {what} in {text:?}")).collect()
}

fn compare(config: &NodeConfig, row: &Json, wrong: &mut Vec<String>) {
    report(wrong, row["node_id"] == config.node_id(), "node ID");
    for value in list(&row["values"]) {
        let (section, name) = (value[0].as_str().unwrap(), value[1].as_str().unwrap());
        let ours = config.get(section, name);
        report(wrong, same(&ours, &value[2]), &format!("[{section}] {name}: {ours:?}"));
    }
    for section in list(&row["sections"]) {
        let entries = config.entries(section[0].as_str().unwrap());
        report(
            wrong,
            broken(config, &section[1]) || same_entries(&entries, &section[1]),
            &format!("{}: {entries:?}", section[0]),
        );
    }
    for kafka in list(&row["kafka"]) {
        let usage = if kafka[0] == "consumer" { KafkaUse::Consumer } else { KafkaUse::Producer };
        let crypto = kafka[1] == true;
        let ours = config.kafka(usage, crypto);
        report(
            wrong,
            broken(config, &kafka[2]) || same_kafka(&ours, &kafka[2]),
            &format!("{usage:?} {crypto}: {ours:?}"),
        );
    }
}

/// DIFFERENCE: an entry in DEFAULT that can't be read fails every section and use in Python, and only itself here.
fn broken(config: &NodeConfig, python: &Json) -> bool {
    python["error"].is_string() && config.config().entries("DEFAULT").iter().any(|entry| entry.value.is_err())
}

fn same(ours: &Result<Option<Value>, ConfigError>, python: &Json) -> bool {
    match ours {
        // DIFFERENCE: what can't be decoded is an error here; Python reads it as None
        Err(ConfigError::BadValue { .. }) => python["none"] == true,
        Err(_) => python["error"].is_string(),
        Ok(None) => python["missing"] == true,
        Ok(Some(value)) => same_value(value, python),
    }
}

fn same_value(ours: &Value, python: &Json) -> bool {
    let text = |kind: &str| python[kind].as_str();
    match ours {
        Value::Int(value) => text("int") == Some(&value.to_string()),
        Value::Float(value) => text("float").is_some_and(|text| same_float(*value, text.parse().unwrap())),
        Value::Bool(value) => python["bool"] == *value,
        Value::Bytes(value) => text("bytes") == Some(&hex::encode(value)),
        Value::Text(value) => text("text") == Some(value) || text("int").is_some_and(|int| beyond_us(value, int)),
    }
}

fn same_float(ours: f64, python: f64) -> bool {
    ours.to_bits() == python.to_bits() || ours.is_nan() && python.is_nan()
}

/// DIFFERENCE: integers beyond 64 bits and digits that aren't ASCII are text here.
fn beyond_us(ours: &str, python: &str) -> bool {
    python.parse::<i64>().is_err() && ours.replace('_', "") == python || !ours.is_ascii()
}

fn same_entries(ours: &[Entry], python: &Json) -> bool {
    let Some(python) = python.as_array() else {
        // DIFFERENCE: one broken entry hides the whole section in Python, and only itself here
        return ours.iter().any(|entry| entry.value.is_err());
    };
    let ours = in_lower_case(ours);
    let same = |((name, value), python): (&(String, Result<Option<Value>, ConfigError>), &Json)| {
        same_name(name, &python[0]) && same(value, &python[1])
    };
    ours.len() == python.len() && ours.iter().zip(python).all(same)
}

/// Python shows names in lower case, so that of two that differ in case it shows one; here both are shown as they are.
fn in_lower_case(entries: &[Entry]) -> Vec<(String, Result<Option<Value>, ConfigError>)> {
    let mut lower: Vec<(String, _)> = Vec::new();
    for entry in entries {
        let name = if entry.name.starts_with("base64#") { entry.name.clone() } else { entry.name.to_lowercase() };
        let value = entry.value.clone().map(Some);
        match lower.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => lower.push((name, value)),
        }
    }
    lower
}

fn same_name(ours: &str, python: &Json) -> bool {
    let decoded = Value::parse(ours);
    python["text"] == ours || decoded.map_or(python["none"] == true, |value| same_value(&value, python))
}

fn same_kafka(ours: &Result<BTreeMap<String, String>, ConfigError>, python: &Json) -> bool {
    let (Ok(ours), Some(python)) = (ours, python.as_array()) else {
        return ours.is_err() || python["error"] == "TypeError"; // Python can't take bytes for a name here
    };
    // DIFFERENCE: blank values don't show, and a blank `group_id` means the default. Names that are bytes mean nothing.
    let python = python.iter().filter(|setting| setting[0]["text"].is_string());
    let (blank, kept): (Vec<_>, Vec<_>) =
        python.partition(|setting| setting[1]["text"] == "" || setting[1]["bytes"] == "");
    let group = usize::from(blank.iter().any(|setting| setting[0]["text"] == "group_id"));
    let count = ours.keys().filter(|name| !name.starts_with("base64#")).count();
    kept.len() + group == count && kept.iter().all(|setting| same_setting(ours, setting))
}

fn same_setting(ours: &BTreeMap<String, String>, python: &Json) -> bool {
    let Some(ours) = python[0]["text"].as_str().and_then(|name| ours.get(name)) else { return false };
    let python = &python[1];
    let utf8 = python["bytes"].as_str().map(|bytes| hex::decode(bytes).unwrap());
    utf8.is_some_and(|bytes| bytes == ours.as_bytes()) || Value::parse(ours).is_ok_and(|ours| same_value(&ours, python))
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn report(wrong: &mut Vec<String>, good: bool, what: &str) {
    if !good {
        wrong.push(what.to_owned());
    }
}
