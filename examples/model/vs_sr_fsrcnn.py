"""A whole model package with weights: ``core.vs_sr.FSRCNN(clip, weights="fsrcnn_x2.pth", scale=2)``.

Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.
"""

from vs_sr import Model, Published, Variant, hookimpl
from vs_sr.models.naming import choose, count, reach
from vs_sr.spec import Scheme

SIGNATURE = ("first_part.0.weight", "first_part.1.weight", "mid_part.0.weight", "last_part.weight")
SCALE = "networks of all scales have the same tensors"


def detect(shapes, metadata):
    # the shapes alone: no torch here, a script is read before the first frame is asked for
    if not all(name in shapes for name in SIGNATURE):
        return None
    features, channels = shapes["first_part.0.weight"][:2]
    scale = int(choose(metadata, "scale", ("2", "3", "4"), SCALE))
    mappings = count(shapes, r"mid_part\.\d+\.weight") // 2 - 2  # a convolution and a PReLU each
    return Variant(
        scale=scale,
        color="y" if channels == 1 else "rgb",
        receptive_field=reach((2 + mappings, 1), (4, scale)),
        channels=features,
        config={
            "scale": scale,
            "channels": channels,
            "features": features,
            "shrunk": shapes["mid_part.0.weight"][0],
            "mappings": mappings,
        },
        metadata={"scale": str(scale)},
    )


def build(variant):
    from torch import nn

    def layer(inputs, outputs, size):
        return nn.Conv2d(inputs, outputs, size, padding=size // 2), nn.PReLU(outputs)

    class FSRCNN(nn.Module):
        def __init__(self, scale, channels, features, shrunk, mappings):
            super().__init__()
            self.first_part = nn.Sequential(*layer(channels, features, 5))
            middle = [part for _ in range(mappings) for part in layer(shrunk, shrunk, 3)]
            self.mid_part = nn.Sequential(*layer(features, shrunk, 1), *middle, *layer(shrunk, features, 1))
            more = {"stride": scale, "padding": 4, "output_padding": scale - 1}
            self.last_part = nn.ConvTranspose2d(features, channels, 9, **more)

        def forward(self, image):  # (B, C, H, W) in 0..1 -> (B, C, scale*H, scale*W)
            x = image.to(self.last_part.weight.dtype)  # images are float32, whatever the precision is
            return self.last_part(self.mid_part(self.first_part(x))).to(image.dtype)

    return FSRCNN(**variant.config)


@hookimpl
def vs_sr_models():
    return [
        Model(
            name="FSRCNN",
            summary="x2, x3 or x4; eight small layers, luma only (an example)",
            paper='Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016',
            kind="image",
            build=build,
            detect=detect,
            schemes=(Scheme(name="yjn870", signature=SIGNATURE),),
            hints={"scale": f"2, 3 or 4: {SCALE}"},
            arguments={"scale": "that of the weights, which do not say it: 2, 3 or 4"},
            published=Published(
                file="fsrcnn_x2.pth",
                repository="yjn870/FSRCNN-pytorch",
                place="linked in its README",
                hints={"scale": "2"},
            ),
        )
    ]
