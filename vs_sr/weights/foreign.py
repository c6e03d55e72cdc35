"""What a file is that holds no weights, by its first bytes, and what to do about it."""

from __future__ import annotations

_ANOTHER = "give the weights that it was made from (.safetensors, .pth)"
_PYTORCH = "look for a PyTorch version of the network"
_UNPACK = "unpack it, and give the file inside"
_MAGIC = (
    (b"\x1f\x8b", f"is packed by gzip; {_UNPACK}"),
    (b"BZh", f"is packed by bzip2; {_UNPACK}"),
    (b"\xfd7zXZ\0", f"is packed by xz; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"is packed by zstd; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {_UNPACK}"),
    (b"Rar!\x1a\x07", f"is a RAR archive; {_UNPACK}"),
    (b"PK\x05\x06", "is an empty zip archive; get the file again"),
    (
        b"\x89HDF\r\n\x1a\n",
        f"is an HDF5 file (Keras, TensorFlow); {_PYTORCH}",
    ),
    (b"\x93NUMPY", "is an array of NumPy's; save a state dict with torch.save instead"),
    (b"GGUF", f"is a GGUF file; {_PYTORCH}"),
    (b"7767517\n", f"is a network of ncnn's; {_ANOTHER}"),
    (b"ftrt", f"is an engine of TensorRT's, which is made for one card; {_ANOTHER}"),
    (b"\x89PNG", "is an image (PNG), not weights"),
    (b"\xff\xd8\xff", "is an image (JPEG), not weights"),
    (b"\x1a\x45\xdf\xa3", "is a video (Matroska), not weights"),
    (b"%PDF", "is a PDF document, not weights"),
    (b"\x7fELF", "is a program, not weights"),
    (b"MZ", "is a program, not weights"),
    (b"<?xml", f"is XML; if it is a network of OpenVINO's, {_ANOTHER}"),
)
_PAGE = (b"<!doctype", b"<html", b"<head", b"<!--", b"<script")
_ONNX = b"\x12\x1a\x22\x28\x32\x3a\x42"
"""What can follow the version of the format, a field of protocol buffers."""


def name(start: bytes, size: int) -> str:
    """A clause that goes on after the file's name.

    Args:
        start: its first 512 bytes, or all that there are.
        size: of the file.
    """
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not size:
        return "is empty: a download that failed? Get it again"
    if not start.strip(b"\0"):
        return "holds nothing but zeros: a download that failed? Get it again"
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a pointer of Git LFS, which stands for the file; run `git lfs pull` in its repository, or download the "
            "file from its page"
        )
    if text.startswith(_PAGE):
        return "is a web page (HTML) that was saved under this name; download the file that the page links to"
    for magic, what in _MAGIC:
        if start.startswith(magic):
            return what
    if start[257:262] == b"ustar":
        if b"sys_info" in start[:100] or b"pickle" in start[:100] or b"storages" in start[:100]:
            return (
                "is an archive (tar) of PyTorch before 0.1.10, of 2017; save it again with "
                "torch.save(torch.load(file, weights_only=False), file), if you trust it"
            )
        return f"is a tar archive; {_UNPACK}"
    if start[4:8] == b"ftyp":
        return "is a video (MP4), not weights"
    if start[4:8] == b"TFL3":
        return f"is a network of TensorFlow Lite's; {_ANOTHER}"
    if len(start) > 2 and start[0] == 8 and 0 < start[1] < 32 and start[2] in _ONNX:
        return f"is an ONNX model, whose weights have no names that tell the network; {_ANOTHER}"
    if text.startswith((b"{", b"[")):
        return "is JSON text, an index or an answer of a server; give the weights file itself"
    if start.isascii() and not set(start) - set(b"\t\r\n\f\x1b") - set(range(32, 127)):
        return "is text, not weights; give a .safetensors or PyTorch file (.pth, .pt, .ckpt)"
    return "is no weights file; .safetensors and PyTorch files (.pth, .pt, .ckpt) are"
