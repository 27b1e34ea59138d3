from pathlib import Path

import pytest

from orchestration.platform.settings import Secret, Settings
from schemas.errors import UserError
from schemas.kafka_address import KafkaAddress


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('partitions = 4\nworkers = 2\ns3_secret_key = "from the file"\n')
    settings = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_WORKERS": "3"})
    assert (settings.partitions, settings.workers, settings.small_file_bytes) == (4, 3, 16 * 1024 * 1024)
    assert settings.s3_secret_key.reveal() == "from the file"


def test_catalog_defaults_to_sqlite_in_the_home(tmp_path: Path) -> None:
    assert Settings.load({"MUSTER_HOME": str(tmp_path)}).catalog_url.reveal() == f"sqlite:///{tmp_path}/catalog.db"
    loaded = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_CATALOG_URL": "postgresql+psycopg://u:p@h/db"})
    assert loaded.catalog_url.reveal() == "postgresql+psycopg://u:p@h/db"


def test_a_child_process_gets_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_S3_SECRET_KEY": "secret", "MUSTER_PARTITIONS": "2"})
    assert Settings.load(settings.environment()) == settings


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    settings = Settings.load(
        {"MUSTER_HOME": str(tmp_path), "MUSTER_S3_SECRET_KEY": "hush", "MUSTER_CATALOG_URL": "hush"}
    )
    assert "hush" not in f"{settings} {settings!r} {settings.s3_secret_key} {Secret('hush')!s}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitions = ", "is not valid TOML"),
        ("colour = 'blue'", "unknown setting\\(s\\) colour"),
        ("partitions = 'many'", "setting partitions: 'many' is not a whole number"),
        ("sandbox = 'off'", "setting sandbox: 'off' is not auto or required"),
        ("task_runner = 'podman'", "setting task_runner: 'podman' is not process or docker"),
        ("place = 'elsewhere'", "setting place: 'elsewhere' is not one of function, task, machine"),
        ("task_image = '--privileged'", "setting task_image: '--privileged' is not the name of an image"),
        ("task_image = ''", "setting task_image: '' is not the name of an image"),
        ("inbox_prefix = 'incoming'", "setting inbox_prefix: 'incoming' is not like incoming/"),
        ("inbox_prefix = '/'", "setting inbox_prefix: '/' is not like incoming/"),
        ("inbox_prefix = 'a//'", "setting inbox_prefix: 'a//' is not like incoming/"),
        ("min_workers = -2", "setting min_workers: at least 0"),
        ("min_segment_workers = -2", "setting min_segment_workers: at least 0"),
        ("idle_minutes = 'long'", "setting idle_minutes: 'long' is not a number"),
        ("idle_minutes = -1", "setting idle_minutes: at least 0"),
        ("idle_minutes = nan", "setting idle_minutes: at least 0"),
        ("machine_prefix = 'a b'", "setting machine_prefix: 'a b' must be at most 40 letters"),
    ],
)
def test_invalid_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(UserError, match=f"BAD_SETTINGS.*{message}"):
        Settings.load({"MUSTER_HOME": str(tmp_path)})


@pytest.mark.parametrize("image", ["muster:local", "registry.example:5000/team/muster@sha256:0a1b", "0a1b2c3d4e5f"])
def test_any_docker_image_name_is_accepted_for_tasks(tmp_path: Path, image: str) -> None:
    settings = Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_TASK_RUNNER": "docker", "MUSTER_TASK_IMAGE": image})
    assert (settings.task_runner, settings.task_image) == ("docker", image)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("b:9092", "b:9092"),
        ("ssl://b:9094", "ssl://b:9094"),
        (
            "sasl_ssl://b:9096,c:9096?mechanism=SCRAM-SHA-512",
            "sasl_ssl://b:9096,c:9096?mechanism=SCRAM-SHA-512&credentials=/run/kafka%20one.json",
        ),
        ("sasl_ssl://b:9096?mechanism=PLAIN&credentials=/own", "sasl_ssl://b:9096?mechanism=PLAIN&credentials=/own"),
    ],
)
def test_kafka_address_takes_the_credentials_file_setting(tmp_path: Path, given: str, used: str) -> None:
    env = {"MUSTER_HOME": str(tmp_path), "MUSTER_KAFKA_BOOTSTRAP": given}
    settings = Settings.load({**env, "MUSTER_KAFKA_CREDENTIALS_FILE": "/run/kafka one.json"})
    assert settings.kafka_bootstrap == used
    assert Settings.load(settings.environment()) == settings
    if given == used:
        assert Settings.load(env).kafka_bootstrap == given


def test_kafka_address_takes_the_setting_of_certificates_to_trust(tmp_path: Path) -> None:
    env = {"MUSTER_HOME": str(tmp_path), "MUSTER_KAFKA_CA_FILE": "/run/ca.pem"}
    for given in ("ssl://b:9094", "sasl_ssl://b:9098?mechanism=AWS_MSK_IAM&region=eu-central-1"):
        settings = Settings.load({**env, "MUSTER_KAFKA_BOOTSTRAP": given})
        assert KafkaAddress.parse(settings.kafka_bootstrap).ca == "/run/ca.pem"
        assert Settings.load(settings.environment()) == settings


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("sasl_ssl://b:9096", "sasl_ssl needs mechanism="),
        ("ssl://b:9096?mechanism=PLAIN", "mechanism=PLAIN is for sasl_ssl://"),
        ("b", "'b' is not host:port"),
    ],
)
def test_invalid_kafka_address_is_refused_by_the_settings_name(tmp_path: Path, given: str, why: str) -> None:
    with pytest.raises(UserError, match=f"BAD_SETTINGS: setting kafka_bootstrap: {why}"):
        Settings.load({"MUSTER_HOME": str(tmp_path), "MUSTER_KAFKA_BOOTSTRAP": given})
