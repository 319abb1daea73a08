//! A connection in TLS, whose errors say what they mean.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::Error as Tls;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::explain;

/// TLS over TCP. Under TLS 1.3 a broker refuses a client's certificate only after the handshake, so that the refusal
/// comes out of a read; then the error of the read is an [`Error`](crate::kafka::Error) inside of one of `io`.
pub(super) struct Stream {
    tls: TlsStream<TcpStream>,
    has_certificate: bool,
}

impl Stream {
    pub(super) fn new(tls: TlsStream<TcpStream>, has_certificate: bool) -> Self {
        Self { tls, has_certificate }
    }

    fn told(&self, error: io::Error) -> io::Error {
        explain::later(&error, self.has_certificate)
            .map_or(error, |told| io::Error::new(io::ErrorKind::InvalidData, told))
    }

    /// A broker that has gone away may have said why before.
    fn last_words(&mut self, cx: &mut Context<'_>, error: io::Error) -> io::Error {
        let mut byte = [0];
        match Pin::new(&mut self.tls).poll_read(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Err(why)) if why.get_ref().is_some_and(|why| why.is::<Tls>()) => why,
            _ => error,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.tls).poll_read(cx, buf));
        Poll::Ready(result.map_err(|error| self.told(error)))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.tls).poll_write_vectored(cx, parts)) {
            Err(error) => {
                let error = self.last_words(cx, error);
                Poll::Ready(Err(self.told(error)))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.tls).poll_flush(cx)) {
            Err(error) => {
                let error = self.last_words(cx, error);
                Poll::Ready(Err(self.told(error)))
            }
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
