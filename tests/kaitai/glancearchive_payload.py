"""Process class for spec/glancearchive.ksy: the payload decompressed, once its payload_digest matched."""

import zstandard
from blake3 import blake3


class GlancearchivePayload:
    def __init__(self, raw_size: int, payload_digest: bytes) -> None:
        self.raw_size, self.payload_digest = raw_size, payload_digest

    def decode(self, data: bytes) -> bytes:
        if blake3(data).digest() != self.payload_digest:
            raise ValueError("payload_digest does not match")
        try:
            if data[:4] != b"\x28\xb5\x2f\xfd":
                raise ValueError("not a zstd frame")
            frame = zstandard.get_frame_parameters(data)
            if (
                frame.content_size != self.raw_size
                or not frame.has_checksum
                or frame.dict_id
                or frame.window_size > 1 << 27
            ):
                raise ValueError("not a zstd frame as section 4 wants it")
            raw = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        return raw
