"""The coupled pairs of a device's qubits, from its hardware file, and rings that do not fit them."""

import math

from sqdr.hw_configs import BraketQpu
from sqdr.hw_configs.schema import LatticeRow

__all__ = ["connectivity_of", "coupled_pairs", "ring_warning"]


def coupled_pairs(hardware: BraketQpu) -> list[tuple[int, int]] | None:
    """Return the coupled pairs of qubits, the smaller number first; None where every pair is coupled, or unknown."""
    if hardware.topology.value != "square_lattice":
        return None
    places: dict[tuple[int, int], int] = {}
    for row, columns in enumerate(_rows(hardware)):
        for column in range(columns.start, columns.start + columns.length):
            places[row, column] = len(places)
    pairs = []
    for (row, column), qubit in places.items():
        neighbours = ((row, column + 1), (row + 1, column))
        pairs += [(qubit, places[place]) for place in neighbours if place in places]
    return pairs


def connectivity_of(hardware: BraketQpu) -> str:
    """Return in words where the coupled pairs are from."""
    if hardware.topology.value is None:
        return "unknown"
    if hardware.topology.value == "all_to_all":
        return "all to all"
    if hardware.lattice is not None:
        return f"square lattice of {hardware.name} ({hardware.lattice.source})"
    return f"square lattice made up for {hardware.n_qubits.value} qubits, not the device's own"


def ring_warning(hardware: BraketQpu, n_qubits: int, entangler: str) -> str | None:
    """Return why a ring does not fit the lattice without SWAPs, and what to change; None if nothing forbids it.

    The squares of a lattice can be coloured like a chessboard, so that every closed path has an even length.
    """
    if hardware.topology.value != "square_lattice" or entangler != "ring" or n_qubits < 3 or n_qubits % 2 == 0:
        return None
    first = max(n_qubits - 1, 4)
    fitting = [str(even) for even in range(first, first + 6, 2) if even <= hardware.n_qubits.value]
    change = f"with {', '.join(fitting)} qubits, or with `entangler: chain`" if fitting else "with `entangler: chain`"
    return (
        f"a ring of {n_qubits} qubits does not embed in a square lattice, whose closed paths have an even length: "
        f"the compiler adds SWAPs. Train {change}."
    )


def _rows(hardware: BraketQpu) -> tuple[LatticeRow, ...]:
    if hardware.lattice is not None:
        return hardware.lattice.value
    n_qubits = hardware.n_qubits.value
    width = math.isqrt(n_qubits - 1) + 1
    return tuple(LatticeRow(start=0, length=min(width, n_qubits - at)) for at in range(0, n_qubits, width))
