"""What every peer's script does: decide on encoded images in memory, warm, and print every latency as one JSON line."""

import json
import sys
import time
from pathlib import Path


def serve(decide, info=None):
    """Time `decide(bytes) -> class index or name`; argv ends with IMAGES_DIR ITERATIONS."""
    images = [path.read_bytes() for path in sorted(Path(sys.argv[-2]).iterdir())]
    iterations = int(sys.argv[-1])
    for i in range(max(20, len(images))):
        decide(images[i % len(images)])
    samples = []
    for i in range(iterations):
        image = images[i % len(images)]
        begin = time.monotonic_ns()
        decide(image)
        samples.append((time.monotonic_ns() - begin) / 1e6)
    print(json.dumps({"samples_ms": samples, "classes": [decide(image) for image in images], **(info or {})}))
