"""The same training step and the same inference in PyTorch, written as its users would.

The modules are those that the parity tests compare with, made of torchvision's blocks. Settings are
PyTorch's recommended ones: channels_last, no gradients for the teacher, on GPUs automatic mixed
precision with bfloat16 and TF32, cuDNN's autotuner, and ``torch.compile`` if asked for. Like ours
the teacher runs over normal images and over the synthesised ones only.
"""

import torch
from torch.nn import functional

from dtsnet_jax.model.backbones import BACKBONES
from tests.parity.reference import Student, distillation_loss, resnet_features, torch_resnet

NOISE_SCALE, TEMPERATURE = 0.1, 0.5


def perturb(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Eqs. 3–6 for one level, (b, c, h, w)."""
    saliency = teacher.float().abs().mean(dim=1, keepdim=True)
    attention = functional.softmax(saliency.flatten(1) / TEMPERATURE, dim=1) * saliency[0].numel()
    deviation = student.float().std(dim=1, keepdim=True)
    noise = torch.randn_like(student) * (NOISE_SCALE * deviation * attention.view_as(saliency))
    return student + noise.to(student.dtype)


class Rival:
    """Teacher, student and optimiser on one device."""

    def __init__(self, name: str, *, device: str, precision: str, compiled: bool):
        """Builds random weights; speed does not depend on them.

        Args:
          name: a ResNet of ``BACKBONES``.
          device: 'cpu' or 'cuda'.
          precision: 'float32' or 'bfloat16', the latter by autocast.
          compiled: whether forward passes go through ``torch.compile``.
        """
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
        self.device, self.precision = device, precision
        backbone = BACKBONES[name]
        shape = (1, 3, 1, 1)
        self.mean = torch.tensor(backbone.mean, device=device).view(shape)
        self.std = torch.tensor(backbone.std, device=device).view(shape)

        def on_device(module: torch.nn.Module) -> torch.nn.Module:
            return module.to(device, memory_format=torch.channels_last)

        self.teacher = on_device(torch_resnet(name).eval().requires_grad_(False))
        self.student = on_device(Student(name, "mff"))
        reconstruction = list(self.student.reconstruction.parameters())
        others = [*self.student.bottleneck.parameters(), *self.student.decoder.parameters()]
        self.optimizer = torch.optim.Adam(
            [{"params": others, "lr": 0.005}, {"params": reconstruction, "lr": 0.001}],
            betas=(0.5, 0.999),
            fused=True,
        )
        wrap = torch.compile if compiled else lambda function: function
        self._features, self._loss, self._maps = map(wrap, (self._features, self._loss, self._maps))

    def _features(self, images: torch.Tensor) -> list[torch.Tensor]:
        images = images.to(self.device).permute(0, 3, 1, 2)  # NHWC bytes: channels_last already
        return resnet_features(self.teacher, (images / 255.0 - self.mean) / self.std)

    def _loss(self, normal: list[torch.Tensor], anomalous: list[torch.Tensor]) -> torch.Tensor:
        features = self.student.decoder(self.student.bottleneck(anomalous))
        features = [perturb(f, t) for f, t in zip(features, anomalous, strict=True)]
        reconstructed = self.student.reconstruction(features)
        return distillation_loss([f.float() for f in normal], [f.float() for f in reconstructed])

    def _maps(self, images: torch.Tensor) -> torch.Tensor:
        features = self._features(images)
        reconstructed = self.student(features)
        size = images.shape[1:3]
        return sum(
            functional.interpolate(
                1 - functional.cosine_similarity(a.float(), b.float())[:, None],
                size,
                mode="bilinear",
                align_corners=True,
            )
            for a, b in zip(features, reconstructed, strict=True)
        )

    def _autocast(self):
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")

    def train_step(self, normal: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
        """One step; returns the loss without waiting for it.

        Args:
          normal: (b, size, size, 3) uint8.
          synthetic: (b / 2, size, size, 3) uint8, in place of every other normal image.
        """
        self.student.train()
        with self._autocast():
            with torch.no_grad():
                of_normal, of_synthetic = self._features(normal), self._features(synthetic)
                anomalous = [f.clone() for f in of_normal]
                for every_image, changed in zip(anomalous, of_synthetic, strict=True):
                    every_image[1::2] = changed
            loss = self._loss(of_normal, anomalous)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def score(self, images: torch.Tensor) -> torch.Tensor:
        """Score maps without smoothing, (b, 1, size, size), of (b, size, size, 3) uint8."""
        self.student.eval()
        with self._autocast():
            return self._maps(images)
