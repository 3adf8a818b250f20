"""The work of the commands as functions with typed results; the command line only parses and prints."""
