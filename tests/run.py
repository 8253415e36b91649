#!/usr/bin/env python3
"""Runs every test of Sluice and ends with the line `N passed, N failed, N skipped`.

Stages, in order (--only NAME runs one, --list names them):

  clang     everything builds with clang as well as with gcc, warnings as errors
  unit      CUnit programs of tests/unit and tests/bpf
  asan      the same under AddressSanitizer and UndefinedBehaviorSanitizer
  tsan      the threaded ones under ThreadSanitizer
  kafka     the programs of tests/unit/stream once more, against a real broker that deploy/kafka/kafka-dev runs
  fuzz      each fuzz target for a few seconds
  system    pytest: whole-system tests, compatibility of the protos, dependency rule, README's commands

A test is one line that starts with `ok`, `not ok` or `skip` in a program's output, or one test of pytest.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
THREADED = re.compile(r"tests/unit/(base|observe|stream|journal|net|alerts|gateway|aggregator)/")
KAFKA = re.compile(r"tests/unit/stream/")
FUZZ_SECONDS = 5


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures, self.skips = [], []

    def take(self, line, where):
        if line.startswith("ok "):
            self.passed += 1
        elif line.startswith("not ok "):
            self.failed += 1
            self.failures.append(f"{where}: {line[7:]}")
        elif line.startswith("skip "):
            self.skipped += 1
            self.skips.append(f"{where}: {line[5:]}")

    def fail(self, what):
        self.failed += 1
        self.failures.append(what)


def run(command, timeout_s, env=None):
    """Output and exit status; a program that hangs is killed and says so."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout_s, env={**os.environ, **(env or {})})
        return done.stdout, done.returncode
    except subprocess.TimeoutExpired as e:
        text = e.stdout.decode(errors="replace") if isinstance(e.stdout, bytes) else (e.stdout or "")
        return text + f"\nno end after {timeout_s} s\n", -1


def make(tally, build, *arguments):
    output, status = run(["make", "--no-print-directory", f"-j{os.cpu_count()}", f"O={build}", *arguments], 1800)
    if status != 0:
        print(output)
        tally.fail(f"make {' '.join(arguments)}")
    return status == 0


def programs(build, *folders):
    return sorted(p for f in folders for p in (ROOT / build / "tests" / f).rglob("test_*") if os.access(p, os.X_OK) and p.is_file())


def run_programs(tally, build, stage, select=lambda path: True, env=None):
    for program in programs(build, "unit", "bpf"):
        name = str(program.relative_to(ROOT / build))
        source = ROOT / (name + ".c")
        if not source.exists() or not select(name):
            continue
        # LeakSanitizer wants ptrace, which a sandbox may refuse; everything else of ASan stays on.
        output, status = run([str(program)], 300, {"SLUICE_BUILD": build, "TSAN_OPTIONS": "halt_on_error=1", **(env or {})})
        lines = output.splitlines()
        before = tally.failed
        for line in lines:
            tally.take(line, f"{stage}: {name}")
        if status != 0 and tally.failed == before:
            tally.fail(f"{stage}: {name} ended with status {status}")
        if tally.failed > before:
            print(output)


def stage_clang(tally, build):
    if make(tally, f"{build}/clang", "CC=clang", "all", "tests"):
        tally.passed += 1


def stage_unit(tally, build):
    if make(tally, build, "all", "tests"):
        run_programs(tally, build, "unit")


def stage_asan(tally, build):
    if make(tally, f"{build}/san-address", "SAN=address", "all", "tests"):
        run_programs(tally, f"{build}/san-address", "asan")


# librdkafka makes its threads by C11's thrd_create(), which ThreadSanitizer does not intercept: it crashes in them.
WITHOUT_TSAN = {"tests/unit/stream/test_kafka": "librdkafka's threads are unknown to ThreadSanitizer"}


def stage_tsan(tally, build):
    if make(tally, f"{build}/san-thread", "SAN=thread", "all", "tests"):
        for name, why in WITHOUT_TSAN.items():
            tally.take(f"skip {name}: {why}", "tsan")
        run_programs(tally, f"{build}/san-thread", "tsan", lambda name: THREADED.search(name) and name not in WITHOUT_TSAN)


def stage_kafka(tally, build):
    """Needs Java and Maven, and the network the first time; says so and skips where they are missing."""
    missing = [name for name in ("java", "mvn") if not shutil.which(name)]
    if missing:
        tally.take(f"skip tests/unit/stream against a broker: no {' and no '.join(missing)} here", "kafka")
        return
    if not make(tally, build, "all", "tests"):
        return
    script = str(ROOT / "deploy/kafka/kafka-dev")
    output, status = run([script, "fetch"], 600)
    if status != 0:
        tally.take(f"skip tests/unit/stream against a broker: {output.strip()}", "kafka")
        return
    with tempfile.TemporaryDirectory(prefix="sluice-kafka-") as folder:
        output, status = run([script, "start", folder], 120)
        if status != 0:
            print(output)
            tally.fail("kafka: no broker")
            return
        try:
            address = output.split()[-1]
            run_programs(tally, build, "kafka", KAFKA.search, {"SLUICE_TEST_KAFKA": address, "SLUICE_TEST_KAFKA_DIR": folder})
        finally:
            run([script, "stop", folder], 60)


def stage_fuzz(tally, build):
    folder = f"{build}/fuzz"
    if not make(tally, folder, "CC=clang", "SAN=address", "CFLAGS=-fsanitize=fuzzer-no-link", "fuzz"):
        return
    for program in sorted((ROOT / folder / "tests/fuzz").glob("fuzz_*")):
        seeds = ROOT / "tests/fuzz/corpus" / program.name
        corpus = ROOT / folder / "corpus" / program.name
        corpus.mkdir(parents=True, exist_ok=True)
        output, status = run([str(program), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
                              f"-artifact_prefix={corpus.parent}/{program.name}-", str(corpus),
                              *([str(seeds)] if seeds.is_dir() else [])], FUZZ_SECONDS + 120)
        if status == 0:
            tally.passed += 1
        else:
            print(output)
            tally.fail(f"fuzz: {program.name}")


def venv(build):
    """A Python of the tests' own, made once, with tests/requirements.txt installed."""
    home = ROOT / build / "venv"
    stamp = home / ".ready"
    wanted = (ROOT / "tests/requirements.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r",
                        str(ROOT / "tests/requirements.txt")], check=True)
        stamp.write_text(wanted)
    return home / "bin/python"


def stage_system(tally, build):
    if not make(tally, build, "all"):
        return
    report = ROOT / build / "system.tap"
    command = [str(venv(build)), "-m", "pytest", "-q", "-rs", "--tb=short", "tests/system", f"--outcomes={report}"]
    report.unlink(missing_ok=True)
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "SLUICE_BUILD": str(ROOT / build)}) as child:
        status = child.wait()
    lines = report.read_text().splitlines() if report.exists() else []
    before = tally.failed
    for line in lines:
        tally.take(line, "system")
    if status not in (0, 5) and tally.failed == before:
        tally.fail(f"system: pytest ended with status {status}")


STAGES = {"clang": stage_clang, "unit": stage_unit, "asan": stage_asan, "tsan": stage_tsan, "kafka": stage_kafka,
          "fuzz": stage_fuzz, "system": stage_system}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="build directory of make (default: build)")
    parser.add_argument("--only", action="append", choices=STAGES, help="run this stage only (repeatable)")
    parser.add_argument("--list", action="store_true", help="name the stages")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(STAGES))
        return 0
    tally = Tally()
    for name in arguments.only or STAGES:
        start, before = time.monotonic(), (tally.passed, tally.failed, tally.skipped)
        print(f"== {name}", flush=True)
        STAGES[name](tally, arguments.build)
        now = (tally.passed, tally.failed, tally.skipped)
        print("   {} passed, {} failed, {} skipped in {:.0f} s".format(*(a - b for a, b in zip(now, before)), time.monotonic() - start), flush=True)
    for line in tally.skips:
        print(f"skipped: {line}")
    for line in tally.failures:
        print(f"FAILED: {line}")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
