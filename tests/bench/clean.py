#!/usr/bin/env python3
"""False alarms in series without anomalies, of many kinds: whether the setting is what one gets.

KINDS: noise with light and heavy tails, with a day in it, autocorrelated, rounded, rare counts, bursts, switches, a walk, a
sawtooth of five days, a trend, noise whose size wanders, a sine, quiet weekends.  A value each five minutes for eight weeks,
REPETITIONS series each.  The first week is counted by itself: what is usual is not known yet.

Alerts are those of anomaly.h.  Seed of a series: SEED, its kind's place, the repetition.
"""
import argparse
import pathlib
import sys

import numpy as np

from detect_core import Core
from synthetic import MINUTE_NS, RATES, START_NS, autoregression

SEED, REPETITIONS, WEEKS = 7, 20, 8
INTERVAL_NS, WEEK, DAY = 5 * MINUTE_NS, 2016, 288  # values
N = WEEKS * WEEK
I = np.arange(N)
SUN = np.sin(2 * np.pi * I / DAY)


def wandering(r, keep):
    return autoregression(r.standard_normal(N), keep)


def bursts(r):
    return 5 + 0.5 * r.standard_normal(N) + np.where(np.convolve(r.random(N) < 0.01, np.ones(4))[:N] > 0, 20 * r.random(N), 0)


KINDS = {
    "normal": lambda r: r.standard_normal(N),
    "uniform": lambda r: r.random(N),
    "exponential": lambda r: r.exponential(1, N),
    "lognormal 0.8": lambda r: np.exp(0.8 * r.standard_normal(N)),
    "lognormal 1.5": lambda r: np.exp(1.5 * r.standard_normal(N)),
    "student t3": lambda r: r.standard_t(3, N),
    "pareto 2": lambda r: r.pareto(2, N),
    "day, gamma": lambda r: (2 + SUN) * r.gamma(2, 0.5, N),
    "day, student t3": lambda r: 10 * SUN + r.standard_t(3, N),
    "wandering, rounded": lambda r: np.round(wandering(r, 0.98) * 2) / 2,
    "day, seldom a step": lambda r: np.round(21 + 0.8 * SUN + 0.03 * r.standard_normal(N), 1),
    "day, rounded": lambda r: np.round((20 + 3 * SUN + 0.1 * r.standard_normal(N)) * 2) / 2,
    "poisson 0.02": lambda r: r.poisson(0.02, N).astype(float),
    "poisson 0.3": lambda r: r.poisson(0.3, N).astype(float),
    "bursts": bursts,
    "on and off": lambda r: (I % 72 < 18) * 2.2 + 0.02 * r.standard_normal(N),
    "random walk": lambda r: np.cumsum(r.standard_normal(N)),
    "sawtooth of days": lambda r: 12.7 - (I + r.integers(1500)) % 1500 / 1500 + 0.005 * r.standard_normal(N),
    "trend": lambda r: I / 500 + r.standard_normal(N),
    "garch": lambda r: r.standard_normal(N) * np.exp(0.1 * wandering(r, 0.99)),
    "sine of 10.5 h": lambda r: 3 * np.sin(2 * np.pi * I / 125.7) + r.standard_normal(N),
    "quiet weekends": lambda r: np.where(I // DAY % 7 < 5, 10 * np.maximum(SUN, 0), 0) + 0.3 * r.standard_normal(N),
}


def measure(core, repetitions=REPETITIONS):
    """{kind: (alarms in the first week, alarms a week after it)}, each at RATES."""
    times, measured = START_NS + I * INTERVAL_NS, {}
    first_ns = START_NS + WEEK * INTERVAL_NS
    for place, (kind, made) in enumerate(KINDS.items()):
        counts = np.zeros((2, len(RATES)))
        for of_rates in core.alerts([(times, made(np.random.default_rng([SEED, place, k]))) for k in range(repetitions)], RATES):
            for i, (at, _) in enumerate(of_rates):
                counts[:, i] += (at < first_ns).sum(), (at >= first_ns).sum()
        measured[kind] = counts[0] / repetitions, counts[1] / (repetitions * (WEEKS - 1))
    return measured


def mean(measured):
    """Over the kinds: of the first week, and of those after it."""
    return np.mean([first for first, _ in measured.values()], axis=0), np.mean([later for _, later in measured.values()], axis=0)


def table(measured):
    lines = [f"False alarms a week with the setting at {', '.join(f'{r:g}' for r in RATES)}:", "",
             "| | first week | after it |", "|---|---|---|"]
    for kind, figures in [*measured.items(), ("mean", mean(measured))]:
        lines.append(f"| {kind} | " + " | ".join(" ".join(f"{x:.2g}" for x in figure) for figure in figures) + " |")
    return "\n".join(lines)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(root / "build"))
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    print(table(measure(Core(arguments.build), arguments.repetitions)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
