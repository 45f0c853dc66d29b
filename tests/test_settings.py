from pathlib import Path

import pytest

from server import settings
from server.errors import ConfigError

NOWHERE = Path("/nonexistent/holdfast/models.toml")


@pytest.mark.parametrize(
    ("environment", "home"),
    [
        ({"HOLDFAST_HOME": "/srv/holdfast", "XDG_DATA_HOME": "/x"}, "/srv/holdfast"),
        ({"XDG_DATA_HOME": "/data"}, "/data/holdfast"),
        ({"XDG_DATA_HOME": ""}, str(Path("~/.local/share/holdfast").expanduser())),
    ],
)
def test_home_comes_from_the_environment(environment: dict[str, str], home: str) -> None:
    assert settings.load(environment, system_config=NOWHERE).home == Path(home)


def test_a_flag_beats_the_environment(tmp_path: Path) -> None:
    loaded = settings.load({"HOLDFAST_HOME": "/other"}, home=tmp_path, system_config=NOWHERE)
    assert loaded.home == tmp_path


def test_overlays_keep_their_order_and_replace_the_system_file(tmp_path: Path) -> None:
    first, second, system = (tmp_path / name for name in ("a.toml", "b.toml", "c.toml"))
    for path in (first, second, system):
        path.touch()
    environment = {"HOLDFAST_CONFIG": f"{first}:{second}"}
    assert settings.load(environment, system_config=system).configs == (first, second)
    assert settings.load({}, system_config=system).configs == (system,)
    assert settings.load(environment, configs=[second]).configs == (second,)


def test_a_missing_configuration_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml does not exist"):
        settings.load({}, configs=[Path("gone.toml")])


@pytest.mark.parametrize("length", [20, 200])
def test_engine_sockets_fit_in_an_address_however_long_the_home(
    tmp_path: Path, length: int
) -> None:
    home = tmp_path / ("h" * length)
    one = settings.load({}, home=home, system_config=NOWHERE)
    again = settings.load({}, home=home, system_config=NOWHERE)
    other = settings.load({}, home=tmp_path / ("i" * length), system_config=NOWHERE)
    assert len(str(one.run / ("s" * 40))) <= 107
    assert one.run == again.run
    assert one.run != other.run
