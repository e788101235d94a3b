"""The exported circuit as OpenQASM 3 text: bind its inputs, and add what a run asks for.

Only text is handled here, so that nothing is parsed twice. The exporter writes named inputs
``x_{qubit}_{k}`` (k-th angle of ``Rot`` on that qubit), one register ``q``, the gates, and neither
measurement nor pragma. Angles that the circuit does not use have no input.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError, DataError
from sqdr.hw_configs import GateNoise, NoiseModel

__all__ = ["ReuploadProgram"]

REGISTER = re.compile(r"\bqubit\s*\[\s*(\d+)\s*\]\s*q\s*;")
INPUT = re.compile(r"\binput\s+float(?:\s*\[\s*64\s*\])?\s+(\w+)\s*;")
INPUT_NAME = re.compile(r"x_(\d+)_([012])")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# rz(0.5) q[0];  cz q[0], q[1];
GATE = re.compile(r"\b[a-z]\w*\s*(?:\([^;]*\))?\s+(q\s*\[\s*\d+\s*\](?:\s*,\s*q\s*\[\s*\d+\s*\])*)\s*;")
QUBIT = re.compile(r"\[\s*(\d+)\s*\]")
NOT_HERE = re.compile(r"\bmeasure\b|#\s*pragma|\bbit\b")


@dataclass(frozen=True)
class ReuploadProgram:
    """The circuit of a bundle, as text.

    Args:
        source: OpenQASM 3 without measurement.
        n_qubits: the size of register ``q``.
        inputs: (name, qubit, k) of each input, in the order of the text.
    """

    source: str
    n_qubits: int
    inputs: tuple[tuple[str, int, int], ...]

    @classmethod
    def from_text(cls, openqasm: str) -> "ReuploadProgram":
        """Return the program of an exported circuit.

        Raises:
            BundleError: the text is not a circuit as the exporter writes it.
        """
        text = COMMENT.sub("", openqasm)
        registers = REGISTER.findall(text)
        if len(registers) != 1 or int(registers[0]) < 1:
            raise BundleError("circuit.qasm must declare one register `qubit[n] q;`. Export the bundle again.")
        if NOT_HERE.search(text):
            raise BundleError("circuit.qasm must hold no measurement and no pragma. Export the bundle again.")
        n_qubits = int(registers[0])
        inputs = tuple(cls._input(name, n_qubits) for name in INPUT.findall(text))
        return cls(source=text.strip() + "\n", n_qubits=n_qubits, inputs=inputs)

    @staticmethod
    def _input(name: str, n_qubits: int) -> tuple[str, int, int]:
        match = INPUT_NAME.fullmatch(name)
        if match is None or int(match[1]) >= n_qubits:
            raise BundleError(
                f"circuit.qasm: input `{name}` must be x_<qubit>_<0, 1 or 2> with qubit below {n_qubits}. "
                "Export the bundle again."
            )
        return name, int(match[1]), int(match[2])

    def check_unused(self, angles: NDArray[np.float64]) -> None:
        """Check that every angle without an input is 0, for it would be dropped in silence.

        Raises:
            DataError: one is not.
        """
        is_unused = np.ones((self.n_qubits, 3), dtype=bool)
        for _, qubit, k in self.inputs:
            is_unused[qubit, k] = False
        wrong = np.argwhere((angles != 0) & is_unused)
        if len(wrong):
            sample, qubit, k = wrong[0]
            raise DataError(
                f"`angles` must be 0 where the circuit has no input, got {angles[sample, qubit, k]} at "
                f"[{sample}, {qubit}, {k}]. Put one feature a qubit into angle 1."
            )

    def bind(self, angles: NDArray[np.float64]) -> dict[str, float]:
        """Return the inputs of one sample, from its angles (n_qubits, 3) in radians."""
        return {name: float(angles[qubit, k]) for name, qubit, k in self.inputs}

    def with_expectations(self) -> str:
        """Return the text that asks for the exact <Z> of every qubit, in order."""
        lines = (f"#pragma braket result expectation z(q[{qubit}])\n" for qubit in range(self.n_qubits))
        return self.source + "".join(lines)

    def with_probabilities(self) -> str:
        """Return the text that asks for every basis state's probability; qubit 0 is the first bit."""
        return self.source + "#pragma braket result probability all\n"

    def with_measurements(self) -> str:
        """Return the text that measures qubit i into bit i."""
        lines = (f"b[{qubit}] = measure q[{qubit}];\n" for qubit in range(self.n_qubits))
        return f"{self.source}bit[{self.n_qubits}] b;\n" + "".join(lines)

    def with_noise(self, noise: NoiseModel) -> "ReuploadProgram":
        """Return the program with one-qubit channels after every gate.

        After each gate, on each qubit that it acts on: bit flip, then depolarizing, then amplitude
        damping; the probabilities are those of one-qubit or of two-qubit gates. A channel with
        probability 0 is left out. Equal to ``braket.circuits.noise_model.NoiseModel`` with
        ``GateCriteria`` (a test holds it so), without a second parse of the circuit.
        """

        def add(match: re.Match[str]) -> str:
            qubits = QUBIT.findall(match[1])
            rates = noise.one_qubit_gate if len(qubits) == 1 else noise.two_qubit_gate
            return match[0] + "".join(_channels(rates, qubit) for qubit in qubits) + "\n"

        head, register, gates = self.source.partition(REGISTER.search(self.source)[0])  # type: ignore[index]
        return ReuploadProgram(head + register + GATE.sub(add, gates), self.n_qubits, self.inputs)


def _channels(rates: GateNoise, qubit: str) -> str:
    named = (
        ("bit_flip", rates.bit_flip),
        ("depolarizing", rates.depolarizing),
        ("amplitude_damping", rates.amplitude_damping),
    )
    return "".join(f"\n#pragma braket noise {name}({rate!r}) q[{qubit}]" for name, rate in named if rate > 0)
