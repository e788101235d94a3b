"""The Lava backend: an exported network run as Lava processes in a supervised worker process.

Only the worker imports Lava, so this package imports on every Python that sqdr supports.
"""

from sqdr.deploy.encoders.lava.encoder import LavaEncoder, LavaGraph

__all__ = ["LavaEncoder", "LavaGraph"]
