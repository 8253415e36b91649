#!/usr/bin/env python3
"""Runs the benchmarks: a table for people, and JSON lines {name, case, value, unit, note} into BUILD/bench/NAME.jsonl.

A benchmark is tests/bench/bench_NAME.c (built by make) or tests/bench/bench_NAME.py.  It prints such JSON lines on
stdout and anything for people on stderr.  --only NAME runs one.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 900


def find(build):
    found = {}
    for source in sorted((ROOT / "tests/bench").glob("bench_*")):
        name = source.stem[len("bench_"):]
        if source.suffix == ".py":
            found[name] = [sys.executable, str(source), "--build", str(build)]
        elif source.suffix == ".c":
            found[name] = [str(build / "tests/bench" / source.stem)]
    return found


def run(name, command, build):
    print(f"== {name}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S,
                          env={**os.environ, "SLUICE_BUILD": str(build)})
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    folder = build / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for line in lines:
        print(f"  {line['name']:24} {line.get('case', ''):28} {line['value']:>14,.2f} {line['unit']:16} {line.get('note', '')}")
    if done.returncode != 0 or not lines:
        print(f"  {name} ended with status {done.returncode} and {len(lines)} figures", file=sys.stderr)
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", action="append", help="this benchmark only (repeatable)")
    arguments = parser.parse_args()
    build = (ROOT / arguments.build).resolve()
    found = find(build)
    unknown = [name for name in arguments.only or [] if name not in found]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]}; there are: {', '.join(found)}")
    results = [run(name, found[name], build) for name in arguments.only or found]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
