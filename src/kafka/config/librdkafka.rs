//! librdkafka's names for the same settings, as kcat's `-X name=value` has them.

/// The kafka-python name and the value that mean the same, or why it can't be done.
pub(super) fn translated(name: &str, value: &str) -> Result<(String, String), &'static str> {
    let same = |name: &str| Ok((name.to_owned(), value.to_owned()));
    match name {
        "metadata.broker.list" => same("bootstrap_servers"),
        "sasl.mechanisms" | "sasl.mechanism" => same("sasl_mechanism"),
        "sasl.username" => same("sasl_plain_username"),
        "sasl.password" => same("sasl_plain_password"),
        // "probe" looks for the system's list
        "ssl.ca.location" if value == "probe" => Ok(("ssl_cafile".to_owned(), String::new())),
        "ssl.ca.location" => same("ssl_cafile"),
        "ssl.certificate.location" => same("ssl_certfile"),
        "ssl.key.location" => same("ssl_keyfile"),
        "ssl.key.password" => same("ssl_password"),
        "ssl.crl.location" => same("ssl_crlfile"),
        "ssl.endpoint.identification.algorithm" => {
            let check = if value.eq_ignore_ascii_case("none") { "false" } else { "true" };
            Ok(("ssl_check_hostname".to_owned(), check.to_owned()))
        }
        "enable.ssl.certificate.verification" if matches!(value, "false" | "0" | "f") => {
            Err("a certificate that nobody vouches for is never accepted; name its authority in ssl.ca.location")
        }
        "ssl.keystore.location" | "ssl.keystore.password" => {
            Err("PKCS#12 isn't read; convert it to PEM and use ssl.certificate.location and ssl.key.location")
        }
        "request.required.acks" => same("acks"),
        "queue.buffering.max.ms" => same("linger_ms"),
        "queue.buffering.max.kbytes" => bytes("buffer_memory", value),
        "queued.max.messages.kbytes" => bytes("fetch_max_bytes", value),
        "message.max.bytes" => same("max_request_size"),
        "compression.codec" => same("compression_type"),
        "message.timeout.ms" => same("delivery_timeout_ms"),
        "max.in.flight" => same("max_in_flight_requests_per_connection"),
        "message.send.max.retries" => same("retries"),
        "socket.timeout.ms" => same("request_timeout_ms"),
        "request.timeout.ms" => same(name), // the brokers' wait for replicas there, so not ours
        "topic.metadata.refresh.interval.ms" => same("metadata_max_age_ms"),
        "fetch.wait.max.ms" => same("fetch_max_wait_ms"),
        "fetch.message.max.bytes" => same("max_partition_fetch_bytes"),
        _ => same(&name.replace('.', "_")),
    }
}

fn bytes(name: &str, kilobytes: &str) -> Result<(String, String), &'static str> {
    let bytes = kilobytes.parse::<u64>().ok().and_then(|count| count.checked_mul(1024));
    bytes.map(|bytes| (name.to_owned(), bytes.to_string())).ok_or("it is no number of kilobytes")
}
