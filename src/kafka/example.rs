// What examples of the Kafka client share, hidden in the docs: each runs where there is no broker, and must say so in
// time.

fn without_broker(
    example: impl AsyncFnOnce(kafkacrypto::kafka::Client, std::time::Duration) -> Result<(), kafkacrypto::kafka::Error>,
) {
    use kafkacrypto::kafka::{Client, Config, ErrorKind};
    let nobody_there = Client::new(Config::new(["127.0.0.1:1"])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = std::time::Instant::now();
    let error = runtime.block_on(example(nobody_there, std::time::Duration::from_millis(100))).unwrap_err();
    // On a busy machine the time may be over before the first attempt is.
    assert!([ErrorKind::Unreachable, ErrorKind::TimedOut].contains(&error.kind()), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}
