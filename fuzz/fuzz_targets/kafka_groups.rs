#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| kafkacrypto::fuzz::kafka_groups(data));
