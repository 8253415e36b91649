"""The recorded series with labels: nab.tar.zst and aiops-dev.tar.zst in ../shared/data or SLUICE_DATA."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAB, AIOPS = "nab.tar.zst", "aiops-dev.tar.zst"


def archive(name):
    return pathlib.Path(os.environ.get("SLUICE_DATA", ROOT / "../shared/data")) / name


def unpack(name, folder):
    """Whether there is such data; it is in `folder` then."""
    if not archive(name).exists():
        return False
    subprocess.run(["tar", "--zstd", "-xf", archive(name), "-C", folder], check=True)
    return True
