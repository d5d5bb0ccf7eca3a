"""Writes images of an archive into files: whole and proven, or not under their names at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from glancearchive.errors import ExistsError, ImageError, LocalError
from glancearchive.format.archived import ArchivedImage
from glancearchive.format.content import Segment
from glancearchive.format.proof import ImageProof, is_image
from glancearchive.format.recordfile import begin_writing, create, reopen, sync_directory
from glancearchive.image import Buffer, Image
from glancearchive.streamhash import StreamHash, computable
from glancearchive.zeros import PIECE, zeros

_STRONGEST = "sha512"
_BEHIND = 8 << 20  # bytes after which their writing to the medium is begun


def extract_to_file(
    image: ArchivedImage, path: Path, progress: Callable[[int], None], *, glance_hash: bool = False
) -> tuple[int, bool]:
    """Write the image's bytes to `path`, sparse where it has zeros. Returns its size, and whether anything was written.

    The bytes go to a temporary name beside `path` first and get their name only after the image digest matched,
    which was recorded together with the hash that its Glance stated; with `glance_hash` that hash is computed
    again too. A `path` that has these bytes already is left alone. Raises ExistsError when it has others, LocalError
    and FormatError; `path` does not exist then.
    """
    content = image.content()
    if is_same(image, path):
        return content.size, False
    _refuse_existing(path)
    temporary = path.with_name(f".{path.name}.part")
    if temporary.is_symlink():
        raise ExistsError(f"{temporary}: exists already, and leads elsewhere")
    # Whoever was killed leaves this name behind; whoever is at it holds its lock.
    file = reopen(temporary) if temporary.is_file() else create(temporary)
    try:
        with file:
            file.truncate(0)
            begun = 0  # bytes whose writing was begun

            def put(segment: Segment) -> None:
                nonlocal begun
                if segment.data is not None:
                    file.seek(segment.position)
                    _write_all(file, segment.data)
                    end = segment.position + segment.length
                    if end - begun >= _BEHIND:
                        begin_writing(file, begun, end)
                        begun = end

            _proven(image, put, progress, glance_hash=glance_hash)
            file.truncate(content.size)
            os.fsync(file.fileno())
            _give_name(temporary, path)
    except FileExistsError:
        raise ExistsError(f"{path}: exists already") from None
    except OSError as error:
        raise LocalError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return content.size, True


def extract_to_stream(
    image: ArchivedImage, stream: BinaryIO, progress: Callable[[int], None], *, glance_hash: bool = False
) -> int:
    """Write the image's bytes to `stream` in order, checked as `extract_to_file` does. Returns its size in bytes.

    Each byte was checked against the digest of its frame before; that the image is right as a whole is known only
    at the end. Raises FormatError, LocalError, and BrokenPipeError when nobody reads on.
    """

    def put(segment: Segment) -> None:
        left = segment.length
        while left:
            piece: Buffer = zeros(min(left, PIECE)) if segment.data is None else segment.data
            _write_all(stream, piece)
            left -= len(piece)

    try:
        _proven(image, put, progress, glance_hash=glance_hash)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LocalError(f"cannot write: {error.strerror}") from None
    assert image.size is not None
    return image.size


def extract_to_directory(
    image: ArchivedImage, directory: Path, progress: Callable[[int], None], *, glance_hash: bool = False
) -> tuple[int, bool]:
    """Write ``ID`` (the metadata as JSON) and, when there are data, ``ID.img``: the layout of glance-replicator.

    Returns the bytes of image data, and whether anything was written: what an earlier run wrote is left alone when
    it is the same. Raises as `extract_to_file`, ExistsError when it is something else.
    """
    metadata, data, text = _places(image, directory)
    described = _contains(metadata, text)
    if not described:
        _refuse_existing(metadata)
    size, fresh = 0, False
    if image.size is not None:
        size, fresh = extract_to_file(image, data, progress, glance_hash=glance_hash)
    if described:
        return size, fresh
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # FAT has no modes, and refuses who does not own the whole of it
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


def foresee_file(image: ArchivedImage, path: Path) -> tuple[int, bool]:
    """What `extract_to_file` would return or raise, as far as it shows without reading the image. Writes nothing."""
    size, same = image.content().size, is_same(image, path)
    if not same:
        _refuse_existing(path)
    return size, not same


def foresee_directory(image: ArchivedImage, directory: Path) -> tuple[int, bool]:
    """The same for `extract_to_directory`; `directory` need not exist."""
    metadata, data, text = _places(image, directory)
    fresh = not _contains(metadata, text)
    if fresh:
        _refuse_existing(metadata)
    if image.size is None:
        return 0, fresh
    size, written = foresee_file(image, data)
    return size, fresh or written


def _places(image: ArchivedImage, directory: Path) -> tuple[Path, Path, str]:
    """The files for metadata and data in a directory, and what is to be in the first."""
    document = dict(image.metadata)
    if not Image(document).digests and _STRONGEST in image.hashes:
        # No Glance ever said it; whoever reads the directory shall have something to compare the data with.
        document |= {"os_hash_algo": _STRONGEST, "os_hash_value": image.hashes[_STRONGEST]}
    if image.members:
        document["members"] = [dict(member) for member in image.members]
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    return directory / image.id, directory / f"{image.id}.img", text


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise ExistsError(f"{path}: exists already")


def _contains(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def is_same(image: ArchivedImage, path: Path) -> bool:
    """Whether the file at `path` has the bytes of `image`."""
    try:
        if path.stat().st_size != image.size:
            return False
        with path.open("rb", buffering=0) as file:
            return is_image(image, file)
    except OSError:
        return False


def _proven(
    image: ArchivedImage, put: Callable[[Segment], None], progress: Callable[[int], None], *, glance_hash: bool
) -> None:
    """Pass all segments to `put`; raises ImageError when at the end the image is not the one that was archived."""
    proof = ImageProof(image)
    with StreamHash(name for name in image.hashes if glance_hash and computable(name)) as hashes:
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
    sync_directory(path.parent)


def _write_all(file: BinaryIO, data: Buffer) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
