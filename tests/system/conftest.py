"""Reports each test's outcome in the lines that tests/run.py counts, and has the fixtures that several files share."""
import os
import pathlib
import subprocess

import pytest

import daemons

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_addoption(parser):
    parser.addoption("--outcomes", help="write `ok|not ok|skip NAME` lines to this file")


def pytest_configure(config):
    config.outcomes = open(config.getoption("--outcomes"), "w") if config.getoption("--outcomes") else None


def pytest_runtest_logreport(report):
    outcomes = getattr(pytest_runtest_logreport, "file", None)
    if outcomes is None:
        return
    if report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        print(f"skip {report.nodeid}: {why}", file=outcomes, flush=True)
    elif report.failed:
        print(f"not ok {report.nodeid} ({report.when})", file=outcomes, flush=True)
    elif report.when == "call":
        print(f"ok {report.nodeid}", file=outcomes, flush=True)


def pytest_sessionstart(session):
    pytest_runtest_logreport.file = session.config.outcomes


KAFKA_DEV = ROOT / "deploy/kafka/kafka-dev"


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory):
    """host:port of a broker of this session's own ($SLUICE_TEST_KAFKA names one that runs already)."""
    if os.environ.get("SLUICE_TEST_KAFKA"):
        yield os.environ["SLUICE_TEST_KAFKA"]
        return
    folder = tmp_path_factory.mktemp("kafka")
    started = subprocess.run([KAFKA_DEV, "start", folder], capture_output=True, text=True, timeout=600)
    if started.returncode != 0:
        pytest.skip(f"no Kafka: {started.stderr.strip()}")
    yield started.stdout.split()[-1]
    subprocess.run([KAFKA_DEV, "stop", folder], check=True, timeout=60)


@pytest.fixture(params=["embedded", "kafka"])
def place(request, tmp_path):
    """A folder and streams on each backend; every daemon started in it is ended."""
    broker = request.getfixturevalue("kafka_broker") if request.param == "kafka" else None
    with daemons.Place(tmp_path, broker) as p:
        yield p
