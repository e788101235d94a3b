"""The exported encoder in integer arithmetic: NumPy alone, no torch and no Lava, bit for bit."""

from sqdr.deploy.encoders.integer.encoder import IntegerEncoder

__all__ = ["IntegerEncoder"]
