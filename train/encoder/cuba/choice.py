"""Which path computes: the configured one, on the device where the tensors are."""

import functools
import logging

from sqdr.errors import MissingDependencyError
from sqdr.train.encoder.cuba import CubaChoice
from sqdr.train.encoder.cuba.compiled import CompiledPath, library
from sqdr.train.encoder.cuba.eager import EagerPath
from sqdr.train.encoder.cuba.path import CubaPath

__all__ = ["check_choice", "path_for"]

logger = logging.getLogger(__name__)


def check_choice(choice: CubaChoice) -> None:
    """Refuse what this installation cannot do.

    Raises:
        MissingDependencyError: ``c`` is asked for and was not built.
    """
    if choice == "c" and library() is None:
        raise MissingDependencyError(
            "`training.cuba` must be auto, torch or stock here, got c, whose kernels were not built. Install a C "
            "compiler and then sqdr again, or use auto."
        )


@functools.cache
def path_for(choice: CubaChoice, device_type: str) -> CubaPath:
    """Return the fastest path that ``choice`` allows on a ``cpu`` or ``cuda`` device; not for ``stock``."""
    if choice != "torch" and device_type == "cuda":
        return _on_gpu()
    kernels = library()
    if choice != "torch" and kernels is not None:
        return CompiledPath(kernels)
    return EagerPath()


def _on_gpu() -> CubaPath:
    try:
        from sqdr.train.encoder.cuba.triton_path import TritonPath, first_run
    except ImportError:  # torch's wheels for GPUs bring Triton along on Linux; elsewhere there may be none
        return EagerPath()
    try:
        first_run()
    # whatever Triton, the driver and the C compiler that Triton calls may raise
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        logger.warning("the encoder runs without Triton, which is slower: %s", problem)
        return EagerPath()
    return TritonPath()
