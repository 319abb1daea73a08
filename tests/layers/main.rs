//! Holds `src` to the layer table of `src/lib.rs`: who may import whom, where the world may be named, and how long a
//! function and a file may be. Code that only tests or the fuzzer compile is exempt.

mod source;

use std::collections::BTreeMap;
use std::path::Path;

use source::{Named, Source};

/// Who may import whom. A module that isn't listed fails. The tool uses the public API, which the compiler sees to.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // 0 leaves
    ("secret", &[]),
    ("time", &[]),
    ("topic", &[]),
    ("wire", &[]),
    ("kafka", &[]),
    // 1 algorithms
    ("primitives", &["secret"]),
    // 2 keys
    ("keys", &["secret", "topic", "wire", "primitives"]),
    // 3 trust
    ("chain", &["secret", "time", "topic", "wire", "keys"]),
    // 4 protocol, pure
    ("exchange", &["secret", "time", "topic", "wire", "primitives", "keys", "chain"]),
    ("keyring", &["secret", "time", "topic", "wire", "primitives", "keys"]),
    ("message", &["secret", "time", "topic", "wire", "primitives", "keys", "keyring"]),
    ("serdes", &["secret", "time", "topic", "wire", "primitives", "keys", "keyring", "message"]),
    ("store", &["secret", "time", "topic", "wire", "primitives", "keys"]),
    // 5 engines
    ("engine", PROTOCOL),
    ("provision", PROTOCOL),
    // 6 the world
    ("transport", &["time", "kafka"]),
    ("files", &["time"]),
    ("error", BELOW_ERROR),
    ("runtime", BELOW_RUNTIME),
    ("client", BELOW_CLIENT),
];
const PROTOCOL: &[&str] = &[
    "secret",
    "time",
    "topic",
    "wire",
    "primitives",
    "keys",
    "chain",
    "exchange",
    "keyring",
    "message",
    "serdes",
    "store",
];
const BELOW_ERROR: &[&str] = &[
    "secret",
    "time",
    "topic",
    "wire",
    "primitives",
    "keys",
    "chain",
    "exchange",
    "keyring",
    "message",
    "serdes",
    "store",
    "engine",
    "provision",
    "kafka",
    "transport",
    "files",
];
const BELOW_RUNTIME: &[&str] = &[
    "secret",
    "time",
    "topic",
    "wire",
    "primitives",
    "keys",
    "chain",
    "exchange",
    "keyring",
    "message",
    "serdes",
    "store",
    "engine",
    "provision",
    "kafka",
    "transport",
    "files",
    "error",
];
const BELOW_CLIENT: &[&str] = &[
    "secret",
    "time",
    "topic",
    "wire",
    "primitives",
    "keys",
    "chain",
    "exchange",
    "keyring",
    "message",
    "serdes",
    "store",
    "engine",
    "provision",
    "kafka",
    "transport",
    "files",
    "error",
    "runtime",
];

/// What of the world may be named where.
const WORLD: &[(&[&str], &[&str])] = &[
    (&["tokio"], &["kafka", "transport", "runtime", "client", "bin"]),
    (&["kafka_protocol"], &["kafka"]),
    (&["rustls"], &["kafka"]),
    (&["rskafka"], &["transport"]),
    (&["rustix"], &["files"]),
    // kafka: certificates are files, and a record that has no time gets one.
    (&["std", "fs"], &["files", "kafka", "bin"]),
    (&["std", "net"], &["transport", "kafka", "runtime", "bin"]),
    (&["std", "process"], &["files", "bin"]),
    (&["SystemTime", "now"], &["kafka", "runtime", "client", "bin"]),
    (&["Instant", "now"], &["kafka", "transport", "runtime", "client", "bin"]),
];

const LONGEST_FUNCTION: usize = 60;
const LONGEST_FILE: usize = 500;

#[test]
fn the_code_keeps_its_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = source::read(&root);
    assert!(sources.len() > 20, "only {} files under {}", sources.len(), root.display());
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_table_has_no_circles() {
    for (position, (module, may)) in MAY_IMPORT.iter().enumerate() {
        for import in *may {
            let below = MAY_IMPORT[..position].iter().any(|(name, _)| name == import);
            assert!(below, "{module} -> {import}: {import} isn't in a line above {module}'s");
        }
    }
}

/// Everything that is wrong, one line each.
fn faults(sources: &[Source]) -> Vec<String> {
    let exported = exported(sources);
    let mut faults: Vec<String> = sources.iter().flat_map(|source| of_file(source, &exported)).collect();
    faults.sort();
    faults.dedup();
    faults
}

fn of_file(source: &Source, exported: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String| faults.push(format!("{}:{line}: {what}", source.file));
    for named in &source.paths {
        if let Some(what) = import(source, named, exported).or_else(|| world(&source.module, named)) {
            fault(named.line, what);
        }
    }
    for (line, name, length) in &source.functions {
        if *length > LONGEST_FUNCTION {
            fault(*line, format!("fn {name} has {length} lines, more than {LONGEST_FUNCTION}"));
        }
    }
    if source.lines > LONGEST_FILE {
        fault(1, format!("{} lines without tests, more than {LONGEST_FILE}", source.lines));
    }
    if source.file.ends_with("mod.rs") && !source.documented {
        fault(1, "a mod.rs opens with what it does, what it must never do, and which bytes it owns".to_owned());
    }
    faults
}

/// `wire -> engine`, when the table doesn't have it.
fn import(source: &Source, named: &Named, exported: &BTreeMap<String, String>) -> Option<String> {
    let from = source.module.as_str();
    if from == "lib" || from == "bin" {
        return None; // lib.rs re-exports everything; the tool sees the public API only
    }
    let target = source::target(named)?;
    if target == "*" {
        return Some(format!("{from} -> everything: `crate::*` hides who is imported"));
    }
    let to = exported.get(target).map_or(target, String::as_str);
    let Some((_, may)) = MAY_IMPORT.iter().find(|(module, _)| *module == from) else {
        return Some(format!("{from} isn't in the table of tests/layers"));
    };
    (to != from && !may.contains(&to)).then(|| format!("{from} -> {to}"))
}

/// A part of the world that is named where it may not be.
fn world(module: &str, named: &Named) -> Option<String> {
    let (what, _) = WORLD.iter().find(|(what, may)| !may.contains(&module) && names(named, what))?;
    Some(format!("{module} names {}", what.join("::")))
}

fn names(named: &Named, what: &[&str]) -> bool {
    let path: Vec<&str> = named.path.iter().map(String::as_str).collect();
    match what {
        // A crate: `tokio::…`, or all of it by `use tokio` and `use tokio as t`.
        [name] => path.first() == Some(name) && (path.len() > 1 || named.imported),
        // A module of std: by its full path, or renamed or globbed from above.
        ["std", module] => {
            path.starts_with(&["std", module]) || path == ["std", "*"] || (path == ["std"] && named.renamed)
        }
        // A call: by its last two names; a type that is renamed can't be followed, so that isn't allowed either.
        [kind, _] => path.windows(2).any(|pair| pair == what) || (path.last() == Some(kind) && named.renamed),
        _ => false,
    }
}

/// What `lib.rs` re-exports: name to module. `crate::Error` is an import of `error`.
fn exported(sources: &[Source]) -> BTreeMap<String, String> {
    let root = sources.iter().filter(|source| source.module == "lib");
    let names = root.flat_map(|source| &source.paths).filter(|named| named.imported);
    names
        .filter_map(|named| {
            Some((named.path.last()?.clone(), named.path.iter().find(|name| *name != "crate")?.clone()))
        })
        .collect()
}

#[cfg(test)]
mod can_fail {
    //! Each rule, broken once.

    use super::*;

    fn of(file: &str, code: &str) -> Vec<String> {
        faults(&[source::parse("lib.rs", "pub use engine::Engine;"), source::parse(file, code)])
    }

    #[test]
    fn upward_imports() {
        assert_eq!(of("wire/mod.rs", "//! Doc.\n\nuse crate::engine::Engine;"), ["wire/mod.rs:3: wire -> engine"]);
        assert_eq!(
            of("wire/reader.rs", "use crate::{wire::{self, Writer}, keys};"),
            ["wire/reader.rs:1: wire -> keys"]
        );
        assert_eq!(
            of("wire/reader.rs", "fn f() { g::<super::super::keys::Key>() }"),
            ["wire/reader.rs:1: wire -> keys"]
        );
        assert_eq!(
            of("wire/reader.rs", "mod x { use super::super::super::keys; }"),
            ["wire/reader.rs:1: wire -> keys"]
        );
        assert_eq!(of("secret.rs", "fn f() { g!(1, crate::wire::h(2)) }"), ["secret.rs:1: secret -> wire"]);
        assert_eq!(of("secret.rs", "use crate::Engine;"), ["secret.rs:1: secret -> engine"]);
        assert_eq!(of("secret.rs", "impl crate::topic::Named for S {}"), ["secret.rs:1: secret -> topic"]);
        assert_eq!(of("secret.rs", "use crate::*;").len(), 1);
        assert_eq!(of("novel.rs", "use crate::wire;"), ["novel.rs:1: novel isn't in the table of tests/layers"]);
    }

    #[test]
    fn allowed_imports() {
        let none: [&str; 0] = [];
        assert_eq!(of("chain/verify.rs", "use crate::{chain::Chain, keys::Key};\nuse super::report::Report;"), none);
        assert_eq!(of("wire/reader.rs", "use super::Writer;\nmod x { use super::super::y; use super::*; }"), none);
        assert_eq!(of("bin/kafkacrypto/main.rs", "use kafkacrypto::engine; use crate::args; use std::fs;"), none);
        assert_eq!(of("wire/reader.rs", "/// Used by [`crate::engine`], not by tokio::main.\nfn f() {}"), none);
        assert_eq!(of("wire/reader.rs", "fn f(s: S, tokio: u8) { s.tokio; tokio + 1; std::iter::empty() }"), none);
    }

    #[test]
    fn the_world() {
        assert_eq!(of("engine/mod.rs", "//! D\nuse tokio::sync;"), ["engine/mod.rs:2: engine names tokio"]);
        assert_eq!(of("keys/a.rs", "use tokio as t;"), ["keys/a.rs:1: keys names tokio"]);
        assert_eq!(of("keys/a.rs", "#[tokio::main]\nasync fn f() {}"), ["keys/a.rs:1: keys names tokio"]);
        assert_eq!(of("store/a.rs", "use std::{fmt, fs::File};"), ["store/a.rs:1: store names std::fs"]);
        assert_eq!(of("store/a.rs", "fn f() { ::std::fs::read(p) }"), ["store/a.rs:1: store names std::fs"]);
        assert_eq!(of("store/a.rs", "use std as s;"), ["store/a.rs:1: store names std::fs"]);
        let clock = "use std::time::SystemTime;\nfn f() -> T { SystemTime::now() }";
        assert_eq!(of("time.rs", clock), ["time.rs:2: time names SystemTime::now"]);
        assert_eq!(of("time.rs", "use std::time::Instant as I;"), ["time.rs:1: time names Instant::now"]);
        assert_eq!(of("runtime/a.rs", "use rskafka::client;"), ["runtime/a.rs:1: runtime names rskafka"]);
    }

    #[test]
    fn long_things_and_bare_modules() {
        let long = format!("impl S {{\n    fn f() {{\n{}    }}\n}}", "        g();\n".repeat(59));
        assert_eq!(of("time.rs", &long), ["time.rs:2: fn f has 61 lines, more than 60"]);
        assert_eq!(of("time.rs", &"// x\n".repeat(501)), ["time.rs:1: 501 lines without tests, more than 500"]);
        assert_eq!(of("wire/mod.rs", "mod a;").len(), 1);
    }

    #[test]
    fn tests_are_exempt() {
        let none: [&str; 0] = [];
        let body = format!("use crate::engine; fn f() {{\n{}}}", "g();\n".repeat(600));
        assert_eq!(of("wire/a.rs", &format!("#[cfg(test)]\nmod tests {{ {body} }}")), none);
        assert_eq!(of("wire/a.rs", &format!("#[cfg(any(fuzzing, test))]\npub mod fuzz {{ {body} }}")), none);
        assert_eq!(
            of("wire/a.rs", "#[cfg(all(test, unix))]\nuse crate::engine;\nstruct S { #[cfg(test)] a: crate::keys::A }"),
            none
        );
        let file = source::parse("wire/a.rs", "#[cfg(test)]\nmod tests;\n#[cfg(not(test))]\nmod b;");
        assert_eq!(file.test_modules, ["wire/a/tests"]);
        assert_eq!(of("wire/a.rs", "#[cfg(any(test, unix))]\nuse crate::engine;").len(), 1);
    }
}
