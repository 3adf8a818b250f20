"""Calibration images, quantization algorithms (code) and recipes (data)."""
