"""The reupload circuit in ONNX, in float64: state vector, or light cone where that would be too wide.

Both start from the fused gate of each qubit and block, the trained ``Rot`` after the uploading one. It
is linear in products of sines and cosines of the uploaded angles, so one matrix product per qubit makes
the gates of all blocks. Complex values are pairs of real ones, see `ComplexGraph`.

Source of the forms: `sqdr.train.head.statevector` and `sqdr.train.head.lightcone`.
"""

import numpy as np
from numpy.typing import NDArray

from sqdr.circuit import Entangler, entangler_pairs
from sqdr.export.onnx_complex import ComplexGraph, Pair

__all__ = ["add_light_cone", "add_state_vector"]

Floats = NDArray[np.float64]

# Rot = sum over k of these times cos(theta/2) cos(+), cos(theta/2) sin(+), sin(theta/2) cos(-),
# sin(theta/2) sin(-), where + is (phi + omega)/2 and - is (phi - omega)/2; RY needs the cosines only.
ROT_TERMS = np.array([[[1, 0], [0, 1]], [[-1j, 0], [0, 1j]], [[0, -1], [1, 0]], [[0, -1j], [-1j, 0]]])
RY_TERMS = ROT_TERMS[[0, 2]]


def add_state_vector(graph: ComplexGraph, angles: str, weights: Floats, entangler: Entangler, n_angles: int) -> str:
    """Append the circuit and return the name of <Z>, (n, n_qubits) float64.

    Args:
        graph: to grow.
        angles: name of (n, n_qubits, n_angles) float64, radians.
        weights: (n_blocks, n_qubits, 3) radians, of the trained ``Rot`` gates.
        entangler: as in `sqdr.circuit`.
        n_angles: 3 for all angles of the uploading ``Rot``, 1 for its middle one.
    """
    n_blocks, n_qubits = weights.shape[:2]
    halves = (range(n_qubits // 2), range(n_qubits // 2, n_qubits))
    gates = _add_gates(graph, angles, weights, n_angles)
    # the first block acts on |0...0> and takes the first column of each gate only
    first = graph.sliced(graph.taken(gates, 0, 2), 0, 1, axis=3)
    state = graph.product(_kronecker(graph, first, halves[0], (2, 1)), _kronecker(graph, first, halves[1], (1, 2)))
    cz_signs = _cz_signs(n_qubits, entangler)
    for block in range(1, n_blocks):  # the CZ gates of the last block commute with Z
        gate = graph.taken(gates, block, 2)
        state = graph.scaled(state, graph.cast(graph.constant(cz_signs), np.float64))
        if halves[0]:  # one qubit has no left half
            state = graph.product(_kronecker(graph, gate, halves[0], (2, 2)), state, "MatMul")
        # transposed gate by gate: ONNX Runtime fuses a transpose before a MatMul into what it has in float32 only
        gate = graph.transposed(gate, (0, 1, 3, 2))
        state = graph.product(state, _kronecker(graph, gate, halves[1], (2, 2)), "MatMul")
    probabilities = graph.squared_size(state)  # (n, 2^left, 2^right)
    parts = []
    for half, other_axis in zip(halves, (2, 1), strict=True):
        if half:
            marginal = graph.add("ReduceSum", probabilities, graph.constant(np.array([other_axis])), keepdims=0)
            parts.append(graph.add("MatMul", marginal, graph.constant(1.0 - 2 * _bits(len(half)))))
    return graph.add("Concat", *parts, axis=1)


def add_light_cone(graph: ComplexGraph, angles: str, weights: Floats, entangler: Entangler, n_angles: int) -> str:
    """As `add_state_vector` for one or two blocks, linear in the number of qubits.

    With (a, b) the state after the first gate, its Bloch vector is r_x + i r_y = 2 conj(a) b and
    r_z = |a|^2 - |b|^2. With g the second gate, Z pulled back through it is
    m_x - i m_y = conj(g00) g01 - conj(g10) g11 and m_z = |g00|^2 - |g10|^2.
    """
    n_blocks, n_qubits = weights.shape[:2]
    gates = _add_gates(graph, angles, weights, n_angles)
    a, b = _element(graph, gates, 0, 0, 0), _element(graph, gates, 0, 1, 0)
    r_z = graph.add("Sub", graph.squared_size(a), graph.squared_size(b))  # (n_qubits, n)
    if n_blocks == 2:
        g00, g01, g10, g11 = (_element(graph, gates, 1, row, column) for row in (0, 1) for column in (0, 1))
        m_z = graph.add("Sub", graph.squared_size(g00), graph.squared_size(g10))
        m = graph.difference(graph.conjugate_product(g00, g01), graph.conjugate_product(g10, g11))
        # m_x r_x + m_y r_y is the real part of (m_x - i m_y) (r_x + i r_y)
        across = graph.product(m, graph.conjugate_product(a, b)).re
        across = graph.add("Mul", across, graph.constant(np.float64(2)))
        for neighbours in _neighbours(n_qubits, entangler):
            across = graph.add("Mul", across, _taken_or_one(graph, r_z, neighbours))
        r_z = graph.add("Add", across, graph.add("Mul", m_z, r_z))
    return graph.add("Transpose", r_z, perm=(1, 0))


def _add_gates(graph: ComplexGraph, angles: str, weights: Floats, n_angles: int) -> Pair:
    """Return the fused gates, (n_qubits, n, n_blocks, 2, 2)."""
    n_blocks, n_qubits = weights.shape[:2]
    terms = ROT_TERMS if n_angles == 3 else RY_TERMS
    fused = np.einsum("lqij,kjm->qklim", _rot(weights), terms).reshape(n_qubits, len(terms), -1)
    halves = graph.add("Transpose", angles, perm=(1, 0, 2))  # (n_qubits, n, n_angles)
    halves = graph.add("Mul", halves, graph.constant(np.float64(0.5)))
    if n_angles == 1:
        functions = graph.add("Concat", graph.cos(halves), graph.add("Sin", halves), axis=2)
    else:
        functions = _add_rot_functions(graph, halves)
    gates = Pair(*(graph.add("MatMul", functions, graph.constant(part)) for part in (fused.real, fused.imag)))
    return graph.reshaped(gates, (n_qubits, -1, n_blocks, 2, 2))


def _add_rot_functions(graph: ComplexGraph, halves: str) -> str:
    """(n_qubits, n, 3) half angles to the four functions of `ROT_TERMS`."""
    phi, theta, omega = (graph.slice(halves, index, index + 1, axis=2) for index in range(3))
    cos, sin = graph.cos(theta), graph.add("Sin", theta)
    plus, minus = graph.add("Add", phi, omega), graph.add("Sub", phi, omega)
    products = (
        (cos, graph.cos(plus)),
        (cos, graph.add("Sin", plus)),
        (sin, graph.cos(minus)),
        (sin, graph.add("Sin", minus)),
    )
    return graph.add("Concat", *(graph.add("Mul", *factors) for factors in products), axis=2)


def _rot(angles: Floats) -> NDArray[np.complex128]:
    """Return ``Rot`` (..., 2, 2) of (..., 3) radians."""
    phi, theta, omega = np.moveaxis(angles / 2, -1, 0)
    cos, sin, plus, minus = np.cos(theta), np.sin(theta), phi + omega, phi - omega
    functions = np.stack([cos * np.cos(plus), cos * np.sin(plus), sin * np.cos(minus), sin * np.sin(minus)], axis=-1)
    matrices: NDArray[np.complex128] = np.einsum("...k,kij->...ij", functions, ROT_TERMS)
    return matrices


def _element(graph: ComplexGraph, gates: Pair, block: int, row: int, column: int) -> Pair:
    """(n_qubits, n, n_blocks, 2, 2) to one element of one block's gates, (n_qubits, n)."""
    return graph.taken(graph.taken(graph.taken(gates, block, 2), row, 2), column, 2)


def _kronecker(graph: ComplexGraph, gates: Pair, qubits: range, shape: tuple[int, int]) -> Pair:
    """Return the product over ``qubits``, (n, rows^m, columns^m).

    Args:
        graph: to grow.
        gates: of all qubits, (n_qubits, n, 2, 2), or as many values as ``shape`` has.
        qubits: the first is the most significant.
        shape: rows and columns of one factor.
    """
    product, (n_rows, n_columns) = Pair(graph.constant(np.ones((1, 1, 1))), graph.constant(np.zeros((1, 1, 1)))), (1, 1)
    for qubit in qubits:
        factor = graph.reshaped(graph.taken(gates, qubit, 0), (-1, 1, shape[0], 1, shape[1]))
        spread = graph.reshaped(product, (-1, n_rows, 1, n_columns, 1))
        n_rows, n_columns = n_rows * shape[0], n_columns * shape[1]
        product = graph.reshaped(graph.product(spread, factor), (-1, n_rows, n_columns))
    return product


def _taken_or_one(graph: ComplexGraph, values: str, places: NDArray[np.int64]) -> str:
    """Rows of (n_qubits, n) in another order, and ones where a place is -1."""
    rows = graph.add("Gather", values, graph.constant(np.maximum(places, 0)), axis=0)
    return graph.add("Where", graph.constant(places[:, None] >= 0), rows, graph.constant(np.float64(1)))


def _neighbours(n_qubits: int, entangler: Entangler) -> list[NDArray[np.int64]]:
    """Return which qubit shares a CZ with each, (n_qubits,), as often as the most entangled one has neighbours."""
    near: list[list[int]] = [[] for _ in range(n_qubits)]
    for first, second in entangler_pairs(n_qubits, entangler):
        near[first].append(second)
        near[second].append(first)
    most = max(len(found) for found in near)
    return [np.array([found[k] if k < len(found) else -1 for found in near]) for k in range(most)]


def _bits(n_qubits: int) -> NDArray[np.int64]:
    """(2^n, n) of 0 and 1, the first qubit the most significant."""
    bits: NDArray[np.int64] = (np.arange(2**n_qubits)[:, None] >> np.arange(n_qubits - 1, -1, -1)) & 1
    return bits


def _cz_signs(n_qubits: int, entangler: Entangler) -> NDArray[np.int8]:
    """(2^left, 2^right): the diagonal of all CZ gates of one block."""
    bits = _bits(n_qubits)
    parity = np.zeros(2**n_qubits, np.int64)
    for first, second in entangler_pairs(n_qubits, entangler):
        parity += bits[:, first] * bits[:, second]
    return (1 - 2 * (parity % 2)).astype(np.int8).reshape(2 ** (n_qubits // 2), -1)
