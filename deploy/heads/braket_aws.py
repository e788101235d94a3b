"""A managed simulator or a quantum processor on Amazon Braket, through the Braket SDK."""

import os
import time
from collections import deque
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sqdr.deploy.heads.aws_errors import HOW_TO_SIGN_IN, clean, translate
from sqdr.deploy.heads.base import HeadBase, check_limits, check_shots, import_extra
from sqdr.deploy.heads.braket_local import columns_to_expectations
from sqdr.deploy.heads.openqasm import ReuploadProgram
from sqdr.errors import BackendError, BackendTimeoutError, CredentialsError, DeviceError, SqdrError, TaskError
from sqdr.hw_configs import BraketQpu, BraketSimulator
from sqdr.hw_configs.schema import ARN_PATTERN

__all__ = ["BraketAwsHead"]

MAX_IN_FLIGHT = 10
TASK_TIMEOUT_S = 24 * 3600.0
# Polling an existing task is free: botocore retries throttling and server errors this often.
MAX_ATTEMPTS = 8
OPENQASM = "braket.ir.openqasm.program"


class BraketAwsHead(HeadBase):
    """One quantum task per sample, a few in flight, results in order.

    The angles travel as the inputs of one unchanging program rather than as numbers in its text: what
    is submitted is then the exported circuit, byte for byte where the device takes its gates, and a
    service that caches a compiled program by its text can. A gate that the device does not list among
    its ``supportedOperations`` is spelled in others (`ReuploadProgram.spelled_for`). Nothing reaches the
    service before the device, its gates, the number of qubits and the shots have been checked against
    what the device itself reports. If a task fails, those still in flight are cancelled, so that none
    is paid for a result nobody waits for.

    Credentials come from boto3's own chain and are never read here. The results go to the bucket
    that the Braket SDK chooses (``AMZN_BRAKET_OUT_S3_BUCKET``, else the account's default one).
    """

    is_paid = True

    def __init__(
        self,
        openqasm: str,
        arn: str,
        *,
        shots: int | None,
        hardware: BraketQpu | BraketSimulator | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        task_timeout_s: float = TASK_TIMEOUT_S,
    ) -> None:
        """Check what can be checked without the service.

        Args:
            openqasm: the circuit as the exporter writes it.
            arn: the device.
            shots: shots of each circuit; None for exact expectations, on a simulator only.
            hardware: limits and prices known beforehand; None leaves the cost unknown.
            max_in_flight: the most tasks submitted and not yet finished.
            task_timeout_s: the longest wait for one task, queue included.

        Raises:
            BundleError: the text is not a circuit as the exporter writes it.
            DeviceError: the ARN is malformed, or the circuit or the shots do not suit the hardware.
        """
        match = ARN_PATTERN.fullmatch(arn)
        if match is None:
            raise DeviceError(
                "`device` must be an ARN such as arn:aws:braket:<region>::device/qpu/<maker>/<name>. "
                "Copy it from the Braket console."
            )
        program = ReuploadProgram.from_text(openqasm)
        is_qpu = match["short"].startswith("qpu/")
        super().__init__(f"braket:{match['short']}", "hardware" if is_qpu else _simulated(shots), program.n_qubits)
        check_shots(shots)
        if is_qpu and shots is None:
            raise DeviceError(f"{self.name} is a quantum processor: it needs `shots`. Pass for example 1000.")
        if max_in_flight < 1:
            raise DeviceError(f"`max_in_flight` must be at least 1, got {max_in_flight}.")
        if hardware is not None:
            shot_range = hardware.shots.value
            self._check(hardware.n_qubits.value, shots, range(shot_range.min, shot_range.max + 1), program.n_qubits)
        self._program, self._arn, self._region = program, arn, match["region"] or None
        self._shots, self._hardware = shots, hardware
        self._max_in_flight, self._task_timeout_s = max_in_flight, task_timeout_s
        self._device: Any = None
        self._poll_s = 1.0
        self._billed_s = Decimal(0)

    def _open(self) -> None:
        """Connect, and check the circuit against the device, before anything is submitted."""
        if self._device is None:
            self._device = self._connect()

    def _connect(self) -> Any:
        boto3, aws = import_extra("boto3"), import_extra("braket.aws")
        config = import_extra("botocore.config").Config(retries={"mode": "standard", "max_attempts": MAX_ATTEMPTS})
        try:
            session = boto3.Session(region_name=self._region or os.environ.get("AWS_REGION"))
            if session.get_credentials() is None:
                raise CredentialsError(f"opening {self.name}: no AWS credentials found. {HOW_TO_SIGN_IN}")
            device = aws.AwsDevice(self._arn, aws_session=aws.AwsSession(boto_session=session, config=config))
        except SqdrError:
            raise
        except ValueError as error:  # the SDK's own "not found"
            raise DeviceError(f"{self.name}: {clean(error)}. Check the ARN and the region.") from None
        except Exception as error:
            raise translate(error, f"opening {self.name}", BackendError) from None
        self._check_device(device)
        return device

    def _check_device(self, device: Any) -> None:
        if device.status != "ONLINE":
            raise DeviceError(f"{self.name} is {device.status}. Nothing was submitted; try later.")
        if device.properties is None:
            raise DeviceError(f"{self.name} reports no capabilities. Update amazon-braket-sdk.")
        low, high = (int(shots) for shots in device.properties.service.shotsRange)
        self._check(device.properties.paradigm.qubitCount, self._shots, range(max(low, 1), high + 1), self.n_qubits)
        self._program = self._spelled(device)
        poll_ms = device.properties.service.getTaskPollIntervalMillis
        self._poll_s = poll_ms / 1000 if poll_ms else 1.0

    def _spelled(self, device: Any) -> ReuploadProgram:
        """Return the program in gates that the device itself lists."""
        action = device.properties.action.get(OPENQASM)
        if action is None:
            raise DeviceError(f"{self.name} takes no OpenQASM programs. Choose a device that runs circuits.")
        program = self._program.spelled_for(action.supportedOperations)
        listed = {name.lower() for name in action.supportedOperations}
        missing = sorted(gate for gate in program.gates if gate.lower() not in listed)
        if missing:
            raise DeviceError(
                f"{self.name} does not list the gates that the circuit needs: {', '.join(missing)}. Nothing was "
                "submitted; choose another device."
            )
        return program

    def _check(self, max_qubits: int, shots: int | None, range_: range, n_qubits: int) -> None:
        check_limits(self.name, n_qubits=n_qubits, max_qubits=max_qubits, shots=shots, range_=range_)

    def _run(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        self._program.check_unused(angles)
        self._open()
        in_flight: deque[Any] = deque()
        rows: list[NDArray[np.float64]] = []
        try:
            for sample in angles:
                if len(in_flight) == self._max_in_flight:
                    rows.append(self._wait(in_flight[0]))
                    in_flight.popleft()
                in_flight.append(self._submit(self._program.bind(sample)))
            while in_flight:
                rows.append(self._wait(in_flight[0]))
                in_flight.popleft()
        except BaseException:
            for task in in_flight:
                self._cancel(task)
            raise
        return np.stack(rows)

    def _submit(self, inputs: dict[str, float]) -> Any:
        program = import_extra("braket.ir.openqasm").Program
        exact = self._shots is None
        source = self._program.with_expectations() if exact else self._program.with_measurements()
        try:
            task = self._device.run(program(source=source, inputs=inputs), shots=self._shots or 0)
        except Exception as error:
            raise translate(error, f"submitting to {self.name}") from None
        self._count(1, self._shots)
        return task

    def _wait(self, task: Any) -> NDArray[np.float64]:
        """Return <Z> of one task once it is done.

        The state is polled here because the SDK's ``result()`` says None for a failed task, a
        cancelled task and a time-out alike.
        """
        deadline = time.monotonic() + self._task_timeout_s
        try:
            while (state := task.metadata())["status"] not in ("COMPLETED", "FAILED", "CANCELLED"):
                if time.monotonic() > deadline:
                    raise BackendTimeoutError(
                        f"{_task_name(task)} on {self.name} did not finish within {self._task_timeout_s:g} s."
                    )
                time.sleep(self._poll_s)
            if state["status"] != "COMPLETED":
                reason = clean(state.get("failureReason") or "the service gives no reason")
                raise TaskError(f"{_task_name(task)} on {self.name} ended {state['status']}: {reason}")
            result = task.result()
        except SqdrError:
            raise
        except Exception as error:
            raise translate(error, f"waiting for {_task_name(task)} on {self.name}") from None
        if result is None:
            raise TaskError(f"{_task_name(task)} on {self.name} is COMPLETED but has no result.")
        return self._read(result, task)

    def _cancel(self, task: Any) -> None:
        try:
            # Not task.cancel(), which needs an event loop.
            self._device.aws_session.cancel_quantum_task(task.id)
        except Exception:
            # Best effort, and an error for a task already done: the error that led here is the one to report.
            return

    def _read(self, result: Any, task: Any) -> NDArray[np.float64]:
        simulator = getattr(result.additional_metadata, "simulatorMetadata", None)
        if simulator is not None and isinstance(self._hardware, BraketSimulator):
            minimum = Decimal(self._hardware.prices.minimum_seconds.value)
            self._billed_s += max(Decimal(simulator.executionDuration) / 1000, minimum)
        try:
            if self._shots is None:
                return np.array(result.values, dtype=np.float64).reshape(self.n_qubits)
            return columns_to_expectations(result, self.n_qubits)
        except (ValueError, IndexError, TypeError) as error:
            raise TaskError(
                f"{_task_name(task)} on {self.name}: the result does not cover all {self.n_qubits} qubits."
            ) from error

    def _cost_usd(self) -> Decimal | None:
        """Return the estimate: each task and shot submitted, or the time that finished tasks were billed."""
        if isinstance(self._hardware, BraketQpu):
            prices = self._hardware.prices
            return self._n_circuits * prices.per_task_usd.value + self._n_shots * prices.per_shot_usd.value
        if isinstance(self._hardware, BraketSimulator):
            return self._billed_s * self._hardware.prices.per_minute_usd.value / 60
        return None


def _simulated(shots: int | None) -> Any:
    return "exact" if shots is None else "sampled"


def _task_name(task: Any) -> str:
    """Return what names a task without the account number in its ARN."""
    return f"quantum task {str(task.id).rpartition('/')[2]}"
