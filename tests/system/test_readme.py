"""Every command in README.md is run by a test: this one runs what is quick, and knows who runs the rest."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build"))
SLUICE = BUILD / "bin/sluice"

ELSEWHERE = {
    "sudo make demo": "tests/system/test_demo.py runs the demo; make -n here",
    "sudo make check": "this is `make check`",
    "make && sudo make install": "test_install",
    "sluice config reference": "test_quick_commands",
    "sluice config check gateway.yaml gateway": "test_samples_are_right",
    "sluice streams init gateway.yaml": "tests/system/test_bad_input.py does so for each gateway",
    "sudo sluice-gateway --config gateway.yaml": "tests/system/test_bad_input.py",
    "sluice status": "test_quick_commands",
    "sluice simulate --devices 100 --rate 100 --seconds 5 --to coap://127.0.0.1": "tests/system/test_demo.py, by the demo",
    "sluice tap region.log --config regional.yaml --until-end": "tests/system/test_ulb.py",
    "sluice detect --plot out.svg --explain data.csv": "tests/system/test_detect.py",
    "sluice alerts rules deploy/samples/alert-rules.yaml": "test_quick_commands",
    "sluice alerts --config aggregator.yaml": "test_what_asks_an_aggregator_lacks_nothing, tests/system/test_alerts.py",
    "sluice alerts ack 00f1e2d3c4b5a697 --by ana --for 2h --config aggregator.yaml": "likewise",
    "sudo bpftool prog show name sluice_gateway": "tests/bpf/test_gateway.c loads it under this name",
    "sudo bpftool map dump pinned /sys/fs/bpf/sluice/IFNAME/LAYOUT/verdicts": "tests/unit/net",
}


def commands():
    text = (ROOT / "README.md").read_text()
    return [line.strip() for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines() if line.strip()]


def test_each_command_is_known_here_and_each_known_one_is_there():
    assert sorted(commands()) == sorted(ELSEWHERE)


@pytest.mark.parametrize("target", ["demo", "check"])
def test_make_targets_exist(target):
    subprocess.run(["make", "-n", target], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_quick_commands():
    reference = subprocess.run([SLUICE, "config", "reference"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "in_flight_max" in reference
    status = subprocess.run([SLUICE, "status"], stdout=subprocess.PIPE, text=True)
    assert "XDP programs" in status.stdout and "Daemons" in status.stdout
    rules = [SLUICE, "alerts", "rules", ROOT / "deploy/samples/alert-rules.yaml"]
    assert "cold-room" in subprocess.run(rules, check=True, stdout=subprocess.PIPE, text=True).stdout
    for command in ("alerts", "detect", "demo", "simulate", "tap", "streams", "status", "config"):
        assert "usage:" in subprocess.run([SLUICE, command, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_what_asks_an_aggregator_lacks_nothing(tmp_path):
    """Nobody answers here, and that is what they say: not that an argument is missing."""
    (tmp_path / "aggregator.yaml").write_text((ROOT / "deploy/samples/aggregator.yaml").read_text().replace("9466", "1"))
    asking = [command.split() for command in commands() if "aggregator.yaml" in command]
    assert len(asking) == 2
    for _, *words in asking:
        done = subprocess.run([SLUICE, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and "usage" not in done.stderr, done.stderr


@pytest.mark.parametrize("program", ["gateway", "regional", "aggregator"])
def test_samples_are_right(program, tmp_path):
    registry, sample = tmp_path / "registry.csv", tmp_path / "sample.yaml"
    registry.write_text("device_id,type,place,owner,latitude,longitude\n")
    sample.write_text((ROOT / f"deploy/samples/{program}.yaml").read_text().replace("/etc/sluice/registry.csv", str(registry)))
    subprocess.run([SLUICE, "config", "check", sample, program], check=True)


def test_install(tmp_path):
    subprocess.run(["make", "install", f"O={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={tmp_path}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert subprocess.run([tmp_path / "usr/local/bin/sluice", "--version"], stdout=subprocess.PIPE).returncode == 0
    assert (tmp_path / "usr/local/share/sluice/gateway.yaml").exists()
    subprocess.run(["make", "uninstall", f"O={os.path.relpath(BUILD, ROOT)}", f"DESTDIR={tmp_path}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "usr/local/bin/sluice").exists()
