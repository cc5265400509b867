"""Every error that synguard raises on purpose, in one tree.

    SynguardError                 exit code 1 unless a subclass says otherwise
    ├── InputError                2   something the user gave is wrong: a path, an image, a key, a label
    │   ├── ConfigError           2   a configuration or policy file
    │   └── UnreadableImageError  2   an image that cannot be decoded safely
    ├── RefusedError              20  the policy refuses the release
    ├── ApprovalError             21  approvals are missing, stale or revoked
    ├── EvidenceError             22  the evidence cannot be had: too few images, an audit that cannot run
    └── IntegrityError            30  a digest or signature does not match what was recorded

The command line catches `SynguardError` once, at its edge, and prints `str(error)` on one line without a traceback.
"""

from __future__ import annotations

__all__ = [
    "ApprovalError",
    "ConfigError",
    "EvidenceError",
    "InputError",
    "IntegrityError",
    "RefusedError",
    "SynguardError",
    "UnreadableImageError",
]


class SynguardError(Exception):
    """Base of all deliberate errors; `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(SynguardError):
    """Something the user gave is wrong. The message names the file or key, what was found and what was expected."""

    exit_code = 2

    @classmethod
    def of(cls, where: object, found: object, expected: object) -> InputError:
        """The standard message: where it is, what was found there, and what was expected."""
        return cls(f"{where}: found {found}, expected {expected}")


class ConfigError(InputError):
    """A configuration or policy file is wrong."""


class UnreadableImageError(InputError):
    """An image cannot be decoded safely: truncated, too large, or not of an allowed format."""


class RefusedError(SynguardError):
    """The policy refuses the release."""

    exit_code = 20


class ApprovalError(SynguardError):
    """Approvals are missing, stale, revoked or refused."""

    exit_code = 21


class EvidenceError(SynguardError):
    """Evidence cannot be had, so nothing can pass."""

    exit_code = 22


class IntegrityError(SynguardError):
    """A digest or a signature does not match what was recorded."""

    exit_code = 30
