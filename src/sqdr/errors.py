"""The one tree of errors that sqdr raises, and the exit code each family ends the command line with.

A dependency's own exception is translated where it enters sqdr (``raise ... from``). Messages say
what is wrong and what to do, in one line, and never hold credentials or account numbers.
"""

__all__ = [
    "AnswerError",
    "BackendCrashError",
    "BackendError",
    "BackendTimeoutError",
    "BudgetError",
    "BundleError",
    "CanaryError",
    "ConfigError",
    "CredentialsError",
    "DataError",
    "DeviceError",
    "ExportError",
    "InputError",
    "IntegrityError",
    "JournalError",
    "MissingDependencyError",
    "NotEqualError",
    "SchemaVersionError",
    "ShapeError",
    "SqdrError",
    "StorageError",
    "TaskError",
    "TrainingError",
]


class SqdrError(Exception):
    """Base of every error that sqdr raises on purpose."""

    exit_code = 3
    code = ""
    """A service's own code of the error, where there is one."""
    is_first_answer = True
    """Whether the service had been asked once only, so that no earlier call of the same can have had an effect."""


class InputError(SqdrError):
    """What the user handed in is wrong: exit code 2."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration, specification or option breaks a rule."""


class DataError(InputError):
    """Images, labels or a data set are missing, unreadable or of the wrong kind."""


class ShapeError(DataError):
    """An array has the wrong number of axes or the wrong size along one."""


class BundleError(InputError):
    """A bundle cannot be read: missing, truncated, corrupt, or of an unknown form."""


class IntegrityError(BundleError):
    """A file of the bundle does not match the SHA-256 in its manifest."""


class SchemaVersionError(BundleError):
    """The bundle was written with a newer schema than this sqdr reads."""


class ExportError(InputError):
    """The trained model breaks one or more export rules; every violation is listed."""


class DeviceError(InputError):
    """The chosen device is unknown, or cannot run this circuit or this number of shots."""


class JournalError(InputError):
    """The journal of a paid run is damaged, in use, or of another bundle."""


class StorageError(InputError):
    """A file or folder cannot be written: permission, disk space, or it is in the way."""


class AnswerError(SqdrError):
    """The command ran, but the answer is no: exit code 1."""

    exit_code = 1


class NotEqualError(AnswerError):
    """Two stages that must agree do not."""


class BudgetError(AnswerError):
    """The run would cost more than the budget: it was refused, or stopped where the next task would exceed it."""


class BackendError(SqdrError):
    """A backend failed: exit code 3."""


class BackendTimeoutError(BackendError):
    """A backend did not answer within its time-out and was ended."""


class BackendCrashError(BackendError):
    """A backend process raised, exited or was killed."""


class MissingDependencyError(BackendError):
    """An optional dependency that this command needs is not installed or cannot be imported."""


class CredentialsError(BackendError):
    """AWS credentials are missing, expired or refused."""


class TaskError(BackendError):
    """A quantum task ended without a result."""


class CanaryError(BackendError):
    """A circuit with a known answer came back wrong: the device's results are not to be trusted."""


class TrainingError(BackendError):
    """Training could not continue, for example because the loss is not a number."""
