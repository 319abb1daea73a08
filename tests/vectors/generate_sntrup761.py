#!/usr/bin/env python3
"""Known answers for sntrup761: `generate_sntrup761.py OUTFILE`, with `pip install pqcrypto==1.0.0` (PQClean's C code).

Each row: secret, public, ciphertext, shared; with `damaged`, the ciphertext isn't of this key, and `shared` is what the
implicit rejection gives. All byte strings are hex.
"""
import json, os, sys
from pqcrypto.kem import sntrup_761

rows = []
for n in range(20):
    public, secret = map(bytes, sntrup_761.keygen())
    ciphertext, shared = map(bytes, sntrup_761.encaps(public))
    row = dict(secret=secret.hex(), public=public.hex())
    rows.append({**row, "ciphertext": ciphertext.hex(), "shared": shared.hex()})
    if n % 4 == 0:
        damaged = bytearray(ciphertext)
        damaged[os.urandom(1)[0] * 4] ^= 1 << n % 8
        damaged = bytes(damaged) if n < 16 else os.urandom(len(ciphertext))
        rows.append({**row, "damaged": True, "ciphertext": damaged.hex(), "shared": bytes(sntrup_761.decaps(secret, damaged)).hex()})
with open(sys.argv[1], "w") as out:
    out.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
