"""Subject ``head``: the circuit's forward and backward pass against other simulators."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqdr.circuit import Entangler
from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.cli.bench.head_peers import PEERS, Circuit, open_peer
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CIRCUITS", "HeadCircuit", "bench_head", "n_different", "value_and_gradients"]

SUBJECT = "head"
# float32: <Z> as the design promises it; gradients are sums over the batch of up to some tens.
Z_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 2e-4
# Of each repeat.
MIN_S = 0.25
FAST_PEERS = tuple(PEERS)[:2]
# Where no package here takes the register: the closed form against our own cones, a second way to compute it.
OWN_CONES = "sqdr's own cones"
OWN_STATEVECTOR = "sqdr's own statevector"


@dataclass(frozen=True, kw_only=True)
class HeadCircuit:
    """One circuit to measure.

    Args:
        n_qubits: wires.
        n_blocks: L.
        entangler: as in `sqdr.circuit`.
        peers: names of `PEERS`, `OWN_CONES` or `OWN_STATEVECTOR`.
    """

    n_qubits: int
    n_blocks: int
    entangler: Entangler = "ring"
    peers: tuple[str, ...] = FAST_PEERS

    @property
    def name(self) -> str:
        """What the rows call it."""
        return f"{self.n_qubits:,} qubits x {self.n_blocks} blocks"


CIRCUITS = (
    HeadCircuit(n_qubits=9, n_blocks=2, peers=tuple(PEERS)),
    HeadCircuit(n_qubits=9, n_blocks=3),
    HeadCircuit(n_qubits=12, n_blocks=3),
    HeadCircuit(n_qubits=12, n_blocks=4),
    HeadCircuit(n_qubits=1000, n_blocks=2, peers=(OWN_CONES,)),
)
"""The circuits that the subject measures."""


def bench_head(
    circuits: Sequence[HeadCircuit],
    batch: int,
    repeats: int,
    skipped: list[str],
    progress: Callable[[int, int], None],
) -> list[BenchRow]:
    """Return a row for each circuit and peer: processor milliseconds for each sample, forward and backward.

    Args:
        circuits: to measure, each with random angles and weights.
        batch: samples of each call.
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (circuits done, of all).
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[BenchRow] = []
    try:
        for index, circuit in enumerate(circuits):
            rows += _rows(circuit, batch, repeats, skipped)
            progress(index + 1, len(circuits))
    finally:
        torch.set_num_threads(n_threads)
    return rows


def _rows(circuit: HeadCircuit, batch: int, repeats: int, skipped: list[str]) -> list[BenchRow]:
    from sqdr.specification import HeadSpec
    from sqdr.train.head.simulator import choose_circuit

    spec = HeadSpec(n_qubits=circuit.n_qubits, n_blocks=circuit.n_blocks, entangler=circuit.entangler)
    ours, run = choose_circuit(spec, "auto")
    inputs = _inputs(circuit, batch)
    expected = value_and_gradients(run, *inputs)
    steps: dict[str, Callable[[], object]] = {ours: partial(value_and_gradients, run, *inputs)}
    differing: dict[str, int] = {}
    for name in circuit.peers:
        try:
            peer = _peer(name, circuit)
        except MissingDependencyError as error:
            if str(error) not in skipped:
                skipped.append(str(error))
            continue
        differing[name] = n_different(value_and_gradients(peer, *inputs), expected)
        steps[name] = partial(value_and_gradients, peer, *inputs)
    times = time_in_turn({name: (step, batch) for name, step in steps.items()}, repeats, True, MIN_S)
    n_compared = sum(tensor.numel() for tensor in expected)
    return [
        BenchRow.of(SUBJECT, circuit.name, (ours, times[ours]), (name, times[name]), n_compared, n)
        for name, n in differing.items()
    ]


def _peer(name: str, circuit: HeadCircuit) -> Circuit:
    if name in (OWN_CONES, OWN_STATEVECTOR):
        from sqdr.train.head import cone, statevector

        simulate = cone.expectations if name == OWN_CONES else statevector.expectations
        return partial(simulate, entangler=circuit.entangler)
    return open_peer(name, circuit.n_qubits, circuit.n_blocks, circuit.entangler)


def _inputs(circuit: HeadCircuit, batch: int) -> "tuple[Tensor, Tensor]":
    import torch

    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(batch, circuit.n_qubits, 3, generator=generator) * 4 - 2
    weights = torch.rand(circuit.n_blocks, circuit.n_qubits, 3, generator=generator) * 6 - 3
    return angles.requires_grad_(), weights.requires_grad_()


def value_and_gradients(circuit: Circuit, angles: "Tensor", weights: "Tensor") -> "tuple[Tensor, ...]":
    """Return <Z>, and the gradients of angles and weights of a sum over it in which no two factors are alike."""
    import torch

    z = circuit(angles, weights)
    factors = torch.linspace(0.1, 1.0, z.numel(), dtype=z.dtype).reshape(z.shape)
    return (z.detach(), *torch.autograd.grad((factors * z).sum(), [angles, weights]))


def n_different(found: "tuple[Tensor, ...]", expected: "tuple[Tensor, ...]") -> int:
    """Return how many values of two `value_and_gradients` are further apart than float32 explains."""
    tolerances = (Z_TOLERANCE, GRADIENT_TOLERANCE, GRADIENT_TOLERANCE)
    return sum(int(((a - b).abs() > limit).sum()) for a, b, limit in zip(found, expected, tolerances, strict=True))
