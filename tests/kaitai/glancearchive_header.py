"""Process class for spec/glancearchive.ksy: a record header goes on as it is, once its header_digest matched."""

from blake3 import blake3


class GlancearchiveHeader:
    def decode(self, data: bytes) -> bytes:
        if blake3(data[:96]).digest(16) != data[96:]:
            raise ValueError("header_digest does not match")
        return data
