"""Fakes of what deployment talks to, for tests and for trying things out without an account."""

from sqdr.deploy.fakes.braket_service import FakeBraket, FakeTask
from sqdr.deploy.fakes.circuits import reupload_openqasm

__all__ = ["FakeBraket", "FakeTask", "reupload_openqasm"]
