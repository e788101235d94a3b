"""SLAYER's CUBA neurons and synapses, computed faster and exactly equal.

The spikes are SLAYER's, every one, and the gradients its own within rounding: two runs are equal bit for bit
only by the same path, in vectors of the same kind.

What differs is the work: one convolution of all steps, no 64-bit integers in C, and
time outermost in memory, so that neighbouring neurons fill vector registers. Parameters, state dict and export
stay SLAYER's. A state that a path cannot hold exactly is computed by SLAYER's own code.

Paths: ``compiled`` (C, built at install where there is a compiler), ``triton_path`` (GPUs, compiled when
first run, without nvcc) and ``eager`` (torch alone, anywhere). On a CPU with the C kernels ``fused`` takes the whole
encoder in one call; the layers one by one remain for what it cannot take (hooks, states beyond 2^30).

Where SLAYER contradicts itself: on the CPU and in Lava a neuron spikes if v > threshold; its CUDA kernel
also resets at v == threshold, without a spike. All paths here hold to v > threshold. SLAYER's gradients of
the decays are -4096 times the true ones; here decays have none, and asking for one is an error.

Source: lava-dl 0.6.0, lava/lib/dl/slayer/neuron/cuba.py, neuron/dynamics/leaky_integrator.py, spike/spike.py.
"""

from typing import Literal

__all__ = ["CubaChoice"]

CubaChoice = Literal["auto", "c", "torch", "stock"]
"""The fastest path; the same or an error where the C kernels are missing; torch alone; SLAYER's own code."""
