"""Measuring a bundle so that the figure can be believed: rounds in fresh processes, interleaved comparisons, records.

statistics  estimates, exact bounds and the three-way verdict; pure
compare     the paired design over any runner of rounds
fake        a station made of a clock: programmable latency, drift, spikes; proves the error rates of the design
worker      one round, in a process of its own
rounds      starts such processes, repeats disturbed rounds, refuses an unfit machine
conditions  what the machine is (fingerprint) and what disturbed a round
record      files that keep every sample

Needs numpy and the runtime, nothing else: it runs on the device.
"""
