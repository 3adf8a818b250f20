"""MLPerf LoadGen, SingleStream, over a session's network: `loadgen.py BUNDLE VARIANT SECONDS` prints p50 and p90."""

import json
import sys
import tempfile
import time
from pathlib import Path

import mlperf_loadgen as lg

import edgetl_runtime

bundle, variant, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
session = edgetl_runtime.open(bundle, variant=variant)
tensors = [session.tensor(session.bundle.read(name))[None] for name in session.manifest.golden.images]
for _ in range(5):
    for tensor in tensors:
        session.infer(tensor)
latencies_ms = []


def issue(samples):
    for sample in samples:
        begin = time.monotonic_ns()
        session.infer(tensors[sample.index])
        latencies_ms.append((time.monotonic_ns() - begin) / 1e6)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])


settings = lg.TestSettings()
settings.scenario = lg.TestScenario.SingleStream
settings.mode = lg.TestMode.PerformanceOnly
settings.min_duration_ms = round(1000 * seconds)
settings.max_duration_ms = round(2000 * seconds)
settings.min_query_count = 300
with tempfile.TemporaryDirectory() as folder:
    log = lg.LogSettings()
    log.log_output.outdir = folder
    sut = lg.ConstructSUT(issue, lambda: None)
    qsl = lg.ConstructQSL(len(tensors), len(tensors), lambda _: None, lambda _: None)
    print("ready", flush=True)
    lg.StartTestWithLogSettings(sut, qsl, settings, log)
    summary = Path(folder, "mlperf_log_summary.txt").read_text()
    words = dict(line.split(":", 1) for line in summary.splitlines() if ":" in line)
    lg.DestroyQSL(qsl)
    lg.DestroySUT(sut)
figures = {name.strip(): value.strip() for name, value in words.items()}
print(
    json.dumps(
        {
            "p50_ms": int(figures["50.00 percentile latency (ns)"]) / 1e6,
            "p90_ms": int(figures["90.00 percentile latency (ns)"]) / 1e6,
            "n": len(latencies_ms),
        }
    )
)
