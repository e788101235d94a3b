"""``sqdr bench``: ratios against real peers, measured in one run on one core."""

from sqdr.cli.bench.command import app

__all__ = ["app"]
