"""Export a finished training run as a bundle."""

import itertools
import logging
import tempfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from sqdr.bundle import (
    BUNDLE_FILES,
    MANIFEST,
    OPTIONAL_FILES,
    SCHEMA_VERSION,
    VALIDATION,
    Bundle,
    Manifest,
    TrainingRecord,
    is_bundle,
    sha256_of,
    write_zip,
)
from sqdr.coding import encode_images, largest_payloads
from sqdr.data import DataSplits, Images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.encoders.integer.network import integer_layers
from sqdr.deploy.verify import verify_images
from sqdr.errors import ConfigError, ExportError, MissingDependencyError, NotEqualError, StorageError
from sqdr.export.calibration import calibrate, check_calibration
from sqdr.export.golden import exact_expectations, make_golden
from sqdr.export.network import DEFAULT_HARDWARE
from sqdr.export.rules import Network, check_rules
from sqdr.export.to_netx import write_netx
from sqdr.export.to_nir import nir_graph, write_nir
from sqdr.export.to_onnx import encoder_onnx
from sqdr.export.to_onnx_classifier import classifier_onnx
from sqdr.export.validation import make_validation
from sqdr.head import HeadParameters, circuit_text, counts_to_angles, readout
from sqdr.hw_configs import Loihi2, load_hardware
from sqdr.netx import NetxLayer, read_network
from sqdr.specification import ModelSpec
from sqdr.storage import staged_directory, storage_errors
from sqdr.train.config import TrainConfig
from sqdr.train.joint import JointModel
from sqdr.train.loop import load_data
from sqdr.train.run_folder import RunFolder, RunSummary
from sqdr.train.versions import library_versions

__all__ = ["export"]

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]

ZIP_SUFFIX = ".sqdr"
# As `_stages` counts them: reading, encoder, ranges, circuit, three formats, verification.
N_STAGES = 8
# Training images that every layer's range is measured on.
N_CALIBRATION = 512
# Test images that every stage is compared on, besides the golden samples.
N_VERIFIED = 16


def export(
    run: str | PathLike[str],
    bundle: str | Path,
    *,
    overwrite: bool = False,
    data_root: str | Path | None = None,
    hardware: str | Path = DEFAULT_HARDWARE,
    against: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the best model of a finished run as a bundle and verify it before it is put in place.

    Args:
        run: a run folder that `sqdr.train` finished.
        bundle: the folder to make, or a file ending in ``.sqdr`` for one zip.
        overwrite: replace an earlier bundle there; nothing else is ever replaced.
        data_root: the data set's folder, if it is no longer where it was in training.
        hardware: name or path of the hardware file whose limits hold for the encoder.
        against: the stages to verify it with, see `sqdr.deploy.verify.verify_bundle`; by default all
            that are installed.
        progress: told the stage, of how many, and what it does.

    Returns:
        The bundle's manifest.

    Raises:
        ExportError: the model breaks export rules, or a layer is silent or saturated; nothing is written.
        NotEqualError: a stage of the bundle does not compute what the trained model does.
        StorageError: ``bundle`` is in the way or cannot be written.
    """
    tell = _stages(progress)
    tell("reading the run")
    folder, target = RunFolder(Path(run)), Path(bundle)
    chip = load_hardware(hardware)
    if not isinstance(chip, Loihi2):
        raise ConfigError(f"`hardware` must be a loihi2 file, got {chip.name}, a {chip.kind}. Use {DEFAULT_HARDWARE}.")
    summary = folder.read_summary()
    config = folder.read_config()
    _check_deployable(config)
    model = folder.load_model(config.head.simulator)
    data = load_data(config.with_data_root(data_root))
    if target.suffix != ZIP_SUFFIX:
        with staged_directory(target, is_ours=is_bundle, overwrite=overwrite) as stage:
            return _write(stage, model, summary, data, chip, against, tell)
    if target.exists() and not overwrite:
        raise StorageError(f"{target} exists already. Choose another --out, or add --overwrite.")
    if target.exists() and not is_bundle(target):
        raise StorageError(f"{target} is no bundle of sqdr and is left as it is. Choose another --out.")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            stage = Path(name) / "bundle"
            stage.mkdir()
            manifest = _write(stage, model, summary, data, chip, against, tell)
            write_zip(stage, Path(name) / target.name)
            (Path(name) / target.name).replace(target)
    return manifest


def _stages(progress: Progress | None) -> Callable[[str], None]:
    """Return what is called at the start of each stage."""
    done = itertools.count()

    def tell(what: str) -> None:
        logger.info("%s", what)
        if progress is not None:
            progress(next(done), N_STAGES, what)

    return tell


def _check_deployable(config: TrainConfig) -> None:
    """Refuse what the deployed head does not compute."""
    if config.head.kind != "quantum":
        raise ExportError(
            f"`head.kind` must be quantum to be exported, got {config.head.kind}: a classical head serves comparisons "
            "in training. Train with kind: quantum."
        )
    if config.head.rate_normalisation != "none":
        raise ExportError(
            "`head.rate_normalisation` must be none to be exported: the deployed head turns each count into its angle "
            "by itself. Train with none, and spike_dropout instead."
        )


def _write(
    stage: Path,
    model: JointModel,
    summary: RunSummary,
    data: DataSplits,
    chip: Loihi2,
    against: Sequence[str] | None,
    tell: Callable[[str], None],
) -> Manifest:
    spec, coding = model.spec, model.spec.coding
    parameters = model.quantum_head.parameters_for_deployment()
    tell(f"writing the encoder, and checking it against the rules of {chip.name}")
    write_netx(model.encoder, coding.max_payload, stage / "encoder.net")
    layers = read_network(stage / "encoder.net")
    shapes = tuple(spec.encoder.shapes)
    check_rules(Network(layers, payloads=largest_payloads(coding), shapes=shapes, hardware=chip))
    encoder = _integer_encoder(layers, spec)
    tell(f"measuring the layers' ranges on {min(N_CALIBRATION, len(data.train))} training images")
    calibration = calibrate(encoder, encode_images(data.train[:N_CALIBRATION].images, coding), chip.state_bits.value)
    notes = check_calibration(calibration)
    tell("writing the circuit, the head and the golden samples")
    (stage / "circuit.qasm").write_text(circuit_text(parameters, spec.head), encoding="ascii")
    parameters.save(stage / "head.safetensors")
    make_golden(model, parameters, data.test).save(stage / "golden.npz")
    validation = make_validation(encoder, data.validation, coding)
    if validation is not None:
        validation.save(stage / VALIDATION)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sqdr_version=library_versions()["sqdr"],
        versions=library_versions() | summary.versions,
        model=spec,
        timing=spec.timing,
        class_names=summary.class_names,
        training=TrainingRecord(**{name: getattr(summary, name) for name in TrainingRecord.model_fields}),
        files={name: sha256_of(stage / name) for name in BUNDLE_FILES},
        calibration=calibration,
    )
    notes += _write_optional(stage, layers, parameters, manifest, tell)
    files = {name: sha256_of(stage / name) for name in (*BUNDLE_FILES, *OPTIONAL_FILES) if (stage / name).is_file()}
    manifest = manifest.model_copy(update={"files": files, "notes": notes})
    (stage / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    tell("reading the bundle back and verifying it")
    not_verified = _check_read_back(stage, data.test, against)
    manifest = manifest.model_copy(update={"notes": (*notes, *not_verified)})
    (stage / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    return manifest


def _integer_encoder(layers: list[NetxLayer], spec: ModelSpec) -> IntegerEncoder:
    payload, n_steps = spec.coding.max_payload, spec.coding.n_steps
    return IntegerEncoder(
        integer_layers(layers, spec.encoder.input_shape, payload, n_steps),
        n_steps=n_steps,
        message_bits=spec.coding.message_bits,
    )


def _write_optional(
    stage: Path,
    layers: list[NetxLayer],
    parameters: HeadParameters,
    manifest: Manifest,
    tell: Callable[[str], None],
) -> tuple[str, ...]:
    """Write the formats that need packages of their own; return a note for each that could not be written."""
    spec = manifest.model
    shape, n_steps = spec.encoder.input_shape, spec.coding.n_steps
    # the manifest without these files, whose hashes cannot be known before they are written
    metadata = {"sqdr.manifest": manifest.model_dump_json()}
    writers: dict[str, Callable[[Path], object]] = {
        "encoder.onnx": lambda path: path.write_bytes(encoder_onnx(layers, shape, spec.coding, metadata)),
        "classifier.onnx": lambda path: path.write_bytes(classifier_onnx(layers, spec, parameters, metadata)),
        "encoder.nir": lambda path: write_nir(nir_graph(layers, shape, n_steps, metadata), path),
    }
    notes = []
    for name, write in writers.items():
        try:
            tell(f"writing {name}")
            write(stage / name)
        except (MissingDependencyError, ExportError) as error:
            notes.append(f"{name} was not written: {error}")
    return tuple(notes)


def _check_read_back(stage: Path, images: Images, against: Sequence[str] | None) -> tuple[str, ...]:
    """Open what was written and verify it from the files alone; return a note for each stage that is not here."""
    with Bundle.open(stage) as bundle:
        spec, golden = bundle.manifest.model, bundle.golden()
        parameters = bundle.head_parameters()
        angles = counts_to_angles(golden.counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
        logits = readout(exact_expectations(angles, parameters, spec.head), parameters, spec.head)
        if not np.array_equal(logits, golden.logits):
            raise NotEqualError("the exported head differs from the trained one. Nothing was written; report it.")
        report = verify_images(bundle, images[:N_VERIFIED].images, against=() if against is None else against)
    different = [row for row in report.rows if not row.equal]
    if different:
        row = different[0]
        cause = f" Likely cause: {row.difference.cause}" if row.difference is not None else ""
        raise NotEqualError(
            f"the exported bundle is not equal to the trained model: {row.source} -> {row.target}, {row.n_different} "
            f"of {row.n_compared} {row.what} differ, {row.where}.{cause} Nothing was written."
        )
    return tuple(f"not verified here: {reason}" for reason in report.skipped)
