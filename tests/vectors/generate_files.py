#!/usr/bin/env python3
"""`.crypto` files of every age and what the Python implementation makes of them, and more passwords:
`generate_files.py OUTDIR`, with tests/peer/requirements.txt installed.

crypto_files.jsonl, one line for each file: {what, before, keytypes, opens, error, after, public, node, opaque}
  before, after  the file's bytes before and after it was opened, hex; where `grew` is true a key was generated and added
  keytypes       the types asked for
  public, node   the byte forms of the signing keys in use, and all of them together (the node of section 4)
  opaque         {"plain", "wrapped"}: a value wrapped under the file's `ek` (section 12.1)
passwords-2.json, rows as in passwords.json, type 1 only.
"""
import contextlib, io, json, logging, os, random, sys, tempfile, warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peer"))
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import msgpack, pysodium
from kafkacrypto.cryptokey import CryptoKey
from kafkacrypto.keys import SignSecretKey
from kafkacrypto.provisioners import PasswordProvisioner, PasswordROT
from kafkacrypto.utils import msgpack_default_pack

rng = random.Random(20261125)


def pack(value, old=False):
    """`old` writes bytes as msgpack's `str`, as writers before its `bin` did."""
    return msgpack.packb(value, default=msgpack_default_pack, use_bin_type=not old)


def ed25519():
    return pysodium.crypto_sign_seed_keypair(rng.randbytes(32))[1]


def files():
    """(what it is, bytes, key types asked for)"""
    ek, one, two, four = rng.randbytes(32), ed25519(), ed25519(), bytes(SignSecretKey(4))
    yield "version 2, one key", pack([2, [one], ek, False, [1]]), [1]
    yield "version 2, legacy", pack([2, [one], ek, True, [1]]), [1]
    yield "version 2, all versions", pack([2, [one], ek, False, [5, 2, 1]]), [1]
    yield "version 2, versions in another order", pack([2, [one], ek, False, [1, 5]]), [1]
    yield "version 2, two keys of type 1", pack([2, [one, two], ek, False, [1]]), [1]
    yield "version 2, type 4", pack([2, [four], ek, False, [5, 2, 1]]), [4]
    yield "version 2, types 1 and 4", pack([2, [one, four], ek, False, [5, 2, 1]]), [1, 4]
    yield "version 2, types 4 and 1", pack([2, [four, one], ek, False, [5, 2, 1]]), [1, 4]
    yield "version 2, types 1 and 4, only 1 asked for", pack([2, [one, four], ek, False, [5, 2, 1]]), [1]
    yield "version 2, types 1 and 4, only 4 asked for", pack([2, [one, four], ek, False, [5, 2, 1]]), [4]
    yield "version 2, no key yet", pack([2, [], ek, False, [5, 2, 1]]), [1]
    yield "version 2, type 1 missing", pack([2, [four], ek, False, [1]]), [1, 4]
    yield "version 2, unknown key type", pack([2, [one, pack([9, b"x" * 40])], ek, False, [1]]), [1]
    yield "version 2, unknown key type first", pack([2, [pack([7, [b"y" * 32]]), one], ek, False, [1]]), [1]
    yield "version 2, unknown exchange version", pack([2, [one], ek, False, [9, 1]]), [1]
    yield "version 2, only an unknown exchange version", pack([2, [one], ek, False, [9]]), [1]
    yield "version 2, bytes as str", pack([2, [one], ek, False, [1]], old=True), [1]
    yield "version 2, bytes behind", pack([2, [one], ek, False, [1]]) + rng.randbytes(7), [1]
    yield "version 1", pack([1, one, ek, False, [1]]), [1]
    yield "version 1, legacy, all versions", pack([1, one, ek, True, [5, 2, 1]]), [1]
    yield "version 1, bytes as str", pack([1, one, ek, False, [2, 1]], old=True), [1]
    yield "version 1, bytes behind", pack([1, one, ek, False, [1]]) + pack([1, one]), [1]
    yield "oldest", pack([one, ek]), [1]
    yield "oldest, bytes as str", pack([one, ek], old=True), [1]
    yield "oldest, bytes behind", pack([one, ek]) + b"\0" * 40, [1]
    yield "a version to come", pack([3, [one], ek, False, [1], b"more"]), [1]
    whole = pack([2, [one], ek, False, [1]])
    for length in (1, 3, 40, len(whole) - 1):
        yield f"cut after {length} bytes", whole[:length], [1]
    yield "empty", b"", [1]
    yield "text", b"[alice]\nnode_id : alice\n", [1]


def opened(what, before, keytypes):
    row = dict(what=what, before=before.hex(), keytypes=keytypes, opens=False, error=None, after=None, grew=False, public=[], node=None, opaque=None)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "node.crypto")
        with open(path, "wb") as f:
            f.write(before)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                key = CryptoKey(path, keytypes=keytypes)
                key.limit_spk(keytypes)
            public = [bytes(key.get_spk(index)).hex() for index in range(key.get_num_spk())]
            plain = b"an opaque value of " + what.encode()
            row.update(opens=True, public=public, node=bytes(key.get_id_spk()).hex(),
                       opaque=dict(plain=plain.hex(), wrapped=bytes(key.wrap_opaque(plain)).hex()))
        except Exception as error:
            row.update(error=f"{type(error).__name__}: {error}")
        with open(path, "rb") as f:
            after = f.read()
        row.update(after=after.hex(), grew=row["opens"] and len(after) > len(before) + 20)
    return row


def passwords():
    pairs = [(word * (12 // len(word) + 1), word + rng.choice(WORDS) * 2) for word in WORDS]
    pairs += [("exactly 12 b", "6bytes"), ("tab\tand\nnewline", "\u00a0spaces "), ("\U0001f511" * 12, "\u043f\u0430\u0440\u043e\u043b\u044c"), ("p" * 500, "q" * 500)]
    for root_password, provisioner_password in pairs:
        with contextlib.redirect_stdout(io.StringIO()):
            root = PasswordROT(root_password, 1)
            provisioners = PasswordProvisioner(provisioner_password, root._pk, 1)
        yield dict(type=1, root_password=root_password, provisioner_password=provisioner_password, root_public=bytes(root._pk).hex(),
                   root_secret=bytes(root._sk).hex(),
                   provisioners={name: dict(public=bytes(provisioners._pk[name]).hex(), secret=bytes(provisioners._sk[name]).hex())
                                 for name in ("producer", "consumer", "prodcon")})


WORDS = ["correct", "horse", "battery ", "staple", "\u00e4\u00f6\u00fc\u00df", "Tr0ub4dor&3", "\u5bc6\u7801\u5b57", "quota\"s'"]

out = sys.argv[1]
with open(os.path.join(out, "crypto_files.jsonl"), "w") as f:
    for case in files():
        f.write(json.dumps(opened(*case)) + "\n")
with open(os.path.join(out, "passwords-2.json"), "w") as f:
    json.dump(list(passwords()), f, indent=1)
    f.write("\n")
