"""The published vectors are what their oracle makes."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_vectors_are_those_of_the_oracle():
    subprocess.run([sys.executable, str(ROOT / "tests/vectors/make.py"), "--check"], check=True)
