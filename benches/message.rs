//! Serialize and deserialize, by size and by number of threads: `cargo bench --bench message`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kafkacrypto::keyring::{Keyring, Prepare, PrepareError, ProducerSecret};
use kafkacrypto::keys::{KeyIndex, Purpose};
use kafkacrypto::secret::Secret;
use kafkacrypto::serdes::{Deserializer, Serializer};
use kafkacrypto::topic::Root;

const SIZES: [usize; 4] = [100, 1 << 10, 16 << 10, 1 << 20];
const TOPIC: &str = "lab.sensor";

/// The secret is there from the start.
struct Ready;

impl Prepare for Ready {
    fn prepare(&self, _: &[Root]) -> Result<(), PrepareError> {
        Ok(())
    }
}

fn pair() -> (Serializer, Deserializer) {
    let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    let keyring = Arc::new(Keyring::new());
    let (root, index) = (Root::new("lab"), KeyIndex::of_node(&[7; 32], 1));
    let _ = keyring.install_producer(ProducerSecret::new(root, index, Secret::random(&mut rng), &mut rng));
    let serializer = Serializer::new(keyring.clone(), Arc::default(), Arc::new(Ready), Purpose::Value);
    (serializer, Deserializer::new(keyring, Arc::default(), Purpose::Value))
}

fn serialize(serializer: &Serializer, text: &[u8]) -> Vec<u8> {
    serializer.serialize(TOPIC, Some(black_box(text))).unwrap().unwrap()
}

fn deserialize(deserializer: &Deserializer, sealed: &[u8]) {
    assert!(black_box(deserializer.deserialize(TOPIC, Some(black_box(sealed)))).is_cleartext());
}

fn by_size(c: &mut Criterion) {
    let (serializer, deserializer) = pair();
    for (name, decrypts) in [("serialize", false), ("deserialize", true)] {
        let mut group = c.benchmark_group(name);
        for size in SIZES {
            let text = vec![0x61; size];
            let sealed = serialize(&serializer, &text);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                if decrypts {
                    b.iter(|| deserialize(&deserializer, &sealed));
                } else {
                    b.iter(|| serialize(&serializer, &text));
                }
            });
        }
    }
}

/// The same work on one node, shared among threads; the throughput is that of all of them.
fn by_threads(c: &mut Criterion) {
    let (serializer, deserializer) = pair();
    let text = vec![0x61; 1 << 10];
    let sealed = serialize(&serializer, &text);
    for (name, decrypts) in [("serialize 1 KiB, threads", false), ("deserialize 1 KiB, threads", true)] {
        let mut group = c.benchmark_group(name);
        for threads in [1, 2] {
            group.throughput(Throughput::Bytes(threads << 10));
            group.bench_function(BenchmarkId::from_parameter(threads), |b| {
                b.iter_custom(|iterations| {
                    timed(threads, || {
                        for _ in 0..iterations {
                            if decrypts {
                                deserialize(&deserializer, &sealed);
                            } else {
                                black_box(serialize(&serializer, &text));
                            }
                        }
                    })
                });
            });
        }
    }
}

fn timed(threads: u64, work: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(&work);
        });
        work();
    });
    start.elapsed()
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = by_size, by_threads
}
criterion_main!(benches);
