use std::io;

use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage};

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
