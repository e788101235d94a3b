"""Lava processes of the encoder's two ends.

Lava executes every file in this folder when it compiles a network: keep it free of anything but
Process and ProcessModel classes.
"""

__all__: list[str] = []
