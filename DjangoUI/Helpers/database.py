"""The SQLite file with the sessions, readable only by the operating system user of this app."""

import os
import sqlite3
from typing import Any


class PrivateConnection(sqlite3.Connection):
    """Creates the file with mode 0600; SQLite gives its -wal and -shm files the same mode."""

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        if os.path.isdir(os.path.dirname(database)):  # false for :memory: and for a wrong path
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
        super().__init__(database, *args, **kwargs)
