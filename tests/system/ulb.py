"""Real readings for whole-system tests: the ULB library sensor network, 20 motes that report about once a minute.

The data is not part of the project.  It is looked for in $SLUICE_DATA, else in ../shared/data from the project's root,
as ulb-wsn.tar.zst (folder ulb/: R1.txt, R2.txt, R3.txt, lib2_readings.txt).

Cleaning, line by line:
  - blank lines are no rows; 36,816 rows remain, every one of them with nine columns;
  - the byte 0xA0 inside a number is the thousands separator of the spreadsheet that wrote it ("1\\xa0595" is 1595) and
    is dropped;
  - a comma is the decimal point;
  - a row that then does not have nine plain decimal numbers (truncated, say) is left out and counted: none is.
Rows are sorted by time and kept even when they repeat: four rows of mote 18 are in the files twice, equal in every
column, so the 36,816 rows are 36,812 distinct readings by (mote, millisecond).  Values are never rounded: what is
written is the digits of the file.

    python3 tests/system/ulb.py DIR      writes DIR/ulb.jsonl and DIR/registry.csv
"""
import collections
import dataclasses
import decimal
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = ("R1.txt", "R2.txt", "R3.txt", "lib2_readings.txt")
METRICS = ("internal_temperature", "voltage", "humidity", "temperature", "par", "tsr")
ROWS, DISTINCT, MOTES = 36816, 36812, 20
MINUTE_NS = 60 * 10**9
TYPES = ("library-mote-even", "library-mote-odd")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")


@dataclasses.dataclass(frozen=True)
class Reading:
    timestamp_ns: int
    device_id: str
    metrics: tuple  # of (name, digits), in the order of METRICS

    @property
    def key(self):
        return self.device_id, self.timestamp_ns


def archive():
    """The packed data, or None."""
    path = pathlib.Path(os.environ.get("SLUICE_DATA") or ROOT.parent / "shared/data") / "ulb-wsn.tar.zst"
    return path if path.is_file() else None


def clean_row(line):
    """A Reading, or None for a row that is not nine numbers."""
    columns = [c.replace("\xa0", "").replace(",", ".") for c in line.split(" ") if c]
    if len(columns) != 9 or not all(NUMBER.match(c) for c in columns):
        return None
    if any("." in c for c in columns[:3]):
        return None
    return Reading(int(columns[0]) * 10**6, f"mote-{int(columns[1])}", tuple(zip(METRICS, columns[3:])))


def clean(lines):
    """Readings in order of time, and the rows that were left out."""
    readings, left_out = [], []
    for line in lines:
        line = line.strip("\r\n ")
        if not line:
            continue
        reading = clean_row(line)
        if reading is None:
            left_out.append(line)
        else:
            readings.append(reading)
    readings.sort(key=lambda r: r.timestamp_ns)  # stable: ties stay in the order of the files
    return readings, left_out


def load():
    """All readings, cleaned. Raises FileNotFoundError where the data is absent."""
    path = archive()
    if path is None:
        raise FileNotFoundError("ulb-wsn.tar.zst is neither in $SLUICE_DATA nor in ../shared/data")
    lines = []
    for name in FILES:
        packed = subprocess.run(["tar", "--zstd", "-xOf", str(path), f"ulb/{name}"], check=True, capture_output=True)
        lines += packed.stdout.decode("latin-1").split("\n")
    return clean(lines)


def json_line(reading, region=None):
    """protobuf's JSON form of Telemetry; the digits of the file are the number."""
    head = {"timestamp_ns": str(reading.timestamp_ns), "device_id": reading.device_id}
    if region:
        head["region"] = region
    metrics = ",".join(f'"{name}":{digits}' for name, digits in sorted(reading.metrics))
    return json.dumps(head, separators=(",", ":"))[:-1] + ',"metrics":{' + metrics + "}}"


def type_of(device_id):
    return TYPES[int(device_id.rsplit("-", 1)[1]) % 2]


def write(readings, jsonl, registry, region_of=lambda device_id: None):
    """FILE.jsonl, sorted by time, and the registry that gives every mote its type, place and owner."""
    with open(jsonl, "w") as f:
        for r in readings:
            print(json_line(r, region_of(r.device_id)), file=f)
    with open(registry, "w") as f:
        print("device_id,type,place,owner,latitude,longitude", file=f)
        for n in range(1, MOTES + 1):
            print(f"mote-{n},{type_of(f'mote-{n}')},library,ulb,50.8132,4.3822", file=f)


@dataclasses.dataclass
class Window:
    count: int = 0
    sum: decimal.Decimal = decimal.Decimal(0)
    min: decimal.Decimal = None
    max: decimal.Decimal = None
    devices: int = 0


def windows_by_python(jsonl, minute_ns=MINUTE_NS):
    """{(window_start_ns, type, metric): Window} of the distinct readings of a file, in exact decimals."""
    seen, windows, devices = set(), collections.defaultdict(Window), collections.defaultdict(set)
    for line in open(jsonl):
        reading = json.loads(line, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
        device, at_ns = reading["device_id"], int(reading["timestamp_ns"])
        if (device, at_ns) in seen:
            continue
        seen.add((device, at_ns))
        for metric, value in reading["metrics"].items():
            key = (at_ns - at_ns % minute_ns, type_of(device), metric)
            w = windows[key]
            w.count += 1
            w.sum += value
            w.min = value if w.min is None else min(w.min, value)
            w.max = value if w.max is None else max(w.max, value)
            devices[key].add(device)
    for key, w in windows.items():
        w.devices = len(devices[key])
    return dict(windows)


WINDOWS_SQL = """
    with readings as (
        select distinct on (device_id, timestamp_ns) device_id, timestamp_ns::bigint as at_ns, metrics
        from read_json(?, format = 'newline_delimited', columns = {
            timestamp_ns: 'VARCHAR', device_id: 'VARCHAR', metrics: 'MAP(VARCHAR, VARCHAR)' })),
    samples as (
        select device_id, at_ns - at_ns % ? as start_ns, unnest(map_entries(metrics)) as m from readings)
    select start_ns, r.type, m.key, count(*), sum(m.value::decimal(18, 9)), min(m.value::decimal(18, 9)),
           max(m.value::decimal(18, 9)), count(distinct device_id)
    from samples join read_csv(?, header = true) r using (device_id)
    group by all
"""


def windows_by_duckdb(jsonl, registry, minute_ns=MINUTE_NS):
    """The same by a database, the types from the registry file."""
    import duckdb  # only the tests' own Python has it
    rows = duckdb.execute(WINDOWS_SQL, [str(jsonl), minute_ns, str(registry)]).fetchall()
    return {(start, kind, metric): Window(count, total, low, high, devices)
            for start, kind, metric, count, total, low, high, devices in rows}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    readings, left_out = load()
    write(readings, folder / "ulb.jsonl", folder / "registry.csv")
    print(f"{len(readings)} rows, {len({r.key for r in readings})} distinct, {len(left_out)} left out")


if __name__ == "__main__":
    main()
