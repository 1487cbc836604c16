"""Settings of the recipes: one TOML file each, every field documented in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from sarcoscope.errors import SettingError
from sarcoscope.models.slice_input import SliceInput

RECIPES: Final = ("tissue-unet", "level-efficientnetv2m", "l3-resnet50")
NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {
    "tissue-unet": ("unet", "attention-unet"),
    "level-efficientnetv2m": ("efficientnetv2-m", "efficientnetv2-s", "efficientnetv2-tiny", "resnet50"),
    "l3-resnet50": ("resnet50", "efficientnetv2-m", "efficientnetv2-s", "efficientnetv2-tiny"),
}
AUGMENTATIONS: Final = ("none", "spatial", "window", "noise", "all")
CLIP_METHODS: Final = ("none", "value", "l2norm", "global-l2norm")
OPTIMISERS: Final = ("rmsprop", "adam", "sgd")
_CHOICES: Final = {"augmentation": AUGMENTATIONS, "clip_method": CLIP_METHODS, "optimiser": OPTIMISERS}


@dataclass(frozen=True)
class RecipeSettings:
    """All fields of a recipe; the shipped TOML file of each recipe says what they mean."""

    recipe: str
    network: str
    widths: tuple[int, ...]
    weights: str
    size: int
    window_hu: tuple[float, float]
    stretch: bool
    channels: int
    png_window_hu: tuple[float, float]
    label_values: Mapping[str, int]
    flip_masks: str
    dice_weight: float
    entropy_weight: float
    optimiser: str
    rate: float
    l2: float
    batch: int
    epochs: int
    patience: int
    augmentation: str
    clip_method: str
    clip_threshold: float
    oversample: float
    class_weight: float
    validation_share: float
    folds: int
    seed: int
    mixed_precision: bool
    name: str

    def __post_init__(self) -> None:
        if self.network not in NETWORKS[self.recipe]:
            raise SettingError(f"'{self.network}' is no network of {self.recipe}; there are "
                               f"{', '.join(NETWORKS[self.recipe])}.")  # fmt: skip
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise SettingError(f"'{getattr(self, field)}' is no {field}; there are {', '.join(choices)}.")
        for field in ("size", "batch", "epochs", "rate", "patience"):
            if getattr(self, field) <= 0:
                raise SettingError(f"{field} must be more than 0.")
        if not 0 < self.validation_share < 1:
            raise SettingError("validation_share lies between 0 and 1.")
        if set(self.flip_masks) - set("xy"):
            raise SettingError("flip_masks is empty, x, y or xy.")

    @property
    def slice_input(self) -> SliceInput:
        """How slices become the network's input."""
        return SliceInput(self.size, self.window_hu, self.stretch, self.channels)

    def changed(self, **values: Any) -> RecipeSettings:
        """The same with other values."""
        return replace(self, **values)

    def record(self) -> dict[str, Any]:
        """For cards and checkpoints."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def recipe_text(recipe: str) -> str:
    """The shipped settings file of a recipe.

    Raises:
        SettingError: no such recipe.
    """
    if recipe not in RECIPES:
        raise SettingError(f"'{recipe}' is no recipe; recipes are {', '.join(RECIPES)}.")
    return files("sarcoscope.training").joinpath(f"recipes/{recipe}.toml").read_text(encoding="utf-8")


def load_recipe(recipe: str, file: Path | None = None, changes: Sequence[str] = ()) -> RecipeSettings:
    """Settings of a recipe: the shipped ones, those of a file over them, ``key=value`` over both.

    Raises:
        SettingError: an unknown field, or a value of the wrong kind.
    """
    values = tomllib.loads(recipe_text(recipe))
    known = dict(values)
    if file is not None:
        try:
            values |= tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingError(f"The settings file '{file.name}' cannot be read: {error}.") from error
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise SettingError(f"'{change}' is no setting; write key=value.")
        values[key.strip()] = _typed(key.strip(), text.strip(), known)
    for key in values:
        if key not in known:
            raise SettingError(f"'{key}' is no setting of {recipe}; settings are {', '.join(known)}.")
    try:
        values = {k: _cast(k, v, known[k]) for k, v in values.items()}
        return RecipeSettings(recipe=recipe, **values)
    except (TypeError, ValueError) as error:
        raise SettingError(f"A setting of {recipe} has a value of the wrong kind: {error}.") from error


def _typed(key: str, text: str, known: Mapping[str, Any]) -> Any:
    """A value typed on the command line, read as TOML; words need no quotes."""
    if isinstance(known.get(key), str):
        return text.strip("\"'")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"'{text}' is no value for {key}.") from error


def _cast(key: str, value: Any, like: Any) -> Any:
    """A value in the kind that the shipped file has."""
    if isinstance(like, list):
        return tuple(type(like[0])(v) for v in value) if like else tuple(int(v) for v in value)
    if isinstance(like, dict):
        return {str(k): int(v) for k, v in dict(value).items()}
    if isinstance(like, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{key} is true or false")
        return value
    return type(like)(value)
