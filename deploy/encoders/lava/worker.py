"""The worker process: runs one network for one encoder, and ends with it.

Started by the encoder as ``python -m sqdr.deploy.encoders.lava.worker`` in a session of its own.
Standard input and output carry frames; what Lava prints goes to standard error.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqdr.deploy.encoders.lava.frames import PROTOCOL, Frame, to_error_frame
from sqdr.deploy.encoders.lava.graph import NetworkOptions
from sqdr.deploy.encoders.lava.leftovers import TAG_VARIABLE
from sqdr.deploy.encoders.lava.warden import Channel, Warden, name_shared_memory, tie_children
from sqdr.errors import ConfigError, InputError, SqdrError
from sqdr.timing import Timing

if TYPE_CHECKING:
    from sqdr.deploy.encoders.lava.stream import LavaStream

__all__ = ["main"]

ModelLoader = Callable[[], Mapping[type, type]]


def main(load_models: ModelLoader = dict) -> NoReturn:
    """Serve one encoder until it is done or anything fails.

    Args:
        load_models: called once standard output is out of the way; returns process models to use
            in place of the stock ones, by process class.
    """
    if os.getpgrp() != os.getpid():
        # It ends by killing its process group, which must not be someone else's.
        sys.exit("the Lava worker is started by LavaEncoder, not by hand")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel.take_standard_streams()
    tag = os.environ[TAG_VARIABLE]
    warden = Warden(channel, os.getppid(), tag, Path(os.environ["TMPDIR"]))
    name_shared_memory(tag)
    tie_children(channel)
    warden.start()
    channel.send(Frame({"protocol": PROTOCOL}))
    try:
        _serve(channel, warden, load_models)
    except BaseException as error:
        traceback.print_exc()
        warden.end(_to_frame(error))


def _serve(channel: Channel, warden: Warden, load_models: ModelLoader) -> NoReturn:
    stream = _start(warden.requests.get().header["network"], warden, load_models)
    channel.send(Frame({"started": True}))
    while True:
        _run(stream, channel, warden.requests.get())


def _start(network: dict[str, Any], warden: Warden, load_models: ModelLoader) -> "LavaStream":
    try:
        from sqdr.deploy.encoders.lava.stream import LavaStream

        if network["graph"] == "batched":
            from sqdr.deploy.encoders.lava.batched_graph import batched_graph as build_graph
        else:
            from sqdr.deploy.encoders.lava.netx_graph import netx_graph as build_graph
    except Exception as error:  # on Python 3.11 and later lava raises ValueError, not ImportError
        raise _LavaMissingError(f"{type(error).__name__}: {error}") from error
    options = NetworkOptions(
        net_path=network["net_path"],
        input_shape=tuple(network["input_shape"]),
        n_outputs=network["n_outputs"],
        timing=Timing(**network["timing"]),
        message_bits=network["message_bits"],
        graph=network["graph"],
        n_batch=network["n_batch"],
    )
    stream = LavaStream(build_graph(options), load_models())
    warden.find_fault = stream.find_fault
    stream.start()
    stream.warm_up()
    return stream


def _run(stream: "LavaStream", channel: Channel, request: Frame) -> None:
    if request.array is None:
        raise ValueError("a request without samples")
    if request.header.get("wants_states"):
        names, shapes, states = stream.trace(request.array[0])
        channel.send(Frame({"names": names, "shapes": shapes}, states))
        return
    wants_trains = bool(request.header["wants_trains"])
    first = stream.next_number
    numbers, counts, trains = stream.run(request.array, bool(request.header["is_last"]), wants_trains)
    header = {"first": first, "numbers": numbers}
    channel.send(Frame(header, trains if wants_trains else counts))


class _LavaMissingError(Exception):
    """Lava cannot be imported in this Python."""


def _to_frame(error: BaseException) -> Frame:
    if isinstance(error, _LavaMissingError):
        return to_error_frame("missing", str(error))
    if isinstance(error, InputError):
        return to_error_frame("config" if isinstance(error, ConfigError) else "bundle", str(error))
    if isinstance(error, SqdrError):
        return to_error_frame("crash", str(error))
    return to_error_frame("crash", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
