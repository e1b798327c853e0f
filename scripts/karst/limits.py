"""What `docker update` can change of a container that runs, compared with what Terraform gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from karst.deployed import Recorded

MIB = 2**20
Table = Mapping[str, Any]


def in_place(then: Table, now: Table) -> list[str]:
    """What can be set back while the container runs; ``then`` is the provider's, ``now`` Docker's HostConfig."""
    changed = []
    memory, swap = (then.get("memory") or 0, now.get("Memory") or 0), (then.get("memory_swap") or 0, _swap(now))
    if memory[0] * MIB != memory[1]:
        changed.append(f"memory is {_mib(memory[1])} instead of {memory[0] or 'no limit'}")
    elif memory[0] and swap[1] is not None and swap[0] * MIB != swap[1]:
        changed.append(f"memory with swap is {_mib(swap[1])} instead of {swap[0] or 'no limit'}")
    policy = (now.get("RestartPolicy") or {}).get("Name")
    if then.get("restart", "no") != policy:
        changed.append(f"restart policy is `{policy}` instead of `{then.get('restart', 'no')}`")
    if (now.get("PidsLimit") or 0) > 0:  # the provider has no such setting
        changed.append(f"it may have {now['PidsLimit']} processes instead of any number")
    return changed


def by_deploy(then: Table, now: Table) -> list[str]:
    """Differences that only a new container is rid of: Docker takes "no limit" of these for "leave it as it is"."""
    changed = []
    wanted, cpus = float(then.get("cpus") or 0), (now.get("NanoCpus") or 0) / 1e9
    if not cpus and now.get("CpuQuota"):
        cpus = now["CpuQuota"] / (now.get("CpuPeriod") or 100_000)
    if abs(wanted - cpus) > 1e-6:
        changed.append(f"it may use {_cpus(cpus)} instead of {_cpus(wanted)}")
    if (then.get("cpu_shares") or 0) != (now.get("CpuShares") or 0):
        changed.append(f"its CPU shares are {now.get('CpuShares') or 0} instead of {then.get('cpu_shares') or 0}")
    if (then.get("cpu_set") or "") != (now.get("CpusetCpus") or ""):
        changed.append(f"it is bound to the CPUs {now.get('CpusetCpus') or '(all)'}")
    return changed


def to_replace(record: Sequence[Recorded], details: Mapping[str, Table]) -> list[str]:
    """Addresses of what has to be made anew to be rid of a limit: pods, as a whole, so that no request fails; the edge.

    Terraform does not see it: `cpus` is ignored, since the provider reads some numbers back otherwise than they were
    given (pods.tf). ``details``: Docker's `inspect` by container id.
    """
    there = [one for one in record if not one.deposed]
    whole = {(one.service, one.number): one.address for one in there if one.role in ("pod", "edge")}
    found = {
        (one.service, one.number)
        for one in there
        if one.id in details and by_deploy(one.attributes, details[one.id]["HostConfig"])
    }
    return sorted(whole[key] for key in found & whole.keys())


def _swap(now: Table) -> int | None:
    """None where the engine does not limit swap: it says -1 then, whatever it was asked for."""
    swap = int(now.get("MemorySwap") or 0)
    return None if swap < 0 else swap


def _mib(size: int) -> str:
    return f"{size / MIB:g} MiB" if size else "no limit"


def _cpus(count: float) -> str:
    return f"{count:g} CPUs" if count else "all CPUs"
