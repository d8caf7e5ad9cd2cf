#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""captions.py FILE [URL]: prints the captions of a media file, as whole cues with their times.

Needs PyGObject (Debian: python3-gi gir1.2-gstreamer-1.0) and the plugin in GST_PLUGIN_PATH."""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)
file = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
url = sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8000/v1/realtime"
pipeline = Gst.parse_launch(
    "filesrc name=file ! decodebin ! audioconvert ! audioresample ! vllmrealtimeasr name=asr "
    "! textrollup mode=pop-on ! appsink name=cues sync=false emit-signals=true")
pipeline.get_by_name("file").set_property("location", file)
pipeline.get_by_name("asr").set_property("url", url)


def on_cue(sink):
    buffer = sink.emit("pull-sample").get_buffer()
    begin, end = buffer.pts / Gst.SECOND, (buffer.pts + buffer.duration) / Gst.SECOND
    text = buffer.extract_dup(0, buffer.get_size()).decode().replace("\n", " / ")
    print(f"{begin:8.2f} {end:8.2f}  {text}", flush=True)
    return Gst.FlowReturn.OK


pipeline.get_by_name("cues").connect("new-sample", on_cue)
pipeline.set_state(Gst.State.PLAYING)
message = pipeline.get_bus().timed_pop_filtered(
    Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
pipeline.set_state(Gst.State.NULL)
if message.type == Gst.MessageType.ERROR:
    sys.exit(message.parse_error().gerror.message)
