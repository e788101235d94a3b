"""One bundle on every hardware that was named: the encoder on chips, the circuit on quantum devices."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sqdr.bundle import Bundle
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.error_budget.samples import read_images, read_samples
from sqdr.deploy.fit.activity import measure_activity
from sqdr.deploy.fit.neuromorphic import fit_encoder
from sqdr.deploy.fit.quantum import fit_circuit
from sqdr.deploy.fit.report import FitReport, NeuromorphicFit, QuantumFit
from sqdr.deploy.fit.shots import find_shots
from sqdr.errors import ConfigError
from sqdr.hw_configs import HardwareConfig, Loihi2, load_hardware

__all__ = ["fit_bundle"]

# Activity settles to a few percent within these; each takes some 10 ms of a 28x28 image.
DEFAULT_LIMIT = 256
GOLDEN = "golden images in the bundle"

Progress = Callable[[int, int], None]


def fit_bundle(
    bundle: str | Path,
    hardware: Sequence[str],
    *,
    source: str | None = None,
    limit: int | None = None,
    agreement: float = 0.99,
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> FitReport:
    """Return whether a bundle fits, with every violation, on all hardware at once. Needs no network.

    Args:
        bundle: folder or ``.sqdr`` file.
        hardware: names or paths of hardware files, chips and quantum devices in any order.
        source: images to measure activity and shots on, see `sqdr.deploy.inputs.read_input`. None takes what the
            bundle holds: its golden images for the activity, its validation samples for the shots.
        limit: only the first images of ``source``; 256 by default.
        agreement: share of images that are to keep the class of the exact expectations.
        data_root: where data sets are.
        progress: told (done, all) of the images whose activity is measured.

    Raises:
        ConfigError: no hardware, a file that breaks a rule, or a number out of range.
        DeviceError: there is no such hardware.
        DataError: no such images.
        BundleError: the bundle cannot be read.
    """
    if not hardware:
        raise ConfigError("`hardware` must name at least one file. Pass for example --hw loihi2_oheo_gulch.")
    if not 0 < agreement < 1:
        raise ConfigError(f"`agreement` must be between 0 and 1, got {agreement!r}. Pass for example 0.99.")
    if limit is not None and source is None:
        raise ConfigError("`limit` counts images of `source`, and none is named. Pass for example --input digits:test.")
    found: list[HardwareConfig] = [load_hardware(name) for name in hardware]
    most = DEFAULT_LIMIT if limit is None else limit
    with Bundle.open(bundle) as opened, IntegerEncoder.from_bundle(opened) as encoder:
        chips = [each for each in found if isinstance(each, Loihi2)]
        return FitReport(
            bundle=str(bundle),
            neuromorphic=_on_chips(opened, encoder, chips, source, most, data_root, progress) if chips else (),
            quantum=_on_devices(opened, encoder, found, source, most, agreement, data_root),
        )


def _on_chips(
    bundle: Bundle,
    encoder: IntegerEncoder,
    chips: Sequence[Loihi2],
    source: str | None,
    limit: int,
    data_root: Path | None,
    progress: Progress | None,
) -> tuple[NeuromorphicFit, ...]:
    images = bundle.golden().images if source is None else read_images(bundle, source, limit, data_root).images
    model = bundle.manifest.model
    activity = measure_activity(encoder, images, model.coding, progress)
    return tuple(fit_encoder(encoder.layers, activity, model, chip, source or GOLDEN) for chip in chips)


def _on_devices(
    bundle: Bundle,
    encoder: IntegerEncoder,
    hardware: Sequence[HardwareConfig],
    source: str | None,
    limit: int,
    agreement: float,
    data_root: Path | None,
) -> tuple[QuantumFit, ...]:
    devices = [each for each in hardware if not isinstance(each, Loihi2)]
    if not devices:
        return ()
    # without a source all of the bundle's samples are at hand, already counted
    samples = read_samples(bundle, encoder, source, limit if source is not None else None, data_root)
    model = bundle.manifest.model
    target = find_shots(samples, model, bundle.head_parameters(), agreement)
    return tuple(fit_circuit(model.head, device, target) for device in devices)
