"""The method's parts in PyTorch, put together from torchvision's own blocks."""

from importlib.metadata import version

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional

from dtsnet_jax.model.backbones import BACKBONES
from dtsnet_jax.model.layers import TransposedConvolution
from dtsnet_jax.model.residual import BottleneckBlock
from dtsnet_jax.weights.convert import to_flax_layout, torch_name


def import_torchvision():
    """Imports torchvision's models; beside a CPU build its CUDA build lacks two operators."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not (torch.version.cuda or torch.version.hip or "+cpu" in version("torchvision")):
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    return torchvision, library


torchvision, _LIBRARY = import_torchvision()


def _resnet(name: str) -> torch.nn.Module:
    """A torchvision ResNet, or one of its blocks in three stages that are no model of its own."""
    if not name.startswith("tiny"):
        return torchvision.models.get_model(name, weights=None)
    backbone = BACKBONES[name]
    width = 64 * backbone.width_factor
    model = torchvision.models.ResNet(_block(name), [1, 1, 1, 1], width_per_group=width)
    model.inplanes = 64
    model.layer1, model.layer2, model.layer3 = (
        model._make_layer(_block(name), _planes(name, channels), depth, stride)
        for channels, depth, stride in zip(
            backbone.channels, backbone.teacher_depths, (1, 2, 2), strict=True
        )
    )
    return model


def _block(name: str) -> type[torch.nn.Module]:
    deep = BACKBONES[name].block is BottleneckBlock
    return torchvision.models.resnet.Bottleneck if deep else torchvision.models.resnet.BasicBlock


def torch_resnet(name: str, seed: int = 0) -> torch.nn.Module:
    """A ResNet with random weights and random running statistics."""
    torch.manual_seed(seed)
    model = _resnet(name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return model


def state_dict(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def resnet_features(model: torch.nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    features = []
    for stage in (model.layer1, model.layer2, model.layer3):
        x = stage(x)
        features.append(x)
    return features


def _planes(name: str, channels: int) -> int:
    return channels // _block(name).expansion


def _stage_maker(name: str) -> torch.nn.Module:
    """A model without memory for weights, of which only ``_make_layer`` is used."""
    with torch.device("meta"):
        return _resnet(name)


def fourth_stage(name: str, channels_in: int) -> torch.nn.Sequential:
    model = _stage_maker(name)
    model.inplanes = channels_in
    backbone = BACKBONES[name]
    planes = _planes(name, backbone.bottleneck_channels)
    return model._make_layer(_block(name), planes, backbone.bottleneck_depth, stride=2)


def decoder_stage(name: str, channels_in: int, channels: int, depth: int) -> torch.nn.Sequential:
    """A torchvision stage whose strided convolutions are 2×2 transposed ones."""
    model = _stage_maker(name)
    model.inplanes = channels_in
    stage = model._make_layer(_block(name), _planes(name, channels), depth, stride=2)
    first = stage[0]
    strided = "conv2" if _block(name).expansion > 1 else "conv1"
    conv, projection = getattr(first, strided), first.downsample[0]
    setattr(first, strided, _transposed(conv))
    first.downsample[0] = _transposed(projection)
    return stage


def _transposed(conv: torch.nn.Conv2d) -> torch.nn.ConvTranspose2d:
    return torch.nn.ConvTranspose2d(conv.in_channels, conv.out_channels, 2, 2, bias=False)


class ConvBlock(torch.nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn = torch.nn.BatchNorm2d(channels_out)

    def forward(self, x):
        return functional.relu(self.bn(self.conv(x)))


class CoordinateAttention(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        inner = max(8, channels // 32)
        self.conv1 = torch.nn.Conv2d(channels, inner, 1)
        self.bn1 = torch.nn.BatchNorm2d(inner)
        self.conv_h = torch.nn.Conv2d(inner, channels, 1)
        self.conv_w = torch.nn.Conv2d(inner, channels, 1)

    def forward(self, x):
        height, width = x.shape[2:]
        pooled_h = functional.adaptive_avg_pool2d(x, (height, 1))
        pooled_w = functional.adaptive_avg_pool2d(x, (1, width)).permute(0, 1, 3, 2)
        y = functional.hardswish(self.bn1(self.conv1(torch.cat([pooled_h, pooled_w], dim=2))))
        y_h, y_w = torch.split(y, [height, width], dim=2)
        gate_w = self.conv_w(y_w.permute(0, 1, 3, 2)).sigmoid()
        return x * gate_w * self.conv_h(y_h).sigmoid()


class Fusion(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        c1, c2, c3 = BACKBONES[name].channels
        self.attention = torch.nn.ModuleList(map(CoordinateAttention, (c1, c2, c3)))
        self.align1a, self.align1b = ConvBlock(c1, c2, 2), ConvBlock(c2, c3, 2)
        self.align2, self.align3 = ConvBlock(c2, c3, 2), ConvBlock(c3, c3, 1)
        self.stage4 = fourth_stage(name, c3)

    def forward(self, features):
        f1, f2, f3 = (attend(f) for attend, f in zip(self.attention, features, strict=True))
        return self.stage4(self.align1b(self.align1a(f1)) + self.align2(f2) + self.align3(f3))


class PlainBottleneck(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        c1, c2, c3 = BACKBONES[name].channels
        self.align1a, self.align1b = ConvBlock(c1, c2, 2), ConvBlock(c2, c3, 2)
        self.align2 = ConvBlock(c2, c3, 2)
        self.stage4 = fourth_stage(name, 3 * c3)

    def forward(self, features):
        f1, f2, f3 = features
        return self.stage4(torch.cat([self.align1b(self.align1a(f1)), self.align2(f2), f3], dim=1))


class Decoder(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        backbone = BACKBONES[name]
        channels = (backbone.bottleneck_channels, *reversed(backbone.channels))
        self.stages = torch.nn.ModuleList(
            decoder_stage(name, *arguments)
            for arguments in zip(channels[:-1], channels[1:], backbone.decoder_depths, strict=True)
        )

    def forward(self, code):
        f3 = self.stages[0](code)
        f2 = self.stages[1](f3)
        return [self.stages[2](f2), f2, f3]


class Reconstruction(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.levels = torch.nn.ModuleList()
        for c in BACKBONES[name].channels:
            level = torch.nn.Module()
            level.conv1 = torch.nn.Conv2d(c, 2 * c, 3, 1, 1)
            level.conv2 = torch.nn.Conv2d(2 * c, c, 3, 1, 1)
            self.levels.append(level)

    def forward(self, features):
        return [
            level.conv2(functional.relu(level.conv1(f)))
            for level, f in zip(self.levels, features, strict=True)
        ]


class Student(torch.nn.Module):
    def __init__(self, name, bottleneck):
        super().__init__()
        self.bottleneck = {"mff": Fusion, "rd": PlainBottleneck}[bottleneck](name)
        self.decoder = Decoder(name)
        self.reconstruction = Reconstruction(name)

    def forward(self, features):
        return self.reconstruction(self.decoder(self.bottleneck(features)))


def distillation_loss(teacher, student):
    return sum(
        (1 - functional.cosine_similarity(a.flatten(1), b.flatten(1))).mean()
        for a, b in zip(teacher, student, strict=True)
    )


def flax_arrays(module: nnx.Module, torch_module: torch.nn.Module) -> dict[tuple, np.ndarray]:
    """The tensors of a PyTorch module by path and in layout of its Flax counterpart."""
    tensors = {k: v.detach().numpy().copy() for k, v in torch_module.state_dict().items()}
    transposed = {
        path for path, part in nnx.iter_graph(module) if isinstance(part, TransposedConvolution)
    }
    arrays = {}
    for path, variable in nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat))):
        if path[:-2] in transposed:  # (…, 'conv', 'kernel')
            w = tensors[torch_name((*path[:-2], "kernel"))]  # c_in, c_out, 2, 2
            arrays[path] = w.transpose(0, 2, 3, 1).reshape(1, 1, w.shape[0], -1)
        else:
            arrays[path] = to_flax_layout(tensors[torch_name(path)], variable.ndim)
    return arrays


def copy_weights(module: nnx.Module, torch_module: torch.nn.Module) -> None:
    """Gives a Flax module, which may be shapes only, its PyTorch counterpart's weights."""
    arrays = flax_arrays(module, torch_module)
    for path, variable in nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat))):
        assert variable.shape == arrays[path].shape, path
        variable.set_value(jnp.asarray(arrays[path]))


def nchw(x) -> torch.Tensor:
    return torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> np.ndarray:
    return x.detach().permute(0, 2, 3, 1).numpy()
