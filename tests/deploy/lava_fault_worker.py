"""The Lava worker with a fault: KIND STEP, or a fault of the worker itself."""

import os
import sys
import time
import types
from pathlib import Path

MODELS = Path(__file__).parent / "lava_fault_models"


def skip_torch():
    """Start in 2 s instead of 6 s: netx imports torch for parts that no test here uses."""
    rf = types.ModuleType("rf")
    rf.neuron_params = None
    sys.modules["lava.lib.dl.slayer.neuron.rf"] = rf
    sys.modules["lava.lib.dl.netx.sequential_modules"] = types.ModuleType("sequential_modules")


def load_models():
    if sys.argv[1] == "worker_sleeps":
        time.sleep(3600)
    if sys.argv[1] == "worker_exits":
        os._exit(5)
    if sys.argv[1] == "none":
        return {}
    sys.path.insert(0, str(MODELS))
    from faulty_source import FaultySourceModel

    from sqdr.deploy.encoders.lava.processes.source import SpikeSource

    return {SpikeSource: FaultySourceModel}


if __name__ == "__main__":
    from sqdr.deploy.encoders.lava.worker import main

    if sys.argv[1] == "no_lava":
        sys.modules["lava"] = None
    if sys.argv[1] == "garbage":
        os.write(1, b"\xff" * 4096)
    skip_torch()
    main(load_models)
