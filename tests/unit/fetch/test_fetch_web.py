"""HTTP: which redirects are followed, what is tried again, and the sentence for each way in which a host fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from karst.errors import KarstError
from karst.fetch import fetch_all, web
from karst.fetch.limits import Budget, Limits
from karst.manifest import parse_list
from tests.support.githost import GitHost


@dataclass
class Answer:
    """What a host says, in place of a real one."""

    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def close(self) -> None:
        """Nothing to close."""

    def iter_content(self, _: int) -> Iterator[bytes]:
        yield self.body


@dataclass
class Hosts:
    """Answers by URL; a list is given one by one, and an exception is raised."""

    answers: dict[str, list[Answer | Exception]]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def request(self, _method: str, url: str, **options: object) -> Answer:
        prepared = requests.Request("GET", url).prepare()
        options["auth"](prepared)  # type: ignore[operator]
        self.asked.append((url, dict(prepared.headers)))
        left = self.answers[url]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def get(monkeypatch: pytest.MonkeyPatch, **answers: list[Answer | Exception]) -> tuple[Hosts, int]:
    """GET https://a/ with a token; the answers are for https://<name>/."""
    hosts = Hosts({f"https://{name}/": list(what) for name, what in answers.items()})
    monkeypatch.setattr(requests.Session, "request", lambda _self, *given, **options: hosts.request(*given, **options))
    with web.get("https://a/", "Bearer t", Budget(Limits()), headers={"X-Own": "1"}) as response:
        return hosts, response.status_code


def to(url: str) -> list[Answer | Exception]:
    return [Answer(302, {"Location": url})]


def test_a_redirect_is_followed_and_private_headers_stay_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, status = get(monkeypatch, a=to("https://b/"), b=[Answer()])
    assert status == 200
    (_, first), (_, second) = hosts.asked
    assert (first["Authorization"], first["X-Own"]) == ("Bearer t", "1")
    assert not {"Authorization", "X-Own"} & set(second)


def test_a_redirect_from_https_to_http_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(web.Unreachable, match="not https"):
        get(monkeypatch, a=to("http://a/"))
    with pytest.raises(web.Unreachable, match="not https"):
        get(monkeypatch, a=to("file:///etc/passwd"))


def test_redirects_in_circles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(web.Unreachable, match="in circles"):
        get(monkeypatch, a=to("https://b/"), b=to("https://a/"))


def test_a_passing_fault_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, status = get(monkeypatch, a=[requests.ConnectionError("reset"), Answer(503), Answer(200)])
    assert (status, len(hosts.asked)) == (200, 3)


def test_a_lasting_fault_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, status = get(monkeypatch, a=[Answer(502)])
    assert (status, len(hosts.asked)) == (502, 3)


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (requests.exceptions.SSLError("bad"), "tls", "REQUESTS_CA_BUNDLE"),
        (requests.exceptions.ProxyError("bad"), "network", "HTTPS_PROXY"),
        (requests.exceptions.ReadTimeout("slow"), "network", "in time"),
        (requests.exceptions.ConnectionError("NameResolutionError"), "network", "no such name"),
        (requests.exceptions.ConnectionError("refused"), "network", "cannot be reached"),
        (requests.exceptions.InvalidURL("bad"), "network", "cannot be reached"),
    ],
)
def test_each_way_to_fail_has_its_sentence(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str, words: str
) -> None:
    with pytest.raises(web.Unreachable) as caught:
        get(monkeypatch, a=[fault])
    assert caught.value.code == code
    assert words in str(caught.value)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [(Answer(500), "HTTP 500"), (Answer(200, {}, b"<html>"), "not JSON"), (Answer(200, {}, b" " * (5 << 20)), "4 MiB")],
)
def test_an_answer_that_is_no_json_is_an_error(monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str) -> None:
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: answer)
    with pytest.raises(KarstError, match=words):
        web.post_json("https://a/", "", {}, "application/json", Budget(Limits()))


@pytest.mark.parametrize("archive", ["ok", "none"])
def test_a_certificate_that_nobody_vouches_for_is_refused_until_its_ca_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: str
) -> None:
    """Real handshakes with a self-signed certificate, by archive and by git."""
    certificate = self_signed(tmp_path)
    services = parse_list(["gh:acme/app"], tmp_path)
    with GitHost(tmp_path / "host", certificate=certificate) as host:
        for name, value in host.environment().items():
            monkeypatch.setenv(name, value)
        host.create("gh:acme/app", {"main.py": "1"}, token="t0ken", archive=archive)
        monkeypatch.setenv("GITHUB_TOKEN", "t0ken")
        with pytest.raises(KarstError) as caught:
            fetch_all(services, tmp_path)
        assert caught.value.code == "tls"
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert (fetch_all(services, tmp_path)["app"].source / "main.py").exists()
        assert any("upload-pack" in path for path in host.paths()) == (archive == "none")


def self_signed(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
