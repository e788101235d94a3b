"""What error mitigation gives and costs under the noise model: <Z> error, agreement and accuracy.

    SQDR_DATA_DIR=<folder with MNIST's t10k files> python benchmarks/mitigation.py small.sqdr

The test part of mnist10k on local_dm (the noise of hw_configs/local_dm.yaml, wrong readouts included): raw, with
readout mitigation (two calibration circuits), with zero-noise extrapolation of the CZ gates by mitiq, and with both;
each at infinitely many shots, which shows the bias that is left, and from shots, of which every image takes as many
in all, whatever the number of its circuits. <Z> is compared with the noiseless circuit's. Writes
results/mitigation.json.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shots import Case, load_case

from sqdr.backends import HeadBackend
from sqdr.deploy.heads import DensityMatrixHead, ReadoutMitigatedHead, ZeroNoiseHead
from sqdr.hw_configs.loader import packaged_hardware

RESULTS = Path(__file__).parent / "results"
CALIBRATION_SHOTS = 1000
# At infinitely many shots of the images, so many of the calibration leave an error of 1e-4.
MANY_SHOTS = 1_000_000


class Variant(NamedTuple):
    """What is done: the scales of the CZ noise, the extrapolation (None for none), and readout mitigation."""

    name: str
    folds: tuple[int, ...]
    method: Any
    is_mitigated: bool


VARIANTS = [
    Variant("raw", (1,), None, False),
    Variant("readout", (1,), None, True),
    Variant("zero noise, linear 1 3", (1, 3), "linear", False),
    Variant("zero noise, linear 1 3 5", (1, 3, 5), "linear", False),
    Variant("zero noise, richardson 1 3 5", (1, 3, 5), "richardson", False),
    Variant("readout and zero noise, linear 1 3", (1, 3), "linear", True),
    Variant("readout and zero noise, richardson 1 3 5", (1, 3, 5), "richardson", True),
]
# Shots of an image, over all of its circuits.
SHOTS = (None, 100, 1000)


def open_variant(case: Case, variant: Variant, shots: int | None, seed: int) -> Any:
    """Return the head for so many shots of an image in all."""
    heads: dict[int, HeadBackend] = {
        fold: DensityMatrixHead(
            weights=case.weights,
            entangler=case.entangler,
            hardware=packaged_hardware("local_dm"),
            shots=None if shots is None else shots // len(variant.folds),
            seed=100 * seed + fold,
            cz_folds=fold,
        )
        for fold in variant.folds
    }
    head: Any = heads[1] if variant.method is None else ZeroNoiseHead(heads, variant.method)
    if variant.is_mitigated:
        head = ReadoutMitigatedHead(head, heads[1], shots=MANY_SHOTS if shots is None else CALIBRATION_SHOTS)
    return head


def measure(case: Case, variant: Variant, shots: int | None, seeds: int) -> dict[str, Any]:
    """Return one row: means over seeds, each with its standard deviation, and what is extra."""
    angles, labels, exact = case.angles["test"], case.labels["test"], case.limits["test"]["noiseless"]
    noiseless = case.exact().expectations(angles)
    rows = []
    for seed in range(1 if shots is None else seeds):
        head = open_variant(case, variant, shots, seed)
        found = head.expectations(angles)
        predicted, error = case.classes(found), found - noiseless
        errors = np.abs(error).mean(), np.sqrt((error**2).mean())
        rows.append([*errors, np.mean(predicted == exact), np.mean(predicted == labels)])
        report = head.report()
    names = ("mean_abs_error", "rms_error", "agreement_noiseless", "accuracy")
    means = np.mean(rows, axis=0)
    deviations = np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.zeros(len(names))
    n_calibration = 2 if variant.is_mitigated else 0
    return {
        "mitigation": variant.name,
        "shots_of_an_image": shots,
        **{n: [round(float(m), 5), round(float(d), 5)] for n, m, d in zip(names, means, deviations, strict=True)},
        "circuits_of_an_image": (report.n_circuits - n_calibration) / len(angles),
        "calibration_circuits": n_calibration,
        "calibration_shots": n_calibration * (MANY_SHOTS if shots is None else CALIBRATION_SHOTS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    case = load_case(options.bundle)
    rows = []
    for shots in SHOTS:
        for variant in VARIANTS:
            rows.append(measure(case, variant, shots, options.seeds))
            sys.stderr.write(f"{rows[-1]}\n")
    result = {
        "subject": "error mitigation under the noise of local_dm, mean and standard deviation over seeds of sampling",
        "bundle": options.bundle.name,
        "noise": packaged_hardware("local_dm").noise.model_dump(),
        "n_images": len(case.labels["test"]),
        "n_seeds": options.seeds,
        "noiseless_accuracy": float(np.mean(case.limits["test"]["noiseless"] == case.labels["test"])),
        "rows": rows,
        "versions": {name: version(name) for name in ("sqdr", "numpy", "mitiq")},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mitigation.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
