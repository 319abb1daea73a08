//! One config under both implementations: what we write Python reads, what Python writes we read, and neither takes the
//! other's comments, chains or secrets away.

mod support;

use std::path::Path;
use std::process::Command;

use kafkacrypto::store::config::NodeConfig;
use kafkacrypto::store::value::Value;
use serde_json::{Value as Json, json};

#[test]
fn a_config_goes_to_python_and_back() {
    let folder = support::folder();
    let path = folder.path().join("n.config");
    let mut config = NodeConfig::new("n").unwrap();
    for (name, value) in values() {
        config.set("app", name, value).unwrap();
    }
    config.set_bytes("allowlist", b"\x00key", &b"\xffentry"[..]).unwrap();
    config.set("kafka", "bootstrap_servers", "a:1,b:2").unwrap();
    std::fs::write(&path, config.render()).unwrap();
    let Some(read) = python(&path, READ) else { return };
    assert_eq!(read["app"], json!(values().map(|(_, value)| shown(&value)).to_vec()));
    assert_eq!(read["allowlist"], json!([["006b6579", "ff656e747279"]]));
    assert_eq!(read["kafka"], json!(["a:1,b:2", "n.kafkacrypto"]));

    let back = NodeConfig::from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    for (name, value) in values() {
        assert_eq!(back.get("app", name).unwrap(), Some(value), "{name}");
    }
    assert_eq!(back.get("app", "added").unwrap(), Some(Value::from(&b"\x01by python"[..])));
    assert_eq!(back.entries("allowlist"), config.entries("allowlist"));
    assert_eq!(back.settings().unwrap(), config.settings().unwrap());
}

#[test]
fn changes_of_ours_keep_what_python_wrote() {
    let folder = support::folder();
    let path = folder.path().join("n.config");
    let Some(_) = python(&path, "store.store_value('x', b'\\x01', section='chains')\nout = 0") else { return };
    let before = std::fs::read_to_string(&path).unwrap();
    let mut config = NodeConfig::parse(&before).unwrap();
    config.set("crypto", "oldkeys", &b"wrapped"[..]).unwrap();
    config.set("chains", "x", &b"\x02"[..]).unwrap();
    let after = before.replace("[n-crypto]\n", "[n-crypto]\noldkeys : base64#d3JhcHBlZA==\n").replace("AQ==", "Ag==");
    assert_eq!(config.render(), after);
    std::fs::write(&path, after).unwrap();
    let read = python(
        &path,
        "out = [shown(store.load_value(n, section=s)) for s, n in (('crypto', 'oldkeys'), ('chains', 'x'))]",
    );
    assert_eq!(read.unwrap(), json!([hex::encode("wrapped"), "02"]));
}

fn values() -> [(&'static str, Value); 9] {
    [
        ("int", Value::Int(-7)),
        ("float", Value::Float(1e22)),
        ("small", Value::Float(1e-7)),
        ("yes", Value::Bool(true)),
        ("bytes", Value::from(&b"\x00\xff"[..])),
        ("text", Value::from("50% a : b = c ; d # é")),
        ("lines", Value::from("1\n\n[x]\ny : 2")),
        ("empty", Value::from("")),
        ("reference", Value::from("%(node_id)s")),
    ]
}

fn shown(value: &Value) -> Json {
    match value {
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Bool(value) => json!(value),
        Value::Bytes(value) => json!(hex::encode(value)),
        Value::Text(value) => json!(value),
    }
}

/// Opens the config with the Python implementation, runs `script` on `store` and returns what it leaves in `out`.
fn python(path: &Path, script: &str) -> Option<Json> {
    support::python()?;
    let script = format!("{OPEN}\n{script}\nstore.close()\nprint(json.dumps(out))");
    let mut command = Command::new(std::env::var_os("KAFKACRYPTO_PEER_PYTHON")?);
    let done = command.args(["-c", &script]).arg(path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

const OPEN: &str = "
import json, logging, sys, warnings
sys.tracebacklimit = 0
warnings.simplefilter('ignore')
from kafkacrypto import KafkaCryptoStore
logging.disable(logging.CRITICAL)
store = KafkaCryptoStore(sys.argv[1], 'n', conf_global_logger=False)
shown = lambda value: value.hex() if isinstance(value, bytes) else value
";

const READ: &str = "
names = ['int', 'float', 'small', 'yes', 'bytes', 'text', 'lines', 'empty', 'reference']
kafka = store.get_kafka_config('consumer', extra='crypto')
out = {'app': [shown(store.load_value(name, section='app')) for name in names],
       'allowlist': [[shown(name), shown(value)] for name, value in store.load_section('allowlist', defaults=False).items()],
       'kafka': [kafka['bootstrap_servers'], kafka['group_id']]}
store.store_value('added', b'\\x01by python', section='app')
";
