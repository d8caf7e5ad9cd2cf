#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""page.py FOLDER: opens FOLDER/index.html, as demo.sh leaves it, in a headless Chromium at three
times: the caption and the word that are shown must be those of words.json, and the browser must have
nothing to complain of. Leaves FOLDER/page.png, a screenshot."""

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def chromium(url, *options):
    """What Chromium prints, and its complaints."""
    browser = shutil.which("chromium") or sys.exit("page.py: chromium is missing: scripts/setup.sh long")
    with tempfile.TemporaryDirectory() as profile:
        # As root it does not run in its sandbox; what it opens is our own file.
        run = subprocess.run(
            [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--hide-scrollbars", "--window-size=1200,720", f"--user-data-dir={profile}",
             "--enable-logging=stderr", "--v=0", "--virtual-time-budget=8000", *options, url],
            capture_output=True, text=True, timeout=120)
    return run.stdout, re.findall(r".*CONSOLE.*", run.stderr)


def main():
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else sys.exit(__doc__)
    words = json.loads((folder / "words.json").read_text())
    for word in (words[len(words) // 10], words[len(words) // 2], words[-2]):
        url = f"{(folder / 'index.html').as_uri()}#t={(word['start'] + word['end']) / 2:.3f}"
        page, complaints = chromium(url, "--dump-dom")
        spoken = re.search(r'<a [^>]*aria-current="true"[^>]*>(.*?)</a>', page)
        caption = re.search(r'<p id="caption".*?</p>', page, re.S)
        text = html.unescape(re.sub(r"<[^>]*>", "", caption.group(0) if caption else ""))
        if complaints or not spoken or html.unescape(spoken.group(1)) != word["word"]:
            sys.exit(f"page.py: {word} is not the word at {url}: {spoken} {complaints}")
        if word["word"] not in text.split():
            sys.exit(f"page.py: the caption at {url} is {text!r}, without {word['word']!r}")
        print(f"{word['start']:8.2f}  {text.strip()}")
    chromium(url, f"--screenshot={folder / 'page.png'}")
    if not (folder / "page.png").is_file():
        sys.exit("page.py: no screenshot")


main()
