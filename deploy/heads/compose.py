"""Put the heads that save shots and correct noise around the head of a device, in the one order that fits.

device -> zero-noise extrapolation -> adaptive shots -> readout mitigation -> routing
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from sqdr.backends import HeadBackend, SamplingHead
from sqdr.deploy.heads.adaptive import ERROR_RATE, AdaptiveHead
from sqdr.deploy.heads.readout_mitigation import CALIBRATION_SHOTS, ReadoutMitigatedHead
from sqdr.deploy.heads.routed import RoutedHead
from sqdr.deploy.heads.zero_noise import Extrapolation, ZeroNoiseHead
from sqdr.errors import ConfigError
from sqdr.head import HeadParameters, readout_matrix
from sqdr.specification import HeadSpec

__all__ = ["ComposedHead", "Spending", "calibration_shots", "compose"]

FOLDS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """How shots are spent.

    Args:
        is_adaptive: more shots for an image only while its class is undecided, up to ``shots``.
        error_rate: of adaptive shots, see `sqdr.deploy.heads.adaptive`.
        route_margin: images whose two largest exact probabilities differ by at least this stay on the free
            simulator; None sends all.
        route_check: so many certain images are sent as well, to measure what routing loses.
        is_readout_mitigated: correct <Z> by two calibration circuits.
        zero_noise: extrapolate to no CZ noise; None does not.
    """

    is_adaptive: bool = False
    error_rate: float = ERROR_RATE
    route_margin: float | None = None
    route_check: int = 0
    is_readout_mitigated: bool = False
    zero_noise: Extrapolation | None = None

    @property
    def is_predictable(self) -> bool:
        """Whether the number of shots is known before the run."""
        return not self.is_adaptive and self.route_margin is None


@dataclass
class ComposedHead:
    """The head to run, and what its parts say afterwards.

    Args:
        head: the outermost.
        parts: the wrappers, by the name of their report.
        device: what they are around.
    """

    head: HeadBackend
    parts: dict[str, Any] = field(default_factory=dict)
    device: HeadBackend = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.head

    def summary(self) -> dict[str, Any]:
        """Return what each wrapper did and cost, for ``summary.json``; empty without wrappers."""
        made: dict[str, Any] = {}
        for name, part in self.parts.items():
            report = getattr(part, REPORTS[name])()
            made[name] = _plain(asdict(report))
            for extra in ("saved_usd", "agreement_lost"):
                if hasattr(report, extra):
                    made[name][extra] = _plain(getattr(report, extra))
        return made


REPORTS = {
    "zero_noise": "zero_noise_report",
    "adaptive": "adaptive_report",
    "readout_mitigation": "mitigation_report",
    "routing": "routed_report",
}


def compose(
    open_device: Callable[[int], HeadBackend],
    spending: Spending,
    *,
    parameters: HeadParameters,
    spec: HeadSpec,
    shots: int | None,
    open_free: Callable[[], HeadBackend],
    usd_per_image: Decimal | None = None,
    min_shots: int = 1,
) -> ComposedHead:
    """Return the device's head with what was asked for around it. Nothing connects yet.

    Args:
        open_device: makes the device's head for a number of CZ gates that stand for each.
        spending: what was asked for.
        parameters: of the readout.
        spec: of the head.
        shots: of each circuit, or the most of them; None for exact.
        open_free: makes the free exact head that routing asks first.
        usd_per_image: what one image costs where all are sent; None if unknown.
        min_shots: the fewest that the device takes at a time.

    Raises:
        ConfigError: two options do not go together, or the device cannot do one of them.
    """
    device = open_device(1)
    made = ComposedHead(device)
    weight, bias = readout_matrix(parameters, spec)
    if spending.zero_noise is not None:
        if spending.is_adaptive:
            raise ConfigError("adaptive shots and zero-noise extrapolation do not go together. Leave one of them out.")
        heads = {fold: device if fold == 1 else open_device(fold) for fold in FOLDS}
        made.head = made.parts["zero_noise"] = ZeroNoiseHead(heads, spending.zero_noise)
    if spending.is_adaptive:
        if shots is None:
            raise ConfigError("adaptive shots need `shots`, the most that an image may take. Pass for example 1000.")
        if not isinstance(device, SamplingHead):
            raise ConfigError(f"adaptive shots need a device that takes them in rounds, got '{device.name}'.")
        adaptive = AdaptiveHead(
            device, weight=weight, bias=bias, max_shots=shots, error_rate=spending.error_rate, min_shots=min_shots
        )
        made.head = made.parts["adaptive"] = adaptive
    if spending.is_readout_mitigated:
        made.head = made.parts["readout_mitigation"] = ReadoutMitigatedHead(
            made.head, device, shots=calibration_shots(shots)
        )
    if spending.route_margin is not None:
        made.head = made.parts["routing"] = RoutedHead(
            open_free(),
            made.head,
            weight=weight,
            bias=bias,
            margin=spending.route_margin,
            n_check=spending.route_check,
            usd_per_image=usd_per_image,
        )
    elif spending.route_check:
        raise ConfigError("`route_check` needs a `route_margin`. Pass for example 0.5, or leave it out.")
    return made


def calibration_shots(shots: int | None) -> int:
    """Return the shots of each of the two calibration circuits: no more than an image's own."""
    return min(shots or CALIBRATION_SHOTS, CALIBRATION_SHOTS)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Decimal):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value
