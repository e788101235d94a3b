"""Braket's simulators on this machine, through the Braket SDK."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy
from sqdr.deploy.heads.base import HeadBase, check_limits, import_extra
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import DeviceError
from sqdr.hw_configs import BraketLocal

__all__ = ["BraketLocalHead"]

# Up to here one table of 2^n probabilities is cheaper than n expectations: each pragma is parsed, and
# each <Z> of a density matrix is a partial trace. Beyond, the table is a Python list of too many floats.
MAX_TABLE_QUBITS = 16


class BraketLocalHead(HeadBase):
    """The state vector or density matrix simulator of the Braket SDK.

    Exact without shots. With shots and no seed, Braket draws them: its simulators make an unseeded
    generator of their own for each circuit, which neither an argument nor ``numpy.random.seed``
    reaches (amazon-braket-default-simulator 1.33.0, ``state_vector_simulation.py`` line 65). With a
    seed, sqdr computes the exact probabilities with Braket and draws the shots from them with
    ``numpy.random.default_rng(seed)``, sample after sample: the same distribution, repeatable, and the
    same however the samples are split over calls.

    Noise, where the hardware file has a model: after every gate of the program that runs, on each qubit
    it acts on, a bit flip, then a depolarizing, then an amplitude damping channel. That program is the
    exported one, in which each rotation is one fused gate: per block, a qubit has noise after the upload,
    after the trained rotation, and after each of its CZ gates.
    """

    def __init__(
        self, openqasm: str, hardware: BraketLocal, *, shots: int | None = None, seed: int | None = None
    ) -> None:
        """Check the circuit against the hardware.

        Args:
            openqasm: the circuit as the exporter writes it.
            hardware: which simulator, its limits and its noise.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable; without effect on an exact run.

        Raises:
            BundleError: the text is not a circuit as the exporter writes it.
            DeviceError: too many qubits, or shots outside the range.
            MissingDependencyError: the Braket SDK is not installed.
        """
        program = ReuploadProgram.from_text(openqasm)
        shot_range = hardware.shots.value
        check_limits(
            hardware.name,
            n_qubits=program.n_qubits,
            max_qubits=hardware.n_qubits.value,
            shots=shots,
            range_=range(shot_range.min, shot_range.max + 1),
        )
        super().__init__(hardware.name, _accuracy(hardware, shots), program.n_qubits)
        self._program = program if hardware.noise is None else program.with_noise(hardware.noise)
        self._shots = shots
        if shots is not None and seed is not None and program.n_qubits > MAX_TABLE_QUBITS:
            raise DeviceError(
                f"seeded shots take at most {MAX_TABLE_QUBITS} qubits on {hardware.name}, got {program.n_qubits}. "
                "Leave `seed` out."
            )
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._make_program: Any = import_extra("braket.ir.openqasm").Program
        self._simulator: Any = import_extra("braket.devices").LocalSimulator(hardware.simulator)

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        self._program.check_unused(angles)
        rows = []
        for sample in angles:
            rows.append(self._run_one(self._program.bind(sample)))
            self._count(1, self._shots)
        return np.stack(rows)

    def _run_one(self, inputs: dict[str, float]) -> NDArray[np.float64]:
        if self._shots is None:
            if self.n_qubits > MAX_TABLE_QUBITS:
                values = self._result(self._program.with_expectations(), inputs, 0).values
                return np.array(values, dtype=np.float64)
            return _table_to_expectations(self._probabilities(inputs), self.n_qubits)
        if self._rng is None:
            return columns_to_expectations(self._result(self._program.source, inputs, self._shots), self.n_qubits)
        counts = self._rng.multinomial(self._shots, self._probabilities(inputs))
        return _table_to_expectations(counts / self._shots, self.n_qubits)

    def _probabilities(self, inputs: dict[str, float]) -> NDArray[np.float64]:
        table = self._result(self._program.with_probabilities(), inputs, 0).values[0]
        # Rounding leaves -1e-17 here and there, and a sum that is not quite 1.
        clipped = np.clip(np.asarray(table, dtype=np.float64), 0, None)
        return np.asarray(clipped / clipped.sum())

    def _result(self, source: str, inputs: dict[str, float], shots: int) -> Any:
        with warnings.catch_warnings():
            # a density matrix without noise is what was asked for
            warnings.filterwarnings("ignore", message="You are running a noise-free circuit", category=UserWarning)
            return self._simulator.run(self._make_program(source=source, inputs=inputs), shots=shots).result()


def columns_to_expectations(result: Any, n_qubits: int) -> NDArray[np.float64]:
    """Return <Z> per qubit from a Braket result's measurements (shots, measured qubits).

    Columns are found by ``measured_qubits``, for their order is the service's choice.

    Raises:
        ValueError: a qubit was not measured.
    """
    measured = [int(qubit) for qubit in result.measured_qubits]
    columns = [measured.index(qubit) for qubit in range(n_qubits)]
    ones = np.asarray(result.measurements, dtype=np.float64)[:, columns].mean(axis=0)
    return np.asarray(1.0 - 2.0 * ones)


def _table_to_expectations(table: NDArray[np.float64], n_qubits: int) -> NDArray[np.float64]:
    """Return <Z> per qubit from the probabilities (2^n,) of the basis states, qubit 0 the first bit."""
    cube = table.reshape((2,) * n_qubits)
    values = []
    for qubit in range(n_qubits):
        zero, one = cube.sum(axis=tuple(axis for axis in range(n_qubits) if axis != qubit))
        values.append(zero - one)
    return np.array(values)


def _accuracy(hardware: BraketLocal, shots: int | None) -> Accuracy:
    if hardware.noise is not None:
        return "noisy"
    return "exact" if shots is None else "sampled"
