"""One process of subject ``memory``: train or encode, and say how much memory that took, as JSON on standard output.

``python -m sqdr.cli.bench.memory_child SIDE PRESET BATCH SPIKES``: a side of `SIDES`; the encoder's spikes of the batch
go to the NumPy file SPIKES.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from sqdr.train.joint import JointModel

__all__ = ["SIDES", "main"]

N_CALLS = 5
# Building and waking a model takes more than a call: 5 makes the peak what is held now (man 5 proc).
CLEAR_REFS, RESET_PEAK = Path("/proc/self/clear_refs"), "5"
SIDES = ("sqdr step", "stock step", "spikingjelly step", "integer encode", "slayer encode")


def main(side: str, preset: str, batch: str, spikes_path: str) -> None:
    """Write peak memory of the calls in MB, what was held before them, and milliseconds for each call."""
    import numpy as np

    from sqdr.cli.bench.joint import joint_model, model_spec

    model, spikes, labels = joint_model(model_spec(preset), int(batch))
    call, result = (_step if side.endswith(" step") else _encode)(side, model, spikes, labels)
    CLEAR_REFS.write_text(RESET_PEAK)
    held_mb, start = _status_mb("VmRSS"), time.process_time()
    for _ in range(N_CALLS):
        call()
    ms = 1000 * (time.process_time() - start) / N_CALLS
    found = {"ms": ms, "held_mb": held_mb, "peak_mb": _status_mb("VmHWM")}
    np.save(spikes_path, result())
    sys.stdout.write(json.dumps(found))


def _step(
    side: str, model: "JointModel", spikes: "Tensor", labels: "Tensor"
) -> tuple[Callable[[], object], Callable[[], Any]]:
    """A joint training step, with our head on every side."""
    import torch

    from sqdr.cli.bench.joint import training_step
    from sqdr.cli.bench.spiking_peer import spikingjelly_encoder
    from sqdr.train.encoder.slayer import SlayerEncoder

    encoder: Any = model.encoder
    time_axis = -1
    if side == "stock step":
        encoder = SlayerEncoder(model.spec.encoder)
        encoder.load_state_dict(model.encoder.state_dict())
    elif side == "spikingjelly step":
        encoder, spikes, time_axis = spikingjelly_encoder(model.spec.encoder), spikes.movedim(-1, 0).contiguous(), 0

    def result() -> Any:
        with torch.no_grad():
            return encoder(spikes).to(torch.uint8).numpy()

    return training_step(encoder, model.head, spikes, labels, time_axis), result


def _encode(
    side: str, model: "JointModel", spikes: "Tensor", labels: "Tensor"
) -> tuple[Callable[[], object], Callable[[], Any]]:
    import torch

    from sqdr.deploy.encoders.integer import IntegerEncoder
    from sqdr.export.to_netx import write_netx
    from sqdr.train.encoder.slayer import SlayerEncoder

    spec = model.spec
    stock = SlayerEncoder(spec.encoder)
    stock.load_state_dict(model.encoder.state_dict())
    if side == "slayer encode":

        def forward() -> Any:
            with torch.no_grad():
                return stock(spikes).to(torch.uint8).numpy()

        return forward, forward
    with tempfile.TemporaryDirectory(prefix="sqdr-bench-") as folder:
        path = Path(folder) / "encoder.net"
        write_netx(stock.eval(), spec.coding.max_payload, path)
        integer = IntegerEncoder.from_netx(
            path,
            input_shape=spec.encoder.input_shape,
            n_steps=spec.coding.n_steps,
            message_bits=spec.coding.message_bits,
        )
    coded = spikes.to(torch.uint8).numpy()
    return (lambda: integer.encode(coded)), (lambda: integer.spike_trains(coded))


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise LookupError(f"this system does not say {field}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
