"""Train a spiking encoder jointly with a data-reupload circuit.

The package is callable: ``sqdr.train(config, out)`` is `sqdr.train.api.train`.
"""

import sys
from types import ModuleType
from typing import Any

__all__ = ["train"]


def train(*arguments: Any, **options: Any) -> Any:
    """Train a model; see `sqdr.train.api.train`."""
    from sqdr.train.api import train as run

    return run(*arguments, **options)


class _CallablePackage(ModuleType):
    """Lets the package be called like the function it is named after, and stay light to import."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return train(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
