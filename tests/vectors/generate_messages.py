#!/usr/bin/env python3
"""Messages as the Python implementation writes them, and what it makes of damaged ones:
`generate_messages.py BOOTSTRAP > messages.jsonl`, with tests/peer/requirements.txt installed and a broker that runs.

Each line: {types, crypto, seed, root, topic, part, index, secret, what, message, cleartext}
  crypto, seed  the producer's files before it was opened, hex; `types` are the signing keys of the file that it uses
  part          key or value
  index         hex, or an integer for a short one;  secret  the root's, hex
  what          honest, or what was done to an honest message
  message       what stands on the broker, hex
  cleartext     hex, null when the Python consumer, which knows the secret, doesn't take it for cleartext
"""
import argparse, json, os, random, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peer"))
import peer
import msgpack
from kafkacrypto.cryptokey import CryptoKey
from kafkacrypto.ratchet import Ratchet

rng = random.Random(20261124)
FEW = [0, 1, 15, 16, 17, 63, 64, 65]
MANY = FEW + [31, 32, 33, 127, 128, 129, 215, 216, 239, 240, 241, 255, 256, 257, 1000, 4096]
HUGE = [65495, 65536]  # around the next length of a msgpack string; values only
PASSWORDS = dict(root_password="correct horse battery staple", provisioner_password="staple battery")


def node(folder, name, role, bootstrap, types, settings):
    args = dict(dir=folder, node=name, role=role, bootstrap=bootstrap, types=types, exchange="1", legacy=False, topics="",
                pathlen=1, serve=[], lifetime=86400 * 365, sub_interval=3, set=settings, **PASSWORDS)
    peer.provision(argparse.Namespace(**args))
    return os.path.join(folder, name + ".config")


def open_node(config):
    return peer.open_node(argparse.Namespace(config=config, log="ERROR"))[1]


def read(config, suffix):
    with open(config.replace(".config", suffix), "rb") as f:
        return f.read()


def secret_of(folder, seed, root, node_key):
    """What the ratchet gives for `root`, from a copy of the seed file."""
    path = os.path.join(folder, "copy.seed")
    with open(path, "wb") as f:
        f.write(seed)
    ratchet = Ratchet(path)
    index, secret = ratchet.get_key_value_generators(root, node=node_key)[:2] if node_key else ratchet.get_key_value_generators(root)[:2]
    ratchet.close()
    return index, secret


def lengths(all_of_them, part):
    return FEW if not all_of_them else MANY + HUGE if part == "value" else MANY


def damaged(message):
    """Every kind of damage to one message, with its name."""
    index, salt, box = msgpack.unpackb(message[1:], raw=True)
    again = lambda *fields: b"\x01" + msgpack.packb(list(fields), use_bin_type=True)
    flip = lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
    yield "a bit of the tag", again(index, salt, flip(box, 0))
    yield "a bit of the ciphertext", again(index, salt, flip(box, len(box) - 1))
    yield "a bit of the salt", again(index, flip(salt, 15), box)
    yield "a box cut short", again(index, salt, box[:-1])
    yield "a box of a tag only", again(index, salt, box[:16])
    yield "a box too short for a tag", again(index, salt, box[:15])
    yield "a byte more in the box", again(index, salt, box + b"\0")
    yield "a salt of 15 bytes", again(index, salt[:15], box)
    yield "a salt of 17 bytes", again(index, salt + b"\0", box)
    yield "two fields", again(index, salt)
    yield "four fields", again(index, salt, box, b"")
    yield "a byte behind", message + b"\0"
    yield "cut in the middle", message[: len(message) // 2]
    yield "the first byte alone", message[:1]
    yield "another first byte", b"\x02" + message[1:]
    yield "text for bytes", b"\x01" + msgpack.packb([index, salt, box], use_bin_type=False)
    yield "plain text", b"hello"


def emit(**fields):
    print(json.dumps(fields), flush=True)


def rows(folder, bootstrap, types, long_index):
    stamp = f"{int(time.time())}-{types.replace(',', '')}{int(long_index)}"
    alice = node(folder, "alice-" + stamp, "producer", bootstrap, types, [])
    bob = node(folder, "bob-" + stamp, "consumer", bootstrap, types, ["deser_initial_wait_intervals=1"])
    if not long_index:
        store = peer.KafkaCryptoStore(alice, conf_global_logger=False)
        store.store_value("mgmt_long_keyindex", False)
        store.close()
    crypto, seed = read(alice, ".crypto"), read(alice, ".seed")
    kinds = [int(kind) for kind in types.split(",")]
    node_key = CryptoKey(alice.replace(".config", ".crypto"), keytypes=kinds).get_id_spk() if long_index else None
    producer, consumer = open_node(alice), open_node(bob)
    writers = {"key": producer.getKeySerializer(), "value": producer.getValueSerializer()}
    readers = {"key": consumer.getKeyDeserializer(), "value": consumer.getValueDeserializer()}
    for root, rest in ((f"plain-{stamp}", ""), (f"dotted-{stamp}", ".with.more")):
        topic = root + rest
        index, secret = secret_of(folder, seed, root, node_key)
        shared = dict(types=kinds, crypto=crypto.hex(), seed=seed.hex(), root=root, topic=topic,
                      index=index if isinstance(index, int) else bytes(index).hex(), secret=bytes(secret).hex())
        learn(readers["value"], topic, bytes(writers["value"].serialize(topic, b"first")))
        for part in ("key", "value"):
            for length in lengths(types == "1" and long_index and not rest, part):
                cleartext = rng.randbytes(length)
                message = bytes(writers[part].serialize(topic, cleartext))
                read_back = readers[part].deserialize(topic, message)
                assert read_back.isCleartext() and bytes(read_back) == cleartext, (part, length)
                emit(**shared, part=part, what="honest", message=message.hex(), cleartext=cleartext.hex())
            message = bytes(writers[part].serialize(topic, b"to be damaged"))
            for what, bad in damaged(message):
                try:
                    seen = readers[part].deserialize(topic, bad)
                    cleartext = bytes(seen).hex() if seen.isCleartext() else None
                except Exception as error:  # the package raises on some input: not cleartext
                    cleartext = None
                emit(**shared, part=part, what=what, message=bad.hex(), cleartext=cleartext)
    producer.close()
    consumer.close()


def learn(reader, topic, message):
    """Reads until the key has come."""
    deadline = time.time() + 60
    while not reader.deserialize(topic, message).isCleartext():
        assert time.time() < deadline, "no key"
        time.sleep(0.1)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for types in ("1", "4", "1,4"):
            for long_index in (True, False):
                rows(folder, sys.argv[1], types, long_index)


main()
