"""Golden samples: a few inputs with what the trained model itself makes of them."""

import numpy as np
import torch
from numpy.typing import NDArray

from sqdr.bundle import Golden
from sqdr.coding import encode_images
from sqdr.data import Images
from sqdr.head import HeadParameters, counts_to_angles, readout
from sqdr.specification import MAX_LIGHTCONE_BLOCKS, MAX_STATEVECTOR_QUBITS, HeadSpec
from sqdr.train.head import cone, lightcone, statevector
from sqdr.train.joint import JointModel, float_spikes

__all__ = ["exact_expectations", "make_golden"]

N_GOLDEN = 8


def make_golden(model: JointModel, parameters: HeadParameters, images: Images) -> Golden:
    """Return golden samples from the first images of a set.

    The spikes are the trained model's own, from its checkpoint; <Z> and logits are the exact
    simulation in float64.

    Args:
        model: trained, in evaluation mode.
        parameters: the head that is being exported.
        images: from the test part.
    """
    spec = model.spec
    chosen = images[:N_GOLDEN].images
    with torch.no_grad():
        trains = model.encoder(float_spikes(torch.from_numpy(encode_images(chosen, spec.coding))))
    spike_trains = trains.to(torch.uint8).numpy()
    counts = spike_trains.sum(axis=-1, dtype=np.int64)
    angles = counts_to_angles(counts, spec.coding.n_steps, parameters.scale_rad, spec.head)
    z = exact_expectations(angles, parameters, spec.head)
    return Golden(
        images=chosen,
        spike_trains=spike_trains,
        counts=counts,
        expectations=z,
        logits=readout(z, parameters, spec.head),
    )


def exact_expectations(angles: NDArray[np.float64], parameters: HeadParameters, head: HeadSpec) -> NDArray[np.float64]:
    """Return <Z> (N, n_qubits) in float64: by state vector, or by light cones where that is too wide."""
    is_narrow = head.n_qubits <= MAX_STATEVECTOR_QUBITS
    wide = lightcone if head.n_blocks <= MAX_LIGHTCONE_BLOCKS else cone
    simulate = statevector.expectations if is_narrow else wide.expectations
    z = simulate(torch.from_numpy(angles), torch.from_numpy(parameters.weights), head.entangler)
    return z.numpy()  # type: ignore[no-any-return]
