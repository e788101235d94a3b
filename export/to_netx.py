"""Write the trained encoder as netx HDF5."""

import copy
from pathlib import Path
from typing import Any

import torch

from sqdr.plugins import missing
from sqdr.storage import storage_errors
from sqdr.train.encoder.slayer import SlayerEncoder

__all__ = ["write_netx"]


def write_netx(encoder: SlayerEncoder, max_payload: int, path: Path) -> None:
    """Write ``encoder`` to a new file and leave it untouched.

    SLAYER's own ``export_hdf5`` removes the weight normalisation from the model it is called on, and
    SLAYER blocks cannot be deep-copied; so a second encoder is built, given the same weights, and
    that one is written.

    Args:
        encoder: the trained encoder.
        max_payload: largest value of one input spike, as the encoder was built with.
        path: must not exist yet; readers keep netx files open.
    """
    try:
        import h5py
    except ImportError as error:
        raise missing(error, "writing encoder.net") from error
    twin = SlayerEncoder(encoder.spec, max_payload)
    twin.load_state_dict(_plain_state(encoder))
    twin.eval()
    with storage_errors(path), h5py.File(path, "x", libver="earliest") as file:  # the form that sqdr.hdf5 reads
        for index, block in enumerate(twin.blocks):
            block.export_hdf5(file.create_group(f"layer/{index}"))


def _plain_state(encoder: SlayerEncoder) -> dict[str, Any]:
    return {
        name: copy.copy(value.detach().cpu()) if isinstance(value, torch.Tensor) else value
        for name, value in encoder.state_dict().items()
    }
