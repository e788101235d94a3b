"""What a run would take and cost on a device, before anything is submitted."""

from sqdr.deploy.plan.planner import plan_run
from sqdr.deploy.plan.report import Plan

__all__ = ["Plan", "plan_run"]
