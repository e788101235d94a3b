"""The encoder on a chip: placement, activity, time and energy in one report."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.encoders.integer.network import IntegerLayer
from sqdr.deploy.fit.activity import LayerActivity
from sqdr.deploy.fit.connectivity import Connectivity
from sqdr.deploy.fit.energy import energy_of, stream_timing, time_of
from sqdr.deploy.fit.placement import Core, Placement, is_shared, known, place
from sqdr.deploy.fit.report import CoreFit, LayerFit, Measured, NeuromorphicFit
from sqdr.deploy.fit.rules import Deployment, state_bits, violations_of, weight_bits
from sqdr.hw_configs import Loihi2
from sqdr.specification import ModelSpec

__all__ = ["fit_encoder"]

# Figures that may be unknown, and what is then not said.
DEPENDS = {
    "core_memory_bytes": "no core is held to its memory",
    "synaptic_memory_bytes_per_core": "no core is held to its synaptic memory",
    "n_fan_in_axons_per_core": "no core is held to its fan-in axons",
    "n_fan_out_axons_per_core": "no core is held to its fan-out axons",
    "convolution_storage": "kernels are taken as unrolled, which needs the most memory",
    "time_per_step_ns": "no latency in seconds",
    "barrier_time_ns": "no bound of the latency",
    "energy_per_synaptic_operation_pj": "no energy of synaptic operations",
    "energy_per_neuron_update_pj": "no energy of neuron updates",
}


def fit_encoder(
    layers: Sequence[IntegerLayer],
    activity: Sequence[LayerActivity],
    model: ModelSpec,
    hardware: Loihi2,
    samples: str,
) -> NeuromorphicFit:
    """Return how the network lies on a chip, what it takes, and every rule that it breaks.

    Args:
        layers: of the network.
        activity: of each layer, on real samples.
        model: its specification.
        hardware: the chip or system.
        samples: in words, where the samples are from.
    """
    placement = place(layers, hardware)
    deployment = Deployment(hardware=hardware, layers=layers, placement=placement, activity=activity)
    timing = stream_timing(model, hardware)
    operations = np.sum([each.synaptic_operations for each in activity], axis=0)
    n_neurons = sum(core.n_neurons for core in placement.cores)
    n_updates = n_neurons * timing.period
    n_available = hardware.n_chips * hardware.n_cores_per_chip.value
    memory = known(hardware.core_memory_bytes)
    return NeuromorphicFit(
        hardware=hardware.name,
        description=hardware.description,
        samples=samples,
        n_samples=len(operations),
        convolution_storage="shared" if is_shared(hardware) else "unrolled",
        layers=tuple(_layer(deployment, index) for index in range(len(layers))),
        cores=tuple(_core(layers, core) for core in placement.cores),
        n_neurons=n_neurons,
        n_synapses=sum(core.n_synapses for core in placement.cores),
        n_stored=sum(core.n_stored for core in placement.cores),
        n_cores=len(placement.cores),
        n_cores_available=n_available,
        n_chips=placement.n_chips,
        n_chips_available=hardware.n_chips,
        neuron_use=n_neurons / (len(placement.cores) * hardware.n_neurons_per_core.value),
        core_use=len(placement.cores) / n_available,
        memory_use=None if memory is None else _largest_memory(placement) / memory,
        time=time_of(timing, hardware),
        synaptic_operations=_measured(operations),
        neuron_updates=n_updates,
        energy=energy_of(float(operations.mean()), n_updates, hardware),
        violations=violations_of(deployment),
        unknown=_unknown(hardware),
    )


def _layer(deployment: Deployment, index: int) -> LayerFit:
    layer, activity = deployment.layers[index], deployment.activity[index]
    cores = deployment.placement.of_layer(index)
    connectivity = Connectivity(layer)
    return LayerFit(
        name=layer.name,
        n_neurons=connectivity.n_neurons,
        n_synapses=connectivity.n_synapses,
        n_weights=connectivity.n_weights,
        n_stored=sum(core.n_stored for core in cores),
        synaptic_bytes=sum(core.synaptic_bytes for core in cores),
        n_cores=len(cores),
        max_fan_in_axons=max(core.fan_in_axons for core in cores),
        max_fan_out_axons=max(core.fan_out_axons for core in cores),
        max_delay=0 if layer.delay is None else int(layer.delay.max()),
        weight_bits=weight_bits(layer.weight),
        state_bits=state_bits(activity.max_state),
        input_spikes=_measured(activity.input_spikes),
        synaptic_operations=_measured(activity.synaptic_operations),
        output_spikes=_measured(activity.output_spikes),
    )


def _core(layers: Sequence[IntegerLayer], core: Core) -> CoreFit:
    values = {name: getattr(core, name) for name in CoreFit.model_fields if name != "layer"}
    return CoreFit(layer=layers[core.layer].name, **values)


def _largest_memory(placement: Placement) -> int:
    return max(core.memory_bytes for core in placement.cores)


def _measured(values: NDArray[np.int64]) -> Measured:
    return Measured(mean=float(values.mean()), std=float(values.std(ddof=1)) if len(values) > 1 else 0.0)


def _unknown(hardware: Loihi2) -> tuple[str, ...]:
    found = []
    for name, consequence in DEPENDS.items():
        figure = getattr(hardware, name)
        if known(figure) is None:
            where = "the file does not say" if figure is None else figure.source
            found.append(f"{name}: unknown, so {consequence} ({where})")
    return tuple(found)
