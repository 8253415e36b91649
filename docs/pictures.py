#!/usr/bin/env python3
"""Draws the pictures of docs/anomalies.md: makes series with a stated seed and has `sluice detect --plot` draw them.

    docs/pictures.py [--build build]

Without numpy on purpose: whoever reads the page can run it as it is.
"""
import argparse
import math
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
START = 1772409600  # 2026-03-02, a Monday, 00:00 UTC
FIVE_MINUTES = 300
DAY = 86400


def noise(rng, spread):
    return rng.gauss(0, spread)


def office(rng, weeks=4):
    """Power of a building: days, and quieter weekends."""
    for i in range(weeks * 7 * DAY // FIVE_MINUTES):
        second = i * FIVE_MINUTES
        hour, weekday = second % DAY / 3600, second // DAY % 7
        busy = math.exp(-((hour - 13) / 4) ** 2) * (0.25 if weekday >= 5 else 1)
        yield START + second, 20 + 60 * busy + noise(rng, 2)


def season(rng):
    """A spike, a holiday on a working day, and a peak that comes six hours late."""
    values = list(office(rng))
    spike = 16 * DAY // FIVE_MINUTES + 40
    values[spike] = (values[spike][0], values[spike][1] + 60)
    for i in range(22 * DAY // FIVE_MINUTES, 23 * DAY // FIVE_MINUTES):
        values[i] = (values[i][0], 20 + noise(rng, 2))
    return values


def level(rng):
    """A cold store: a new level, then a slow drift, then a sensor that is stuck."""
    value = []
    for i in range(28 * DAY // FIVE_MINUTES):
        day = i * FIVE_MINUTES / DAY
        y = -18 + 0.4 * math.sin(2 * math.pi * day) + noise(rng, 0.15)
        y += 1.5 if day > 12 else 0
        y += 0.5 * (day - 18) if 18 < day < 22 else 2 if day >= 22 else 0
        value.append((START + i * FIVE_MINUTES, y))
    stuck = 26 * DAY // FIVE_MINUTES
    return value[:stuck] + [(t, value[stuck][1]) for t, _ in value[stuck:]]


def roughness(rng):
    """A pump with a cycle of 47 minutes: it becomes rough for some hours."""
    for i in range(5 * DAY // 60):
        stroke = math.sin(2 * math.pi * i / 47)
        spread = 0.5 if 4200 < i < 4500 else 0.12
        yield START + i * 60, 5 + stroke + noise(rng, spread)


PICTURES = {
    "season": (season, "A building's power: days, weekends, a spike, a holiday", 0.1),
    "level": (level, "A cold store: a new level, a drift, a stuck sensor", 0.01),
    "cycle": (roughness, "A pump: rough for some hours", 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, title, rate) in PICTURES.items():
            path = pathlib.Path(folder, f"{title}.csv")
            rows = "".join(f"{t},{y:.4f}\n" for t, y in make(random.Random(20260302)))
            path.write_text("time,value\n" + rows)
            done = subprocess.run([arguments.build / "bin/sluice", "detect", "--plot", ROOT / f"docs/pictures/{name}.svg",
                                   "--false-alarms-per-week", str(rate), "--csv", path], stdout=subprocess.PIPE, text=True)
            if done.returncode != 0:
                sys.exit(f"pictures: {name}: sluice detect ended with status {done.returncode}")
            alerts = [row.split(",") for row in done.stdout.splitlines() if row.split(",")[3] == "1"]
            print(f"{name}: " + ", ".join(f"{row[4]} at {(float(row[0]) - START) / DAY:.2f} d" for row in alerts))


if __name__ == "__main__":
    main()
