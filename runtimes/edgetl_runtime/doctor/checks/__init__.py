"""One thing to look at per file, found by filename: `check(recording, need)` yields findings."""
