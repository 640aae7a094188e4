"""`ringhook secret`: what it prints signs deliveries as it stands."""

import json

from click.testing import CliRunner

from deploy.command.secret import secret
from workers.deliver.sign import Signer
from workers.runtime.secrets import Secret
from workers.runtime.signing import SigningKey


def ran(*words: str) -> str:
    result = CliRunner().invoke(secret, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_secret_signs_and_each_is_new() -> None:
    first, second = (ran().split("\n\n")[1].strip() for _ in range(2))
    assert Signer([Secret(first), Secret(second)])
    assert first != second
    assert json.loads(ran("--json"))["public"] is None


def test_a_pair_signs_and_its_public_half_belongs_to_it() -> None:
    said = ran("--sign", "v1a")
    private, public = (word for word in said.split() if word.startswith(("whsk_", "whpk_")))
    assert Signer([Secret(private)], "v1a")
    assert SigningKey(Secret(private)).public == public
    assert 'sign = "v1a"' in said


def test_scripts_read_json() -> None:
    made = json.loads(ran("--sign", "v1a", "--json"))
    assert SigningKey(Secret(made["secret"])).public == made["public"]
    assert made["sign"] == "v1a"


def test_another_scheme_is_refused() -> None:
    assert CliRunner().invoke(secret, ["--sign", "rsa"]).exit_code == 2
