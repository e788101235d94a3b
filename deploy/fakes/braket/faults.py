"""Faults that a test plants in the fake service, and the record of those that fired."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from sqdr.deploy.fakes.braket.messages import ACCOUNT, Answer, Request, error_in
from sqdr.errors import ConfigError

__all__ = ["Fault", "Faults", "FiredFault", "Kind", "Operation", "error_answer"]

Operation = Literal[
    "GetDevice",
    "SearchDevices",
    "CreateQuantumTask",
    "GetQuantumTask",
    "SearchQuantumTasks",
    "CancelQuantumTask",
    "S3Get",
    "S3Put",
    "GetCallerIdentity",
]
Kind = Literal[
    "throttle",
    "error",
    "unavailable",
    "quota",
    "expired",
    "skew",
    "denied",
    "missing",
    "reset_before",
    "reset_after",
    "lost",
    "slow",
    "truncated",
    "garbage",
]
# Only these operations have these faults.
ONLY = {"quota": ("CreateQuantumTask",), "missing": ("S3Get",), "truncated": ("S3Get",)}
MAX_SECONDS = 60.0

_SKEW = "Signature expired: 20261101T000000Z is now earlier than 20261101T001000Z (20261101T001500Z - 5 min.)"
_BUSY = "Service is unavailable. Please try again."
_DENIED = (
    "User: arn:aws:iam::{account}:user/ann is not authorized to perform: {action} on resource: "
    "arn:aws:braket:us-west-2:{account}:quantum-task/* because no identity-based policy allows the {action} action"
)
# Status, code and message. Sources: the service model of botocore 1.44.5 (Braket); "Error responses" of the
# Amazon S3 API reference; "Common errors" of the AWS STS API reference; the signature messages of SigV4.
ERRORS: dict[str, dict[str, tuple[int, str, str]]] = {
    "braket": {
        "throttle": (429, "ThrottlingException", "Rate exceeded"),
        "error": (500, "InternalServiceException", "An internal error occurred."),
        "unavailable": (503, "ServiceUnavailableException", _BUSY),
        "quota": (402, "ServiceQuotaExceededException", "The limit of concurrent quantum tasks is reached."),
        "expired": (403, "ExpiredTokenException", "The security token included in the request is expired"),
        "skew": (403, "InvalidSignatureException", _SKEW),
        "denied": (403, "AccessDeniedException", _DENIED),
    },
    "s3": {
        "throttle": (503, "SlowDown", "Please reduce your request rate."),
        "error": (500, "InternalError", "We encountered an internal error. Please try again."),
        "unavailable": (503, "ServiceUnavailable", _BUSY),
        "expired": (400, "ExpiredToken", "The provided token has expired."),
        "skew": (403, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large."),
        "denied": (403, "AccessDenied", _DENIED),
        "missing": (404, "NoSuchKey", "The specified key does not exist."),
    },
    "sts": {
        "throttle": (400, "Throttling", "Rate exceeded"),
        "error": (500, "InternalFailure", "An internal error occurred."),
        "unavailable": (503, "ServiceUnavailable", _BUSY),
        "expired": (403, "ExpiredToken", "The security token included in the request is expired"),
        "skew": (403, "SignatureDoesNotMatch", _SKEW),
        "denied": (403, "AccessDenied", _DENIED),
    },
}
ACTIONS = {"S3Get": "s3:GetObject", "S3Put": "s3:PutObject", "GetCallerIdentity": "sts:GetCallerIdentity"}


class FiredFault(NamedTuple):
    """One fault that fired: what it was, and the request it hit."""

    kind: str
    operation: str
    path: str


@dataclass
class Fault:
    """One planted fault.

    Args:
        kind: what goes wrong.
        operation: where.
        times: how often it fires still; None for always.
        after: how many matching requests pass unharmed first.
        match: only requests with this text in path or body, or for which this says True.
        seconds: how long ``slow`` and ``lost`` take, in real time.
    """

    kind: Kind
    operation: Operation
    times: int | None
    after: int
    match: str | Callable[[Request], bool] | None
    seconds: float

    def hits(self, request: Request) -> bool:
        """Say whether a request is one that this fault is for."""
        if request.operation != self.operation or self.times == 0:
            return False
        if self.match is None:
            return True
        if callable(self.match):
            return self.match(request)
        return self.match in request.path or self.match.encode() in request.body


class Faults:
    """The planted faults, in the order of planting; the first that hits a request fires.

    Kinds, by what the client sees: ``throttle`` 429, ``error`` 500, ``unavailable`` 503, ``quota`` 402,
    ``expired``, ``skew`` (signature) and ``denied`` 403, each as the service asked writes it, nothing done;
    ``missing`` a 404 for an object; ``reset_before`` the connection reset with nothing done, ``reset_after``
    reset with the work done; ``lost`` the work done and the connection closed without an answer, after
    ``seconds``; ``slow`` a late answer; ``truncated`` the first half of an object; ``garbage`` an answer of
    status 200 that is no document, with the work done.
    """

    def __init__(self) -> None:
        self.fired: list[FiredFault] = []
        self._planted: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        kind: Kind,
        operation: Operation,
        *,
        times: int | None = 1,
        after: int = 0,
        match: str | Callable[[Request], bool] | None = None,
        seconds: float = 0.05,
    ) -> None:
        """Plant a fault; see :class:`Fault` for the arguments.

        Raises:
            ConfigError: there is no such kind or operation, the operation has no such fault, or a
                number is out of range.
        """
        _check_name("kind", kind, Kind)
        _check_name("operation", operation, Operation)
        if operation not in ONLY.get(kind, (operation,)):
            raise ConfigError(f"`kind` {kind} must be with {' or '.join(ONLY[kind])}, got {operation}.")
        if (times is not None and times < 1) or after < 0 or not 0 <= seconds <= MAX_SECONDS:
            raise ConfigError(
                f"`times` must be at least 1, `after` at least 0 and `seconds` 0 to {MAX_SECONDS:g}, "
                f"got {times}, {after} and {seconds}."
            )
        with self._lock:
            self._planted.append(Fault(kind, operation, times, after, match, seconds))

    def clear(self) -> None:
        """Take out every fault that is still planted; ``fired`` stays."""
        with self._lock:
            self._planted.clear()

    def take(self, request: Request) -> Fault | None:
        """Return the fault that a request meets, one time less to fire."""
        with self._lock:
            for fault in self._planted:
                if not fault.hits(request):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                self.fired.append(FiredFault(fault.kind, fault.operation, request.path))
                return fault
        return None


def error_answer(kind: str, request: Request) -> Answer:
    """Return the error answer of a fault that has one, in the form of the service asked."""
    status, code, message = ERRORS[request.family][kind]
    action = ACTIONS.get(request.operation, f"braket:{request.operation}")
    return error_in(request.family, status, code, message.format(account=ACCOUNT, action=action))


def _check_name(argument: str, value: str, names: Any) -> None:
    if value not in get_args(names):
        raise ConfigError(f"`{argument}` must be one of {', '.join(get_args(names))}, got {value!r}.")
