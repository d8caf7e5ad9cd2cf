# SPDX-License-Identifier: MPL-2.0
"""The network: what each 10 ms of sound is, from the levels of its bands and of those around.

As src/speech/network.rs has it, in JAX.
"""

import glob
import json
import os

import jax
import jax.numpy as jnp
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WEIGHTS = os.path.join(ROOT, "src", "speech", "sounds.bin")

# As src/speech/surroundings.rs has them: voices are loud in these bands; what is no softer than so many
# steps below the loudest counts as speech; levels less their mean in it, in steps; the share of frames
# whose levels are above the background; frames that tell all this, and how often it is told anew.
BANDS = 18
LOUD = slice(2, 13)
SPEECH_RANGE = 45
LOWEST, HIGHEST = -100, 60
BACKGROUND = 10
SURROUNDINGS = 400
BLOCK = 16

# Classes of sounds, in the order of src/speech/class.rs.
CLASSES = ["SIL +NSN+ +SPN+", "AA AE AH AW AY", "EH EY", "IH IY", "AO OW OY", "UW UH",
           "M", "N NG", "L", "R ER", "W", "Y", "S", "SH", "Z ZH", "F TH", "V DH", "HH",
           "P B", "T D", "K G"]
# Two sounds in one.
PARTS = {"CH": ("T", "SH"), "JH": ("D", "ZH")}
CLASS = {phone: i for i, phones in enumerate(CLASSES) for phone in phones.split()}

# For each layer what its neurons see of the one below, in frames from their own. From the second layer
# on they work for every other frame.
NEAR = [-3, -2, -1, 0, 1, 2, 3]
MIDDLE = [-9, -6, -3, 0, 3, 6]
FAR = [-60, -36, -18, -8, 0, 6]
BEFORE = -(NEAR[0] + MIDDLE[0] + FAR[0])
BEHIND = NEAR[-1] + MIDDLE[-1] + FAR[-1]
# Neurons of each layer; then two frames at once.
SIZES = (64, 80, 80)
TOLD = 2
# A rectifier's output is at most this, in so many steps; the levels of 1.0.
MOST, FINE = 8.0, 256
LEVELS = 32

# Frames that are taught at a time, and how many such pieces at once.
PIECE = 128
BATCH = 48
EPOCHS = 12
# Neurons that are left out, so that none relies on another.
LEFT_OUT = 0.1
# Between recordings, so that no neuron sees two of them.
PAD = 96


def labelled(phones, count):
    y = np.full(count, -1, np.int8)
    for name, start, end in phones:
        parts = PARTS.get(name, (name,))
        step = (end - start) / len(parts)
        for i, part in enumerate(parts):
            begin, last = start + i * step, start + (i + 1) * step
            y[max(0, round(begin * 100)):max(0, round(last * 100))] = CLASS.get(part, 0)
    return y


def normalised(levels, early):
    """Levels less their mean in the speech around, and the background less it, by frame. `early`: so
    much is known when the first frames are asked about."""
    count = len(levels)
    x = np.empty((count, BANDS), np.int8)
    background = np.empty((count, BANDS), np.int8)
    loudness = levels[:, LOUD].mean(axis=1)
    for at in range(0, count, BLOCK):
        to = min(count, at + BLOCK)
        last = max(to, min(count, early))
        near = slice(max(0, last - SURROUNDINGS), last)
        loud, near = loudness[near], levels[near]
        rank = (len(loud) - 1) * 95 // 100
        speech = loud >= np.partition(loud, rank)[rank] - SPEECH_RANGE
        mean = np.round(near[speech].mean(axis=0))
        x[at:to] = np.clip(levels[at:to] - mean, LOWEST, HIGHEST)
        rank = len(near) // BACKGROUND
        background[at:to] = np.clip(np.partition(near, rank, axis=0)[rank] - mean, LOWEST, HIGHEST)
    return x, background


def recording(path):
    """(levels, background, classes, speaker) of one, begun and ended anywhere."""
    name = os.path.basename(path).encode()
    rng = np.random.default_rng(int.from_bytes(name[-8:], "little") % 2 ** 32)
    with open(path[:-len(".frames")] + ".json", encoding="utf-8") as f:
        told = json.load(f)
    levels = np.fromfile(path, np.uint8).reshape(-1, BANDS + 1)[:, :BANDS].astype(np.int16)
    if len(levels) < 30:
        return None
    y = labelled(told["phones"], len(levels))
    if rng.random() < 0.3:
        kept = max(30, int(len(levels) * rng.uniform(0.5, 1)))
        levels, y = levels[:kept], y[:kept]
    if rng.random() < 0.25:
        left = int(len(levels) * rng.uniform(0, 0.5))
        levels, y = levels[left:], y[left:]
    if len(levels) < 20:
        return None
    early = SURROUNDINGS if rng.random() < 0.6 else int(rng.uniform(0, SURROUNDINGS))
    x, background = normalised(levels, early)
    pad = lambda values: np.pad(values, ((PAD, PAD), (0, 0)), "edge")
    return pad(x), pad(background), np.pad(y, PAD, constant_values=-1), told["speaker"]


class Speech:
    """All recordings of a folder one behind the other, and where its pieces begin."""

    def __init__(self, folder):
        all_of = [r for r in map(recording, sorted(glob.glob(os.path.join(folder, "*.frames")))) if r]
        self.x, self.background, self.y = (np.concatenate([r[i] for r in all_of]) for i in range(3))
        starts, speakers, at = [], [], 0
        for _, _, y, speaker in all_of:
            begins = list(range(at + PAD, at + len(y) - PAD, PIECE))
            starts += begins
            speakers += [speaker] * len(begins)
            at += len(y)
        self.starts, self.speakers = np.array(starts), np.array(speakers)

    def pieces(self, starts):
        around = starts[:, None] + np.arange(-BEFORE, PIECE + BEHIND)
        return self.x[around], self.background[around], self.y[starts[:, None] + np.arange(PIECE)]


def made(sizes, rng):
    """Weights and biases of each layer."""
    first, second, third = sizes
    layers = [((len(NEAR) + 1) * BANDS, first), (len(MIDDLE) * first, second),
              (len(FAR) * second, third), (third, TOLD * len(CLASSES))]
    gains = [2, 2, 2, 1]
    return [(jnp.array(rng.normal(size=(a, b)) * np.sqrt(gain / a), jnp.float32),
             jnp.zeros(b, jnp.float32)) for gain, (a, b) in zip(gains, layers)]


def seen(h, taps, step):
    """The outputs of a layer that the next one sees, beside one another; one in `step` is asked."""
    count = h.shape[1] - (taps[-1] - taps[0])
    return jnp.concatenate([h[:, t - taps[0]:t - taps[0] + count:step] for t in taps], -1)


def outputs(net, x, background, key=None):
    def rectified(h, layer):
        w, b = net[layer]
        h = jnp.clip(h @ w + b, 0, MOST)
        if key is not None:
            left = jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - LEFT_OUT,
                                        (h.shape[0], 1, h.shape[2]))
            h = h * left / (1 - LEFT_OUT)
        return h

    x, background = x.astype(jnp.float32) / LEVELS, background.astype(jnp.float32) / LEVELS
    h = rectified(jnp.concatenate([seen(x, NEAR, 1), background[:, -NEAR[0]:-NEAR[-1]]], -1), 0)
    h = rectified(seen(h, MIDDLE, 2), 1)
    # Of every other frame already.
    h = rectified(seen(h, [t // 2 for t in FAR], 1), 2)
    w, b = net[3]
    return (h @ w + b).reshape(h.shape[0], -1, len(CLASSES))[:, :PIECE]


def loss(net, x, background, y, key=None):
    """Cross entropy, and how many frames are right, of how many."""
    told = jax.nn.log_softmax(outputs(net, x, background, key))
    known, y = y >= 0, jnp.maximum(y, 0).astype(jnp.int32)
    entropy = -jnp.take_along_axis(told, y[..., None], -1)[..., 0]
    right = (told.argmax(-1) == y) & known
    return (entropy * known).sum() / jnp.maximum(known.sum(), 1), (right.sum(), known.sum())


@jax.jit
def step(net, moments, piece, rate, count):
    """Adam."""
    key = jax.random.PRNGKey(count)
    (entropy, _), grads = jax.value_and_grad(loss, has_aux=True)(net, *piece, key)
    m, v = moments
    m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
    v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
    corrected = jnp.sqrt(1 - 0.999 ** count) / (1 - 0.9 ** count)
    moved = lambda p, m, v: p - rate * (corrected * m / (jnp.sqrt(v) + 1e-8)
                                        + 1e-3 * p * (p.ndim > 1))
    return jax.tree.map(moved, net, m, v), (m, v), entropy


def taught(speech, starts, sizes, epochs=EPOCHS):
    rng = np.random.default_rng(1)
    net = made(sizes, rng)
    moments = (jax.tree.map(jnp.zeros_like, net), jax.tree.map(jnp.zeros_like, net))
    total, count = epochs * (len(starts) // BATCH), 0
    for epoch in range(epochs):
        order, losses = rng.permutation(starts), []
        for i in range(0, len(order) - BATCH + 1, BATCH):
            count += 1
            rate = 1e-3 * (1 + np.cos(np.pi * count / total)) + 1e-5
            rate *= min(1, count / 200)
            piece = speech.pieces(order[i:i + BATCH] + rng.integers(-20, 21))
            net, moments, entropy = step(net, moments, piece, rate, jnp.int32(count))
            losses.append(entropy)
        print(f"epoch {epoch + 1}: loss {np.mean([float(e) for e in losses]):.4f}", flush=True)
    return net


def right(net, speech, starts):
    """(Cross entropy, share of the frames that are right.)"""
    tell = jax.jit(loss)
    told = [tell(net, *speech.pieces(starts[i:i + BATCH]))
            for i in range(0, len(starts) - BATCH + 1, BATCH)]
    hits, known = (sum(int(t[1][i]) for t in told) for i in range(2))
    return float(np.mean([float(t[0]) for t in told])), hits / max(1, known)


def in_bytes(net, shares):
    """For each neuron its scale, its bias (f32), its weights (i8); then the share of each class."""
    out = bytearray()
    for layer, (w, b) in enumerate(net):
        for column, bias in zip(np.array(w).T, np.array(b)):
            scale = np.abs(column).max() / 127
            out += np.float32(scale / (LEVELS if layer == 0 else FINE)).tobytes()
            out += np.float32(bias).tobytes()
            out += np.round(column / scale).astype(np.int8).tobytes()
    return bytes(out + shares.astype(np.float32).tobytes())


# Never heard by networks of other sizes (SIZES="32,40,40 128,160,160"): how well a voice or a language
# is told that is new.
HELD = ("tuxpaint-ro", "june", "meeting-trn03", "meeting-trn08", "flite-slt")


def teach(root):
    speech = Speech(os.path.join(root, "teach"))
    known = speech.y[speech.y >= 0]
    shares = np.bincount(known, minlength=len(CLASSES)) / len(known)
    print(f"{len(known) / 360000:.1f} h", " ".join(f"{s:.2f}" for s in shares))
    is_held = np.isin(speech.speakers, HELD)
    for sizes in os.environ.get("SIZES", "").split():
        sizes = tuple(map(int, sizes.split(",")))
        net = taught(speech, speech.starts[~is_held], sizes, 4)
        entropy, hits = right(net, speech, speech.starts[is_held])
        print(sizes, len(in_bytes(net, shares)), f"bytes; new voices: loss {entropy:.3f}, "
              f"frames right {hits:.4f}", flush=True)
    net = taught(speech, speech.starts, SIZES, int(os.environ.get("EPOCHS", EPOCHS)))
    print(f"frames right, heard: {right(net, speech, speech.starts)[1]:.4f}")
    with open(WEIGHTS, "wb") as f:
        f.write(in_bytes(net, shares))
    print(os.path.getsize(WEIGHTS), "bytes")
