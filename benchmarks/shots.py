"""Shots per image against accuracy on a noisy device: fixed, adaptive, routed, and adaptive behind a route.

    SQDR_DATA_DIR=<folder with MNIST's t10k files> python benchmarks/shots.py small.sqdr

The device is local_dm: the noise of hw_configs/local_dm.yaml, wrong readouts included. Routing keeps certain images on
local:sv. Every setting runs on the validation part and on the test part of mnist10k with several seeds of sampling;
the setting of each kind is chosen on the validation part alone: the fewest shots among those that lose at most
0.1 points against 1,000 shots for every image. Dollars are those of the same circuits at the prices of
hw_configs/braket_iqm_garnet.yaml, each round of shots as tasks of its own, or as program sets that take all images
which are left. Writes results/shots.json and results/shots.png.
"""

import argparse
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sqdr.bundle import Bundle
from sqdr.coding import encode_images
from sqdr.deploy.encoders.integer import IntegerEncoder
from sqdr.deploy.heads import AdaptiveHead, DensityMatrixHead, RoutedHead, StatevectorHead
from sqdr.deploy.inputs import read_input
from sqdr.deploy.plan.cost import estimate
from sqdr.head import counts_to_angles
from sqdr.hw_configs.loader import packaged_hardware

RESULTS = Path(__file__).parent / "results"
PARTS = ("validation", "test")
MOST_SHOTS = 1000
FIXED = (25, 50, 100, 200, 500, MOST_SHOTS)
# (shots of the first round, error rate); the last two vary the first round at the default rate
ADAPTIVE = ((25, 0.01), (25, 0.05), (25, 0.2), (25, 0.8), (10, 0.05), (50, 0.05))
MARGINS = (0.5, 0.9, 0.99, 0.999)
MAY_LOSE = 0.001
TARGET_SHARE, TARGET_LOSS = 0.2, 0.005

Floats = NDArray[np.float64]


class Case(NamedTuple):
    """A trained head, and the angles and labels of each part."""

    weights: Floats
    entangler: Any
    weight: Floats
    bias: Floats
    angles: dict[str, Floats]
    labels: dict[str, NDArray[np.int64]]
    limits: dict[str, dict[str, NDArray[np.int64]]]
    """By part, the classes at infinitely many shots, ``noisy`` and ``noiseless``."""

    def classes(self, expectations: Floats) -> NDArray[np.int64]:
        return (expectations @ self.weight.T + self.bias).argmax(axis=1)

    def noisy(self, seed: int, **options: Any) -> DensityMatrixHead:
        hardware = packaged_hardware("local_dm")
        return DensityMatrixHead(
            weights=self.weights, entangler=self.entangler, hardware=hardware, seed=seed, **options
        )

    def exact(self) -> StatevectorHead:
        return StatevectorHead(weights=self.weights, entangler=self.entangler)


def load_case(path: Path) -> Case:
    """Encode both parts with the integer encoder."""
    with Bundle.open(path) as bundle:
        model, parameters = bundle.manifest.model, bundle.head_parameters()
        angles, labels = {}, {}
        with IntegerEncoder.from_bundle(bundle) as encoder:
            for part in PARTS:
                images = read_input(f"mnist10k:{part}", model.encoder.input_shape)
                counts = encoder.encode(encode_images(images.images, model.coding))
                angles[part] = counts_to_angles(counts, model.coding.n_steps, parameters.scale_rad, model.head)
                labels[part] = images.labels
    readout = parameters.readout_weight, parameters.readout_bias
    case = Case(parameters.weights, model.head.entangler, *readout, angles, labels, {})
    for part in PARTS:
        case.limits[part] = {
            "noisy": case.classes(case.noisy(0).expectations(angles[part])),
            "noiseless": case.classes(case.exact().expectations(angles[part])),
        }
    return case


class Run(NamedTuple):
    """One run over a part: the class of every image, and how many took how many shots in each round."""

    predicted: NDArray[np.int64]
    rounds: list[tuple[int, int]]
    """(images, shots of each) of every round."""


def run_fixed(case: Case, angles: Floats, seed: int, shots: int) -> Run:
    head = case.noisy(seed, shots=shots)
    return Run(case.classes(head.expectations(angles)), [(len(angles), shots)])


def adaptive_head(case: Case, seed: int, **options: Any) -> AdaptiveHead:
    return AdaptiveHead(case.noisy(seed), weight=case.weight, bias=case.bias, max_shots=MOST_SHOTS, **options)


def rounds_taken(head: AdaptiveHead) -> list[tuple[int, int]]:
    rounds = head.adaptive_report().rounds
    steps = zip(rounds, (0, *rounds), strict=False)
    return [(int((head.shots_per_image >= total).sum()), total - before) for total, before in steps]


def run_adaptive(case: Case, angles: Floats, seed: int, **options: Any) -> Run:
    head = adaptive_head(case, seed, **options)
    return Run(case.classes(head.expectations(angles)), rounds_taken(head))


def run_routed(case: Case, angles: Floats, seed: int, margin: float) -> Run:
    paid = case.noisy(seed, shots=MOST_SHOTS)
    head = RoutedHead(case.exact(), paid, weight=case.weight, bias=case.bias, margin=margin)
    return Run(case.classes(head.expectations(angles)), [(head.routed_report().n_routed, MOST_SHOTS)])


def run_both(case: Case, angles: Floats, seed: int, margin: float) -> Run:
    paid = adaptive_head(case, seed)
    head = RoutedHead(case.exact(), paid, weight=case.weight, bias=case.bias, margin=margin)
    return Run(case.classes(head.expectations(angles)), rounds_taken(paid))


SETTINGS: list[tuple[str, Callable[..., Run], dict[str, Any]]] = [
    *(("fixed", run_fixed, {"shots": shots}) for shots in FIXED),
    *(("adaptive", run_adaptive, {"first_shots": first, "error_rate": rate}) for first, rate in ADAPTIVE),
    *(("routed", run_routed, {"margin": margin}) for margin in MARGINS),
    *(("adaptive and routed", run_both, {"margin": margin}) for margin in MARGINS),
]


def measure(case: Case, part: str, run: Callable[..., Run], setting: dict[str, Any], seeds: int) -> dict[str, Any]:
    """Return means over seeds, each with its standard deviation, of one setting on one part."""
    angles, labels = case.angles[part], case.labels[part]
    references = (labels, case.limits[part]["noisy"], case.limits[part]["noiseless"])
    rows = []
    for seed in range(seeds):
        predicted, rounds = run(case, angles, seed, **setting)
        tasks, sets = dollars(rounds)
        shots = sum(n * shots for n, shots in rounds) / len(angles)
        agreements = [np.mean(predicted == of) for of in references]
        rows.append([*agreements, shots, float(tasks), float(sets)])
    names = ("accuracy", "agreement_noisy", "agreement_noiseless", "shots_per_image", "usd_tasks", "usd_program_sets")
    means, deviations = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
    return {
        name: [round(float(mean), 5), round(float(deviation), 5)]
        for name, mean, deviation in zip(names, means, deviations, strict=True)
    }


def dollars(rounds: list[tuple[int, int]]) -> tuple[Decimal, Decimal]:
    """Return what the rounds cost on IQM Garnet, as tasks and as program sets."""
    costs = [estimate(packaged_hardware("braket_iqm_garnet"), n, shots) for n, shots in rounds if n]
    return sum((c.tasks_usd for c in costs), Decimal(0)), sum((c.program_sets_usd for c in costs), Decimal(0))


def choose(rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the setting of a kind with the fewest shots that loses little on the validation part."""
    reference = baseline(rows)["validation"]["accuracy"][0]
    good = [row for row in rows if row["kind"] == kind and row["validation"]["accuracy"][0] >= reference - MAY_LOSE]
    return min(good, key=lambda row: row["validation"]["shots_per_image"][0])


def baseline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["setting"] == {"shots": MOST_SHOTS})


def against_target(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Return the share of the cost and the loss of accuracy against 1,000 shots for every image, on the test part."""
    test, fixed = row["test"], reference["test"]
    share = {
        name: round(test[name][0] / fixed[name][0], 4) for name in ("shots_per_image", "usd_tasks", "usd_program_sets")
    }
    lost = round(fixed["accuracy"][0] - test["accuracy"][0], 5)
    is_met = {name: value <= TARGET_SHARE and lost <= TARGET_LOSS for name, value in share.items()}
    return {"kind": row["kind"], "setting": row["setting"], "share": share, "accuracy_lost": lost, "is_met": is_met}


def draw(rows: list[dict[str, Any]], chosen: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy on the test part against mean shots per image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        points = sorted(
            (row["test"]["shots_per_image"][0], *row["test"]["accuracy"])
            for row in rows
            if row["kind"] == kind and row["setting"].get("first_shots", 25) == 25
        )
        x, y, spread = zip(*points, strict=True)
        axes.errorbar(x, y, yerr=spread, marker="o", markersize=4, capsize=3, label=kind)
    for row in chosen:
        point = row["test"]["shots_per_image"][0], row["test"]["accuracy"][0]
        axes.plot(*point, marker="o", markersize=12, fillstyle="none", color="black")
    fixed = baseline(rows)["test"]["accuracy"][0]
    axes.axhline(fixed - TARGET_LOSS, color="grey", linestyle=":", label="1,000 shots less 0.5 points")
    axes.axvline(MOST_SHOTS * TARGET_SHARE, color="grey", linestyle="--", label="one fifth of 1,000 shots")
    axes.set(xscale="log", xlabel="mean shots per image on the noisy device", ylabel="accuracy, 2,000 test images")
    axes.set_title("mnist10k, noise of local_dm; circles: chosen on the validation part")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    case = load_case(options.bundle)
    rows = []
    for kind, run, setting in SETTINGS:
        row = {"kind": kind, "setting": setting}
        row |= {part: measure(case, part, run, setting, options.seeds) for part in PARTS}
        rows.append(row)
        sys.stderr.write(f"{kind} {setting}: {row['test']}\n")
    chosen = [choose(rows, kind) for kind in dict.fromkeys(row["kind"] for row in rows)]
    result = {
        "subject": "shots per image against accuracy, mean and standard deviation over seeds of sampling",
        "bundle": options.bundle.name,
        "noise": packaged_hardware("local_dm").noise.model_dump(),
        "n_images": {part: len(case.labels[part]) for part in PARTS},
        "n_seeds": options.seeds,
        "accuracy_at_infinitely_many_shots": {
            part: {name: float(np.mean(classes == case.labels[part])) for name, classes in case.limits[part].items()}
            for part in PARTS
        },
        "target": f"{TARGET_SHARE} of the cost of {MOST_SHOTS} shots, at most {TARGET_LOSS} of accuracy",
        "chosen": [against_target(row, baseline(rows)) for row in chosen],
        "others": [against_target(row, baseline(rows)) for row in rows if row not in chosen],
        "rows": rows,
        "versions": {name: version(name) for name in ("sqdr", "numpy")},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shots.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(rows, chosen, RESULTS / "shots.png")
    sys.stdout.write(json.dumps(result["chosen"], indent=1) + "\n")


if __name__ == "__main__":
    main()
