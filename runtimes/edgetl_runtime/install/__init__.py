"""From bundle to running generation: verified, proven on this device, tried, committed or rolled back by itself.

A generation is one installed bundle, kept as the file it came as: nothing is unpacked, so that model, preprocessing,
thresholds and golden vectors are one unit. Below the root (default `/var/lib/edgetl`, or `$EDGETL_ROOT`):

    lock                       held while something changes; free as soon as its process is gone
    service.lock               held by the running service
    incoming/                  uploads that may be resumed
    staging/                   the copy that is being verified; emptied by recovery
    gen/<sequence>-<digest>/   bundle.edgetl, install.json (who, when, which key), proof.json (the self-test here)
    cache/<key>/               what backends compiled here, sealed with a key of this device
    state.a.json state.b.json  the truth, twice; the newest valid copy wins
    current -> gen/…           follows the state; what the service opens
    log/deployments.jsonl      append-only copy of the state's events
    trust.json                 whose signatures count

Every change of the disk goes through `disk.Disk`, so that tests can cut the power between any two of them.
"""
