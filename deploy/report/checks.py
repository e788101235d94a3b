"""Equality, fit, error budget and cost, as the commands of those names have them."""

from collections.abc import Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqdr.bundle import Bundle
from sqdr.deploy.error_budget import error_budget
from sqdr.deploy.error_budget.noise import device_noise
from sqdr.deploy.error_budget.report import ErrorBudget, Interval
from sqdr.deploy.fit import FitReport, fit_bundle
from sqdr.deploy.report.section import Section
from sqdr.deploy.report.sources import Sources, read_json
from sqdr.deploy.verify import verify_images
from sqdr.errors import ConfigError, SqdrError
from sqdr.hw_configs import load_hardware
from sqdr.money import dollars

__all__ = ["budget_section", "core_colours", "cost_section", "equality_section", "fit_section", "noisy_device"]

N_VERIFIED = 32
MAX_CHIPS, MAX_CORES = 8, 1024
N_COLOURS = 8
EQUALITY, FIT, BUDGET, COST = "Equality, stage by stage", "Fit for both chips", "Error budget", "Cost"
UNITS = {"spikes": "spikes", "expectations": "<Z>", "logits": "logits", "counts": "counts"}
UNKNOWN = "unknown"


def equality_section(bundle: Bundle, images: Any, shown: str) -> Section:
    """Return the comparisons that start in moments: without Lava, which `sqdr verify` also takes."""
    against = ["integer", "local:sv"]
    if find_spec("onnxruntime") is not None:
        against += [kind for kind, file in (("onnx", "encoder.onnx"), ("classifier.onnx",) * 2) if bundle.has(file)]
    try:
        report = verify_images(bundle, images[:N_VERIFIED], against=against, shots=1000, seed=0)
    except SqdrError as error:
        return Section(name="equality", title=EQUALITY, missing=(f"Not compared: {error}",))
    rows = [
        {
            "cells": (
                row.source,
                row.target,
                f"{row.n_samples:,}",
                f"{row.n_compared:,} {UNITS.get(row.what, row.what)}",
                f"{row.n_different:,}",
                f"{row.max_abs_difference:.0f}" if row.what == "spikes" else f"{row.max_abs_difference:.1e}",
            ),
            "equal": row.equal,
            "criterion": row.criterion,
            "where": row.where,
        }
        for row in report.rows
    ]
    compared = {name for row in report.rows for name in (row.source, row.target)}
    left = [name for name in ("slayer", "onnx", "lava") if name not in compared]
    skipped = tuple(f"Not compared: {reason}" for reason in report.skipped)
    if left:
        skipped += (f"Not compared here: {', '.join(left)}. Where they are installed `sqdr verify {shown}` does.",)
    return Section(
        name="equality",
        title=EQUALITY,
        content={"rows": rows, "equal": report.equal},
        missing=skipped,
    )


def core_colours(report: FitReport) -> list[dict[str, Any]]:
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


def fit_section(bundle: Path, hardware: Sequence[str], progress: Any) -> tuple[Section, FitReport | None]:
    """Return the section, and what it shows for the cost and the figures."""
    try:
        report = fit_bundle(bundle, hardware, progress=progress)
    except SqdrError as error:
        return Section(name="fit", title=FIT, missing=(f"Not worked out: {error}",)), None
    missing = []
    if not report.neuromorphic:
        missing.append("No chip. Add one with --hw loihi2_oheo_gulch; `sqdr hw list` has all.")
    if not report.quantum:
        missing.append("No quantum device. Add one with --hw braket_iqm_garnet; `sqdr hw list` has all.")
    chips = [
        {"fit": fit, "rows": _chip_rows(fit), "map": drawn}
        for fit, drawn in zip(report.neuromorphic, core_colours(report), strict=True)
    ]
    content = {
        "fits": report.fits,
        "chips": chips,
        "devices": [{"fit": fit, "rows": _device_rows(fit)} for fit in report.quantum],
        "violations": report.violations,
    }
    return Section(name="fit", title=FIT, content=content, missing=tuple(missing)), report


def _chip_rows(fit: Any) -> list[tuple[str, str]]:
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


def _device_rows(fit: Any) -> list[tuple[str, str]]:
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


def noisy_device(hardware: Sequence[str]) -> str | None:
    """Return the first of the hardware files whose noise a budget can take."""
    for name in hardware:
        try:
            device_noise(load_hardware(name))
        except ConfigError:
            continue
        return name
    return None


def budget_section(bundle: Path, device: str | None, shots: int, limit: int) -> tuple[Section, ErrorBudget | None]:
    """Return the section, and the budget for the figures."""
    missing = () if device else ("No device's noise: --hw names none. Add for example --hw braket_iqm_garnet.",)
    try:
        found = error_budget(bundle, shots=shots, device=device, limit=limit)
    except SqdrError as error:
        return Section(name="budget", title=BUDGET, missing=(f"Not worked out: {error}",)), None
    most = max([row.runs.high for row in found.rows] + [1.0])
    rows = [
        {
            "source": row.source,
            "n": f"{row.n_images:,}",
            "changed": _span(row.changed, "{:,.2f}"),
            "runs": _span(row.runs, "{:,.0f}"),
            "share": _span(row.share, "{:.2%}"),
            "how": row.how,
            "bar": round(100 * (row.changed.low + row.changed.high) / 2 / most, 1),
        }
        for row in found.rows
    ]
    needed = [
        (
            need.source,
            f"{need.share_kept:.4g}",
            "no number is enough" if need.shots is None else f"{need.shots:,}",
            f"{need.share_found:.4f}",
        )
        for need in found.shots_needed
    ]
    content = {"budget": found, "rows": rows, "needed": needed, "shots": f"{shots:,}"}
    return Section(name="budget", title=BUDGET, content=content, missing=missing), found


def _span(interval: Interval, form: str) -> str:
    low, high = form.format(interval.low), form.format(interval.high)
    return low if low == high else f"{low} to {high}"


def cost_section(fit: FitReport | None, sources: Sources, reason: str) -> Section:
    """Return what a run did cost, and what the devices of the fit would."""
    missing, paid = [], []
    if sources.results is not None:
        try:
            summary = read_json(sources.results / "summary.json")
            for name, key in (("all that the journal holds", "cost_usd"), ("by this run", "paid_now_usd")):
                value = summary.get(key)
                paid.append((name, UNKNOWN if value is None else _money(value)))
            paid += [
                (name, _count(summary.get(key))) for name, key in (("circuits", "n_circuits"), ("shots", "n_shots"))
            ]
        except SqdrError as error:
            missing.append(f"What the run cost is not known: {error} Finish it: `sqdr run --resume {sources.results}`.")
    else:
        missing.append("No run: nothing was spent that is known here. Name the folder of a run with --results.")
    rows, prices = [], []
    for device in () if fit is None else fit.quantum:
        if device.shots_priced is None:
            missing.append(f"{device.hardware}: nothing is priced, for it runs here or its prices are unknown.")
            continue
        rows.append(
            (
                device.hardware,
                f"{device.shots_priced:,}",
                UNKNOWN if device.cost_usd is None else dollars(device.cost_usd),
                UNKNOWN if device.cost_per_thousand_usd is None else dollars(device.cost_per_thousand_usd),
            )
        )
        prices += [(device.hardware, price.what, price.source, price.as_of) for price in device.prices]
    if fit is None:
        missing.append(f"No estimate: {reason}")
    content = {"paid": paid, "rows": rows, "prices": prices} if paid or rows else None
    return Section(name="cost", title=COST, content=content, missing=tuple(missing))


def _money(value: Any) -> str:
    try:
        amount = Decimal(str(value)[:40])
        return dollars(amount) if amount.is_finite() and abs(amount) < 10**12 else UNKNOWN
    except ArithmeticError:
        return UNKNOWN


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) < 10**15 else UNKNOWN
