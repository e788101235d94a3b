"""Readout-error mitigation: what each qubit's readout gets wrong, measured, and taken back out of <Z>.

Two calibration circuits prepare all qubits as 0 and all as 1. With p and q the rates at which a qubit's 0 is read
as 1 and its 1 as 0, the measured <Z>' of independent readouts is linear in the true one and so is its inverse,

    <Z>' = (1 - p - q) <Z> + q - p,        <Z> = (<Z>' - q + p) / (1 - p - q).

The inverse makes the shot noise larger by 1 / (1 - p - q). Limits: the bits are prepared by a gate, whose own error
goes into q; readouts that err together (crosstalk) are not undone; and the calibration holds for the qubits that it
ran on and for a while. On a quantum processor the service's compiler places each circuit by itself: the calibration
circuits may be measured on other qubits than the images' circuits, unless they are placed by hand.
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, PreparingHead, ShotCounts
from sqdr.deploy.heads.adaptive import AdaptiveHead
from sqdr.deploy.heads.base import check_shots
from sqdr.deploy.heads.wrapper import HeadWrapper
from sqdr.errors import ConfigError, DeviceError

__all__ = ["ReadoutCalibration", "ReadoutMitigatedHead", "ReadoutMitigationReport"]

CALIBRATION_SHOTS = 1000
# Below this a readout says next to nothing, and its inverse makes noise ten times as large.
MIN_CONTRAST = 0.1

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReadoutCalibration:
    """Rates of wrong readouts.

    Args:
        p1_given_0: (n_qubits,) rate at which a 0 is read as 1.
        p0_given_1: (n_qubits,) rate at which a 1 is read as 0.

    Raises:
        DeviceError: a qubit reads 0 and 1 nearly alike.
    """

    p1_given_0: Floats
    p0_given_1: Floats

    def __post_init__(self) -> None:
        worst = int(self._contrast.argmin())
        if not self._contrast[worst] >= MIN_CONTRAST:
            raise DeviceError(
                f"qubit {worst} is read as 1 at a rate of {self.p1_given_0[worst]:.3f} when it is 0 and as 0 at "
                f"{self.p0_given_1[worst]:.3f} when it is 1: nothing to correct from. Choose another device."
            )

    @classmethod
    def from_counts(cls, counts: ShotCounts) -> "ReadoutCalibration":
        """Return the calibration for what the circuits prepared as all 0 and as all 1 measured."""
        rates = counts.ones / counts.shots[:, None]
        return cls(p1_given_0=rates[0], p0_given_1=1 - rates[1])

    @property
    def _contrast(self) -> Floats:
        return np.asarray(1 - self.p1_given_0 - self.p0_given_1)

    def corrected(self, expectations: Floats) -> Floats:
        """Return <Z> (N, n_qubits) without the readout's mistakes; shot noise may leave [-1, 1]."""
        return np.asarray((expectations - self.p0_given_1 + self.p1_given_0) / self._contrast)

    def corrected_readout(self, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return weight (K, n_qubits) and bias (K,) that give the corrected logits from measured <Z>."""
        scaled = weight / self._contrast
        return scaled, bias + scaled @ (self.p1_given_0 - self.p0_given_1)


@dataclass(frozen=True, kw_only=True)
class ReadoutMitigationReport:
    """What mitigation did and cost so far.

    Args:
        n_circuits: extra circuits, of the calibration.
        n_shots: their shots.
        cost_usd: what they cost; None if unknown.
        mean_shift: mean distance by which <Z> was moved.
        calibration: None before the first image.
    """

    n_circuits: int
    n_shots: int
    cost_usd: Decimal | None
    mean_shift: float
    calibration: ReadoutCalibration | None


class ReadoutMitigatedHead(HeadWrapper):
    """A head whose <Z> are corrected; calibrated once, when the first images come."""

    def __init__(self, inner: HeadBackend, device: HeadBackend, *, shots: int = CALIBRATION_SHOTS) -> None:
        """Wrap a head.

        Args:
            inner: gives the <Z> to correct. Adaptive shots then decide by corrected logits.
            device: what the images' circuits run on, usually the head that ``inner`` wraps, or itself.
            shots: of each of the two calibration circuits.

        Raises:
            ConfigError: the device cannot prepare bits.
            DeviceError: the shots are not a positive integer.
        """
        if not isinstance(device, PreparingHead):
            raise ConfigError(f"readout mitigation needs a device that can prepare bits, got '{device.name}'.")
        check_shots(shots)
        super().__init__(inner, f"{inner.name} (readout mitigated)", inner.accuracy)
        self._device, self._calibration_shots = device, shots
        self._calibration: ReadoutCalibration | None = None
        self._cost_usd: Decimal | None = Decimal(0)
        self._shift, self._n_values = 0.0, 0

    def expectations(self, angles: Floats) -> Floats:
        """Return corrected <Z> (N, n_qubits), clipped to [-1, 1]; see `sqdr.backends.HeadBackend`."""
        if self._calibration is None:
            self._calibration = self._calibrate()
        measured = self._inner.expectations(angles)
        found = np.clip(self._calibration.corrected(measured), -1, 1)
        self._shift += float(np.abs(found - measured).sum())
        self._n_values += found.size
        return found

    def _calibrate(self) -> ReadoutCalibration:
        before = self._device.report().cost_usd
        bits = np.repeat([[0], [1]], self._device.n_qubits, axis=1)
        calibration = ReadoutCalibration.from_counts(self._device.prepare(bits, self._calibration_shots))
        after = self._device.report().cost_usd
        self._cost_usd = None if before is None or after is None else after - before
        if isinstance(self._inner, AdaptiveHead):
            self._inner.use_readout(calibration.corrected_readout)
        return calibration

    def mitigation_report(self) -> ReadoutMitigationReport:
        """Return what mitigation did and cost so far."""
        n_circuits = 0 if self._calibration is None else 2
        return ReadoutMitigationReport(
            n_circuits=n_circuits,
            n_shots=n_circuits * self._calibration_shots,
            cost_usd=self._cost_usd,
            mean_shift=self._shift / max(1, self._n_values),
            calibration=self._calibration,
        )
