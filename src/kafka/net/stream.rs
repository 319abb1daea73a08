//! The one seam to the network: anything that reads and writes bytes.

use tokio::io::{AsyncRead, AsyncWrite};

/// A TCP connection, with or without TLS around it.
pub(in crate::kafka) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

pub(in crate::kafka) type BoxStream = Box<dyn Stream>;
