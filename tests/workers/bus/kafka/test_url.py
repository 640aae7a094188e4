"""What a Kafka URL says, and that it never says a password aloud."""

import pytest

from schemas.errors import Misconfigured
from workers.bus.kafka.url import parse


def test_hosts_without_a_port_have_kafkas_own() -> None:
    assert parse("kafka://one,two:9093,[::1]:9094").servers == ("one:9092", "two:9093", "[::1]:9094")


def test_credentials_stand_before_the_hosts_or_in_parameters() -> None:
    address = parse("kafka://ringhook:p%40ss@one:9093?security_protocol=SASL_PLAINTEXT&sasl_mechanism=SCRAM-SHA-512")
    options = address.options()
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("ringhook", "p@ss")
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert parse("kafka://one?sasl_username=a&sasl_password=b&security_protocol=SASL_SSL").password == "b"


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_a_password_is_never_shown(show) -> None:  # noqa: ANN001
    address = parse("kafka://ringhook:hunter2@one:9093?security_protocol=SASL_SSL")
    assert show(address) == "kafka://ringhook:***@one:9093"


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@one",
        "kafka://",
        "kafka://user:hunter2@one?security_protocol=hunter2",
        "kafka://user:hunter2@one?sasl_mechanism=GSSAPI",
        "kafka://user:hunter2@one?sasl_pasword=x",
        "kafka://user:hunter2@one?session_timeout_s=soon",
        "kafka://user:hunter2@one?session_timeout_s=-1",
        "kafka://user:hunter2@one:port",
        "kafka://user:hunter2@one:99999",
        "kafka://user:hunter2@one:9092,two:0",
        "kafka://user:hunter2\u2100@one",
        "kafka://user:12?hunter2=x@one",
        "kafka://user:hunter2@one",
        "kafka://one?sasl_username=user&sasl_password=hunter2&security_protocol=SSL",
        "kafka://one?security_protocol=SASL_SSL",
        "kafka://one?security_protocol=",
        f"kafka://one?security_protocol=SSL&keyfile={__file__}",
        "kafka://one?sasl_mechanism=PLAIN",
        "kafka://u:hunter2@one?security_protocol=SASL_SSL&sasl_username=v",
        "kafka://one?security_protocol=SSL&security_protocol=PLAINTEXT",
        f"kafka://one?cafile={__file__}",
        "kafka://user@one?security_protocol=SASL_PLAINTEXT",
        "kafka://:hunter2@one?security_protocol=SASL_SSL",
    ],
)
def test_what_cannot_work_is_named_without_the_password(url: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        parse(url)
    assert "hunter2" not in str(raised.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(Misconfigured) as raised:
        parse("kafka://one:0?bogus=1&security_protocol=TLS&sasl_mechanism=GSSAPI&session_timeout_s=soon&cafile=/nowhere")
    told = ["the hosts of", "a parameter that is not known", "session_timeout_s in", "cafile in"]
    told += ["security_protocol in", "sasl_mechanism in"]
    assert [wanted for wanted in told if wanted not in str(raised.value)] == []


def test_a_missing_certificate_file_is_named() -> None:
    with pytest.raises(Misconfigured, match="certificate"):
        parse("kafka://one?security_protocol=SSL&cafile=/nowhere.pem").options()
