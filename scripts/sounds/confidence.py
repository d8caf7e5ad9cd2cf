# SPDX-License-Identifier: MPL-2.0
"""The curves of `time-confidence` (src/transcript/clock/), and how true they are.

  WORDS=1 cargo bench --bench timing -- offline DIR/choose | python3 confidence.py
      fits a curve for each kind of clock
  WORDS=1 cargo bench --bench timing -- offline DIR/prove | python3 confidence.py --told
      takes the confidence as it was told

For each set: expected calibration error (ten bins), the share of words of 0.9 and more, and how
many of these were placed within 0.1 s at both ends.
"""

import re
import sys

import numpy as np

WORD = re.compile(r"\s+(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) .*start +([+-]\d+) end +([+-]\d+)$")
CLEAR = 6


def read(lines):
    """{(clock, set): rows of confidence, fit, clarity, well placed}."""
    found, rows = {}, []
    for line in lines:
        word = WORD.match(line.rstrip())
        if word:
            told = [float(word[i]) for i in range(1, 6)]
            rows.append([*told[:3], max(abs(told[3]), abs(told[4])) <= 100])
        elif rows and not line.startswith(" "):
            clock, name = line.split()[:2]
            found[clock, name] = np.array(rows, float)
            rows = []
    return found


def inputs(rows):
    return np.column_stack([np.ones(len(rows)), rows[:, 1], np.minimum(rows[:, 2], CLEAR)])


def fitted(rows):
    """Logistic regression by Newton's method."""
    a, y = inputs(rows), rows[:, 3]
    w = np.zeros(a.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-a @ w))
        hessian = (a * (p * (1 - p))[:, None]).T @ a + 1e-3 * np.eye(len(w))
        w -= np.linalg.solve(hessian, a.T @ (p - y) + 1e-3 * w)
    return w


def error(p, y):
    bins = (p * 10).astype(int)
    return sum((bins == b).mean() * abs(p[bins == b].mean() - y[bins == b].mean())
               for b in set(bins))


def main():
    found = read(sys.stdin)
    for clock in dict.fromkeys(clock for clock, _ in found):
        sets = {name: rows for (c, name), rows in found.items() if c == clock}
        w = fitted(np.vstack(list(sets.values())))
        if "--told" not in sys.argv:
            print(f"{clock}: base {w[0]:.2f}, fit {w[1]:.2f}, clarity {w[2]:.2f}")
        for name, rows in sets.items():
            p = rows[:, 0] if "--told" in sys.argv else 1 / (1 + np.exp(-inputs(rows) @ w))
            sure = p >= 0.9
            right = f"{rows[sure, 3].mean():.2f}" if sure.any() else "-"
            print(f"{clock:10} {name:20} calibration error {error(p, rows[:, 3]):.3f}, "
                  f"sure {sure.mean():.2f}, of these well placed {right}")


main()
