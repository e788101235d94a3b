"""The exported circuit as OpenQASM 3 text: bind its inputs, and add what a run asks for.

Only text is handled here, so that nothing is parsed twice. The exporter writes named inputs
``x_{qubit}_{k}`` (k-th angle of ``Rot`` on that qubit), one register ``q``, the gates, and neither
measurement nor pragma. Angles that the circuit does not use have no input.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sqdr.errors import BundleError, DataError
from sqdr.hw_configs import GateNoise, NoiseModel, ReadoutNoise

__all__ = ["ReuploadProgram", "preparation"]

REGISTER = re.compile(r"\bqubit\s*\[\s*(\d+)\s*\]\s*q\s*;")
INPUT = re.compile(r"\binput\s+float(?:\s*\[\s*64\s*\])?\s+(\w+)\s*;")
INPUT_NAME = re.compile(r"x_(\d+)_([012])")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# name, arguments, qubits of: U(0.5, x_0_2, -1e-3) q[0];  ry(x_0_1) q[0];  cz q[0], q[1];
GATE = re.compile(
    r"\b([A-Za-z]\w*)\s*(?:\(([^;]*)\))?\s+(q\s*\[\s*\d+\s*\](?:\s*,\s*q\s*\[\s*\d+\s*\])*)\s*;", re.ASCII
)
LAST_CZ = re.compile(r"cz\s+q\s*\[\s*\d+\s*\]\s*,\s*q\s*\[\s*\d+\s*\]\s*;")
QUBIT = re.compile(r"\[\s*(\d+)\s*\]")
# A name or a number: all that the exporter writes as an argument.
ARGUMENT = re.compile(r"[\w.+-]+", re.ASCII)
NOT_HERE = re.compile(r"\bmeasure\b|#\s*pragma|\bbit\b")
# How many arguments a gate has, and what it is in other gates, first to act first; {0}, {1}, ... are its
# arguments, {q[0]}, {q[1]} its qubits.
# U(theta, phi, lambda) = RZ(phi) RY(theta) RZ(lambda) up to a global phase (OpenQASM 3, "Built-in gates");
# CZ is CNOT with the target seen from the other basis.
SPELLINGS = {
    "U": (3, ("rz({2}) q[{q[0]}];", "ry({0}) q[{q[0]}];", "rz({1}) q[{q[0]}];")),
    "cz": (0, ("h q[{q[1]}];", "cnot q[{q[0]}], q[{q[1]}];", "h q[{q[1]}];")),
}


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

    @property
    def gates(self) -> frozenset[str]:
        """The names of the gates that the program applies."""
        return frozenset(match[1] for match in GATE.finditer(self.source))

    def spelled_for(self, operations: Collection[str]) -> "ReuploadProgram":
        """Return the same circuit in gates that a device takes, changed only where it must be.

        No processor on Braket takes OpenQASM's ``U`` (IonQ's, IQM's, Rigetti's and AQT's lists in the
        Braket developer guide, "Amazon Braket supported devices"), and IonQ's take no ``cz``: ``U``
        becomes rz, ry, rz, and ``cz`` becomes h, cnot, h. The arguments are carried over as they are
        written, so that the text depends on this program and the device's list only.

        Args:
            operations: the gates that the device lists, in any order and case. A gate that it lists
                stays; one that neither is listed nor has another spelling stays too, see ``gates``.

        Raises:
            BundleError: a gate to spell is not written as the exporter writes it.
        """
        listed = {name.lower() for name in operations}

        def spell(match: re.Match[str]) -> str:
            name, arguments = match[1], match[2] or ""
            if name not in SPELLINGS or name.lower() in listed:
                return match[0]
            n_arguments, lines = SPELLINGS[name]
            words = [argument.strip() for argument in arguments.split(",")] if arguments else []
            if len(words) != n_arguments or not all(map(ARGUMENT.fullmatch, words)):
                raise BundleError(
                    f"circuit.qasm: gate `{match[0]}` must have {n_arguments} plain arguments. Export the bundle again."
                )
            return "\n".join(line.format(*words, q=QUBIT.findall(match[3])) for line in lines)

        return ReuploadProgram(GATE.sub(spell, self.source), self.n_qubits, self.inputs)

    def without_last_cz(self) -> "ReuploadProgram":
        """Return the circuit without the ``cz`` gates that end it.

        They are diagonal: no <Z> and no table of counts depends on them, and on a processor they would add
        nothing but their errors. With two blocks that is half of the two-qubit gates.
        """
        lines = self.source.splitlines(keepends=True)
        while lines and (not lines[-1].strip() or LAST_CZ.fullmatch(lines[-1].strip())):
            lines.pop()
        return ReuploadProgram("".join(lines), self.n_qubits, self.inputs)

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
        """Return the program with one-qubit channels after every gate, and wrong readouts at its end.

        After each gate of this text, on each qubit that it acts on: bit flip, phase flip, depolarizing, amplitude
        damping, phase damping, in this order; the probabilities are those of one-qubit or of two-qubit gates. A channel
        with probability 0 is left out. A fused rotation ``U`` is one gate and is followed by noise
        once: an exported circuit has two noisy one-qubit gates per qubit and block, the upload and the
        trained rotation. The same circuit spelled as rz, ry, rz would have noise after each of them.

        Equal to ``braket.circuits.noise_model.NoiseModel`` with ``GateCriteria`` (a test holds it so),
        without a second parse of the circuit.
        """

        def add(match: re.Match[str]) -> str:
            qubits = QUBIT.findall(match[3])
            rates = noise.one_qubit_gate if len(qubits) == 1 else noise.two_qubit_gate
            return match[0] + "".join(_channels(rates, qubit) for qubit in qubits) + "\n"

        head, register, gates = self.source.partition(REGISTER.search(self.source)[0])  # type: ignore[index]
        noisy = GATE.sub(add, gates).rstrip() + "\n"
        return replace(self, source=head + register + noisy + _readout(noise.readout, self.n_qubits))

    def with_folded_cz(self, n_folds: int) -> "ReuploadProgram":
        """Return the program in which an odd number of CZ gates stands for each: the same circuit without noise."""

        def fold(match: re.Match[str]) -> str:
            return "\n".join([match[0]] * n_folds) if match[1] == "cz" else match[0]

        return replace(self, source=GATE.sub(fold, self.source))


def preparation(bits: Sequence[int]) -> ReuploadProgram:
    """Return the program that turns over the qubits whose bit is 1, by one gate ``x`` each."""
    lines = ["OPENQASM 3.0;", f"qubit[{len(bits)}] q;"]
    lines += [f"x q[{qubit}];" for qubit, bit in enumerate(bits) if bit]
    return ReuploadProgram(source="\n".join(lines) + "\n", n_qubits=len(bits), inputs=())


def _channels(rates: GateNoise, qubit: str) -> str:
    # Braket's names are those of the fields, and their order is that of the channels.
    return "".join(f"\n#pragma braket noise {name}({rate!r}) q[{qubit}]" for name, rate in rates if rate > 0)


def _readout(rates: ReadoutNoise, n_qubits: int) -> str:
    """Return the channel that has the wrong readouts for its bit flips, on every qubit; nothing without any.

    Generalized amplitude damping takes 1 to 0 with probability ``gamma * p`` and 0 to 1 with
    ``gamma * (1 - p)``. What it does to phases does not matter right before a measurement.
    """
    gamma = rates.p1_given_0 + rates.p0_given_1
    if gamma == 0:
        return ""
    pragma = f"#pragma braket noise generalized_amplitude_damping({gamma!r}, {rates.p0_given_1 / gamma!r})"
    return "".join(f"{pragma} q[{qubit}]\n" for qubit in range(n_qubits))
