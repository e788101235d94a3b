"""One circuit to run, and the name by which the journal knows it again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = ["CircuitRequest", "Purpose"]

Purpose = Literal["sample", "canary", "calibration"]


@dataclass(frozen=True, kw_only=True)
class CircuitRequest:
    """One circuit on one device.

    Args:
        device_arn: the device.
        source: OpenQASM 3 as exported, with its measurement or its result pragmas. What a device gets may be
            spelled in other gates (`sqdr.deploy.braket.packing.pack`), which does not enter the key.
        inputs: name to value, in radians.
        shots: 0 for exact expectations, on a simulator.
        part: 0, or the round in which the same circuit is asked for again to add shots to the earlier ones.
        sample_id: of the image, for people; it does not enter the key.
        purpose: ``sample``, or what sqdr adds: a ``canary`` with a known answer, a ``calibration`` of the readout.
    """

    device_arn: str
    source: str
    inputs: Mapping[str, float]
    shots: int
    part: int = 0
    sample_id: str = ""
    purpose: Purpose = "sample"

    @cached_property
    def key(self) -> str:
        """The SHA-256 of device, program, inputs, shots and part: what makes two requests the same one."""
        content = {
            "device": self.device_arn,
            "source": self.source,
            # repr: the shortest text that reads back equal, the same on every version of Python
            "inputs": {name: repr(float(value)) for name, value in self.inputs.items()},
            "shots": self.shots,
            "part": self.part,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
