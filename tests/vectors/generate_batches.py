"""Writes batches.jsonl: logs of a broker as other clients filled them, and what they read out of them.

    generate_batches.py BROKER_FOLDER BOOTSTRAP JARS > batches.jsonl

BROKER_FOLDER is that of tests/peer/broker/broker, JARS the folder of Kafka's jars; kafka-python and confluent-kafka as in
tests/peer/requirements.txt. A row:

    writer, codec, shape    who wrote, how it is compressed, and what
    log                     the partition's segments, one behind the other, in hex: batches of format v2
    committed, uncommitted  the records that librdkafka and kafka-python both read, one line each as in tests/peer/records.py
"""

import json
import pathlib
import subprocess
import sys
import time

FOLDER, BOOTSTRAP, JARS = sys.argv[1:]
TESTS = pathlib.Path(__file__).resolve().parent.parent
RECORDS = [sys.executable, str(TESTS / "peer/records.py")]
JAVA = ["java", "-cp", f"{JARS}/*", str(TESTS / "peer/Records.java")]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

TEXT = b"all work and no play makes jack a dull boy. ".hex()
PLAIN = f"""
1700000000123 x6b x76616c7565 x62=x31,x61=-,x62=x,xc3a9=xff
1700000000100 - - .
- x x x=x00
1700000000200 x6b x{TEXT}*30 .
flush
1600000000000 - x32 x6e=x{TEXT}*3
"""
# More than one block of 64 KiB (LZ4) or 32 KiB (xerial's snappy)
LARGE = f"1700000000300 x6c x{TEXT}*1600 .\n1700000000301 x6c x{TEXT}*1600 .\n"
APPEND = f"1700000000000 x6b x31 .\n1700000000001 - x{TEXT}*10 x68=-\nflush\n1700000000002 x - .\n"
TRANSACTIONS = f"""
begin
- x31 x636f6d6d6974746564 .
- x32 x{TEXT}*20 x68=x32
commit
begin
- x33 x61626f72746564 .
flush
- x34 x{TEXT}*20 x68=x34
abort
begin
- x35 x636f6d6d6974746564 .
commit
begin
- x36 x61626f72746564 .
abort
"""


def run(command, text=""):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


def write(writer, topic, codec, mode, text):
    command = JAVA if writer == "java" else [*RECORDS, writer]
    run([*command, "write", BOOTSTRAP], f"topic {topic} {codec} {mode}\n{text}")


def segments(topic):
    return sorted((pathlib.Path(FOLDER) / f"log/{topic}-0").glob("*.log"))


def emit(topic, writer, codec, shape):
    row = {"writer": writer, "codec": codec, "shape": shape, "log": b"".join(log.read_bytes() for log in segments(topic)).hex()}
    for isolation in ("committed", "uncommitted"):
        one, other = (
            run([*RECORDS, client, "read", BOOTSTRAP, f"read_{isolation}", topic]).splitlines()[1:]
            for client in ("confluent", "kafka-python"))
        if one != other:
            sys.exit(f"{topic}: they read different things: {one} {other}")
        row[isolation] = one
    print(json.dumps(row), flush=True)


def compacted(codec):
    """Keys written again and again and deleted, so that the cleaner leaves gaps, empty batches and a delete horizon."""
    topic = f"compacted-{codec}"
    settings = ["cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0.001", "delete.retention.ms=86400000"]
    run([*RECORDS, "create", BOOTSTRAP, ",".join([topic, *settings])])
    for turn in range(4):
        keys = [f"- x{key:02x} x{turn:02x}{TEXT} x68=-" for key in range(4 + turn) if (key + turn) % 3]
        write("confluent", topic, codec, "plain", "\n".join([*keys[:2], "- xff - .", "flush", *keys[2:]]))
        time.sleep(0.3)
    for _ in range(120):
        if int.from_bytes(segments(topic)[0].read_bytes()[:8], "big") > 0:
            break
        time.sleep(1)
    time.sleep(2)
    emit(topic, "confluent", codec, "compacted")


def main():
    for writer in ("confluent", "kafka-python", "java"):
        for codec in CODECS:
            topic = f"create-{writer}-{codec}"
            run([*RECORDS, "create", BOOTSTRAP, topic])
            write(writer, topic, codec, "plain", PLAIN + (LARGE if codec != "none" else ""))
            emit(topic, writer, codec, "create")
            topic = f"append-{writer}-{codec}"
            run([*RECORDS, "create", BOOTSTRAP, f"{topic},message.timestamp.type=LogAppendTime"])
            write(writer, topic, codec, "idempotent", APPEND)
            emit(topic, writer, codec, "append")
            topic = f"transactions-{writer}-{codec}"
            run([*RECORDS, "create", BOOTSTRAP, topic])
            write(writer, topic, codec, topic, TRANSACTIONS)
            emit(topic, writer, codec, "transactions")
    for codec in ("none", "lz4"):
        compacted(codec)


if __name__ == "__main__":
    main()
