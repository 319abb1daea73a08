"""Writes to a broker with confluent-kafka, as the tests of reading ask for: a JSON object per line in, one per line out."""

import json
import sys
import time

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

bootstrap = sys.argv[1]
admin = AdminClient({"bootstrap.servers": bootstrap})
producers = {}


def producer(settings):
    key = json.dumps(settings, sort_keys=True)
    if key not in producers:
        given = {"bootstrap.servers": bootstrap, "linger.ms": 20, "enable.idempotence": True}
        producers[key] = Producer({**given, **settings})
        if "transactional.id" in settings:
            producers[key].init_transactions(30)
    return producers[key]


# librdkafka gives up what it had asked of a bootstrap address when that broker gets its name.
LOST = (KafkaError._DESTROY_BROKER, KafkaError._TRANSPORT)


def wait(ask, done=None):
    """Asks until it is answered; `done` says that an answer which was lost had come too late."""
    for left in reversed(range(10)):
        try:
            for future in ask().values():
                future.result()
            return
        except KafkaException as error:
            if left < 9 and error.args[0].code() == done:
                return
            if not left or error.args[0].code() not in LOST:
                raise
            time.sleep(0.5)


def create(topic, partitions=1, config=None, replicas=-1):
    new = NewTopic(topic, partitions, replicas, config=config or {})
    wait(lambda: admin.create_topics([new]), KafkaError.TOPIC_ALREADY_EXISTS)


def delete(topic):
    wait(lambda: admin.delete_topics([topic]), KafkaError.UNKNOWN_TOPIC_OR_PART)


def grow(topic, partitions):
    wait(lambda: admin.create_partitions([NewPartitions(topic, partitions)]), KafkaError.INVALID_PARTITIONS)


def delete_records(topic, partition, before):
    wait(lambda: admin.delete_records([TopicPartition(topic, partition, before)]))


def produce(topic, partition=0, first=0, count=1, size=0, settings=None, headers=None, timestamp=0, keys=0):
    """Records whose values are the numbers from `first`, padded to `size`; keys repeat after `keys`."""
    offsets, errors = [], []

    def delivered(error, message):
        errors.append(str(error)) if error else offsets.append(message.offset())

    out = producer(settings or {})
    for n in range(first, first + count):
        value = str(n).ljust(size, ".").encode()
        key = str(n % keys).encode() if keys else None
        given = [(name, value.encode() if value is not None else None) for name, value in headers or []]
        while True:
            try:
                out.produce(topic, value, key, partition, delivered, timestamp=timestamp, headers=given)
                break
            except BufferError:
                out.poll(0.1)
    out.flush(60)
    assert not errors, errors[:3]
    return {"offsets": offsets}


def begin(settings):
    producer(settings).begin_transaction()


def commit(settings):
    producer(settings).commit_transaction(30)


def abort(settings):
    producer(settings).abort_transaction(30)


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = globals()[request.pop("do")](**request) or {}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
