"""What memory is free: the machine, a container's limit, and the refusal of more."""

from __future__ import annotations

import pytest

from labs_helper.capacity import limits
from labs_helper.capacity.require import require_memory
from labs_helper.errors import NotEnoughMemory


def test_memory_is_known():
    assert 0 < limits.free() <= limits.total()


def test_a_container_limit_counts(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("0::/box/inner\n")
    inner = tmp_path / "box" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    (inner.parent / "memory.max").write_text("1000\n")
    (inner.parent / "memory.current").write_text("700\n")
    (inner.parent / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert limits.container_limits(tmp_path, own) == [(1000, 400)]


def test_an_old_container_limit_counts(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,memory:/box\n4:pids:/box\n")
    folder = tmp_path / "memory" / "box"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("1000")
    (folder / "memory.usage_in_bytes").write_text("700")
    (folder.parent / "memory.limit_in_bytes").write_text("9223372036854771712")
    (folder.parent / "memory.usage_in_bytes").write_text("900")
    assert limits.container_limits(tmp_path, own) == [(1000, 700)]


def test_no_containers_on_other_systems(tmp_path):
    assert limits.container_limits(tmp_path, tmp_path / "missing") == []


def test_require_memory(monkeypatch):
    monkeypatch.setattr(limits, "free", lambda: 10**9)
    require_memory(5 * 10**8, "a model")
    with pytest.raises(NotEnoughMemory, match="a model needs about 2 GB"):
        require_memory(2 * 10**9, "a model")
