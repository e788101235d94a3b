"""Fit for both chips, as `sqdr fit` has it, with a map of the cores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqdr.deploy.fit import FitReport, fit_bundle
from sqdr.deploy.fit.rows import chip_rows, device_rows
from sqdr.deploy.report.section import Section
from sqdr.errors import SqdrError

__all__ = ["TITLE", "core_maps", "fit_section"]

MAX_CHIPS, MAX_CORES = 8, 1024
# Of the style sheet's colours.
N_COLOURS = 8
TITLE = "Fit for both chips"


def core_maps(report: FitReport) -> list[dict[str, Any]]:
    """Return each chip's cores to draw: layer by layer, chip by chip, at most 8 chips of 1,024 cores in all."""
    maps = []
    for fit in report.neuromorphic:
        names = [layer.name for layer in fit.layers]
        per_chip = max(1, fit.n_cores_available // max(fit.n_chips_available, 1))
        chips: dict[int, list[dict[str, Any]]] = {}
        for core in fit.cores[:MAX_CORES]:
            if core.chip < MAX_CHIPS:
                layer = names.index(core.layer)
                chips.setdefault(core.chip, []).append(
                    {
                        "layer": core.layer,
                        "number": layer,
                        "colour": layer % N_COLOURS,
                        "said": f"{core.layer}, neurons {core.first_neuron:,} to "
                        f"{core.first_neuron + core.n_neurons - 1:,}, {core.memory_bytes:,} bytes, "
                        f"{core.fan_in_axons:,} axons in, {core.fan_out_axons:,} out",
                    }
                )
        drawn = [
            {"chip": chip, "cores": cores, "n_free": max(0, per_chip - len(cores))} for chip, cores in chips.items()
        ]
        n_drawn = sum(map(len, chips.values()))
        maps.append({"chips": drawn, "n_drawn": n_drawn, "n_cores": len(fit.cores)})
    return maps


def fit_section(bundle: Path, hardware: Sequence[str]) -> tuple[Section, FitReport | None]:
    """Return the section, and what it shows for the cost and the figures."""
    try:
        report = fit_bundle(bundle, hardware)
    except SqdrError as error:
        return Section(name="fit", title=TITLE, missing=(f"Not worked out: {error}",)), None
    missing = []
    if not report.neuromorphic:
        missing.append("No chip. Add one with --hw loihi2_oheo_gulch; `sqdr hw list` has all.")
    if not report.quantum:
        missing.append("No quantum device. Add one with --hw braket_iqm_garnet; `sqdr hw list` has all.")
    chips = [
        {"fit": fit, "rows": chip_rows(fit), "map": drawn}
        for fit, drawn in zip(report.neuromorphic, core_maps(report), strict=True)
    ]
    content = {
        "fits": report.fits,
        "chips": chips,
        "devices": [{"fit": fit, "rows": device_rows(fit)} for fit in report.quantum],
        "violations": report.violations,
    }
    return Section(name="fit", title=TITLE, content=content, missing=tuple(missing)), report
