//! `demo`, `produce`, `consume` and `serve` as a user runs them, from the built binary.
#![cfg(unix)]

mod support;
#[path = "support/tool.rs"]
mod tool;

use std::time::Instant;

use base64::Engine as _;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use kafkacrypto::provision::NodeRole;
use kafkacrypto::runtime::{NodeFiles, OpenOptions};
use serde_json::Value;
use tool::{PATIENCE, Place, Running, ended, objects, path, run, run_command, text, tool};

#[test]
fn the_demo_shows_the_main_job_and_leaves_nothing() {
    let folder = support::folder();
    let mut demo = tool(&["demo"]);
    demo.env("TMPDIR", folder.path());
    let output = run_command(demo, b"");
    ended(&output, 0);
    let shown = text(&output.stdout);
    for part in ["meter refuses: the chain doesn't allow the topic", "cleartext:  21.5", "All of it happened"] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_tells_a_program_too() {
    let output = run(&["demo", "--json"], b"");
    ended(&output, 0);
    let seen = &objects(&output)[0];
    assert_eq!((&seen["broker"], &seen["cleartext"]), (&"memory".into(), &"21.5 °C, window open".into()));
    assert!(seen["stored"].as_str().unwrap().starts_with("0193c420"), "{seen}");
    assert!(seen["exchange_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_demo_is_post_quantum_throughout_if_asked() {
    let output = run(&["demo", "--pq"], b"");
    ended(&output, 0);
    let shown = text(&output.stdout);
    for part in ["(type 4)", "agreed on a secret by x25519+mlkem1024", "All of it happened"] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let output = run(&["demo", "--pq", "--json"], b"");
    ended(&output, 0);
    let seen = &objects(&output)[0];
    assert_eq!((&seen["signing_types"], &seen["scheme"]), (&serde_json::json!([4]), &"x25519+mlkem1024".into()));
}

#[test]
fn the_demo_runs_over_kafka() {
    let Some(bootstrap) = support::bootstrap() else { return };
    for more in [&[][..], &["--pq"]] {
        let output = run(&[&["demo", "--bootstrap", &bootstrap], more].concat(), b"");
        ended(&output, 0);
        assert!(text(&output.stdout).contains("All of it happened"));
    }
}

#[test]
fn text_and_binary_survive_byte_for_byte() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer) = (place.producer(), place.consumer());
    let all: Vec<u8> = (0..=255).collect();
    let file = place.fleet.folder().join("binary");
    std::fs::write(&file, &all).unwrap();
    drop(place.produce(&producer, &["-k", "file", path(&file)], b""));
    let running = place.produce(&producer, &["-K", ":", "-Z"], b"a:one\nb:\n:no key\nplain\nz:\xff\n");
    let output = place.consume(&consumer, &["-J"]);
    ended(&output, 0); // a node keeps its keys, and gives out those of earlier runs too
    drop(running);
    ended(&place.consume(&consumer, &["-J", "--wait", "0.5"]), 4);
    let mut serving = Running::start(&["serve", "-n", path(&producer)]);
    serving.expect("answers requests");
    let output = place.consume(&consumer, &["-J"]);
    ended(&output, 0);
    let seen = objects(&output);
    assert_eq!(seen.len(), 6);
    let base64 = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap();
    assert_eq!(base64(&seen[0]["value_base64"]), all);
    assert_eq!((&seen[0]["key"], &seen[0]["offset"]), (&"file".into(), &0.into()));
    assert_eq!(
        (&seen[1]["key"], &seen[1]["value"], &seen[1]["value_state"]),
        (&"a".into(), &"one".into(), &"cleartext".into())
    );
    assert_eq!((&seen[2]["value"], &seen[2]["value_state"]), (&Value::Null, &"null".into()));
    assert_eq!((&seen[3]["key_state"], &seen[3]["value"]), (&"null".into(), &"no key".into()));
    assert_eq!((&seen[4]["key_state"], &seen[4]["value"]), (&"null".into(), &"plain".into()));
    assert_eq!(base64(&seen[5]["value_base64"]), [0xff]);
    assert_eq!(seen[1]["value_key_index"].as_str().unwrap().len(), 64);
    assert_eq!(seen[1]["value_exchange"], "x25519+mlkem1024");

    let output = place.consume(&consumer, &["-o", "0", "-c", "1", "-D", "|"]);
    assert_eq!(output.stdout, [&all[..], b"|"].concat());
    let output = place.consume(&consumer, &["-o", "-4", "-K", "=", "-Z"]);
    assert_eq!(output.stdout, b"b=NULL\nNULL=no key\nNULL=plain\nz=\xff\n");
    let output = place.consume(&consumer, &["-o", "1", "-c", "1", "-p", "0", "-f", r"%t[%p]@%o %K %k=%s %S\n"]);
    assert_eq!(text(&output.stdout), format!("{}[0]@1 1 a=one 3\n", place.topic()));
    let given = serving.expect("gave node");
    assert!(given.contains(&place.root) && given.ends_with("(x25519+mlkem1024)"), "{given}");
    serving.signal("-TERM");
    assert_eq!(serving.code(), 0);
}

#[test]
fn lines_of_a_file_are_records_and_the_linger_ends() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer) = (place.producer(), place.consumer());
    let (file, topic) = (place.fleet.folder().join("lines"), place.topic());
    std::fs::write(&file, "one\ntwo\nthree").unwrap();
    let produce = |linger, more: &[&str]| {
        let start = ["produce", "-n", path(&producer), "-t", &topic, "-l", path(&file), "--linger", linger];
        Running::start(&[&start, more].concat())
    };
    let mut running = produce("600", &["-c", "2"]);
    let said = running.expect("delivered");
    assert!(said.starts_with("2 records delivered") && said.contains("for 600 s"), "{said}");
    let output = place.consume(&consumer, &[]);
    ended(&output, 0);
    assert_eq!(output.stdout, b"one\ntwo\n");
    running.expect("gave node");
    running.signal("-INT");
    running.expect("answered");
    assert_eq!(running.code(), 0);

    let mut running = produce("1", &[]);
    assert!(running.expect("delivered").starts_with("3 records delivered"));
    assert_eq!(running.code(), 0);
}

#[test]
fn a_stopped_producer_sends_what_it_has_read() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, topic) = (place.producer(), place.topic());
    let mut running = Running::start(&["-v", "produce", "-n", path(&producer), "-t", &topic]);
    running.input(b"early\nunfinished");
    // The topic exists once the first record is on its way.
    let consumer = place.consumer();
    let started = Instant::now();
    while place.consume(&consumer, &["-o", "end"]).status.code() != Some(0) {
        assert!(started.elapsed() < PATIENCE, "the record arrives");
    }
    running.signal("-INT");
    running.expect("stopped before the input had ended");
    assert_eq!(running.code(), 1);
    let mut serving = Running::start(&["serve", "-n", path(&producer)]);
    serving.expect("answers requests");
    let output = place.consume(&consumer, &[]);
    ended(&output, 0);
    assert_eq!(output.stdout, b"early\n");
    serving.signal("-INT");
    assert_eq!(serving.code(), 0);
}

#[test]
fn who_is_not_authorised_is_told_so() {
    let Some(place) = Place::over_kafka() else { return };
    let running = place.produce(&place.producer(), &[], b"secret\n");
    let stranger = place.node(NodeRole::Consumer, "elsewhere");
    let output = place.consume(&stranger, &["-J"]);
    ended(&output, 3);
    let seen = &objects(&output)[0];
    assert_eq!((&seen["value"], &seen["value_state"]), (&Value::Null, &"refused".into()));
    assert!(seen["value_reason"].as_str().unwrap().contains("not authorised"), "{seen}");
    let output = place.consume(&stranger, &[]);
    ended(&output, 3);
    assert!(output.stdout.is_empty(), "ciphertext is never printed as if it were the record");
    drop(running);

    let topic = place.topic();
    for config in [place.consumer(), place.node(NodeRole::Producer, "elsewhere")] {
        let output = run(&["produce", "-n", path(&config), "-t", &topic], b"x\n");
        ended(&output, 3);
        assert!(text(&output.stderr).contains("nothing was sent"), "{}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_decrypted_is_named() {
    let Some(place) = Place::over_kafka() else { return };
    drop(place.produce(&place.producer(), &[], b"gone\n"));
    let output = place.consume(&place.consumer(), &["--wait", "0.5"]);
    ended(&output, 4);
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("at offset 0, value: no key yet") && said.contains("1 not decrypted"), "{said}");
    let output = run(&["consume", "-n", path(&place.consumer()), "-t", &support::fresh("missing"), "-e"], b"");
    ended(&output, 6);
}

#[test]
fn a_value_that_makes_no_sense_is_told_with_those_that_do() {
    let place = Place::at("127.0.0.1:1");
    let (producer, topic) = (place.producer(), place.topic());
    for (wrong, code, says) in [
        (&["-X", "acks=2"][..], 5, "acks is \"2\", and not all, 1 or 0; correct the setting"),
        (&["-X", "partitioner=fnv1a"], 5, "and not murmur2 or consistent; correct the setting"),
        (&["-X", "auto.offset.reset=foo"], 5, "and not earliest, latest or none; correct the setting"),
        (&["-z", "brotli"], 2, "none, gzip, snappy, lz4, zstd"),
        (
            &["-b", "http://localhost:9092"],
            2,
            "has \"http://localhost:9092\", and that is no host:port; give host:port",
        ),
        (&["-b", "localhost:99999"], 2, "with a port up to 65535"),
        (
            &["-X", "security.protocol=SASL_SSL", "-X", "sasl.mechanism=OAUTHBEARER"],
            5,
            "no text can; choose PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ),
    ] {
        let output = run(&[&["produce", "-n", path(&producer), "-t", &topic], wrong].concat(), b"x\n");
        ended(&output, code);
        let said = text(&output.stderr);
        assert!(said.contains(says) && !said.contains("newer broker"), "{says}: {said}");
    }
    let unread = run(&["produce", "-n", "/nowhere.config", "-t", &topic, "-z", "brotli"], b"");
    ended(&unread, 2);
}

#[test]
fn a_broker_that_is_away_is_an_error_with_a_hint() {
    let place = Place::at("127.0.0.1:1");
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let fails = |arguments: &[&str]| {
        let output = run(arguments, b"x\n");
        ended(&output, 6);
        let said = text(&output.stderr);
        assert!(said.lines().last().unwrap().contains("check bootstrap_servers"), "{said}");
    };
    let (serving, member) = (place.producer(), place.consumer());
    std::thread::scope(|scope| {
        scope.spawn(|| fails(&["consume", "-n", path(&consumer), "-t", &topic, "-e"]));
        scope.spawn(|| fails(&["consume", "-n", path(&member), "-G", "group", &topic]));
        scope.spawn(|| fails(&["produce", "-n", path(&producer), "-t", &topic]));
        scope.spawn(|| fails(&["serve", "-n", path(&serving)]));
    });
}

#[test]
fn bad_arguments_and_files_are_told_apart() {
    let place = Place::at("127.0.0.1:1");
    let consumer = place.consumer();
    for bad in [
        &["-o", "soon"][..],
        &["-o", "stored"],
        &["-f", "%q"],
        &["-D", ""],
        &["-p", "-1"],
        &["--wait", "long"],
        &["-J", "-f", "%s"],
    ] {
        ended(&run(&[&["consume", "-n", path(&consumer), "-t", "t"], bad].concat(), b""), 2);
    }
    ended(&run(&["produce", "-n", path(&consumer), "-t", "t", "-l"], b""), 2);
    let missing = place.fleet.folder().join("missing.config");
    let output = run(&["consume", "-n", path(&missing), "-t", "t"], b"");
    ended(&output, 5);
    assert!(text(&output.stderr).contains("provision the node first"));
    std::fs::write(&missing, "node_id = what").unwrap();
    ended(&run(&["serve", "-n", path(&missing)], b""), 5);
    let held = NodeFiles::open(&consumer, OpenOptions::default(), &mut UnwrapErr(SysRng)).unwrap();
    ended(&run(&["consume", "-n", path(&consumer), "-t", "t"], b""), 5);
    drop(held);
}

/// What kcat users expect: groups that go on where they left off, headers, codecs, listings, offsets by time.
#[test]
fn kafka_is_used_as_with_kcat() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let _sending =
        place.produce(&producer, &["-H", "unit=C", "-H", "empty", "-z", "lz4", "-p", "-1"], b"1\n2\n3\n4\n5\n");
    let group = support::fresh("group");
    let grouped = |more: &[&str]| {
        let arguments = [&["consume", "-n", path(&consumer), "-G", &group, &topic, "-f", "%s "], more].concat();
        let output = run(&arguments, b"");
        ended(&output, 0);
        text(&output.stdout)
    };
    assert_eq!(grouped(&["-o", "beginning", "-c", "2"]), "1 2 ");
    assert_eq!(grouped(&["-e", "-u"]), "3 4 5 ");
    assert_eq!(grouped(&["-e", "-X", "auto.offset.reset=earliest"]), "");
    let other = |offset: &str| {
        let group = support::fresh("group");
        let read = ["consume", "-n", path(&consumer), "-G", &group, &topic, "-f", "%s ", "-e", "-o", offset];
        run(&read, b"")
    };
    assert_eq!(text(&other("s@0").stdout), "1 2 3 4 5 ");
    assert_eq!(text(&other("s@99999999999999").stdout), "");
    assert_eq!((text(&other("end").stdout), text(&other("stored").stdout)), (String::new(), String::new()));
    let refused = other("error");
    ended(&refused, 6);
    assert!(text(&refused.stderr).contains("has committed no offset"), "{}", text(&refused.stderr));
    assert_eq!(grouped(&["-e", "-o", "error"]), "");
    for offset in ["2", "-2", "e@5"] {
        ended(&other(offset), 2);
    }
    let stored = place.consume(&consumer, &["-o", "stored", "-X", &format!("group.id={group}"), "-f", "%s "]);
    assert_eq!((stored.status.code(), text(&stored.stdout)), (Some(0), String::new()));
    let all = place.consume(&consumer, &["-o", "s@0", "-o", "e@99999999999999", "-f", "%s/%h "]);
    assert!(text(&all.stdout).starts_with("1/unit=C,empty=NULL 2/"), "{}", text(&all.stdout));
    let before = place.consume(&consumer, &["-o", "e@1", "-f", "%s "]);
    assert_eq!(text(&before.stdout), "");

    let listed = run(&["consume", "-L", "-b", &place.bootstrap, "-t", &topic, "-J"], b"");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["topics"][0]["partitions"][0]["partition"], 0);
    let (id, name) = (&listed["brokers"][0]["id"], &listed["brokers"][0]["name"]);
    let origin = serde_json::json!({"id": id, "name": format!("{}/{id}", name.as_str().unwrap())});
    assert_eq!((&listed["originating_broker"], &listed["query"]["topic"]), (&origin, &Value::from(topic.as_str())));
    let listed = run(&["consume", "-L", "-b", &place.bootstrap], b"");
    assert!(text(&listed.stdout).contains(&format!("topic \"{topic}\" with 1 partitions")));
    let (first, end) = (format!("{topic}:0:0"), format!("{topic}:0:-1"));
    let asked = run(&["consume", "-Q", "-b", &place.bootstrap, "-t", &first, "-t", &end], b"");
    assert_eq!(text(&asked.stdout), format!("{topic} [0] offset 0\n{topic} [0] offset 5\n"));

    let some = run(&["consume", "-L", "-b", &place.bootstrap, "-t", "nosuch", "-t", &topic], b"");
    ended(&some, 6);
    assert!(text(&some.stdout).contains(&format!("topic \"{topic}\" with 1 partitions")), "{}", text(&some.stdout));
    assert!(text(&some.stdout).contains("topic \"nosuch\" with 0 partitions: there is no topic"));
    assert!(text(&some.stderr).contains("there is no topic \"nosuch\""), "{}", text(&some.stderr));
    ended(&run(&["consume", "-Q", "-b", &place.bootstrap], b""), 2);
    ended(&run(&["consume", "-L", "-b", &place.bootstrap, "-X", "security.protocol=SSL"], b""), 6);
    ended(&run(&["consume", "-L", "-b", &place.bootstrap, "-X", "security.protocol"], b""), 2);
    ended(&run(&["consume", "-n", path(&consumer), "-G", &group], b""), 2);
    ended(&run(&["produce", "-n", path(&producer), "-t", &topic, "-z", "brotli"], b"x\n"), 2);
}
