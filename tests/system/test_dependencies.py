"""Dependencies point one way (the layers stand in README.md); a program never includes another."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
BELOW = {
    "base": set(),
    "config": {"base"},
    "observe": {"base"},
    "codec": {"base"},
    "journal": {"base"},
    "analytics": {"base", "codec"},  # decimals: the one place where a double becomes text
    "alerts": {"base", "config", "codec", "analytics"},
    "stream": {"base", "config", "observe", "codec", "journal", "analytics"},
    "net": {"base", "config", "observe", "codec", "journal", "analytics"},
}
MODULES = set(BELOW)
for program in ("gateway", "regional", "aggregator", "ctl"):
    BELOW[program] = MODULES


def test_modules_include_only_what_stands_below_them():
    wrong = []
    for path in ROOT.glob("user/*/*.[ch]"):
        room = path.parent.name
        for name in re.findall(r'^#include "(\w+)/', path.read_text(), re.M):
            if name in BELOW and name != room and name not in BELOW[room]:
                wrong.append(f"{path.relative_to(ROOT)} includes {name}/")
    assert not wrong


def test_bpf_includes_nothing_of_user():
    wrong = [str(path) for path in (ROOT / "bpf").rglob("*.[ch]")
             if re.search(r'^#include "(user/|%s)' % "|".join(f"{m}/" for m in BELOW), path.read_text(), re.M)]
    assert not wrong
