//! Batches that our client would never write, straight to a broker: produce version 3, batch format 2.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How the records of a batch are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    NullHeader,
    Lz4,
}

/// Writes a batch of `values` to partition 0, and waits for the broker's word.
pub async fn produce(broker: &str, topic: &str, values: &[&str], shape: Shape) {
    let batch = batch(values, shape);
    let mut body = Vec::new();
    body.extend(i16(0)); // produce
    body.extend(i16(3));
    body.extend(i32(7)); // correlation
    body.extend(i16(-1)); // no client id
    body.extend(i16(-1)); // no transaction
    body.extend(i16(-1)); // all replicas
    body.extend(i32(10_000));
    body.extend(i32(1));
    body.extend(i16(topic.len() as i16));
    body.extend(topic.as_bytes());
    body.extend(i32(1));
    body.extend(i32(0)); // partition
    body.extend(i32(batch.len() as i32));
    body.extend(batch);
    let mut stream = TcpStream::connect(broker).await.unwrap();
    stream.write_u32(body.len() as u32).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let mut answer = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut answer).await.unwrap();
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[error..error + 2], [0, 0], "the broker refused the batch");
}

fn batch(values: &[&str], shape: Shape) -> Vec<u8> {
    let records: Vec<u8> = values.iter().enumerate().flat_map(|(n, value)| record(n as i64, value, shape)).collect();
    let (attributes, records) = match shape {
        Shape::NullHeader => (0, records),
        Shape::Lz4 => (3, lz4(&records)),
    };
    let mut checked = Vec::new();
    checked.extend(i16(attributes));
    checked.extend(i32(values.len() as i32 - 1));
    checked.extend([1_700_000_000_000_i64.to_be_bytes(); 2].concat());
    checked.extend([0xff; 8 + 2 + 4]); // no producer
    checked.extend(i32(values.len() as i32));
    checked.extend(records);
    let mut batch = vec![0; 8];
    batch.extend(i32(checked.len() as i32 + 9));
    batch.extend(i32(-1));
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn record(delta: i64, value: &str, shape: Shape) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(varint(delta));
    record.extend(varint(-1)); // no key
    record.extend(varint(value.len() as i64));
    record.extend(value.as_bytes());
    match shape {
        Shape::NullHeader => record.extend([&varint(1)[..], &varint(1), b"h", &varint(-1)].concat()),
        Shape::Lz4 => record.extend(varint(0)),
    }
    [varint(record.len() as i64), record].concat()
}

/// A frame with one block that isn't compressed.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let size = bytes.len() as u32 | 0x8000_0000;
    [&[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82][..], &size.to_le_bytes(), bytes, &[0; 4]].concat()
}

fn varint(n: i64) -> Vec<u8> {
    let (mut left, mut bytes) = (((n << 1) ^ (n >> 63)) as u64, Vec::new());
    while left > 0x7f {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn i16(n: i16) -> [u8; 2] {
    n.to_be_bytes()
}

fn i32(n: i32) -> [u8; 4] {
    n.to_be_bytes()
}
