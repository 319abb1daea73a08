use super::*;
use crate::kafka::security::Pem;

fn read(settings: &[(&str, &str)]) -> Result<Config, Error> {
    Settings::new(settings.iter().copied())?.client()
}

#[test]
fn the_table_in_the_docs_is_the_one_in_the_code() {
    let table = names::table();
    assert!(include_str!("../settings.md").contains(&table), "settings.md lacks this table:\n{table}");
}

#[test]
fn credentials_are_read_and_not_shown() {
    let settings = Settings::new([
        ("BOOTSTRAP_SERVERS", "h:1"),
        ("security_protocol", "sasl_plaintext"),
        ("sasl_mechanism", "SCRAM-SHA-512"),
        ("sasl_plain_username", "alice"),
        ("sasl_plain_password", "hush-hush"),
        ("group_id", "g"),
        ("ssl_cafile", "x"),
        ("selector", "5"),
    ]);
    let settings = settings.unwrap();
    let config = settings.client().unwrap();
    let security = config.security();
    assert_eq!(security.mechanism, Some(SaslMechanism::ScramSha512));
    assert_eq!(security.username.as_deref(), Some("alice"));
    assert_eq!(security.password, Some("hush-hush".into()));
    assert!(!format!("{settings:?} {config:?}").contains("hush"));
    assert_eq!(settings.warnings(), ["the Kafka setting \"selector\" is ignored: tokio waits for sockets"]);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let sasl = ("security_protocol", "SASL_PLAINTEXT");
    for (settings, name) in [
        (vec![], "bootstrap_servers"),
        (vec![("bootstrap_servers", " , ")], "bootstrap_servers"),
        (vec![("bootstrap_servers", "h"), sasl], "sasl_mechanism"),
        (vec![("bootstrap_servers", "h"), sasl, ("sasl_mechanism", "GSSAPI")], "GSSAPI"),
        (vec![("bootstrap_servers", "h"), sasl, ("sasl_mechanism", "PLAIN")], "sasl_plain_username"),
        (vec![("bootstrap_servers", "h"), ("security_protocol", "QUIC")], "QUIC"),
        (vec![("bootstrap_servers", "h"), ("max_request_size", "big")], "max_request_size"),
        (vec![("bootstrap_servers", "h"), ("request_timeout_ms", "-1")], "request_timeout_ms"),
        (vec![("bootstrap_servers", "h"), ("ssl_check_hostname", "maybe")], "ssl_check_hostname"),
        (vec![("bootstrap.servers", "h"), ("ssl.keystore.location", "x.p12")], "PKCS#12"),
    ] {
        let error = read(&settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn both_families_of_names_mean_the_same() {
    let python = [
        ("bootstrap_servers", "h"),
        ("client_id", "c"),
        ("request_timeout_ms", "1500"),
        ("metadata_max_age_ms", "7"),
        ("security_protocol", "SASL_SSL"),
        ("sasl_mechanism", "PLAIN"),
        ("sasl_plain_username", "u"),
        ("sasl_plain_password", "p"),
        ("ssl_cafile", "ca"),
        ("ssl_certfile", "cert"),
        ("ssl_keyfile", "key"),
        ("ssl_password", "pw"),
        ("ssl_crlfile", "crl"),
        ("ssl_check_hostname", "False"),
        ("max_request_size", "9"),
    ];
    let librdkafka = [
        ("bootstrap.servers", "h"),
        ("client.id", "c"),
        ("socket.timeout.ms", "1500"),
        ("topic.metadata.refresh.interval.ms", "7"),
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanisms", "PLAIN"),
        ("sasl.username", "u"),
        ("sasl.password", "p"),
        ("ssl.ca.location", "ca"),
        ("ssl.certificate.location", "cert"),
        ("ssl.key.location", "key"),
        ("ssl.key.password", "pw"),
        ("ssl.crl.location", "crl"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("message.max.bytes", "9"),
    ];
    assert_eq!(format!("{:?}", read(&python).unwrap()), format!("{:?}", read(&librdkafka).unwrap()));
    let tls = read(&python).unwrap().security().tls.clone();
    assert_eq!((tls.check_hostname, tls.key), (false, Some(Pem::File("key".into()))));
    let probed = read(&[("bootstrap.servers", "h"), ("ssl.ca.location", "probe")]).unwrap();
    assert_eq!(probed.security().tls.authorities, None);
}

#[test]
fn what_holds_anyway_is_not_warned_about() {
    let warned = |name: &str, value: &str| !Settings::new([(name, value)]).unwrap().warnings().is_empty();
    assert!(!warned("check_crcs", "True") && warned("check_crcs", "false"));
    assert!(!warned("allow_auto_create_topics", "0") && warned("allow.auto.create.topics", "true"));
    assert!(!warned("fetch_min_bytes", "1") && warned("fetch.min.bytes", "2"));
    assert!(!warned("selector", "") && warned("selector", "x"));
    assert!(warned("request.timeout.ms", "5") && warned("nothing.known", "5") && warned("debug", "all"));
}

#[test]
fn later_settings_win_and_empty_ones_unset() {
    let config =
        read(&[("client_id", "a"), ("client.id", "b"), ("bootstrap_servers", "h"), ("client_id", "")]).unwrap();
    assert_eq!(config.name(), Config::new(["h"]).name());
}

#[test]
fn producers_and_consumers_read_their_own() {
    let settings = [
        ("acks", "-1"),
        ("compression.codec", "zstd"),
        ("linger.ms", "0.5"),
        ("queue.buffering.max.kbytes", "64"),
        ("partitioner", "consistent_random"),
        ("group.id", "g"),
        ("partition.assignment.strategy", "range, roundrobin"),
        ("session.timeout.ms", "6000"),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_uncommitted"),
        ("auto_offset_reset", "beginning"),
        ("max_poll_records", "3"),
    ];
    let settings = Settings::new(settings).unwrap();
    assert!(settings.warnings().is_empty());
    assert!(settings.producer().unwrap().is_idempotent() && settings.consumer().is_ok());
    for (name, value) in [
        ("acks", "2"),
        ("compression_type", "rar"),
        ("partitioner", "fnv1a"),
        ("linger_ms", "soon"),
        ("batch_size", "-1"),
    ] {
        let error = Settings::new([(name, value)]).unwrap().producer().unwrap_err();
        assert!(error.to_string().contains(name) && error.to_string().contains(value), "{error}");
    }
    for (name, value) in [
        ("auto_offset_reset", "middle"),
        ("isolation_level", "serial"),
        ("partition_assignment_strategy", "range,sticky"),
        ("group_protocol", "new"),
        ("session_timeout_ms", "-3"),
    ] {
        let error = Settings::new([("group_id", "g"), (name, value)]).unwrap().consumer().unwrap_err();
        assert!(error.to_string().contains(name) && error.to_string().contains(value), "{error}");
    }
}
