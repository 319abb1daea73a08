//! The tool with Kafka's settings as a user gives them: those that change what happens, a cluster with TLS and passwords, and
//! what goes wrong.
#![cfg(all(unix, feature = "kafka"))]

mod support;
#[path = "support/tool.rs"]
mod tool;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kafkacrypto::client::partition_of;
use kafkacrypto::kafka::{Client, Config, NewTopic, Partitioner};
use serde_json::Value;
use support::{Broker, Certificates, Cluster};
use tool::{Place, Running, ended, path, run, run_command, text, tool};

/// A broker that listens in good ways and in bad ones.
struct Secured {
    broker: Broker,
    certificates: Certificates,
}

impl Secured {
    fn get() -> Option<&'static Self> {
        static SECURED: OnceLock<Option<Secured>> = OnceLock::new();
        Broker::script()?;
        SECURED.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let certificates = Certificates::make()?;
        // Nobody listens where it says that it is.
        std::fs::write(certificates.path("LOST.listener"), "LOST PLAINTEXT +5 127.0.0.2\n").unwrap();
        let listeners = certificates.listeners(&["SSL", "SASL_SSL", "LOST", "EXPIRED", "ELSEWHERE", "EARLY"]);
        Some(Self { broker: Broker::listening(listeners)?, certificates })
    }

    fn at(&self, offset: u16) -> String {
        format!("localhost:{}", self.broker.port(offset))
    }
}

/// Arguments for TLS and a password.
fn with_password(servers: &str, ca: &Path, password: &str) -> Vec<String> {
    let password = format!("sasl.password={password}");
    let ca = format!("ssl.ca.location={}", ca.display());
    let settings =
        ["security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=alice", &password, &ca];
    let settings = settings.into_iter().flat_map(|setting| ["-X".to_owned(), setting.to_owned()]);
    ["-b".to_owned(), servers.to_owned()].into_iter().chain(settings).collect()
}

fn joined<'a>(first: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

fn make_topic(bootstrap: &str, topic: &str, partitions: i32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(Config::new(bootstrap.split(','))).unwrap();
        client.create_topic(&NewTopic::new(topic).partitions(partitions), LONG).await.unwrap();
        client.close().await;
    });
}

fn sorted(output: &Output) -> Vec<String> {
    ended(output, 0);
    let mut lines: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A refusal by the broker, or by us of the broker: one sentence at last, without the secret.
#[track_caller]
fn refused(output: &Output, says: &[&str]) {
    ended(output, 6);
    let said = text(&output.stderr);
    // A node in the background may have logged something behind it.
    let last = said.lines().rfind(|line| line.starts_with("kafkacrypto: ")).unwrap();
    assert!(says.iter().all(|part| last.contains(part)), "{says:?}: {said}");
    assert!(!said.contains("hush") && !said.contains("panicked"), "{said}");
}

const LONG: Duration = Duration::from_secs(20);

/// A cluster of three with TLS and passwords, in all that kcat's users do with one. The configs name a broker that isn't there.
#[test]
fn a_cluster_with_tls_and_passwords_is_used_as_with_kcat() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(cluster) = Cluster::listening(certificates.listeners(&["SSL", "SASL_SSL"])) else { return };
    let place = Place::at("127.0.0.1:1");
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    make_topic(&cluster.bootstrap(), &topic, 3);
    let servers: Vec<_> = (1..=3).map(|node| format!("localhost:{}", cluster.port(node, 4))).collect();
    let servers = servers.join(",");
    let secured = with_password(&servers, &certificates.path("ca.pem"), "alice-secret");
    let tool = |arguments: &[&str]| run(&joined(arguments, &secured), b"");
    let consume = |more: &[&str]| {
        let arguments = ["consume", "-n", path(&consumer), "-t", &topic, "-e", "-f", r"%p %k %s %h\n"];
        sorted(&tool(&[&arguments, more].concat()))
    };

    let input: String = (0..12).map(|n| format!("k{n}:v{n}\n")).collect();
    let more = joined(&["-K", ":", "-H", "unit=C", "-H", "empty", "-z", "zstd"], &secured);
    let _sending = place.produce(&producer, &more, input.as_bytes());
    let of_key = |n: usize| partition_of(format!("k{n}").as_bytes(), 3).unwrap();
    let mut sent: Vec<_> = (0..12).map(|n| format!("{} k{n} v{n} unit=C,empty=NULL", of_key(n))).collect();
    sent.sort();
    assert_eq!(consume(&[]), sent);
    assert_eq!(consume(&["-o", "s@0", "-o", "e@99999999999999"]), sent);
    assert!(consume(&["-o", "end"]).is_empty() && consume(&["-o", "e@1"]).is_empty());
    let counts: Vec<_> = (0..3).map(|partition| (0..12).filter(|n| of_key(*n) == partition).count()).collect();
    let last = consume(&["-p", "0", "-o", "-1"]);
    assert_eq!(last, consume(&["-p", "0", "-o", &(counts[0] - 1).to_string()]));
    assert_eq!(last.len(), 1);

    let group = support::fresh("group");
    let grouped = |more: &[&str]| {
        let arguments = ["consume", "-n", path(&consumer), "-G", &group, &topic, "-f", r"%p %k %s %h\n"];
        sorted(&tool(&[&arguments, more].concat()))
    };
    let mut both = grouped(&["-o", "beginning", "-c", "5"]);
    assert_eq!(both.len(), 5);
    both.extend(grouped(&["-o", "beginning", "-e", "-u"]));
    both.sort();
    assert_eq!(both, sent, "each once");
    assert!(grouped(&["-e"]).is_empty());
    assert!(consume(&["-o", "stored", "-X", &format!("group.id={group}")]).is_empty());

    let listed = tool(&["consume", "-L"]);
    ended(&listed, 0);
    let listed = text(&listed.stdout);
    assert!(
        listed.contains(" 3 brokers:") && listed.contains(&format!("topic \"{topic}\" with 3 partitions")),
        "{listed}"
    );
    let listed: Value = serde_json::from_slice(&tool(&["consume", "-L", "-t", &topic, "-J"]).stdout).unwrap();
    let names: Vec<_> =
        listed["brokers"].as_array().unwrap().iter().map(|broker| broker["name"].as_str().unwrap()).collect();
    assert!(names.len() == 3 && names.iter().all(|name| servers.contains(name)), "{listed}");
    let partitions = listed["topics"][0]["partitions"].as_array().unwrap();
    assert!(partitions.len() == 3 && partitions.iter().all(|one| one["replicas"].as_array().unwrap().len() == 3));
    let asked: Vec<_> = (0..3).flat_map(|p| [format!("{topic}:{p}:0"), format!("{topic}:{p}:-1")]).collect();
    let asked: Vec<_> = asked.iter().flat_map(|one| ["-t", one]).collect();
    let ends = (0..3).map(|p| format!("{topic} [{p}] offset 0\n{topic} [{p}] offset {}\n", counts[p]));
    assert_eq!(text(&tool(&[&["consume", "-Q"], &*asked].concat()).stdout), ends.collect::<String>());

    let idle = place.producer();
    let wrong = with_password(&servers, &certificates.path("ca.pem"), "wrong-hush");
    let says = ["\"alice\"", "SCRAM-SHA-512", "check the credentials"];
    for command in [
        &["consume", "-L"][..],
        &["consume", "-n", path(&consumer), "-t", &topic],
        &["consume", "-n", path(&consumer), "-G", &group, &topic],
        &["produce", "-n", path(&idle), "-t", &topic],
    ] {
        let output = run(&joined(command, &wrong), b"x\n");
        refused(&output, &says);
        let said = text(&output.stderr);
        assert_eq!(said.matches("\"alice\"").count(), 1, "one cause, one sentence: {said}");
    }
}

/// What can't work ends soon, with one sentence and the right exit code.
#[test]
fn what_goes_wrong_with_a_broker_is_told() {
    let Some(secured) = Secured::get() else { return };
    let (ca, another) = (secured.certificates.path("ca.pem"), secured.certificates.path("another-ca.pem"));
    let list = |servers: &str, more: &[&str]| run(&[&["consume", "-L", "-b", servers], more].concat(), b"");
    let tls = |offset: u16, ca: &Path| {
        let ca = format!("ssl.ca.location={}", ca.display());
        list(&secured.at(offset), &["-X", "security.protocol=SSL", "-X", &ca])
    };
    let password =
        |offset: u16, word: &str| run(&joined(&["consume", "-L"], &with_password(&secured.at(offset), &ca, word)), b"");
    ended(&tls(3, &ca), 0);
    ended(&password(4, "alice-secret"), 0);
    refused(&password(4, "wrong-hush"), &["\"alice\"", "check the credentials and certificates in the settings"]);
    refused(&tls(3, &another), &["ssl_cafile", "check the credentials and certificates in the settings"]);
    refused(&tls(10, &ca), &["it expired 24 hours ago"]);
    refused(&tls(11, &ca), &["elsewhere.example", "bootstrap_servers"]);
    refused(&tls(13, &ca), &["it is valid only in 71 hours", "set this machine's clock right"]);
    refused(&tls(0, &ca), &["security_protocol"]);
    refused(
        &list(&secured.at(3), &[]),
        &["it speaks TLS", "check the port in bootstrap_servers, and security_protocol"],
    );
    refused(&list("127.0.0.1:1", &[]), &["check bootstrap_servers", "that the broker runs"]);

    let topic = support::fresh("lost");
    make_topic(&secured.broker.bootstrap(), &topic, 1);
    ended(&list(&secured.at(5), &[]), 0);
    let lost = run(&["consume", "-Q", "-b", &secured.at(5), "-t", &format!("{topic}:0:0")], b"");
    refused(&lost, &["broker 1, at the address that it advertises", "127.0.0.2", "advertised.listeners"]);
    let beyond = run(&["consume", "-Q", "-b", &secured.broker.bootstrap(), "-t", &format!("{topic}:7:0")], b"");
    refused(&beyond, &["partition 7: it has partition 0 alone; choose one that it has"]);
    let place = Place::at(&secured.at(5));
    let consumer = place.consumer();
    let mut member = Running::start(&["consume", "-n", path(&consumer), "-G", "group", &topic, "-e"]);
    let why = member.expect("taking part in the group failed");
    assert!(why.contains("127.0.0.2"), "{why}");
}

/// Damaged on the broker's disk: a script sees by the exit code that not all was read.
#[test]
fn a_damaged_batch_is_passed_over_or_stops() {
    let Some(secured) = Secured::get() else { return };
    let place = Place::at(&secured.broker.bootstrap());
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let _first = place.produce(&producer, &[], b"1\n");
    let log = secured.broker.log(&topic, 0);
    let end = std::fs::metadata(&log).unwrap().len();
    let _second = place.produce(&place.producer(), &[], b"2\n");
    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.write_at(b"damaged", end - 20).unwrap();

    let says = |output: &Output, shown: &str, said: &str| {
        ended(output, 4);
        assert!(text(&output.stdout) == shown && text(&output.stderr).contains(said), "{}", text(&output.stderr));
    };
    says(&place.consume(&consumer, &[]), "2\n", "1 passed over that could not be read");
    says(&place.consume(&consumer, &["--corrupt", "stop"]), "", "--corrupt skip");
    let group = support::fresh("group");
    let member = ["consume", "-n", path(&consumer), "-G", &group, &topic, "-e", "-o", "beginning"];
    says(&run(&member, b""), "", "go on behind it with --corrupt skip");
    says(&run(&[&member[..], &["--corrupt", "skip"]].concat(), b""), "2\n", "1 passed over that could not be read");
    ended(&run(&member, b""), 0);
}

/// Whoever answers, each command says the same.
#[test]
fn who_is_no_broker_or_too_old_a_one_is_told_so() {
    let place = Place::at("127.0.0.1:1");
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let web = answering(|stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    let old = answering(|stream| while old_broker(stream).is_some() {});
    let no_kafka = ["a web server answers, not a Kafka broker", "check the port in bootstrap_servers"];
    let too_old = ["the broker speaks Metadata 0 to 1", "a newer broker"];
    for (server, says) in [(&web, &no_kafka), (&old, &too_old)] {
        for command in [
            &["consume", "-L", "-b", server][..],
            &["consume", "-n", path(&consumer), "-b", server, "-t", &topic, "-e"],
            &["consume", "-n", path(&consumer), "-b", server, "-G", "group", &topic],
            &["produce", "-n", path(&producer), "-b", server, "-t", &topic],
        ] {
            refused(&run(command, b"x\n"), says);
        }
    }
}

/// Without `ssl_cafile` the system's authorities are believed, wherever `SSL_CERT_FILE` says that they are.
#[test]
fn the_system_s_authorities_are_believed() {
    let Some(secured) = Secured::get() else { return };
    let servers = secured.at(3);
    let tls = ["-b", &servers, "-X", "security.protocol=SSL"];
    let with = |authorities: Option<&Path>, command: &[&str], input: &[u8]| {
        let mut tool = tool(&[command, &tls].concat());
        tool.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        tool.envs(authorities.map(|file| ("SSL_CERT_FILE", file)));
        run_command(tool, input)
    };
    let place = Place::at("127.0.0.1:1");
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    make_topic(&secured.broker.bootstrap(), &topic, 1);
    let list = ["consume", "-L"];
    let produce = ["produce", "-n", path(&producer), "-t", &topic];
    let consume = ["consume", "-n", path(&consumer), "-t", &topic, "-e"];
    let ca = secured.certificates.path("ca.pem");
    let listed = with(Some(&ca), &list, b"");
    ended(&listed, 0);
    assert!(text(&listed.stdout).contains(&servers), "{}", text(&listed.stdout));
    ended(&with(Some(&ca), &consume, b""), 0);
    ended(&with(Some(&ca), &produce, b"x\n"), 0);

    let another = secured.certificates.path("another-ca.pem");
    for command in [&list[..], &produce, &consume] {
        let says = ["none of the authorities", "ssl_cafile"];
        refused(&with(Some(&another), command, b"x\n"), &says);
        // The machine has its own, or none.
        let output = with(None, command, b"x\n");
        let said = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(2 | 6)) && said.contains("ssl_cafile"), "{said}");
    }
}

#[test]
fn records_over_a_limit_name_the_limit() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, topic) = (place.producer(), place.topic());
    let file = place.fleet.folder().join("big");
    std::fs::write(&file, vec![b'x'; 2_000_000]).unwrap();
    let send =
        |more: &[&str]| run(&[&["produce", "-n", path(&producer), "-t", &topic, path(&file)], more].concat(), b"");
    refused(&send(&[]), &["over max_request_size, which is 1048576 bytes", "raise the limit"]);
    let of_topic = ["MessageTooLarge", "by the topic's max.message.bytes; send less at once, or raise the limit"];
    refused(&send(&["-X", "message.max.bytes=10000000"]), &of_topic);
    let consumer = place.consumer();
    assert!(sorted(&place.consume(&consumer, &[])).is_empty());

    // Told while the input goes on, with its place there; and again at the end.
    let idle = place.producer();
    let mut running = Running::start(&["produce", "-n", path(&idle), "-t", &topic, "-K", ":", "--linger", "0"]);
    running.input(&[b"a:1\nb:", &[b'x'; 2_000_000][..], b"\n"].concat());
    running.expect("record 2, key \"b\", of the input was not delivered: the record for topic");
    running.input(b"c:3\n");
    running.close_input();
    running.expect("1 of 3 records was not delivered, record 2, key \"b\": the record for topic");
    assert_eq!(running.code(), 6);
}

/// Settings that say something to the producer and to the consumer over a transport, from the command line and from a config.
#[test]
fn settings_are_obeyed_wherever_they_stand() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, topic) = (place.producer(), place.topic());
    make_topic(&place.bootstrap, &topic, 12);
    let keys: Vec<_> = (0..10).map(|n| format!("k{n}")).collect();
    let input: String = keys.iter().map(|key| format!("{key}:{key}\n")).collect();
    let placed = |by: Partitioner| {
        let partition = |key: &String| by.of_key(Some(key.as_bytes()), 12).unwrap();
        let mut lines: Vec<_> = keys.iter().map(|key| format!("{} {key}", partition(key))).collect();
        lines.sort();
        lines
    };
    let _sending = place.produce(&producer, &["-K", ":", "-X", "partitioner=consistent"], input.as_bytes());
    let consumer = place.consumer();
    let read = || sorted(&place.consume(&consumer, &["-f", r"%p %k\n"]));
    assert_eq!(read(), placed(Partitioner::Librdkafka));
    let by_config = place.configured(&place.producer(), "kafka-producer", "partitioner", "consistent_random");
    let _also = place.produce(&by_config, &["-K", ":"], input.as_bytes());
    let twice = read();
    assert_eq!(twice.len(), 20);
    assert!(twice.chunks(2).all(|two| two[0] == two[1]), "{twice:?}");
    // To partitions that are led for sure: what a new one can't take yet is lost.
    let _unheard = place.produce(&place.producer(), &["-K", ":", "-X", "acks=0"], input.as_bytes());
    assert!(support::until(LONG, || (read().len() == 30).then_some(())).is_some());
    assert_ne!(placed(Partitioner::Librdkafka), placed(Partitioner::Java));

    let first = |config: &Path, more: &[&str]| {
        let partition = placed(Partitioner::Librdkafka)[0].split_once(' ').unwrap().0.to_owned();
        let arguments = ["consume", "-n", path(config), "-t", &topic, "-p", &partition, "-o", "99", "-c", "1"];
        run(&[&arguments, more].concat(), b"")
    };
    let output = first(&consumer, &["-X", "auto.offset.reset=earliest"]);
    ended(&output, 0);
    assert!(text(&output.stderr).contains("has no offset 99; reading goes on at 0"), "{}", text(&output.stderr));
    refused(&first(&consumer, &["-X", "auto.offset.reset=none"]), &["has no offset 99; reading ends here"]);
    let by_config = place.configured(&place.consumer(), "kafka-consumer", "auto_offset_reset", "none");
    refused(&first(&by_config, &[]), &["has no offset 99; reading ends here"]);
}

#[test]
fn settings_that_nobody_heeds_are_warned_about() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let _sending = place.produce(&producer, &[], b"x\n");
    let warned = |output: Output, names: &[&str]| {
        ended(&output, 0);
        let said = text(&output.stderr);
        let expected = |name: &&str| said.matches(&format!("Kafka setting \"{name}\" is ignored")).count() == 1;
        assert!(names.iter().all(expected), "{names:?}: {said}");
        assert_eq!(said.matches("is ignored").count(), names.len(), "{said}");
    };
    let session = ["-X", "session.timeout.ms=10000"];
    warned(
        place.consume(&consumer, &[&session[..], &["-X", "selector=x"]].concat()),
        &["session_timeout_ms", "selector"],
    );
    let group = support::fresh("group");
    let grouped = ["consume", "-n", path(&consumer), "-G", &group, &topic, "-o", "beginning", "-c", "1"];
    warned(run(&[&grouped[..], &session].concat(), b""), &[]);
    let config = place.configured(&consumer, "kafka-consumer", "enable_auto_commit", "true");
    let config = place.configured(&config, "kafka", "selector", "x");
    warned(place.consume(&config, &[]), &["enable_auto_commit", "selector"]);
    warned(place.consume(&config, &["-X", "client.id=me"]), &["enable_auto_commit", "selector"]);
    let config = place.configured(&place.consumer(), "kafka-crypto-consumer", "auto_offset_reset", "latest");
    let output = place.consume(&config, &[]);
    ended(&output, 0);
    let said = text(&output.stderr);
    assert!(said.contains("auto_offset_reset \"latest\" of kafka-crypto-consumer is ignored"), "{said}");
}

/// What the broker has on its disk is compressed as `-z` says.
#[test]
fn a_codec_is_the_one_of_the_batches() {
    let Some(secured) = Secured::get() else { return };
    let padding = format!("padding={}", "x".repeat(1000));
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let place = Place::at(&secured.broker.bootstrap());
        let (producer, consumer) = (place.producer(), place.consumer());
        let _sending = place.produce(&producer, &["-z", codec, "-H", &padding], b"1\n2\n3\n");
        assert_eq!(codecs(&secured.broker.log(&place.topic(), 0)), [number], "{codec}");
        assert_eq!(sorted(&place.consume(&consumer, &[])), ["1", "2", "3"]);
    }
}

/// The codecs of the batches in a log.
fn codecs(log: &Path) -> Vec<usize> {
    let log = std::fs::read(log).unwrap();
    let (mut rest, mut found) = (&*log, Vec::new());
    while rest.len() > 22 {
        found.push(usize::from(rest[22] & 7)); // the lower byte of the attributes
        rest = &rest[12 + u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize..];
    }
    found.dedup();
    found
}

/// Over a pipe nobody sees where one write ends, so it is a socket that keeps them apart.
#[test]
fn unbuffered_means_a_write_for_each_record() {
    let Some(place) = Place::over_kafka() else { return };
    let (producer, consumer, topic) = (place.producer(), place.consumer(), place.topic());
    let input: Vec<_> = (0..500).map(|n| format!("{n}\n").into_bytes()).collect();
    let _sending = place.produce(&producer, &[], &input.concat());
    let arguments = ["consume", "-n", path(&consumer), "-t", &topic, "-e"];
    assert_eq!(writes(&[&arguments[..], &["-u"]].concat()), input);
    let writes = writes(&arguments);
    assert!(writes.concat() == input.concat() && writes.len() < input.len(), "{} writes", writes.len());
}

/// What the tool wrote to stdout, each time.
fn writes(arguments: &[&str]) -> Vec<Vec<u8>> {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut child = tool(arguments).stdout(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::null()).spawn().unwrap();
    let (mut written, mut buffer) = (Vec::new(), vec![0; 200_000]);
    loop {
        let over = child.try_wait().unwrap();
        match (ours.recv(&mut buffer), over) {
            (Ok(length), _) if length > 0 => written.push(buffer[..length].to_vec()),
            (_, Some(status)) => {
                assert!(status.success());
                return written;
            }
            _ => {}
        }
    }
}

/// The address of somebody who treats each connection so.
fn answering(treat: impl Fn(&mut TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || treat(&mut stream));
        }
    });
    address
}

/// Answers the question for versions as a broker of the year 2015 would: none of a request since 2019.
fn old_broker(stream: &mut TcpStream) -> Option<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).ok()?;
    let refusal: i16 = if request[2..4] == [0, 0] { 0 } else { 35 };
    let versions: [[i16; 3]; 4] = [[0, 0, 2], [1, 0, 2], [3, 0, 1], [18, 0, 0]];
    let mut answer = request[4..8].to_vec();
    answer.extend(refusal.to_be_bytes());
    answer.extend(4_u32.to_be_bytes());
    versions.iter().flatten().for_each(|number| answer.extend(number.to_be_bytes()));
    stream.write_all(&u32::try_from(answer.len()).ok()?.to_be_bytes()).ok()?;
    stream.write_all(&answer).ok()
}
