"""The detector with constants that can be changed while it runs: drives detector_tunable.c."""
import ctypes
import os
import pathlib
import subprocess

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Constant(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.POINTER(ctypes.c_double)), ("weight", ctypes.POINTER(ctypes.c_float)),
                ("least", ctypes.c_double), ("most", ctypes.c_double)]


class Tunable:
    """One for each process: the constants are the library's own variables."""

    def __init__(self, build):
        library = pathlib.Path(build).resolve() / "tests/bench/libdetector_tunable.so"
        # Always asked, so that it is never that of an older detector; what make says goes to where people read.
        subprocess.run(["make", "--no-print-directory", "-C", ROOT, f"O={os.path.relpath(build, ROOT)}",
                        os.path.relpath(library, ROOT)], check=True, stdout=2)
        self.library = ctypes.CDLL(str(library))
        self.library.tunable_constants.restype = ctypes.POINTER(Constant)
        table = self.library.tunable_constants()
        self.constants = {table[i].name.decode(): table[i] for i in range(self.library.tunable_count())}
        self.shipped = self.values()

    def values(self):
        # Weights are floats: as many digits as both have.
        return {name: float(f"{(c.value or c.weight)[0]:.6g}") for name, c in self.constants.items()}

    def set(self, values):
        """All of them, by name: a missing or unknown one is an error, so that no file of another detector is taken."""
        if values.keys() != self.constants.keys():
            odd = sorted(values.keys() ^ self.constants.keys())
            raise ValueError(f"these constants are not of this detector, or have no value: {', '.join(odd)}")
        for name, value in values.items():
            c = self.constants[name]
            (c.value or c.weight)[0] = value

    def scores_of(self, series):
        """{name: scores} of what has name, times_ns and values."""
        return {s.name: self.scores(s.times_ns, s.values) for s in series}

    def scores(self, times_ns, values):
        """Of one series."""
        times_ns, values = np.ascontiguousarray(times_ns, np.int64), np.ascontiguousarray(values, np.float64)
        result = np.empty(len(values))
        self.library.tunable_scores(times_ns.ctypes, values.ctypes, ctypes.c_int64(len(values)), result.ctypes)
        return result
