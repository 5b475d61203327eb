"""Every error that Modelyard raises on purpose.

The tree::

    ModelyardError
    ├── UsageError            the caller asked for something that cannot be       exit 2  HTTP 400
    │   ├── SpecError         model.toml or environments.toml has findings
    │   ├── NotFoundError     no such model, version, run                                 HTTP 404
    │   ├── RequestError      a prediction request that the signature refuses
    │   └── AdmissionError    bytes that are not a model we would run                     HTTP 422
    ├── CredentialsError      missing, expired, or of another account             exit 3  HTTP 403
    ├── ConflictError         somebody else was first, or the state forbids it    exit 4  HTTP 409
    ├── AWSError              AWS refused or failed                               exit 5  HTTP 502
    ├── BuildError            a layer does not build or does not fit              exit 2
    ├── LocalError            the local AWS does not start or answer              exit 5
    └── ModelError            a model raised while it predicted                           HTTP 500

A message says what happened with the offending value and what is allowed; ``next_step`` says what to run or change.
``code`` is stable: clients may branch on it. This module imports nothing, because the endpoint imports it at start.
"""


class ModelyardError(Exception):
    """Base of all errors that a user can act on.

    Args:
        message: What happened, the offending value, and what is allowed.
        code: A stable identifier, `snake_case`; the class has a default.
        next_step: The command or change that helps, as one sentence.
        field: The key, input or parameter that is at fault.
        row: The zero-based index of the instance at fault, for requests.
    """

    code = "error"
    exit_code = 1
    status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        next_step: str | None = None,
        field: str | None = None,
        row: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.next_step = next_step
        self.field = field
        self.row = row


class UsageError(ModelyardError):
    """The caller asked for something that cannot be."""

    code = "usage"
    exit_code = 2
    status = 400


class SpecError(UsageError):
    """A configuration file has findings; ``findings`` holds all of them, each with file and key."""

    code = "invalid_spec"

    def __init__(self, message: str, *, findings: tuple[str, ...] = (), next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.findings = findings


class NotFoundError(UsageError):
    """No such model, version, run or object."""

    code = "not_found"
    status = 404


class RequestError(UsageError):
    """A prediction request that the model's signature refuses."""

    code = "invalid_request"


class AdmissionError(UsageError):
    """Bytes that are not a model which Modelyard would run."""

    code = "not_admitted"
    status = 422


class CredentialsError(ModelyardError):
    """Credentials are missing, expired, or belong to another account."""

    code = "credentials"
    exit_code = 3
    status = 403


class ConflictError(ModelyardError):
    """Somebody else was first, or the present state forbids the change."""

    code = "conflict"
    exit_code = 4
    status = 409


class AWSError(ModelyardError):
    """AWS refused or failed, after the retries that make sense."""

    code = "aws"
    exit_code = 5
    status = 502


class BuildError(ModelyardError):
    """A layer does not build, or does not fit."""

    code = "build"
    exit_code = 2


class LocalError(ModelyardError):
    """The local AWS does not start, answer or stop."""

    code = "local"
    exit_code = 5


class ModelError(ModelyardError):
    """A model raised while it predicted; the cause is chained and logged, never sent to the caller."""

    code = "model_failed"
