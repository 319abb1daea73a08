use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::kafka::record::{BatchWriter, DECOMPRESSED_LIMIT, Stamp};

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// A batch of one value, compressed.
fn batch(codec: Compression, value: &[u8]) -> Vec<u8> {
    let mut writer = BatchWriter::with_capacity(value.len());
    writer.append(0, None, Some(value), &[]).unwrap();
    writer.finish(codec, None, Stamp::NONE).unwrap().to_vec()
}

/// Digits: about half of it is left when it is compressed.
fn digits(count: usize) -> Vec<u8> {
    let next = |seed: &u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(1), next).map(|seed| b'0' + (seed >> 33).to_le_bytes()[0] % 10).take(count).collect()
}

fn packed(parcel: &Parcel, at: usize) -> &Arc<Packed> {
    parcel.batches()[at].as_ref().unwrap()
}

fn is_plain(packed: &Packed) -> bool {
    packed.batch().compression() == Some(Compression::None)
}

/// Until no thread is at work, and nothing waits but for room.
fn settle(unpacker: &Unpacker) {
    let until = Instant::now() + Duration::from_secs(20);
    while lock(&unpacker.work).threads > 0 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(lock(&unpacker.work).waiting.is_empty() || unpacker.room.available_permits() < LARGE as usize);
}

#[test]
fn each_codec_is_decompressed_and_its_room_comes_back() {
    let (runtime, unpacker, value) = (runtime(), Unpacker::new(), digits(50_000));
    let _inside = runtime.enter();
    for codec in [Compression::Gzip, Compression::Zstd] {
        let parcel = Parcel::new([batch(codec, &value), batch(codec, &value)].concat().into());
        assert!(parcel.is_packed() && !is_plain(packed(&parcel, 1)));
        unpacker.ahead([&parcel]);
        settle(&unpacker);
        let held: usize = (0..2).map(|at| packed(&parcel, at).batch().size()).sum();
        assert!(is_plain(packed(&parcel, 0)) && is_plain(packed(&parcel, 1)) && held > 100_000);
        assert_eq!(unpacker.room.available_permits(), AHEAD - held, "what waits counts");
        let record = packed(&parcel, 1).batch().records(DECOMPRESSED_LIMIT).unwrap().next().unwrap().unwrap();
        assert_eq!(record.value.unwrap(), value);
        drop(parcel);
        assert_eq!(unpacker.room.available_permits(), AHEAD);
    }
}

#[test]
fn what_is_small_or_plain_or_already_gone_is_left_alone() {
    let (runtime, unpacker) = (runtime(), Unpacker::new());
    let small = batch(Compression::Gzip, &digits(1000));
    let parcel = |bytes: Vec<u8>| Parcel::new(bytes.into());
    assert!(!parcel(small.clone()).is_packed() && !parcel(batch(Compression::None, &digits(50_000))).is_packed());
    assert!(!parcel(Vec::new()).is_packed());
    let among = parcel([batch(Compression::Gzip, &digits(50_000)), small].concat());
    unpacker.ahead([&among]);
    assert_eq!(unpacker.room.available_permits(), AHEAD, "there is no runtime");
    let _inside = runtime.enter();
    unpacker.ahead([&among]);
    settle(&unpacker);
    assert!(is_plain(packed(&among, 0)) && !is_plain(packed(&among, 1)));
    // No thread may start before the lock is gone; by then nobody wants it.
    let gone = parcel(batch(Compression::Gzip, &digits(50_000)));
    let room = unpacker.room.available_permits();
    lock(&unpacker.work).threads = unpacker.most;
    unpacker.ahead([&gone]);
    assert_eq!(lock(&unpacker.work).waiting.len(), 1);
    drop(gone);
    lock(&unpacker.work).threads = 0;
    unpacker.ahead(&[]);
    settle(&unpacker);
    assert_eq!((unpacker.room.available_permits(), lock(&unpacker.work).waiting.len()), (room, 0));
}

#[test]
fn memory_is_bounded_and_what_is_too_large_is_left_to_who_reads_it() {
    let (runtime, unpacker) = (runtime(), Unpacker::new());
    let _inside = runtime.enter();
    let bomb = Parcel::new(batch(Compression::Gzip, &vec![b'a'; 40 << 20]).into());
    assert!(bomb.is_packed());
    unpacker.ahead([&bomb]);
    settle(&unpacker);
    assert!(!is_plain(packed(&bomb, 0)));
    assert_eq!(unpacker.room.available_permits(), AHEAD);
    assert!(packed(&bomb, 0).batch().records(DECOMPRESSED_LIMIT).unwrap().next().unwrap().is_ok());
    // More than there is room for: the first of them.
    let one = batch(Compression::Gzip, &digits(1_000_000));
    let mut parcels: Vec<_> = (0..50).map(|_| Parcel::new(one.clone().into())).collect();
    unpacker.ahead(&parcels);
    settle(&unpacker);
    let plain: Vec<_> = parcels.iter().map(|parcel| is_plain(packed(parcel, 0))).collect();
    let count = plain.iter().filter(|plain| **plain).count();
    assert!((20..=33).contains(&count) && plain[..count].iter().all(|plain| *plain), "{plain:?}");
    // What is taken makes room for more.
    let rest = parcels.split_off(count);
    drop(parcels);
    unpacker.ahead(&[]);
    settle(&unpacker);
    assert!(is_plain(packed(&rest[0], 0)) && is_plain(packed(rest.last().unwrap(), 0)));
    drop(rest);
    assert_eq!(unpacker.room.available_permits(), AHEAD);
}

#[test]
fn what_is_damaged_keeps_its_error() {
    let (runtime, unpacker) = (runtime(), Unpacker::new());
    let _inside = runtime.enter();
    let mut bytes = batch(Compression::Gzip, &digits(50_000));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 100].fill(0xff);
    let sum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    let parcel = Parcel::new(bytes.into());
    let before = packed(&parcel, 0).batch().records(DECOMPRESSED_LIMIT).unwrap_err();
    unpacker.ahead([&parcel]);
    settle(&unpacker);
    assert_eq!(packed(&parcel, 0).batch().records(DECOMPRESSED_LIMIT).unwrap_err(), before);
}

#[test]
fn a_runtime_that_ends_takes_its_threads_along_and_the_next_one_goes_on() {
    let (first, unpacker) = (runtime(), Unpacker::new());
    let parcel = Parcel::new(batch(Compression::Gzip, &digits(50_000)).into());
    let gone = first.handle().clone();
    drop(first);
    let inside = gone.enter();
    unpacker.ahead([&parcel]);
    drop(inside);
    assert_eq!(lock(&unpacker.work).threads, 0);
    let second = runtime();
    let _inside = second.enter();
    unpacker.ahead(&[]);
    settle(&unpacker);
    assert!(is_plain(packed(&parcel, 0)));
}
