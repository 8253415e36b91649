"""tests/bench/tune.py and tunable.py: constants that can be set are the detector's own, and are written where they were."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")).resolve()
sys.path.insert(0, str(ROOT / "tests/bench"))
np = pytest.importorskip("numpy")
import tune  # noqa: E402
from detect_core import Core  # noqa: E402
from tunable import Tunable  # noqa: E402

ROW = re.compile(r"^(PARAMETER|ASPECT)\((\w+), ([^\"]*)\"", re.MULTILINE)
NUMBERS = {"PARAMETER": ("{}",), "ASPECT": ("weight_{}",)}


@pytest.fixture(scope="module")
def tunable():
    return Tunable(BUILD)


@pytest.fixture(autouse=True)
def as_shipped(tunable):
    tunable.set(tunable.shipped)


def series(n=6000, ramp=0):
    """A day's curve in noise, with a ramp and steps, at which much speaks."""
    rng = np.random.default_rng(3)
    values = np.sin(2 * np.pi * np.arange(n) / 144) + 0.1 * rng.standard_normal(n)
    values += ramp * np.clip(8 * np.arange(n) / n - 2, 0, 1)
    values[n // 2:] += 3
    values[2 * n // 3] += 9
    return 1_700_000_000_000_000_000 + 600_000_000_000 * np.arange(n), values


def test_with_the_shipped_constants_scores_are_those_of_the_fixed_detector(tunable):
    subprocess.run(["make", "-C", ROOT, f"O={os.path.relpath(BUILD, ROOT)}",
                    os.path.relpath(BUILD / "tests/bench/detect_core", ROOT)], check=True)
    times_ns, values = series()
    (fixed, _), = Core(BUILD).scores([(times_ns, values)])
    assert (fixed > 0.1).sum() > 3
    assert (tunable.scores(times_ns, values) == fixed).all()
    # As a column of a table: not contiguous.
    assert (tunable.scores(times_ns, np.stack([values, values], axis=1)[:, 0]) == fixed).all()


def test_each_constant_but_a_few_changes_scores(tunable):
    def scores():
        return np.concatenate([tunable.scores(*series(ramp=ramp)) for ramp in (0, 2)])

    shipped, silent = scores(), []
    for name, c in tunable.constants.items():
        ends = []
        for end in (c.least, c.most):
            tunable.set({**tunable.shipped, name: end})
            ends.append(scores())
        if c.least < c.most and all((of_end == shipped).all() for of_end in ends):
            silent.append(name)
    # These series have no cycle but the day, and six weeks, of which nothing is off its rhythm.
    assert set(silent) <= {"gain_cycle", "weight_RHYTHM", "gain_week"}


def test_another_detectors_constants_are_refused_by_name(tunable):
    for odd in ({**tunable.shipped, "gain_of_yore": 1}, {n: x for n, x in tunable.shipped.items() if n != "gate"}):
        with pytest.raises(ValueError, match="gain_of_yore|gate"):
            tunable.set(odd)


def test_constants_are_written_in_place_and_nothing_else_changes(tunable, tmp_path):
    path = tmp_path / "some.def"
    before = tune.DEFINITIONS.read_text()
    path.write_text(before)
    new = {name: 0.1 + i / 7 for i, name in enumerate(tunable.shipped)}
    tune.apply(new, path)
    written, old = ROW.findall(path.read_text()), ROW.findall(before)
    assert ROW.sub("", path.read_text()) == ROW.sub("", before)
    for (kind, name, numbers), (old_kind, old_name, old_numbers) in zip(written, old, strict=True):
        of = [n.format(name) for n in NUMBERS[kind]]
        head, tail = numbers.split(", ")[:len(of)], numbers.split(", ")[len(of):]
        assert (kind, name, tail) == (old_kind, old_name, old_numbers.split(", ")[len(of):])
        assert [float(x) for x in head] == pytest.approx([new[n] for n in of], rel=5e-3)


def test_a_constant_without_a_place_is_refused_and_nothing_is_written(tunable, tmp_path):
    path = tmp_path / "some.def"
    path.write_text(tune.DEFINITIONS.read_text())
    with pytest.raises(ValueError, match="gain_of_yore"):
        tune.apply({**tunable.shipped, "gain_of_yore": 1}, path)
    assert path.read_text() == tune.DEFINITIONS.read_text()


def test_the_cube_has_the_constants_at_its_origin_and_its_outside_mirrored(tunable):
    space = tune.Space(tunable, "all", tunable.shipped)
    inside = {n for n, c in tunable.constants.items() if c.least <= tunable.shipped[n] <= c.most}
    at = space.at(space.origin)
    assert all(at[n] == pytest.approx(tunable.shipped[n], rel=1e-9, abs=1e-12) for n in inside)
    rng = np.random.default_rng(1)
    for _ in range(50):
        for name, x in space.at(rng.normal(0.5, 2, len(space.rows))).items():
            c = tunable.constants[name]
            assert c.least * (1 - 1e-9) <= x <= c.most * (1 + 1e-9), name


def test_rows_of_few_move_together_and_leave_the_rest(tunable):
    space = tune.Space(tunable, "few")
    named = [n for row in space.rows for n in row]
    assert len(named) == len(set(named)) and all(space.rows)
    neutral, moved = space.at(space.origin), space.at(space.origin + 0.1)
    assert {n for n in neutral if moved[n] != neutral[n]} == set(named)
    for row in space.rows:
        assert len({moved[n] / tunable.constants[n].most for n in row}) == 1
