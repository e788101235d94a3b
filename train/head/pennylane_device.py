"""The reupload circuit on any PennyLane device, differentiable, in place of our own simulation."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sqdr.circuit import Entangler, qnode
from sqdr.errors import ConfigError
from sqdr.plugins import missing

__all__ = ["PennyLaneCircuit"]

# How each device differentiates; anything else uses PennyLane's own best choice.
DIFF_METHODS = {
    "default.qubit": "backprop",
    "lightning.qubit": "adjoint",
    "braket.local.qubit": "parameter-shift",
}
# Devices that take a whole batch of torch angles in one execution.
BROADCASTING = frozenset({"default.qubit"})


class PennyLaneCircuit:
    """Callable (angles (N, n_qubits, 3), weights (n_blocks, n_qubits, 3)) -> <Z> (N, n_qubits).

    Args:
        device_name: such as ``default.qubit``, ``lightning.qubit`` or ``braket.local.qubit``.
        n_qubits: wires.
        entangler: as in `sqdr.circuit`.

    Raises:
        MissingDependencyError: PennyLane is not installed.
        ConfigError: PennyLane does not know the device.
    """

    def __init__(self, device_name: str, n_qubits: int, entangler: Entangler) -> None:
        try:
            import pennylane as qml
            from pennylane.exceptions import DeviceError
        except ImportError as error:
            raise missing(error, f"simulator pennylane:{device_name}") from error
        try:
            device = qml.device(device_name, wires=n_qubits)
        except (DeviceError, ImportError, ValueError) as error:
            raise ConfigError(
                f"`simulator` pennylane:{device_name} is not a device that PennyLane can load here. See "
                "`qml.about()` for the installed ones, or use simulator: statevector."
            ) from error
        self._is_broadcasting = device_name in BROADCASTING
        self._node = qnode(
            device,
            entangler,
            interface="torch" if self._is_broadcasting else "autograd",
            diff_method=DIFF_METHODS.get(device_name, "best"),
        )

    def __call__(self, angles: Tensor, weights: Tensor) -> Tensor:
        """Return <Z> in the dtype of ``angles``, on its device."""
        if self._is_broadcasting:
            return torch.stack(list(self._node(angles, weights)), dim=-1).to(angles)
        return _PerSample.apply(angles, weights, self._node)  # type: ignore[no-any-return,no-untyped-call]


class _PerSample(torch.autograd.Function):
    """One execution per sample, in float64 NumPy: the torch interface rounds plain floats to 32 bits."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, weights: Tensor, node: Any) -> Tensor:
        ctx.save_for_backward(angles, weights)
        ctx.node = node
        fixed = _array(weights)
        rows = np.stack([np.stack(node(sample, fixed)) for sample in _array(angles)])
        return torch.as_tensor(rows).to(angles)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        import pennylane as qml
        from pennylane import numpy as pnp

        angles, weights = ctx.saved_tensors
        trained = pnp.array(_array(weights), requires_grad=True)
        vector_product = qml.grad(
            # not stack: its gradient over a list of expectations comes out wrong (PennyLane 0.42)
            lambda a, w, g: sum(factor * z for factor, z in zip(g, ctx.node(a, w), strict=True)),
            argnum=[0, 1],
        )
        rows = [
            vector_product(pnp.array(sample, requires_grad=True), trained, gradient)
            for sample, gradient in zip(_array(angles), _array(gradients[0]).tolist(), strict=True)
        ]
        return (
            torch.as_tensor(np.stack([np.asarray(row[0]) for row in rows])).to(angles),
            torch.as_tensor(sum(np.asarray(row[1]) for row in rows)).to(weights),
            None,
        )


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()  # type: ignore[no-any-return]
