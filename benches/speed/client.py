# SPDX-License-Identifier: MPL-2.0
"""The least that a client in Python must do: websockets and numpy, as vLLM's own example has it."""

import asyncio
import base64
import json
import os
import resource
import sys
import time

import numpy as np
import websockets

CHUNK = 1280


async def run(url, path, live):
    samples = np.fromfile(path, np.int16).astype(np.float32) / 32768
    os.remove(path)
    async with websockets.connect(url, max_size=None) as socket:
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        await socket.send(json.dumps({"type": "session.update", "model": "standin"}))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        words = 0

        async def receive():
            nonlocal words
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "transcription.delta":
                    words += event["delta"].count(" ")
                elif event["type"] == "transcription.done":
                    return

        receiver = asyncio.create_task(receive())
        for i in range(0, len(samples), CHUNK):
            pcm = (samples[i:i + CHUNK] * 32767).astype(np.int16).tobytes()
            await socket.send(json.dumps({"type": "input_audio_buffer.append",
                                          "audio": base64.b64encode(pcm).decode()}))
            if live:
                due = began + (i + CHUNK) / 16000
                await asyncio.sleep(max(0, due - time.monotonic()))
        await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))
        await receiver
        now = resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        print(json.dumps({"cpu_ms": cpu * 1000, "seconds": time.monotonic() - began,
                          "memory_kb": now.ru_maxrss, "threads": 1, "words": words,
                          "wake_ups": now.ru_nvcsw - used.ru_nvcsw}), flush=True)


asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3] == "live"))
