"""`sluice detect` as its users run it: on files, pipes and growing files, with Python's csv and datetime as the oracle."""
import csv
import datetime
import io
import math
import os
import pathlib
import random
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "bin/sluice"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def detect(*arguments, text=None):
    """Exit code, rows as dictionaries, stderr."""
    done = subprocess.run([SLUICE, "detect", *arguments], input=text.encode() if isinstance(text, str) else text,
                          stdin=subprocess.DEVNULL if text is None else None, capture_output=True, timeout=120)
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline="")))
    return done.returncode, rows, done.stderr.decode()


def wave(n, spike_at=None, start=1392388020, step_s=60):
    """(seconds, value): a noisy wave, with one value far outside where asked for."""
    r = random.Random(7)
    return [(start + i * step_s, round(20 + math.sin(i / 30) + r.gauss(0, 0.1) + 60 * (i == spike_at), 3)) for i in range(n)]


def as_csv(rows, header="time,value\n"):
    return header + "".join(f"{t},{v}\n" for t, v in rows)


def test_each_row_gives_a_row_and_the_spike_one_alert():
    rows = wave(2000, spike_at=1500)
    code, found, err = detect(text=as_csv(rows))
    assert (code, err) == (0, "")
    assert [(r["time"], r["value"]) for r in found] == [(str(t), str(v)) for t, v in rows]
    assert all(repr(float(r["score"])) == r["score"] or float(r["score"]) in (0, 1) for r in found)
    assert [int(r["alert"]) for r in found].index(1) == 1500
    assert found[1500]["kind"] not in ("", "none")


def test_what_cannot_be_used_is_passed_over_and_reported():
    text = "time,value\n1392388020,1\n1392388080,\n1392388090,NaN\nyesterday,3\n1392388020,4\n1392388010,5\n1392388100,6\n"
    code, found, err = detect(text=text)
    assert code == 0 and len(found) == 7
    assert err.splitlines() == [
        'sluice detect: stdin: passed over 1 row without a time in the first column (first in line 5: "yesterday")',
        'sluice detect: stdin: passed over 2 rows without a number in the second column (first in line 3: "")',
        'sluice detect: stdin: passed over 1 row older than a row before (first in line 7: "1392388010")',
        'sluice detect: stdin: passed over 1 row with the same time as the row before (first in line 6: "1392388020")',
    ]
