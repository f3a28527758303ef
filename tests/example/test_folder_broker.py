"""The demo's broker without a server: a message is there when all of it is."""

from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from example_project.celery import app


def test_a_message_is_not_seen_before_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert app is not None  # it knows the transport by its name
    options = {"data_folder_in": tmp_path, "data_folder_out": tmp_path, "polling_interval": 0.01}
    options["control_folder"] = tmp_path / "control"
    seen: list[list[str]] = []
    rename = Path.rename

    def look_and_rename(self: Path, target: Any) -> Any:
        seen.append([path.name for path in tmp_path.glob("*.msg")])
        assert self.read_bytes().endswith(b"}")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", look_and_rename)
    transport = {name: str(value) for name, value in options.items() if name != "polling_interval"}
    with Connection("folder://localhost//", transport_options=transport) as connection:
        queue = connection.SimpleQueue("whole")
        queue.put({"number": 1})
        assert seen == [[]]
        message = queue.get(timeout=5)
        assert message.payload == {"number": 1}
        message.ack()
        queue.close()
