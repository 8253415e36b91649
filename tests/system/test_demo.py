"""The demo is the first thing that anyone runs: it must show what it promises and leave nothing behind."""
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
SLUICE = BUILD / "bin/sluice"
NAMESPACES = {"sluice-eu", "sluice-us", "sluice-ap", "sluice-fleet"}


def namespaces():
    folder = pathlib.Path("/run/netns")
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def left_behind():
    """What a demo makes outside of its own folder.  Of a crashed one too, until the next one starts and takes it away."""
    pins = pathlib.Path("/sys/fs/bpf/sluice")
    return {str(p) for p in pathlib.Path("/tmp").glob("sluice-demo-*")} | (NAMESPACES & namespaces()) | (
        {str(p) for p in pins.iterdir() if p.name.startswith("nic-")} if pins.is_dir() else set())


def demo(tmp_path, *arguments, timeout=200):
    figures = tmp_path / "demo.json"
    before = left_behind()
    done = subprocess.run([SLUICE, "demo", "--json", figures, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)
    assert figures.exists(), done.stdout
    assert left_behind() <= before
    return done, json.loads(figures.read_text())


def check_promises(done, f):
    assert done.returncode == 0, done.stdout
    assert f["ledger_residual"] == 0, f
    assert f["acked"] == sum(r["unique"] for r in f["regions"]) > 0
    assert f["given_up"] == 0
    assert f["alert"]["delay_ms"] < 2000
    assert "every packet is accounted for" in done.stdout


def has_xdp():
    """The demo says on stderr why it does without XDP."""
    return os.geteuid() == 0


def test_over_xdp_repeated_requests_are_answered_in_the_kernel(tmp_path):
    if not has_xdp():
        pytest.skip("loading XDP needs root")
    done, f = demo(tmp_path, "--seconds", "45", "--devices", "200", "--rate", "1000")
    if f["path"] != "xdp":
        pytest.skip("this kernel refuses XDP: " + done.stdout.splitlines()[0])
    check_promises(done, f)
    assert f["answered_in_kernel"] > 0
    assert f["windows_early"] > 0


def test_over_udp_sockets_the_same_holds(tmp_path):
    done, f = demo(tmp_path, "--seconds", "45", "--devices", "200", "--rate", "1000", "--no-xdp")
    assert f["path"] == "udp"
    check_promises(done, f)
    assert f["answered_in_user"] > 0


def test_interrupted_it_cleans_up(tmp_path):
    before = left_behind()
    child = subprocess.Popen([SLUICE, "demo", "--seconds", "60", "--devices", "50"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 40
    for line in child.stdout:  # a line each few seconds once it runs
        if "sending" in line:
            break
        assert time.monotonic() < deadline
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=40)
    assert left_behind() <= before


def test_a_crashed_run_is_cleaned_by_the_next():
    before = left_behind()
    child = subprocess.Popen([SLUICE, "demo", "--seconds", "60", "--devices", "50"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in child.stdout:
        if "sending" in line:
            break
    child.kill()
    child.communicate(timeout=20)
    done = subprocess.run([SLUICE, "demo", "--seconds", "5", "--devices", "20"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert "cannot" not in done.stdout
    assert not NAMESPACES & namespaces()
    if os.geteuid() == 0:
        assert left_behind() <= before
