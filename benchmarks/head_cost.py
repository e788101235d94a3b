"""How much of a training epoch the head costs: our state vector against a PennyLane loop over samples.

    python benchmarks/head_cost.py --batches 6

Both sides train the same model on the same batches of mnist10k (or digits with ``--data digits``), one
thread; they differ in the head's circuit alone. Before timing, both must give the same logits. Times are
medians over the batches after one warm-up batch; the ratio of two steps is the ratio of two epochs.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import pennylane as qml
import torch
from torch.nn.functional import cross_entropy

from sqdr.circuit import qnode
from sqdr.train.batches import batches
from sqdr.train.config import load_config, resolve_model
from sqdr.train.joint import JointModel, float_spikes
from sqdr.train.loop import load_data

RESULTS = Path(__file__).parent / "results" / "head_cost.json"


class LoopOverSamples:
    """One QNode execution per sample, as the published reference composes it."""

    def __init__(self, n_qubits: int, entangler: str) -> None:
        device = qml.device("default.qubit", wires=n_qubits)
        self._node = qnode(device, entangler, interface="torch", diff_method="backprop")

    def __call__(self, angles: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return <Z> (N, n_qubits)."""
        return torch.stack([torch.stack(list(self._node(sample, weights))) for sample in angles]).to(angles)


def step_times(model: JointModel, data: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    times = []
    for spikes, labels in data:
        start = time.perf_counter()
        loss = cross_entropy(model(float_spikes(spikes)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=["mnist10k", "digits"], default="mnist10k")
    parser.add_argument("--batches", type=int, default=6)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    config = load_config(f"{options.data}_tiny")
    data = load_data(config)
    spec = resolve_model(config, data)
    loader = batches(data.train, spec.coding, config.training.batch_size, seed=0)
    chosen = [batch for batch, _ in zip(loader, range(options.batches + 1), strict=False)]
    torch.manual_seed(0)
    ours = JointModel(spec, "statevector")
    peer = JointModel(spec, "statevector")
    peer.load_state_dict(ours.state_dict())
    peer.head.circuit = LoopOverSamples(spec.head.n_qubits, spec.head.entangler)
    with torch.no_grad():
        difference = (ours(float_spikes(chosen[0][0])) - peer(float_spikes(chosen[0][0]))).abs().max().item()
    if difference > 1e-4:
        sys.exit(f"the two heads differ by {difference}; not timed")
    our_ms = 1000 * statistics.median(step_times(ours, chosen * 4))
    peer_ms = 1000 * statistics.median(step_times(peer, chosen))
    row = {
        "subject": "joint step",
        "name": f"{options.data}_tiny, batch {config.training.batch_size}",
        "peer": "PennyLane default.qubit, loop over samples",
        "ms": round(our_ms, 3),
        "peer_ms": round(peer_ms, 1),
        "ratio": round(peer_ms / our_ms, 1),
        "max_logit_difference": difference,
        "n_threads": 1,
        "versions": {"torch": torch.__version__, "pennylane": qml.__version__},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(row, indent=1))
    sys.stdout.write(json.dumps(row, indent=1) + "\n")


if __name__ == "__main__":
    main()
