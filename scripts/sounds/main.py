# SPDX-License-Identifier: MPL-2.0
"""The acoustic model of src/speech/sounds.bin, and the speech that times are measured on.

  train-sounds.sh speech DIR   fetches and makes speech; aligns words and sounds (speech/)
  train-sounds.sh worsen DIR   that of the teaching in rooms, crowds, codecs ... (teach/)
  train-sounds.sh sets DIR     the sets by which weights are chosen (choose/) and times are proven
                               (prove/), for `bench.sh timing`
  train-sounds.sh teach DIR    teaches the network; needs DIR/teach/*.frames
                               (cargo bench --bench timing -- frames DIR/teach)

Needs espeak-ng, flite and sox of Debian, and apt-get to download (not install) some more; what it
needs of PyPI is in requirements.txt.
"""

import array
import collections
import glob
import json
import multiprocessing
import os
import random
import sys
import wave
import zlib

import corpus
import labels
import recordings
from recordings import Recording, recordings as all_recordings

RATE = corpus.RATE
# How often each recording of the teaching is made worse.
TIMES = 5


def seeded(name):
    return zlib.crc32(name.encode())


def save(folder, name, samples, told, suffix=".json"):
    os.makedirs(folder, exist_ok=True)
    if not isinstance(samples, array.array):
        samples = (samples * 32767).clip(-32768, 32767).round().astype("int16")
    with wave.open(os.path.join(folder, name + ".wav"), "wb") as w:
        w.setparams((1, 2, RATE, 0, "NONE", None))
        w.writeframes(samples.tobytes())
    with open(os.path.join(folder, name + suffix), "w", encoding="utf-8") as f:
        json.dump(told, f, ensure_ascii=False)


def load(path):
    with wave.open(path) as w:
        samples = array.array("h", w.readframes(w.getnframes()))
    with open(path[:-len(".wav")] + ".json", encoding="utf-8") as f:
        return samples, json.load(f)


def cut(recording, heard):
    """Pieces of a long recording at pauses, each with its words as Whisper heard them."""
    pieces, now = [], []
    for w in heard:
        if now and (w["start"] - now[-1]["end"] > 0.4 or w["end"] - now[0]["start"] > 12):
            pieces.append(now)
            now = []
        now.append(w)
    pieces += [now] if now else []
    for i, piece in enumerate(pieces):
        start = max(0, piece[0]["start"] - 0.25)
        samples = recording.samples[int(start * RATE):int((piece[-1]["end"] + 0.25) * RATE)]
        text = recordings.plain(" ".join(w["word"] for w in piece))
        if text and len(text.split()) >= recordings.FEW_WORDS:
            yield Recording(f"{recording.name}-{i:02}", recording.speaker, recording.part,
                            recording.language, samples, text), [
                corpus.word(w["word"], w["start"] - start, w["end"] - start) for w in piece]


aligner = None


def label(job):
    """One recording's sounds and words, to files."""
    global aligner
    recording, heard, folder = job
    r = recording
    told = {"speaker": r.speaker, "part": r.part, "language": r.language}
    if r.phones is not None:
        phones = []
        for name, start, end in r.phones:
            found = [] if name.startswith("_") else labels.arpabet(name)
            if found is None:
                found = []
            step = (end - start) / max(1, len(found))
            phones += [(p, start + i * step, start + (i + 1) * step)
                       for i, p in enumerate(found)] or [("SIL", start, end)]
        save(folder, r.name, r.samples, told | {"words": [], "phones": phones})
        return r, True
    aligner = aligner or labels.Aligner()
    found = aligner.align(r.samples, r.text, r.language)
    if found:
        words, phones = found
        told |= {"words": words, "phones": phones}
        if heard is not None:
            told["heard"] = heard
        save(folder, r.name, r.samples, told)
    return r, bool(found)


def speech(root):
    folder = os.path.join(root, "speech")
    jobs, count = [], collections.Counter()
    whisper = labels.Whisper(root)
    # Not the first in the alphabet, but the same each time.
    for r in sorted(all_recordings(root), key=lambda r: seeded(r.name)):
        if r.part == "teach":
            if count[r.speaker] >= recordings.MOST:
                continue
            count[r.speaker] += 1
        if r.text is None and r.phones is None:
            heard = whisper.words(r.samples)
            jobs += [(*piece, folder) for piece in cut(r, heard)]
            continue
        heard = whisper.words(r.samples) if r.part == "prove" else None
        jobs.append((r, heard, folder))
    # Those that an earlier run has left.
    jobs = [j for j in jobs if not os.path.exists(os.path.join(folder, j[0].name + ".json"))]
    print(len(jobs), "recordings")
    fits, all_of = collections.Counter(), collections.Counter()
    with multiprocessing.Pool(2) as pool:
        for r, done in pool.imap_unordered(label, jobs, 8):
            key = (r.part, r.speaker)
            all_of[key] += len(r.samples) / RATE
            fits[key] += len(r.samples) / RATE if done else 0
    for key in sorted(all_of):
        print(f"{key[0]:8} {key[1]:16} {all_of[key]:7.0f} s, aligned {fits[key]:7.0f} s")


def of_part(root, part):
    for path in sorted(glob.glob(os.path.join(root, "speech", "*.wav"))):
        with open(path[:-len(".wav")] + ".json", encoding="utf-8") as f:
            if json.load(f)["part"] == part:
                yield path


others = songs = None


def sounds(samples):
    import numpy as np
    return np.frombuffer(samples.tobytes(), np.int16) / 32768


def worse(job):
    import numpy as np
    import worsen
    path, folder = job
    samples, told = load(path)
    name = os.path.basename(path)[:-len(".wav")]
    save(folder, name, samples, told)
    for i in range(TIMES):
        rng = np.random.default_rng(seeded(f"{name} {i}"))
        now, moved = samples, told
        if rng.random() < 0.4:
            # Another throat, that speaks faster or slower.
            factor = rng.uniform(0.8, 1.25)
            now = corpus.sox_rate(samples.tobytes(), round(RATE * factor))
            moved = told | {"phones": [(p, s / factor, e / factor) for p, s, e in told["phones"]]}
        # Nobody speaks at once: there is something before and behind.
        lead = int(rng.uniform(0.1, 1) * RATE)
        x = np.concatenate([np.zeros(lead), sounds(now), np.zeros(int(rng.uniform(0, 1) * RATE))])
        moved = moved | {"phones": [("SIL", 0, lead / RATE)] + [
            (p, s + lead / RATE, e + lead / RATE) for p, s, e in moved["phones"]]}
        x, weather = worsen.anyhow(rng, x, others, songs)
        save(folder, f"{name}-{i}", x, moved | {"words": [], "weather": weather})


def prepared(root, part):
    global others, songs
    paths = list(of_part(root, part))
    random.Random(3).shuffle(paths)
    # Of those that speak at length.
    others = [s for s in (sounds(load(p)[0]) for p in paths) if len(s) > 2 * RATE][:300]
    songs = [sounds(s) for _, s in recordings.music(root)]


def make_worse(root):
    prepared(root, "teach")
    jobs = [(path, os.path.join(root, "teach")) for path in of_part(root, "teach")]
    with multiprocessing.Pool(2) as pool:
        for _ in pool.imap_unordered(worse, jobs, 8):
            pass


def sets(root):
    """In each weather, of the speakers of each part: `bench.sh timing --corpus DIR/prove/hall`."""
    import numpy as np
    import worsen
    prepared(root, "teach")
    for part in ("choose", "prove"):
        clips = [(path, *load(path)) for path in of_part(root, part)]
        clips = [clip for clip in clips if clip[2]["words"]]
        kept = labels.agreed([(told["words"], told.get("heard")) for _, _, told in clips])
        for (path, samples, told), sure in zip(clips, kept):
            name = os.path.basename(path)[:-len(".wav")]
            truth = [w | ({} if i in sure else {"doubtful": True})
                     for i, w in enumerate(told["words"])]
            for weather, made in worsen.WEATHERS.items():
                rng = np.random.default_rng(seeded(f"{weather} {name}"))
                x = made(rng, sounds(samples), others)
                peak = np.abs(x).max()
                x = x if weather == "clean" else worsen.at_level(x, -3 if peak > 0.7 else -12)
                save(os.path.join(root, part, weather), name, x, truth, ".words.json")
        words, agreed = sum(len(told["words"]) for _, _, told in clips), sum(map(len, kept))
        speakers = {told["speaker"] for _, _, told in clips}
        print(f"{part}: {words} words, of which {agreed} ({agreed / max(1, words):.0%}) count, "
              f"{len(speakers)} speakers")


def main():
    commands = {"speech": speech, "worsen": make_worse, "sets": sets}
    if len(sys.argv) != 3 or sys.argv[1] not in (*commands, "teach"):
        sys.exit(__doc__)
    command, root = sys.argv[1:]
    os.makedirs(root, exist_ok=True)
    if command == "teach":
        import network
        network.teach(root)
    else:
        commands[command](root)


if __name__ == "__main__":
    main()
