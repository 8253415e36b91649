"""deploy/kafka/kafka-dev: a broker that starts, answers, stops and leaves nothing."""
import pathlib
import shutil
import socket
import subprocess

import pytest

KAFKA_DEV = pathlib.Path(__file__).resolve().parents[2] / "deploy/kafka/kafka-dev"


def kafka_dev(*arguments):
    return subprocess.run([KAFKA_DEV, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def has_ended(pid):
    """Gone, or only waiting for a parent that does not ask."""
    try:
        return "\nState:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.fixture(scope="module")
def fetched():
    missing = [name for name in ("java", "mvn") if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here")
    done = kafka_dev("fetch")
    if done.returncode != 0:
        pytest.skip(done.stderr.strip())


def test_run_serves_one_command_and_leaves_nothing(fetched, tmp_path):
    folder = tmp_path / "a folder with blanks"
    script = 'echo "$SLUICE_TEST_KAFKA"; cat "$1/pid"; exit 7'
    done = kafka_dev("run", folder, "--", "bash", "-c", script, "bash", folder)
    assert done.returncode == 7, done.stderr
    address, pid = done.stdout.split()
    assert not folder.exists()
    assert has_ended(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.split(":")[0], int(address.split(":")[1])), 5)


def test_what_is_wrong_is_said_in_a_sentence(fetched, tmp_path):
    for arguments, words in ((("start",), "write: kafka-dev start DIR"), (("start", tmp_path, "x"), "'x' is not a port"),
                             (("stop", tmp_path / "none"), "a folder that exists"),
                             (("run", tmp_path, "--", "true"), "exists already")):
        done = kafka_dev(*arguments)
        assert done.returncode == 1
        assert words in done.stderr
    assert kafka_dev("stop", tmp_path).returncode == 0  # nothing runs there: nothing to do


def test_a_port_in_use_is_said(fetched, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = kafka_dev("start", tmp_path / "dir", s.getsockname()[1])
    assert done.returncode == 1
    assert "is taken" in done.stderr
