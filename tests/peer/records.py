"""Records as other clients write and read them, for the interop tests and the vectors of batches.

    records.py create BOOTSTRAP TOPIC[,NAME=VALUE]...        with one partition each
    records.py CLIENT write BOOTSTRAP                        the lines below, on stdin
    records.py CLIENT read  BOOTSTRAP ISOLATION TOPIC...     read_committed or read_uncommitted, to the end
    records.py CLIENT keys  BOOTSTRAP TOPIC PARTITIONER      a record for each key on stdin; prints the partitions, one a line

CLIENT is confluent (librdkafka) or kafka-python (which writes neither null headers nor both key and value as
null: empty ones instead); Records.java is the same for Java. One line is one record: bytes are
`-` for null or `x` and hex, and `*N` behind them repeats them; headers are NAME=VALUE with commas, or `.` for none.

    write:  topic TOPIC CODEC MODE       a producer for what follows; MODE is plain, idempotent or a transactional id
            TIME|- KEY VALUE HEADERS     begin     commit     abort     flush
    read:   topic TOPIC
            OFFSET create|append TIME KEY VALUE HEADERS      what is over 256 bytes is `#LENGTH:SHA256`
"""

import hashlib
import sys
import uuid

NAMES = {"create": 1, "append": 2}


def decode(text):
    if text == "-":
        return None
    text, _, times = text[1:].partition("*")
    return bytes.fromhex(text) * int(times or 1)


def encode(data):
    if data is None:
        return "-"
    if len(data) > 256:
        return f"#{len(data)}:{hashlib.sha256(data).hexdigest()}"
    return "x" + data.hex()


def headers_of(text):
    pairs = [] if text == "." else [pair.split("=") for pair in text.split(",")]
    return [(decode(name).decode(), decode(value)) for name, value in pairs]


def row(offset, kind, time, key, value, headers):
    named = [(name.encode() if isinstance(name, str) else name, value) for name, value in headers or []]
    headers = ",".join(f"{encode(name)}={encode(value)}" for name, value in named) or "."
    return f"{offset} {kind} {time} {encode(key)} {encode(value)} {headers}"


class Confluent:
    """librdkafka."""

    def __init__(self, bootstrap):
        import confluent_kafka

        self.kafka, self.bootstrap = confluent_kafka, bootstrap

    def create(self, topic, settings):
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        new = NewTopic(topic, num_partitions=1, replication_factor=1, config=settings)
        admin.create_topics([new])[topic].result()

    def open(self, codec, mode):
        settings = {"bootstrap.servers": self.bootstrap, "compression.type": codec, "linger.ms": 200, "batch.size": 1 << 20}
        if mode != "plain":
            settings["enable.idempotence"] = True
        if mode not in ("plain", "idempotent"):
            settings["transactional.id"] = mode
        self.producer = self.kafka.Producer(settings)
        if "transactional.id" in settings:
            self.producer.init_transactions(30)

    def send(self, topic, time, key, value, headers):
        more = {} if time is None else {"timestamp": time}
        self.producer.produce(topic, value, key, partition=0, headers=headers, on_delivery=delivered, **more)

    def partitions(self, topic, partitioner, keys):
        producer = self.kafka.Producer({"bootstrap.servers": self.bootstrap, "partitioner": partitioner})
        where = [None] * len(keys)

        def reporter(at):
            def report(error, message):
                delivered(error, message)
                where[at] = message.partition()
            return report

        for at, key in enumerate(keys):
            producer.produce(topic, b"", key, on_delivery=reporter(at))
        assert producer.flush(30) == 0
        return where

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction(30)

    def abort(self):
        self.producer.flush(30)  # else what waits is purged, and there is nothing to abort
        self.producer.abort_transaction(30)

    def flush(self):
        assert self.producer.flush(30) == 0

    def read(self, topics, isolation):
        kafka = self.kafka
        consumer = kafka.Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": uuid.uuid4().hex, "enable.partition.eof": True,
            "isolation.level": isolation, "enable.auto.commit": False, "check.crcs": True,
        })
        consumer.assign([kafka.TopicPartition(topic, 0, kafka.OFFSET_BEGINNING) for topic in topics])
        rows, ends = {topic: [] for topic in topics}, set()
        while len(ends) < len(topics):
            message = consumer.poll(60)
            assert message is not None, "nothing for 60 s"
            if message.error():
                assert message.error().code() == kafka.KafkaError._PARTITION_EOF, message.error()
                ends.add(message.topic())
                continue
            kind, time = message.timestamp()
            kind = next(name for name, number in NAMES.items() if number == kind)
            rows[message.topic()].append(
                row(message.offset(), kind, time, message.key(), message.value(), message.headers()))
        consumer.close()
        return rows


class KafkaPython:
    """kafka-python."""

    def __init__(self, bootstrap):
        import kafka

        self.kafka, self.bootstrap, self.sent = kafka, bootstrap, []

    def open(self, codec, mode):
        settings = {"compression_type": None if codec == "none" else codec, "linger_ms": 200, "batch_size": 1 << 20}
        settings["enable_idempotence"] = mode != "plain"
        if mode not in ("plain", "idempotent"):
            settings["transactional_id"] = mode
        self.producer = self.kafka.KafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=1 << 23, **settings)
        if "transactional_id" in settings:
            self.producer.init_transactions()

    def send(self, topic, time, key, value, headers):
        headers = [(name, value or b"") for name, value in headers]  # it refuses null,
        key = b"" if key is None and value is None else key  # and a record of nothing
        more = {} if time is None else {"timestamp_ms": time}
        self.sent.append(self.producer.send(topic, value=value, key=key, headers=headers, partition=0, **more))

    def partitions(self, topic, partitioner, keys):
        assert partitioner == "default"
        producer = self.kafka.KafkaProducer(bootstrap_servers=self.bootstrap)
        sent = [producer.send(topic, key=key, value=b"") for key in keys]
        producer.flush(30)
        return [one.get(1).partition for one in sent]

    def begin(self):
        self.producer.begin_transaction()

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.flush(30)
        self.producer.abort_transaction()

    def flush(self):
        self.producer.flush(30)
        for sent in self.sent:
            sent.get(1)
        self.sent.clear()

    def read(self, topics, isolation):
        kafka = self.kafka
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level=isolation, enable_auto_commit=False, check_crcs=True,
            auto_offset_reset="none", fetch_max_bytes=1 << 26, max_partition_fetch_bytes=1 << 26)
        partitions = [kafka.TopicPartition(topic, 0) for topic in topics]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        for partition, offset in consumer.beginning_offsets(partitions).items():
            consumer.seek(partition, offset)
        rows = {topic: [] for topic in topics}
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for message in sum(consumer.poll(500).values(), []):
                kind = "append" if message.timestamp_type == 1 else "create"
                rows[message.topic].append(
                    row(message.offset, kind, message.timestamp, message.key, message.value, message.headers))
        consumer.close()
        return rows


def delivered(error, _):
    if error is not None:
        sys.exit(f"not delivered: {error}")


def write(client):
    topic = None
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == "topic":
            if topic:
                client.flush()
            _, topic, codec, mode = words
            client.open(codec, mode)
        elif len(words) == 1:
            getattr(client, words[0])()
        else:
            time, key, value, headers = words
            client.send(topic, None if time == "-" else int(time), decode(key), decode(value), headers_of(headers))
    client.flush()


def main():
    if sys.argv[1] == "create":
        client = Confluent(sys.argv[2])
        for topic in sys.argv[3:]:
            name, *settings = topic.split(",")
            client.create(name, dict(setting.split("=", 1) for setting in settings))
        return
    _, name, command, bootstrap, *rest = sys.argv
    client = {"confluent": Confluent, "kafka-python": KafkaPython}[name](bootstrap)
    if command == "write":
        write(client)
        return
    if command == "keys":
        print(*client.partitions(*rest, [decode(line.strip()) for line in sys.stdin]), sep="\n")
        return
    isolation, *topics = rest
    # All at once: one after the other, each would wait for the end of the last one's poll.
    for topic, rows in client.read(topics, isolation).items():
        print(f"topic {topic}", *rows, sep="\n")


if __name__ == "__main__":
    main()
