"""Searching: backbone, resolution, precision, backend and threads; the fastest that keeps the contract."""
