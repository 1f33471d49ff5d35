"""attest: commit what is held, sign what is erased, prove both to anybody."""

__version__ = "0.1.0"
