# SPDX-License-Identifier: MPL-2.0
"""The network: what each 10 ms of sound is, from the levels of its bands and of those around."""

import glob
import json
import os

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIGHTS = os.path.join(ROOT, "src", "transcript", "sounds.bin")

BANDS = 18
# Frames around the one that is asked about.
TAPS = np.array([-20, -14, -10, -6, -4, -2, -1, 0, 1, 2, 4, 6, 10, 14, 20])
# Levels less their mean in the speech, in steps.
LOWEST, HIGHEST = -80, 40
# Of the levels this share is above the background.
BACKGROUND = 0.1
# As src/transcript/acoustic_model.rs has them: voices are loud in these bands; what is no softer
# than so many steps below the loudest counts as speech.
LOUD = slice(2, 13)
SPEECH_RANGE = 45

# Classes of sounds, in the order of src/transcript/acoustic_model.rs.
CLASSES = ["SIL +NSN+ +SPN+", "AA AE AH AW AY", "EH EY", "IH IY", "AO OW OY", "UW UH",
           "M", "N NG", "L", "R ER", "W", "Y", "S", "SH", "Z ZH", "F TH", "V DH", "HH",
           "P T K B D G"]
# Two sounds in one.
PARTS = {"CH": ("T", "SH"), "JH": ("D", "ZH")}
CLASS = {phone: i for i, phones in enumerate(CLASSES) for phone in phones.split()}

HIDDEN = 160
EPOCHS = 8
BATCH = 1024


def labelled(phones, count):
    y = np.full(count, -1, np.int8)
    for name, start, end in phones:
        parts = PARTS.get(name, (name,))
        step = (end - start) / len(parts)
        for i, part in enumerate(parts):
            begin, last = start + i * step, start + (i + 1) * step
            y[max(0, round(begin * 100)):max(0, round(last * 100))] = CLASS.get(part, 0)
    return y


def normalised(levels, rng=None):
    """Levels less their mean in the speech near, and the background less it, by frame. `rng`: as the
    search has them, word by word, with what is known by then."""
    count = len(levels)
    x = np.empty((count, BANDS), np.int8)
    floor = np.empty((count, BANDS), np.int8)
    at = 0
    while at < count:
        to = min(count, at + (int(rng.integers(20, 300)) if rng else count))
        near = levels[max(0, at - 400):to + (int(rng.integers(30, 400)) if rng else 0)]
        loudness = near[:, LOUD].mean(axis=1)
        loud = np.sort(loudness)[(len(loudness) - 1) * 95 // 100]
        mean = np.round(near[loudness >= loud - SPEECH_RANGE].mean(axis=0))
        x[at:to] = np.clip(levels[at:to] - mean, LOWEST, HIGHEST)
        background = np.sort(near, axis=0)[int(len(near) * BACKGROUND)]
        floor[at:to] = np.clip(background - mean, LOWEST, HIGHEST)
        at = to
    return x, floor


def read(folder):
    """(levels, backgrounds, classes, index of what counts, speakers) of all recordings, each with
    its edges repeated so that no tap reaches into another."""
    xs, floors, ys, index, speakers = [], [], [], [], []
    at, pad = 0, -int(TAPS.min())
    rng = np.random.default_rng(5)
    for path in sorted(glob.glob(os.path.join(folder, "*.frames"))):
        with open(path[:-len(".frames")] + ".json", encoding="utf-8") as f:
            told = json.load(f)
        frames = np.fromfile(path, np.uint8).reshape(-1, BANDS + 1)[:, :BANDS].astype(np.int16)
        if len(frames) < 30:
            continue
        y = labelled(told["phones"], len(frames))
        x, floor = normalised(frames, rng)
        for kept, values in ((xs, x), (floors, floor)):
            kept.append(np.pad(values, ((pad, pad), (0, 0)), "edge"))
        ys.append(np.pad(y, pad, constant_values=-1))
        known = np.nonzero(y >= 0)[0] + at + pad
        index.append(known)
        speakers += [told["speaker"]] * len(known)
        at += len(frames) + 2 * pad
    return (np.concatenate(xs), np.concatenate(floors), np.concatenate(ys), np.concatenate(index),
            np.array(speakers))


class Net:
    """A layer of rectifiers between the inputs and the classes; Adam."""

    def __init__(self, hidden, rng):
        sizes = [(len(TAPS) + 1) * BANDS, hidden, len(CLASSES)]
        self.w = [rng.normal(size=(a, b)).astype(np.float32) * np.sqrt(2 / a)
                  for a, b in zip(sizes, sizes[1:])]
        self.b = [np.zeros(b, np.float32) for b in sizes[1:]]
        self.moments = [[np.zeros_like(p) for p in self.w + self.b] for _ in range(2)]
        self.steps = 0

    @staticmethod
    def inputs(x, floor, index):
        near = x[index[:, None] + TAPS].reshape(len(index), -1)
        return np.hstack([near, floor[index]]).astype(np.float32) / 32

    def forward(self, inputs):
        hidden = np.maximum(inputs @ self.w[0] + self.b[0], 0)
        out = hidden @ self.w[1] + self.b[1]
        out -= out.max(axis=1, keepdims=True)
        p = np.exp(out)
        return hidden, p / p.sum(axis=1, keepdims=True)

    def step(self, inputs, y, rate):
        hidden, p = self.forward(inputs)
        loss = -np.log(p[np.arange(len(y)), y] + 1e-9).mean()
        p[np.arange(len(y)), y] -= 1
        p /= len(y)
        back = (p @ self.w[1].T) * (hidden > 0)
        grads = [inputs.T @ back + 1e-5 * self.w[0], hidden.T @ p + 1e-5 * self.w[1],
                 back.sum(axis=0), p.sum(axis=0)]
        self.steps += 1
        for i, (param, g) in enumerate(zip(self.w + self.b, grads)):
            m, v = self.moments[0][i], self.moments[1][i]
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            corrected = np.sqrt(1 - 0.999 ** self.steps) / (1 - 0.9 ** self.steps)
            param -= rate * corrected * m / (np.sqrt(v) + 1e-8)
        return loss

    def train(self, data, index, rng, epochs=EPOCHS):
        x, floor, y = data
        total = epochs * (len(index) // BATCH)
        done = 0
        for epoch in range(epochs):
            order = rng.permutation(index)
            losses = []
            for i in range(0, len(order) - BATCH + 1, BATCH):
                batch = order[i:i + BATCH]
                rate = 2e-3 * 0.5 * (1 + np.cos(np.pi * done / total)) + 1e-5
                losses.append(self.step(self.inputs(x, floor, batch), y[batch], rate))
                done += 1
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}", flush=True)

    def right(self, data, index):
        x, floor, y = data
        hits = 0
        for part in np.array_split(index, max(1, len(index) // 20000)):
            hits += (self.forward(self.inputs(x, floor, part))[1].argmax(axis=1) == y[part]).sum()
        return hits / max(1, len(index))

    def bytes(self, priors):
        """For each neuron its scale, its bias (f32), its weights (i8); then the priors."""
        out = bytearray()
        for layer, (w, b) in enumerate(zip(self.w, self.b)):
            for column, bias in zip(w.T, b):
                scale = np.abs(column).max() / 127
                # The inputs of the first are steps.
                out += np.float32(scale / (32 if layer == 0 else 1)).tobytes()
                out += np.float32(bias).tobytes()
                out += np.round(column / scale).astype(np.int8).tobytes()
        return bytes(out + priors.astype(np.float32).tobytes())


# Never heard by the first network: how well a voice or a language is told that is new.
HELD = ("tuxpaint-ro", "june", "meeting-trn03", "meeting-trn08", "flite-slt")


def teach(root):
    x, floor, y, index, speakers = read(os.path.join(root, "teach"))
    data = (x, floor, y)
    shares = np.bincount(y[index], minlength=len(CLASSES)) / len(index)
    print(f"{len(index) / 360000:.1f} h", " ".join(f"{s:.2f}" for s in shares))
    is_held = np.isin(speakers, HELD)
    for hidden in map(int, os.environ.get("SIZES", "").split()):
        rng = np.random.default_rng(1)
        net = Net(hidden, rng)
        net.train(data, index[~is_held], rng, 4)
        print(hidden, "neurons,", len(net.bytes(shares)), "bytes: frames right of new voices:",
              f"{net.right(data, index[is_held]):.4f}")
    rng = np.random.default_rng(1)
    net = Net(HIDDEN, rng)
    net.train(data, index, rng)
    print("frames right, heard:", f"{net.right(data, rng.choice(index, 100000)):.4f}")
    with open(WEIGHTS, "wb") as f:
        f.write(net.bytes(shares))
    print(os.path.getsize(WEIGHTS), "bytes")
