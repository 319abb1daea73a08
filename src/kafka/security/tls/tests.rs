use std::io;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::provider::{Choice, best};
use super::*;

fn told(error: Tls, has_certificate: bool) -> (ErrorKind, bool, String) {
    let error = io::Error::new(io::ErrorKind::InvalidData, error);
    let told = explain::handshake(&error, has_certificate);
    assert_eq!(explain::later(&error, has_certificate), Some(told.clone()));
    (told.kind(), told.is_retriable(), told.to_string())
}

#[test]
fn refused_certificates_are_not_tried_again() {
    for (error, mine, wanted) in [
        (Tls::InvalidCertificate(CertificateError::UnknownIssuer), false, "ssl_cafile"),
        (Tls::InvalidCertificate(CertificateError::Expired), false, "renew it"),
        (Tls::InvalidCertificate(CertificateError::NotValidForName), false, "advertised.listeners"),
        (Tls::InvalidCertificate(CertificateError::UnknownRevocationStatus), false, "ssl_crlfile"),
        (Tls::AlertReceived(AlertDescription::CertificateRequired), false, "set ssl_certfile and ssl_keyfile"),
        (Tls::AlertReceived(AlertDescription::BadCertificate), true, "refused our certificate"),
        (Tls::AlertReceived(AlertDescription::HandshakeFailure), false, "client certificate"),
    ] {
        let (kind, retriable, text) = told(error, mine);
        assert_eq!((kind, retriable), (ErrorKind::Authentication, false), "{text}");
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn who_speaks_no_tls_or_another_one_is_told_apart() {
    let (kind, _, text) = told(Tls::InvalidMessage(InvalidMessage::InvalidContentType), false);
    assert_eq!(kind, ErrorKind::NotKafka);
    assert!(text.contains("doesn't speak TLS"), "{text}");
    let (kind, _, text) = told(Tls::AlertReceived(AlertDescription::ProtocolVersion), false);
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("TLS 1.2 or 1.3"), "{text}");
}

#[test]
fn what_is_about_the_network_stays_so() {
    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
    assert_eq!(explain::later(&error, true), None);
    let told = explain::handshake(&error, true);
    assert!(told.is_retriable() && told.to_string().contains("plain listener"), "{told}");
}

#[test]
fn names_and_addresses_can_be_checked() {
    for host in ["broker.example", "127.0.0.1", "::1", "[::1]", "localhost"] {
        assert!(explain::server_name(host).is_ok(), "{host}");
    }
    assert_eq!(explain::server_name("no host").unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_certificate_without_its_key_asks_for_it() {
    let alone = || Some(Pem::Text(CERTIFICATE.into()));
    let settings = TlsSettings { authorities: alone(), certificate: alone(), ..TlsSettings::default() };
    let told = build(&settings, best()).unwrap_err().to_string();
    assert!(told.contains("no private key") && told.contains("; set ssl_keyfile (ssl.key.location), or put"), "{told}");
    let told = build(&TlsSettings { key: alone(), ..settings }, best()).unwrap_err().to_string();
    assert!(told.starts_with("ssl_keyfile") && told.ends_with("; correct the setting"), "{told}");
}

/// Our settings come to a connection with either provider, in both versions of TLS; and each checks who answers.
#[tokio::test]
async fn both_providers_shake_hands() {
    let certificate = || Pem::Text(CERTIFICATE.into());
    let trusting = TlsSettings { authorities: Some(certificate()), ..TlsSettings::default() };
    for provider in [best(), Choice::new().of(false)] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = Arc::new(build(&trusting, provider.clone()).unwrap());
            let address = answering(version).await;
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut stream = connect(config.clone(), tcp, "localhost").await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HELLO", "{version:?} {provider:?}");
            let tcp = TcpStream::connect(address).await.unwrap();
            let refused = connect(config, tcp, "another.example").await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::Authentication, "{refused}");
        }
    }
}

/// The address of somebody who speaks this version of TLS alone, and says everything louder.
async fn answering(version: &'static rustls::SupportedProtocolVersion) -> std::net::SocketAddr {
    let provider = Arc::new(oxitls_rustcrypto_provider::provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let chain = pem::certificates(&Pem::Text(CERTIFICATE.into()), "").unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            // Who doesn't believe us goes away.
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut bytes = [0; 5];
            if stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes.to_ascii_uppercase()).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    });
    address
}

/// For `localhost`, signed by itself, until 2120; with its key, which protects nothing.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKHND1nq0IP23wEy
VaXfl6y2ykjR8cC5bT/qgGPGWgAF0tI35cHx5ggqtdQZO14KHfNb9vrbkoCoRmDE
6Rx0sdmjWjBYMAwGA1UdEwEB/wQCMAAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwFAYD
VR0RBA0wC4IJbG9jYWxob3N0MB0GA1UdDgQWBBRaR5/+Db6bSSq/7SOCcTroZb1c
HjAKBggqhkjOPQQDAgNIADBFAiB5VpMAnAxvlzA/b/uIedMrOrEinvH4HoIiJAER
bRyNagIhALEw8f2cvYjsz7BgF9tWdCJ6qQEG3ywkTkbBU6IVpOae
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3BMznsjFwFXwXJLP
dw0bSeVcIg1mLEKcDAMAhtg+eiGhRANCAAShzQ9Z6tCD9t8BMlWl35estspI0fHA
uW0/6oBjxloABdLSN+XB8eYIKrXUGTteCh3zW/b625KAqEZgxOkcdLHZ
-----END PRIVATE KEY-----
";
