"""Export a finished training run as a bundle."""

import tempfile
from os import PathLike
from pathlib import Path

import numpy as np

from sqdr.bundle import (
    BUNDLE_FILES,
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    Manifest,
    TrainingRecord,
    is_bundle,
    sha256_of,
    write_zip,
)
from sqdr.coding import encode_images, largest_payloads
from sqdr.data import Images
from sqdr.errors import NotEqualError, StorageError
from sqdr.export.golden import exact_expectations, make_golden
from sqdr.export.rules import Network, check_rules
from sqdr.export.to_netx import write_netx
from sqdr.head import circuit_text, counts_to_angles, readout
from sqdr.netx import read_network
from sqdr.storage import staged_directory, storage_errors
from sqdr.train.joint import JointModel
from sqdr.train.loop import load_data
from sqdr.train.run_folder import RunFolder, RunSummary
from sqdr.train.slayer_backend import SlayerBackend
from sqdr.train.versions import library_versions

__all__ = ["export"]

ZIP_SUFFIX = ".sqdr"


def export(
    run: str | PathLike[str], bundle: str | Path, *, overwrite: bool = False, data_root: str | Path | None = None
) -> Manifest:
    """Write the best model of a finished run as a bundle and check it by reading it back.

    Args:
        run: a run folder that `sqdr.train` finished.
        bundle: the folder to make, or a file ending in ``.sqdr`` for one zip.
        overwrite: replace an earlier bundle there; nothing else is ever replaced.
        data_root: the data set's folder, if it is no longer where it was in training.

    Returns:
        The bundle's manifest.

    Raises:
        ExportError: the model breaks export rules; all are listed, nothing is written.
        NotEqualError: the bundle read back does not compute what the trained model does.
        StorageError: ``bundle`` is in the way or cannot be written.
    """
    folder, target = RunFolder(Path(run)), Path(bundle)
    summary = folder.read_summary()
    config = folder.read_config()
    model = folder.load_model(config.head.simulator)
    images = load_data(config.with_data_root(data_root)).test
    if target.suffix != ZIP_SUFFIX:
        with staged_directory(target, is_ours=is_bundle, overwrite=overwrite) as stage:
            return _write(stage, model, summary, images)
    if target.exists() and not overwrite:
        raise StorageError(f"{target} exists already. Choose another --out, or add --overwrite.")
    if target.exists() and not is_bundle(target):
        raise StorageError(f"{target} is no bundle of sqdr and is left as it is. Choose another --out.")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            stage = Path(name) / "bundle"
            stage.mkdir()
            manifest = _write(stage, model, summary, images)
            write_zip(stage, Path(name) / target.name)
            (Path(name) / target.name).replace(target)
    return manifest


def _write(stage: Path, model: JointModel, summary: RunSummary, images: Images) -> Manifest:
    parameters = model.head.parameters_for_deployment()
    write_netx(model.encoder, model.spec.coding.max_payload, stage / "encoder.net")
    coding = model.spec.coding
    check_rules(
        Network(
            read_network(stage / "encoder.net"),
            payloads=largest_payloads(coding),
            shapes=tuple(model.spec.encoder.shapes),
        )
    )
    (stage / "circuit.qasm").write_text(circuit_text(parameters, model.spec.head), encoding="ascii")
    parameters.save(stage / "head.safetensors")
    make_golden(model, parameters, images).save(stage / "golden.npz")
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        sqdr_version=library_versions()["sqdr"],
        versions=library_versions() | summary.versions,
        model=model.spec,
        timing=model.spec.timing,
        class_names=summary.class_names,
        training=TrainingRecord(**{name: getattr(summary, name) for name in TrainingRecord.model_fields}),
        files={name: sha256_of(stage / name) for name in BUNDLE_FILES},
    )
    (stage / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
    _check_read_back(stage)
    return manifest


def _check_read_back(stage: Path) -> None:
    """Open what was written and compute its golden samples again from the files alone."""
    with Bundle.open(stage) as bundle:
        spec, golden = bundle.manifest.model, bundle.golden()
        with SlayerBackend.from_bundle(bundle) as encoder:
            trains = encoder.spike_trains(encode_images(golden.images, spec.coding))
        n_different = int((trains != golden.spike_trains).sum())
        if n_different:
            raise NotEqualError(
                f"the exported encoder differs from the trained one in {n_different} of {trains.size} spikes. "
                "Nothing was written; please report this model."
            )
        parameters = bundle.head_parameters()
        angles = counts_to_angles(golden.counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
        logits = readout(exact_expectations(angles, parameters, spec.head), parameters, spec.head)
        if not np.array_equal(logits, golden.logits):
            raise NotEqualError("the exported head differs from the trained one. Nothing was written; report it.")
