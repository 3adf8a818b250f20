"""One file per family of backbones, each with a `SPECS` tuple. Stdlib only."""
