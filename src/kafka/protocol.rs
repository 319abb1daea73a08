//! Requests to frames and frames to responses, and which versions to speak.
//!
//! A frame is a length (int32, big endian) and that many bytes: a header, then the body. Request headers carry the API,
//! its version, a correlation id that comes back in the response's header, and our client id.
//!
//! Only *flexible* versions are spoken where an API has any, which brokers have from Kafka 2.8 on. In these every count
//! is an unsigned varint, so that [`Guard`] can refuse a count that the rest of the frame can't hold before the codec
//! allocates for it.

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::buf::ByteBuf;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

use super::error::{Error, ErrorKind};
use super::frame::{Draft, Frame};

/// Which versions of which API a broker speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::kafka) struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    pub(in crate::kafka) fn new(response: &ApiVersionsResponse) -> Self {
        let keys = response.api_keys.iter();
        Self(keys.map(|key| (key.api_key, (key.min_version, key.max_version))).collect())
    }

    /// Whether nothing is known.
    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest version that both sides speak.
    pub(in crate::kafka) fn pick<R: Request>(&self) -> Result<i16, Error> {
        let (our_min, our_max) = ours::<R>();
        let Some(&(min, max)) = self.0.get(&R::KEY) else {
            return Err(Error::new(ErrorKind::Unsupported, format!("the broker has no {}", name::<R>())).unsent());
        };
        let version = our_max.min(max);
        if version < our_min.max(min) {
            let name = name::<R>();
            let what = format!("the broker speaks {name} {min} to {max}, and we speak {our_min} to {our_max}");
            return Err(Error::new(ErrorKind::Unsupported, what).unsent());
        }
        Ok(version)
    }
}

/// What follows a request's header.
pub(in crate::kafka) trait Body {
    type Request: Request;

    fn write(&self, version: i16, draft: &mut Draft) -> Result<(), Error>;
}

impl<R: Request> Body for R {
    type Request = Self;

    fn write(&self, version: i16, draft: &mut Draft) -> Result<(), Error> {
        let bad = |error| unsendable::<R>(version, error);
        draft.text.reserve(self.compute_size(version).map_err(bad)?);
        self.encode(&mut draft.text, version).map_err(bad)
    }
}

/// A request as it goes over the wire, its length first.
pub(in crate::kafka) fn encode<B: Body>(
    body: &B,
    version: i16,
    correlation: i32,
    client_id: &StrBytes,
) -> Result<Frame, Error> {
    let header = RequestHeader::default()
        .with_request_api_key(<B::Request as Request>::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()));
    let mut draft = Draft::default();
    draft.text.reserve(SMALL);
    draft.text.put_i32(0);
    let written = header.encode(&mut draft.text, B::Request::header_version(version));
    written.map_err(|error| unsendable::<B::Request>(version, error))?;
    body.write(version, &mut draft)?;
    draft.finish(|size| i32::try_from(size - 4).map(i32::to_be_bytes).map_err(|_| too_large(size)))
}

/// The response in a frame, whose length is cut off.
pub(in crate::kafka) fn decode<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, Error> {
    let bad = |error: &dyn Display| {
        Error::new(ErrorKind::Corrupt, format!("the answer to {} {version} can't be read: {error:#}", name::<R>()))
    };
    let header_version = R::Response::header_version(version);
    let mut frame = Guard::new(frame, is_flexible::<R>(version));
    ResponseHeader::decode(&mut frame, header_version).map_err(|error| bad(&error))?;
    let response = R::Response::decode(&mut frame, version).map_err(|error| bad(&error))?;
    match frame.remaining() {
        0 => Ok(response),
        more => Err(bad(&format_args!("{more} bytes are left over"))),
    }
}

/// The correlation id that a response starts with.
pub(in crate::kafka) fn correlation(frame: &[u8]) -> Option<i32> {
    frame.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// `Metadata`, for the error messages.
pub(in crate::kafka) fn name<R: Request>() -> String {
    match ApiKey::try_from(R::KEY) {
        Ok(key) => format!("{key:?}"),
        Err(()) => format!("API {}", R::KEY),
    }
}

/// The versions of a request that we speak: the flexible ones, or all of an API that has none.
pub(in crate::kafka) fn ours<R: Request>() -> (i16, i16) {
    let range = <R as Message>::VERSIONS;
    let flexible = (range.min..=range.max).find(|version| is_flexible::<R>(*version));
    let all = R::KEY == ApiKey::ApiVersions as i16 || flexible.is_none();
    (if all { range.min } else { flexible.unwrap_or(range.min) }, range.max)
}

fn is_flexible<R: Request>(version: i16) -> bool {
    R::header_version(version) >= 2
}

fn unsendable<R: Request>(version: i16, error: impl Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{} {version} can't be sent: {error:#}", name::<R>())).unsent()
}

fn too_large(size: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("a request of {size} bytes is more than the protocol can say")).unsent()
}

/// The bytes of a response on their way into the codec, which would allocate for any count that it reads. Here a count
/// that is bigger than what is left of the frame ends the frame instead: each element takes a byte or more.
struct Guard {
    bytes: Bytes,
    flexible: bool,
    /// The unsigned varint that is being read: what it has so far, and at which bit it goes on.
    varint: (u64, u32),
}

impl Guard {
    fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, varint: (0, 0) }
    }

    /// Whether this byte ends a number that can't be. In flexible versions single unsigned bytes are read only for
    /// varints, and these are counts, lengths or tags.
    fn is_too_much(&mut self, byte: u8) -> bool {
        let (value, shift) = self.varint;
        let value = value | u64::from(byte & 0x7f) << shift;
        let more = byte & 0x80 != 0 && shift < 28;
        self.varint = if more { (value, shift + 7) } else { (0, 0) };
        !more && value > self.bytes.len() as u64 + SLACK
    }
}

impl Buf for Guard {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_get_u8(&mut self) -> Result<u8, bytes::TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        if self.is_too_much(byte) {
            self.bytes.clear();
            return self.bytes.try_get_u8();
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, bytes::TryGetError> {
        let value = self.bytes.try_get_i32()?;
        if !self.flexible && usize::try_from(value).is_ok_and(|value| value > self.bytes.len().max(MOST_PLAIN)) {
            self.bytes.clear();
            return self.bytes.try_get_i32();
        }
        Ok(value)
    }
}

impl ByteBuf for Guard {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.peek_bytes(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.get_bytes(size)
    }
}

/// Room for requests that are small.
const SMALL: usize = 512;
/// Lengths and counts are sent plus one, and the number of a tag needn't have as many bytes after it.
const SLACK: u64 = 64;
/// The biggest number in a response without varints that isn't held to be a count: milliseconds to wait, for an hour.
const MOST_PLAIN: usize = 3_600_000;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
    use kafka_protocol::messages::{
        ApiVersionsRequest, MetadataRequest, MetadataResponse, OffsetDeleteRequest, SaslHandshakeRequest,
        SaslHandshakeResponse,
    };

    use super::*;

    fn versions(key: ApiKey, min: i16, max: i16) -> Versions {
        let range = ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max);
        Versions::new(&ApiVersionsResponse::default().with_api_keys(vec![range]))
    }

    fn frame<M: Encodable>(response: &M, header: i16, version: i16) -> BytesMut {
        let mut frame = BytesMut::new();
        ResponseHeader::default().with_correlation_id(7).encode(&mut frame, header).unwrap();
        response.encode(&mut frame, version).unwrap();
        frame
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(versions(ApiKey::Metadata, 0, 12).pick::<MetadataRequest>(), Ok(12));
        assert_eq!(versions(ApiKey::Metadata, 0, 99).pick::<MetadataRequest>(), Ok(13));
        assert_eq!(versions(ApiKey::OffsetDelete, 0, 0).pick::<OffsetDeleteRequest>(), Ok(0));
        assert_eq!(versions(ApiKey::Metadata, 0, 12).0.get(&(ApiKey::Metadata as i16)), Some(&(0, 12)));
    }

    #[test]
    fn brokers_that_speak_other_versions_are_told_apart() {
        let error = versions(ApiKey::Metadata, 0, 8).pick::<MetadataRequest>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.message(), "the broker speaks Metadata 0 to 8, and we speak 9 to 13");
        assert!(!error.may_have_arrived());
        let error = versions(ApiKey::Metadata, 14, 20).pick::<MetadataRequest>().unwrap_err();
        assert_eq!(error.message(), "the broker speaks Metadata 14 to 20, and we speak 9 to 13");
        let error = versions(ApiKey::Fetch, 0, 8).pick::<MetadataRequest>().unwrap_err();
        assert_eq!(error.message(), "the broker has no Metadata");
    }

    #[test]
    fn a_request_says_its_length_api_version_and_number() {
        let me = StrBytes::from_static_str("me");
        let mut frame = encode(&MetadataRequest::default(), 12, 7, &me).unwrap();
        let frame = frame.copy_to_bytes(frame.remaining());
        assert_eq!(i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - 4);
        assert_eq!(&frame[4..16], [0, 3, 0, 12, 0, 0, 0, 7, 0, 2, b'm', b'e']);
        let error = encode(&MetadataRequest::default(), 99, 7, &me).unwrap_err();
        assert!(error.to_string().starts_with("Metadata 99 can't be sent"), "{error}");
    }

    #[test]
    fn a_response_comes_back_and_no_byte_may_be_left() {
        let broker = MetadataResponseBroker::default().with_port(9092).with_rack(Some("r".into()));
        let response = MetadataResponse::default().with_brokers(vec![broker; 300]);
        let bytes = frame(&response, 1, 12);
        assert_eq!(correlation(&bytes), Some(7));
        let read: MetadataResponse = decode::<MetadataRequest>(bytes.clone().freeze(), 12).unwrap();
        assert_eq!(read.brokers, response.brokers);
        for end in 0..bytes.len() {
            assert!(decode::<MetadataRequest>(bytes.clone().freeze().slice(..end), 12).is_err(), "{end}");
        }
        let mut longer = bytes;
        longer.put_u8(0);
        let error = decode::<MetadataRequest>(longer.freeze(), 12).unwrap_err();
        assert_eq!(error.message(), "the answer to Metadata 12 can't be read: 1 bytes are left over");
    }

    #[test]
    fn a_count_that_the_frame_cannot_hold_allocates_nothing() {
        // Four billion brokers, in a flexible version; two billion mechanisms, and APIs, in versions that aren't.
        let flexible = [&[0, 0, 0, 7, 0][..], &[0, 0, 0, 0], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0; 40]].concat();
        assert!(decode::<MetadataRequest>(flexible.into(), 12).is_err());
        let plain = [&[0, 0, 0, 7, 0, 0][..], &[0x7f, 0xff, 0xff, 0xff], &[0; 40]].concat();
        assert!(decode::<SaslHandshakeRequest>(plain.clone().into(), 1).is_err());
        assert!(decode::<ApiVersionsRequest>(plain.into(), 0).is_err());
    }

    #[test]
    fn versions_without_varints_are_read() {
        let response = SaslHandshakeResponse::default().with_mechanisms(vec!["PLAIN".into()]);
        let read = decode::<SaslHandshakeRequest>(frame(&response, 0, 1).freeze(), 1).unwrap();
        assert_eq!(read, response);
        let key = ApiVersion::default().with_api_key(3).with_max_version(9);
        let response = ApiVersionsResponse::default().with_api_keys(vec![key; 90]).with_throttle_time_ms(1000);
        assert_eq!(decode::<ApiVersionsRequest>(frame(&response, 0, 1).freeze(), 1), Ok(response.clone()));
        assert_eq!(decode::<ApiVersionsRequest>(frame(&response, 0, 4).freeze(), 4), Ok(response));
    }
}
