"""A source model that fails as the command line says: KIND STEP. Lava executes this file at compile."""

import os
import signal
import sys
import time

from lava.magma.core.decorator import implements, requires
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from sqdr.deploy.encoders.lava.processes.source import SpikeSource, SpikeSourceModel


class SilentError(Exception):
    """Cannot be unpickled: its only argument is not passed on."""

    def __init__(self, reason, code):
        super().__init__(reason)


def fail(kind):
    if kind == "raise":
        raise ValueError("boom")
    if kind == "raise_unpicklable":
        raise SilentError("boom", 1)
    if kind == "exit":
        os._exit(3)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "sleep":
        time.sleep(3600)
    if kind == "print":
        print("x" * 300_000)


@implements(proc=SpikeSource, protocol=LoihiProtocol)
@requires(CPU)
class FaultySourceModel(SpikeSourceModel):
    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.kind, self.fault_step = sys.argv[1], int(sys.argv[2])
        if self.fault_step == 0:
            fail(self.kind)

    def run_spk(self):
        if self.time_step == self.fault_step:
            fail(self.kind)
        super().run_spk()
