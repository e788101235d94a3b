"""Which processor measured something: all that a result says of its machine."""

import contextlib
import platform
from pathlib import Path

__all__ = ["cpu_name"]


def cpu_name() -> str:
    """Return the processor's model as Linux names it, or else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
