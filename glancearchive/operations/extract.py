"""Writes images of an archive into files: whole and proven, or not under their names at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from glancearchive.errors import ExistsError, ImageError, LocalError
from glancearchive.format.content import Segment
from glancearchive.format.proof import ImageProof
from glancearchive.format.reader import ArchivedImage
from glancearchive.format.recordfile import create, reopen
from glancearchive.image import Buffer
from glancearchive.streamhash import StreamHash, computable

_ZEROS = bytes(1 << 20)


def extract_to_file(image: ArchivedImage, path: Path, progress: Callable[[int], None]) -> int:
    """Write the image's bytes to `path`, sparse where it has zeros. Returns its size in bytes.

    The bytes go to a temporary name beside `path` first and get their name only after
    the image's digest and the hash that its Glance recorded matched. Raises LocalError
    (also when `path` exists) and FormatError; `path` does not exist then.
    """
    if path.exists() or path.is_symlink():
        raise ExistsError(f"{path}: exists already")
    content = image.content()
    temporary = path.with_name(f".{path.name}.part")
    # Whoever was killed leaves this name behind; whoever is at it holds its lock.
    file = reopen(temporary) if temporary.is_file() else create(temporary)
    try:
        with file:
            file.truncate(0)

            def put(segment: Segment) -> None:
                if segment.data is not None:
                    file.seek(segment.position)
                    _write_all(file, segment.data)

            _proven(image, put, progress)
            file.truncate(content.size)
            os.fsync(file.fileno())
            _give_name(temporary, path)
    except FileExistsError:
        raise ExistsError(f"{path}: exists already") from None
    except OSError as error:
        raise LocalError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return content.size


def extract_to_stream(image: ArchivedImage, stream: BinaryIO, progress: Callable[[int], None]) -> int:
    """Write the image's bytes to `stream` in order. Returns its size in bytes.

    Each byte was checked against the digest of its frame before; that the image is right as a whole is known only
    at the end. Raises FormatError, LocalError, and BrokenPipeError when nobody reads on.
    """

    def put(segment: Segment) -> None:
        left = segment.length
        while left:
            piece: Buffer = _ZEROS[: min(left, len(_ZEROS))] if segment.data is None else segment.data
            stream.write(piece)
            left -= len(piece)

    try:
        _proven(image, put, progress)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LocalError(f"cannot write: {error.strerror}") from None
    assert image.size is not None
    return image.size


def extract_to_directory(image: ArchivedImage, directory: Path, progress: Callable[[int], None]) -> tuple[int, bool]:
    """Write ``ID`` (the metadata as JSON) and, when there are data, ``ID.img``: the layout of glance-replicator.

    Returns the bytes of image data, and whether anything was written: what an earlier run wrote is left alone when
    it is the same. Raises as `extract_to_file`, ExistsError when it is something else.
    """
    document = dict(image.metadata)
    if image.members:
        document["members"] = [dict(member) for member in image.members]
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    metadata = directory / image.id
    described = _contains(metadata, text)
    if not described and (metadata.exists() or metadata.is_symlink()):
        raise ExistsError(f"{metadata}: exists already")
    size, fresh = 0, False
    if image.size is not None:
        data = directory / f"{image.id}.img"
        if is_same(image, data):
            size = image.size
        else:
            size, fresh = extract_to_file(image, data, progress), True
    if described:
        return size, fresh
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o666 & ~_umask())
        _give_name(temporary, metadata)
    except FileExistsError:
        raise ExistsError(f"{metadata}: exists already") from None
    except OSError as error:
        raise LocalError(f"{metadata}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return size, True


def _contains(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def is_same(image: ArchivedImage, path: Path) -> bool:
    """Whether the file at `path` has the bytes of `image`, by a hash that was recorded when it was archived."""
    name = next(filter(computable, image.hashes), None)
    try:
        if name is None or path.stat().st_size != image.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, name).hexdigest() == image.hashes[name]
    except OSError:
        return False


def _proven(image: ArchivedImage, put: Callable[[Segment], None], progress: Callable[[int], None]) -> None:
    """Pass all segments to `put`; raises ImageError when at the end the image is not the one that was archived."""
    proof = ImageProof(image)
    with StreamHash([name for name in image.hashes if computable(name)]) as hashes:
        for segment in image.content().segments():
            put(segment)
            proof.add(segment)
            if segment.data is not None:
                hashes.update(segment.data)
            else:
                hashes.update_zeros(segment.length)
            progress(segment.length)
        found = hashes.hexdigests()
    proof.check()
    for name, value in found.items():
        if value != image.hashes[name]:
            raise ImageError(f"image {image.id}: its {name} is {value}, recorded is {image.hashes[name]}")


def _give_name(temporary: Path, path: Path) -> None:
    """Rename, but never over a file that appeared meanwhile. Raises FileExistsError, and OSError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # a file system without hard links: FAT, exFAT
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.rename(path)
    else:
        temporary.unlink()


def _write_all(file: BinaryIO, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
