"""Train packaged configurations with several seeds and tabulate test accuracy.

    python benchmarks/accuracy.py mnist10k_tiny mnist10k_small mnist10k_base digits_small --seeds 0 1 2

Every choice (best epoch) is made on the validation part; the test part is evaluated once per run.
Results go to ``benchmarks/results/accuracy.json`` after every run; runs that are there are not repeated.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from sqdr.machine import cpu_name
from sqdr.train.api import train

RESULTS = Path(__file__).parent / "results" / "accuracy.json"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for config in options.configs:
        for seed in options.seeds:
            if any((row["config"], row["seed"]) == (config, seed) for row in rows):
                continue
            with tempfile.TemporaryDirectory() as folder:
                summary = train(
                    config, Path(folder) / "run", seed=seed, device="cpu", n_threads=options.threads
                ).summary
            row = {"config": config, "cpu": cpu_name(), "n_threads": options.threads}
            rows.append(row | summary.model_dump(mode="json", exclude={"class_names"}))
            RESULTS.write_text(json.dumps(rows, indent=1))
            sys.stderr.write(f"{config} seed {seed}: test {summary.test_accuracy:.4f}\n")
    head = ("config", "parameters", "epochs", "test mean", "min", "max", "seeds", "val mean", "s per epoch")
    sys.stdout.write(" | ".join(head) + "\n")
    for config in dict.fromkeys(row["config"] for row in rows):
        mine = [row for row in rows if row["config"] == config]
        test = [row["test_accuracy"] for row in mine]
        cells = (
            config,
            f"{mine[0]['n_parameters']:,}",
            str(mine[0]["n_epochs"]),
            f"{statistics.mean(test):.4f}",
            f"{min(test):.4f}",
            f"{max(test):.4f}",
            " ".join(str(row["seed"]) for row in mine),
            f"{statistics.mean(row['val_accuracy'] for row in mine):.4f}",
            f"{statistics.mean(row['seconds'] / row['n_epochs'] for row in mine):.1f}",
        )
        sys.stdout.write(" | ".join(cells) + "\n")


if __name__ == "__main__":
    main()
