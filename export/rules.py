"""What netx and the hardware can hold, as named rules; all violations are reported at once.

Each rule looks at the layers that were written and yields what it finds wrong. The hardware's limits
come from its file, those of netx and Lava were read in or measured on lava-nc 0.10.0 and lava-dl 0.6.0;
most of them fail silently or far from the cause there.
"""

from collections.abc import Callable

from sqdr.errors import ExportError
from sqdr.export.network import Found, Network, Violation
from sqdr.export.rules_parameters import PARAMETER_RULES
from sqdr.export.rules_states import STATE_RULES
from sqdr.export.rules_structure import STRUCTURE_RULES

__all__ = ["RULES", "Network", "Violation", "check_rules", "violations"]

RULES: tuple[Callable[[Network], Found], ...] = (*STRUCTURE_RULES, *PARAMETER_RULES, *STATE_RULES)


def violations(network: Network) -> list[Violation]:
    """Return every violation of every rule."""
    kinds = [layer.kind for layer in network.layers] or ["none"]
    return [
        Violation(rule.__name__, f"layer {index} ({kinds[index]})", problem, fix)
        for rule in RULES
        for index, problem, fix in rule(network)
    ]


def check_rules(network: Network) -> None:
    """Refuse a network that breaks any rule.

    Raises:
        ExportError: lists every violation.
    """
    found = violations(network)
    if found:
        raise ExportError("the encoder cannot be exported. " + " ".join(str(violation) for violation in found))
