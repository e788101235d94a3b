"""An encoder backend without a network: instant, repeatable, and told when to fail."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.coding import check_spikes, encode_images
from sqdr.deploy.fakes.script import FakeScript

__all__ = ["FakeEncoder"]


class FakeEncoder:
    """An `EncoderBackend` whose feature f spikes at step t if the input values p = f (mod F) add to an odd sum.

    So every spike of a sample counts, and no sample depends on another. Samples that it ``knows`` are
    answered as told instead: with a bundle's golden samples it passes for that bundle's encoder.

    Args:
        input_shape: (C, H, W) of a sample.
        n_features: F.
        n_steps: T.
        knows: the bytes of a coded sample (C, H, W, T) to its output spikes (F, T).
        script: delays, errors and the record of calls.
    """

    name = "fake"

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        n_features: int,
        n_steps: int,
        *,
        knows: Mapping[bytes, NDArray[np.uint8]] | None = None,
        script: FakeScript | None = None,
    ) -> None:
        self.script = script or FakeScript()
        self._sample_shape = (*input_shape, n_steps)
        self._n_features = n_features
        self._knows = dict(knows or {})

    @classmethod
    def from_bundle(cls, bundle: Any, *, script: FakeScript | None = None) -> "FakeEncoder":
        """Return a fake with the shapes of an opened `sqdr.bundle.Bundle` that knows its golden samples."""
        model, golden = bundle.manifest.model, bundle.golden()
        coded = encode_images(golden.images, model.coding)
        knows = {sample.tobytes(): trains for sample, trains in zip(coded, golden.spike_trains, strict=True)}
        return cls(
            model.encoder.input_shape, model.encoder.n_features, model.coding.n_steps, knows=knows, script=script
        )

    def encode(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return spike counts (N, F).

        Args:
            spikes: (N, C, H, W, T) uint8.

        Raises:
            ShapeError: another shape or type.
            BackendError: not started, or closed.
            BaseException: the script's own error.
        """
        counts: NDArray[np.int64] = self._answer("encode", spikes).sum(axis=-1, dtype=np.int64)
        return counts

    def spike_trains(self, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return output spikes (N, F, T); raises as `encode`."""
        return self._answer("spike_trains", spikes)

    def close(self) -> None:
        """Refuse further calls; safe to call twice."""
        self.script.stop()

    def __enter__(self) -> "FakeEncoder":
        """Start, or start again."""
        self.script.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened inside."""
        self.close()

    def _answer(self, method: str, spikes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        check_spikes(spikes, self._sample_shape[:-1], self._sample_shape[-1], None)
        self.script.play(self.name, method, len(spikes))
        trains = np.zeros((len(spikes), self._n_features, self._sample_shape[-1]), dtype=np.uint8)
        for sample, out in zip(spikes, trains, strict=True):
            known = self._knows.get(sample.tobytes())
            out[...] = self._rule(sample) if known is None else known
        return trains

    def _rule(self, sample: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = sample.reshape(-1, sample.shape[-1])  # (C, H, W, T) -> (C H W, T)
        sums = [values[f :: self._n_features].sum(axis=0, dtype=np.int64) for f in range(self._n_features)]
        return np.asarray(np.stack(sums) % 2, dtype=np.uint8)
