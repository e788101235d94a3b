"""Train, export and run hybrid spiking-quantum classifiers.

Importing this package alone stays light: the parts below load when they are first used.

    run = sqdr.train("digits_small", "runs/digits")
    sqdr.export(run, "digits.sqdr")
    with sqdr.open_bundle("digits.sqdr", encoder="lava", device="local:braket-sv", shots=1000) as pipeline:
        result = pipeline.predict(images)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqdr.deploy.pipeline import open_bundle

__all__ = ["__version__", "export", "open_bundle", "train"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("train", "export", "deploy", "hw_configs"):
        return importlib.import_module(f"sqdr.{name}")
    if name == "open_bundle":
        from sqdr.deploy.pipeline import open_bundle

        return open_bundle
    raise AttributeError(f"module 'sqdr' has no attribute '{name}'")
