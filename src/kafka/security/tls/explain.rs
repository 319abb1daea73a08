//! What went wrong with TLS, as one sentence that says what to do next.

use std::io;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};

use crate::kafka::error::{Error, ErrorKind};

/// The name that a certificate must have.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let bad = |_| Error::new(ErrorKind::Config, format!("{host:?} can't be a name in a certificate"));
    ServerName::try_from(name).map_err(bad)
}

/// Why a handshake failed.
pub(super) fn handshake(error: &io::Error, has_certificate: bool) -> Error {
    match tls(error) {
        Some(error) => explain(error, has_certificate),
        None if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::ConnectionReset => {
            let text = "the connection was closed when we began with TLS, as by a plain listener (set security_protocol \
                        to PLAINTEXT or SASL_PLAINTEXT, or give the port of a TLS listener) or by a broker that is \
                        shutting down";
            Error::new(ErrorKind::Unreachable, text)
        }
        None => Error::new(ErrorKind::Unreachable, format!("the TLS handshake broke: {error}")),
    }
}

/// What an error after the handshake means, when it is one of TLS.
pub(super) fn later(error: &io::Error, has_certificate: bool) -> Option<Error> {
    tls(error).map(|error| explain(error, has_certificate))
}

fn tls(error: &io::Error) -> Option<&Tls> {
    error.get_ref()?.downcast_ref()
}

fn explain(error: &Tls, has_certificate: bool) -> Error {
    let (kind, text) = match error {
        Tls::InvalidCertificate(bad) => {
            (ErrorKind::Authentication, format!("the broker's certificate is not accepted: {}", certificate(bad)))
        }
        Tls::AlertReceived(alert) if is_about_certificate(*alert) => {
            (ErrorKind::Authentication, refused(*alert, has_certificate))
        }
        Tls::AlertReceived(Alert::ProtocolVersion) | Tls::PeerIncompatible(_) => (
            ErrorKind::Unsupported,
            format!(
                "the broker and we have no version or cipher of TLS in common ({error}); allow TLS 1.2 or 1.3 there"
            ),
        ),
        Tls::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) => (
            ErrorKind::Authentication,
            format!(
                "the broker refused the TLS handshake ({error}); it may want a client certificate, or a cipher that we \
                 lack"
            ),
        ),
        Tls::InvalidMessage(_) => (
            ErrorKind::NotKafka,
            "who answers there doesn't speak TLS, and security_protocol says that it does".to_owned(),
        ),
        _ => (ErrorKind::Disconnected, format!("TLS failed: {error}")),
    };
    Error::new(kind, text)
}

/// What is wrong with the broker's certificate.
fn certificate(bad: &Bad) -> String {
    match bad {
        Bad::UnknownIssuer => {
            "none of the authorities in ssl_cafile (the system's when it is missing) has signed it; put the one that has \
             into ssl_cafile"
                .to_owned()
        }
        Bad::BadSignature => {
            "its signature is wrong; a different authority of the same name has signed it, which belongs in ssl_cafile"
                .to_owned()
        }
        Bad::Expired => "it has expired; renew it, or set this machine's clock right".to_owned(),
        Bad::ExpiredContext { time, not_after } => {
            format!("it expired {} ago; renew it, or set this machine's clock right", between(*not_after, *time))
        }
        Bad::NotValidYet => "it isn't valid yet; set this machine's clock right".to_owned(),
        Bad::NotValidYetContext { time, not_before } => {
            format!("it is valid only in {}; set this machine's clock right", between(*time, *not_before))
        }
        Bad::Revoked => "its authority has revoked it; it needs a new one".to_owned(),
        Bad::UnknownRevocationStatus => {
            "ssl_crlfile has no list of the authority that signed it; add that list".to_owned()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            format!("{bad}; use one of its names in bootstrap_servers and advertised.listeners, or have it issued anew")
        }
        Bad::Other(_) if format!("{bad:?}").contains("CaUsedAsEndEntity") => {
            "it is an authority's own and not a server's; have one issued by the authority (CA:FALSE)".to_owned()
        }
        _ => bad.to_string(),
    }
}

fn between(from: UnixTime, to: UnixTime) -> String {
    match to.as_secs().saturating_sub(from.as_secs()) {
        seconds if seconds < 3 * HOUR => format!("{} minutes", seconds / 60),
        seconds if seconds < 72 * HOUR => format!("{} hours", seconds / HOUR),
        seconds => format!("{} days", seconds / (24 * HOUR)),
    }
}

/// Alerts by which a broker refuses our certificate or asks for one.
fn is_about_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

fn refused(alert: Alert, has_certificate: bool) -> String {
    if has_certificate {
        return format!(
            "the broker refused our certificate ({alert:?}); have ssl_certfile signed by an authority that the broker \
             knows, with its whole chain in the file, and look whether it has expired"
        );
    }
    format!("the broker wants a client certificate ({alert:?}); set ssl_certfile and ssl_keyfile")
}

const HOUR: u64 = 3600;
