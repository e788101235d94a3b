"""The check that every encoder passes before it serves: the bundle's golden samples, spike for spike."""

from sqdr.backends import EncoderBackend
from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.errors import NotEqualError

__all__ = ["check_golden_spikes"]


def check_golden_spikes(encoder: EncoderBackend, bundle: Bundle) -> None:
    """Refuse an encoder that does not reproduce the trained model's own spikes.

    Raises:
        NotEqualError: a golden spike or count differs.
    """
    golden = bundle.golden()
    spikes = encode_images(golden.images, bundle.manifest.model.coding)
    trains, counts = encoder.spike_trains(spikes), encoder.encode(spikes)
    if trains.shape != golden.spike_trains.shape or counts.shape != golden.counts.shape:
        raise NotEqualError(
            f"encoder '{encoder.name}' gives spikes {trains.shape} and counts {counts.shape}, the trained model "
            f"{golden.spike_trains.shape} and {golden.counts.shape}. Check the backend."
        )
    n_different = int((trains != golden.spike_trains).sum())
    if n_different:
        raise NotEqualError(
            f"encoder '{encoder.name}' differs from the trained model in {n_different} of {trains.size} golden "
            "spikes and will not serve. Run `sqdr verify` to see where."
        )
    if not (counts == golden.counts).all():
        raise NotEqualError(
            f"encoder '{encoder.name}' counts other spikes than the trained model's on golden samples and will not "
            "serve. Check the backend."
        )
