"""Reports each test's outcome in the lines that tests/run.py counts."""


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
