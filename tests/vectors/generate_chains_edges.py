#!/usr/bin/env python3
"""Chains at the edges of the rules, made by hand, and what the Python implementation says of them.
usage: generate_chains_edges.py PYTHON ../peer/peer.py > chains-edges.jsonl
Each line: as in chains.jsonl, and `name`.
"""
import json, math, struct, subprocess, sys
import msgpack, pysodium

NOW = 1_800_000_000.0


def kp(i):
    return pysodium.crypto_sign_seed_keypair(bytes([i]) * 32)


R, A, B, C = kp(1), kp(2), kp(3), kp(4)
T = pysodium.crypto_sign_seed_keypair(bytes.fromhex("4c194f7de97c67626cc43fbdaf93dffbc4735352b37370072697d44254e1bc6c"))  # the temporary root
rows = []


def pk(x):
    return msgpack.packb(x, use_bin_type=True)


def poison(**limits):
    return pk([[name, value] for name, value in limits.items()])


def sign(key, certificate):
    return pysodium.crypto_sign(pk(certificate), key[1])


def case(name, chain, allow=None, deny=(), topic=None, usage=None):
    raw = chain if isinstance(chain, bytes) else pk(chain)
    rows.append(dict(name=name, chain=raw.hex(), topic=topic, usage=usage, time=NOW, denylist=[pk(d).hex() for d in deny],
                     allowlist=[pk(a).hex() for a in (allow or [[0, b'\x90', R[0]]])]))


E=b'\x90'
case("kex typed 1 in list",[sign(R,[0,E,[[1,b'\x09'*32]]])])
case("kex short 5 in list",[sign(R,[0,E,[[5,[b'\x09'*32,b'\x01'*1567]]]])])
case("kex short bare in list",[sign(R,[0,E,[b'\x09'*31]])])
case("kex 1 + short 5",[sign(R,[0,E,[b'\x09'*32,[5,[b'\x09'*32,b'\x01'*1567]]]])])
case("unknown version in list",[sign(R,[0,E,[b'\x09'*32,[9,b'x']]])])
case("empty list",[sign(R,[0,E,[]])])
case("typed 5 alone",[sign(R,[0,E,[5,[b'\x09'*32,b'\x01'*1568]]])])
case("typed sign 1 alone",[sign(R,[0,E,[1,b'\x09'*32]])])
case("nested list",[sign(R,[0,E,[[b'\x09'*32]]])])
case("binwrapped 1",[sign(R,[0,E,pk([1,b'\x09'*32])])])
case("binwrapped list",[sign(R,[0,E,pk([b'\x09'*32])])])
case("two elem cert",[sign(R,[0,E])])
# same level order
case("same: cur foo, entry ^f", [sign(R,[0,poison(topics=["foo"]),A[0]]),sign(A,[0,E,B[0]])],[[0,E,R[0]],[0,poison(topics=["^f"]),A[0]]])
case("same: cur ^f, entry foo", [sign(R,[0,poison(topics=["^f"]),A[0]]),sign(A,[0,E,B[0]])],[[0,E,R[0]],[0,poison(topics=["foo"]),A[0]]])
# pathlen edge
case("root usages all no pathlen",[sign(R,[0,E,A[0]])],[[0,poison(usages=["^.*$"]),R[0]]])
case("root usages allowlist pathlen1",[sign(R,[0,poison(usages=["key-allowlist"]),A[0]])],[[0,poison(usages=["key-allowlist"],pathlen=1),R[0]]],usage="key-allowlist")
case("neg pathlen C",[sign(R,[0,poison(pathlen=-1),A[0]])])
case("9 elements",[sign(R,[0,E,A[0]])]+[sign(A,[0,E,A[0]])]*8)
case("topic ^foo asked",[sign(R,[0,poison(topics=["^foo"]),A[0]])],topic="^foo")
case("deny malformed poison",[sign(R,[0,E,A[0]])],deny=[[0,b'junk',A[0]]])
case("deny bad max_age",[sign(R,[0,E,A[0]])],deny=[["x",E,A[0]]])
case("denied root key, leaf ok",[sign(R,[0,E,A[0]])],deny=[[0,E,R[0]]])
case("denied root key, middle root clears",[sign(R,[0,E,A[0]]),sign(A,[0,E,B[0]])],[[0,E,R[0]],[0,E,A[0]]],deny=[[0,E,R[0]]])
case("leaf single clears",[sign(R,[0,E,A[0]]),sign(A,[0,E,B[0]])],[[0,E,R[0]],[0,E,B[0]]],deny=[[0,E,A[0]]])
case("leaf both lists",[sign(R,[0,E,B[0]])],[[0,E,R[0]],[0,E,B[0]]],deny=[[0,E,B[0]]])
case("str everywhere",msgpack.packb([pysodium.crypto_sign(msgpack.packb([0,E,A[0]],use_bin_type=False),R[1])],use_bin_type=False))
case("trailing in element",[sign(R,[0,E,A[0]])+b''],)
case("trailing in cert",[pysodium.crypto_sign(pk([0,E,A[0]])+b'\xc0',R[1])])
case("trailing in poison",[sign(R,[0,E+b'\xc0',A[0]])])
case("empty poison bytes",[sign(R,[0,b'',A[0]])])
case("poison array direct",[sign(R,[0,[],A[0]])])
case("age true",[sign(R,[True,E,A[0]])])
case("age nil",[sign(R,[None,E,A[0]])])
case("empty chain",[])
case("chain in map",pk({}))
case("usages expr",[sign(R,[0,poison(usages=["^key"]),A[0]])],usage="key-encrypt")
case("self rev",[pk([0,poison(usages=["key-denylist"],pathlen=1),A[0]]),sign(A,[0,poison(usages=["key-denylist"],pathlen=1),A[0],pk([0,E,A[0]])])],usage="key-denylist")
case("self rev expired",[pk([5,poison(usages=["key-denylist"],pathlen=1),A[0]]),sign(A,[5,poison(usages=["key-denylist"],pathlen=1),A[0],pk([0,E,A[0]])])],usage="key-denylist")
case("self rev nolist",[pk([0,E,A[0]]),sign(A,[0,E,A[0],pk([0,E,A[0]])])],usage="key-denylist")
case("self rev ^.*$ nopath",[pk([0,poison(usages=["^.*$"]),A[0]]),sign(A,[0,poison(usages=["key-denylist"]),A[0]])],usage="key-denylist")
case("self rev outer path1 only",[pk([0,poison(usages=["key-denylist"],pathlen=1),A[0]]),sign(A,[0,poison(usages=["key-denylist"]),A[0]])],usage="key-denylist")
case("self rev denied key",[pk([0,poison(usages=["key-denylist"],pathlen=1),A[0]]),sign(A,[0,poison(usages=["key-denylist"],pathlen=1),A[0]])],deny=[[0,E,A[0]]],usage="key-denylist")
case("allow entry malformed poison first",[sign(R,[0,E,A[0]])],[[0,b'junk',B[0]],[0,E,R[0]]])
case("allow entry malformed of middle key",[sign(R,[0,E,A[0]]),sign(A,[0,E,B[0]])],[[0,E,R[0]],[0,b'junk',A[0]]])
case("middle single list",[sign(R,[0,E,[A[0]]]),sign(A,[0,E,B[0]])])
case("list dup keys",[sign(R,[0,E,[b'\x09'*32,b'\x09'*32]])])
case("list denied one",[sign(R,[0,E,[b'\x09'*32,b'\x08'*32]])],deny=[[0,E,b'\x09'*32]])
case("time equal",[sign(R,[NOW,E,A[0]])])
case("f32",[pysodium.crypto_sign(b'\x93\xca'+struct.pack('>f',1.9e9)+b'\xc4\x01\x90\xc4\x20'+A[0],R[1])])
KD = dict(usages=["key-denylist"])
case("list of a root, signed by a revoked key", [sign(R, [0, E, A[0]]), sign(A, [0, E, [b'\x09' * 32, B[0]]])], [[0, E, R[0]], [0, E, B[0]]], deny=[[0, E, A[0]]])
case("expression: possessive", [sign(R, [0, poison(topics=["^a++$"]), A[0]])], topic="aa")
case("expression: inline flag", [sign(R, [0, poison(topics=["^(?i)a"]), A[0]])], topic="A")
case("expression: not compilable", [sign(R, [0, poison(topics=["^(", "a"]), A[0]])], topic="a")
case("expression: not compilable, behind", [sign(R, [0, poison(topics=["a", "^("]), A[0]])], topic="a")
case("topic in no list", [sign(R, [0, E, A[0]])], topic="a")
case("usage in no list", [sign(R, [0, E, A[0]])], usage="key-encrypt")
case("topic with newline", [sign(R, [0, poison(topics=["^a$"]), A[0]])], topic="a\n")
case("foreign topic", [sign(R, [0, poison(topics=["\u00e9"]), A[0]])], topic="\u00e9")
case("foreign topic, everything", [sign(R, [0, poison(topics=["^.*$"]), A[0]])], topic="\u00e9")
case("empty topic", [sign(R, [0, poison(topics=["^.*$"]), A[0]])], topic="")
case("repeated restriction", [sign(R, [0, pk([["topics", ["a"]], ["topics", ["b"]]]), A[0]])], topic="b")
case("restriction of three", [sign(R, [0, pk([["topics", ["a"], 1]]), A[0]])], topic="a")
case("restriction nil", [sign(R, [0, pk([["topics", None]]), A[0]])])
case("restrictions as map", [sign(R, [0, pk({}), A[0]])])
case("pathlen float", [sign(R, [0, pk([["pathlen", 1.5]]), A[0]])])
case("topics as text", [sign(R, [0, pk([["topics", "a"]]), A[0]])], topic="a")
case("age negative", [sign(R, [-1, E, A[0]])])
case("age nan", [sign(R, [float("nan"), E, A[0]])])
case("age infinite", [sign(R, [float("inf"), E, A[0]])])
case("age huge", [sign(R, [2**64 - 1, E, A[0]])])
case("age just over", [sign(R, [NOW - 0.001, E, A[0]])])
case("root expired", [sign(R, [0, E, A[0]])], [[5, E, R[0]]])
case("leaf expired in the allowlist only", [sign(R, [0, E, A[0]])], [[0, E, R[0]], [5, E, A[0]]])
case("middle expired in the allowlist", [sign(R, [0, E, A[0]]), sign(A, [0, E, B[0]])], [[0, E, R[0]], [5, E, A[0]]])
case("later entry of the root is wider", [sign(R, [0, poison(topics=["b"]), A[0]])], [[0, poison(topics=["a"]), R[0]], [0, poison(topics=["b"]), R[0]]], topic="b")
case("pathlen spent", [sign(R, [0, poison(pathlen=1), A[0]]), sign(A, [0, E, B[0]]), sign(B, [0, E, C[0]])])
case("pathlen enough", [sign(R, [0, poison(pathlen=2), A[0]]), sign(A, [0, E, B[0]]), sign(B, [0, E, C[0]])])
case("list change", [sign(R, [0, poison(usages=["key-allowlist"]), A[0], pk([0, E, A[0]])])], usage="key-allowlist")
case("list change, delegated", [sign(R, [0, poison(usages=["key-allowlist"]), A[0]]), sign(A, [0, poison(usages=["key-allowlist"]), B[0]])], usage="key-allowlist")
case("list change, delegation allowed", [sign(R, [0, poison(usages=["key-allowlist"], pathlen=1), A[0]]), sign(A, [0, poison(usages=["key-allowlist"]), B[0]])], usage="key-allowlist")
case("self-revocation, nothing asked", [pk([0, poison(pathlen=1, **KD), A[0]]), sign(A, [0, poison(**KD), A[0]])])
case("self-revocation for allowing", [pk([0, poison(usages=["key-allowlist"], pathlen=1), A[0]]), sign(A, [0, poison(usages=["key-allowlist"]), A[0]])], usage="key-allowlist")
case("self-revocation of another key", [pk([0, poison(pathlen=1, **KD), A[0]]), sign(A, [0, poison(**KD), B[0]])], usage="key-denylist")
case("self-revocation, key listed", [pk([0, poison(pathlen=1, **KD), A[0]]), sign(A, [0, poison(**KD), [A[0]]])], usage="key-denylist")
case("self-revocation for a topic", [pk([0, poison(pathlen=1, **KD), A[0]]), sign(A, [0, poison(**KD), A[0]])], topic="a", usage="key-denylist")
case("temporary root", [sign(T, [0, poison(topics=["a"], usages=["key-encrypt"], pathlen=1), A[0]])], [[0, E, T[0]]], topic="a", usage="key-encrypt")
case("temporary root changes lists", [sign(T, [0, poison(usages=["key-allowlist"]), A[0]])], [[0, E, T[0]]], usage="key-allowlist")
case("temporary root revoked by everybody", [pk([0, poison(pathlen=1, **KD), T[0]]), sign(T, [0, poison(**KD), T[0]])], usage="key-denylist")

peer = subprocess.run([sys.argv[1], sys.argv[2], "verify"], input="".join(json.dumps(row) + "\n" for row in rows),
                      capture_output=True, text=True, check=True)
for row, verdict in zip(rows, peer.stdout.splitlines(), strict=True):
    merged = {**row, **json.loads(verdict)}
    if merged["max_age"] is not None and not math.isfinite(merged["max_age"]):
        merged["max_age"] = None  # JSON has no such number
    print(json.dumps(merged))
