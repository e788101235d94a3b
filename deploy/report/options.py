"""How a report is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqdr.errors import ConfigError
from sqdr.hw_configs import load_hardware

__all__ = ["DEFAULT_HARDWARE", "ReportOptions"]

CAN_SKIP = ("equality", "fit", "budget")
DEFAULT_HARDWARE = ("loihi2_oheo_gulch", "braket_iqm_garnet")
MAX_LIMIT, MAX_SAMPLES, MAX_SHOTS = 100_000, 256, 1_000_000


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How a report is made.

    Args:
        bundle, run, results: wins over what was found beside the path that was named.
        source: images, see `sqdr.deploy.inputs.read_input`; by default the results' own, else the test part of the
            data set that the model was trained on.
        limit: only the first images.
        n_samples: shown one by one.
        hardware: names or paths of hardware files.
        shots: of the error budget.
        skip: sections among equality, fit and budget that are left out.
        data_root: where data sets are.
        overwrite: replace a file that is no report.
    """

    bundle: Path | None = None
    run: Path | None = None
    results: Path | None = None
    source: str | None = None
    limit: int = 2000
    n_samples: int = 64
    hardware: Sequence[str] = DEFAULT_HARDWARE
    shots: int = 100
    skip: Sequence[str] = ()
    data_root: Path | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise a ConfigError where a number or a name is out of range."""
        for name, value, most in (
            ("limit", self.limit, MAX_LIMIT),
            ("samples", self.n_samples, MAX_SAMPLES),
            ("shots", self.shots, MAX_SHOTS),
        ):
            if not 1 <= value <= most:
                raise ConfigError(f"`{name}` must be 1 to {most:,}, got {value}.")
        for section in self.skip:
            if section not in CAN_SKIP:
                raise ConfigError(f"`skip` must be one of {', '.join(CAN_SKIP)}, got {section[:40]!r}.")
        for hardware in self.hardware:
            load_hardware(hardware)
