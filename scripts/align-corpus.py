#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""The corpus of the timing benchmark: speech with the time of each word.

  align-corpus.py align            real readings -> tests/data/real*/NAME.words.json
                                   (needs PyPI's pocketsphinx 5.1: run align-corpus.sh)
  align-corpus.py make [DIR]       all sets -> DIR/SET/NAME.wav, NAME.words.json
                                   (default target/bench/corpus; needs libespeak-ng, sox and
                                   Debian's pocketsphinx-testdata; only Python's own library)
  align-corpus.py one WAV TEXT     words.json of any English recording, on stdout

NAME.words.json is [{"word", "start", "end"}], in seconds. The truth for real readings is
pocketsphinx's forced alignment, silence counted apart from words; for synthetic speech it is
espeak-ng's own word and phoneme events. The same input gives the same corpus, to the bit.
"""

import array
import ctypes
import json
import math
import os
import random
import subprocess
import sys
import wave

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, "tests", "data")
POCKETSPHINX = "/usr/share/pocketsphinx/test/data"
RATE = 16000

# name -> (file below POCKETSPHINX, words)
REAL = {
    "0870": ("librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
             "and mister john dashwood had then leisure to consider how much there might be "
             "prudently in his power to do for them"),
    "0880": ("librivox/sense_and_sensibility_01_austen_64kb-0880.wav",
             "he was not an ill disposed young man"),
    "0890": ("librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
             "unless to be rather cold hearted and rather selfish is to be ill disposed"),
    "0920": ("librivox/sense_and_sensibility_01_austen_64kb-0920.wav",
             "had he married a more amiable woman he might have been made still more "
             "respectable than he was"),
    "0930": ("librivox/sense_and_sensibility_01_austen_64kb-0930.wav",
             "he might even have been made amiable himself"),
}
COMMANDS = {
    "card1": ("cards/001.wav", "ten of clubs"),
    "card2": ("cards/002.wav", "four queen of clubs"),
    "card3": ("cards/003.wav", "seven of clubs"),
    "card4": ("cards/004.wav", "five five"),
    "card5": ("cards/005.wav", "eight of spades four of clubs seven of hearts"),
    "forward": ("goforward.raw", "go forward ten meters"),
    "something": ("something.raw", "go somewhere and do something"),
}
REAL_SETS = {"real": REAL, "real-commands": COMMANDS}

# set -> (espeak-ng voice, sentences). Our own, but for the first of each: Article 1 of the
# Universal Declaration of Human Rights.
SPOKEN = {
    "espeak-en": ("en-us", [
        "All human beings are born free and equal in dignity and rights.",
        "The train to the coast was late again, so we walked along the river.",
        "Please send the parcel to my sister, she lives next to the old church.",
        "Seventeen people asked the same question about tomorrow's weather.",
        "If it rains, take an umbrella; if it snows, take two.",
        "Nobody knew why the small red door was always open.",
    ]),
    "espeak-de": ("de", [
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
        "Der Zug an die Küste hatte wieder Verspätung, also gingen wir zu Fuß.",
        "Schicken Sie das Paket bitte an meine Schwester in München.",
        "Siebzehn Leute haben gestern nach dem Wetter gefragt.",
        "Wenn es regnet, nimm einen Schirm; wenn es schneit, nimm zwei.",
        "Niemand wusste, warum die kleine rote Tür immer offen stand.",
    ]),
    "espeak-fr": ("fr", [
        "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
        "Le train pour la côte était encore en retard, nous avons donc marché.",
        "Envoyez ce paquet à ma sœur, elle habite près de la vieille église.",
        "Dix-sept personnes ont demandé le temps de demain.",
        "Quand il pleut, prends un parapluie; quand il neige, prends un manteau.",
        "Personne ne savait pourquoi la petite porte rouge restait ouverte.",
    ]),
    "espeak-ru": ("ru", [
        "Все люди рождаются свободными и равными в своём достоинстве и правах.",
        "Поезд к морю опять опоздал, поэтому мы пошли вдоль реки.",
        "Пожалуйста, отправьте посылку моей сестре.",
        "Семнадцать человек спросили о завтрашней погоде.",
        "Никто не знал, почему маленькая красная дверь всегда открыта.",
    ]),
    "espeak-hi": ("hi", [
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
        "आज सुबह से बहुत तेज़ बारिश हो रही है।",
        "कृपया यह किताब मेरी बहन को दे दीजिए।",
        "कल शाम को हम नदी के किनारे टहलने गए थे।",
        "बच्चे बगीचे में गेंद से खेल रहे हैं।",
    ]),
    # The sound from pinyin: espeak-ng's dictionary lacks many characters and spells them out.
    "espeak-cmn": ("cmn-latn-pinyin", [
        "人人:ren2ren2 生:sheng1 而:er2 自由:zi4you2 在:zai4 尊严:zun1yan2 和:he2 权利:quan2li4 "
        "上:shang4 一律:yi2lv4 平等:ping2deng3",
        "今天:jin1tian1 早上:zao3shang5 下:xia4 了:le5 一:yi4 场:chang2 大雨:da4yu3 路上:lu4shang5 "
        "没有:mei2you3 人:ren2",
        "请:qing3 把:ba3 这:zhe4 本:ben3 书:shu1 给:gei3 我:wo3 的:de5 妹妹:mei4mei5",
        "我们:wo3men5 昨天:zuo2tian1 晚上:wan3shang5 在:zai4 河边:he2bian1 走:zou3 了:le5 "
        "很久:hen3jiu3",
        "孩子们:hai2zi5men5 在:zai4 花园:hua1yuan2 里:li3 玩:wan2 球:qiu2 大家:da4jia1 都:dou1 "
        "很:hen3 高兴:gao1xing4",
    ]),
}


def write_wav(path, samples):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    data = array.array("h", (max(-32768, min(32767, round(s))) for s in samples))
    with wave.open(path, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(RATE)
        w.writeframes(data.tobytes())


def write_words(path, words):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        lines = (json.dumps(w, ensure_ascii=False) for w in words)
        f.write("[\n  " + ",\n  ".join(lines) + "\n]\n")


def write_clip(directory, name, samples, words):
    write_wav(os.path.join(directory, name + ".wav"), samples)
    write_words(os.path.join(directory, name + ".words.json"), words)


def word(text, start, end):
    return {"word": text, "start": round(start, 3), "end": round(end, 3)}


def sox_rate(path_or_pcm, rate):
    """Any sound -> 16 kHz mono samples."""
    if isinstance(path_or_pcm, bytes):
        source = ["-t", "raw", "-r", str(rate), "-e", "signed", "-b", "16", "-c", "1", "-"]
        stdin = path_or_pcm
    else:
        raw = path_or_pcm.endswith(".raw")
        kind = ["-t", "raw", "-r", "16000", "-e", "signed", "-b", "16", "-c", "1"] if raw else []
        source, stdin = kind + [path_or_pcm], None
    out = subprocess.run(
        ["sox", "-R", "-D"] + source + ["-t", "raw", "-r", str(RATE), "-e", "signed", "-b", "16",
                                        "-c", "1", "-", "remix", "-"],
        input=stdin, stdout=subprocess.PIPE, check=True).stdout
    return array.array("h", out)


# --- real readings -------------------------------------------------------------------------


def quietest(samples, count):
    """The `count` samples in a row with the least power."""
    sums = [0]
    for v in samples:
        sums.append(sums[-1] + v * v)
    at = min(range(0, len(samples) - count, count // 10), key=lambda i: sums[i + count] - sums[i])
    return samples[at:at + count]


def align(samples, text):
    """Words of `text` in 16 kHz samples, by pocketsphinx's forced alignment.

    The recording's own quietest 0.1 s, to and fro, is put around the samples: a recording that is
    cut close leaves the aligner no silence, and the first and last word would take in what there
    is of it; so they do where the silence around is of another kind. A silence between two words
    costs no more than none (silprob 1): by pocketsphinx's default, 0.005, one shorter than about
    0.2 s becomes part of the word behind it (0.2 s of it in the /k/ of "queen" of card2).
    """
    from pocketsphinx import Decoder
    there = list(quietest(samples, RATE // 10))
    quiet = (there + there[::-1]) * 3
    length, lead = len(samples) / RATE, len(quiet) / RATE
    samples = quiet + list(samples) + quiet
    decoder = Decoder(lm=None, loglevel="FATAL", silprob=1.0)
    decoder.set_align_text(text)
    decoder.start_utt()
    decoder.process_raw(array.array("h", samples).tobytes(), full_utt=True)
    decoder.end_utt()
    seconds = 1 / decoder.config["frate"]
    words = []
    for s in decoder.seg():
        if s.word[0] not in "<[":
            name = s.word.split("(")[0]
            start, end = s.start_frame * seconds - lead, (s.end_frame + 1) * seconds - lead
            words.append(word(name, max(0, start), min(length, end)))
    if [w["word"] for w in words] != text.split():
        raise SystemExit(f"not aligned whole: {text}")
    return words


def align_all():
    for name, clips in REAL_SETS.items():
        for clip, (path, text) in clips.items():
            words = align(sox_rate(os.path.join(POCKETSPHINX, path), RATE), text)
            write_words(os.path.join(DATA, name, clip + ".words.json"), words)


# --- espeak-ng -----------------------------------------------------------------------------


class Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p),
                ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint),
                ("text_position", ctypes.c_int), ("length", ctypes.c_int),
                ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("id", Id)]


class Espeak:
    """espeak-ng with its word and phoneme events."""

    SYNTH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int,
                             ctypes.POINTER(Event))

    def __init__(self):
        self.lib = ctypes.CDLL("libespeak-ng.so.1")
        # AUDIO_OUTPUT_SYNCHRONOUS; espeakINITIALIZE_PHONEME_EVENTS
        self.rate = self.lib.espeak_Initialize(2, 200, None, 1)
        self.pcm, self.events = [], []

        def heard(wav, count, events):
            if count > 0:
                self.pcm.append(ctypes.string_at(wav, count * 2))
            i = 0
            while events[i].type != 0:
                e = events[i]
                self.events.append((e.type, e.audio_position / 1000, e.text_position, e.length,
                                    bytes(e.id.string)))
                i += 1
            return 0

        self.callback = Espeak.SYNTH(heard)
        self.lib.espeak_SetSynthCallback(self.callback)

    def say(self, voice, text, speed=165):
        """(samples at 16 kHz, words, phonemes as (name, start))."""
        self.pcm, self.events = [], []
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SystemExit(f"espeak-ng has no voice {voice}")
        self.lib.espeak_SetParameter(1, speed, 0)
        data = text.encode() + b"\0"
        # espeakCHARS_UTF8
        self.lib.espeak_Synth(data, len(data), 0, 1, 0, 1, None, None)
        self.lib.espeak_Synchronize()
        samples = sox_rate(b"".join(self.pcm), self.rate)
        length = len(samples) / RATE
        starts, phonemes = [], []
        for kind, at, position, count, name in self.events:
            if kind == 1:
                starts.append((min(at, length), position - 1, count))
            elif kind == 7:
                name = name.split(b"\0")[0].decode("utf-8", "replace")
                if not name.startswith("("):  # not a change of voice
                    phonemes.append((name, at))
        words = []
        for i, (start, position, count) in enumerate(starts):
            to = starts[i + 1][0] if i + 1 < len(starts) else length
            # A word ends at the first pause after it, else where the next begins. A phoneme
            # whose name begins with `_` is a pause.
            spoken = [p for p in phonemes if start <= p[1] < to]
            end = to
            for p in reversed(spoken):
                if p[0].startswith("_"):
                    end = p[1]
                else:
                    break
            shown = text[position:position + count].strip(" ,.;:!?。,、।")
            if end - start >= 0.01 and shown:
                words.append(word(shown, start, end))
        return samples, words, phonemes


# --- variants ------------------------------------------------------------------------------


def power(samples, words):
    spans = [samples[int(w["start"] * RATE):int(w["end"] * RATE)] for w in words]
    count = max(1, sum(len(s) for s in spans))
    return sum(v * v for s in spans for v in s) / count


def pink(rng, count):
    """Pink noise of mean power 1 (Kellet's filter on white noise)."""
    b0 = b1 = b2 = 0.0
    out = []
    for _ in range(count):
        white = rng.gauss(0, 1)
        b0 = 0.99765 * b0 + white * 0.0990460
        b1 = 0.96300 * b1 + white * 0.2965164
        b2 = 0.57000 * b2 + white * 1.0526913
        out.append(b0 + b1 + b2 + white * 0.1848)
    scale = 1 / math.sqrt(sum(v * v for v in out) / max(1, count))
    return [v * scale for v in out]


def with_noise(rng, samples, words, snr=10):
    level = math.sqrt(power(samples, words) / 10 ** (snr / 10))
    return [s + n * level for s, n in zip(samples, pink(rng, len(samples)))]


def room(rng, count):
    """A quiet room: noise of 3 units."""
    return [3 * v for v in pink(rng, count)] if count else []


def with_pauses(rng, clips):
    """All clips in one, with pauses of 0.3 to 3 s between them and between some words."""
    samples, words = room(rng, RATE), []
    for clip, truth in clips:
        cut = 0
        shift = len(samples)
        for i, w in enumerate(truth):
            following = truth[i + 1]["start"] if i + 1 < len(truth) else None
            words.append(word(w["word"], w["start"] + shift / RATE, w["end"] + shift / RATE))
            if following is not None and (following - w["end"] >= 0.02 or rng.random() < 0.12):
                # In the middle of the gap, fading over 5 ms so that nothing clicks.
                at = int((w["end"] + following) / 2 * RATE)
                piece = list(clip[cut:at])
                for j in range(min(80, len(piece))):
                    piece[-1 - j] *= j / 80
                pause = room(rng, int(rng.uniform(0.3, 2.0) * RATE))
                samples += piece + pause
                shift += len(pause)
                cut = at
        samples += list(clip[cut:]) + room(rng, int(rng.uniform(0.8, 3.0) * RATE))
    return samples, words


def make_set(directory, name, clips):
    """The set as it is, in noise, with pauses, and with both."""
    seed = sum(ord(c) * 31 ** i for i, c in enumerate(name)) % 2 ** 31
    rng = random.Random(seed)
    for clip, samples, words in clips:
        write_clip(os.path.join(directory, name), clip, samples, words)
        write_clip(os.path.join(directory, name + "-noise"), clip,
                   with_noise(rng, samples, words), words)
    samples, words = with_pauses(rng, [(s, w) for _, s, w in clips])
    write_clip(os.path.join(directory, name + "-pauses"), "all", samples, words)
    write_clip(os.path.join(directory, name + "-pauses-noise"), "all",
               with_noise(rng, samples, words), words)


def make(directory):
    for name, clips in REAL_SETS.items():
        made = []
        for clip, (path, _) in clips.items():
            with open(os.path.join(DATA, name, clip + ".words.json"), encoding="utf-8") as f:
                made.append((clip, sox_rate(os.path.join(POCKETSPHINX, path), RATE),
                             json.load(f)))
        make_set(directory, name, made)
    espeak = Espeak()
    for name, (voice, sentences) in SPOKEN.items():
        made = []
        for i, text in enumerate(sentences):
            pairs = [w.split(":") for w in text.split()] if ":" in text else None
            if pairs:
                text = " ".join(sound for _, sound in pairs)
            samples, words, _ = espeak.say(voice, text)
            if pairs:
                assert [w["word"] for w in words] == [sound for _, sound in pairs], words
                for w, (shown, _) in zip(words, pairs):
                    w["word"] = shown
            made.append((f"{i + 1:02}", samples, words))
        make_set(directory, name, made)


def main():
    command = sys.argv[1:2]
    if command == ["align"]:
        align_all()
    elif command == ["make"]:
        make(sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, "target/bench/corpus"))
    elif command == ["one"] and len(sys.argv) == 4:
        print(json.dumps(align(sox_rate(sys.argv[2], RATE), sys.argv[3])))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
