#!/usr/bin/env python3
"""Ours beside the Python package, in one run: `tests/run compare` sets up what this needs and calls it.

Prints medians and ratios: serialize and deserialize by size on one thread, two threads, and the time from the first record
that is seen to its cleartext with fresh nodes on a local broker. NODES=50 and PYTHON_NODES=10 say how many.
"""
import json, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path

here = Path(__file__).resolve().parent
tree = here.parent
target = Path(os.environ.get("CARGO_TARGET_DIR", tree / "target"))
peer = [sys.executable, str(tree / "tests" / "peer" / "peer.py")]
bootstrap = os.environ["KAFKACRYPTO_BOOTSTRAP"]
SIZES = [100, 1 << 10, 16 << 10, 1 << 20]
passwords = ["--root-password", "correct horse battery staple", "--provisioner-password", "staple battery"]


def provision(folder, node, role, topics):
    subprocess.run(peer + ["provision", folder, node, "--role", role, "--topics", topics, *passwords,
                           "--bootstrap", bootstrap], check=True, stderr=subprocess.DEVNULL)
    return os.path.join(folder, node + ".config")


def ours():
    """Medians of criterion, in seconds."""
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "message", "--bench", "exchange", "--", "--noplot"],
                   cwd=tree, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return lambda *path: json.loads((target / "criterion").joinpath(*path, "new", "estimates.json").read_text())["median"]["point_estimate"] / 1e9


def python_times(config):
    """Seconds for one call of the Python package, by operation and size."""
    sys.path.insert(0, str(tree / "tests" / "peer"))
    sys.tracebacklimit = 0
    from argparse import Namespace
    from peer import open_node
    store, node = open_node(Namespace(config=config, log="ERROR"))
    serializer, deserializer = node.getValueSerializer(), node.getValueDeserializer()
    times = {}
    for size in SIZES:
        text = b"a" * size
        sealed = bytes(serializer.serialize("speed.data", text))
        assert bytes(deserializer.deserialize("speed.data", sealed)) == text
        times["serialize", size] = median_time(lambda: serializer.serialize("speed.data", text))
        times["deserialize", size] = median_time(lambda: deserializer.deserialize("speed.data", sealed))
    node.close()
    return times


def median_time(call):
    rounds, count = [], 1
    while True:
        started = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - started
        if took > 0.05:
            break
        count *= 2
    for _ in range(15):
        started = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - started) / count)
    return statistics.median(rounds)


def python_latency(folder, nodes):
    """Milliseconds from the first record seen to its cleartext, one fresh pair of nodes at a time."""
    waited = []
    for number in range(nodes):
        root = f"pylatency{time.time_ns()}"
        producer = provision(folder, f"pp{number}", "producer", root)
        consumer = provision(folder, f"pc{number}", "consumer", root)
        with subprocess.Popen(peer + ["produce", producer, root + ".data", "--linger", "60"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
            running.stdin.write('{"key": null, "value": "3432"}\n')
            running.stdin.close()
            while "sent" not in running.stdout.readline():
                pass
            seen = subprocess.run(peer + ["consume", consumer, root + ".data", "--count", "1"], check=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            running.kill()
        waited += [json.loads(line)["waited"] * 1e3 for line in seen.stdout.splitlines() if "waited" in line]
    return sorted(waited)


def wheel_times():
    """Seconds of the wheel that the Python peer signs and exchanges with: PQClean's C."""
    from pqcrypto.kem import ml_kem_1024, sntrup_761
    from pqcrypto.sign import slh_dsa_shake_128f as signer
    times = {}
    for scheme, kem in (("x25519+mlkem1024", ml_kem_1024), ("x25519+sntrup761", sntrup_761)):
        public, secret = kem.keygen()
        ciphertext, _ = kem.encaps(public)
        times[f"scheme {scheme}", "key generation"] = median_time(kem.keygen)
        times[f"scheme {scheme}", "encapsulate"] = median_time(lambda: kem.encaps(public))
        times[f"scheme {scheme}", "decapsulate"] = median_time(lambda: kem.decaps(secret, ciphertext))
    public, secret = signer.keygen()
    signature = signer.sign(secret, bytes(1000), b"")
    times["signing type 4", "key generation"] = median_time(signer.keygen)
    times["signing type 4", "sign"] = median_time(lambda: signer.sign(secret, bytes(1000), b""))
    times["signing type 4", "verify"] = median_time(lambda: signer.verify(public, bytes(1000), signature, b""))
    return times


def print_keys(median, wheel):
    """Ours with the classical half of each, the wheel's without."""
    rows = [(f"signing type {kind}", name) for kind in (1, 4) for name in ("key generation", "sign", "verify")]
    schemes = ("x25519", "x25519+sntrup761", "x25519+mlkem1024")
    rows += [(f"scheme {scheme}", name) for scheme in schemes for name in ("key generation", "encapsulate", "decapsulate")]
    versions = ("[1]", "[2]", "[5]", "[5, 2, 1]")
    rows += [(f"exchange, type {kind}, versions {offered}", name) for kind in (1, 4) for offered in versions
             for name in ("chain validation, three signatures", "request", "answer", "acceptance")]
    for group, name in rows:
        theirs = f"{wheel[group, name] * 1e6:>11.1f} us in C" if (group, name) in wheel else ""
        print(f"{group + ': ' + name:<78}{median(group, name) * 1e6:>11.1f} us{theirs}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = provision(folder, "speed", "prodcon", "speed")
        python = python_times(config)
        median = ours()
        print(f"{'one thread':<28}{'ours':>12}{'ours':>12}{'Python':>12}{'ratio':>9}")
        for operation in ("serialize", "deserialize"):
            for size in SIZES:
                mine, theirs = median(operation, str(size)), python[operation, size]
                print(f"{operation + f' {size} B':<28}{mine * 1e6:>9.2f} us{size / mine / 1e9:>7.2f} GB/s"
                      f"{theirs * 1e6:>9.2f} us{theirs / mine:>8.1f}x")
        for operation in ("serialize", "deserialize"):
            one, two = (median(f"{operation} 1 KiB, threads", str(n)) for n in (1, 2))
            print(f"{operation} 1 KiB, two threads on one node: {2 * one / two:.2f}x of one")
        print_keys(median, wheel_times())
        latency = subprocess.run(["cargo", "bench", "--quiet", "--bench", "latency"], cwd=tree, check=True,
                                 stdout=subprocess.PIPE, text=True)
        mine = json.loads(latency.stdout.splitlines()[-1])
        theirs = python_latency(folder, int(os.environ.get("PYTHON_NODES", "10")))
        print(f"first message seen -> decrypted, {mine['nodes']} fresh nodes: p50 {mine['p50_ms']} ms, p99 {mine['p99_ms']} ms")
        print(f"  the same with the Python package, {len(theirs)} fresh nodes: p50 {statistics.median(theirs):.0f} ms, "
              f"worst {theirs[-1]:.0f} ms; ratio {statistics.median(theirs) / mine['p50_ms']:.0f}x")


main()
