//! TLS and SASL against Apache Kafka, one broker and three.
#![cfg(feature = "kafka")]

mod support;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kafkacrypto::kafka::{
    Client, Config, Error, ErrorKind, Most, NewTopic, OffsetAt, Producer, ProducerConfig, ProducerRecord, Reader,
    ReaderConfig, SaslMechanism, SecurityProtocol, Settings, Start, Token, TopicPartition,
};
use support::{Broker, Certificates, Cluster};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// A broker that listens in every way; all tests of this file use it.
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
        let broker = Broker::listening(certificates.listeners(&LISTENERS))?;
        Some(Self { broker, certificates })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.certificates.path(name)
    }

    fn at(&self, host: &str, listener: &str) -> Config {
        let offset = 3 + LISTENERS.iter().position(|name| *name == listener).expect("a listener") as u16;
        Config::new([format!("{host}:{}", self.broker.port(offset))])
    }

    /// TLS with the right authority.
    fn tls(&self, listener: &str) -> Config {
        let config = self.at("localhost", listener).security_protocol(SecurityProtocol::Ssl);
        config.ssl_cafile(self.path("ca.pem"))
    }

    /// The same with a certificate of ours.
    fn mutual(&self, listener: &str, certificate: &str, key: &str) -> Config {
        self.tls(listener).ssl_certfile(self.path(certificate)).ssl_keyfile(self.path(key))
    }

    /// TLS and credentials.
    fn sasl(&self, mechanism: SaslMechanism) -> Config {
        self.tls("SASL_SSL").security_protocol(SecurityProtocol::SaslSsl).sasl_mechanism(mechanism)
    }

    fn password(&self, mechanism: SaslMechanism, password: &str) -> Config {
        self.sasl(mechanism).sasl_plain_username("alice").sasl_plain_password(password)
    }
}

/// Whether the cluster answers.
async fn reach(config: Config) -> Result<(), Error> {
    let client = Client::new(config)?;
    let listed = client.describe(Some(&[]), LONG).await;
    client.close().await;
    listed.map(drop)
}

/// The sentence of a refusal that comes at once and isn't tried again.
async fn refused(config: Config, kind: ErrorKind) -> String {
    let start = Instant::now();
    let error = reach(config).await.expect_err("a refusal");
    assert_eq!((error.kind(), error.is_retriable()), (kind, false), "{error}");
    assert!(start.elapsed() < LONG / 2, "{error}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    error.to_string()
}

#[tokio::test]
async fn both_versions_of_tls_with_both_kinds_of_keys() {
    let Some(secured) = Secured::get() else { return };
    for listener in ["SSL", "TLS12", "RSA", "RSA12"] {
        reach(secured.tls(listener)).await.unwrap_or_else(|error| panic!("{listener}: {error}"));
    }
}

#[tokio::test]
async fn names_and_addresses_are_checked() {
    let Some(secured) = Secured::get() else { return };
    let tls = |config: Config| config.security_protocol(SecurityProtocol::Ssl).ssl_cafile(secured.path("ca.pem"));
    // By address alone, so that the broker that is found by metadata has to match as well.
    reach(tls(secured.at("127.0.0.1", "ADDRESS"))).await.unwrap();
    let told = refused(tls(secured.at("localhost", "ADDRESS")), ErrorKind::Authentication).await;
    assert!(told.contains("localhost") && told.contains("127.0.0.1"), "{told}");
    let told = refused(secured.tls("ELSEWHERE"), ErrorKind::Authentication).await;
    assert!(told.contains("elsewhere.example") && told.contains("advertised.listeners"), "{told}");
}

#[tokio::test]
async fn without_the_check_of_the_name_all_else_is_still_checked() {
    let Some(secured) = Secured::get() else { return };
    let unchecked = |listener| secured.tls(listener).danger_ssl_check_hostname(false);
    reach(unchecked("ELSEWHERE")).await.unwrap();
    refused(unchecked("EXPIRED"), ErrorKind::Authentication).await;
    let another = unchecked("ELSEWHERE").ssl_cafile(secured.path("another-ca.pem"));
    refused(another, ErrorKind::Authentication).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_told_why() {
    let Some(secured) = Secured::get() else { return };
    let told = refused(secured.tls("EXPIRED"), ErrorKind::Authentication).await;
    assert!(told.contains("it expired") && told.contains("renew it"), "{told}");
    let told = refused(secured.tls("EARLY"), ErrorKind::Authentication).await;
    assert!(told.contains("it is valid only in 7") && told.contains("set this machine's clock right"), "{told}");
    let wrong = secured.tls("SSL").ssl_cafile(secured.path("another-ca.pem"));
    let told = refused(wrong, ErrorKind::Authentication).await;
    assert!(told.contains("put the one that has into ssl_cafile"), "{told}");
    let system = secured.at("localhost", "SSL").security_protocol(SecurityProtocol::Ssl);
    match Client::new(system.clone()) {
        Ok(_) => assert!(refused(system, ErrorKind::Authentication).await.contains("ssl_cafile")),
        // A system without any authorities
        Err(error) => assert_eq!(error.kind(), ErrorKind::Config),
    }
}

#[tokio::test]
async fn revoked_certificates_are_refused() {
    let Some(secured) = Secured::get() else { return };
    reach(secured.tls("SSL").ssl_crlfile(secured.path("none.crl"))).await.unwrap();
    let told = refused(secured.tls("SSL").ssl_crlfile(secured.path("revoked.crl")), ErrorKind::Authentication).await;
    assert!(told.contains("revoked"), "{told}");
}

#[tokio::test]
async fn authorities_come_from_a_file_a_folder_or_a_text() {
    let Some(secured) = Secured::get() else { return };
    let folder = support::folder();
    for name in ["ca.pem", "another-ca.pem"] {
        std::fs::copy(secured.path(name), folder.path().join(name)).unwrap();
    }
    reach(secured.tls("SSL").ssl_cafile(folder.path())).await.unwrap();
    reach(secured.tls("SSL").ssl_ca_pem(secured.certificates.text("ca.pem"))).await.unwrap();
    for (config, says) in [
        (secured.tls("SSL").ssl_cafile(secured.path("nowhere.pem")), "nowhere.pem"),
        (secured.tls("SSL").ssl_cafile(secured.path("client.key")), "no certificate"),
        (secured.tls("SSL").ssl_ca_pem("-----BEGIN CERTIFICATE-----\n"), "PEM"),
    ] {
        let told = refused(config, ErrorKind::Config).await;
        assert!(told.contains("ssl_cafile") && told.contains(says), "{told}");
    }
}

#[tokio::test]
async fn brokers_that_ask_for_a_certificate_get_ours() {
    let Some(secured) = Secured::get() else { return };
    for listener in ["MUTUAL", "MUTUAL12"] {
        for (certificate, key) in [
            ("client.pem", "client.key"),
            ("client.pem", "client-sec1.key"),
            ("client-rsa.pem", "client-rsa.key"),
            ("client-rsa.pem", "client-pkcs1.key"),
        ] {
            let reached = reach(secured.mutual(listener, certificate, key)).await;
            reached.unwrap_or_else(|error| panic!("{listener} {key}: {error}"));
        }
        let encrypted = secured.mutual(listener, "client.pem", "client-encrypted.key");
        reach(encrypted.ssl_password("hush-hush")).await.unwrap();
        let (certificate, key) = (secured.certificates.text("client.pem"), secured.certificates.text("client.key"));
        reach(secured.tls(listener).ssl_certificate_pem(format!("{certificate}{key}"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_s_refusal_of_our_certificate_comes_out() {
    let Some(secured) = Secured::get() else { return };
    for listener in ["MUTUAL", "MUTUAL12"] {
        let told = refused(secured.tls(listener), ErrorKind::Authentication).await;
        assert!(told.contains("wants a client certificate") && told.contains("ssl_certfile"), "{told}");
        let stranger = secured.mutual(listener, "stranger.pem", "stranger.key");
        let told = refused(stranger, ErrorKind::Authentication).await;
        assert!(told.contains("refused our certificate"), "{told}");
    }
}

#[tokio::test]
async fn keys_that_can_not_be_used_are_told_before_anything_is_sent() {
    let Some(secured) = Secured::get() else { return };
    let key = |key: &str| secured.mutual("MUTUAL", "client.pem", key);
    for (config, says) in [
        (key("client-rsa.key"), "doesn't belong to the certificate"),
        (key("client-encrypted.key"), "ssl_password is missing"),
        (key("client-encrypted.key").ssl_password("wrong-hush"), "ssl_password doesn't open"),
        (key("client-old.key").ssl_password("hush-hush"), "openssl pkcs8"),
        (key("ca.pem"), "no private key"),
        (secured.tls("MUTUAL").ssl_keyfile(secured.path("client.key")), "without ssl_certfile"),
    ] {
        let error = Client::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says) && !error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn passwords_right_and_wrong() {
    let Some(secured) = Secured::get() else { return };
    let bare = Config::new([secured.broker.bootstrap_sasl()]).security_protocol(SecurityProtocol::SaslPlaintext);
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512] {
        let bare = bare.clone().sasl_mechanism(mechanism).sasl_plain_username("alice");
        reach(secured.password(mechanism, "alice-secret")).await.unwrap();
        reach(bare.clone().sasl_plain_password("alice-secret")).await.unwrap();
        for config in [secured.password(mechanism, "wrong-hush"), bare.sasl_plain_password("wrong-hush")] {
            let told = refused(config, ErrorKind::Authentication).await;
            assert!(told.contains("\"alice\"") && told.contains(mechanism.name()), "{told}");
            assert!(!told.contains("hush"), "{told}");
        }
    }
}

#[tokio::test]
async fn tokens_right_and_wrong() {
    let Some(secured) = Secured::get() else { return };
    let with = |token: String| {
        let source = move || std::future::ready(Token::new(token.clone()));
        secured.sasl(SaslMechanism::OauthBearer).sasl_oauth_token_provider(source)
    };
    reach(with(support::token(300))).await.unwrap();
    let late = support::token(-300);
    let told = refused(with(late.clone()), ErrorKind::Authentication).await;
    assert!(told.contains("invalid_token") && !told.contains(&late[30..50]), "{told}");
    let elsewhere = Config::new([secured.broker.bootstrap_sasl()])
        .security_protocol(SecurityProtocol::SaslPlaintext)
        .sasl_mechanism(SaslMechanism::OauthBearer)
        .sasl_oauth_token_provider(|| async { Token::new("e30") });
    let told = refused(elsewhere, ErrorKind::Authentication).await;
    assert!(told.contains("doesn't take sasl_mechanism OAUTHBEARER") && told.contains("SCRAM-SHA-512"), "{told}");
}

#[tokio::test]
async fn the_wrong_security_protocol_is_told_in_one_sentence() {
    let Some(secured) = Secured::get() else { return };
    let plain = || Config::new([secured.broker.bootstrap()]);
    let told = refused(secured.at("localhost", "SSL"), ErrorKind::NotKafka).await;
    assert!(told.contains("speaks TLS"), "{told}");
    let told = refused(
        secured.password(SaslMechanism::Plain, "x").security_protocol(SecurityProtocol::SaslPlaintext),
        ErrorKind::NotKafka,
    )
    .await;
    assert!(told.contains("speaks TLS"), "{told}");
    for config in [
        plain().security_protocol(SecurityProtocol::SaslPlaintext),
        secured.tls("SSL").security_protocol(SecurityProtocol::SaslSsl),
    ] {
        let config = config.sasl_mechanism(SaslMechanism::Plain).sasl_plain_username("alice").sasl_plain_password("x");
        let told = refused(config, ErrorKind::Authentication).await;
        assert!(told.contains("takes no credentials at this port"), "{told}");
    }
    // A broker that is shutting down hangs up as well, so what it is has to be asked.
    let bare = Config::new([secured.broker.bootstrap_sasl()]);
    for (config, listener) in [(bare.clone(), "SASL_PLAINTEXT"), (secured.tls("SASL_SSL"), "SASL_SSL")] {
        let told = refused(config, ErrorKind::Authentication).await;
        assert!(told.contains("without credentials") && told.contains("SCRAM-SHA-512"), "{told}");
        assert!(told.contains(&format!("security_protocol to {listener}, ")), "{told}");
    }
    let tls = |config: Config| config.security_protocol(SecurityProtocol::Ssl).ssl_cafile(secured.path("ca.pem"));
    let both = |config| {
        let config = tls(config).security_protocol(SecurityProtocol::SaslSsl).sasl_mechanism(SaslMechanism::Plain);
        config.sasl_plain_username("alice").sasl_plain_password("x")
    };
    for config in [tls(plain()), tls(bare.clone()), both(plain()), both(bare)] {
        let told = refused(config, ErrorKind::NotKafka).await;
        assert!(told.contains("speaks without TLS"), "{told}");
    }
}

#[tokio::test]
async fn a_context_of_the_caller_s_is_used_as_it_is() {
    let Some(secured) = Secured::get() else { return };
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(secured.path("ca.pem")).unwrap();
    use rustls::pki_types::pem::PemObject as _;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    // With the cryptography that is used where the processor lacks what the other one needs
    let context = rustls::ClientConfig::builder_with_provider(Arc::new(oxitls_rustcrypto_provider::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let context = Arc::new(context);
    for listener in ["SSL", "TLS12", "RSA", "RSA12"] {
        let config = secured.at("localhost", listener).security_protocol(SecurityProtocol::Ssl);
        let reached = reach(config.ssl_context(context.clone())).await;
        reached.unwrap_or_else(|error| panic!("{listener}: {error}"));
    }
}

#[tokio::test]
async fn settings_as_texts_reach_as_far() {
    let Some(secured) = Secured::get() else { return };
    let (address, ca) = (format!("localhost:{}", secured.broker.port(4)), secured.path("ca.pem").display().to_string());
    let python = [
        ("bootstrap_servers", address.as_str()),
        ("security_protocol", "SASL_SSL"),
        ("ssl_cafile", &ca),
        ("sasl_mechanism", "SCRAM-SHA-512"),
        ("sasl_plain_username", "alice"),
        ("sasl_plain_password", "alice-secret"),
    ];
    let librdkafka = [
        ("bootstrap.servers", address.as_str()),
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", &ca),
        ("sasl.mechanisms", "SCRAM-SHA-512"),
        ("sasl.username", "alice"),
        ("sasl.password", "alice-secret"),
    ];
    for settings in [python, librdkafka] {
        let settings = Settings::new(settings).unwrap();
        assert!(settings.warnings().is_empty());
        reach(settings.client().unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_are_reached_by_tls_with_credentials() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(cluster) = Cluster::listening(certificates.listeners(&["SSL", "SASL_SSL"])) else { return };
    let topic = support::fresh("secured");
    let secured = |nodes: &[u16]| {
        Config::new(nodes.iter().map(|node| format!("localhost:{}", cluster.port(*node, 4))))
            .security_protocol(SecurityProtocol::SaslSsl)
            .ssl_cafile(certificates.path("ca.pem"))
            .sasl_mechanism(SaslMechanism::ScramSha512)
            .sasl_plain_username("alice")
    };
    let told = refused(secured(&[1, 2, 3]).sasl_plain_password("wrong"), ErrorKind::Authentication).await;
    assert!(told.contains("SCRAM-SHA-512"), "{told}");
    let stranger =
        secured(&[1, 2, 3]).sasl_plain_password("alice-secret").ssl_cafile(certificates.path("another-ca.pem"));
    refused(stranger, ErrorKind::Authentication).await;

    // The others are found through the second.
    let client = Client::new(secured(&[2]).sasl_plain_password("alice-secret")).unwrap();
    client.create_topic(&NewTopic::new(&topic).partitions(6), LONG).await.unwrap();
    let producer = Producer::new(&client, ProducerConfig::new());
    let mut deliveries = Vec::new();
    for number in 0..60 {
        let record = ProducerRecord::new(topic.as_str(), format!("record {number}")).partition(number % 6);
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let mut reader = Reader::new(&client, ReaderConfig::default());
    let start = Start::At(OffsetAt::Earliest);
    reader.assign(&(0..6).map(|partition| (TopicPartition::new(topic.as_str(), partition), start)).collect::<Vec<_>>());
    let mut found = Vec::new();
    let deadline = Instant::now() + LONG;
    while found.len() < 60 && Instant::now() < deadline {
        for fetched in reader.next(Most::default(), Duration::from_secs(1)).await {
            found.extend(fetched.records.into_iter().filter_map(|record| record.value));
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 60);
    client.close().await;
}

#[test]
fn the_page_about_settings_has_the_table_of_the_code() {
    let read = |path| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(read("docs/kafka-settings.md").ends_with(&read("src/kafka/config/settings.md")));
}

/// In the order of their ports, which begin at the fourth.
const LISTENERS: [&str; 11] =
    ["SSL", "SASL_SSL", "TLS12", "RSA", "RSA12", "MUTUAL", "MUTUAL12", "EXPIRED", "ELSEWHERE", "ADDRESS", "EARLY"];
