"""The version of this package, below everything that compares itself with it."""

__version__ = "0.1.0"
