#!/usr/bin/env python3
"""A member of a consumer group, and a writer, of other Kafka clients: what Kafka's own VerifiableConsumer prints, a JSON line for each event.

  member.py confluent    BOOTSTRAP TOPIC GROUP STRATEGY   range, roundrobin, cooperative-sticky; or consumer (KIP-848)
  member.py kafka-python BOOTSTRAP TOPIC GROUP STRATEGY
  member.py write        BOOTSTRAP TOPIC PARTITIONS       writes to the partitions in turn until standard input ends, then prints how much

Leaves the group when standard input ends.
"""
import json
import os
import select
import sys
import threading


def say(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def places(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


def over():
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and os.read(0, 1) == b""


def confluent(bootstrap, topic, group, strategy):
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "auto.commit.interval.ms": 500}
    if strategy == "consumer":
        settings["group.protocol"] = "consumer"
    else:
        settings |= {"partition.assignment.strategy": strategy, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    consumer = Consumer(settings)
    consumer.subscribe(
        [topic],
        on_assign=lambda _, partitions: say(name="partitions_assigned", partitions=places(partitions)),
        on_revoke=lambda _, partitions: say(name="partitions_revoked", partitions=places(partitions)),
    )
    while not over():
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            say(name="record_data", partition=message.partition(), offset=message.offset())
    consumer.close()


def kafka_python(bootstrap, topic, group, strategy):
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

    assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}

    class Listener(ConsumerRebalanceListener):
        def on_partitions_assigned(self, assigned):
            say(name="partitions_assigned", partitions=places(assigned))

        def on_partitions_revoked(self, revoked):
            say(name="partitions_revoked", partitions=places(revoked))

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", auto_commit_interval_ms=500,
        session_timeout_ms=6000, heartbeat_interval_ms=500, partition_assignment_strategy=[assignors[strategy]],
    )
    consumer.subscribe([topic], listener=Listener())
    while not over():
        for partition, records in consumer.poll(timeout_ms=100).items():
            for record in records:
                say(name="record_data", partition=partition.partition, offset=record.offset)
    consumer.close()


def write(bootstrap, topic, partitions):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0})
    written, stop = 0, threading.Event()
    while not over() and not stop.wait(0.002):
        producer.produce(topic, b"v%d" % written, partition=written % int(partitions))
        producer.poll(0)
        written += 1
    producer.flush()
    say(name="written", count=written)


what, arguments = sys.argv[1], sys.argv[2:]
{"confluent": confluent, "kafka-python": kafka_python, "write": write}[what](*arguments)
