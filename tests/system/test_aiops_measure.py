"""tests/bench/aiops.py against figures worked by hand, and against a reading row by row."""
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
np = pytest.importorskip("numpy")
import aiops  # noqa: E402


def series(labels, test_from=0, name="a"):
    labels = np.array(labels, dtype=bool)
    rows = np.arange(len(labels))
    return aiops.Series(name, rows * 60_000_000_000, np.zeros(len(labels)), labels, rows >= test_from)


def everything(s):
    return np.ones(len(s.labels), dtype=bool)


def scores(n, *at, name="a"):
    x = np.zeros(n)
    x[list(at)] = 1
    return {name: x}


# 20 rows, of which 3 to 12 are one segment; its first 8 rows are 3 to 10.
SEGMENT = [0] * 3 + [1] * 10 + [0] * 7


@pytest.mark.parametrize("at, tp, fp", [
    ([], 0, 0),
    ([3], 10, 0),
    ([10], 10, 0),             # delay 7: the last that counts
    ([11], 0, 0),              # too late: missed, but no false row
    ([10, 11, 12], 10, 0),
    ([2], 0, 1),
    ([2, 5, 13, 19], 10, 3),
])
def test_a_segment_is_found_in_its_first_eight_rows_or_not_at_all(at, tp, fp):
    figure = aiops.Measure([series(SEGMENT)], scores(20, *at), everything).at(1)
    assert figure.f1 == pytest.approx(2 * tp / (2 * tp + fp + 10 - tp))
    assert figure.recall == tp / 10
    assert figure.precision == (tp / (tp + fp) if tp + fp else 0)


def test_a_short_segment_ends_before_its_delay():
    # Row 4 is behind the segment 2..3 and false, though within 7 rows of its beginning.
    figure = aiops.Measure([series([0, 0, 1, 1, 0, 0])], scores(6, 4), everything).at(1)
    assert (figure.precision, figure.recall) == (0, 0)


def test_rows_of_all_series_are_pooled():
    both = [series(SEGMENT), series([0, 1, 1, 0], name="b")]
    # Found: 10 of 12 rows; false: 1.  F1 = 20 / (20 + 1 + 2).
    s = {**scores(20, 4, 0), **scores(4, name="b")}
    assert aiops.Measure(both, s, everything).at(1).f1 == pytest.approx(20 / 23)


def test_a_segment_over_the_halves_border_counts_in_each():
    # Rows 6 to 12 are scored: found by row 9, not by row 4 of the first half.
    s = [series(SEGMENT, test_from=6)]
    assert aiops.Measure(s, scores(20, 4), lambda s: s.test).at(1).recall == 0
    assert aiops.Measure(s, scores(20, 9), lambda s: s.test).at(1).recall == 1


def test_a_threshold_of_the_first_halves_is_applied_to_the_second():
    # First half: 0.6 finds the segment, 0.4 would add a false row.  Second half: its segment has 0.4.
    s = series([0, 1, 0, 0, 0, 1, 0, 0], test_from=4)
    x = {"a": np.array([0, .6, 0, .4, 0, .4, 0, 0])}
    figures = aiops.figures([s], x, rate_threshold=0.3)
    assert (figures["train"].threshold, figures["train"].f1) == (0.6, 0)
    assert (figures["test"].threshold, figures["test"].f1) == (0.4, 1)
    assert (figures["rate"].threshold, figures["rate"].f1) == (0.3, 1)
    assert (figures["all"].threshold, figures["all"].f1) == (0.4, pytest.approx(4 / 5))


def row_by_row(labels, found, delay):
    tp = fp = fn = i = 0
    while i < len(labels):
        if not labels[i]:
            fp += found[i]
            i += 1
            continue
        end = i
        while end < len(labels) and labels[end]:
            end += 1
        if any(found[i:min(i + delay + 1, end)]):
            tp += end - i
        else:
            fn += end - i
        i = end
    return 2 * tp / max(2 * tp + fp + fn, 1)


def test_all_thresholds_at_once_agree_with_row_by_row():
    rng = random.Random(7)
    labels = [k % 2 for k in range(60) for _ in range(rng.randrange(1, 20))]
    x = np.array([rng.randrange(20) / 20 for _ in labels])
    m = aiops.Measure([series(labels)], {"a": x}, everything)
    assert len(m.thresholds) == 21
    for i, threshold in enumerate(m.thresholds):
        assert m.figure(i).f1 == pytest.approx(row_by_row(labels, x >= threshold, aiops.DELAY))
