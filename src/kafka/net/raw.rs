//! One request at a time, before a connection is everybody's: version negotiation and authentication.

use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::Frames;
use super::stream::BoxStream;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::protocol::{self, Versions};
use crate::kafka::security::RoundTrip;

/// A stream, and what was read of it beyond the last answer.
pub(in crate::kafka) struct Raw {
    pub(in crate::kafka) stream: BoxStream,
    pub(in crate::kafka) frames: Frames,
    pub(in crate::kafka) versions: Versions,
    client_id: StrBytes,
    correlation: i32,
    pub(in crate::kafka) suspicion: &'static str,
}

impl Raw {
    /// `suspicion` is what it may mean when the peer closes the connection at the first request.
    pub(in crate::kafka) fn new(
        stream: BoxStream,
        client_id: &str,
        most_frame_bytes: usize,
        suspicion: &'static str,
    ) -> Self {
        let (frames, client_id) = (Frames::new(most_frame_bytes), StrBytes::from_string(client_id.to_owned()));
        Self { stream, frames, versions: Versions::default(), client_id, correlation: 0, suspicion }
    }

    /// Asks which versions the broker speaks.
    pub(in crate::kafka) async fn agree(&mut self) -> Result<(), Error> {
        let response = match self.api_versions(NEWEST).await? {
            // The answer of a broker that is older than the request says what it can read (KIP-511).
            response if response.error_code == UNSUPPORTED_VERSION => {
                let version = Versions::new(&response).pick::<ApiVersionsRequest>().unwrap_or(0);
                self.api_versions(version).await?
            }
            response => response,
        };
        match response.error_code {
            0 => {
                self.versions = Versions::new(&response);
                Ok(())
            }
            code => Err(Error::from_code(code, "can't agree on versions").unsent()),
        }
    }

    async fn api_versions(&mut self, version: i16) -> Result<ApiVersionsResponse, Error> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(env!("CARGO_PKG_NAME")))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let frame = self.exchange(&request, version).await?;
        let refused = frame.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes());
        protocol::decode::<ApiVersionsRequest>(frame, if refused { 0 } else { version })
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<bytes::Bytes, Error> {
        self.correlation += 1;
        let mut frame = protocol::encode(request, version, self.correlation, &self.client_id)?;
        let sent = async {
            self.stream.write_all_buf(&mut frame).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| broken(&error, ErrorKind::Unreachable))?;
        let frame = self.receive().await?;
        match protocol::correlation(&frame) == Some(self.correlation) {
            true => Ok(frame),
            false => Err(Error::new(ErrorKind::NotKafka, "who answers there doesn't speak Kafka's protocol").unsent()),
        }
    }

    async fn receive(&mut self) -> Result<bytes::Bytes, Error> {
        loop {
            if let Some(frame) = self.frames.next().map_err(Error::unsent)? {
                return Ok(frame);
            }
            self.frames.room();
            match self.stream.read_buf(&mut self.frames.buffer).await {
                Ok(0) => return Err(self.closed()),
                Ok(_) => {}
                Err(error) => return Err(broken(&error, ErrorKind::Unreachable)),
            }
        }
    }

    fn closed(&self) -> Error {
        let what = match self.versions.is_empty() {
            true => format!("the connection was closed at the first request; {}", self.suspicion),
            false => "the connection was closed before we could use it".to_owned(),
        };
        Error::new(ErrorKind::Unreachable, what)
    }
}

impl RoundTrip for Raw {
    async fn call<R>(&mut self, request: R) -> Result<R::Response, Error>
    where
        R: Request<Response: Send + 'static> + Send + Sync + 'static,
    {
        let version = self.versions.pick::<R>()?;
        let frame = self.exchange(&request, version).await?;
        protocol::decode::<R>(frame, version)
    }
}

/// What an error of a stream says; TLS puts an error of ours into it.
pub(super) fn broken(error: &std::io::Error, kind: ErrorKind) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(told) => told.clone(),
        None => Error::new(kind, format!("the connection broke: {error}")),
    }
}

const NEWEST: i16 = 4;
const UNSUPPORTED_VERSION: i16 = 35;
