"""How many images change class on a device, and by what: spikes, shots, noise, each alone and together."""

from sqdr.deploy.error_budget.budget import error_budget
from sqdr.deploy.error_budget.report import ErrorBudget

__all__ = ["ErrorBudget", "error_budget"]
