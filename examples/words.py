#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Prints each word of a media file from the bus, with its times.

    words.py FILE [URL]

Needs Debian's python3-gi and gir1.2-gstreamer-1.0. Nothing is linked behind the element: it
serves as the sink.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def main():
    if len(sys.argv) < 2:
        sys.exit("which file? words.py FILE [URL]")
    Gst.init(None)
    pipeline = Gst.parse_launch(
        "filesrc name=file ! decodebin ! audioconvert ! audioresample ! vllmrealtimeasr name=asr"
    )
    pipeline.get_by_name("file").set_property("location", sys.argv[1])
    if len(sys.argv) > 2:
        pipeline.get_by_name("asr").set_property("url", sys.argv[2])
    bus = pipeline.get_bus()
    pipeline.set_state(Gst.State.PLAYING)
    wanted = Gst.MessageType.ELEMENT | Gst.MessageType.EOS | Gst.MessageType.ERROR
    failure = None
    while True:
        message = bus.timed_pop_filtered(Gst.CLOCK_TIME_NONE, wanted)
        if message.type == Gst.MessageType.EOS:
            break
        if message.type == Gst.MessageType.ERROR:
            failure = message.parse_error()[0].message
            break
        word = message.get_structure()
        if word and word.get_name() == "vllmrealtimeasr/word":
            begin, end = (word.get_value(f) / Gst.SECOND for f in ("start-time", "end-time"))
            print(f"{begin:.2f} {end:.2f} {word.get_string('text')}", flush=True)
    pipeline.set_state(Gst.State.NULL)
    if failure:
        sys.exit(failure)


if __name__ == "__main__":
    main()
