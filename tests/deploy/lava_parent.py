"""A process that uses a Lava encoder until it is killed: NET WORKER_COMMAND..."""

import sys

import numpy as np

from sqdr.deploy.encoders.lava import LavaEncoder
from sqdr.timing import Timing


def main():
    encoder = LavaEncoder(
        sys.argv[1],
        input_shape=(1, 4, 5),
        n_outputs=3,
        timing=Timing(n_steps=4, period=4, n_layers=2),
        timeout_s=60.0,
        worker_command=sys.argv[2:],
    )
    with encoder:
        print(encoder.worker_pid, flush=True)
        while True:
            encoder.encode(np.ones((4, 1, 4, 5, 4), np.uint8))


if __name__ == "__main__":
    main()
