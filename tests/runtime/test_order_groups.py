"""The file of order groups: kept whole, private, and never guessed at."""

from __future__ import annotations

import pytest

from pr3dict.domain.errors import DataError, WorkError
from pr3dict.runtime.order_groups import GroupFile, KnownGroup

GROUPS = (KnownGroup("a-1", 0, 0), KnownGroup("b-2", 3, 5))


def test_what_is_written_is_read_and_nobody_else_reads_it(tmp_path):
    file = GroupFile(tmp_path)
    assert file.read() == ()
    file.write(GROUPS)
    assert GroupFile(tmp_path).read() == GROUPS
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.write(GROUPS[1:])
    assert GroupFile(tmp_path).read() == GROUPS[1:]
    assert [path.name for path in tmp_path.iterdir()] == ["order_groups.json"]


@pytest.mark.parametrize(
    "content", [b"", b"[[", b"{}", b'[{"id":1,"shard":0,"subaccount":0}]', b'[{"id":"x"}]']
)
def test_what_can_not_be_read_is_refused(tmp_path, content):
    file = GroupFile(tmp_path)
    file.path.write_bytes(content)
    with pytest.raises(DataError, match=r"order_groups\.json: can't be read .* remove it"):
        file.read()


def test_a_disk_that_refuses_is_an_error(tmp_path):
    with pytest.raises(WorkError, match="the order groups can't be kept"):
        GroupFile(tmp_path / "missing").write(GROUPS)
