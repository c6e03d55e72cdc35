"""Which of several state dicts in a file is taken: the averaged copy, however it is spelled, else the network's."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import image_models, image_networks
from torch import nn

from vs_sr.errors import WeightsError
from vs_sr.weights import checkpoint, convert, recognition, wrappers

if TYPE_CHECKING:
    from pathlib import Path

type State = dict[str, torch.Tensor]


def states() -> tuple[State, State]:
    """The raw and the averaged weights of a network."""
    averaged = image_networks.network("ESRGAN").state_dict()
    return {name: tensor + 1 for name, tensor in averaged.items()}, dict(averaged)


def other() -> State:
    """Of a network that is no filter."""
    return {"conv0_0.weight": torch.ones(4, 3, 3, 3), "linear1.weight": torch.ones(1, 4)}


def after_average(state: State) -> State:
    """As torch's AveragedModel names it."""
    return {"n_averaged": torch.tensor(7), **{f"module.{name}": tensor for name, tensor in state.items()}}


def prefixed(**parts: State) -> State:
    return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}


class Module(nn.Module):
    """Whatever has these tensors."""

    def __init__(self, state: State) -> None:
        super().__init__()
        for name, tensor in state.items():
            *path, last = name.split(".")
            inside: nn.Module = self
            for part in path:
                if part not in dict(inside.named_children()):
                    inside.add_module(part, nn.Module())
                inside = inside.get_submodule(part)
            inside.register_buffer(last, tensor)


class Average:
    """A helper of somebody's training script."""

    def __init__(self, state: State) -> None:
        self.decay = 0.999
        self.shadow = state


def optimizer() -> dict[str, Any]:
    return {"state": {0: {"exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}}, "param_groups": [{"lr": 1}]}


RAW, AVERAGED = states()
FILES: dict[str, object] = {
    "BasicSR": {"params": RAW, "params_ema": AVERAGED},
    "neosr": {"params": RAW, "params-ema": AVERAGED},
    "the other way round": {"params-ema": AVERAGED, "params": RAW},
    "model, ema": {"model": RAW, "ema": AVERAGED, "epoch": 3},
    "state dicts": {"state_dict": RAW, "ema_state_dict": AVERAGED},
    "timm": {"state_dict": RAW, "state_dict_ema": AVERAGED, "arch": "x"},
    "model_state_dict": {"model_state_dict": RAW, "ema_model_state_dict": AVERAGED},
    "GAN": {"net_g": RAW, "net_g_ema": AVERAGED, "net_d": other()},
    "camels": {"netG": RAW, "netGEMA": AVERAGED, "netD": other()},
    "StyleGAN": {"g": RAW, "d": other(), "g_ema": AVERAGED, "g_optim": optimizer()},
    "a discriminator with an average": {"generator": RAW, "generator_ema": AVERAGED, "discriminator_ema": other()},
    "model_ema": {"model": RAW, "model_ema": AVERAGED},
    "ModelEMA": {"model": RAW, "ModelEMA": {"module": AVERAGED, "decay": 0.9}},
    "modelema": {"model": RAW, "modelema": AVERAGED},
    "names of their own": {"upscaler": RAW, "upscaler-EMA": AVERAGED},
    "shadow": {"model": RAW, "ema": {"decay": 0.9, "num_updates": 7, "shadow": AVERAGED}},
    "an object": {"model": RAW, "ema": Average(AVERAGED)},
    "modules": {"model": Module(RAW), "ema": Module(AVERAGED)},
    "SWA": {"model": RAW, "swa_model": after_average(AVERAGED)},
    "AveragedModel": {"model": RAW, "second": after_average(AVERAGED)},
    "AveragedModel alone": after_average(AVERAGED),
    "AveragedModel, pickled": Module(after_average(AVERAGED)),
    "averaged": {"weights": RAW, "averaged": OrderedDict(AVERAGED)},
    "lightning": {
        "state_dict": prefixed(model=RAW, ema_model=AVERAGED, loss={"vgg.0.weight": torch.ones(3)}),
        "optimizer_states": [optimizer()],
        "loops": {"fit": {"step": torch.tensor(3)}},
    },
    "lightning, compiled": {"state_dict": prefixed(**{"net._orig_mod": RAW, "net_ema._orig_mod": AVERAGED})},
    "lightning, AveragedModel": {
        "state_dict": {
            **prefixed(model=RAW, average_model=after_average(AVERAGED)),
        }
    },
    "lightning, callback": {"state_dict": RAW, "callbacks": {"EMA": {"ema_state_dict": AVERAGED}}},
    "lightning, an empty average": {"state_dict": AVERAGED, "ema": {"decay": 0.9}, "averaging_state": {}},
    "mmediting": {"meta": {}, "state_dict": prefixed(generator=RAW, generator_ema=AVERAGED, discriminator=other())},
    "within one": prefixed(net=RAW, ema=AVERAGED),
    "no average": {"state_dict": prefixed(model=AVERAGED, discriminator=other(), lpips={"a.weight": torch.ones(3)})},
    "DeepSpeed": {"module": AVERAGED, "optimizer": optimizer(), "global_steps": 5},
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", FILES)
def test_the_averaged_copy_is_taken(name: str, legacy: bool, tmp_path: Path) -> None:
    torch.save(FILES[name], path := tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    file = checkpoint.read(path)
    found = recognition.recognize(file, models=image_models.models().values())
    state = recognition.network(file, found).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in AVERAGED.items())


def test_what_was_taken_and_left_out_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    models = image_models.models().values()
    torch.save({"params": RAW, "params-ema": AVERAGED, "optimizer": optimizer()}, path)
    assert "inside    params-ema (the averaged copy); left out: params\n" in convert.describe(path, models=models)
    torch.save({"state_dict": prefixed(model=RAW, ema=AVERAGED)}, path)
    assert ", with the prefix 'ema.' (the averaged copy)\n" in convert.describe(path, models=models)
    torch.save({"params": RAW}, path)
    assert "inside    params\n" in convert.describe(path, models=models)


def test_several_networks_without_a_choice_are_refused(tmp_path: Path) -> None:
    torch.save({"first": RAW, "second": AVERAGED}, path := tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="several networks, and nothing says which to take: first, second"):
        checkpoint.read(path)


@pytest.mark.parametrize("key", ["schema", "cinema", "gemma", "teacher", "model", "d", "", "semantic"])
def test_words_that_only_look_like_it(key: str) -> None:
    assert not wrappers.averaged(key)
