#!/usr/bin/env python3
"""The oracle of tests/unit/codec/test_decimal.c: Python's repr() and decimal module.

    shortest_decimals.py SEED COUNT

prints lines "BITS DIGITS EXPONENT FIXED9": a double's bits in hex, the digits and the exponent of its repr() without
trailing zeros, and that decimal at scale 1e-9, half even ("-" when its magnitude is 1e18 or more).
"""
import decimal
import random
import struct
import sys


def doubles(count):
    yield from (0.0, -0.0, 1.0, -1.0, 0.1, 0.3, 5e-324, 2.2250738585072014e-308, 2.225073858507201e-308,
                1.7976931348623157e308, 9007199254740991.0, 9007199254740992.0, 9007199254740993.0, 9007199254740994.0,
                1e15, 1e16, 1e17, 1e18, 999999999999999.9, 999999999999999.0, 999999999999999900.0, 1e21, 1e22, 1e23,
                9.5367431640625e-07, 5e-10, 1.5e-9, 2.5e-9, 0.5e-9, -2.5e-9, 1.0000000005, 2.0000000015)
    for exponent in range(-1074, 1024):
        yield 2.0 ** exponent
    for exponent in range(-323, 309):
        yield float(f"1e{exponent}")
    for _ in range(count):
        kind = random.randrange(8)
        if kind == 0:
            bits = random.getrandbits(64)
            if bits >> 52 & 0x7ff != 0x7ff:
                yield struct.unpack("<d", struct.pack("<Q", bits))[0]
        elif kind == 1:
            yield random.randrange(-10 ** 6, 10 ** 6) / 100
        elif kind == 2:
            yield float(random.randrange(-2 ** 60, 2 ** 60) >> random.randrange(60))
        elif kind == 3:
            yield random.randrange(10 ** random.randrange(1, 18)) / 10 ** random.randrange(0, 20)
        elif kind == 4:
            yield random.uniform(-1000, 1000)
        elif kind == 5:
            yield struct.unpack("<d", struct.pack("<Q", random.getrandbits(52 - random.randrange(52))))[0]
        elif kind == 6:
            yield float(2 ** 53 + random.randrange(-100, 100)) * random.choice((1, 0.5, 2, 0.1))
        else:
            # Halves at the tenth decimal: ties of the scale 1e-9.
            yield float(f"{random.randrange(-1000, 1000)}.{random.randrange(10 ** 6):09d}5")


def main():
    random.seed(int(sys.argv[1]))
    decimal.getcontext().prec = 60
    for v in doubles(int(sys.argv[2])):
        sign, digits, exponent = decimal.Decimal(repr(v)).normalize().as_tuple()
        value = int("".join(map(str, digits))) * (-1 if sign else 1)
        exponent = exponent if value else 0
        fixed = "-"
        if abs(v) < 1e18:
            fixed = decimal.Decimal(repr(v)).quantize(decimal.Decimal("1e-9"), decimal.ROUND_HALF_EVEN)
            fixed = int(fixed.scaleb(9))
        print(f"{struct.unpack('<Q', struct.pack('<d', v))[0]:016x} {value} {exponent} {fixed}")


main()
