use proptest::prelude::*;

use super::*;

fn batch(records: &[u8]) -> Vec<u8> {
    [b"head".as_slice(), records].concat()
}

#[test]
fn every_codec_gives_back_what_it_got() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(10_000);
    for codec in &Compression::ALL[1..] {
        for size in [100, 65_535, 65_536, 65_537, 131_072, text.len()] {
            let packed = compressed(*codec, None, &batch(&text[..size]), 4).expect("text gets smaller");
            assert_eq!(&packed[..4], b"head");
            let plain = decompressed(*codec, &Bytes::copy_from_slice(&packed[4..]), size).expect("sound");
            assert!(plain == text[..size], "{codec} {size}");
            let short = decompressed(*codec, &Bytes::copy_from_slice(&packed[4..]), size - 1);
            assert_eq!(short, Err(Defect::TooLarge { limit: size - 1 }), "{codec} {size}");
        }
    }
}

#[test]
fn what_does_not_get_smaller_is_not_compressed() {
    let noise: Vec<u8> = (0..1000_u32).flat_map(|n| crc32c::crc32c(&n.to_le_bytes()).to_le_bytes()).collect();
    for codec in &Compression::ALL[1..] {
        assert_eq!(compressed(*codec, None, &batch(&noise), 4), None, "{codec}");
        assert_eq!(compressed(*codec, None, &batch(b"x"), 4), None, "{codec}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    for codec in &Compression::ALL[1..] {
        let bomb = Bytes::from(compressed(*codec, None, &zeros, 0).expect("zeros get smaller"));
        assert_eq!(decompressed(*codec, &bomb, 1 << 20), Err(Defect::TooLarge { limit: 1 << 20 }), "{codec}");
    }
}

#[test]
fn levels_count() {
    let text: Vec<u8> = (0..40_000_u32).flat_map(|n| format!("{} ", n * n % 1000).into_bytes()).collect();
    let size = |codec, level| compressed(codec, Some(level), &text, 0).expect("smaller").len();
    assert!(size(Compression::Gzip, 9) < size(Compression::Gzip, 1));
    assert!(size(Compression::Zstd, 4) < size(Compression::Zstd, -7));
    assert_eq!(size(Compression::Zstd, 19), size(Compression::Zstd, 4));
    assert_eq!(size(Compression::Zstd, 0), size(Compression::Zstd, 3));
    for (codec, level) in [(Compression::Gzip, 100), (Compression::Gzip, -5), (Compression::Zstd, 100)] {
        let packed = compressed(codec, Some(level), &text, 0).expect("smaller");
        assert!(decompressed(codec, &packed.into(), text.len()).is_ok());
    }
}

#[test]
fn cut_or_damaged_data_is_an_error() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(100);
    for codec in &Compression::ALL[1..] {
        let packed = Bytes::from(compressed(*codec, None, &text, 0).expect("smaller"));
        for end in [1, 5, packed.len() / 2, packed.len() - 1] {
            let result = decompressed(*codec, &packed.slice(..end), 1 << 20);
            assert!(matches!(result, Err(Defect::Compressed { .. })), "{codec} cut at {end}: {result:?}");
        }
    }
}

/// What other writers of LZ4 frames make.
fn lz4_frame(plain: &[u8], info: lz4_flex::frame::FrameInfo) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    std::io::Write::write_all(&mut encoder, plain).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn every_kind_of_lz4_frame_is_read_and_its_checksums_verified() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameInfo};
    let plain: Vec<u8> = (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n) / 5000).to_le_bytes()).collect();
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for block in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for bits in 0..8_u64 {
                let info = FrameInfo::new().block_mode(mode).block_size(block).block_checksums(bits & 1 != 0);
                let size = (bits & 2 != 0).then_some(plain.len() as u64);
                let frame = lz4_frame(&plain, info.content_size(size).content_checksum(bits & 4 != 0));
                let unpack = |bytes: &[u8]| lz4::decompress(bytes, 2 * plain.len());
                assert!(unpack(&frame).as_ref() == Ok(&plain), "{bits}");
                let skippable = [0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
                let twice = unpack(&[&skippable[..], &frame[..], &frame[..]].concat()).expect("two frames");
                assert!(twice[..plain.len()] == plain && twice[plain.len()..] == plain);
                if bits & 5 != 0 {
                    let mut bad = frame.clone();
                    bad[frame.len() / 2] ^= 1;
                    assert!(matches!(unpack(&bad), Err(Failure::Malformed(_))));
                }
                let mut bad = frame;
                bad[5] ^= 0x10;
                assert!(matches!(unpack(&bad), Err(Failure::Malformed(_))), "its head");
            }
        }
    }
}

#[test]
fn a_frame_of_xerial_s_snappy_is_read() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(3000);
    let mut frame = [&[0x82][..], b"SNAPPY\0", &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    for chunk in text.chunks(32 << 10) {
        let mut block = Vec::new();
        snappy::compress(chunk, &mut block).expect("memory");
        frame.extend_from_slice(&u32::try_from(block.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(&block);
    }
    assert!(snappy::decompress(&frame, text.len()) == Ok(text.clone()));
    assert_eq!(snappy::decompress(&frame, text.len() - 1), Err(Failure::TooLarge));
    assert!(matches!(snappy::decompress(&frame[..frame.len() - 1], text.len()), Err(Failure::Malformed(_))));
    assert!(matches!(snappy::decompress(&frame[..10], text.len()), Err(Failure::Malformed(_))));
}

#[test]
fn what_takes_more_than_a_block_of_snappy_is_framed() {
    let text = b"all work and no play makes jack a dull boy. ".repeat(3000);
    let is_framed = |plain: &[u8]| {
        let mut out = Vec::new();
        snappy::compress(plain, &mut out).expect("memory");
        assert!(snappy::decompress(&out, plain.len()) == Ok(plain.to_vec()));
        out.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01")
    };
    assert!(!is_framed(&text[..64 << 10]) && is_framed(&text[..(64 << 10) + 1]) && is_framed(&text));
}

#[test]
fn gzip_members_follow_each_other() {
    let mut two = Vec::new();
    gzip::compress(b"one, ", None, &mut two).expect("memory");
    gzip::compress(b"two", None, &mut two).expect("memory");
    assert_eq!(gzip::decompress(&two, 100), Ok(b"one, two".to_vec()));
}

#[test]
fn zstd_of_every_level_is_read() {
    const SIZE: usize = 300 << 10;
    let plain: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{},", n.wrapping_mul(n) / 7919).into_bytes()).collect();
    for level in -7..=4 {
        let mut frame = Vec::new();
        zstd::compress(&plain[..SIZE], Some(level), &mut frame).expect("memory");
        let unpack = |bytes: &[u8]| zstd::decompress(bytes, SIZE * 2);
        assert!(unpack(&frame).is_ok_and(|got| got == plain[..SIZE]), "level {level}");
        let skippable = [0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let twice = unpack(&[&skippable[..], &frame[..], &skippable[..], &frame[..]].concat()).expect("two frames");
        assert!(twice.len() == SIZE * 2 && twice[SIZE..] == plain[..SIZE], "level {level}");
        assert!(matches!(unpack(&skippable[..9]), Err(Failure::Malformed(_))));
    }
}

#[test]
fn the_checksum_of_a_zstd_frame_is_verified() {
    // The C library's, of the text below, with a content checksum.
    let mut frame = hex::decode(concat!(
        "28b52ffd649807ad0100c402616c6c20776f726b20616e64206e6f20706c6179206d616b6573",
        "206a61636b20612064756c6c20626f792e2001004cc3f35519444b94a6"
    ))
    .expect("hex");
    let text = b"all work and no play makes jack a dull boy. ".repeat(50);
    assert!(zstd::decompress(&frame, 5000) == Ok(text));
    *frame.last_mut().expect("its checksum") ^= 1;
    assert!(matches!(zstd::decompress(&frame, 5000), Err(Failure::Malformed(_))));
}

#[test]
fn a_size_that_a_zstd_frame_claims_is_no_size() {
    // Magic, a content size of 4 bytes, then a raw block or a block of one repeated byte, the last one.
    let frame =
        |claimed: u32, block: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0], &claimed.to_le_bytes()[..], block].concat();
    let (raw, repeated) = ([0x29, 0, 0, b'h', b'e', b'l', b'l', b'o'], [0x03, 0, 0x10, 7]);
    assert_eq!(zstd::decompress(&frame(5, &raw), 1 << 30), Ok(b"hello".to_vec()));
    assert_eq!(zstd::decompress(&frame(128 << 10, &repeated), 1 << 30), Ok(vec![7; 128 << 10]));
    for (claimed, block) in [(4, &raw[..]), (6, &raw), (1 << 29, &raw), (0, &repeated), (1 << 29, &repeated)] {
        let result = zstd::decompress(&frame(claimed, block), 1 << 30);
        assert!(matches!(result, Err(Failure::Malformed(_))), "{claimed}: {:?}", result.map(|plain| plain.len()));
    }
}

proptest! {
    #[test]
    fn round_trip(chunks in proptest::collection::vec((any::<u8>(), 0..3000_usize), 0..50), codec in 1..5_usize) {
        let codec = Compression::ALL[codec];
        let plain: Vec<u8> = chunks.iter().flat_map(|(byte, n)| std::iter::repeat_n(*byte, *n)).collect();
        if let Some(packed) = compressed(codec, None, &plain, 0) {
            prop_assert!(decompressed(codec, &packed.into(), plain.len()).expect("sound") == plain);
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, codec in 1..5_usize) {
        let limit = 1000;
        if let Ok(plain) = decompressed(Compression::ALL[codec], &bytes.into(), limit) {
            prop_assert!(plain.len() <= limit);
        }
    }
}

/// As librdkafka and the C library's streams write them: the frame doesn't say how much it holds.
#[test]
fn zstd_that_is_much_smaller_and_says_no_size_is_read() {
    let frame = hex::decode(concat!(
        "28b52ffd0058cd04006404ce0200000001c00273717565657a656400ce020000",
        "020406080a0c0e10121416181a1c1e20222426282a2c2e30323436383a3c3e40",
        "424446484a4c4e50525456585a5c5e60623224f095392b21295d8995a4742556",
        "92d29558494aafc44a52ba122b49e94aac24a52bb152295d8995a474255692d2",
        "9558494a57ca4a52ba122b49e94aac24a52bb192945e8995a47425c34aac0455",
        "26c1",
    ))
    .unwrap();
    assert_eq!(zstd::decompress(&frame, 8450).unwrap().len(), 8450);
    assert_eq!(zstd::decompress(&frame, 1 << 20).unwrap().len(), 8450);
    assert_eq!(zstd::decompress(&frame, 8449), Err(Failure::TooLarge));
}
