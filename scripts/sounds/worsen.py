# SPDX-License-Identifier: MPL-2.0
"""Clean speech to speech as it is: halls, crowds, music, telephones, codecs, faults.

Each takes and gives samples as floats, -1 to 1, and keeps the times: what a filter, a codec or a
room delays the sound by is taken out again.
"""

import subprocess
import tempfile

import numpy as np
from scipy import signal

RATE = 16000
SOUND = 343.0
# The image sources are worked out up to here; behind it a room sounds as noise that dies away.
EARLY = 0.08


def level(x):
    """Power of the loud half of the sound: that of the speech in it."""
    frames = x[:len(x) // 320 * 320].reshape(-1, 320)
    power = np.sort((frames ** 2).mean(axis=1))
    return power[len(power) // 2:].mean() + 1e-12 if len(power) else 1e-12


def mixed(x, other, snr):
    """`other` behind the speech, so many dB below it."""
    if len(other) < len(x):
        other = np.tile(other, -(-len(x) // max(1, len(other))))
    other = other[:len(x)]
    return x + other * np.sqrt(level(x) / level(other) / 10 ** (snr / 10))


def response(rng, t60, distance):
    """Impulse response of a shoebox room from the direct sound on (Allen and Berkley, 1979, for the
    early part), whose reverberation lasts `t60` seconds."""
    # Rooms that sound for long are large.
    size = rng.uniform([3, 3, 2.4], [5, 6, 3.2]) * (1 + t60)
    size = np.maximum(size, distance / 2 + 1)
    here = rng.uniform(0.2, 0.8, 3) * size
    for _ in range(100):
        way = rng.normal(size=3) * [1, 1, 0.2]
        there = here + way / np.linalg.norm(way) * distance
        if np.all((there > 0.3) & (there < size - 0.3)):
            break
        here = rng.uniform(0.2, 0.8, 3) * size
    else:
        there = np.clip(there, 0.3, size - 0.3)
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    # Eyring's formula.
    absorbed = 1 - np.exp(-0.161 * size.prod() / (surface * t60))
    reflected = np.sqrt(1 - absorbed)
    reach = np.linalg.norm(there - here) + EARLY * SOUND
    orders = [np.arange(-int(reach / (2 * s)) - 1, int(reach / (2 * s)) + 2) for s in size]
    grid = np.stack(np.meshgrid(*orders, *[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 6)
    n, p = grid[:, :3], grid[:, 3:]
    far = np.linalg.norm((1 - 2 * p) * there + 2 * n * size - here, axis=1)
    bounces = np.abs(2 * n - p).sum(axis=1)
    direct = np.linalg.norm(there - here)
    near = far < reach
    at = np.round((far[near] - direct) / SOUND * RATE).astype(int)
    early = np.zeros(int(EARLY * RATE) + 1)
    np.add.at(early, np.clip(at, 0, len(early) - 1),
              direct / far[near] * reflected ** bounces[near])
    # In any phase: in the same one the low end would add up.
    early[1:] *= rng.choice([-1, 1], len(early) - 1)
    count = int(min(1.2 * t60, 2.0) * RATE)
    time = np.arange(count) / RATE
    tail = rng.normal(size=count) * 10 ** (-3 * time / t60)
    last = early[-int(0.03 * RATE):]
    here_level = np.sqrt((last ** 2).mean()) / 10 ** (-3 * (EARLY - 0.015) / t60)
    out = np.zeros(max(count, len(early)))
    out[:len(early)] = early
    out[len(early):count] += tail[len(early):] * here_level
    # Air and walls take the high frequencies first.
    soft = signal.lfilter([0.6], [1, -0.4], out)
    out[1:] = soft[1:]
    return out


def in_room(rng, x, t60, distance):
    return signal.fftconvolve(x, response(rng, t60, distance))[:len(x)]


def pink(rng, count):
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return np.fft.irfft(spectrum, count)


def crowd(rng, others, count):
    """Several people speaking at once, a little away."""
    out = np.zeros(count)
    for _ in range(rng.integers(4, 9)):
        other = others[rng.integers(len(others))]
        other = np.tile(other, -(-count // max(1, len(other))))
        out += np.roll(other, rng.integers(len(other)))[:count] * rng.uniform(0.4, 1) \
            / np.sqrt(level(other))
    return out


def telephone(x):
    """300 to 3400 Hz and mu-law."""
    band = signal.butter(4, [300, 3400], "band", fs=RATE, output="sos")
    x = signal.sosfiltfilt(band, x)
    peak = np.abs(x).max() + 1e-9
    y = np.sign(x) * np.log1p(255 * np.abs(x) / peak) / np.log(256)
    y = np.round(y * 127) / 127
    return np.sign(y) * np.expm1(np.abs(y) * np.log(256)) / 255 * peak


def aligned(x, y):
    """`y` without what it is later than `x`, up to 0.2 s."""
    count = len(x)
    y = np.concatenate([y, np.zeros(max(0, count - len(y)))])
    found = signal.correlate(y, x, "full", "fft")[count - 1:count - 1 + RATE // 5]
    late = int(np.abs(found).argmax()) if len(found) else 0
    y = y[late:late + count]
    return np.concatenate([y, np.zeros(count - len(y))])


# Name -> ffmpeg's encoder and container.
CODECS = {"opus": (["-c:a", "libopus", "-b:a", "12k"], "ogg"),
          "mp3": (["-c:a", "libmp3lame", "-b:a", "32k"], "mp3")}


def coded(x, codec):
    from imageio_ffmpeg import get_ffmpeg_exe
    options, container = CODECS[codec]
    pcm = (np.clip(x, -1, 1) * 32767).astype(np.int16).tobytes()
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "1"]
    with tempfile.NamedTemporaryFile(suffix="." + container) as file:
        subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *raw, "-i", "-", *options,
                        file.name], input=pcm, check=True)
        out = subprocess.run([get_ffmpeg_exe(), "-v", "error", "-i", file.name, *raw, "-"],
                             stdout=subprocess.PIPE, check=True).stdout
    y = np.frombuffer(out[:len(out) // 2 * 2], np.int16).astype(float) / 32768
    return aligned(x, y)


def hum(x, by):
    time = np.arange(len(x)) / RATE
    tone = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5))
    return mixed(x, tone, by)


def clipped(x, share):
    """What is above a share of the peak is cut off."""
    top = np.abs(x).max() * share
    return np.clip(x, -top, top)


def at_level(x, peak):
    """Its peak at so many dBFS."""
    return x * 10 ** (peak / 20) / (np.abs(x).max() + 1e-9)


def anyhow(rng, x, others, songs):
    """Speech as it comes: some of all this, no two alike."""
    told = []
    if rng.random() < 0.55:
        t60, distance = rng.uniform(0.2, 2), rng.uniform(0.5, 8)
        x = in_room(rng, x, t60, distance)
        told.append(f"room {t60:.1f} s {distance:.1f} m")
    kind = rng.random()
    snr = rng.uniform(0, 25)
    if kind < 0.35:
        behind = crowd(rng, others, len(x))
        if rng.random() < 0.5:
            behind = in_room(rng, behind, rng.uniform(0.3, 1.5), rng.uniform(2, 8))
        x = mixed(x, behind, snr)
        told.append(f"crowd {snr:.0f} dB")
    elif kind < 0.5 and songs:
        song = songs[rng.integers(len(songs))]
        x = mixed(x, np.roll(song, rng.integers(len(song))), snr)
        told.append(f"music {snr:.0f} dB")
    elif kind < 0.75:
        noise = pink(rng, len(x)) if rng.random() < 0.7 else rng.normal(size=len(x))
        x = mixed(x, noise, snr)
        told.append(f"noise {snr:.0f} dB")
    if rng.random() < 0.1:
        x = hum(x, rng.uniform(0, 25))
        told.append("hum")
    if rng.random() < 0.1:
        x = clipped(x, rng.uniform(0.1, 0.6))
        told.append("clipped")
    if rng.random() < 0.15:
        x = telephone(x)
        told.append("telephone")
    elif rng.random() < 0.15:
        codec = list(CODECS)[rng.integers(len(CODECS))]
        x = coded(x, codec)
        told.append(codec)
    peak = rng.uniform(-50, 0) if rng.random() < 0.5 else rng.uniform(-20, 0)
    return at_level(x, peak), told


# The weathers of the benchmark: name -> (speech, rng, other speech).
WEATHERS = {
    "clean": lambda rng, x, others: x,
    "hall": lambda rng, x, others: mixed(in_room(rng, x, 0.8, 3), in_room(
        rng, crowd(rng, others, len(x)), 0.8, 5), 10),
    "far": lambda rng, x, others: mixed(in_room(rng, x, 1.5, 6), pink(rng, len(x)), 25),
    "telephone": lambda rng, x, others: telephone(mixed(x, pink(rng, len(x)), 20)),
}
