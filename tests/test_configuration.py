"""Recipes, settings, and what is said about those that do not fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest

from donkey_rl import configuration, setting_keys
from donkey_rl.configuration import Config
from donkey_rl.errors import ConfigurationError, InputError, UnknownNameError
from donkey_rl.experiments.config import TrainingConfig


class Adam(Config):
    learning_rate: float = pydantic.Field(default=1e-3, gt=0, le=1)
    hidden: tuple[int, ...] = (128, 128)
    automatic: bool = True
    cap: float | None = None


class Camera(Config):
    width: int = pydantic.Field(default=160, ge=16, le=512)


class Lane(Config):
    name: Literal["lane"] = "lane"
    frames: int = 24
    huber: float = 1.0


class Cnn(Config):
    name: Literal["cnn"] = "cnn"
    frames: int = pydantic.Field(default=8, ge=1)
    filters: tuple[int, ...] = (16,)


Seeing = Annotated[
    Annotated[Lane, pydantic.Tag("lane")] | Annotated[Cnn, pydantic.Tag("cnn")],
    setting_keys.BY_NAME,
]


class Eyes(Config):
    seed: int = 0
    encoder: Seeing = Lane(frames=48)


class Run(Config):
    agent: Literal["sac", "ppo"] = "sac"
    seed: int = 0
    track: str = "generated_track"
    adam: Adam = Adam()
    camera: Camera = Camera()


def with_setting(setting: str) -> Run:
    return configuration.with_settings(Run(), [setting])


def test_keys_are_all_leaves_in_order() -> None:
    assert configuration.keys(Run) == (
        "agent",
        "seed",
        "track",
        "adam.learning_rate",
        "adam.hidden",
        "adam.automatic",
        "adam.cap",
        "camera.width",
    )


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("adam.learning_rate=1e-2", "learning_rate", 0.01),
        ("adam.learning_rate = .5", "learning_rate", 0.5),
        ("adam.hidden=64,32", "hidden", (64, 32)),
        ("adam.hidden=[64, 32, 16]", "hidden", (64, 32, 16)),
        ("adam.automatic=false", "automatic", False),
        ("adam.cap=0.5", "cap", 0.5),
        ("adam.cap=null", "cap", None),
        ("adam={learning_rate: 0.5}", "learning_rate", 0.5),
    ],
)
def test_setting_changes_its_key_alone(setting: str, key: str, value: object) -> None:
    changed = with_setting(setting)
    assert getattr(changed.adam, key) == value
    assert changed.model_copy(update={"adam": Adam()}) == Run()
    assert changed.adam.model_copy(update={key: getattr(Adam(), key)}) == Adam()


@pytest.mark.parametrize("text", ["123", "a,b", "no", "1e3", "null", "a=b"])
def test_text_stays_as_typed(text: str) -> None:
    assert with_setting(f"track={text}").track == text


def test_number_with_leading_nought_is_decimal() -> None:
    assert with_setting("seed=012").seed == 12


def test_later_setting_wins_and_original_is_untouched() -> None:
    run = Run()
    changed = configuration.with_settings(run, ["seed=1", "adam.cap=0.5", "seed=2"])
    assert (changed.seed, changed.adam.cap) == (2, 0.5)
    assert run == Run()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "adam.learning_rat=1",
            "Unknown setting 'adam.learning_rat'. Did you mean 'adam.learning_",
        ),
        ("learning_rate=1", "Did you mean 'adam.learning_rate'?"),
        ("adm.learning_rate=1", "Did you mean 'adam.learning_rate'?"),
        ("camera.widht=1", "Did you mean 'camera.width'?"),
        ("adma=1", "Did you mean 'adam'?"),
        ("zzzz=1", "Known: agent, seed, track"),
        ("adam.learning_rate=-1", "adam.learning_rate should be greater than 0. Received: -1."),
        ("adam.learning_rate=fast", "should be a valid number. Received: 'fast'."),
        ("adam.learning_rate=.inf", "adam.learning_rate should be a finite number"),
        ("adam.hidden=1,x", "adam.hidden[1] should be a valid integer. Received: 'x'."),
        ("adam.learning_rate=true", "adam.learning_rate should be a number. Received: True."),
        ("adam=1", "adam is a group of settings. Received: 1. Set adam.NAME instead."),
        ("camera.width=8", "camera.width should be greater than or equal to 16. Received: 8."),
        ("agent=sca", "agent should be 'sac' or 'ppo'. Received: 'sca'. Did you mean 'sac'?"),
        ("seed=1.5", "seed should be a valid integer"),
        ("seed=[", "seed: '[' is not YAML"),
        ("seed", "A setting is written key=value. Received: 'seed'."),
        ("=1", "A setting is written key=value. Received: '=1'."),
    ],
)
def test_bad_setting_names_key_value_and_remedy(setting: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_setting(setting)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mapping_keeps_defaults_of_what_it_leaves_out() -> None:
    run = configuration.validate(Run, {"adam": {"cap": 2}})
    assert run == Run(adam=Adam(cap=2.0))


def test_several_mistakes_are_counted_and_unknown_key_comes_first() -> None:
    with pytest.raises(
        ConfigurationError, match=r"Unknown setting 'adam\.capp'.*\(1 more to mend"
    ):
        configuration.validate(Run, {"seed": "x", "adam": {"capp": 1}})


def test_error_of_a_validator_keeps_its_own_words() -> None:
    class Race(Config):
        track: str

        @pydantic.field_validator("track")
        @classmethod
        def _known(cls, name: str) -> str:
            raise UnknownNameError("track", name, ["warehouse"])

    with pytest.raises(ConfigurationError, match=r"track 'warehous'. Did you mean 'warehouse'\?"):
        configuration.validate(Race, {"track": "warehous"})
    with pytest.raises(ConfigurationError, match="track is required"):
        configuration.validate(Race, {})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["encoder.frames=3"], Lane(frames=3)),
        (["encoder.name=lane"], Lane(frames=48)),
        (["encoder.name=cnn"], Cnn()),
        (["encoder.name=cnn", "encoder.frames=3"], Cnn(frames=3)),
        (["encoder.frames=3", "encoder.filters=4,5", "encoder.name=cnn"],
         Cnn(frames=3, filters=(4, 5))),
        (["encoder.name=cnn", "encoder.name=lane", "encoder.huber=2"], Lane(frames=48, huber=2.0)),
        (["encoder={name: cnn, frames: 3}"], Cnn(frames=3)),
    ],
)  # fmt: skip
def test_name_chooses_the_kind_of_a_group(settings: list[str], expected: Config) -> None:
    changed = configuration.with_settings(Eyes(), settings)
    assert changed.encoder == expected
    assert configuration.validate(Eyes, changed.model_dump()) == changed
    assert configuration.validate(Eyes, changed.model_dump(mode="json")) == changed


def test_another_kind_keeps_nothing_of_the_one_before() -> None:
    recipe = {"encoder": {"name": "cnn", "filters": [8]}}
    run = configuration.validate(Eyes, recipe)
    assert run.encoder == Cnn(filters=(8,))
    assert configuration.with_settings(run, ["encoder.frames=3"]).encoder == Cnn(
        frames=3, filters=(8,)
    )
    assert configuration.with_settings(run, ["encoder.name=lane"]).encoder == Lane(frames=48)
    assert configuration.validate(Eyes, {"encoder": {"huber": 2}}).encoder == Lane(
        frames=48, huber=2.0
    )


def test_keys_of_a_group_of_several_kinds_are_those_of_all() -> None:
    assert configuration.keys(Eyes) == (
        "seed",
        "encoder.name",
        "encoder.frames",
        "encoder.huber",
        "encoder.filters",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["encoder.name=cnm"],
         "encoder.name should be 'lane' or 'cnn'. Received: 'cnm'. Did you mean 'cnn'?"),
        (["encoder.name=null"], "encoder.name should be 'lane' or 'cnn'. Received: 'None'."),
        (["encoder.name=cnn", "encoder.huber=2"],
         "encoder.huber is a setting of encoder.name=lane, not of cnn. "
         "Leave it out, or set encoder.name=lane."),
        (["encoder.name=cnn", "encoder.frames=0"],
         "encoder.frames should be greater than or equal to 1. Received: 0."),
        (["encoder.name=cnn", "encoder.filters=1,x"],
         "encoder.filters[1] should be a valid integer. Received: 'x'."),
        (["encoder.frame=3"], "Unknown setting 'encoder.frame'. Did you mean 'encoder.frames'?"),
        (["encoder=cnn"], "encoder is a group of settings. Received: 'cnn'."),
    ],
)  # fmt: skip
def test_bad_setting_of_a_kind_names_key_value_and_remedy(
    settings: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.with_settings(Eyes(), settings)
    assert str(caught.value).startswith(message)
    with pytest.raises(ConfigurationError, match=r"Unknown setting 'encoder.frame'"):
        configuration.validate(Eyes, {"encoder": {"name": "cnn", "frame": 3}})


def write_recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_recipe_file_is_read_as_nested_mappings(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "seed: 3\nadam:\n  learning_rate: 1e-4  # text in YAML 1.1\n")
    assert configuration.read_recipe(path) == {"seed": 3, "adam": {"learning_rate": 1e-4}}


BOMB = "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'x'] * 10)}]\n" for k in range(12)
)
"""Of 500 bytes, and a million million values."""


def test_aliases_are_taken(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "adam: &one {cap: 0.5}\nother: *one\n")
    assert configuration.read_recipe(path) == {"adam": {"cap": 0.5}, "other": {"cap": 0.5}}


def test_empty_recipe_changes_nothing(tmp_path: Path) -> None:
    assert configuration.read_recipe(write_recipe(tmp_path, "# nothing yet\n")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "'seed' stands here a second time, line 2"),
        ("adam: {", "is not YAML"),
        ("- 1\n", "should be a mapping of keys to values. Received: list"),
        ("1: 2\n", "keys are text, received 1"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not YAML"),
        ("a: &a [*a]\n", "it stands for more than 10,000,000 characters, line 1"),
        (BOMB, "it stands for more than 10,000,000 characters"),
        ("a: !!bool x\n", "a value is not of its type"),
        ("a: !!map [x]\n", "a value is not of its type"),
        (f"a: {'1' * 5000}\n", "a value is not of its type"),
        (f"a: {'[' * 5000}", "it is nested too deeply"),
    ],
)
def test_damaged_recipe_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configuration.read_recipe(write_recipe(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        configuration.read_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(UnknownNameError, match="Unknown recipe 'no-such-recipe'"):
        configuration.read_recipe("no-such-recipe")


def test_recipe_that_cannot_be_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(os.urandom(4) + b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        configuration.read_recipe(path)
    path.write_bytes(b" " * (configuration.MAX_RECIPE_BYTES + 1))
    with pytest.raises(InputError, match="at most 1000000 bytes"):
        configuration.read_recipe(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        configuration.read_recipe(path)


class Named(Config):
    driver: str | None = "abc"
    drivers: tuple[str, ...] = ("self",)
    minutes: float | None = None
    switched: bool | float = True


@pytest.mark.parametrize("text", ["57010990", "12e45678", "races #2", "no", "~/tub", "a: b"])
def test_optional_text_stays_as_typed(text: str) -> None:
    changed = configuration.with_settings(Named(), [f"driver={text}"])
    assert changed.driver == text


@pytest.mark.parametrize("text", ["null", "~", ""])
def test_optional_text_may_be_left_out(text: str) -> None:
    assert configuration.with_settings(Named(), [f"driver={text}"]).driver is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[57010990,self]", ("57010990", "self")),
        ("57010990,12e4", ("57010990", "12e4")),
        ("[pursuit:0.4-0.7]", ("pursuit:0.4-0.7",)),
        ("57010990", ("57010990",)),
    ],
)
def test_names_in_a_list_stay_as_typed(text: str, found: tuple[str, ...]) -> None:
    assert configuration.with_settings(Named(), [f"drivers={text}"]).drivers == found


def test_true_is_no_number_where_there_may_be_none() -> None:
    with pytest.raises(ConfigurationError, match="minutes should be a number"):
        configuration.with_settings(Named(), ["minutes=true"])
    assert configuration.with_settings(Named(), ["switched=false"]).switched is False


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_recipe_may_be_what_a_shell_of_windows_wrote(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("track: straße.json\n", encoding=encoding)
    assert configuration.read_recipe(str(file)) == {"track": "straße.json"}


def test_a_layer_may_mend_what_does_not_fit_in_one_below_it() -> None:
    wide = {"track": "random_circuit:1-100"}
    made = configuration.layered(TrainingConfig, [{"steps": 1}, wide, {"steps": 5}], ["cars=200"])
    assert (made.steps, made.cars, len(made.tracks)) == (5, 200, 100)
    # What it leaves out keeps its default.
    assert made.sac == TrainingConfig().sac
    with pytest.raises(ConfigurationError, match="cars must be one for each track"):
        configuration.layered(TrainingConfig, [wide])
    encoder = {"encoder": {"epochs": 7}}
    made = configuration.layered(TrainingConfig, [encoder], ["encoder.name=lane"])
    assert made.encoder.model_dump()["epochs"] == 7


def test_a_former_key_is_below_a_layer_above_it() -> None:
    former, today = {"sac": {"random_shift": 4}}, ["sac.augmentation.shift=8"]
    assert configuration.layered(TrainingConfig, [former]).sac.augmentation.shift == 4
    assert configuration.layered(TrainingConfig, [former], today).sac.augmentation.shift == 8
