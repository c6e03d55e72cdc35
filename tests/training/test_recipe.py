"""Recipes: every key known, every value checked, and those that are shipped."""

import re
from dataclasses import fields

import pytest
from helpers.support import ROOT

from vs_sr.errors import ArgumentError
from vs_sr.training import recipe
from vs_sr.training.recipe import Place

SMALL = """
name = "small"
[network]
model = "EDSR"
[data]
scale = 2
[[data.scenes]]
count = 2
[loss]
l1 = 1
[[stage]]
steps = 10
rate = 1e-3
"""


def refused(text):
    with pytest.raises(ArgumentError) as caught:
        recipe.parse(text)
    return str(caught.value)


def test_a_recipe_has_defaults_and_numbers_become_what_they_are_for():
    found = recipe.parse(SMALL)
    assert (found.data.scale, found.data.multi, found.loss.l1, found.stage[0].rate) == ((2,), (1,), 1.0, 1e-3)
    assert isinstance(found.loss.l1, float)
    assert found.text == SMALL
    assert recipe.parse(SMALL.replace("scale = 2", "scale = [2, 3]")).data.scale == (2, 3)
    film = "[[data.video]]\ncount = 1\nfrom = 0.25\n[loss]"
    assert recipe.parse(SMALL.replace("[loss]", film)).data.video[0].from_ == 0.25  # "from" is Python's word
    with pytest.raises(ArgumentError, match=r"from must be at least 0, and below until; got 0\.95"):
        recipe.parse(SMALL.replace("[loss]", film.replace("0.25", "0.95")))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("l1 = 1", "l1 = 1\ncharbonier = 1", "no key loss.charbonier; did you mean charbonnier? choices: l1, l2,"),
        ("name =", "nmae =", "no key nmae; did you mean name? choices: name, network"),
        ("rate = 1e-3", "rate = 1e-3\nschedule = 'cosin'", "stage.schedule='cosin' is not known; choices: constant,"),
        ("steps = 10", "steps = 1.5", "stage.steps must be of type int; got 1.5"),
        ("steps = 10", "steps = true", "stage.steps must be of type int; got True"),
        ("steps = 10\n", "", "stage.steps is missing"),
        ("steps = 10", "steps = 0", "stage: steps must be >= 1"),
        ("[[data.scenes]]\ncount = 2", "", "data: needs scenes, video, images or h5"),
        ("l1 = 1", "adversarial = 1\nl1 = 1", r"loss.adversarial and a table \[adversary\] go together"),
        ("l1 = 1", "", "loss: needs one of l1"),
        ("rate = 1e-3", "rate = 1e-3\nschedule = 'step'", "which needs it"),
        ("scale = 2", "scale = 2\nmulti = 3", r"multi must be of \(1, 2, 4, 8\); got \[3\]"),
        ("name = ", "text = 'x'\nname = ", "no key text"),
        ("count = 2", "count = 0", "data.scenes: count and frames must be at least 1"),
        (
            "[loss]",
            "[data.degradation]\ncrf = [18, 60]\n[loss]",
            r"data.degradation: crf must be in 0..51; got \[18, 60\]",
        ),
        ("[loss]", "[data.degradation]\nquantizer = [0, 9]\n[loss]", r"quantizer must be in 1..31; got \[0, 9\]"),
        ("[network]", "[network", "is no TOML"),
        ("[data]", "degradation = 3\n[data]", "no key network.degradation"),
    ],
)
def test_what_is_wrong_is_named_with_the_choices(before, after, message):
    assert re.search(message.replace("?", r"\?") if "?" in message else message, refused(SMALL.replace(before, after)))


def test_examples_are_as_long_as_the_shortest_clips():
    more = "".join(f"[[data.scenes]]\ncount = 2\nframes = {frames}\n" for frames in (3, 9))
    assert recipe.parse(SMALL.replace("[loss]", f"{more}[loss]")).data.frames == 3
    assert recipe.parse(SMALL.replace("[loss]", f"{more}[[data.images]]\n[loss]")).data.frames == 1


def test_pairs_of_values_have_two():
    text = SMALL.replace("[loss]", "[data.degradation]\nblur = [0, 1, 2]\n[loss]")
    assert refused(text) == "data.degradation.blur must be 2 values; got [0, 1, 2]"
    assert "blur must be [least, most]" in refused(text.replace("[0, 1, 2]", "[1, 0]"))


@pytest.mark.parametrize("path", sorted(recipe.FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_whole_and_found_by_name(path):
    assert recipe.load(path.stem) == recipe.load(path)


def test_a_recipe_that_is_not_there_names_the_shipped_ones(tmp_path):
    with pytest.raises(ArgumentError, match=r"none.toml: .*shipped recipes: .*zooming_slow_mo_compact"):
        recipe.load(tmp_path / "none.toml")


def test_what_is_measured_is_not_trained_on(tmp_path):
    calendar = tmp_path / "vid4" / "calendar"
    for given in (calendar, tmp_path, calendar / "part"):
        with pytest.raises(ArgumentError, match="is measured on"):
            Place(out=tmp_path, images=(given,), measure=(calendar,))
    Place(out=tmp_path, images=(tmp_path / "vid4" / "walk",), measure=(calendar,))


def test_every_key_stands_in_the_documentation():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (?:`([a-z0-9.]+)`|\(top\)) \| (.*) \|$", text, re.MULTILINE))
    kinds = {"": recipe.Recipe, "data.scenes": recipe.Scenes, "data.video": recipe.Video, "data": recipe.Data,
             "data.images": recipe.Images, "data.degradation": recipe.Degradation, "network": recipe.Network,
             "loss": recipe.Loss, "adversary": recipe.Adversary, "optimizer": recipe.Optimizer,
             "stage": recipe.Stage}  # fmt: skip
    for place, kind in kinds.items():
        lacking = (
            {each.name.rstrip("_") for each in fields(kind)} - set(re.findall(r"`(\w+)`", table[place])) - {"text"}
        )
        assert not lacking, f"{place}: {lacking}"


def test_the_recipe_of_the_documentation_is_one():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert recipe.parse(example).network.transfer
