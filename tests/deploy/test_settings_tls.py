"""What `config check` says of the TLS files of a destination."""

import shutil
from pathlib import Path

import pytest
from aiohttp import web

from deploy import settings
from tests.deploy.judged import DESTINATION, installed, wrong
from tests.workers.deliver.certificates import Authority, demanding, openssl
from tests.workers.deliver.support import destination, served
from workers.deliver.send import Sender

LINE = DESTINATION.count("\n") + 1


def cut(pem: str) -> str:
    begin, _, *rest = pem.splitlines(keepends=True)
    return "".join([begin, *rest])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    certificate, key = authority.vouch("us")
    authority.vouch("other")
    (folder / "both.pem").write_text(certificate.read_text() + key.read_text())
    (folder / "cut.pem").write_text(cut(certificate.read_text()))
    (folder / "cut.key").write_text(cut(key.read_text()))
    (folder / "empty.pem").write_text("")
    (folder / "commented.pem").write_text("# Autorit\u00e9\n" + authority.certificate.read_text())
    openssl("x509", "-in", str(certificate), "-outform", "der", "-out", str(folder / "us.der"))
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:canary", "-out", str(folder / "locked.key"))
    openssl("ec", "-in", str(key), "-aes256", "-passout", "pass:canary", "-out", str(folder / "locked-as-before.key"))
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def files(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(
    "lines",
    [
        'ca_file = "authority.pem"\n',
        'ca_file = "commented.pem"\n',
        'cert_file = "us.pem"\nkey_file = "us.key"\n',
        'cert_file = "both.pem"\n',
        'ca_file = "authority.pem"\ncert_file = "both.pem"\nkey_file = "us.key"\n',
    ],
)
def test_files_that_fit_are_no_problem_and_are_meant_from_the_folder_of_the_configuration(files: Path, lines: str) -> None:
    assert wrong(files, more=DESTINATION + lines) == []


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ('ca_file = "nowhere.pem"\n', 0, "ca_file: cannot be read: No such file or directory"),
        ('ca_file = "folder"\n', 0, "ca_file: cannot be read: Is a directory"),
        ('ca_file = "empty.pem"\n', 0, "ca_file: holds no certificate in PEM form"),
        ('ca_file = "us.key"\n', 0, "ca_file: holds no certificate in PEM form"),
        ('ca_file = "us.der"\n', 0, "of a DER file `openssl x509 -inform der -in FILE` makes one"),
        ('ca_file = "cut.pem"\n', 0, "ca_file: holds a certificate that cannot be read"),
        ('cert_file = "us.pem"\n', 0, "cert_file: holds no private key in PEM form"),
        ('cert_file = "cut.pem"\nkey_file = "us.key"\n', 0, "cert_file: holds a certificate that cannot be read"),
        ('cert_file = "us.pem"\nkey_file = "nowhere"\n', 1, "key_file: cannot be read: No such file or directory"),
        ('cert_file = "us.pem"\nkey_file = "other.key"\n', 1, "key_file: holds a key that does not belong to the certificate"),
        ('cert_file = "us.pem"\nkey_file = "us.pem"\n', 1, "key_file: holds no private key in PEM form"),
        ('cert_file = "us.pem"\nkey_file = "locked.key"\n', 1, "key_file: holds an encrypted key"),
        ('cert_file = "us.pem"\nkey_file = "locked-as-before.key"\n', 1, "key_file: holds an encrypted key"),
        ('cert_file = "us.pem"\nkey_file = "cut.key"\n', 1, "key_file: holds a key that cannot be used with the certificate"),
        ('key_file = "us.key"\n', 0, "key_file, cert_file: the key is of use only with the certificate"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_the_line_of_its_key(files: Path, lines: str, line: int, words: str) -> None:
    (told,) = wrong(files, more=DESTINATION + lines)
    assert told.startswith(f"ringhook.toml:+{LINE + line}: ")
    assert words in told


def test_two_files_that_are_wrong_are_told_together(files: Path) -> None:
    more = 'ca_file = "empty.pem"\ncert_file = "empty.pem"\nkey_file = "locked.key"\n'
    assert len(wrong(files, more=DESTINATION + more)) == 3


def test_files_for_an_address_that_is_not_encrypted_are_a_problem(files: Path) -> None:
    plain = DESTINATION.replace("https://", "http://") + 'allow_http = true\nca_file = "authority.pem"\ncert_file = "both.pem"\n'
    (told,) = wrong(files, more=plain)
    assert "ca_file, cert_file, url: of no use where url begins with http://" in told


async def test_what_was_read_is_what_is_shown_and_believed(files: Path) -> None:
    authority = Authority(files)  # made anew: the files that the configuration names are read after this
    us, _ = authority.vouch("us")
    app = web.Application()
    async with served(app, tls=demanding(authority, authority.vouch("server"))) as url:
        installed(files)
        lines = f'ca_file = "authority.pem"\ncert_file = "{us.name}"\nkey_file = "us.key"\nallow_networks = ["127.0.0.0/8"]\n'
        with (files / "ringhook.toml").open("a") as toml:
            toml.write(DESTINATION.replace("https://alerts.example.com", url) + lines)
        (service,) = settings.read("up", {}, files).services or ()
        async with Sender(destination(url), tls=service.tls) as sender:
            assert (await sender.post(b"{}", {})).status == 404
