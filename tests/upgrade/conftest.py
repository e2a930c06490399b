"""The last release's code, for all tests of the folder."""

from __future__ import annotations

import pytest

from tests.upgrade.release import Release, is_here, last_release


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    tag, commit = last_release()
    if not is_here(commit):
        pytest.skip(f"this clone is shallow and lacks {tag} ({commit}): upgrades are NOT CHECKED")
    return Release.unpack(tmp_path_factory.mktemp(tag))
