#!/usr/bin/env python3
"""Our Kafka client beside librdkafka (confluent-kafka), Kafka's Java tools and rskafka, in one run on one broker:
`tests/run clients` sets up what this needs and calls it.

    clients.py [ROUNDS] [PART...]     parts: ack trip produce fetch tls idle sealed; all of them when none is named

Prints a table for each part: medians over the rounds, and ours as a ratio to the best of the others. The clients take turns
within each round, so that a slow minute of the machine falls on all of them, and another one begins each round. A round
before the first isn't counted: the broker compiles itself in it.
"""
import json, os, re, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

here = Path(__file__).resolve().parent
broker = os.environ["KAFKACRYPTO_BROKER"]
MB = 1e6
PARTITIONS = 4
# Records, so many that the fastest client takes two seconds or so.
PRODUCED = {"none": 1_200_000, "snappy": 500_000, "lz4": 600_000, "zstd": 300_000, "gzip": 50_000}
FETCHED = {"none": 2_000_000, "snappy": 1_200_000, "lz4": 1_200_000, "zstd": 1_200_000, "gzip": 700_000}
OVER_TLS = 700_000
BATCH = 256 << 10  # bytes of each producer's batches; rskafka's have 256 records
# Bytes of a record, bytes per second (0: as fast as it goes), records.
SEALED = [("1 KiB, 1 Gbit/s", 1 << 10, 125_000_000, 500_000), ("8 KiB, 1 Gbit/s", 8 << 10, 125_000_000, 62_000),
          ("1 KiB, loopback", 1 << 10, 0, 700_000)]
# Bytes, and how many records; fewer where rskafka waits 44 ms for each.
SIZES = {"100 B": (100, 5000), "8 KiB": (8 << 10, 250), "20 KiB": (20 << 10, 250), "64 KiB": (64 << 10, 2000), "1 MB": (1_000_000, 1000)}
CLIENTS = ["ours", "librdkafka", "Java", "rskafka"]


# ---- jobs of librdkafka, in a process of their own

def librdkafka(job):
    from confluent_kafka import Consumer, Producer, TopicPartition
    common = {"bootstrap.servers": job["bootstrap"], "socket.nagle.disable": True}
    if job.get("ca"):
        common |= {"security.protocol": "ssl", "ssl.ca.location": job["ca"]}

    def producer(**settings):
        return Producer({**common, "enable.idempotence": True, "message.max.bytes": 2_000_000, **settings})

    def consumer(start, **settings):
        made = Consumer({**common, "group.id": "speed", "enable.auto.commit": False, **settings})
        made.assign([TopicPartition(job["topic"], number, start) for number in range(job["partitions"])])
        return made

    def percentiles(times):
        times.sort()
        return {"p50": times[len(times) // 2] * 1e3, "p99": times[min(len(times) * 99 // 100, len(times) - 1)] * 1e3}

    def ack():
        out, value, times = producer(**{"linger.ms": 0}), b"a" * job["size"], []
        for _ in range(job["count"]):
            done = []
            started = time.perf_counter()
            out.produce(job["topic"], value, partition=0, on_delivery=lambda error, _: done.append(error))
            while not done:
                out.poll(1)
            times.append(time.perf_counter() - started)
            assert done == [None], done
        return percentiles(times)

    def trip():
        out, into, value, times = producer(**{"linger.ms": 0}), consumer(-1), b"a" * job["size"], []
        into.poll(3)
        for _ in range(job["count"]):
            started = time.perf_counter()
            out.produce(job["topic"], value, partition=0)
            while into.poll(1) is None:
                pass
            times.append(time.perf_counter() - started)
            out.poll(0)
        return percentiles(times)

    def produce():
        lines, failed, size = Path(job["payloads"]).read_bytes().split(), [], 0
        out = producer(**{"linger.ms": 5, "batch.size": job["batch"], "compression.type": job["codec"],
                          "queue.buffering.max.messages": 1_000_000})
        delivered = lambda error, _: error and failed.append(error)
        started = time.perf_counter()
        for number in range(job["count"]):
            value = lines[number % len(lines)]
            size += len(value)
            while True:
                try:
                    out.produce(job["topic"], value, on_delivery=delivered)
                    break
                except BufferError:
                    out.poll(0.01)
            if number % 1000 == 0:
                out.poll(0)
        out.flush(120)
        assert not failed, failed[:1]
        return {"seconds": time.perf_counter() - started, "records": job["count"], "bytes": size}

    def fetch():
        started, records, size = time.perf_counter(), 0, 0
        into = consumer(0, **{"queued.min.messages": 1_000_000, "fetch.wait.max.ms": 500})
        while records < job["count"]:
            for message in into.consume(10_000, 1):
                assert not message.error(), message.error()
                size += len(message.value())
                records += 1
        return {"seconds": time.perf_counter() - started, "records": records, "bytes": size}

    def idle():
        into = consumer(-1)
        into.poll(3)
        print("ready", flush=True)
        while True:
            into.poll(3600)

    return locals()[job["job"]]()


# ---- Java's tools

def java(job):
    def tool(name, *arguments):
        run = subprocess.run([broker, "tool", "org.apache.kafka.tools." + name, *map(str, arguments)], check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return run.stdout

    settings = ["bootstrap.servers=" + job["bootstrap"], "acks=all", "max.request.size=2000000"]
    secure = ["security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + job.get("ca", "")]
    secure = secure if job.get("ca") else []
    if job["job"] == "ack":
        out = tool("ProducerPerformance", "--topic", job["topic"], "--num-records", job["count"], "--record-size", job["size"],
                   "--throughput", 500 if job["size"] < 100_000 else 50, "--producer-props", "linger.ms=0", *settings)
        return {"p50": float(re.findall(r"([\d.]+) ms 50th", out)[-1]), "p99": float(re.findall(r"([\d.]+) ms 99th", out)[-1])}
    if job["job"] == "trip":
        out = tool("EndToEndLatency", job["bootstrap"], job["topic"], job["count"], "all", job["size"])
        found = re.search(r"50th = ([\d.]+), 99th = ([\d.]+)", out)
        return {"p50": float(found[1]), "p99": float(found[2])}
    if job["job"] == "produce":
        out = tool("ProducerPerformance", "--topic", job["topic"], "--num-records", job["count"], "--payload-file", job["payloads"],
                   "--throughput", -1, "--producer-props", "linger.ms=5", f"batch.size={job['batch']}", "buffer.memory=67108864",
                   "compression.type=" + job["codec"], *settings, *secure)
        rate = float(re.findall(r"([\d.]+) records/sec", out)[-1])
        size = statistics.mean(map(len, Path(job["payloads"]).read_bytes().split()))
        return {"seconds": job["count"] / rate, "records": job["count"], "bytes": size * job["count"]}
    with tempfile.NamedTemporaryFile("w", suffix=".properties") as file:
        file.write("\n".join(secure))
        file.flush()
        if job["job"] == "idle":
            command = [broker, "tool", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", job["bootstrap"],
                       "--topic", job["topic"]]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        out = tool("ConsumerPerformance", "--bootstrap-server", job["bootstrap"], "--topic", job["topic"], "--messages",
                   job["count"], "--consumer.config", file.name, "--hide-header")
    # start, end, MB, MB/s, records, records/s, rebalancing (ms), fetching (ms), MB/s, records/s while fetching
    fields = out.splitlines()[-1].split(",")
    return {"seconds": float(fields[7]) / 1e3, "records": int(fields[4]), "bytes": float(fields[2]) * (1 << 20)}


# ---- who does what

def has(client, job):
    if client == "rskafka":
        return job.get("codec", "none") in ("none", "snappy", "gzip") and not job.get("ca") and job["job"] != "sealed"
    return client == "ours" or job["job"] != "sealed"


def command(client, job):
    argument = json.dumps({**job, "client": client})
    return [ours_binary(), argument] if client in ("ours", "rskafka") else [sys.executable, __file__, "--job", argument]


def do(client, job):
    if client == "Java":
        return java(job)
    run = subprocess.run(command(client, job), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def ours_binary(found=[]):
    if not found:
        built = subprocess.run(["cargo", "bench", "--features", "rskafka", "--bench", "clients", "--no-run", "--message-format=json"],
                               cwd=here.parent, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        found += [message["executable"] for message in map(json.loads, built.stdout.splitlines())
                  if message.get("executable") and message["target"]["name"] == "clients"]
    return found[0]


class Topics:
    def __init__(self, bootstrap):
        from confluent_kafka.admin import AdminClient
        self.admin, self.made = AdminClient({"bootstrap.servers": bootstrap}), 0

    def new(self, partitions=PARTITIONS, root="speed"):
        from confluent_kafka.admin import NewTopic
        self.made += 1
        name = f"{root}{os.getpid()}x{self.made}.data"
        settings = {"file.delete.delay.ms": "1000", "max.message.bytes": "2000000"}
        for future in self.admin.create_topics([NewTopic(name, partitions, 1, config=settings)]).values():
            future.result()
        return name

    def end(self, name):
        for future in self.admin.delete_topics([name]).values():
            future.result()


def payloads(folder, size=1024):
    """A thousand readings of about this size, as sensors write them: text in which the numbers differ."""
    import random
    chance, lines = random.Random(1), []
    for number in range(1000):
        reading = {"sensor": f"gateway-{chance.randrange(40)}/thermometer-{chance.randrange(900)}", "sequence": number, "values": []}
        room = size - 14 - len(json.dumps(reading, separators=(",", ":")))
        while room > 0:
            reading["values"].append(round(chance.gauss(21.5, 4), 4))
            room -= len(f"{reading['values'][-1]},")
        lines.append(json.dumps(reading, separators=(",", ":")))
    path = Path(folder) / f"payloads-{size}"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# ---- tables

def table(title, rows, better):
    """`rows`: a name, and by client a list of figures, one for each round."""
    print(f"\n{title}\n\n| | {' | '.join(CLIENTS)} | ours to the best of the others |\n|---|{'---|' * len(CLIENTS)}---|")
    for name, figures in rows:
        medians = {client: statistics.median(figures[client]) for client in CLIENTS if figures.get(client)}
        others = [value for client, value in medians.items() if client != "ours" and value > 0]  # Java's tools round down
        ratio = f"{medians['ours'] / better(others):.2f}" if others else ""
        shown = [f"{medians[client]:.3g}" if medians.get(client, 1e9) < 100 else f"{medians[client]:.0f}" if client in medians else "–"
                 for client in CLIENTS]
        print(f"| {name} | {' | '.join(shown)} | {ratio} |", flush=True)


def rounds_of(rounds, jobs, before=lambda job: job, after=lambda job: None):
    """`jobs`: by row. Gives by row and client the answers, without those of the first round, which is one more."""
    answers = {name: {client: [] for client in CLIENTS} for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            for client in CLIENTS[turn % len(CLIENTS):] + CLIENTS[:turn % len(CLIENTS)]:
                if has(client, job):
                    ready = before(job)
                    answers[name][client] += [do(client, ready)][:turn]
                    after(ready)
    return answers


def picked(answers, figure):
    return [(name, {client: [figure(answer) for answer in all] for client, all in by.items()}) for name, by in answers.items()]


def latency(title, answers):
    table(title + ", p50 in ms", picked(answers, lambda answer: answer["p50"]), min)
    table(title + ", p99 in ms", picked(answers, lambda answer: answer["p99"]), min)


def speed(title, answers):
    table(title + ", MB/s", picked(answers, lambda answer: answer["bytes"] / answer["seconds"] / MB), max)
    table(title + ", thousand records a second", picked(answers, lambda answer: answer["records"] / answer["seconds"] / 1e3), max)


def resting(bootstrap, topics):
    """Everything's end awaited on 200 partitions: connections, memory, processor time."""
    topic = topics.new(200)
    figures = {"connections": {}, "memory (resident), MB": {}, "processor, ms in 10 s": {}}
    for client in CLIENTS:
        job = {"job": "idle", "bootstrap": bootstrap, "topic": topic, "partitions": 200}
        if client == "Java":
            process = java(job)
            time.sleep(12)
        else:
            process = subprocess.Popen(command(client, job), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout.readline() == "ready\n"
            time.sleep(3)
        proc = Path(f"/proc/{process.pid}")
        used = lambda: sum(map(int, (proc / "stat").read_text().rsplit(") ", 1)[1].split()[11:13])) * 1000 / os.sysconf("SC_CLK_TCK")
        before = used()
        time.sleep(10)
        figures["processor, ms in 10 s"][client] = [used() - before]
        resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())[1]
        figures["memory (resident), MB"][client] = [int(resident) * 1024 / MB]
        inodes = {re.search(r"\d+", os.readlink(file))[0] for file in (proc / "fd").iterdir() if os.readlink(file).startswith("socket:")}
        lines = [line.split() for name in ("tcp", "tcp6") for line in (proc / "net" / name).read_text().splitlines()[1:]]
        figures["connections"][client] = [sum(fields[3] == "01" and fields[9] in inodes for fields in lines)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    topics.end(topic)
    return list(figures.items())


def sealing(rounds, topics, job, folder):
    """Encrypted with the library's producer and consumer, beside plain with the client under it, over a network of 1 Gbit/s
    and over loopback."""
    for name, size, rate, count in SEALED:
        figures = {kind: [] for kind in ("plain written", "encrypted written", "plain read", "encrypted read")}
        job = {**job, "payloads": payloads(folder, size), "batch": 0}
        for _ in range(rounds + 1):
            plain = {**job, "topic": topics.new(), "rate": rate, "count": count}
            rates = lambda answer: answer["bytes"] / answer["seconds"] / MB
            figures["plain written"].append(rates(do("ours", {**plain, "job": "produce"})))
            figures["plain read"].append(rates(do("ours", {**plain, "job": "fetch"})))
            topics.end(plain["topic"])
            sealed = {**plain, "topic": topics.new(root="sealed"), "job": "sealed"}
            answer = do("ours", sealed)
            figures["encrypted written"].append(rates(answer["written"]))
            figures["encrypted read"].append(rates(answer["read"]))
            topics.end(sealed["topic"])
        median = {kind: statistics.median(all[1:]) for kind, all in figures.items()}
        print(f"\n{name}, MB/s\n\n| | plain | encrypted | ratio |\n|---|---|---|---|")
        for what in ("written", "read"):
            plain, sealed = median["plain " + what], median["encrypted " + what]
            print(f"| {what} | {plain:.0f} | {sealed:.0f} | {sealed / plain:.2f} |", flush=True)


def secure_broker(folder):
    """Another broker, with a TLS listener."""
    subprocess.run([Path(broker).with_name("certificates"), folder / "certificates"], check=True)
    listener = folder / "certificates" / "SSL.listener"
    _, _, offset, host = listener.read_text().split()[:4]
    port = 23000 + os.getpid() % 1000 * 3
    subprocess.run([broker, "start", folder / "tls", str(port)], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "KAFKA_LISTENERS": str(listener)})
    return f"127.0.0.1:{port}", f"{host}:{port + int(offset)}", str(folder / "certificates" / "ca.pem")


def main(rounds, parts):
    bootstrap = os.environ["KAFKACRYPTO_BOOTSTRAP"]
    topics, wanted = Topics(bootstrap), lambda part: not parts or part in parts
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        bulk = {"bootstrap": bootstrap, "partitions": PARTITIONS, "payloads": payloads(folder), "codec": "none", "batch": BATCH}
        fresh = lambda job: {**job, "topic": topics.new(job["partitions"])}
        end = lambda job: topics.end(job["topic"])
        if wanted("ack"):
            small = {"job": "ack", "bootstrap": bootstrap, "partitions": 1}
            jobs = {name: {**small, "size": size, "count": count} for name, (size, count) in SIZES.items()}
            latency("Acknowledgement (acks=all, one record at a time)", rounds_of(rounds, jobs, fresh, end))
        if wanted("trip"):
            job = {"job": "trip", "bootstrap": bootstrap, "partitions": 1, "size": 100, "count": 5000}
            latency("Round trip of one record to a waiting reader", rounds_of(rounds, {"100 B": job}, fresh, end))
        if wanted("produce"):
            jobs = {codec: {**bulk, "job": "produce", "codec": codec, "count": count} for codec, count in PRODUCED.items()}
            speed("Producing 1 KiB records", rounds_of(rounds, jobs, fresh, end))
        if wanted("fetch"):
            jobs = {codec: fresh({**bulk, "job": "fetch", "codec": codec, "count": count}) for codec, count in FETCHED.items()}
            for codec, job in jobs.items():
                # librdkafka would take minutes for gzip
                do("ours" if codec == "gzip" else "librdkafka", {**job, "job": "produce"})
            speed("Fetching 1 KiB records", rounds_of(rounds, jobs))
            for job in jobs.values():
                end(job)
        if wanted("tls"):
            plain, secure, ca = secure_broker(folder)
            try:
                there = Topics(plain)
                job = {**bulk, "bootstrap": secure, "ca": ca, "count": OVER_TLS}
                written = {"produce": {**job, "job": "produce"}, "fetch": {**job, "job": "fetch", "topic": there.new()}}
                do("librdkafka", {**written["fetch"], "job": "produce"})
                ready = lambda job: job if job["job"] == "fetch" else {**job, "topic": there.new()}
                done = lambda job: job["job"] == "fetch" or there.end(job["topic"])
                speed("1 KiB records over TLS", rounds_of(rounds, written, ready, done))
            finally:
                there.admin = None  # or it looks for its broker as long as we live
                subprocess.run([broker, "kill", folder / "tls"])
        if wanted("idle"):
            table("200 partitions, waiting for records", resting(bootstrap, topics), min)
        if wanted("sealed"):
            sealing(rounds, topics, bulk, folder)


if sys.argv[1:2] == ["--job"]:
    print(json.dumps(librdkafka(json.loads(sys.argv[2]))))
else:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    main((numbers or [5])[0], [argument for argument in sys.argv[1:] if not argument.isdigit()])
