"""Amounts in USD, in words."""

from decimal import Decimal

__all__ = ["dollars"]


def dollars(amount: Decimal) -> str:
    """Return the exact amount with at least two decimals: 445.00000 as $445.00, 0.00375 as it is."""
    whole, _, fraction = f"{amount:,f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"
