"""Every error that Sarcoscope raises on purpose, in one tree.

::

    SarcoscopeError                 base; the text is one sentence that a clinician understands
    ├── PermanentError              trying again will not help
    │   ├── InputError              the input cannot be used (exit code 2)
    │   │   ├── NotFoundError       nothing at that path, or no CT in it
    │   │   ├── UnreadableError     a file that is damaged or of no known kind
    │   │   ├── GeometryError       slices that cannot be put into one volume
    │   │   └── BodyInfoError       sex, age, height or weight that cannot be true
    │   ├── SettingError            an unknown protocol, reference, level, policy or model
    │   ├── AccessError             not signed in, or no right to it
    │   ├── MappingError            the mapping of pseudonyms is missing, damaged or locked by another key
    │   ├── ConflictError           somebody else changed it meanwhile
    │   ├── IdentityError           two identities do not agree, or identity would leave where it must not
    │   └── ModelError              a model package that is missing, damaged or does not fit
    └── RetriableError              the same call may succeed later
        ├── StorageError            the output could not be written (disk full, no right)
        └── NetworkError            another DICOM system does not answer, or refuses
"""

from __future__ import annotations


class SarcoscopeError(Exception):
    """Base of every error of this package; its text is shown to the user as it is."""


class PermanentError(SarcoscopeError):
    """Trying again with the same input will fail again."""


class RetriableError(SarcoscopeError):
    """The same call may succeed later."""


class InputError(PermanentError):
    """The input cannot be used; the command line answers exit code 2."""


class NotFoundError(InputError):
    """Nothing lies at the path given, or no CT image is in it."""


class UnreadableError(InputError):
    """A file is damaged or of no kind that can be read."""


class GeometryError(InputError):
    """The slices cannot be put together into one volume."""


class BodyInfoError(InputError):
    """Sex, age, height or weight cannot be true for a person."""


class SettingError(PermanentError):
    """A protocol, reference, level, policy or model that is not known."""


class ModelError(PermanentError):
    """A model package is missing, damaged, or does not fit the task."""


class AccessError(PermanentError):
    """Somebody is not signed in, or has no right to what is asked."""


class MappingError(PermanentError):
    """The mapping of pseudonyms is missing, damaged, or its key is another's."""


class ConflictError(PermanentError):
    """Somebody else changed meanwhile what is to be changed.

    Args:
        text: the sentence.
        newer: number of the version that is there now.
    """

    def __init__(self, text: str, newer: int | None = None) -> None:
        super().__init__(text)
        self.newer = newer


class IdentityError(PermanentError):
    """Two identities do not agree, or an identity would go where it must not."""


class StorageError(RetriableError):
    """An output could not be written."""


class NetworkError(RetriableError):
    """Another DICOM system does not answer, or refuses."""
