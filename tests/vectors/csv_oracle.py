"""What Python makes of the same text, for tests/unit/codec/test_csv.c.

    csv_oracle.py instants SEED N   lines of TEXT<tab>NANOSECONDS: datetime.fromisoformat() and decimal.Decimal
    csv_oracle.py records SEED N    lines of TEXT FIELDS:FIRST:SECOND ... in hexadecimal: csv.reader() on dirty text
"""
import csv
import datetime
import decimal
import io
import random
import sys

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)


def iso(r):
    day = datetime.date.fromordinal(r.randint(datetime.date(1678, 1, 2).toordinal(), datetime.date(2261, 12, 30).toordinal()))
    dash, colon = r.choice([("-", ":"), ("", "")])
    clock = r.choice(["%H", f"%H{colon}%M", f"%H{colon}%M{colon}%S"])
    time = datetime.time(r.randrange(24), r.randrange(60), r.randrange(60)).strftime(clock)
    nanoseconds = 0
    if clock.endswith("S") and r.random() < 0.5:
        fraction = "".join(r.choice("0123456789") for _ in range(r.randint(1, 6)))
        time += r.choice(".,") + fraction
    offset = r.choice(["", "", "Z", f"{r.choice('+-')}{r.randrange(24):02}{colon}{r.randrange(60):02}", f"{r.choice('+-')}{r.randrange(24):02}"])
    text = day.strftime(f"%Y{dash}%m{dash}%d") + (r.choice("T ") if dash else "T") + time + offset
    moment = datetime.datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    microseconds = (moment - EPOCH) // datetime.timedelta(microseconds=1)
    return text, microseconds * 1000 + nanoseconds


def number(r):
    decimal.getcontext().prec = 60
    seconds = decimal.Decimal(r.randint(100_000_001_000, 9_223_372_036_000)) / 1000  # 1973 to 2262
    power = r.choice([0, 3, 6, 9])
    value = (seconds * 10 ** power).quantize(decimal.Decimal(1).scaleb(r.randint(0, 9) - 9))
    text = r.choice(["{:f}", "{:e}", "+{:f}", "-{:f}", " {:f} "]).format(value)
    value = decimal.Decimal(text.strip())
    return text, int(value.scaleb(9 - power).to_integral_value(decimal.ROUND_DOWN))


def instants(r, n):
    for _ in range(n):
        text, ns = r.choice([iso, number])(r)
        print(f"{text}\t{ns}")


def records(r, n):
    while n > 0:
        text = "h,h\n" + "".join(r.choice(['"', '"', ",", ",", "\n", "\r\n", "a", "1", "é", ";"]) for _ in range(r.randint(1, 60)))
        found = list(csv.reader(io.StringIO(text + "\nEND,END\n", newline="")))
        if found[-1] != ["END", "END"]:  # a quote is open at the end
            continue
        hexed = [f"{len(f)}:" + ":".join(x.encode().hex() for x in (f + [""])[:2]) for f in found[:-1] if f]
        print(text.encode().hex(), *hexed)
        n -= 1


if __name__ == "__main__":
    {"instants": instants, "records": records}[sys.argv[1]](random.Random(int(sys.argv[2])), int(sys.argv[3]))
