"""Train packaged configurations with several seeds and tabulate test accuracy, without and with noise.

    python benchmarks/accuracy.py mnist10k_tiny mnist10k_small mnist10k_base digits_small --seeds 0 1 2
    python benchmarks/accuracy.py mnist10k_tiny mnist10k_small --noise local_dm

Every choice (best epoch) is made on the validation part; the test part is evaluated once per run without noise and
once under that of local_dm. ``--noise`` names a hardware file whose noise the training has, too. Results go to
``benchmarks/results/accuracy.json`` after every run; runs that are there, with both accuracies, are not repeated.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from sqdr.machine import cpu_name
from sqdr.train.api import TrainedRun, train
from sqdr.train.loop import load_data
from sqdr.train.run_folder import RunFolder
from sqdr.train.studies.faults import Faults, accuracies

RESULTS = Path(__file__).parent / "results" / "accuracy.json"
# Under which the test part is evaluated, beside none.
NOISE = "local_dm"
KEY = ("config", "seed", "noise")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--noise", help="train under the noise of this hardware file")
    parser.add_argument("--runs", type=Path, help="keep the run folders here")
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for config in options.configs:
        for seed in options.seeds:
            earlier = next((row for row in rows if _key(row) == (config, seed, options.noise)), None)
            if earlier is not None and NOISE in earlier.get("test_accuracy_under", {}):
                continue
            row = _measured(config, seed, options.noise, options.threads, options.runs)
            if earlier is None:
                rows.append(row)
            else:
                rows[rows.index(earlier)] = row
                _say_if_changed(earlier, row)
            RESULTS.write_text(json.dumps(rows, indent=1))
            sys.stderr.write(f"{config} seed {seed} trained under {options.noise}: {row['test_accuracy_under']}\n")
    _tabulate(rows)


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _measured(config: str, seed: int, noise: str | None, n_threads: int, kept: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        name = "-".join((config, f"seed{seed}", *([noise] if noise else [])))
        run = train(config, (kept or Path(folder)) / name, seed=seed, device="cpu", n_threads=n_threads, noise=noise)
        under = _accuracies_under_noise(run)
    row = {"config": config, "cpu": cpu_name(), "n_threads": n_threads}
    return row | run.summary.model_dump(mode="json", exclude={"class_names"}) | {"test_accuracy_under": under}


def _accuracies_under_noise(run: TrainedRun) -> dict[str, float]:
    """Return the test accuracies of the best epoch without and with noise, read back from the run's folder."""
    folder = RunFolder(run.path)
    config = folder.read_config()
    test = load_data(config).test
    found = accuracies(folder.load_model(), test, Faults(noise=(NOISE,)), config.training.seed)
    under = {name: found[f"noise {name}"] for name in ("none", NOISE)}
    trained_under = run.summary.noise or "none"
    if under.get(trained_under, run.summary.test_accuracy) != run.summary.test_accuracy:
        raise SystemExit(f"{run.path}: test accuracy {run.summary.test_accuracy} when trained, read back {under}")
    return under


def _say_if_changed(earlier: dict[str, Any], row: dict[str, Any]) -> None:
    if earlier["test_accuracy"] != row["test_accuracy"]:
        sys.stderr.write(
            f"{row['config']} seed {row['seed']}: was {earlier['test_accuracy']}, is {row['test_accuracy']}\n"
        )


def _tabulate(rows: list[dict[str, Any]]) -> None:
    head = (
        "config",
        "trained under",
        "parameters",
        "epochs",
        "test mean",
        "min",
        "max",
        f"under {NOISE}",
        "min",
        "max",
    )
    sys.stdout.write(" | ".join((*head, "seeds", "val mean", "s per epoch")) + "\n")
    for config, noise in dict.fromkeys((row["config"], row["noise"]) for row in rows):
        mine = [row for row in rows if (row["config"], row["noise"]) == (config, noise)]
        if not all("test_accuracy_under" in row for row in mine):
            sys.stdout.write(f"{config}: not measured under noise yet\n")
            continue
        cells = (
            config,
            noise or "no noise",
            f"{mine[0]['n_parameters']:,}",
            str(mine[0]["n_epochs"]),
            *_spread(mine, "none"),
            *_spread(mine, NOISE),
            " ".join(str(row["seed"]) for row in mine),
            f"{statistics.mean(row['val_accuracy'] for row in mine):.4f}",
            f"{statistics.mean(row['seconds'] / row['n_epochs'] for row in mine):.1f}",
        )
        sys.stdout.write(" | ".join(cells) + "\n")


def _spread(rows: list[dict[str, Any]], noise: str) -> tuple[str, str, str]:
    values = [row["test_accuracy_under"][noise] for row in rows]
    return f"{statistics.mean(values):.4f}", f"{min(values):.4f}", f"{max(values):.4f}"


if __name__ == "__main__":
    main()
