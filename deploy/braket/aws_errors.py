"""Turn what boto3 raises into sqdr's errors, without credentials, account numbers or ARNs.

The service's own messages hold them ("User: arn:aws:iam::<account>:user/... is not authorized"), so
the errors here are raised ``from None``: a printed traceback must not show the original either.
"""

import re

from sqdr.errors import BackendError, CredentialsError, DeviceError, TaskError
from sqdr.redaction import hide_secrets

__all__ = ["HOW_TO_SIGN_IN", "clean", "error_code", "translate"]

HOW_TO_SIGN_IN = (
    "Provide them as boto3 finds them: environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "a profile named by AWS_PROFILE, `aws sso login`, or an instance role."
)

# https://docs.aws.amazon.com/braket/latest/APIReference/CommonErrors.html and STS
CREDENTIAL_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
RIGHT_CODES = {"AccessDenied", "AccessDeniedException", "NotAuthorized"}
CREDENTIAL_EXCEPTIONS = {
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
# A request signed with a clock that is off is refused as if its signature were wrong.
SKEW_CODES = {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"}
SKEW_TEXT = re.compile(r"signature (?:expired|not yet current)", re.IGNORECASE)
DEVICE_CODES = {"DeviceOfflineException", "DeviceRetiredException", "ResourceNotFoundException"}


def clean(message: object) -> str:
    """Return a message in one line, with ARNs, account numbers and credentials hidden."""
    return hide_secrets(" ".join(str(message).split()))


def translate(error: Exception, doing: str, otherwise: type[BackendError] = TaskError) -> BackendError | DeviceError:
    """Return sqdr's error for one that boto3 or the Braket SDK raised, with the service's ``code``.

    Args:
        error: what was raised.
        doing: what sqdr was doing, for the message.
        otherwise: the class of an error that is neither the credentials' nor the device's fault.
    """
    made = _translated(error, doing, otherwise)
    made.code = error_code(error)
    # botocore repeats a call by itself: the last answer is then not the first
    made.is_first_answer = _metadata(error).get("RetryAttempts", 0) == 0
    return made


def _translated(error: Exception, doing: str, otherwise: type[BackendError]) -> BackendError | DeviceError:
    kind = type(error).__name__
    if kind in CREDENTIAL_EXCEPTIONS:
        return CredentialsError(f"{doing}: AWS credentials are missing or incomplete ({kind}). {HOW_TO_SIGN_IN}")
    if kind == "NoRegionError":
        return DeviceError(f"{doing}: no AWS region is set. Set AWS_REGION, for example to us-west-2.")
    code = error_code(error)
    reason = clean(_detail(error).get("Message") or error)
    if code in SKEW_CODES or SKEW_TEXT.search(reason):
        return CredentialsError(f"{doing}: AWS refused the time of the request ({code}). Set this machine's clock.")
    if code in CREDENTIAL_CODES:
        return CredentialsError(f"{doing}: AWS refused the credentials ({code}). {HOW_TO_SIGN_IN}")
    if code in RIGHT_CODES:
        return CredentialsError(
            f"{doing}: AWS refused this to the credentials, which it knows ({code}). Give their user or role the "
            "rights that docs/braket.md lists, or name others by AWS_PROFILE."
        )
    if code in DEVICE_CODES:
        return DeviceError(f"{doing}: {code}: {reason}. Choose another device or try later.")
    if code == "ServiceQuotaExceededException":
        return otherwise(f"{doing}: {code}: {reason}. Wait until tasks have ended, or ask AWS for a higher quota.")
    return otherwise(f"{doing}: {code}: {reason}")


def error_code(error: Exception) -> str:
    """Return the service's code of an error, or the name of its class."""
    return str(_detail(error).get("Code", type(error).__name__))


def _metadata(error: Exception) -> dict[str, int]:
    response = getattr(error, "response", None)
    return response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}


def _detail(error: Exception) -> dict[str, str]:
    response = getattr(error, "response", None)
    return response.get("Error", {}) if isinstance(response, dict) else {}
