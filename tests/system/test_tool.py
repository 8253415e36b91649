"""The tool `sluice`: help, exit codes, and `config`."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build")) / "bin/sluice"


def sluice(*arguments):
    done = subprocess.run([SLUICE, *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def commands():
    """Names as they stand in the table."""
    return re.findall(r"^COMMAND\((\w+),", (ROOT / "user/ctl/commands.def").read_text(), re.M)


def test_help_names_every_command():
    code, out, err = sluice("help")
    assert (code, err) == (0, "")
    assert re.findall(r"^  (\w+) ", out, re.M) == [*commands(), "help"]


@pytest.mark.parametrize("how", [("help", "{}"), ("{}", "--help"), ("{}", "-h")])
def test_help_of_a_command_begins_with_its_sentence_and_usage(how):
    for name in commands():
        code, out, err = sluice(*(word.format(name) for word in how))
        assert (code, err) == (0, "")
        assert re.match(rf"[A-Z].*\.\n\nusage: sluice {name}\b", out)


def test_version():
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", sluice("--version")[1])


def test_without_a_command_the_help_is_an_error():
    code, out, err = sluice()
    assert (code, out) == (2, "")
    assert "usage: sluice COMMAND" in err


@pytest.mark.parametrize("words", [("confg",), ("help", "confg")])
def test_an_unknown_command_gets_the_nearest_name(words):
    assert sluice(*words) == (2, "", 'sluice: there is no command "confg"; did you mean "config"?\n')


def test_an_unknown_command_far_from_all_gets_the_list():
    assert sluice("kubernetes") == (2, "", 'sluice: there is no command "kubernetes"; `sluice help` lists them\n')


@pytest.mark.parametrize("words", [(), ("check",), ("show",), ("verify", "f"), ("show", "a", "b"), ("reference", "a"),
                                   ("check", "f", "archive")])
def test_config_used_wrongly_says_how(words):
    code, out, err = sluice("config", *words)
    assert (code, out) == (2, "")
    assert err.startswith("sluice config: ") and "usage: sluice config check FILE" in err


def test_config_check_accepts_and_refuses(tmp_path):
    file = tmp_path / "g.yaml"
    file.write_text("node: {region: south}\nspool: {dir: /s}\nstreams: {edge_telemetry: 'embedded:/e'}\n")
    assert sluice("config", "check", file, "gateway") == (0, f"{file}: fine for the gateway\n", "")
    code, out, err = sluice("config", "check", file, "aggregator")
    assert (code, out) == (1, "")
    assert err == f"{file}: streams.global_log is empty: the aggregator needs a stream for its own log\n"
    file.write_text("node:\n  regoin: south\n")
    assert sluice("config", "check", file) == (
        1, "", f'{file}:2:3: node has no setting "regoin"; did you mean "region"?\n')
    assert sluice("config", "show", file)[0] == 1


def test_config_show_reads_back_the_same(tmp_path):
    file, again = tmp_path / "a.yaml", tmp_path / "b.yaml"
    file.write_text("batch: {linger: 50ms}\nlimit: {deny: [203.0.113.0/24]}\n")
    code, shown, _ = sluice("config", "show", file)
    assert code == 0 and "  linger: 50ms\n" in shown
    again.write_text(shown)
    assert sluice("config", "show", again) == (0, shown, "")


def test_config_reference_has_every_setting():
    declared = re.findall(r"^S_[A-Z]+\((\w+), (\w+)", (ROOT / "user/config/schema.def").read_text(), re.M)
    code, out, _ = sluice("config", "reference")
    found = [(section.split("\n", 1)[0], name) for section in out.split("\n## ")[1:]
             for name in re.findall(r"^\| `(\w+)` ", section, re.M)]
    assert code == 0
    assert found == [(section, re.sub("_(ms|bytes)$", "", name)) for section, name in declared]


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run([SLUICE, "config", "reference"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "could not be written" in done.stderr
