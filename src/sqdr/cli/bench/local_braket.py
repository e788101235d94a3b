"""Subject ``local-braket``: `local:sv` against PennyLane's ``braket.local.qubit`` and Braket's own simulator.

Circuits of 9 qubits, 2 blocks and the ring, one for each image: exact expectations, and 1,000 shots. Ours runs all of
them; the others run a few, for a circuit costs them the same each time, alone and as one batch.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sqdr.cli.bench.harness import BenchRow, time_in_turn
from sqdr.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["bench_local_braket"]

SUBJECT = "local-braket"
N_QUBITS, N_BLOCKS, N_PEER, N_SHOTS = 9, 2, 4, 1000
OURS = "local:sv"
PEERS = ("pennylane:braket.local.qubit", "local:braket-sv")
# All in float64.
TOLERANCE = 1e-10
# A mean of shots is off by at most 1 / sqrt(shots) standard deviations; six of them never happen.
SHOT_TOLERANCE = 6 / N_SHOTS**0.5
MIN_S = 0.1


def bench_local_braket(
    n_circuits: int, repeats: int, skipped: list[str], progress: Callable[[int, int], None]
) -> list[BenchRow]:
    """Return a row for each peer and way to call it: processor milliseconds for each circuit.

    Args:
        n_circuits: that ours runs; the peers run 4.
        repeats: of each timing.
        skipped: gets a line for each peer that is not installed.
        progress: called with (kinds done, of all).
    """
    import numpy as np

    rng = np.random.default_rng(0)
    weights = rng.uniform(-np.pi, np.pi, (N_BLOCKS, N_QUBITS, 3))
    angles = rng.uniform(-np.pi, np.pi, (n_circuits, N_QUBITS, 3))
    rows: list[BenchRow] = []
    for index, shots in enumerate((None, N_SHOTS)):
        rows += _rows(weights, angles, shots, repeats, skipped)
        progress(index + 1, 2)
    return rows


def _rows(
    weights: "NDArray[np.float64]",
    angles: "NDArray[np.float64]",
    shots: int | None,
    repeats: int,
    skipped: list[str],
) -> list[BenchRow]:
    ours, few = _head(OURS, weights, shots).expectations, angles[:N_PEER]
    exact = _head(OURS, weights, None).expectations(few)
    tolerance = TOLERANCE if shots is None else SHOT_TOLERANCE
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "batch": (partial(ours, angles), len(angles)),
        "alone": (partial(_one_by_one, ours, few), N_PEER),
    }
    differing: dict[str, int] = {}
    for name in PEERS:
        try:
            run = _head(name, weights, shots).expectations
            found = run(few)
        except MissingDependencyError as error:
            if str(error) not in skipped:
                skipped.append(str(error))
            continue
        # also ours where it draws shots: both must lie around the exact values
        wrong = (abs(found - exact) > tolerance) | (abs(ours(few) - exact) > tolerance)
        differing[name] = int(wrong.sum())
        calls[f"{name}, batch"] = (partial(run, few), N_PEER)
        calls[f"{name}, alone"] = (partial(_one_by_one, run, few), N_PEER)
    times = time_in_turn(calls, repeats, True, MIN_S)
    what = "exact <Z>" if shots is None else f"{N_SHOTS} shots"
    return [
        BenchRow.of(
            SUBJECT,
            f"{N_QUBITS} qubits x {N_BLOCKS} blocks, {what}",
            (f"{OURS}, {way}", times[way]),
            (f"{name}, {peer_way}", times[f"{name}, {peer_way}"]),
            few.shape[0] * N_QUBITS,
            n_different,
        )
        for name, n_different in differing.items()
        for way, peer_way in (("batch", "batch"), ("batch", "alone"), ("alone", "alone"))
    ]


def _head(device: str, weights: "NDArray[np.float64]", shots: int | None) -> Any:
    from sqdr.deploy.heads import open_head
    from sqdr.openqasm import to_openqasm

    return open_head(
        device,
        openqasm=to_openqasm(weights, "ring"),
        weights=weights,
        entangler="ring",
        n_qubits=N_QUBITS,
        shots=shots,
    )


def _one_by_one(run: Callable[[Any], Any], angles: "NDArray[np.float64]") -> None:
    for index in range(len(angles)):
        run(angles[index : index + 1])
