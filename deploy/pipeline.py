"""Split inference: open a bundle with an encoder and a quantum device, and classify images."""

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.backends import EncoderBackend, HeadBackend
from sqdr.bundle import Bundle
from sqdr.coding import check_images, encode_images
from sqdr.deploy.braket.options import BraketOptions
from sqdr.deploy.bridge import Bridge, Passed, StageTimes
from sqdr.deploy.heads.compose import ComposedHead, Spending, compose
from sqdr.deploy.heads.devices import known_hardware, open_head
from sqdr.deploy.heads.statevector import NAME as STATEVECTOR
from sqdr.deploy.plan.cost import usd_per_image
from sqdr.errors import BackendError, ConfigError, NotEqualError
from sqdr.golden_check import check_golden_spikes
from sqdr.head import counts_to_angles, readout
from sqdr.plugins import load_plugin

__all__ = ["Pipeline", "Prediction", "Predictions", "model_id", "open_bundle"]

logger = logging.getLogger(__name__)

# Small enough for results to flow early and for both sides to overlap.
CHUNK_SAMPLES = 16
# Float64 on both sides; Braket's simulator and ours differ by rounding only.
EXACT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Prediction:
    """The result for one image: spike counts (F,), <Z> (n_qubits,), logits (K,) and class."""

    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]
    predicted: int


@dataclass(frozen=True)
class Predictions:
    """The results for N images.

    Args:
        counts: (N, F) spike counts.
        expectations: (N, n_qubits) <Z>.
        logits: (N, K).
        predicted: (N,) class.
        seconds: busy time of each stage.
    """

    counts: NDArray[np.int64]
    expectations: NDArray[np.float64]
    logits: NDArray[np.float64]
    predicted: NDArray[np.int64]
    seconds: StageTimes


class Pipeline:
    """An encoder backend and a head backend joined by the bridge. Use as a context manager.

    Attributes:
        bundle: what is served.
        encoder: the encoder backend.
        head: the head backend, with what saves shots and corrects noise around it.
        device: the head backend inside.
        seconds: busy time of each stage in the last `predict` or `stream`.
    """

    def __init__(self, bundle: Bundle, encoder: EncoderBackend, head: HeadBackend | ComposedHead) -> None:
        self.bundle = bundle
        self.encoder = encoder
        self._composed = head if isinstance(head, ComposedHead) else ComposedHead(head)
        self.head = self._composed.head
        self.device = self._composed.device
        self.seconds = StageTimes()
        self._parameters = bundle.head_parameters()
        self._stack = contextlib.ExitStack()
        self._is_open = False

    def __enter__(self) -> "Pipeline":
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.bundle)
            logger.info("starting encoder %s", self.encoder.name)
            stack.enter_context(self.encoder)
            logger.info("starting device %s", self.head.name)
            stack.enter_context(self.head)
            self._check_golden()
            logger.info("the golden samples come out as they should")
            self._stack = stack.pop_all()
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._stack.__exit__(kind, value, trace)

    def close(self) -> None:
        """End both backends; safe to call twice."""
        self._is_open = False
        self._stack.close()

    def spending_summary(self) -> dict[str, Any]:
        """Return what adaptive shots, routing and mitigation did and cost, by name; empty without them."""
        return self._composed.summary()

    @property
    def takes_all_at_once(self) -> bool:
        """Whether the head is given all spike counts together, to pack their circuits into few tasks."""
        return self.head.is_paid

    def predict(
        self,
        images: NDArray[np.uint8],
        *,
        sample_ids: Sequence[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Predictions:
        """Classify images.

        Args:
            images: (N, C, H, W) uint8, or (N, H, W) for one channel.
            sample_ids: names for a journal and its messages.
            progress: told how many images the encoder is through with, of how many.

        Raises:
            ShapeError: not the model's image size or channels.
            DataError: not uint8, or empty.
            BackendError: the pipeline is not open.
        """
        checked = check_images(images, self.bundle.manifest.model.encoder.input_shape)
        chunks = [checked[i : i + CHUNK_SAMPLES] for i in range(0, len(checked), CHUNK_SAMPLES)]
        if self.takes_all_at_once:
            passed = [self._run_at_once(chunks, sample_ids, progress)]
        else:
            passed = []
            for chunk in self._run(iter(chunks)):
                passed.append(chunk)
                if progress is not None:
                    progress(min(len(passed) * CHUNK_SAMPLES, len(checked)), len(checked))
        logits = np.concatenate([chunk.logits for chunk in passed])
        return Predictions(
            counts=np.concatenate([chunk.counts for chunk in passed]),
            expectations=np.concatenate([chunk.expectations for chunk in passed]),
            logits=logits,
            predicted=logits.argmax(axis=1),
            seconds=self.seconds,
        )

    def stream(self, images: Iterable[NDArray[np.uint8]], chunk_samples: int = CHUNK_SAMPLES) -> Iterator[Prediction]:
        """Classify images one after another as they come.

        Args:
            images: each (C, H, W) uint8, or (H, W) for one channel; taken as the encoder is ready.
            chunk_samples: images that the encoder takes at once; 1 gives each result soonest.

        Raises:
            ShapeError: not the model's image size or channels.
            DataError: an image is not uint8.
            BackendError: the pipeline is not open.
        """
        if chunk_samples < 1:
            raise ConfigError(f"`chunk_samples` must be at least 1, got {chunk_samples}.")
        for passed in self._run(self._chunks(images, chunk_samples)):
            for row in zip(passed.counts, passed.expectations, passed.logits, strict=True):
                yield Prediction(*row, predicted=int(row[2].argmax()))

    def _chunks(self, images: Iterable[NDArray[np.uint8]], chunk_samples: int) -> Iterator[NDArray[np.uint8]]:
        shape = self.bundle.manifest.model.encoder.input_shape
        waiting: list[NDArray[np.uint8]] = []
        for image in images:
            waiting.append(check_images(np.asarray(image)[None], shape)[0])
            if len(waiting) == chunk_samples:
                yield np.stack(waiting)
                waiting = []
        if waiting:
            yield np.stack(waiting)

    def _run(self, chunks: Iterable[NDArray[np.uint8]]) -> Iterator[Passed]:
        self._check_open()
        bridge = Bridge(self.encoder, self.head, self.bundle.manifest.model, self._parameters)
        self.seconds = bridge.times
        return bridge.run(chunks)

    def _run_at_once(
        self,
        chunks: Sequence[NDArray[np.uint8]],
        sample_ids: Sequence[str] | None,
        progress: Callable[[int, int], None] | None,
    ) -> Passed:
        """Encode all, then run all circuits."""
        self._check_open()
        spec, times = self.bundle.manifest.model, StageTimes()
        self.seconds, start = times, time.perf_counter()
        encoded, n_images = [], sum(map(len, chunks))
        for chunk in chunks:
            begun = time.perf_counter()
            spikes = encode_images(chunk, spec.coding)
            coded = time.perf_counter()
            encoded.append(self.encoder.encode(spikes))
            times.coding += coded - begun
            times.encoder += time.perf_counter() - coded
            if progress is not None:
                progress(sum(map(len, encoded)), n_images)
        counts = np.concatenate(encoded)
        begun = time.perf_counter()
        angles = counts_to_angles(counts, spec.coding.n_steps, self._parameters.scale_rad, spec.head)
        if sample_ids is not None and hasattr(self.head, "name_samples"):
            self.head.name_samples(angles, sample_ids)
        expectations = self.head.expectations(angles)
        times.head, times.total = time.perf_counter() - begun, time.perf_counter() - start
        return Passed(counts, expectations, readout(expectations, self._parameters, spec.head))

    def _check_open(self) -> None:
        if not self._is_open:  # the golden samples were not checked
            raise BackendError("the pipeline is not open. Use it in a `with` statement.")

    def _check_golden(self) -> None:
        """Refuse to serve if a backend does not reproduce the bundle's golden samples."""
        golden, spec = self.bundle.golden(), self.bundle.manifest.model
        check_golden_spikes(self.encoder, self.bundle)  # an encoder of somebody else's may not have done it itself
        if self.head.accuracy != "exact" or self.head.is_paid:
            return
        angles = counts_to_angles(golden.counts[:1], spec.coding.n_steps, self._parameters.scale_rad, spec.head)
        difference = np.abs(self.head.expectations(angles) - golden.expectations[:1]).max()
        if not difference <= EXACT_TOLERANCE:  # NaN is no agreement
            raise NotEqualError(
                f"device '{self.head.name}' differs from the trained model by {difference:.1e} in <Z> of a golden "
                "sample and will not serve. Run `sqdr verify` to see where."
            )


def model_id(bundle: Bundle) -> str:
    """Return what tells a deployed model from others: the SHA-256 of its encoder, circuit and head."""
    files = bundle.manifest.files
    parts = {name: files[name].sha256 for name in ("encoder.net", "circuit.qasm", "head.safetensors")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def open_bundle(
    path: str | Path,
    *,
    encoder: str = "lava",
    device: str = "local:braket-sv",
    shots: int | None = None,
    seed: int | None = None,
    spending: Spending | None = None,
    journal: str | Path | None = None,
    braket: Callable[[Bundle], BraketOptions] | None = None,
    **encoder_options: Any,
) -> Pipeline:
    """Open a bundle for split inference; use the result as a context manager.

    Args:
        path: a bundle folder or ``.sqdr`` file.
        encoder: name of an encoder backend: ``lava``, ``integer``, ``onnx``, ``slayer``, or any other that
            is installed.
        device: ``local:sv``, ``local:dm``, ``local:braket-sv``, ``local:braket-dm``, ``pennylane:<name>``, an ARN, or
            the name or path of a hardware file.
        shots: per circuit; 0 for exact expectations where the device has them. None means 0 on a free
            device; a device that may cost money needs a number.
        seed: of sampling, where the device takes one.
        spending: adaptive shots, routing and mitigation; None for none.
        journal: the file that keeps what was submitted to Amazon Braket and paid for; needed there, see
            `sqdr.deploy.braket.journal`.
        braket: makes all options of a run on Amazon Braket from the opened bundle, instead of ``journal``.
        encoder_options: passed to the encoder backend, for example ``timeout_s`` for ``lava``.

    Raises:
        BundleError: the bundle cannot be read.
        ConfigError: no such encoder.
        DeviceError: no such device, or it cannot run this circuit or number of shots.
        MissingDependencyError: an extra is not installed.
    """
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int | np.integer) or shots < 0):
        raise ConfigError(f"`shots` must be a whole number of at least 0, got {shots!r}. Use 0 for exact.")
    with contextlib.ExitStack() as stack:
        bundle = stack.enter_context(Bundle.open(path))
        head_spec = bundle.manifest.model.head
        if braket is None and journal is not None:
            place = Path(journal)
            options: BraketOptions | None = BraketOptions(journal=place, model=model_id(bundle))
        else:
            options = None if braket is None else braket(bundle)
        parameters, text = bundle.head_parameters(), bundle.circuit()

        def open_device(name: str, n_shots: int | None, cz_folds: int = 1) -> HeadBackend:
            return open_head(
                name,
                openqasm=text,
                weights=parameters.weights,
                entangler=head_spec.entangler,
                n_qubits=head_spec.n_qubits,
                shots=n_shots,
                seed=seed if name == device else None,
                braket=options,
                cz_folds=cz_folds,
            )

        n_shots, hardware = int(shots) if shots else None, known_hardware(device)
        composed = compose(
            lambda folds: open_device(device, n_shots, folds),
            spending or Spending(),
            parameters=parameters,
            spec=head_spec,
            shots=n_shots,
            open_free=lambda: open_device(STATEVECTOR, None),
            usd_per_image=usd_per_image(hardware, n_shots or 0),
            min_shots=1 if hardware is None else hardware.shot_range.start,
        )
        head = composed.head
        if head.is_paid and shots is None:
            raise ConfigError(
                f"device '{head.name}' may cost money for every circuit: say how many `shots` each image takes "
                "(0 for exact, on a simulator)."
            )
        if head.is_paid and options is None:
            raise ConfigError(
                f"device '{head.name}' may cost money: name a `journal` file, which keeps what was paid for."
            )
        started = load_plugin("sqdr.encoders", encoder).from_bundle(bundle, **encoder_options)
        stack.pop_all()
    return Pipeline(bundle, started, composed)
