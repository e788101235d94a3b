"""Turn what boto3 raises into sqdr's errors, without credentials, account numbers or ARNs.

The service's own messages hold them ("User: arn:aws:iam::<account>:user/... is not authorized"), so
the errors here are raised ``from None``: a printed traceback must not show the original either.
"""

import os
import re

from sqdr.errors import BackendError, CredentialsError, DeviceError, TaskError

__all__ = ["HOW_TO_SIGN_IN", "clean", "translate"]

HOW_TO_SIGN_IN = (
    "Provide them as boto3 finds them: environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "a profile named by AWS_PROFILE, `aws sso login`, or an instance role."
)

# https://docs.aws.amazon.com/braket/latest/APIReference/CommonErrors.html and STS
CREDENTIAL_CODES = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
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
DEVICE_CODES = {"DeviceOfflineException", "DeviceRetiredException", "ResourceNotFoundException"}

HIDDEN = (
    re.compile(r"arn:aws[\w-]*:[^\s\"',;)]*"),
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}\b"),
    re.compile(r"(?<!\d)\d{12}(?!\d)"),
)
SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


def clean(message: object) -> str:
    """Return a message in one line, with ARNs, account numbers and credentials hidden."""
    text = " ".join(str(message).split())
    for value in filter(None, map(os.environ.get, SECRET_VARIABLES)):
        text = text.replace(value, "[hidden]")
    for pattern in HIDDEN:
        text = pattern.sub("[hidden]", text)
    return text


def translate(error: Exception, doing: str, otherwise: type[BackendError] = TaskError) -> BackendError | DeviceError:
    """Return sqdr's error for one that boto3 or the Braket SDK raised.

    Args:
        error: what was raised.
        doing: what sqdr was doing, for the message.
        otherwise: the class of an error that is neither the credentials' nor the device's fault.
    """
    kind = type(error).__name__
    if kind in CREDENTIAL_EXCEPTIONS:
        return CredentialsError(f"{doing}: AWS credentials are missing or incomplete ({kind}). {HOW_TO_SIGN_IN}")
    if kind == "NoRegionError":
        return DeviceError(f"{doing}: no AWS region is set. Set AWS_REGION, for example to us-west-2.")
    response = getattr(error, "response", None)
    detail = response.get("Error", {}) if isinstance(response, dict) else {}
    code = str(detail.get("Code", kind))
    reason = clean(detail.get("Message") or error)
    if code in CREDENTIAL_CODES:
        return CredentialsError(f"{doing}: AWS refused the credentials ({code}). {HOW_TO_SIGN_IN}")
    if code in DEVICE_CODES:
        return DeviceError(f"{doing}: {code}: {reason}. Choose another device or try later.")
    return otherwise(f"{doing}: {code}: {reason}")
