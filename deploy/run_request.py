"""What a run was asked for, kept beside its results so that it can be taken up again."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sqdr.deploy.braket.options import today
from sqdr.deploy.encoders.lava import LavaGraph
from sqdr.deploy.heads.adaptive import ERROR_RATE
from sqdr.deploy.heads.compose import Spending
from sqdr.deploy.heads.zero_noise import Extrapolation
from sqdr.errors import ConfigError, StorageError
from sqdr.hw_configs.schema import Money
from sqdr.storage import write_atomically
from sqdr.strict import StrictModel, parse

__all__ = ["RunRequest", "read_request", "write_request"]

NAME = "run.json"
MAX_BYTES = 1 << 16


class RunRequest(StrictModel):
    """One run.

    Args:
        bundle: folder or ``.sqdr`` file.
        source: see `sqdr.deploy.inputs.read_input`.
        encoder: name of the encoder backend.
        device: see `sqdr.deploy.pipeline.open_bundle`.
        shots: per image; 0 for exact expectations, which is also what None means on a free device.
        seed: of sampling.
        limit: only the first images.
        form: of the results.
        data_root: where data sets are.
        timeout_s: for each call to an encoder that takes one.
        n_threads: of an encoder that takes them, 0 for all cores; None for its own choice.
        lava_graph: of encoder lava, see `sqdr.deploy.encoders.lava.encoder`; None for its own choice.
        budget_usd: the most that the journal's tasks may cost together, estimated.
        journal: of a device on Amazon Braket; None for ``journal.sqlite`` beside the results.
        is_adaptive, error_rate, route_margin, route_check, is_readout_mitigated, zero_noise: how shots are spent, see
            `sqdr.deploy.heads.compose.Spending`.
        has_program_sets: pack circuits into program sets where the device takes them.
        has_canary: run a circuit with a known answer in every program set, or before the other tasks.
        may_wait: submit although the device is outside its execution windows.
        max_in_flight: the most tasks submitted and not yet finished.
        gives_up_unreadable: run circuits again whose task's result stays unreadable; they are paid again.
        started_on: the day it was started, see `sqdr.deploy.braket.options.BraketOptions`.
    """

    schema_version: Literal[1] = 1
    bundle: str
    source: str
    encoder: str = "lava"
    device: str = "local:braket-sv"
    shots: int | None = Field(default=None, strict=True, ge=0)
    seed: int | None = Field(default=None, strict=True)
    limit: int | None = Field(default=None, strict=True, ge=1)
    form: Literal["jsonl", "parquet"] = "jsonl"
    data_root: str | None = None
    timeout_s: float | None = Field(default=None, gt=0)
    n_threads: int | None = Field(default=None, strict=True, ge=0)
    lava_graph: LavaGraph | None = None
    budget_usd: Money | None = None
    journal: str | None = None
    is_adaptive: bool = False
    error_rate: float = Field(default=ERROR_RATE, gt=0, lt=1)
    route_margin: float | None = Field(default=None, ge=0, le=1)
    route_check: int = Field(default=0, strict=True, ge=0)
    is_readout_mitigated: bool = False
    zero_noise: Extrapolation | None = None
    has_program_sets: bool = True
    has_canary: bool = True
    may_wait: bool = False
    max_in_flight: int = Field(default=10, strict=True, ge=1)
    gives_up_unreadable: bool = False
    started_on: int = Field(default_factory=today, strict=True, ge=1)

    @property
    def spending(self) -> Spending:
        """How shots are spent."""
        return Spending(
            is_adaptive=self.is_adaptive,
            error_rate=self.error_rate,
            route_margin=self.route_margin,
            route_check=self.route_check,
            is_readout_mitigated=self.is_readout_mitigated,
            zero_noise=self.zero_noise,
        )


def write_request(folder: Path, request: RunRequest) -> None:
    """Write ``run.json``.

    Raises:
        StorageError: it cannot be written.
    """
    write_atomically(folder / NAME, request.model_dump_json(indent=2).encode())


def read_request(folder: Path) -> RunRequest:
    """Return what the run in a folder was asked for.

    Raises:
        StorageError: there is no run in it.
        ConfigError: its ``run.json`` is damaged.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StorageError(
            f"{folder} holds no run to resume: {error.strerror or error}. Name the --out folder of an earlier run."
        ) from error
    try:
        if len(data) > MAX_BYTES:
            raise ValueError("too long")
        content: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {str(error)[:80]}. Start the run again with its own options.") from error
    return parse(RunRequest, content, str(path))
