"""Lava's fixed-point convolution with its sums taken by one sparse matrix; everything else is Lava's own."""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv import utils
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv

from sqdr.deploy.encoders.lava.conv_matrix import conv_matrix

__all__ = ["SparseConvModel"]

_SUM_BITS = 24


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SparseConvModel(PyConvModelFixed):  # type: ignore[misc]  # lava ships no types
    """Takes the place of PyConvModelFixed, whose loop of scipy.signal.convolve2d takes most of a network's time."""

    a_buf: Any

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.matrix: Any = None

    def run_spk(self) -> None:
        """Send the sums of the step before, and take those of this one."""
        if self.matrix is None:  # the weights are not there yet when the model is made
            self.matrix = conv_matrix(
                self.weight,
                self.s_in.shape,
                stride=tuple(self.stride.tolist()),
                padding=tuple(self.padding.tolist()),
                dilation=tuple(self.dilation.tolist()),
                groups=int(self.groups[0]),
            )
        self.a_out.send(self.a_buf)
        values = self.s_in.recv().reshape(-1)
        if self.num_message_bits.item() == 0:  # a spike, whatever its value
            values = values != 0
        sums = self.matrix @ values.astype(np.int64)
        self.a_buf = utils.signed_clamp(sums, bits=_SUM_BITS).reshape(self.a_out.shape)
