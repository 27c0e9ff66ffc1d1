"""Settings of networks and of their training."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from hepml.config.base import Name, Real, Settings


class Training(Settings):
    """How a network is fitted."""

    epochs: int = Field(20, gt=0, description="upper bound; early stopping may end sooner")
    patience: int = Field(12, gt=0, description="epochs without a better validation loss")
    batch_size: int = Field(512, gt=0)
    learning_rate: Real = Field(5e-3, gt=0, lt=1, description="peak of the schedule")
    schedule: Literal["one-cycle", "cosine", "flat", "constant"] = Field(
        "one-cycle",
        description="flat: constant for 70 % of the steps, then exponentially down to 1 %",
    )
    optimiser: Literal["adamw", "ranger"] = Field(
        "adamw", description="ranger: RAdam with Lookahead, as Particle Transformer was published"
    )
    weight_decay: Real = Field(5e-2, ge=0)
    gradient_clip: Real = Field(1.0, gt=0, description="largest gradient norm")
    average: Real = Field(
        0, ge=0, lt=1, description="decay per step of a moving average of the weights; 0: none"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of training on a GPU (autocast); CPUs and scores always take fp32"
    )
    compile: bool = Field(False, description="torch.compile: minutes first, then faster on a GPU")
    events: int | None = Field(
        None, gt=1, description="train on so many events at most, drawn at random; all without"
    )

    @model_validator(mode="after")
    def _patience_can_matter(self) -> "Training":
        if self.patience >= self.epochs:
            raise ValueError(
                f"patience ({self.patience}) must be smaller than epochs ({self.epochs}), "
                "or early stopping never acts"
            )
        return self


Map = Literal["platt", "temperature", "none"]


class Network(Settings):
    """What all networks have."""

    title: str = Field("", description="in tables and figures; the key without it")
    ensemble: int = Field(
        1, gt=0, le=100, description="networks per fold that differ in their seed; r is their mean"
    )
    calibration: Map = Field(
        "platt",
        description="from logit to LLR, fitted on the validation fold: slope and offset together; "
        "temperature: the slope, then the offset, which normalises; none: the logit as it is",
    )


class Mlp(Network):
    """A multilayer perceptron on named variables."""

    architecture: Literal["mlp"]
    features: tuple[Name, ...] = Field(min_length=1)
    hidden: tuple[int, ...] = Field((64, 64, 64), min_length=1)
    dropout: Real = Field(0, ge=0, lt=1)
    training: Training = Training()


class Images(Settings):
    """What a jet image shows: see hepml.inputs.images."""

    pixels: int = Field(40, gt=0, description="along each axis")
    half_width: Real = Field(0.8, gt=0, description="in η and φ, from the centre to the border")
    channels: tuple[Literal["pt", "multiplicity", "charged_pt", "neutral_pt"], ...] = Field(
        ("pt",), min_length=1
    )
    steps: tuple[Literal["centre", "rotate", "flip", "normalise"], ...] = Field(
        ("centre", "rotate", "flip", "normalise"), description="of the preprocessing, in this order"
    )


class Cnn(Network):
    """A residual convolutional network on jet images."""

    architecture: Literal["cnn"]
    images: Images = Images()
    width: int = Field(16, gt=0, description="channels of the first stage")
    stages: int = Field(3, gt=0, description="resolutions, each half of the one before")
    blocks: int = Field(1, gt=0, description="residual blocks of each stage")
    dropout: Real = Field(0.3, ge=0, lt=1)
    training: Training = Training(batch_size=256, learning_rate=4e-3, epochs=6, patience=5)


class ParticleTransformer(Network):
    """Particle Transformer (arXiv:2202.03772) on the particles of a jet."""

    architecture: Literal["particle_transformer"]
    features: Literal["kin", "full"] = Field("kin", description="per particle, as for JetClass")
    maximum: int = Field(128, gt=0, description="particles of a jet that are kept, hardest first")
    size: Literal["small", "published"] = Field("small", description="small suits a CPU")
    pairs: bool = Field(True, description="false: attention without pair features")
    training: Training = Training(batch_size=128, learning_rate=1e-3, epochs=8, patience=6)


def _function(text: str) -> str:
    module, _, function = text.rpartition(":")
    if not module or not function.isidentifier():
        raise ValueError("expected file.py:function or module:function")
    return text


def _option(value: Any) -> Any:  # noqa: ANN401
    """YAML 1.1 reads 1e-3 as text: give the number."""
    if isinstance(value, list):
        return [_option(item) for item in value]
    if isinstance(value, str) and re.fullmatch(r"[+-]?[\d.]+[eE][+-]?\d+", value):
        return float(value)
    return value


class Own(Network):
    """A network of your own: see docs/own-model.md."""

    factory: Annotated[str, AfterValidator(_function)] = Field(
        description="file.py:function, relative to the working folder, or module:function"
    )
    inputs: str
    options: dict[Name, Annotated[Any, AfterValidator(_option)]] = Field(
        {}, description="further keyword arguments of the function"
    )
    training: Training = Training(batch_size=256, learning_rate=1e-3)

    @property
    def architecture(self) -> str:
        """What the architecture is called where ours have names."""
        return "own"

    @model_validator(mode="after")
    def _sizes_are_given(self) -> "Own":
        taken = sorted({"features", "channels", "pixels"} & self.options.keys())
        if taken:
            raise ValueError(f"options: {', '.join(taken)} follows from inputs; leave it out")
        return self


class OwnOnFeatures(Own):
    """A network of your own on named variables: see docs/own-model.md."""

    inputs: Literal["features"]
    features: tuple[Name, ...] = Field(min_length=1)


class OwnOnImages(Own):
    """A network of your own on jet images: see docs/own-model.md."""

    inputs: Literal["images"]
    images: Images = Images()


class OwnOnSets(Own):
    """A network of your own on the particles of a jet: see docs/own-model.md."""

    inputs: Literal["sets"]
    features: Literal["kin", "full"] = Field("kin", description="per particle, as for JetClass")
    maximum: int = Field(128, gt=0, description="particles of a jet that are kept, hardest first")


def _kind(network: Any) -> str | None:  # noqa: ANN401
    """What tells networks apart: the architecture, or what one of your own reads."""
    given = network if isinstance(network, dict) else getattr(network, "__dict__", {})
    if "factory" in given and "architecture" not in given:
        return f"own network on {given.get('inputs')}"
    return str(given["architecture"]) if "architecture" in given else None


Model = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Cnn, Tag("cnn")]
    | Annotated[ParticleTransformer, Tag("particle_transformer")]
    | Annotated[OwnOnFeatures, Tag("own network on features")]
    | Annotated[OwnOnImages, Tag("own network on images")]
    | Annotated[OwnOnSets, Tag("own network on sets")],
    Discriminator(
        _kind,
        custom_error_type="no_such_network",
        custom_error_message="give architecture: mlp, cnn or particle_transformer; or factory and "
        "inputs: features, images or sets",
    ),
]
Inputs = Literal["features", "images", "sets"]


def inputs_of(model: Model) -> Inputs:
    """What a network reads: named variables, jet images, or sets of particles."""
    if isinstance(model, Own):
        return model.inputs
    if isinstance(model, Mlp):
        return "features"
    return "images" if isinstance(model, Cnn) else "sets"
