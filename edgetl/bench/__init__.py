"""Records of measurements for people: history with change points, plots, reports; and measuring on a remote device.

Measuring itself lives in `edgetl_runtime.bench`, because the device does it.
"""
