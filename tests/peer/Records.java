// What records.py does, with Kafka's own Java client: java -cp JARS Records.java write|read|keys BOOTSTRAP …

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Records {
    static KafkaProducer<byte[], byte[]> producer;
    static List<Future<RecordMetadata>> sent = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        if (args[0].equals("write")) write(args[1]);
        else if (args[0].equals("keys")) keys(args[1], args[2]);
        else read(args[1], args[2], List.of(args).subList(3, args.length));
    }

    static void write(String bootstrap) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String topic = null;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.trim().split(" ");
            switch (words[0]) {
                case "" -> { }
                case "topic" -> {
                    finish();
                    topic = words[1];
                    open(bootstrap, words[2], words[3]);
                }
                case "begin" -> producer.beginTransaction();
                case "commit" -> producer.commitTransaction();
                case "abort" -> {
                    producer.flush();
                    producer.abortTransaction();
                }
                case "flush" -> producer.flush();
                default -> {
                    Long time = words[0].equals("-") ? null : Long.valueOf(words[0]);
                    var record = new ProducerRecord<>(topic, 0, time, decode(words[1]), decode(words[2]), headers(words[3]));
                    sent.add(producer.send(record));
                }
            }
        }
        finish();
    }

    static void keys(String bootstrap, String topic) throws Exception {
        open(bootstrap, "none", "plain");
        for (String key : new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).lines().toList())
            sent.add(producer.send(new ProducerRecord<>(topic, decode(key), new byte[0])));
        producer.close();
        for (var one : sent) System.out.println(one.get().partition());
    }

    static void open(String bootstrap, String codec, String mode) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("compression.type", codec);
        settings.put("linger.ms", "200");
        settings.put("batch.size", "1048576");
        settings.put("max.request.size", "8388608");
        settings.put("enable.idempotence", String.valueOf(!mode.equals("plain")));
        boolean transactional = !mode.equals("plain") && !mode.equals("idempotent");
        if (transactional) settings.put("transactional.id", mode);
        producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        if (transactional) producer.initTransactions();
    }

    static void finish() throws Exception {
        if (producer != null) producer.close();
        for (var one : sent) one.get();
        sent.clear();
    }

    static void read(String bootstrap, String isolation, List<String> topics) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("isolation.level", isolation);
        settings.put("enable.auto.commit", "false");
        settings.put("fetch.max.bytes", "67108864");
        settings.put("max.partition.fetch.bytes", "67108864");
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            // All at once: one after the other, each would wait for the end of the last one's poll.
            var partitions = topics.stream().map(topic -> new TopicPartition(topic, 0)).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var ends = consumer.endOffsets(partitions);
            var rows = new HashMap<String, List<String>>();
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                for (var record : consumer.poll(Duration.ofMillis(500)))
                    rows.computeIfAbsent(record.topic(), topic -> new ArrayList<>()).add(row(record));
            }
            for (String topic : topics) {
                System.out.println("topic " + topic);
                rows.getOrDefault(topic, List.of()).forEach(System.out::println);
            }
        }
    }

    static String row(ConsumerRecord<byte[], byte[]> record) throws Exception {
        var headers = new StringBuilder();
        for (Header header : record.headers()) {
            if (headers.length() > 0) headers.append(',');
            headers.append(encode(header.key().getBytes(StandardCharsets.UTF_8))).append('=').append(encode(header.value()));
        }
        String kind = record.timestampType() == TimestampType.LOG_APPEND_TIME ? "append" : "create";
        return record.offset() + " " + kind + " " + record.timestamp() + " " + encode(record.key()) + " "
            + encode(record.value()) + " " + (headers.length() == 0 ? "." : headers);
    }

    static List<Header> headers(String text) {
        List<Header> headers = new ArrayList<>();
        if (text.equals(".")) return headers;
        for (String pair : text.split(",")) {
            String[] parts = pair.split("=");
            headers.add(new RecordHeader(new String(decode(parts[0]), StandardCharsets.UTF_8), decode(parts[1])));
        }
        return headers;
    }

    static byte[] decode(String text) {
        if (text.equals("-")) return null;
        String[] parts = text.substring(1).split("\\*");
        byte[] once = HexFormat.of().parseHex(parts[0]);
        int times = parts.length == 1 ? 1 : Integer.parseInt(parts[1]);
        byte[] all = new byte[once.length * times];
        for (int i = 0; i < all.length; i++) all[i] = once[i % once.length];
        return all;
    }

    static String encode(byte[] data) throws Exception {
        if (data == null) return "-";
        HexFormat hex = HexFormat.of();
        if (data.length <= 256) return "x" + hex.formatHex(data);
        return "#" + data.length + ":" + hex.formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }
}
