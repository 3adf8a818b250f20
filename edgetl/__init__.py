"""edgetl: from a folder of part images to a bundle proven on the device to meet its budget.

The host package. Public are the command line (`edgetl --help`) and the names in `__all__`; everything else may
change between releases. The device side lives in the distribution `edgetl-runtime`.
"""

__version__ = "0.1.0"
