"""Braket's simulators on this machine, through the Braket SDK."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import Accuracy, ShotCounts
from sqdr.deploy.heads.base import HeadBase, check_angles, check_folds, check_limits, import_extra
from sqdr.deploy.heads.drawing import check_bits, draw, tally
from sqdr.deploy.heads.openqasm import ReuploadProgram, preparation
from sqdr.errors import DeviceError
from sqdr.hw_configs import BraketLocal

__all__ = ["BraketLocalHead", "columns_to_expectations", "measured_bits"]

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
        self,
        openqasm: str,
        hardware: BraketLocal,
        *,
        shots: int | None = None,
        seed: int | None = None,
        cz_folds: int = 1,
    ) -> None:
        """Check the circuit against the hardware.

        Args:
            openqasm: the circuit as the exporter writes it.
            hardware: which simulator, its limits and its noise.
            shots: shots of each circuit; None for exact expectations.
            seed: makes the shots repeatable; without effect on an exact run.
            cz_folds: CZ gates that stand for each, odd: more noise in the same circuit
                (`sqdr.deploy.heads.zero_noise`).

        Raises:
            BundleError: the text is not a circuit as the exporter writes it.
            DeviceError: too many qubits, or shots outside the range.
            MissingDependencyError: the Braket SDK is not installed.
        """
        program = ReuploadProgram.from_text(openqasm)
        super().__init__(hardware.name, _accuracy(hardware, shots), program.n_qubits)
        self._hardware, self._shots = hardware, shots
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._check_shots(shots)
        self._program = self._noisy(program.with_folded_cz(check_folds(cz_folds)))
        self._make_program: Any = import_extra("braket.ir.openqasm").Program
        self._simulator: Any = import_extra("braket.devices").LocalSimulator(hardware.simulator)

    def _check_shots(self, shots: int | None) -> None:
        range_ = range(self._hardware.shots.value.min, self._hardware.shots.value.max + 1)
        max_qubits = self._hardware.n_qubits.value
        check_limits(self.name, n_qubits=self.n_qubits, max_qubits=max_qubits, shots=shots, range_=range_)
        if shots is not None and self._rng is not None and self.n_qubits > MAX_TABLE_QUBITS:
            raise DeviceError(
                f"seeded shots take at most {MAX_TABLE_QUBITS} qubits on {self.name}, got {self.n_qubits}. "
                "Leave `seed` out."
            )

    def _noisy(self, program: ReuploadProgram) -> ReuploadProgram:
        return program if self._hardware.noise is None else program.with_noise(self._hardware.noise)

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        self._program.check_unused(angles)
        if self._shots is not None:
            return self._counted([(self._program, self._program.bind(row)) for row in angles], self._shots).expectations
        rows = []
        for row in angles:
            rows.append(self._exact(self._program.bind(row)))
            self._count(1, None)
        return np.stack(rows)

    def sample(self, angles: NDArray[np.float64], shots: int, part: int = 0) -> ShotCounts:
        """Draw shots, each time further ones; see `sqdr.backends.SamplingHead`."""
        checked = check_angles(angles, self.n_qubits)
        self._check_shots(shots)
        self._program.check_unused(checked)
        return self._counted([(self._program, self._program.bind(row)) for row in checked], shots)

    def prepare(self, bits: NDArray[np.int64], shots: int) -> ShotCounts:
        """Turn the 1 bits over, by one noisy gate each, and measure; see `sqdr.backends.PreparingHead`."""
        checked = check_bits(bits, self.n_qubits)
        self._check_shots(shots)
        programs = [self._noisy(preparation(row.tolist())) for row in checked]
        # The simulator leaves out a qubit without a gate; this one, behind the noise, has none.
        idle = "".join(f"i q[{qubit}];\n" for qubit in range(self.n_qubits))
        return self._counted([(replace(program, source=program.source + idle), {}) for program in programs], shots)

    def _counted(self, runs: list[tuple[ReuploadProgram, dict[str, float]]], shots: int) -> ShotCounts:
        parts = [ShotCounts.empty(0, self.n_qubits)]
        for program, inputs in runs:
            parts.append(self._drawn(program, inputs, shots))
            self._count(1, shots)
        return ShotCounts.concatenate(parts)

    def _exact(self, inputs: dict[str, float]) -> NDArray[np.float64]:
        if self.n_qubits > MAX_TABLE_QUBITS:
            values = self._result(self._program.with_expectations(), inputs, 0).values
            return np.array(values, dtype=np.float64)
        return _table_to_expectations(self._probabilities(self._program, inputs), self.n_qubits)

    def _drawn(self, program: ReuploadProgram, inputs: dict[str, float], shots: int) -> ShotCounts:
        if self._rng is None:
            result = self._result(program.source, inputs, shots)
            return ShotCounts.from_measurements(measured_bits(result, self.n_qubits))
        table = self._probabilities(program, inputs)
        return tally(draw(self._rng, table[None], shots), self.n_qubits)

    def _probabilities(self, program: ReuploadProgram, inputs: dict[str, float]) -> NDArray[np.float64]:
        table = self._result(program.with_probabilities(), inputs, 0).values[0]
        # Rounding leaves -1e-17 here and there, and a sum that is not quite 1.
        clipped = np.clip(np.asarray(table, dtype=np.float64), 0, None)
        return np.asarray(clipped / clipped.sum())

    def _result(self, source: str, inputs: dict[str, float], shots: int) -> Any:
        with warnings.catch_warnings():
            # a density matrix without noise is what was asked for
            warnings.filterwarnings("ignore", message="You are running a noise-free circuit", category=UserWarning)
            return self._simulator.run(self._make_program(source=source, inputs=inputs), shots=shots).result()


def measured_bits(result: Any, n_qubits: int) -> NDArray[np.int64]:
    """Return the single shots (shots, n_qubits) of 0 and 1 of a Braket result.

    Columns are found by ``measured_qubits``, for their order is the service's choice.

    Raises:
        ValueError: a qubit was not measured.
    """
    measured = [int(qubit) for qubit in result.measured_qubits]
    columns = [measured.index(qubit) for qubit in range(n_qubits)]
    return np.asarray(result.measurements, dtype=np.int64)[:, columns]


def columns_to_expectations(result: Any, n_qubits: int) -> NDArray[np.float64]:
    """Return <Z> per qubit from a Braket result's measurements.

    Raises:
        ValueError: a qubit was not measured.
    """
    return np.asarray(1.0 - 2.0 * measured_bits(result, n_qubits).mean(axis=0))


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
