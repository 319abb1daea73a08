#!/usr/bin/env python3
"""Config files in many forms, and what the Python implementation reads from each: writes config.jsonl beside this file.

    generate_config.py [SEED [ROWS]]      default 20261124 400; needs the PyPI package kafkacrypto (tried: 0.9.11.3)

The package is only run, as a black box. One row: `name`, `text` (the file, UTF-8), `node` (the node ID asked for, or null), `open`
(whether it could be opened), `node_id`, `values` ([section, name, value]; section "" is the node's own), `sections`
([section, entries], without defaults), `kafka` ([use, crypto, settings]). A row with `stored` ([section, name, value]) is
a file that Python wrote. A value is {"int"|"float"|"text"|"bytes": text or hex}, {"bool": true}, {"none": true} (it could not
be decoded), {"missing": true} or {"error": type}.
"""
import contextlib, io, json, logging, os, random, sys, tempfile, warnings

sys.tracebacklimit = 0
warnings.simplefilter("ignore")
with contextlib.redirect_stderr(io.StringIO()):
    from kafkacrypto import KafkaCryptoStore
logging.disable(logging.CRITICAL)

ABSENT = object()
SECTIONS = ["crypto", "allowlist", "app"]
KAFKA = ["kafka", "kafka-consumer", "kafka-producer", "kafka-crypto", "kafka-crypto-consumer", "kafka-crypto-producer"]
HEAD = "[DEFAULT]\nnode_id : n\n[n]\n"


def shown(value):
    if value is ABSENT:
        return {"missing": True}
    if value is None:
        return {"none": True}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    return {"bytes": value.hex()} if isinstance(value, bytes) else {"text": value}


def attempt(read):
    try:
        return shown(read())
    except Exception as error:
        return {"error": type(error).__name__}


def opened(path, node):
    with contextlib.redirect_stderr(io.StringIO()):
        return KafkaCryptoStore(path, node, conf_global_logger=False)


def row(name, text, names, node=None, kafka=False):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "n.config")
        with open(path, "w", newline="", encoding="utf-8") as file:
            file.write(text)
        result = dict(name=name, text=text, node=node, open=False)
        try:
            store = opened(path, node)
        except Exception as error:
            result["error"] = type(error).__name__
            return result
        try:
            result.update(open=True, node_id=store.get_nodeID(), **read_all(store, names, kafka, "ssl_cafile" in text))
        finally:
            store.close()
        return result


def read_all(store, names, kafka, keep_cafile):
    value = lambda section, name: attempt(lambda: store.load_value(name, section=section or None, default=ABSENT))
    result = dict(values=[[section, name, value(section, name)] for section, name in names], sections=[], kafka=[])
    for section in SECTIONS:
        try:
            entries = store.load_section(section, defaults=False) or {}
            result["sections"].append([section, [[shown(name), shown(value)] for name, value in entries.items()]])
        except Exception as error:
            result["sections"].append([section, {"error": type(error).__name__}])
    for use in ("consumer", "producer") if kafka else ():
        for extra in (None, "crypto"):
            try:
                settings = store.get_kafka_config(use, extra=extra)
                if not keep_cafile:  # the system's list, which the package adds by itself
                    settings.pop("ssl_cafile", None)
                result["kafka"].append([use, bool(extra), [[shown(name), shown(value)] for name, value in settings.items()]])
            except Exception as error:
                result["kafka"].append([use, bool(extra), {"error": type(error).__name__}])
    return result


VALUES = ["1", "+5", "-0", "007", "1_000", "1__0", "_1", "1_", " 12", "0x10", "0b1", "12345678901234567890", "-9223372036854775808",
          "1.5", ".5", "5.", "1e3", "1E-3", "1_0.5", "1._5", "1e999", "1e", "inf", "-Infinity", "nan", "infinit", "true", "TRUE", "tRuE",
          "false", "yes", "none", "base64#", "base64#YQ==", "base64#YQ", "base64#Y Q==", "base64#YQ==x", "BASE64#YQ==", "base64#-_8=",
          "base64#//8=", "base64#YR==", "base64#w6k=", "base64#====", "a b", "a : b", "a = b", "a ; b", "a # b", "%%", "%%%%", "50%", "%x",
          "%(node_id)s", "%(node_id)s%%%(node_id)s", "%(nope)s", "%(unclosed", "%()s", "%(node_id)", "++1", "- 1", "\\n", '"q"', "1 2", "é",
          "\u00a05", "5\u2003", "a\u001c", "x\u000by", "", ":", "::", "[x]", "; c", "file#n.crypto", "1,4", "100%%", "--1", "1\u00a0000"]


def decoding():
    text = HEAD + "".join(f"v{index} : {value}\n" for index, value in enumerate(VALUES)) + "twice : 7%(v0)s\n[n-app]\nnode_id : m\n"
    names = [("", f"v{index}") for index in range(len(VALUES))] + [("", "twice"), ("app", "node_id"), ("app", "v0")]
    yield row("values", text, names)
    for index, value in enumerate(VALUES):  # each alone too, as an entry of a list
        yield row(f"value {index}", f"{HEAD}[n-app]\nv : {value}\n", [("app", "v")])
    yield row("unicode digits", HEAD + "a : ٣\n", [("", "a")])


def forms():
    a = [("", "a"), ("", "b"), ("", "c")]
    for name, text in [
        ("no node", "[DEFAULT]\n[n]\na : 1\n"), ("no default section", "[n]\na : 1\n"), ("empty", ""), ("blank", "\n \n; c\n"),
        ("node ID elsewhere", "[n]\nnode_id : n\n"), ("no section of the node", "[DEFAULT]\nnode_id : n\n"),
        ("number for a node ID", "[DEFAULT]\nnode_id : 007\n[7]\na : 1\n[007]\na : 2\n"),
        ("duplicate name", HEAD + "a : 1\na : 2\n"), ("other case", HEAD + "a : 1\nA : 2\n"),
        ("duplicate section", HEAD + "a : 1\n[n]\nb : 2\n"), ("two defaults", HEAD + "[DEFAULT]\nb : 2\n[n-x]\n"),
        ("two node IDs", HEAD + "[DEFAULT]\nnode_id : 2\n"), ("equals sign", HEAD + "a = 1\n"), ("no delimiter", HEAD + "a\n"),
        ("no name", HEAD + " : 1\n"), ("tight", HEAD + "a :\nb:2\nc:  3\n"), ("hash is no comment", HEAD + "# x : 1\n"),
        ("hash alone", HEAD + "# x\n"), ("before sections", "a : 1\n" + HEAD), ("comments", "; x\n" + HEAD + " ; y\na : 1\n;b : 2\n"),
        ("continuation", HEAD + "a : 1\n  2\n\n; c\n  3\n\n\nb : 4\n"), ("only continuation", HEAD + "a :\n  1\n\t2\n"),
        ("indented", HEAD + "  a : 1\n  b : 2\n c : 3\n    d\n"), ("indented header", HEAD + "a : 1\n [b]\n"),
        ("indented header is one", "[DEFAULT]\nnode_id : n\n[x]\n  [n]\n    a : 1\n   b : 2\n  [y]\n"),
        ("text behind a header", "[DEFAULT]\nnode_id : n\n[n] x : y\na : 1\n"), ("odd header", HEAD + "[]\n"),
        ("header with brackets", HEAD + "[a]b]\n[ n ]\n"), ("CRLF", (HEAD + "a : 1\n  2\nb : base64#YQ==\n").replace("\n", "\r\n")),
        ("CR", (HEAD + "a : 1\n").replace("\n", "\r")), ("BOM", "\ufeff" + HEAD), ("no end", HEAD + "a : 1"),
        ("case of names", HEAD + "MGMT_X : 1\nA : 2\n"), ("tab", HEAD + "a\t:\t1\t\n"), ("unicode space", HEAD + "a\u00a0: 1\n\u2003b : 2\n"),
        ("other line ends", HEAD + "a : 1\u20282\nb : 1\u00852\u000c3\n"), ("base64 in lines", HEAD + "a : base64#Y\n  Q==\n"),
        ("circle", HEAD + "a : %(b)s\nb : %(a)s\n"),
        ("deep", HEAD + "a : %(d1)s\nb : %(d2)s\n" + "".join(f"d{i} : %(d{i + 1})s\n" for i in range(1, 11)) + "d11 : x\n"),
    ]:
        yield row(name, text, a)
    yield row("node asked for", "[DEFAULT]\n" + "node_id : n\n", [], node="n")
    yield row("another node asked for", HEAD, [], node="m")
    text = "[DEFAULT]\nnode_id : n\nq : 5\n[n]\n[n-crypto]\n[n-allowlist]\nz : base64#YQ==\nbase64#YQ== : base64#Yg==\n"
    yield row("defaults", text, [("", "q"), ("crypto", "q"), ("nosuch", "q"), ("crypto", "node_id"), ("allowlist", "z")], kafka=True)


def kafka_forms():
    full = HEAD + """[n-kafka]
Bootstrap_Servers : a:1,b:2
security_protocol : PLAINTEXT
x : 1
y : base
sasl_plain_password : 007
B : True
by : base64#YQ==
ssl_cafile : /ca.pem
[n-kafka-consumer]
BOOTSTRAP_SERVERS : c:3
y : consumer
Y2 : 5
[n-kafka-producer]
x :
X2 : %(node_id)s
group_id : gp
[n-kafka-crypto]
y : crypto
bootstrap_servers :
[n-kafka-crypto-consumer]
enable_auto_commit : False
[n-kafka-crypto-producer]
bootstrap_servers : d
"""
    yield row("kafka", full, [], kafka=True)
    yield row("kafka: nothing", HEAD, [], kafka=True)
    yield row("kafka: group_id", HEAD + "[n-kafka]\ngroup_id : g\n[n-kafka-crypto-consumer]\nGroup_ID : 7\n", [], kafka=True)
    yield row("kafka: group_id unset", HEAD + "[n-kafka]\ngroup_id : g\n[n-kafka-crypto-consumer]\ngroup_id :\n", [], kafka=True)
    yield row("kafka: blank group_id", HEAD + "[n-kafka-crypto-consumer]\ngroup_id :\n", [], kafka=True)
    yield row("kafka: defaults don't show", "[DEFAULT]\nnode_id : n\nfetch_x : 9\n[n-kafka]\na : %(fetch_x)s\n", [], kafka=True)


def stored():
    """What Python writes, read again by Python."""
    values = [True, False, 0, -5, 2**63 - 1, 1.5, -0.0, 1e22, 1e-7, float("inf"), "", "text", "a : b", "; c", "a\nb\n\nc", "a\n; b", "12",
              "TRUE", "%%", "of %(node_id)s", "é", "[x]", b"", b"\x00\xff", b"ab:c=", " x", "x "]
    names = ["plain", "Mixed", "eq=k", "sp ace", "é", b"k:ey\x00", b""]
    pairs = [(f"v{index}", value) for index, value in enumerate(values)] + [(name, 1) for name in names]
    for section in ("", "allowlist"):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "n.config")
            store = opened(path, "n")
            for name, value in pairs:
                store.store_value(name, value, section=section or None)
            store.close()
            with open(path, newline="", encoding="utf-8") as file:
                text = file.read()
        result = row(f"written in [{section}]", text, [(section, name) for name, _ in pairs if isinstance(name, str)])
        yield dict(result, stored=[[section, shown(name), shown(value)] for name, value in pairs])


def random_forms(rng, count):
    for index in range(count):
        yield row(f"random {index}", random_text(rng), [(s, n) for s in ("", "crypto", "app") for n in ("a", "b", "c", "d", "node_id")], kafka=True)


def random_text(rng):
    ending = rng.choice(["\n", "\n", "\n", "\r\n", "\r"])
    sections = ["DEFAULT", "n"] + rng.sample(["n-" + name for name in SECTIONS + KAFKA] + ["other", "DEFAULT"], rng.randrange(6))
    text, used = [], set()
    for number, section in enumerate(sections):
        indent = "" if sections[max(number - 1, 0)] == "DEFAULT" else rng.choice(["", "", "", "", " ", "\t"])
        text.append(f"{indent}[{section}]" + rng.choice(["", "", "", " x", " "]))
        if number == 0:
            text.append("node_id : n")
        for _ in range(rng.randrange(6)):
            text.append(random_line(rng, section, used))
    return ending.join(text) + rng.choice(["", ending])


def random_line(rng, section, used):
    form = rng.random()
    if form < 0.08:
        return rng.choice(["", " ", "\t", "; c", "  ; c : d", ";"])
    if form < 0.25:
        return rng.choice(["  ", "\t", " ", "\u00a0 "]) + rng.choice(["more", "7", "[x]", "z : 1", "%%", "%(d)s"])
    if form < 0.26:
        return rng.choice(["a = 1", "a", ": 1", "[]", "# c"])
    name = rng.choice(names_in(section))
    if (section, name) in used and rng.random() < 0.98:
        return ""
    used.add((section, name))
    value = rng.choice(["1", "text", "%(node_id)s", "é"] if section == "DEFAULT" else VALUES)
    return rng.choice(["", "", "", " ", "  "]) + name + rng.choice([" : ", ":", " :", ": ", "\t:\t"]) + value


def names_in(section):
    """A name in DEFAULT that other sections have too hides theirs, oddly; bytes for the name of a Kafka setting mean nothing."""
    if section == "DEFAULT":
        return ["d", "e"]
    return ["a", "b", "c", "A"] + (["Bootstrap_Servers", "group_id"] if "kafka" in section else ["base64#YQ==", "x y", "base64#!"])


def main():
    seed, count = (int(argument) for argument in (sys.argv[1:] + ["20261124", "400"][len(sys.argv) - 1:])[:2])
    rows = [*decoding(), *forms(), *kafka_forms(), *stored(), *random_forms(random.Random(seed), count)]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.jsonl"), "w", encoding="utf-8") as file:
        for one in rows:
            file.write(json.dumps(one, ensure_ascii=True) + "\n")
    print(f"{len(rows)} rows, {sum(one['open'] for one in rows)} of them opened", file=sys.stderr)


if __name__ == "__main__":
    main()
