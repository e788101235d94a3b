"""What every test of the command line needs."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_debugging() -> Iterator[None]:
    """Leave no ``--debug`` behind: the command sets it for its whole process, which here runs other tests."""
    os.environ.pop("SQDR_DEBUG", None)
    yield
    os.environ.pop("SQDR_DEBUG", None)
