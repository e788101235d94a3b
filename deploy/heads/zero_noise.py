"""Zero-noise extrapolation: the circuit with more and more CZ noise, and <Z> extrapolated back to none, by mitiq.

Each CZ becomes 1, 3 or 5 CZ gates, the same circuit with 1, 3 or 5 times its noise (local unitary folding,
Giurgica-Tiron et al., arXiv 2005.10921). Only the noise of CZ gates is scaled and removed: that of one-qubit gates and
of the readout stays. Both of mitiq's factories used here are linear in the measured values: <Z> at zero noise is
one weighted sum of the <Z> at each scale, and its shot noise the root of the sum of the squared weights, which is
what the better mean costs: see ``noise_gain``.

A quantum processor on Amazon Braket would not run it: the service's compiler removes pairs of CZ gates as the
identity that they are, unless the program is a verbatim box in the device's own gates and qubits (mitiq's
documentation, example of a mirror circuit on Braket: verbatim compiling is necessary for extrapolation).
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import HeadBackend, HeadReport
from sqdr.deploy.heads.base import check_folds
from sqdr.deploy.heads.wrapper import HeadWrapper
from sqdr.errors import ConfigError
from sqdr.plugins import missing

__all__ = ["Extrapolation", "ZeroNoiseHead", "ZeroNoiseReport", "extrapolation_weights"]

Extrapolation = Literal["linear", "richardson"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ZeroNoiseReport:
    """What extrapolation did and cost so far.

    Args:
        folds: CZ gates for each.
        weights: of <Z> at each.
        noise_gain: shot noise over that of one run with the same shots.
        extra: circuits, shots and cost beyond those without folding.
        mean_shift: mean distance by which <Z> was moved.
    """

    folds: tuple[int, ...]
    weights: tuple[float, ...]
    noise_gain: float
    extra: HeadReport
    mean_shift: float


class ZeroNoiseHead(HeadWrapper):
    """Heads with the same circuit and more and more CZ gates, as one head."""

    def __init__(self, heads: Mapping[int, HeadBackend], method: Extrapolation = "linear") -> None:
        """Join the heads.

        Args:
            heads: by how many CZ gates stand for each (``cz_folds`` of `sqdr.deploy.heads.open_head`); 1 and at
                least one more.
            method: ``linear``, a straight line through all; ``richardson``, the polynomial through all, which takes
                out more of the noise and adds more of the shots'.

        Raises:
            ConfigError: fewer than two scales, without 1, or there is no such method; or a head is paid or
                hardware, whose compiler would undo the folding.
            MissingDependencyError: mitiq is not installed.
        """
        folds = tuple(sorted(map(check_folds, heads)))
        if len(folds) < 2 or folds[0] != 1:
            raise ConfigError(f"zero-noise extrapolation needs 1 and more `cz_folds`, such as 1 and 3, got {folds}.")
        for head in heads.values():
            if head.is_paid or head.accuracy == "hardware":
                raise ConfigError(
                    f"zero-noise extrapolation does not work on '{head.name}': the service's compiler removes pairs of "
                    "CZ gates unless they are verbatim in native gates. Use a noisy simulator such as local_dm."
                )
        super().__init__(heads[1], f"{heads[1].name} (zero noise, {method})", heads[1].accuracy)
        self._heads = [heads[fold] for fold in folds]
        self._folds, self._weights = folds, extrapolation_weights(folds, method)
        self._shift, self._n_values = 0.0, 0

    def expectations(self, angles: Floats) -> Floats:
        """Return extrapolated <Z> (N, n_qubits), clipped to [-1, 1]; see `sqdr.backends.HeadBackend`."""
        measured = np.stack([head.expectations(angles) for head in self._heads])
        found: Floats = np.clip(np.tensordot(self._weights, measured, axes=1), -1, 1)
        self._shift += float(np.abs(found - measured[0]).sum())
        self._n_values += found.size
        return found

    def report(self) -> HeadReport:
        """Return circuits, shots and cost over all scales."""
        return _total([head.report() for head in self._heads])

    def zero_noise_report(self) -> ZeroNoiseReport:
        """Return what extrapolation did and cost so far."""
        return ZeroNoiseReport(
            folds=self._folds,
            weights=tuple(map(float, self._weights)),
            noise_gain=float(np.linalg.norm(self._weights)),
            extra=_total([head.report() for head in self._heads[1:]]),
            mean_shift=self._shift / max(1, self._n_values),
        )

    def close(self) -> None:
        """Close all heads; safe to call twice."""
        with contextlib.ExitStack() as stack:
            for head in self._heads:
                stack.callback(head.close)

    def __enter__(self) -> "ZeroNoiseHead":
        """Start all heads."""
        with contextlib.ExitStack() as stack:
            for head in self._heads:
                stack.enter_context(head)
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all heads, whatever happened inside."""
        self.close()


def extrapolation_weights(folds: Sequence[int], method: Extrapolation) -> Floats:
    """Return mitiq's weight of the value at each noise scale, (len(folds),): what it extrapolates unit vectors to.

    Raises:
        ConfigError: there is no such method.
        MissingDependencyError: mitiq is not installed.
    """
    if method not in get_args(Extrapolation):
        raise ConfigError(f"`method` must be one of {', '.join(get_args(Extrapolation))}, got {method!r}.")
    try:
        from mitiq.zne.inference import LinearFactory, RichardsonFactory
    except ImportError as error:
        raise missing(error, "zero-noise extrapolation") from error
    extrapolate = {"linear": LinearFactory, "richardson": RichardsonFactory}[method].extrapolate
    scales = [float(fold) for fold in folds]
    return np.array([float(extrapolate(scales, list(unit))) for unit in np.eye(len(scales))])


def _total(reports: Sequence[HeadReport]) -> HeadReport:
    costs = [report.cost_usd for report in reports]
    known = [cost for cost in costs if cost is not None]
    return HeadReport(
        n_circuits=sum(report.n_circuits for report in reports),
        n_shots=sum(report.n_shots for report in reports),
        cost_usd=sum(known[1:], known[0]) if len(known) == len(costs) else None,
    )
