"""Which listening socket the sidecar's start script takes for the app's, tried on tables as the kernel prints them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "modules" / "karst_service" / "image" / "sidecar" / "sidecar"
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ENVOY = ["00000000:3A98", "0100007F:3A99", "0100007F:26AD", "0100007F:C383"]  # 15000, 15001, 9901, 50051
DNS = "0B00007F:A421"
ANY, ANY6, LOOPBACK6 = "00000000", "0" * 32, "0" * 24 + "01000000"


def table(listening: list[str], connected: list[str]) -> str:
    rows = [(address, "0A") for address in listening] + [(address, "01") for address in connected]
    return HEADER + "".join(f"   {n}: {address} 00000000:0000 {state} 0:0\n" for n, (address, state) in enumerate(rows))


def look(
    folder: Path,
    four: list[str],
    six: list[str] | None = None,
    *,
    connected: list[str] | None = None,
    given: str = "",
    asked: str = "8000",
    had: str = "",
    loopback6: str = "127.0.0.1",
) -> str:
    """Run the script's own functions on these tables; return "port address", or "" for none."""
    text = SCRIPT.read_text()
    functions = text[text.index("# Find the app's") : text.index("# Has the number of sockets")]
    (folder / "tcp").write_text(table(four, connected or []))
    (folder / "tcp6").write_text(table(six or [], []))
    program = (
        f"set -u; given='{given}' asked='{asked}' port='{had}' six='{loopback6}'\n{functions}\nlook; echo $best $where"
    )
    program = program.replace("/proc/net", str(folder))
    return subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def at(port: int, address: str = "0100007F") -> str:
    return f"{address}:{port:04X}"


def test_envoys_own_ports_and_dockers_dns_are_not_the_app(tmp_path: Path) -> None:
    assert look(tmp_path, [*ENVOY, DNS]) == ""


def test_the_only_other_socket_is_the_app(tmp_path: Path) -> None:
    assert look(tmp_path, [*ENVOY, DNS, at(5000)]) == "5000 127.0.0.1"


@pytest.mark.parametrize(
    ("listening", "options", "expected"),
    [
        pytest.param([at(5000), at(8000)], {}, "8000 127.0.0.1", id="the port it was asked to use"),
        pytest.param([at(5000), at(8000)], {"had": "5000"}, "8000 127.0.0.1", id="even when another one came first"),
        pytest.param([at(7000), at(5000)], {"had": "7000"}, "7000 127.0.0.1", id="the one it already had"),
        pytest.param([at(7000), at(5000)], {}, "5000 127.0.0.1", id="the lowest"),
        pytest.param([at(5000), at(8000)], {"given": "9000"}, "", id="none but the given one"),
        pytest.param([at(5000), at(9000)], {"given": "9000"}, "9000 127.0.0.1", id="the given one"),
        pytest.param([at(7000)], {"had": "5000"}, "7000 127.0.0.1", id="another when the old one is gone"),
    ],
)
def test_of_several_it_takes(tmp_path: Path, listening: list[str], options: dict[str, str], expected: str) -> None:
    assert look(tmp_path, [*ENVOY, *listening], **options) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("four", "six", "expected"),
    [
        pytest.param([at(80, ANY)], [], "80 127.0.0.1", id="all addresses"),
        pytest.param([at(80, "020011AC")], [], "80 172.17.0.2", id="the pod's own address"),
        pytest.param([], [at(80, ANY6)], "80 ::1", id="all IPv6 addresses"),
        pytest.param([], [at(80, LOOPBACK6)], "80 ::1", id="IPv6 loopback"),
        pytest.param([], [at(80, "0000000000000000FFFF00000100007F")], "80 127.0.0.1", id="IPv4 in IPv6"),
        pytest.param([], [at(80, "0000000000000000FFFF000000000000")], "80 127.0.0.1", id="all IPv4 in IPv6"),
    ],
)
def test_the_address_is_one_that_answers(tmp_path: Path, four: list[str], six: list[str], expected: str) -> None:
    assert look(tmp_path, four, six, loopback6="::1") == expected


def test_where_ipv6_is_off_all_addresses_means_ipv4(tmp_path: Path) -> None:
    """Docker's networks have no ::1 unless IPv6 is switched on."""
    assert look(tmp_path, [], [at(80, ANY6)]) == "80 127.0.0.1"


def test_connections_are_no_listeners(tmp_path: Path) -> None:
    assert look(tmp_path, ENVOY, connected=[at(5000), at(8000)]) == ""


def moved(folder: Path, *counts: tuple[int, int] | None) -> list[bool]:
    """Run the script's own function on each number of IPv4 and IPv6 sockets, one after the other."""
    text = SCRIPT.read_text()
    function = text[text.index("# Has the number of sockets") : text.index("# Look often until")]
    program = f"set -u; sockets=''\n{function.replace('/proc/net', str(folder / 'net'))}\n"
    for number, count in enumerate(counts):
        made = folder / str(number)
        made.mkdir()
        if count:
            (made / "sockstat").write_text(
                f"sockets: used 99{number}\nTCP: inuse {count[0]} orphan 0 tw {number} alloc 9\n"
            )
            (made / "sockstat6").write_text(f"TCP6: inuse {count[1]}\nUDP6: inuse {number}\n")
        program += f"ln -sfn '{made}' '{folder}/net'; if moved; then echo yes; else echo no; fi\n"
    said = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True).stdout.split()
    return [word == "yes" for word in said]


def test_the_table_is_read_again_only_when_a_socket_came_or_went(tmp_path: Path) -> None:
    """The table costs the kernel a walk over every connection of the machine; the number of sockets does not."""
    assert moved(tmp_path, (4, 0), (4, 0), (5, 0), (5, 1), (5, 1), (4, 1)) == [True, False, True, True, False, True]


def test_where_the_kernel_does_not_tell_the_number_the_table_is_read_each_time(tmp_path: Path) -> None:
    assert moved(tmp_path, None, None, None) == [True, True, True]
