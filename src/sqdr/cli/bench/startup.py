"""Subject ``start-up``: the processor time of ``import sqdr`` and ``sqdr --help``, each in a process of its own."""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable

from sqdr.cli.bench.harness import BenchRow, Timing
from sqdr.errors import BackendError

__all__ = ["COMMANDS", "bench_startup"]

SUBJECT = "start-up"
COMMANDS = {
    "import sqdr": (("-c", "import sqdr"), 300.0),
    "sqdr --help": (("-c", "import sys; from sqdr.cli import main; sys.argv[1:] = ['--help']; main()"), 500.0),
}
"""Name to what Python gets to run, and the milliseconds that it may take."""
EMPTY = ("-c", "pass")
TIMEOUT_S = 60.0


def bench_startup(repeats: int, progress: Callable[[int, int], None]) -> list[BenchRow]:
    """Return a row for each command, with its limit, of which Python's own start is a part, in the peer's place.

    Args:
        repeats: of each, in turn, after one warm-up.
        progress: called with (rounds done, of all).
    """
    runs = {"empty Python": EMPTY} | {name: arguments for name, (arguments, _) in COMMANDS.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, arguments in runs.items():
            taken = _processor_ms(arguments)
            if repeat > 0:
                found[name].append(taken)
        progress(repeat + 1, repeats + 1)
    times = {name: Timing(median=statistics.median(ms), min=min(ms), max=max(ms)) for name, ms in found.items()}
    limits = {"empty Python": min(limit for _, limit in COMMANDS.values())}
    limits |= {name: limit for name, (_, limit) in COMMANDS.items()}
    return [
        BenchRow.of(
            SUBJECT, "processor time", (name, times[name]), ("limit", Timing(median=limit, min=limit, max=limit)), 0, 0
        )
        for name, limit in limits.items()
    ]


def _processor_ms(arguments: tuple[str, ...]) -> float:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise BackendError(f"`python {' '.join(arguments)}` ended with {done.returncode}. Run `sqdr doctor`.")
    return 1000 * (spent() - before)
