"""Lava's channels without the threads in between: a message costs two semaphores and two copies.

A port of Lava's own passes every message, and every acknowledgement, through a thread beside the process's own.
On one core each of them waits for its turn on the processor and for Python's lock, several times for a message,
and a time step takes two messages for every process besides those between layers.
Only the worker imports this module: it needs lava-nc.
"""

from multiprocessing import Semaphore
from typing import Any

import numpy as np
from lava.magma.compiler.channels.interfaces import Channel, ChannelType
from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspSendPort, Proto
from lava.magma.compiler.channels.watchdog import NoOPWatchdog
from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing
from lava.magma.runtime.runtime import Runtime
from numpy.typing import NDArray

__all__ = ["DirectChannel", "DirectRuntime"]


class DirectRuntime(Runtime):  # type: ignore[misc]  # lava ships no types
    """Lava's runtime with direct channels between all of its processes.

    Args:
        executable: a compiled network.
    """

    def __init__(self, executable: Any) -> None:
        super().__init__(executable, ActorType.MultiProcessing)

    def _build_message_infrastructure(self) -> None:
        self._messaging_infrastructure = _DirectProcesses()
        self._messaging_infrastructure.start()


class _DirectProcesses(MultiProcessing):  # type: ignore[misc]  # lava ships no types
    def channel_class(self, channel_type: ChannelType) -> type[Channel]:
        if channel_type != ChannelType.PyPy:
            raise NotImplementedError(f"a channel of type {channel_type.name}")
        return DirectChannel


class DirectChannel(Channel):  # type: ignore[misc]  # lava ships no types
    """A ring of messages in shared memory, for one sender and one receiver.

    Args:
        infrastructure: whose shared memory to use.
        src_name: of the sending port.
        dst_name: of the receiving port.
        shape: of a message.
        d_type: of its values.
        size: messages that the ring holds.
        watchdogs: not used.

    Source: lava-nc 0.10.0, lava/magma/compiler/channels/pypychannel.py, PyPyChannel.
    """

    def __init__(
        self,
        infrastructure: Any,
        src_name: str,
        dst_name: str,
        shape: tuple[int, ...],
        d_type: Any,
        size: int,
        *watchdogs: Any,
    ) -> None:
        n_bytes = int(np.prod(shape)) * np.dtype(d_type).itemsize
        ring = infrastructure.smm.create_shared_memory(n_bytes * size)
        # The ports call them req and ack: how many messages wait, and how many more there is room for.
        filled, free = Semaphore(0), Semaphore(size)
        common = (ring, Proto(shape, d_type, n_bytes), size, filled, free, NoOPWatchdog(None), NoOPWatchdog(None))
        self._src_port = _DirectSendPort(src_name, *common)
        self._dst_port = _DirectRecvPort(dst_name, *common)

    @property
    def src_port(self) -> CspSendPort:
        """Where messages go in."""
        return self._src_port

    @property
    def dst_port(self) -> CspRecvPort:
        """Where messages come out."""
        return self._dst_port


class _DirectSendPort(CspSendPort):  # type: ignore[misc]  # lava ships no types
    _idx: int

    def start(self) -> None:
        self._array = _messages(self)

    def probe(self) -> bool:
        """Return whether there is room."""
        return bool(self._ack.get_value())

    def send(self, data: NDArray[Any]) -> None:
        """Put a message into the ring; waits for room."""
        if data.shape != self._shape:
            raise ValueError(f"port {self._name} sends messages of shape {self._shape}, not {data.shape}")
        self._ack.acquire()
        self._array[self._idx] = data
        self._idx = (self._idx + 1) % self._size
        self._req.release()

    def join(self) -> None:
        """There is no thread to wait for."""


class _DirectRecvPort(CspRecvPort):  # type: ignore[misc]  # lava ships no types
    _idx: int

    def start(self) -> None:
        self._array = _messages(self)

    def probe(self) -> bool:
        """Return whether a message is there; for a selector, when one is.

        Lava's selector (`CspSelector`) observes its ports and sleeps until a thread of one wakes it. The models
        of this package, their runtime service and the runtime each select from one port: it waits here instead.
        """
        if self.observer is None:
            return bool(self._req.get_value())
        self._wait()
        return True

    def peek(self) -> NDArray[Any]:
        """Return the next message and leave it in the ring; waits for it."""
        self._wait()
        message: NDArray[Any] = self._array[self._idx].copy()
        return message

    def recv(self) -> NDArray[Any]:
        """Take the next message out of the ring; waits for it."""
        self._req.acquire()
        message: NDArray[Any] = self._array[self._idx].copy()
        self._idx = (self._idx + 1) % self._size
        self._ack.release()
        return message

    def join(self) -> None:
        """There is no thread to wait for."""

    def _wait(self) -> None:
        self._req.acquire()
        self._req.release()


def _messages(port: Any) -> NDArray[Any]:
    return np.ndarray((port._size, *port._shape), port._dtype, buffer=port._shm.buf)
