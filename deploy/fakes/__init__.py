"""Fakes of what deployment talks to, for tests and for trying things out without an account."""

from sqdr.deploy.fakes.braket import FakeBraket, FakeClock, FakeTask
from sqdr.deploy.fakes.encoder import FakeEncoder
from sqdr.deploy.fakes.head import FakeHead
from sqdr.deploy.fakes.script import FakeCall, FakeScript

__all__ = ["FakeBraket", "FakeCall", "FakeClock", "FakeEncoder", "FakeHead", "FakeScript", "FakeTask"]
