"""Requests as the fake service understands them, and its answers in the three forms of AWS."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["ACCOUNT", "Answer", "Family", "Request", "braket_answer", "braket_error", "error_in", "identity_answer"]

Family = Literal["braket", "s3", "sts"]

# What AWS documents as its example account.
ACCOUNT = "123456789012"
JSON, XML = "application/json", "text/xml"
STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Args:
        method: GET, POST, PUT or HEAD.
        path: unquoted, without the query.
        query: the query's names and values.
        body: as sent.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes

    @classmethod
    def of(cls, method: str, target: str, body: bytes) -> "Request":
        """Return the request of an HTTP request line."""
        parts = urlsplit(target)
        return cls(method, unquote(parts.path), parse_qs(parts.query), body)

    @property
    def operation(self) -> str:
        """The name of the AWS operation; S3's are S3Get and S3Put, all others as boto3 has them."""
        head, _, rest = self.path.lstrip("/").partition("/")
        match self.method, head:
            case "GET", "device":
                return "GetDevice"
            case "POST", "devices":
                return "SearchDevices"
            case "POST", "quantum-task":
                return "CreateQuantumTask"
            case "POST", "quantum-tasks":
                return "SearchQuantumTasks"
            case "GET", "quantum-task":
                return "GetQuantumTask"
            case "PUT", "quantum-task" if rest.endswith("/cancel"):
                return "CancelQuantumTask"
            case "POST", "":
                return "GetCallerIdentity"
        return "S3Put" if self.method in ("PUT", "POST") else "S3Get"

    @property
    def family(self) -> Family:
        """Which of AWS's forms the answer has."""
        operation = self.operation
        return "sts" if operation == "GetCallerIdentity" else "s3" if operation.startswith("S3") else "braket"

    @property
    def arn(self) -> str:
        """The ARN in the path of a device or quantum task."""
        return self.path.lstrip("/").partition("/")[2].removesuffix("/cancel")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes = b""
    content_type: str = XML
    headers: dict[str, str] = field(default_factory=dict)


def braket_answer(content: dict[str, Any], status: int = 200) -> Answer:
    """Return what Braket says when all is well."""
    return Answer(status, json.dumps(content).encode(), JSON)


def braket_error(status: int, code: str, message: str, **more: Any) -> Answer:
    """Return an error of Braket's, as its REST-JSON protocol writes it."""
    body = json.dumps({"__type": code, "message": message, **more}).encode()
    return Answer(status, body, JSON, {"x-amzn-ErrorType": code})


def error_in(family: Family, status: int, code: str, message: str) -> Answer:
    """Return an error in the form of one of the three services."""
    if family == "braket":
        return braket_error(status, code, message)
    inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if family == "s3":
        return Answer(status, f"<Error>{inner}<RequestId>0</RequestId></Error>".encode())
    side = "Receiver" if status >= 500 else "Sender"
    body = f'<ErrorResponse xmlns="{STS_NAMESPACE}"><Error><Type>{side}</Type>{inner}</Error></ErrorResponse>'
    return Answer(status, body.encode())


def identity_answer() -> Answer:
    """Return STS's answer to GetCallerIdentity: a user of the example account."""
    result = (
        f"<Arn>arn:aws:iam::{ACCOUNT}:user/ann</Arn><UserId>AIDACKCEVSQ6C2EXAMPLE</UserId><Account>{ACCOUNT}</Account>"
    )
    body = (
        f'<GetCallerIdentityResponse xmlns="{STS_NAMESPACE}"><GetCallerIdentityResult>{result}'
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )
    return Answer(200, body.encode())
