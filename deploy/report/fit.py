"""Fit for both chips, as `sqdr fit` has it, with a map of the cores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqdr.deploy.fit import FitReport, fit_bundle
from sqdr.deploy.fit.report import NeuromorphicFit, QuantumFit
from sqdr.deploy.report.section import Section
from sqdr.errors import SqdrError

__all__ = ["TITLE", "core_maps", "fit_section"]

MAX_CHIPS, MAX_CORES = 8, 1024
# Of the style sheet's colours.
N_COLOURS = 8
TITLE = "Fit for both chips"
UNKNOWN = "unknown"


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
        {"fit": fit, "rows": _chip_rows(fit), "map": drawn}
        for fit, drawn in zip(report.neuromorphic, core_maps(report), strict=True)
    ]
    content = {
        "fits": report.fits,
        "chips": chips,
        "devices": [{"fit": fit, "rows": _device_rows(fit)} for fit in report.quantum],
        "violations": report.violations,
    }
    return Section(name="fit", title=TITLE, content=content, missing=tuple(missing)), report


def _chip_rows(fit: NeuromorphicFit) -> list[tuple[str, str]]:
    time, energy = fit.time, fit.energy
    update, barrier = energy.update_nj, time.barrier_us
    return [
        ("cores", f"{fit.n_cores:,} of {fit.n_cores_available:,} ({fit.core_use:.1%})"),
        ("chips", f"{fit.n_chips:,} of {fit.n_chips_available:,}"),
        ("neurons", f"{fit.n_neurons:,}"),
        (f"synapses, kernels {fit.convolution_storage}", f"{fit.n_stored:,} stored, {fit.n_synapses:,} unrolled"),
        ("memory of the fullest core", UNKNOWN if fit.memory_use is None else f"{fit.memory_use:.1%}, at least"),
        ("time steps a sample", f"{time.steps_per_sample:,}; {time.latency_steps:,} until its last output"),
        ("latency", UNKNOWN if time.latency_us is None else f"{time.latency_us:,.1f} us"),
        ("latency by barriers alone", UNKNOWN if barrier is None else f"{barrier.min:.1f} to {barrier.max:.1f} us"),
        ("synaptic operations a sample", f"{fit.synaptic_operations.mean:,.0f} +- {fit.synaptic_operations.std:,.0f}"),
        ("neuron updates a sample", f"{fit.neuron_updates:,}"),
        (
            "energy of synaptic operations (estimate)",
            UNKNOWN if energy.synaptic_nj is None else f"{energy.synaptic_nj:,.0f} nJ a sample",
        ),
        (
            "energy of neuron updates (estimate)",
            UNKNOWN if update is None else f"{update.min:,.0f} to {update.max:,.0f} nJ a sample",
        ),
        ("left out of the energy", energy.leaves_out),
        ("activity measured on", f"{fit.n_samples:,} {fit.samples}"),
    ]


def _device_rows(fit: QuantumFit) -> list[tuple[str, str]]:
    mapping, chance = fit.mapping, fit.success_probability
    two = f"{fit.n_two_qubit_gates}"
    rows = [
        ("qubits", f"{fit.n_qubits:,} of {fit.n_qubits_available:,}"),
        ("depth", str(fit.depth) if mapping is None else f"{fit.depth}, {mapping.depth_after} when mapped"),
        (
            "two-qubit gates",
            two
            if mapping is None
            else f"{two}, {mapping.n_two_qubit_gates_after} {mapping.two_qubit_gate} when mapped",
        ),
        ("chance that no gate and no readout errs (estimate)", UNKNOWN if chance is None else f"{chance:.3f}"),
        (
            f"shots to keep {fit.agreement_target:.4g} of the classes, without noise",
            UNKNOWN if fit.shots_for_target is None else f"{fit.shots_for_target:,}",
        ),
        ("measured on", fit.shots_source),
    ]
    if mapping is not None:
        rows.append(("mapped by", mapping.compiler))
    return rows
