"""A whole model package: ``core.vs_sr.Nearest(clip)`` upscales by repeating pixels.

It has no weights, so its variant is fixed. A model with weights gives ``detect`` instead, which reads the
variant off the tensors' names and shapes, and the user passes ``weights="file.safetensors"``.
"""

from vs_sr import Model, Variant, hookimpl


def build(variant):
    # torch is imported when the first frame is asked for, not when the script is read
    import torch

    class Nearest(torch.nn.Module):
        def forward(self, frames):  # (B, 3, H, W) -> (B, 3, scale*H, scale*W), RGB in 0..1
            return frames.repeat_interleave(variant.scale, 2).repeat_interleave(variant.scale, 3)

    return Nearest()


@hookimpl
def vs_sr_models():
    return [
        Model(
            name="Nearest",
            summary="twice the size by repeating pixels (an example)",
            paper="",
            kind="image",
            build=build,
            fixed=Variant(scale=2),
        )
    ]
