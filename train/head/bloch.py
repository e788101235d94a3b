"""Bloch vectors turned by ``Rot``, with a gradient in closed form: that of an angle is a cross product."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Vector", "inverse", "north", "rotate"]

Vector = tuple[Tensor, Tensor, Tensor]
"""The x, y and z of Bloch vectors, each (..., n_qubits)."""


def north(angles: Tensor) -> Vector:
    """Return what ``Rot(phi, theta, omega)`` makes of the Bloch vector of |0>, which is +z.

    Args:
        angles: (..., n_qubits, 3) radians.
    """
    _, theta, omega = angles.unbind(-1)
    sin = torch.sin(theta)
    return torch.cos(omega) * sin, torch.sin(omega) * sin, torch.cos(theta)


def inverse(angles: Tensor) -> Tensor:
    """Return the angles of the inverse rotation: what pulls an observable back through ``Rot``."""
    return -angles.flip(-1)


def rotate(vector: Vector, angles: Tensor) -> Vector:
    """Return R_z(omega) R_y(theta) R_z(phi) times Bloch vectors.

    Args:
        vector: to turn.
        angles: (..., n_qubits, 3) radians, whose leading axes go with the vector's.
    """
    return _Rotation.apply(*vector, angles)  # type: ignore[no-any-return,no-untyped-call]


class _Rotation(torch.autograd.Function):
    """The light cone spends its time on starting small operations; by this gradient it starts fewer.

    Measured at 9 qubits, 2 blocks and batch 64: 1.4 times as fast as by automatic differentiation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, z: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cos, sin = torch.cos(angles), torch.sin(angles)
        (cp, ct, co), (sp, st, so) = cos.unbind(-1), sin.unbind(-1)
        ctx.shapes = x.shape, y.shape, z.shape, angles.shape
        x, y = _turn(x, y, cp, sp)
        first = x, y
        z, x = _turn(z, x, ct, st)
        second = z, x
        x, y = _turn(x, y, co, so)
        ctx.save_for_backward(cos, sin, *first, *second, x, y)
        return x, y, z

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cos, sin, x1, y1, z2, x2, x3, y3 = ctx.saved_tensors
        (cp, ct, co), (sp, st, so) = cos.unbind(-1), sin.unbind(-1)
        gx, gy, gz = gradients
        omega = torch.addcmul(gy * x3, gx, y3, value=-1)
        gx, gy = _turn(gx, gy, co, -so)
        theta = torch.addcmul(gx * z2, gz, x2, value=-1)
        gz, gx = _turn(gz, gx, ct, -st)
        phi = torch.addcmul(gy * x1, gx, y1, value=-1)
        gx, gy = _turn(gx, gy, cp, -sp)
        x, y, z, angles = ctx.shapes
        turned = torch.stack([phi, theta, omega], dim=-1)
        return gx.sum_to_size(x), gy.sum_to_size(y), gz.sum_to_size(z), turned.sum_to_size(angles)


def _turn(a: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Turn (a, b) from a towards b; (x, y) about z, (z, x) about y."""
    return torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)
