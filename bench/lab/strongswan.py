"""strongSwan as a peer in tests: charon in a network namespace, told what to do by swanctl.

    with StrongSwan(tmp_path, "hatest-node") as charon:
        charon.load(connections, certificates={"ca": pem}, private_keys={"node": pem})
        charon.begin("--initiate", "--child", "mh")
        charon.sas()

It reads and writes nothing outside the directory it is given. What it logged is printed when the block is left by an
exception, so that pytest shows it with the failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.lab.vici import request, stream

PLUGINS = (
    *("random", "nonce", "openssl", "aes", "sha1", "sha2", "hmac", "kdf", "gcm", "curve25519", "gmp", "mgf1"),
    *("x509", "revocation", "constraints", "pubkey", "pkcs1", "pkcs8", "pem"),
    *("md5", "eap-identity", "eap-md5", "eap-mschapv2", "eap-tls", "resolve"),
    *("socket-default", "kernel-netlink", "vici", "updown"),
)
"""What is loaded where it is installed; charon passes over the others."""
_CHARON = "/usr/sbin/charon-systemd"
_PATIENCE_S = 60.0
_SETTINGS = """
charon-systemd {{
  load = {plugins}
  {options}
  plugins {{
    vici {{
      socket = unix://{vici}
    }}
    resolve {{
      file = {directory}/resolv.conf
    }}
  }}
  filelog {{
    log {{
      path = {log}
      default = {log_level}
      flush_line = yes
    }}
  }}
}}
"""


class StrongSwan:
    """One charon, from entering the block to leaving it.

    Args:
        directory: for its files, this charon's alone.
        namespace: the network namespace it runs in, None for that of the test.
        options: settings of the section ``charon`` of strongswan.conf, such as ``fragment_size = 600``.
        plugins: what to load.
        log_level: 1 is terse, 2 tells each payload, 3 has bytes.
    """

    def __init__(
        self,
        directory: Path,
        namespace: str | None = None,
        *,
        options: str = "",
        plugins: Iterable[str] = PLUGINS,
        log_level: int = 1,
    ) -> None:
        self.directory = directory
        self.namespace = namespace
        self._vici = directory / "vici"
        self._log = directory / "log"
        self._settings = _SETTINGS.format(
            plugins=" ".join(plugins),
            options=options,
            vici=self._vici,
            log=self._log,
            log_level=log_level,
            directory=directory,
        )
        self._environment = {
            **os.environ,
            "STRONGSWAN_CONF": str(directory / "strongswan.conf"),
            "SWANCTL_DIR": str(directory / "swanctl"),
        }
        self._loaded: object = None
        self._charon: subprocess.Popen[bytes] | None = None
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> StrongSwan:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "strongswan.conf").write_text(self._settings)
        output = (self.directory / "output").open("wb")
        self._charon = subprocess.Popen(
            [*self._inside(), _CHARON], env=self._environment, stdout=output, stderr=subprocess.STDOUT
        )
        output.close()
        try:
            self._await_vici(self._charon)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None:
            sys.stderr.write(f"--- charon in {self.namespace}:\n{self.log()}---\n")
        self._stop()

    # What it is told

    def load(
        self,
        connections: str,
        *,
        certificates: Mapping[str, bytes] | None = None,
        authorities: Mapping[str, bytes] | None = None,
        private_keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """Put a swanctl.conf in the place of the one before, with the files it names.

        Args:
            connections: text of swanctl.conf: ``connections``, ``secrets``, ``pools``, ``authorities``.
            certificates: end-entity certificates (PEM) by the names that ``certs`` uses, without suffix.
            authorities: trust anchors and intermediate authorities, PEM.
            private_keys: PEM; found by their certificates.
        """
        wanted = (connections, certificates, authorities, private_keys)
        if wanted == self._loaded:
            return
        folder = self.directory / "swanctl"
        for name, files in (("x509", certificates), ("x509ca", authorities), ("private", private_keys)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for stem, content in (files or {}).items():
                (folder / name / f"{stem}.pem").write_bytes(content)
        (folder / "swanctl.conf").write_text(connections)
        said = self.swanctl("--load-all", "--noprompt")
        assert "failed" not in said, said
        self._loaded = wanted

    def swanctl(self, *arguments: str) -> str:
        """What swanctl prints; it must succeed. For what does not wait for the peer."""
        done = subprocess.run(self._swanctl(arguments), env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, f"swanctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A swanctl that waits for the peer, such as ``--initiate``, in the background."""
        process = subprocess.Popen(
            self._swanctl(arguments), env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._running.append(process)
        return process

    def initiate(self, connection: str, child: str | None = None) -> None:
        """Begin an IKE SA, with a child SA if one is named, or a child SA of the IKE SA there is, without waiting."""
        wanted = {"ike": connection} if child is None else {"child": child, "ike": connection}
        answer = request(self._vici, "initiate", {**wanted, "timeout": "-1", "init-limits": "no"})
        assert answer["success"] == "yes", answer

    # What is seen of it

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far."""
        assert self._charon is not None
        tasks = Path(f"/proc/{self._charon.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    def sas(self) -> dict[str, dict[str, Any]]:
        """The IKE SAs by the names of their connections and unique numbers, as vici tells them.

        Child SAs are under ``child-sas``. All values are text, lists of text or further dictionaries.
        """
        # One message for each IKE SA.
        return {
            f"{name}#{sa['uniqueid']}": sa
            for message in stream(self._vici, "list-sas", "list-sa")
            for name, sa in message.items()
        }

    def established(self) -> list[dict[str, Any]]:
        """The IKE SAs that are in use."""
        return [sa for sa in self.sas().values() if sa["state"] == "ESTABLISHED"]

    def children(self) -> list[dict[str, Any]]:
        """The child SAs that are in use."""
        children = [child for sa in self.sas().values() for child in sa.get("child-sas", {}).values()]
        return [child for child in children if child["state"] == "INSTALLED"]

    def log(self) -> str:
        """What it has logged."""
        return "".join(
            path.read_text(errors="replace") for path in (self.directory / "output", self._log) if path.exists()
        )

    def _inside(self) -> tuple[str, ...]:
        return () if self.namespace is None else ("ip", "netns", "exec", self.namespace)

    def _swanctl(self, arguments: Iterable[str]) -> tuple[str, ...]:
        return ("swanctl", *arguments, "--uri", f"unix://{self._vici}")

    def _await_vici(self, charon: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not self._vici.exists():
            assert charon.poll() is None, f"charon ended: {self.log()}"
            assert time.monotonic() < end, f"charon does not start: {self.log()}"
            time.sleep(0.02)

    def _stop(self) -> None:
        for process in [*self._running, self._charon]:
            if process is not None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
