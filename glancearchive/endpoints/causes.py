"""What is behind an exception of requests, urllib3 or keystoneauth, in few words."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

import requests


def root_cause(error: BaseException) -> BaseException:
    """The innermost exception: requests and urllib3 wrap "Connection refused" in five lines of their own."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner: Iterable[object] = (getattr(error, "reason", None), *error.args, error.__cause__, error.__context__)
        # An OSError carries its own number in its arguments, and nothing deeper says more.
        if isinstance(error, OSError) and error.errno is not None:
            break
        error = next((item for item in inner if isinstance(item, BaseException) and id(item) not in seen), error)
    return error


def one_line(error: BaseException) -> str:
    """What an exception says, for an operator."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and not isinstance(error, requests.RequestException):
        text = error.strerror
    return (" ".join(text.split()) or type(error).__name__) + _advice(error)


def _advice(error: BaseException) -> str:
    """What to do about it, where TLS could not be agreed on."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "; --cacert names a file with the CA that signed it, --insecure does without"
    if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "; no TLS is spoken there: http:// is meant, perhaps"
    return ""
