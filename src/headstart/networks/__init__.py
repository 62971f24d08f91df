"""The classification networks of four papers, one paper's network per file.

A network takes normalized float images [B, 3, H, W] and returns logits [B, num_classes]. The files
import nothing but torch and `conv_blocks`, so each can be copied and used elsewhere.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from headstart.networks.attention_inception import AttentionInception
from headstart.networks.inception_resnet import InceptionResNet
from headstart.networks.mini_inception import MiniInception
from headstart.networks.modified_resnet import ModifiedResNet
from headstart.networks.resnet_lstm import ResNetLSTM
from headstart.networks.vgg import VGG

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mini_inception": MiniInception,
    "no_attention": partial(AttentionInception, attention=False, last_reduction=False),
    "attention_simple": partial(AttentionInception, last_reduction=False),
    "attention_reduction": AttentionInception,
    "no_attention_extra": partial(
        AttentionInception, attention=False, last_reduction=False, classifier_hidden=512
    ),
    "modified_resnet10": partial(ModifiedResNet, n=1),
    "modified_resnet18": ModifiedResNet,
    "inception_resnet": InceptionResNet,
    "vgg16": VGG,
    "vgg19": partial(VGG, layers=19),
    "resnet_lstm": ResNetLSTM,
}
"""Constructors by name: (num_classes, dropout=the paper's rate) -> network."""
