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
    system.unlink()
    assert settings.overlays({}, (), system) == ()
    system.write_text("")
    assert settings.overlays({}, (), system) == (system,), "as a reload finds it"
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


# ---- The hub's variables ----


def test_what_hugging_faces_own_variables_say(tmp_path: Path) -> None:
    loaded = settings.load(
        {
            "HF_ENDPOINT": "http://box:8000/hf/",
            "HF_TOKEN": "hf_secret\n",
            "HF_HUB_OFFLINE": "1",
            "MODELSCOPE_ENDPOINT": "https://modelscope.example",
        },
        home=tmp_path,
        system_config=NOWHERE,
    )
    assert loaded.hub_endpoint == "http://box:8000/hf"
    assert loaded.hub_token == "hf_secret"
    assert loaded.offline
    assert loaded.modelscope_endpoint == "https://modelscope.example"
    assert "hf_secret" not in repr(loaded)


def test_without_them(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "", "HF_HUB_OFFLINE": "0"}
    loaded = settings.load(environment, home=tmp_path, system_config=NOWHERE)
    assert (loaded.hub_endpoint, loaded.hub_token, loaded.offline) == (None, None, False)


@pytest.mark.parametrize("how", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_token_is_where_hugging_faces_tools_leave_it(tmp_path: Path, how: str) -> None:
    files = {
        "HF_TOKEN_PATH": tmp_path / "mine",
        "HF_HOME": tmp_path / "token",
        "XDG_CACHE_HOME": tmp_path / "huggingface" / "token",
    }
    files[how].parent.mkdir(exist_ok=True)
    files[how].write_text("hf_file\n")
    value = files[how] if how == "HF_TOKEN_PATH" else tmp_path
    environment = {how: str(value)}
    assert settings.load(environment, home=tmp_path, system_config=NOWHERE).hub_token == "hf_file"
    environment["HF_TOKEN"] = "hf_variable"
    loaded = settings.load(environment, home=tmp_path, system_config=NOWHERE)
    assert loaded.hub_token == "hf_variable"
    files[how].write_bytes(b"\xff")
    del environment["HF_TOKEN"]
    assert settings.load(environment, home=tmp_path, system_config=NOWHERE).hub_token is None


def test_an_endpoint_that_is_none_is_named_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        settings.load({"HF_ENDPOINT": "http://me:secret@box"}, system_config=NOWHERE)
    assert "HF_ENDPOINT is not an address" in caught.value.what
    assert "secret" not in caught.value.sentence
