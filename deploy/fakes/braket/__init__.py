"""A Braket service on this machine, for the real SDK, boto3 and the PennyLane plugin to talk to."""

from sqdr.deploy.fakes.braket.clock import Clock, FakeClock
from sqdr.deploy.fakes.braket.faults import Fault, Faults, FiredFault
from sqdr.deploy.fakes.braket.service import FakeBraket
from sqdr.deploy.fakes.braket.tasks import FakeTask

__all__ = ["Clock", "FakeBraket", "FakeClock", "FakeTask", "Fault", "Faults", "FiredFault"]
