#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Teaches src/transcript/sounds.bin: which broad class of sound a 10 ms frame is.

  train-sounds.py speak DIR    writes speech and the class of each of its sounds into DIR:
                               espeak-ng in many languages (its own phoneme events), flite's
                               voices, and two thirds of the prompts that Allison Smith recorded
                               for Asterisk (CC-BY-SA 3.0; both aligned by pocketsphinx); none
                               of the corpus of the benchmark is among it
  train-sounds.py weigh DIR    writes sets of other sentences by flite, and of the other third of
                               the prompts, into DIR, with words, on which the weights of
                               src/transcript/viterbi.rs were chosen
                               (cargo bench --bench timing -- offline DIR)
  train-sounds.py teach DIR    reads DIR's NAME.frames (cargo bench --bench timing -- frames DIR)
                               and writes src/transcript/sounds.bin

Needs pocketsphinx 5.1, numpy, scikit-learn, imageio-ffmpeg (PyPI), libespeak-ng, flite, sox,
and apt-get to download (not install) Debian's asterisk-core-sounds-en and -en-g722.
"""

import array
import glob
import gzip
import importlib.util
import json
import os
import random
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
spec = importlib.util.spec_from_file_location(
    "corpus", os.path.join(ROOT, "scripts", "align-corpus.py"))
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)
RATE = corpus.RATE

# Silence, vowel, nasal, liquid or glide, sibilant, other fricative, stop.
CLASSES = "_VNLSFP"

ENGLISH = """the birch canoe slid on the smooth planks
glue the sheet to the dark blue background
it is easy to tell the depth of a well
these days a chicken leg is a rare dish
rice is often served in round bowls
the juice of lemons makes fine punch
the box was thrown beside the parked truck
the hogs were fed chopped corn and garbage
four hours of steady work faced us
a large size in stockings is hard to sell
the boy was there when the sun rose
a rod is used to catch pink salmon
the source of the huge river is the clear spring
kick the ball straight and follow through
help the woman get back to her feet
a pot of tea helps to pass the evening
smoky fires lack flame and heat
the soft cushion broke the man's fall
the salt breeze came across from the sea
the girl at the booth sold fifty bonds
the small pup gnawed a hole in the sock
the fish twisted and turned on the bent hook
press the pants and sew a button on the vest
the swan dive was far short of perfect
the beauty of the view stunned the young boy
two blue fish swam in the tank
her purse was full of useless trash
the colt reared and threw the tall rider
it snowed rained and hailed the same morning
read verse out loud for pleasure
hoist the load to your left shoulder
take the winding path to reach the lake
note closely the size of the gas tank
wipe the grease off his dirty face
mend the coat before you go out
the wrist was badly strained and hung limp
the stray cat gave birth to kittens
the young girl gave no clear response
the meal was cooked before the bell rang
what joy there is in living""".splitlines()

OTHER_ENGLISH = """a saw is a tool used for making boards
the wagon moved on well oiled wheels
march the soldiers past the next hill
a cup of sugar makes sweet fudge
place a rosebush near the porch steps
both lost their lives in the raging storm
we talked of the side show in the circus
use a pencil to write the first draft
he ran half way to the hardware store
the clock struck to mark the third period
a small creek cut across the field
cars and busses stalled in snow drifts
the set of china hit the floor with a crash
this is a grand season for hikes on the road
the dune rose from the edge of the water
those words were the cue for the actor to leave
a yacht slid around the point into the bay
the two met while playing on the sand
the ink stain dried on the finished page
the walled town was seized without a fight""".splitlines()

OTHERS = {
    "en": ENGLISH[:6],
    "de": ["Der Hund schläft unter dem Tisch in der Küche.",
           "Morgen fahren wir mit dem Bus zum Bahnhof.", "Ich habe gestern ein gutes Buch gelesen."],
    "fr": ["Le chat dort sur la chaise de la cuisine.", "Nous prenons le bus demain matin.",
           "J'ai lu un bon livre hier soir."],
    "es": ["El perro duerme debajo de la mesa.", "Mañana vamos en autobús a la estación.",
           "Ayer leí un libro muy bueno."],
    "it": ["Il cane dorme sotto il tavolo.", "Domani andiamo alla stazione con l'autobus."],
    "pl": ["Pies śpi pod stołem w kuchni.", "Jutro jedziemy autobusem na dworzec."],
    "ru": ["Собака спит под столом на кухне.", "Завтра мы поедем на вокзал на автобусе."],
    "tr": ["Köpek masanın altında uyuyor.", "Yarın otobüsle istasyona gidiyoruz."],
    "hi": ["कुत्ता मेज़ के नीचे सो रहा है।", "कल हम बस से स्टेशन जाएँगे।"],
    "cmn-latn-pinyin": ["xiao3gou3 zai4 zhuo1zi5 xia4mian4 shui4jiao4",
                        "ming2tian1 wo3men5 zuo4 gong1gong4 qi4che1 qu4 che1zhan4"],
    "pt": ["O cão dorme debaixo da mesa.", "Amanhã vamos de autocarro para a estação."],
    "sv": ["Hunden sover under bordet i köket.", "I morgon åker vi buss till stationen."],
    "fi": ["Koira nukkuu pöydän alla keittiössä.", "Huomenna menemme bussilla asemalle."],
    "el": ["Ο σκύλος κοιμάται κάτω από το τραπέζι."],
    "id": ["Anjing itu tidur di bawah meja.", "Besok kami naik bus ke stasiun."],
}
VARIANTS = ["", "+f2", "+m3", "+f4", "+m7"]

ARPABET = {"V": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW", "N": "M N NG", "L": "L R W Y",
           "S": "S Z SH ZH", "F": "F V TH DH HH", "P": "P T K B D G", "_": "SIL +NSN+ +SPN+"}
ARPABET = {p: c for c, ps in ARPABET.items() for p in ps.split()}


def kirshenbaum(name):
    """Classes of an espeak-ng phoneme, as a string of one or two."""
    name = name.strip("'`,%=:;|!0123456789 ") or ("L" if ";" in name else "_")
    if name == "L":
        return "L"
    if name[:2] in ("tS", "dZ", "ts", "dz", "tʃ", "dʒ"):
        return "PS"
    c = name[0]
    if c == "_":
        return "_"
    for kind, letters in (("N", "mnNɲŋ"), ("L", "lrjwLR*ɹɾɫ"), ("S", "szSZʃʒɕʑ"),
                          ("F", "fvTDhxCHQBθðç"), ("P", "ptkbdgqcɟ?")):
        if c in letters:
            return kind
    return "V"


def save(directory, name, samples, classes):
    corpus.write_wav(os.path.join(directory, name + ".wav"), samples)
    with open(os.path.join(directory, name + ".classes.json"), "w", encoding="utf-8") as f:
        json.dump(classes, f)


def augmented(rng, directory, name, samples, classes):
    save(directory, name, samples, classes)
    # Another throat: higher or lower, and so faster or slower.
    factor = rng.choice([0.85, 0.92, 1.08, 1.16])
    shifted = corpus.sox_rate(array.array("h", samples).tobytes(), round(RATE * factor))
    moved = [(c, s / factor, e / factor) for c, s, e in classes]
    save(directory, name + "-throat", shifted, moved)
    noisy = [{"start": s, "end": e} for c, s, e in moved if c != "_"]
    save(directory, name + "-throat-noise",
         corpus.with_noise(rng, shifted, noisy, rng.uniform(5, 25)), moved)
    spoken = [{"start": s, "end": e} for c, s, e in classes if c != "_"]
    for snr in (20, 10, 5):
        save(directory, f"{name}-{snr}dB",
             corpus.with_noise(rng, samples, spoken, snr + rng.uniform(-2, 2)), classes)


def phones(samples, text):
    from pocketsphinx import Decoder
    decoder = Decoder(lm=None, loglevel="FATAL", silprob=1.0)
    decoder.set_align_text(text)
    for second in (False, True):
        if second:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(array.array("h", samples).tobytes(), full_utt=True)
        decoder.end_utt()
    out = []
    for w in decoder.get_alignment():
        for p in w:
            start, end = p.start / 100, (p.start + p.duration) / 100
            if p.name in ("CH", "JH"):
                middle = (start + end) / 2
                out += [("P", start, middle), ("S", middle, end)]
            else:
                out.append((ARPABET.get(p.name, "_"), start, end))
    return out


DIGITS = "zero one two three four five six seven eight nine".split()


def prompts(directory):
    """(name, samples, text) of each prompt whose words pocketsphinx knows."""
    from imageio_ffmpeg import get_ffmpeg_exe
    from pocketsphinx import Decoder
    decoder = Decoder(lm=None, loglevel="FATAL")
    root = os.path.join(directory, "asterisk")
    if not os.path.isdir(root):
        os.makedirs(root)
        subprocess.run(["apt-get", "-q", "download", "asterisk-core-sounds-en",
                        "asterisk-core-sounds-en-g722"], cwd=root, check=True)
        for package in glob.glob(os.path.join(root, "*.deb")):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    told = os.path.join(root, "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
    sounds = os.path.join(root, "usr/share/asterisk/sounds/en_US_f_Allison")
    with gzip.open(told, "rt", encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()
    for line in lines:
        name, colon, text = line.partition(":")
        path = os.path.join(sounds, name + ".g722")
        # What stands in brackets is not said, or said otherwise.
        if not colon or re.search(r"[\[(]", text) or not os.path.exists(path):
            continue
        text = re.sub(r"\d", lambda m: f" {DIGITS[int(m.group())]} ", text.lower())
        words = [w.strip("'") for w in re.sub(r"[^a-z']", " ", text).split()]
        words = [w for w in words if w]
        if not words or any(decoder.lookup_word(w) is None for w in words):
            continue
        raw = subprocess.run([get_ffmpeg_exe(), "-v", "error", "-f", "g722", "-i", path, "-ar",
                              str(RATE), "-f", "s16le", "-"], stdout=subprocess.PIPE, check=True)
        samples = array.array("h", raw.stdout)
        yield name.replace("/", "-"), samples, " ".join(words)


def is_kept_back(name):
    """Whether a prompt is for `weigh`, not for `speak`: the same each time, a third of them."""
    return sum(name.encode()) % 3 == 0


def speak(directory):
    os.makedirs(directory, exist_ok=True)
    rng = random.Random(7)
    espeak = corpus.Espeak()
    for language, sentences in OTHERS.items():
        for i, text in enumerate(sentences):
            for variant in rng.sample(VARIANTS, 2):
                samples, _, phonemes = espeak.say(language + variant, text,
                                                  rng.choice([140, 165, 190]))
                classes = []
                for j, (name, start) in enumerate(phonemes):
                    end = phonemes[j + 1][1] if j + 1 < len(phonemes) else len(samples) / RATE
                    kinds = kirshenbaum(name)
                    step = (end - start) / len(kinds)
                    classes += [(k, start + n * step, start + (n + 1) * step)
                                for n, k in enumerate(kinds)]
                augmented(rng, directory, f"espeak-{language}{variant}-{i}", samples, classes)
    for voice in ("awb", "rms", "slt", "kal16"):
        for i, text in enumerate(ENGLISH):
            if (i + len(voice)) % 2 == 0 and voice != "rms":
                continue
            samples = flite(voice, text, rng.choice(["0.85", "1.0", "1.15"]), directory)
            try:
                classes = phones(samples, text)
            except Exception as e:  # a word that pocketsphinx does not know
                print("left out:", text, e)
                continue
            augmented(rng, directory, f"flite-{voice}-{i}", samples, classes)
    for name, samples, text in prompts(directory):
        if not is_kept_back(name):
            try:
                classes = phones(samples, text)
            except Exception as e:
                print("left out:", text, e)
                continue
            augmented(rng, directory, f"prompt-{name}", samples, classes)


def flite(voice, text, stretch, directory):
    path = os.path.join(directory, "flite.wav.tmp")
    subprocess.run(["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}",
                    "-t", text, "-o", path], check=True)
    with open(path, "rb") as f:
        data = f.read()
    os.remove(path)
    return corpus.sox_rate(data[44:], int.from_bytes(data[24:28], "little"))


def weigh(directory):
    os.makedirs(directory, exist_ok=True)
    rng = random.Random(11)
    clips = []
    for i, text in enumerate(OTHER_ENGLISH):
        for voice in rng.sample(["awb", "rms", "slt", "kal16"], 2):
            samples = flite(voice, text, rng.choice(["0.85", "1.0", "1.15"]), directory)
            clips.append((f"{voice}-{i:02}", samples, corpus.align(samples, text)))
    corpus.make_set(directory, "flite", clips)
    clips = [(name, samples, corpus.align(samples, text))
             for name, samples, text in prompts(directory)
             if is_kept_back(name) and len(text.split()) > 2]
    corpus.make_set(directory, "prompts", clips)


BANDS = 18
AROUND = (-6, -3, -1, 0, 1, 3, 6)
HIDDEN = 64


def normalised(levels):
    """As `AcousticModel` in src/transcript/acoustic_model.rs does it."""
    import numpy as np
    loudness = levels[:, 2:13].mean(axis=1)
    loud = np.sort(loudness)[int((len(loudness) - 1) * 0.95)]
    mean = levels[loudness >= loud - 45].mean(axis=0)
    return np.clip((levels - mean) / 20, -4, 2)


def stacked(x):
    import numpy as np
    rows = np.arange(len(x))
    return np.hstack([x[np.clip(rows + d, 0, len(x) - 1)] for d in AROUND])


def read(directory, wanted=lambda name: True):
    import numpy as np
    xs, ys = [], []
    for path in sorted(glob.glob(os.path.join(directory, "*.frames"))):
        name = os.path.basename(path)[:-len(".frames")]
        labels = path[:-len(".frames")] + ".classes.json"
        if not wanted(name) or not os.path.exists(labels):
            continue
        frames = np.fromfile(path, dtype=np.uint8).reshape(-1, BANDS + 1).astype(np.float32)
        y = np.full(len(frames), -1)
        with open(labels, encoding="utf-8") as f:
            for c, start, end in json.load(f):
                y[int(round(start * 100)):int(round(end * 100))] = CLASSES.index(c)
        x = stacked(normalised(frames[:, :BANDS]))
        xs.append(x[y >= 0])
        ys.append(y[y >= 0])
    # In single precision the smallest numbers make the teaching a hundred times slower.
    return np.vstack(xs).astype(np.float64), np.concatenate(ys)


def teach(directory):
    import numpy as np
    from sklearn.neural_network import MLPClassifier
    x, y = read(directory)
    print(x.shape, np.bincount(y) / len(y))
    held = MLPClassifier((HIDDEN,), activation="relu", max_iter=10, random_state=1, alpha=1e-3,
                         batch_size=512)
    tx, ty = read(directory, lambda n: "slt" not in n and "-fr" not in n)
    hx, hy = read(directory, lambda n: "slt" in n or "-fr" in n)
    held.fit(tx, ty)
    print("frames right, voice and language never heard:", held.score(hx, hy))
    net = MLPClassifier((HIDDEN,), activation="relu", max_iter=14, random_state=1, alpha=1e-3,
                        batch_size=512)
    net.fit(x, y)
    print("frames right, heard:", net.score(x, y))
    # For each row of weights: scale (f32), then i8 weights; biases as f32; then log priors.
    out = bytearray()
    for w, b in zip(net.coefs_, net.intercepts_):
        for column, bias in zip(w.T, b):
            scale = np.abs(column).max() / 127
            out += np.float32(scale).tobytes() + np.float32(bias).tobytes()
            out += np.round(column / scale).astype(np.int8).tobytes()
    out += np.log(np.bincount(y) / len(y)).astype(np.float32).tobytes()
    with open(os.path.join(ROOT, "src", "transcript", "sounds.bin"), "wb") as f:
        f.write(out)
    print(len(out), "bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("speak", "weigh", "teach"):
        sys.exit(__doc__)
    {"speak": speak, "weigh": weigh, "teach": teach}[sys.argv[1]](sys.argv[2])
