"""The command line: a thin layer over the Python interface.

Exit codes: 0 done; 1 ran, but the answer is no; 2 bad input or usage; 3 a backend failed.
"""

from sqdr.cli.app import main

__all__ = ["main"]
