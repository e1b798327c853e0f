"""What a container has used, by the kernel's own accounts of its cgroup (version 1 or 2)."""

from __future__ import annotations

from pathlib import Path

from tests.support.kit import docker

ROOT = Path("/sys/fs/cgroup")


class Account:
    """One running container's.

    ``cpu()``: nanoseconds of processor time so far, in its own code and in the kernel on its behalf; ``memory()``:
    bytes in use, without what the kernel could drop at once (inactive pages of files).
    """

    def __init__(self, container: str) -> None:
        self.pid = int(docker("inspect", "--format", "{{.State.Pid}}", container))
        lines = (line.split(":", 2) for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines())
        self.place({controllers: path for _, controllers, path in lines})

    def place(self, groups: dict[str, str]) -> None:
        """Take the paths by controllers, as /proc/<pid>/cgroup has them ("" is version 2)."""
        self._cpu = self._folder(groups, "cpuacct")
        self._memory = self._folder(groups, "memory")

    @staticmethod
    def _folder(groups: dict[str, str], controller: str) -> Path:
        for names, path in groups.items():
            if controller in names.split(","):
                return next(folder for folder in (ROOT / names, ROOT / controller) if folder.exists()) / path[1:]
        return ROOT / groups[""][1:]

    def cpu(self) -> int:
        old = self._cpu / "cpuacct.usage"
        if old.exists():
            return int(old.read_text())
        return 1000 * _figures(self._cpu / "cpu.stat")["usage_usec"]

    def memory(self) -> int:
        old = self._memory / "memory.usage_in_bytes"
        used = int((old if old.exists() else self._memory / "memory.current").read_text())
        figures = _figures(self._memory / "memory.stat")
        return used - figures.get("total_inactive_file", figures.get("inactive_file", 0))


def _figures(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
