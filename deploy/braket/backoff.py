"""Repeat a call to the service while it may still succeed: exponential waits with full jitter.

Every call that sqdr makes is safe to repeat: reads and cancellations are by nature, and a submission is
because it carries the client token that the journal holds. Source of the waits: M. Brooker, "Exponential
backoff and jitter", AWS Architecture Blog, 2015.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqdr.deploy.braket.aws_errors import error_code, translate
from sqdr.errors import BackendError, SqdrError, TaskError

__all__ = ["Backoff"]

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)

# Shorter troubles are nobody's business.
QUIET_S = 10.0

TRANSIENT_CODES = {
    "InternalServerError",
    "InternalServerException",
    "InternalServiceException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
# botocore's and urllib3's names for a connection that was refused, cut or too slow; and what an answer that
# is none, such as a proxy's error page, turns into
TRANSIENT_EXCEPTIONS = {
    "JSONDecodeError",
    "KeyError",
    "ResponseParserError",
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "ConnectionError",
    "EndpointConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ProtocolError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "ResponseStreamingError",
}


@dataclass
class Backoff:
    """How long to go on.

    Args:
        first_s: the longest first wait; it doubles from one attempt to the next.
        longest_s: the longest wait at all.
        patience_s: give up when a call would fail for longer than this.
        sleep: waits; for tests.
        now: seconds; for tests.
        rng: draws the waits.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    patience_s: float = 900.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)

    def impatient(self, patience_s: float) -> "Backoff":
        """Return the same with less patience, for what has cost nothing yet."""
        return replace(self, patience_s=min(self.patience_s, patience_s))

    def call(self, what: Callable[[], Answer], doing: str, otherwise: type[BackendError] = TaskError) -> Answer:
        """Return what a call answers, repeating it while the service is busy, broken or out of reach.

        Args:
            what: the call.
            doing: what sqdr is doing, for the error.
            otherwise: the class of an error that is neither the credentials' nor the device's fault.

        Raises:
            SqdrError: the service refused, or stayed out of reach; without secrets.
        """
        start, attempt = self.now(), 0
        while True:
            try:
                return what()
            except SqdrError:
                raise
            except Exception as error:
                wait = self.rng.uniform(0, min(self.longest_s, self.first_s * 2**attempt))
                if not is_transient(error) or self.now() - start + wait > self.patience_s:
                    made = translate(error, doing, otherwise)
                    made.is_first_answer = made.is_first_answer and attempt == 0
                    raise made from None
                code = error_code(error)
            if self.now() - start > QUIET_S:
                logger.warning("%s: no answer yet, trying again in %.0f s", doing, wait)
            else:
                logger.info("%s: %s, trying again in %.1f s", doing, code, wait)
            self.sleep(wait)
            attempt = min(attempt + 1, 30)


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    response = getattr(error, "response", None)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return error_code(error) in TRANSIENT_CODES or status >= 500 or bool(kinds & TRANSIENT_EXCEPTIONS)
