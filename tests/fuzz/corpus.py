#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""corpus.py

Makes the kept inputs of the fuzz targets from recordings of a real server (tests/recordings) and from
what is written here: all files of tests/fuzz/corpus but those named found-*, which are inputs that
once failed. The encodings are those of tests/fuzz/targets.
"""

import json
import random
import struct
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
CUT = "\x1f"
LONGEST = 4096

TEXTS = [
    "It's well-known: 3.14 is \u201cpi\u201d \u2014 or so (they say) ...",
    "\u00bfQu\u00e9 tal? \u00a1Bien! \u00ab Oui \u00bb, dit-il ; et puis ?",
    "\u4eca\u65e5\u306f\u3044\u3044\u5929\u6c17\u3067\u3059\u306d\u3002\u300c\u306f\u3044\u300d\u30c6\u30ec\u30d3",
    "\u6211\u4eec\u53bb\u5317\u4eac\u5427\uff01Hello\u4e16\u754c\uff0c2024\u5e74",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a\u0e1c\u0e21\u0e0a\u0e37\u0e48\u0e2d \u1785\u17c6\u1793\u17bd\u1793 \u0ea5\u0eb2\u0ea7",
    "\u05e9\u05dc\u05d5\u05dd, \u0645\u0631\u062d\u0628\u0627\u061f \u200fabc\u200e",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd e\u0301e\u0301 \ufeff\ufffd\x00\x07 \u200b",
    "a" * 450 + " " + "\u306e" * 150 + " " + "." * 60 + " \"'\" \"\" (((( ))))",
    "\n\t \u3000 \u00a0 - \u2013 \u2014 x \u2014y\u2014 \u00a1\u00a1\u00a1",
    "the language of language English is languages<asr_text> and <asr_text>",
]

TAGGED = [
    "language English<asr_text>Hello world.language None<asr_text>language Chinese<asr_text>\u4f60\u597d",
    "language English, German<asr_text>a language English<asr_textlanguage French<asr_text>b",
    "langlanguage English<asr_text>uage German<asr_text> language  <asr_text> language <asr_text>",
    "language " + "x" * 40 + "<asr_text> language \u00c9wondo-B_a<asr_text>language",
    "my language is<asr_text>language 5<asr_text>language Thai<asr<asr_text>",
]

EVENTS = [
    '{"type":"session.updated","session":{}}',
    '{"type":"session.created","session":{"id":"x","model":"m"}}',
    '{"type":"transcription.delta","delta":"a","segments":[{"text":"a","end":1e308},{"end":2},{"text":"b","end":-0.0}],"logprobs":[{"logprob":-0.5},-1]}',
    '{"type":"transcription.delta","delta":{"a":[null,true,"\\ud800"]},"logprobs":-1e999}',
    '{"type":"transcription.done","text":"a","usage":{"prompt_tokens":18446744073709551615,"completion_tokens":-1}}',
    '{"type":"error","error":{"message":"m","code":"c","type":"t"},"code":7}',
    '{"type":"conversation.item.input_audio_transcription.delta","delta":"x"}',
    '{"type":"conversation.' + "x" * 600 + '"}',
    '"' + "y" * 2000 + '"',
    "[" * 200 + "]" * 200,
    '{"type":"a","type":"b"} x',
    "\ufeff{}",
]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def first_connection(path):
    """The events of the connection that has the most."""
    found = {}
    for line in lines(path):
        if not isinstance(line["m"], dict):
            line["m"] = {}
        found.setdefault(line["c"], []).append(line)
    return max(found.values(), key=len)


def put(folder, name, data):
    folder = CORPUS / folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data[:LONGEST])


def texts_of(path):
    """The deltas of each generation, cut as they came."""
    generations, now = [], []
    for line in first_connection(path):
        m = line["m"]
        if line["d"] == "<" and m.get("type") == "transcription.delta":
            now.append(m["delta"])
        elif line["d"] == "<" and m.get("type") == "transcription.done":
            generations.append(now)
            now = []
    return [g for g in [*generations, now] if any(g)]


def text(s):
    data = s.encode()[:255]
    return bytes([len(data)]) + data


def cut(s, rng):
    return "".join(c + (CUT if rng.random() < 0.3 else "") for c in s).encode()


# The transcript's calls.

def transcript(path):
    timing = 0
    out = bytes([timing, 0, 0])
    blanks = 0

    def flush():
        nonlocal out, blanks
        while blanks:
            n = min(blanks, 255)
            out += bytes([10, n])
            blanks -= n

    for line in first_connection(path):
        m, kind = line["m"], line["m"].get("type")
        if kind == "transcription.delta" and m["delta"] == "":
            blanks += 1
            continue
        flush()
        if kind == "input_audio_buffer.append":
            n = int(m.get("samples") or 0)
            while n >= 160:
                # The call adds some samples of its own.
                k = min(n // 160, 255)
                out += bytes([0, 0, k, 3])
                n -= k * 160
        elif kind == "input_audio_buffer.commit" and m.get("final"):
            out += bytes([3, 7, 0])
        elif kind == "input_audio_buffer.commit":
            out += bytes([6])
        elif kind == "transcription.delta":
            out += bytes([3, 8]) + text(m["delta"])
        elif kind == "transcription.done":
            out += bytes([13]) + text(m["text"]) + bytes([1, (m.get("usage") or {}).get("completion_tokens", 0) & 255])
    flush()
    return out


def random_transcript(rng):
    out = bytes([rng.randrange(4), rng.randrange(7), rng.randrange(2)])
    for _ in range(60):
        c = rng.choice([0, 0, 0, 3, 3, 6, 7, 8, 8, 8, 8, 10, 11, 12, 13, 14, 15, 2, 4, 5])
        out += bytes([c])
        if c == 0:
            out += bytes([rng.randrange(4), rng.randrange(256), 0])
        elif c in (2, 4, 5):
            out += struct.pack("<H", rng.randrange(20000))
        elif c in (7, 10):
            out += bytes([rng.randrange(40)])
        elif c == 8:
            out += text(some_text(rng))
        elif c == 11:
            # f64 in the order that the reader has: most significant 16 bits first.
            f = lambda v: b"".join(struct.pack("<H", h) for h in struct.unpack(">4H", struct.pack(">d", v)))
            out += text(some_text(rng)) + struct.pack("<H", 0) + f(rng.uniform(0, 20)) + bytes([2]) + f(-rng.random())
        elif c == 12:
            out += text(some_text(rng)) + struct.pack("<H", rng.choice([1, 100, 65535])) + bytes([rng.randrange(2)])
        elif c == 13:
            out += text(" ".join(some_text(rng) for _ in range(3))) + bytes([0])
    return out


def some_text(rng):
    return rng.choice([" Hello", " word", "s", ".", " a", " and so on", "language English<asr_text>",
                       "language", " Ger", "man<asr_text>", "\u4eca\u65e5", " \u2014 ", " wor-", "\U0001f600"])


# The session's calls.

def head(kind, rng=None):
    """Configuration; with `rng` an unusual one."""
    r = (lambda n: rng.randrange(n)) if rng else (lambda n: 0)
    timing = r(4)
    out = bytes([timing]) + (bytes([kind]) if timing == 0 else b"")
    return out + bytes([r(3), r(4), r(3), r(4), r(4), r(3), r(2), r(4), r(5), 7])


def session(path, kind):
    out = head(kind) + bytes([23, 9])
    blanks, at = 0, 0.0

    def flush():
        nonlocal out, blanks
        while blanks:
            n = min(blanks, 255)
            out += bytes([13, n])
            blanks -= n

    for line in first_connection(path):
        m, type_ = line["m"], line["m"].get("type")
        if line["d"] == "<" and type_ == "transcription.delta" and m["delta"] == "":
            blanks += 1
            continue
        flush()
        step = int(min(line["t"] - at, 2.5) * 100)
        if step > 3:
            out += bytes([3, step])
            at = line["t"]
        if line["d"] == "<":
            if type_ == "session.created":
                out += bytes([10])
            elif type_ == "transcription.delta":
                out += bytes([12]) + text(m["delta"])
            elif type_ == "transcription.done":
                out += bytes([16]) + text(m["text"]) + bytes([39, 9])
            else:
                out += bytes([18]) + text(json.dumps(m))
        elif type_ == "input_audio_buffer.append":
            out += bytes([0, 0, min(int(m.get("samples") or 0) // 320, 255)])
        elif type_ == "input_audio_buffer.commit" and m.get("final"):
            out += bytes([6, 0, 0])
        elif line["d"] == "!":
            out += bytes([11, 1, 5, 9, 10])
    flush()
    return out


def random_session(rng):
    out = head(rng.randrange(3), rng) + bytes([20, rng.randrange(2), 23, 9, 10])
    for _ in range(80):
        c = rng.choice([0] * 8 + [3] * 5 + [14] * 8 + [5] * 3 + [4, 6, 6, 7, 8, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23]
                       + [9, 10] * 2)
        out += bytes([c])
        if c == 0:
            out += bytes([rng.choice([0, 0, 0, 1, 2, 3]), rng.randrange(256)])
        elif c in (3, 4, 13, 14):
            out += bytes([rng.randrange(100)])
        elif c == 6:
            out += struct.pack("<H", rng.choice([0, 0, 500, 30000]))
        elif c == 11:
            out += bytes([rng.randrange(1, 8)])
        elif c == 12:
            out += text(some_text(rng))
        elif c == 16:
            out += text(some_text(rng)) + bytes([39, rng.randrange(60)])
        elif c in (17, 20, 21):
            out += bytes([rng.randrange(12)])
        elif c == 18:
            out += text(rng.choice(EVENTS))
        elif c == 19:
            out += bytes([rng.randrange(12), rng.randrange(80), rng.randrange(32, 127)])
        elif c == 22:
            out += text(some_text(rng)) + struct.pack("<H", rng.choice([9, 3000])) + bytes([rng.randrange(200), rng.randrange(4)])
    return out


def random_stream(kind, rng):
    """For target element: a server, settings, then what a source does; most of it is buffers."""
    out = bytes([kind, rng.randrange(2), rng.randrange(2), rng.randrange(3), rng.randrange(3), 0, rng.randrange(2)])
    for _ in range(60):
        out += bytes([rng.choice([0] * 12 + list(range(24)))])
        out += bytes(rng.randrange(256) for _ in range(rng.choice([1, 2, 2, 3])))
    return out


def main():
    recordings = Path(__file__).parent.parent / "recordings"
    for old in CORPUS.glob("*/*"):
        if not old.name.startswith("found-"):
            old.unlink()
    rng = random.Random(1)

    seen = set()
    for path in sorted(recordings.glob("*.jsonl")):
        for line in lines(path):
            m = line["m"]
            if line["d"] != "<" or "type" not in m:
                continue
            # One of each kind, with the code and the fields it has.
            shape = (m["type"], m.get("code"), tuple(sorted(m)))
            if shape not in seen:
                seen.add(shape)
                put("event", f"{path.stem}-{len(seen)}", json.dumps(m, ensure_ascii=False).encode())
    for i, e in enumerate(EVENTS):
        put("event", f"made-{i}", e.encode())

    for i, t in enumerate(TEXTS):
        put("words", f"made-{i}", cut(t, rng))
    for i, t in enumerate(TAGGED):
        put("tags", f"made-{i}", cut(t, rng))
    for name in ["voxtral_two", "voxtral_utf8_cut", "voxtral_eos_two", "dummy_voxtral_two", "dummy_qwen3asr_two"]:
        for i, g in enumerate(texts_of(recordings / f"{name}.jsonl")[:2]):
            put("words", f"{name}-{i}", CUT.join(g).encode()[:1500])
    for name in ["qwen3asr_two", "qwen3asr_segments", "qwen3asr_silence10", "voxtral_two"]:
        for i, g in enumerate(texts_of(recordings / f"{name}.jsonl")[:2]):
            put("tags", f"{name}-{i}", CUT.join(g).encode()[:1500])

    played = ["two", "single", "silence10", "short", "errors_midstream", "sigterm_drain", "between_commit",
              "context_end", "context_end_qwen", "long", "segments", "engine_death", "eos_two", "utf8_cut", "no_audio",
              "idle", "final_first"]
    for model, kind in [("voxtral", 0), ("qwen3asr", 1), ("dummy_voxtral", 0), ("dummy_qwen3asr", 1)]:
        for name in played:
            path = recordings / f"{model}_{name}.jsonl"
            if path.exists():
                put("session", path.stem, session(path, kind))
                if name not in ("no_audio", "final_first", "idle", "engine_death"):
                    put("transcript", path.stem, transcript(path))
    for i in range(24):
        put("transcript", f"made-{i:02}", random_transcript(rng))
        put("session", f"made-{i:02}", random_session(rng))
    for i in range(12):
        put("element", f"made-{i:02}", random_stream(i % 3, rng))


main()
