"""TensorRT and TensorRT-RTX: where their releases differ, building engines in a child process, caching, executing them.

Shared by the backends `tensorrt` and `tensorrt_rtx`, and by the host's check of graphs meant for NVIDIA. Loading these
modules loads nothing of the vendor's.
"""
