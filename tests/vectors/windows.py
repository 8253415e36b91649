#!/usr/bin/env python3
"""The oracle of tests/unit/analytics/test_window.c: Python's decimal module and sorted lists.

    windows.py SEED COUNT

prints COUNT windows, two lines each: the bits of the window's values in hex, then

    COUNT SUM SUM_SQUARES MIN MAX NOT_FINITE OUT_OF_RANGE Q50 Q90 Q95 Q99

SUM and SUM_SQUARES as exact decimals, MIN, MAX and the quantiles (the value at rank ceil(q * count) of the sorted list) as
bits; "-" where nothing is summed.
"""
import decimal
import fractions
import math
import random
import struct
import sys


def bits(value):
    return struct.pack(">d", value).hex()


def plain(number):
    """A decimal without exponent, trailing zeros or a sign on zero."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def values():
    kind = random.randrange(7)
    for _ in range(random.choice((0, 1, 2, 3, 10, 100, 1000))):
        if kind == 0:
            yield round(random.gauss(20, 5), 2)
        elif kind == 1:
            yield random.uniform(-1e3, 1e3)
        elif kind == 2:
            yield random.choice((1, -1)) * 10 ** random.uniform(-12, 17.99)
        elif kind == 3:
            yield random.choice((0.0, -0.0, 1e-9, -1e-9, 5e-10, 1.5e-9))
        elif kind == 4:
            yield random.choice((math.nan, math.inf, -math.inf, 1e18, -1e18, 1e300, 999999999999999872.0, 7.0))
        elif kind == 5:
            yield random.choice((-999999999999999872.0, 999999999999999872.0))
        else:
            yield float(random.randrange(-3, 4))


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    random.seed(seed)
    decimal.getcontext().prec = 120
    for _ in range(count):
        window = list(values())
        finite = [v for v in window if math.isfinite(v)]
        summed = sorted(v + 0.0 for v in finite if abs(v) < 1e18)
        fixed = [decimal.Decimal(repr(v)).quantize(decimal.Decimal("1e-9"), decimal.ROUND_HALF_EVEN) for v in summed]
        ranks = [math.ceil(fractions.Fraction(q, 100) * len(summed)) for q in (50, 90, 95, 99)]
        print(*map(bits, window))
        print(len(summed), plain(sum(fixed)), plain(sum(f * f for f in fixed)),
              *([bits(summed[0]), bits(summed[-1])] if summed else "--"), len(window) - len(finite), len(finite) - len(summed),
              *(bits(summed[rank - 1]) if summed else "-" for rank in ranks))


main()
