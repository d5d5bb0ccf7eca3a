"""Formats of disk images: what data look like, and what a Glance will say of it before they are uploaded.

A refusal after the upload costs the image its id. `refusal` follows
``ImageProxy.set_data`` in Glance 33's ``glance/location.py``, with the same
inspectors. Older servers do not look at all, and some are configured not to, so
that a refusal found here is likely, not certain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from oslo_utils.imageutils import format_inspector

log = logging.getLogger("glancearchive")

HEAD = 1 << 20
"""Bytes from an image's start that decide: the farthest signature, ISO 9660's, ends at 34 KiB."""

_UNKNOWN = "raw"
_GLANCE_FORMATS = {"qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso"}

# They log every finding as well, as warnings and errors, and we report it ourselves.
logging.getLogger(format_inspector.__name__).addHandler(logging.NullHandler())
logging.getLogger(format_inspector.__name__).propagate = False


def refusal(disk_format: str, container_format: str, head: bytes, *, whole: bool) -> str:
    """Why a Glance would refuse data that begin with `head`, "" when nothing speaks against them.

    `whole` says that `head` is all of the image.
    """
    if container_format != "bare":
        return ""
    matches = _matches(head)
    if len(matches) != 1:
        return f"its data look like {' and '.join(sorted(matches))} at once"
    [(found, inspector)] = matches.items()
    unknown_to_glance = found == "raw" and disk_format not in format_inspector.ALL_FORMATS
    if found != disk_format and disk_format != "raw" and not unknown_to_glance:
        return f"its disk_format is {disk_format}, and its data look like {found}"
    if not whole and not inspector.complete:
        return ""  # what is to be checked comes later in the image
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        failures = {name: failure for name, failure in error.failures.items() if not _pardoned(name, disk_format)}
        if failures or found != "gpt":
            reasons = "; ".join(f"{name}: {failure}" for name, failure in sorted(error.failures.items()))
            return f"its data look like {found} and fail the safety check ({reasons})"
    except format_inspector.ImageFormatError as error:
        return str(error)
    return ""


def recognise(head: bytes) -> str:
    """The `disk_format` of data that begin with `head`, "" when they look like none, and so may be raw or anything.

    What Glance has no word for is "raw" to it: a disk with partitions, an encrypted one, two formats in one.
    """
    matches = _matches(head).keys() - {"raw"}
    if len(matches) == 1 and matches <= _GLANCE_FORMATS:
        return str(*matches)
    return "raw" if matches else ""


def _matches(head: bytes) -> dict[str, Any]:
    """The inspectors that take data which begin with `head` for theirs, by the names of their formats.

    One that fails at them has not found its format. Each is asked by itself, for oslo.utils' wrapper of them all ends
    with the first error after reading: its inspector of VMDK has one for text that is not all ASCII.
    """
    matches: dict[str, Any] = {}
    for name, kind in format_inspector.ALL_FORMATS.items():
        if name == _UNKNOWN:
            continue
        try:
            inspector = _fed(kind, head)
            if inspector.format_match:
                matches[str(inspector)] = inspector
        except Exception as error:  # noqa: BLE001  # whatever may be in a file, it is no reason for a command to end
            log.debug("the inspector of %s cannot say what data are: %r", name, error)
    if not matches:
        return {_UNKNOWN: _fed(format_inspector.ALL_FORMATS[_UNKNOWN], head)}
    if matches.keys() == {"iso", "gpt"}:
        del matches["gpt"]
    return matches


def _fed(kind: Callable[[], Any], head: bytes) -> Any:
    """An inspector that has read all of `head`."""
    inspector = kind()
    # One that cannot make sense of the rest may yet have found its signature.
    with suppress(Exception):
        inspector.eat_chunk(head)
    inspector.finish()
    return inspector


def _pardoned(check: str, disk_format: str) -> bool:
    """Kernels and ramdisks may begin like a disk with a broken partition table."""
    return check == "mbr" and disk_format in ("aki", "ari")
