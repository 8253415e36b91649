#!/usr/bin/env python3
"""How well the detector finds what people called anomalies, and what it costs.

  nab_standard, nab_low_fp, nab_low_fn   Numenta Anomaly Benchmark, 58 files, as nab.py scores: 100 is perfect
  nab_two_fold                           standard profile; all settings chosen on half of the files, the other half
                                         scored, both ways, mean.  Halves: each category's files by name, alternately.
                                         "constants and threshold": the constants are detector_halves.json's, each set
                                         found by tune.py on its half.  "threshold alone": the shipped constants, which
                                         have seen all files; and the same of RANDOM_SPLITS other halves.
  aiops_f1                               AIOPS KPI series, delay 7, as aiops.py says
  detect_synthetic_recall                ten kinds of anomaly in six kinds of series, synthetic.py: share found
  detect_synthetic_false_alarms          the same, a week, worst of the six kinds
  detect_synthetic_kind                  the same, share of those found that are told as what they are
  detect_clean_false_alarms              22 kinds of series without anomalies, clean.py: a week, mean of the kinds
  detect_crowded_f1                      short series with many anomalies, crowded.py, beside a z-score
  detect_crowded_recall                  the same: alerts, share of the anomalies told
  detect_ns, detect_bytes_per_series     CPU time of an update, size of the state

The detector has one configuration; what is chosen on data here is said: NAB's and AIOPS' threshold, and the two-fold
figure's constants.
The data: nab.tar.zst and aiops-dev.tar.zst in ../shared/data or SLUICE_DATA; without them their lines are left out.

Scores come from detect_core.c, one process for all series; some are held against those of `sluice detect --csv`.
"""
import argparse
import contextlib
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
try:
    import numpy as np
except ImportError:
    # The tests' own Python has it.
    sys.path.insert(0, str(ROOT / "tests"))
    import run as tests_run
    python = tests_run.venv(os.environ.get("SLUICE_BUILD", "build"))
    os.execv(python, [str(python), *sys.argv])

import aiops  # noqa: E402
import clean  # noqa: E402
import crowded  # noqa: E402
import labelled  # noqa: E402
import nab  # noqa: E402
import synthetic  # noqa: E402
from detect_core import KINDS, Core  # noqa: E402
from tunable import Tunable  # noqa: E402

RANDOM_SPLITS = 20
HALVES = ROOT / "tests/bench/detector_halves.json"
NAB_NAME = "threshold as NAB finds it"
RATE = 1  # false alarms a week, where a setting is needed


def emit(name, case, value, unit, note=""):
    print(json.dumps({"name": name, "case": case, "value": round(float(value), 4), "unit": unit, "note": note}), flush=True)


def say(text=""):
    print(text, file=sys.stderr, flush=True)


def threshold(per_week):
    return 1 / (1 + per_week)


def unpack(name, folder):
    if labelled.unpack(name, folder):
        return True
    say(f"bench_detect: {labelled.archive(name)} is absent: its lines are left out")
    return False


def hold_against_program(build, path, scores):
    """`sluice detect --csv` must give the same, as far as it prints."""
    done = subprocess.run([build / "bin/sluice", "detect", "--csv", path], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench_detect: sluice detect --csv {path} ended with status {done.returncode}: {done.stderr.strip()}")
    rows = csv.DictReader(done.stdout.splitlines())
    theirs = np.array([float(row["score"] or 0) for row in rows])
    if len(theirs) != len(scores) or np.abs(theirs - scores).max() > 1e-9:
        sys.exit(f"bench_detect: sluice detect --csv {path} gives other scores than the library")


# ---------------------------------------------------------------- NAB

def bench_nab(core, build, folder):
    """Returns series for the measurement of time."""
    corpus = nab.Corpus.load(folder)
    series = [s.fed() for s in corpus.series]
    results = core.scores(series)
    scores = {s.name: score for s, (score, _) in zip(corpus.series, results)}
    kinds = {s.name: kind for s, (_, kind) in zip(corpus.series, results)}
    for s in corpus.series[::11]:
        hold_against_program(build, folder / "data" / s.name, scores[s.name])
    best = corpus.best(scores)
    for profile, result in best.items():
        emit(f"nab_{profile}", NAB_NAME, result.score, "of 100", f"threshold {result.threshold:.4f}")
    bench_two_fold(corpus, build, scores)
    tell_nab(corpus, scores, kinds, best["standard"].threshold)
    return series


def bench_two_fold(corpus, build, scores):
    """scores: of the shipped constants."""
    tunable, halves = Tunable(build), corpus.halves()
    one = corpus.series[0]
    if not np.array_equal(tunable.scores(*one.fed()), scores[one.name]):
        sys.exit(f"bench_detect: {one.name} has other scores with constants that can be set than with fixed ones")
    found, ways = json.loads(HALVES.read_text()), []
    for half, names, others in zip(("half-a", "half-b"), halves, halves[::-1]):
        try:
            tunable.set(found[half]["constants"])
        except ValueError as e:
            sys.exit(f"bench_detect: {HALVES}: {e}; find them anew, tune.py says how")
        of_half = {s.name: tunable.scores(*s.fed()) for s in corpus.series}
        threshold = corpus.subset(set(names)).best(of_half)["standard"].threshold
        ways.append(corpus.subset(set(others)).at(of_half, threshold, "standard"))
    emit("nab_two_fold", "constants and threshold from the other half", sum(r.score for r in ways) / 2, "of 100",
         "both ways: " + ", ".join(f"{r.score:.2f} at {r.threshold:.4f}" for r in ways) +
         f"; {', '.join(str(found[half]['evaluations']) for half in found)} looks")
    leak = "the shipped constants have seen all files"
    mean, ways = corpus.two_fold({"": scores}, halves)
    emit("nab_two_fold", "threshold alone from the other half", mean, "of 100",
         f"{leak}; both ways: " + ", ".join(f"{r.score:.2f} at {r.threshold:.4f}" for _, r in ways))
    means = np.array([corpus.two_fold({"": scores}, corpus.random_halves(seed))[0] for seed in range(RANDOM_SPLITS)])
    emit("nab_two_fold", f"threshold alone, mean of {RANDOM_SPLITS} random halves", means.mean(), "of 100",
         f"{leak}; deviation {means.std(ddof=1):.2f}")


def tell_nab(corpus, scores, kinds, at):
    rows = corpus.details(scores, at)
    say(f"NAB, standard profile at threshold {at:.4f}:")
    say(f"  {'category':26} {'files':>5} {'windows':>8} {'found':>6} {'false':>6} {'sum':>8} {'possible':>8}")
    for category in sorted({r["category"] for r in rows}):
        of = [r for r in rows if r["category"] == category]
        say(f"  {category:26} {len(of):5} {sum(r['windows'] for r in of):8} {sum(r['found'] for r in of):6} "
            f"{sum(r['false'] for r in of):6} {sum(r['sum'] for r in of):8.2f} {sum(r['windows'] for r in of):8}")
    say("  lost most:")
    for r in sorted(rows, key=lambda r: r["sum"] - r["windows"])[:12]:
        say(f"  {r['name']:58} {r['found']} of {r['windows']} found, {r['false']:3} false, sum {r['sum']:6.2f}")
    counts = np.zeros((len(KINDS), 2), dtype=int)
    for s in corpus.series:
        window, _ = s.worth()
        rows = np.flatnonzero(scores[s.name] >= at)
        for i in rows[rows >= s.probation]:
            counts[kinds[s.name][i], 0 if window[i] >= 0 else 1] += 1
    say("  kinds (in windows / outside): " + ", ".join(f"{KINDS[k]} {a}/{b}" for k, (a, b) in enumerate(counts) if a + b))
    best, fixed = corpus.best(scores)["standard"].score, [corpus.at(scores, threshold(r), "standard").score for r in (10, 1, 0.1)]
    say(f"  with the setting at 10, 1, 0.1 false alarms a week: {', '.join(f'{x:.2f}' for x in fixed)} (best threshold {best:.2f})")


# ---------------------------------------------------------------- AIOPS

def bench_aiops(core, build, folder):
    series = aiops.load(folder)
    fed = [(s.times_ns, s.values) for s in series]
    scores = {s.name: score for s, (score, _) in zip(series, core.scores(fed))}
    shortest = min(series, key=lambda s: len(s.values))
    hold_against_program(build, folder / f"{shortest.name}.csv", scores[shortest.name])
    figures = aiops.figures(series, scores, threshold(RATE))
    cases = {"train": "second halves, threshold best on the first", "test": "second halves, best threshold",
             "rate": f"second halves, {RATE} false alarm a week", "all": "whole series, best threshold"}
    for origin, case in cases.items():
        f = figures[origin]
        emit("aiops_f1", case, f.f1, "F1", f"precision {f.precision:.3f}, recall {f.recall:.3f}, threshold {f.threshold:.4g}")
    say(f"AIOPS, second halves at {figures['train'].threshold:.4g}:")
    for s in series:
        one = aiops.Measure([s], scores, lambda s: s.test)
        f, best = one.at(figures["train"].threshold), one.best()
        found = [s.labels[s.test][a] and scores[s.name][s.test][a:min(a + aiops.DELAY + 1, b)].max() >= f.threshold
                 for a, b in aiops.segments(s.labels[s.test])]
        say(f"  {s.name[:8]} F1 {f.f1:.3f} (precision {f.precision:.3f}, recall {f.recall:.3f}; {sum(found)} of {len(found)} "
            f"segments), by its own best threshold {best.f1:.3f} at {best.threshold:.4g}")
    return fed


# ---------------------------------------------------------------- the rest

def bench_synthetic(core):
    found, false, after, told = synthetic.measure(core)
    at = synthetic.RATES.index(RATE)
    for anomaly in synthetic.ANOMALIES:
        shares = [found[kind, anomaly] for kind in synthetic.SERIES if (kind, anomaly) in found]
        emit("detect_synthetic_recall", f"{anomaly}, {RATE} a week", np.mean(shares, axis=0)[at], "share",
             f"of {len(shares)} kinds of series, {synthetic.REPETITIONS} each")
    for i, rate in enumerate(synthetic.RATES):
        emit("detect_synthetic_recall", f"all, {rate:g} a week", np.mean(list(found.values()), axis=0)[i], "share")
        worst = max(synthetic.SERIES, key=lambda kind: false[kind][i])
        emit("detect_synthetic_false_alarms", f"setting {rate:g} a week", false[worst][i], "a week",
             f"{worst}; mean of all {np.mean(list(false.values()), axis=0)[i]:.3f}")
    emit("detect_synthetic_kind", f"all found at {synthetic.TOLD_RATE:g} a week", np.mean(list(told.values())), "share",
         "told as what they are")
    say(synthetic.table(found, false, after, told))


def bench_clean(core):
    measured = clean.measure(core)
    for which, (when, figures) in enumerate(zip(("first week", "after it"), clean.mean(measured))):
        for i, rate in enumerate(clean.RATES):
            worst = max(measured, key=lambda kind: measured[kind][which][i])
            emit("detect_clean_false_alarms", f"setting {rate:g} a week, {when}", figures[i], "a week",
                 f"most: {worst}, {measured[worst][which][i]:.2g}")
    say(clean.table(measured))


def bench_crowded(core):
    measured = crowded.measure(core)
    (together, own), (z_together, z_own), alerts = measured["all"]
    emit("detect_crowded_f1", "best threshold of all", together, "F1", f"a z-score has {z_together:.2f}")
    emit("detect_crowded_f1", "mean of each series' own", own, "F1", f"a z-score has {z_own:.2f}")
    for rate, (found, right) in zip(crowded.RATES, alerts):
        emit("detect_crowded_recall", f"{rate:g} a week", found, "share", f"{100 * right:.0f} % of the alerts are of an anomaly")
    say(crowded.table(measured))


def bench_cost(core, series, what):
    one, turn, n = core.time(series)
    emit("detect_ns", "series after series", one, "ns/value", what)
    emit("detect_ns", f"{n:,} series in turn", turn, "ns/value", what)
    state, event = core.size()
    emit("detect_bytes_per_series", "state", state, "B", f"and {event} for its event")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--only", action="append", choices=("nab", "aiops", "synthetic", "cost"), help="this part (repeatable)")
    arguments = parser.parse_args()
    wanted = arguments.only or ("nab", "aiops", "synthetic", "cost")
    build = (ROOT / arguments.build).resolve()
    core, series = Core(build), []
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-detect-")))
        if ("nab" in wanted or "cost" in wanted) and unpack(labelled.NAB, folder):
            series += bench_nab(core, build, folder)
        if "aiops" in wanted and unpack(labelled.AIOPS, folder):
            series += bench_aiops(core, build, folder / "aiops-dev")
    if "synthetic" in wanted:
        bench_synthetic(core)
        bench_clean(core)
        bench_crowded(core)
    if "cost" in wanted:
        made_up = [synthetic.Maker(kind, r).values()[:2] for kind in synthetic.SERIES for r in range(2)]
        bench_cost(core, series or made_up, f"{len(series)} recorded series" if series else "made-up series")
    return 0


if __name__ == "__main__":
    sys.exit(main())
