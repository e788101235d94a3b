"""The fake Braket service as a pytest fixture, for any test suite.

Ask for it in a ``conftest.py`` or a test module::

    pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

    def test_bell_pair(fake_braket):
        device = AwsDevice(fake_braket.simulator_arn)
        assert device.run(Circuit().h(0).cnot(0, 1), shots=10).result().measurement_counts

Only this module needs pytest. PYTEST_DONT_REWRITE: it asserts nothing, and pytest would warn if a test module had
imported it before.
"""

from collections.abc import Iterator

import pytest

from sqdr.deploy.fakes.braket import FakeBraket

__all__ = ["OTHER_VARIABLES", "fake_braket"]

# Not in FakeBraket.environment(), but a developer's machine may have them, and they would lead elsewhere.
OTHER_VARIABLES = (
    "AMZN_BRAKET_JOB_TOKEN",
    "AMZN_BRAKET_TASK_RESULTS_S3_URI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_MAX_ATTEMPTS",
    "AWS_PROFILE",
    "AWS_RETRY_MODE",
    "AWS_SESSION_TOKEN",
)


@pytest.fixture
def fake_braket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBraket]:
    """A Braket service that listens, with the environment set so that the SDK finds it and no other."""
    for name in OTHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with FakeBraket() as fake:
        for name, value in fake.environment().items():
            monkeypatch.setenv(name, value)
        yield fake
