"""Graphs meant for NVIDIA: rules of their form, and NVIDIA's own compiler as a gate on machines without a GPU."""
