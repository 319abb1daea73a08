#!/usr/bin/env python3
"""Writes the inputs that the corpora start from: the vectors in tests/vectors, and short programs for the targets that sign.

    fuzz/seed.py FOLDER [certificates | programs | files | batches | fetches | produces | groups | answers]…    one folder for each target under FOLDER

What a program means is said in src/fuzz/program.rs. Afterwards `fuzz/campaign` finds the rest."""

import hashlib
import json
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
vectors = here.parent / "tests" / "vectors"
out = pathlib.Path(sys.argv[1])


def put(target, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def rows(name):
    text = (vectors / name).read_text()
    return json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


def sized(data):
    """Bytes behind their length, as Program::bytes reads them."""
    return len(data).to_bytes(2, "little") + data


def elements(chain):
    """The elements of a chain of bins and strs."""
    found, at = [], 1 if chain[0] < 0xDC else 3
    while at < len(chain):
        marker = chain[at]
        width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}[marker]
        length = int.from_bytes(chain[at + 1 : at + 1 + width], "big")
        at += 1 + width
        found.append(chain[at : at + length])
        at += length
    return found


def answers():
    """Answers of a broker, and programs for a connection."""
    i16, i32 = lambda n: n.to_bytes(2, "big"), lambda n: n.to_bytes(4, "big")
    head = i32(7)
    broker = b"\2" + i32(1) + b"\2a" + i32(9092) + b"\0\0"
    partition = i16(0) + i32(0) + i32(1) + i32(5) + b"\2" + i32(1) + b"\2" + i32(1) + b"\1\0"
    topic = b"\2" + i16(0) + b"\2t" + bytes(16) + b"\0\2" + partition + b"\x80\0\0\0\0"
    metadata = head + b"\0" + i32(0) + broker + b"\2c" + i32(1) + topic + b"\0"
    put("kafka_responses", b"\3\3" + metadata)
    put("kafka_responses", b"\3\3" + head + b"\0" + i32(0) + b"\xff\xff\xff\xff\x0f" + bytes(40))  # a count that can't be
    put("kafka_responses", b"\x0d\1" + head + i16(33) + i32(1) + i16(5) + b"PLAIN")
    put("kafka_responses", b"\x0e\0" + head + i16(35) + i32(1) + i16(18) + i16(0) + i16(3))
    put("kafka_responses", b"\x12\0" + head + b"\0" + i32(0) + i16(0) + bytes(8) + i16(0) + b"\0")
    for api in range(24):
        put("kafka_responses", bytes([api, 9]) + head + bytes(30))
    frames = i32(4) + head + i32(9) + head + b"12345"
    for program in (b"\0\2\0\0\2\2", b"\1\7\xff\xff", b"\0\x47\5\x47\2\4", b"\xf8\0\xff\xff\xff"):
        put("kafka_connection", program + frames[: len(program)])
    for stream in (frames, b"HTTP/1.1 400", b"\x15\3\3\0\2\2P", i32(2000) + head):
        put("kafka_connection", bytes(len(stream)) + stream)


def certificates():
    names, usages = [b"lab", b"labs", b"xlab", b"foo", b"foobar", b"", b"bar", b"a", b"b", b"sensor", b"x_y"], [
        "key-encrypt", "key-encrypt-request", "key-encrypt-subscribe", "key-allowlist", "key-denylist"]
    for row in (rows("chains.jsonl") + rows("chains-2.jsonl"))[::2]:
        chain = bytes.fromhex(row["chain"])
        if len(chain) > 900:
            continue
        put("wire", chain)
        usage = bytes([usages.index(row["usage"])]) if row["usage"] in usages else b""
        topic = row["topic"].encode() if row["topic"] else b""
        asked = b"\0" + bytes([names.index(topic)]) if topic in names else b"\xf0"
        asked += b"\0" + usage if usage else b"\xf0"
        lists = b"".join(b"\0" + sized(bytes.fromhex(entry)) for entry in row["allowlist"])
        lists += b"".join(b"\xf0" + sized(bytes.fromhex(entry)) for entry in row.get("denylist") or [])
        put("chain", b"\xff" + asked + sized(chain) + lists)
        try:
            parts = elements(chain)
        except (KeyError, IndexError):
            continue
        for part in parts:
            put("certificate", part[64:])


def programs():
    """One program for each thing that a program can do."""
    put("chain", b"")
    for asked in range(5):
        for links in range(1, 4):
            put("chain", bytes([0, 0, asked, 0, asked, 0, 0, 0, links]))
    for kind in range(5, 11):  # of leaf key, in a chain of one and of two
        put("chain", bytes([0] * 22 + [kind]))
        put("chain", bytes([0] * 8 + [1] + [0] * 28 + [kind]))
    put("chain", bytes([0, 0, 0, 0, 4, 0, 0, 0, 1] + [0] * 12 + [0xF0, 8]))
    for first in range(6):  # chains of both types of keys, whole and changed
        for changed in ([], [0, 0, 0xFD], [0, 0, 0xFD, 0, 0x43]):
            put("chain", bytes([0xFE, 0, 0, 0, 0, 0, 0, first] + changed))
            put("chain", bytes([0xFE, 0, 0, 0, 0, 2, 0, first, 0, 0, 0, 4, 0, 0, 0, 4] + changed))
    for target in ("request", "reply"):
        put(target, b"")
        for edit in range(6):
            for place in range(0, 200, 20):
                put(target, bytes([0, 0, 0, 0, 1, place, 0, 3, edit]) + sized(b"edit"))
    put("reply", bytes([2, 1, 200, 3, 0xF0]) + sized(bytes.fromhex("9401c420") + b"s" * 32 + b"\x02\xc0"))
    for row in rows("exchanges.json"):
        if row["signing_type"] == 1:
            for side, target in (("request", "request"), ("reply", "reply")):
                for message in messages(row, side):
                    leaf = elements(message)[-1][64:]
                    put(target, (b"\0\x03" if target == "request" else b"\0\0\0\0\x03") + leaf)
                    put("certificate", leaf)
                    put("wire", leaf)
    want, tick, reply, request, use = [0, 0, 0], [3, 0, 0], [4, 0, 0, 9], [5, 0, 0, 0], [2, 0]
    stories = [
        want + tick + reply + [0] * 8,
        want + tick + [4, 3, 0, 9] + [0] * 8 + [4, 2, 0, 9],
        use + tick + request,
        use + request + [5, 4, 0, 0] + [0] * 8 + [15, 1] + request,
        [6, 0, 0, 0] + want + tick + reply,
        want + tick + [6, 0, 0, 0, 0, 0, 0, 0] + reply,
        [6, 0, 1, 0, 0, 0, 0] + want + tick + [4, 3, 0, 9],
        [7, 0, 0, 0, 0] + want + tick + reply,
        [8, 1, 0, 0, 0, 0, 8, 3, 0, 0, 0, 0, 8, 2],
        [14, 0, 255, 3, 0, 0, 14, 0, 255] + tick,
        [12, 0] + want + tick + [11, 0, 3, 11, 0, 2, 12] + tick,
        use + [3, 6, 0] + use + [15, 2] + use + request,
        use + [0, 0, 0xE0] + tick + [9, 0, 0, 0, 0],
        want + tick + [3, 2, 0, 3, 3, 0] + reply + [9, 1, 0xF0, 0],
        [13, 3] + [10, 4] + list(sized(b"key") + sized(b"value")),
        [3, 7, 0xF0, 1] + want + [3, 0, 0, 3, 0, 0xF0, 0],
    ]
    # everybody replies and asks, before and after the stranger's root is allowed
    allow = [6, 0, 1, 0, 0, 0, 0]
    for who in range(6):
        stories += [before + want + tick + [4, who, 0, 9] for before in ([], allow)]
        stories += [before + use + [5, who, 0, 0] for before in ([], allow)]
        stories += [want + tick + [7, who, 0, 0, 0] + reply, use + [7, who, 0, 0, 0] + request]
    for flags in range(8):
        for story in stories:
            put("engine", bytes([flags] + story))
    # a node with both types of keys: with each pair of exchanges, and post-quantum ones only
    hybrid = [want + tick + reply, use + tick + [5, 1, 4], use + tick + [5, 1, 0, 0, 0, 0, 0, 5, 1, 3], use + [5, 0, 0, 0, 0]]
    for flags in [8 | pair << 4 | policy for pair in range(4) for policy in (0, 64)]:
        for story in hybrid:
            put("engine", bytes([flags] + story))


def messages(row, side):
    found = row.get(side) or row.get(side + "s") or []
    for message in found if isinstance(found, list) else [found]:
        value = message.get("value") if isinstance(message, dict) else message
        if value:
            yield bytes.fromhex(value)


def files():
    for row in rows("config.jsonl"):
        text = (row.get("text") or "").encode()
        if len(text) < 3000:
            put("config", sized(b"n-crypto") + sized(b"maxage") + sized(b"7") + text)
    for row in rows("crypto_files.jsonl"):
        for name in ("before", "after"):
            data = bytes.fromhex(row.get(name) or "")
            if 0 < len(data) < 1200:
                put("key_file", data)
                put("wire", data)
    for row in rows("indices.json"):
        for name, value in row.items():
            if name.startswith("seed"):
                put("seed_file", bytes.fromhex(value))
    for row in rows("messages.jsonl"):
        message = row.get("message")
        if message and len(message) < 800:
            put("message", bytes.fromhex(message))
    pack = lambda root, index: b"\x94" + bytes([0xA0 | len(root)]) + root + index + b"\xc4\x20" + b"s" * 32
    entries = [pack(b"lab", b"\x07") + b"\xcb\x41\xdc\x50\0\0\0\0\0", pack(b"foo", b"\xc4\x03abc") + b"\xce\x71\0\0\0", b"\xc0"]
    for count in range(4):
        put("old_keys", b"\x81\xa5pgens" + bytes([0x90 | count]) + b"".join(entries[:count]))
    put("old_keys", b"\x82\xa1x\xc0\xc4\x05pgens\x91" + entries[0])


def batches():
    """Logs as they are, logs to be damaged, and what is compressed in them."""
    for row in rows("batches.jsonl"):
        log, at = bytes.fromhex(row["log"]), 0
        while at < len(log):
            end = at + 12 + int.from_bytes(log[at + 8 : at + 12], "big")
            batch = log[at:end]
            if len(batch) <= 850:
                put("batches", bytes([1 | at % 5 << 5]) + batch)
                put("batches", bytes([2 | (batch[22] & 7) << 2, min(batch[60], 255)]) + batch[61:])
            at = end
        if len(log) <= 850:
            put("batches", b"\0" + log)


def fetches():
    """Steps of every kind, in five orders; what they mean is in src/kafka/fetch/core/model.rs."""
    for seed in range(5):
        digest = b"".join(hashlib.sha256(bytes([seed, n])).digest() for n in range(40))
        put("kafka_fetch", digest[: 1 + 5 * 200])


def produces():
    """Steps of every kind, for eight kinds of producer; what they mean is in src/kafka/produce/state/model.rs."""
    for kind in range(8):
        digest = b"".join(hashlib.sha256(b"produce" + bytes([kind, n])).digest() for n in range(16))
        put("kafka_produce", bytes([kind]) + digest)


def groups():
    """Events for a member of each kind, and what members write; what they mean is in src/kafka/group/fuzz.rs."""
    usual = [0, 0, 0, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    for kind in range(3):
        for n in range(6):
            digest = b"".join(hashlib.sha256(b"group" + bytes([kind, n, m])).digest() for m in range(2 + n))
            events = zip(digest[::2], digest[1::2])
            put("kafka_groups", bytes([kind]) + bytes(x for event, value in events for x in (usual[event % 13], value)))
    topics, owned = b"\0\0\0\2\0\1x\0\1y", b"\0\0\0\1\0\1x\0\0\0\1\0\0\0\0"
    new = b"\0\3" + topics + b"\0\0\0\4\0\0\0\5" + owned + b"\0\0\0\5\xff\xff"
    old = b"\0\0\0\0\0\1\0\1x\xff\xff\xff\xff"
    put("kafka_groups", b"\3" + b"".join(bytes([len(one)]) + one for one in (new, old, new)))
    put("kafka_groups", b"\3\0\1" + owned + b"\xff\xff\xff\xff")
    put("kafka_groups", b"\3\6\0\3\x7f\xff\xff\xff")  # a count that can't be


PARTS = {
    "certificates": certificates, "programs": programs, "files": files, "batches": batches, "fetches": fetches, "produces": produces,
    "groups": groups, "answers": answers,
}
for part in sys.argv[2:] or PARTS:
    PARTS[part]()
