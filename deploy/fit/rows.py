"""What `sqdr fit` and the report show of a fit in all: (name, value) rows in words."""

from sqdr.deploy.fit.report import NeuromorphicFit, QuantumFit

__all__ = ["chip_rows", "device_rows"]

UNKNOWN = "unknown"

Rows = list[tuple[str, str]]


def chip_rows(chip: NeuromorphicFit) -> Rows:
    """Return the encoder on one chip: room, time, activity, energy."""
    time, energy, operations = chip.time, chip.energy, chip.synaptic_operations
    update, barrier = energy.update_nj, time.barrier_us
    return [
        ("cores", f"{chip.n_cores:,} of {chip.n_cores_available:,} ({chip.core_use:.1%})"),
        ("chips", f"{chip.n_chips:,} of {chip.n_chips_available:,}"),
        ("neurons", f"{chip.n_neurons:,} ({chip.neuron_use:.1%} of the places on the used cores)"),
        (f"synapses, kernels {chip.convolution_storage}", f"{chip.n_stored:,} stored, {chip.n_synapses:,} unrolled"),
        ("memory of the fullest core", UNKNOWN if chip.memory_use is None else f"{chip.memory_use:.1%}, at least"),
        ("longest delay", f"{max(layer.max_delay for layer in chip.layers)} steps"),
        ("time steps a sample, in a stream", f"{time.steps_per_sample:,}"),
        ("time steps until its last output", f"{time.latency_steps:,}"),
        ("latency", UNKNOWN if time.latency_us is None else f"{time.latency_us:,.1f} us"),
        ("latency by barriers alone", UNKNOWN if barrier is None else f"{barrier.min:.1f} to {barrier.max:.1f} us"),
        ("activity measured on", f"{chip.n_samples:,} {chip.samples}"),
        ("synaptic operations a sample", f"{operations.mean:,.0f} +- {operations.std:,.0f}"),
        ("neuron updates a sample", f"{chip.neuron_updates:,}"),
        (
            "energy a sample: synaptic operations",
            UNKNOWN if energy.synaptic_nj is None else f"{energy.synaptic_nj:,.0f} nJ (estimate)",
        ),
        (
            "energy a sample: neuron updates",
            UNKNOWN if update is None else f"{update.min:,.0f} to {update.max:,.0f} nJ (estimate)",
        ),
    ]


def device_rows(device: QuantumFit) -> Rows:
    """Return the circuit on one quantum device: size, mapping, fidelity, shots; without its cost."""
    mapping, chance = device.mapping, device.success_probability
    depth, gates = f"{device.depth}", f"{device.n_two_qubit_gates}"
    mapped_by: Rows = []
    if mapping is not None:
        depth += f", {mapping.depth_after} when mapped"
        gates += f", {mapping.n_two_qubit_gates_after} {mapping.two_qubit_gate} when mapped"
        mapped_by = [("mapped by", mapping.compiler)]
    return [
        ("qubits", f"{device.n_qubits:,} of {device.n_qubits_available:,}"),
        ("depth", depth),
        ("two-qubit gates", gates),
        *mapped_by,
        ("chance that no gate and no readout errs (estimate)", UNKNOWN if chance is None else f"{chance:.3f}"),
        (
            f"shots to keep {device.agreement_target:.4g} of the classes, without noise",
            UNKNOWN if device.shots_for_target is None else f"{device.shots_for_target:,}",
        ),
        ("measured on", device.shots_source),
    ]
