#!/usr/bin/env python3
"""Random expressions, and which names Python's re.match takes for them (bytes, as certificates are matched there).
usage: generate_matching.py SEED COUNT > matching.jsonl
Each line: {expression, simple, names, matches}; `simple`: made of nothing but what the Rust side accepts; `matches`: one
boolean for each name, or null when Python can't compile the expression.
"""
import json, random, re, sys, warnings

warnings.simplefilter("ignore")
seed, count = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)
LETTERS = "abfx01_-.\n <"


def atom(depth, wild):
    kind = rng.random()
    if kind < .45:
        return re.escape(rng.choice("abfx01_-. <"))
    if kind < .55:
        return rng.choice(["\\d", "\\w", "\\s", "."])
    if kind < .68:
        return char_class(wild)
    if kind < .85 and depth:
        return rng.choice(["(", "(", "(?:"]) + alternatives(depth - 1, wild) + ")"
    if wild and kind < .9:
        return rng.choice(WILD)
    return rng.choice("abx")


WILD = ["(?i)a", "(?=a)", "(?!a)", "(?<!a)", "(?P<n>a)", "(?s:.)", "(?>a)", "\\B", "\\A", "\\Z", "\\x61", "\\141", "\\n", "\\t", "\\D",
        "\\W", "\\S", "\\1", "{", "}", "a{", "a{,2}", "a{x}", "]", "\\p", "\\<", "\\_", "\\}", "(?#c)", "(?-i:a)", "^", "$", "^*", "$+",
        "a**", "a*+", "a++", "a?+", "a{2}{2}", "a{2}+", "a{3,2}", "[]a]", "[^]a]", "[a", "(", ")", "\\b*", "()*", "(|a)*", "(a*)*"]


def char_class(wild):
    items = [rng.choice(["a", "b", "f", "x", "0", "_", "a-f", "0-9", "\\d", "\\w", "\\s", "\\.", "\\-", ".", "\\]", "<", "$", "|"])
             for _ in range(rng.randint(1, 3))]
    if wild and rng.random() < .5:
        items.insert(rng.randint(0, len(items)), rng.choice(["[", "&&b", "--a", "~~a", "\\b", "\\D", "\\d-z", "z-a", "^", "-", "[:alpha:]", "\\x61"]))
    return "[" + rng.choice(["", "", "^"]) + "".join(items) + rng.choice(["", "", "-"]) + "]"


def quantified(depth, wild):
    text = atom(depth, wild)
    if rng.random() < .35:
        text += rng.choice(["*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}"]) + rng.choice(["", "", "?"])
    return text


def sequence(depth, wild):
    parts = [quantified(depth, wild) for _ in range(rng.randint(0 if rng.random() < .1 else 1, 3))]
    if rng.random() < .15:
        parts.insert(rng.randint(0, len(parts)), rng.choice(["^", "$", "\\b"]))
    return "".join(parts)


def alternatives(depth, wild):
    return "|".join(sequence(depth, wild) for _ in range(rng.choice([1, 1, 1, 2, 3])))


def name(expression):
    letters = [rng.choice(LETTERS) for _ in range(rng.randint(0, 5))]
    literal = re.sub(r"[^abfx01_.<-]", "", expression)[:6]
    return rng.choice(["".join(letters), "".join(letters), literal, literal + "".join(letters[:1])])


for number in range(count):
    wild = number % 2 == 1
    expression = "^" + alternatives(2, wild) + rng.choice(["", "", "$"])
    names = sorted({name(expression) for _ in range(8)})
    names = [one for one in names if not one.startswith("^")]
    try:
        compiled = re.compile(expression.encode("latin-1"))
        matches = [compiled.match(one.encode("latin-1")) is not None for one in names]
    except (re.error, OverflowError, RecursionError):
        matches = None
    print(json.dumps(dict(expression=expression, simple=not wild, names=names, matches=matches)))
