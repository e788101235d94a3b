"""The circuit's definition against matrices multiplied out by hand."""

from functools import reduce
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs, qnode

ENTANGLERS: tuple[Entangler, ...] = ("ring", "chain", "none")


def rz(angle: float) -> NDArray[np.complex128]:
    return np.diag([np.exp(-0.5j * angle), np.exp(0.5j * angle)])


def ry(angle: float) -> NDArray[np.complex128]:
    c, s = np.cos(angle / 2), np.sin(angle / 2)
    return np.array([[c, -s], [s, c]], dtype=np.complex128)


def rot(phi: float, theta: float, omega: float) -> NDArray[np.complex128]:
    """Rot = RZ(omega) RY(theta) RZ(phi), as PennyLane defines it."""
    return rz(omega) @ ry(theta) @ rz(phi)


def cz_signs(n_qubits: int, entangler: Entangler) -> NDArray[np.float64]:
    """The diagonal of the CZ gates, written out from the definition: neighbours, and for a ring last with first."""
    signs = []
    for bits in product((0, 1), repeat=n_qubits):
        n_pairs = sum(bits[i] and bits[i + 1] for i in range(n_qubits - 1)) if entangler != "none" else 0
        n_pairs += entangler == "ring" and n_qubits > 2 and bits[-1] and bits[0]
        signs.append((-1.0) ** n_pairs)
    return np.array(signs)


def expectations(
    angles: NDArray[np.float64], weights: NDArray[np.float64], entangler: Entangler
) -> NDArray[np.float64]:
    """<Z> of every qubit; qubit 0 is the leftmost factor."""
    n_qubits = len(angles)
    state = np.zeros(2**n_qubits, dtype=np.complex128)
    state[0] = 1
    for block in weights:
        gates = [rot(*block[q]) @ rot(*angles[q]) for q in range(n_qubits)]
        state = cz_signs(n_qubits, entangler) * (reduce(np.kron, gates) @ state)
    bits = np.array(list(product((1, -1), repeat=n_qubits)))
    return np.asarray((np.abs(state) ** 2) @ bits)


def device(n_qubits: int):
    qml = pytest.importorskip("pennylane", reason="needs the train or braket extra")
    return qml.device("default.qubit", wires=n_qubits)


@pytest.mark.parametrize(
    ("n_qubits", "entangler", "pairs"),
    [
        (1, "ring", []),
        (1, "chain", []),
        (2, "ring", [(0, 1)]),
        (2, "chain", [(0, 1)]),
        (3, "ring", [(0, 1), (1, 2), (2, 0)]),
        (3, "chain", [(0, 1), (1, 2)]),
        (9, "none", []),
    ],
)
def test_entangler_pairs_are_neighbours(n_qubits: int, entangler: Entangler, pairs: list[tuple[int, int]]) -> None:
    assert entangler_pairs(n_qubits, entangler) == pairs


@pytest.mark.parametrize("n_qubits", range(3, 12))
def test_ring_joins_every_qubit_to_two_others_once(n_qubits: int) -> None:
    pairs = entangler_pairs(n_qubits, "ring")
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == n_qubits
    assert sorted(qubit for pair in pairs for qubit in pair) == sorted(2 * list(range(n_qubits)))


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize(("n_qubits", "n_blocks"), [(1, 1), (1, 3), (2, 2), (3, 2), (4, 3)])
def test_qnode_is_the_product_of_its_matrices(n_qubits: int, n_blocks: int, entangler: Entangler) -> None:
    generator = np.random.default_rng(n_qubits + 10 * n_blocks)
    angles = generator.uniform(-np.pi, np.pi, (n_qubits, 3))
    weights = generator.uniform(-np.pi, np.pi, (n_blocks, n_qubits, 3))
    found = qnode(device(n_qubits), entangler)(angles, weights)
    # float64 products of up to 12 gates of 16 amplitudes
    np.testing.assert_allclose(np.stack(found), expectations(angles, weights, entangler), rtol=0, atol=1e-12)


def test_entanglers_differ_where_they_must() -> None:
    generator = np.random.default_rng(5)
    angles, weights = generator.uniform(0, np.pi, (4, 3)), generator.uniform(0, np.pi, (2, 4, 3))
    ring, chain, none = (np.stack(qnode(device(4), entangler)(angles, weights)) for entangler in ENTANGLERS)
    assert abs(ring - chain).max() > 0.01
    assert abs(chain - none).max() > 0.01


def test_qnode_broadcasts_a_batch_of_angles() -> None:
    generator = np.random.default_rng(6)
    angles, weights = generator.uniform(-np.pi, np.pi, (5, 3, 3)), generator.uniform(-np.pi, np.pi, (2, 3, 3))
    circuit = qnode(device(3), "ring")
    batch = np.stack(circuit(angles, weights), axis=-1)
    assert batch.shape == (5, 3)
    one_by_one = np.array([circuit(sample, weights) for sample in angles])
    # the same float64 gates in another order of summation
    np.testing.assert_allclose(batch, one_by_one, rtol=0, atol=1e-12)
