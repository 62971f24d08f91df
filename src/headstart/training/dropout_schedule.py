"""Dropout whose rate changes while a network trains.

Edirisooriya (section 5.4) found "larger improvements" by it, without saying how he changed it. A
linear change to zero is annealed dropout (Rennie et al. 2014).
"""

from torch import nn

from headstart.config import Recipe
from headstart.core.errors import UserError


def check_dropout(network: nn.Module, recipe: Recipe) -> None:
    """Checks that the network has dropout layers if the recipe changes their rate.

    Raises:
        UserError: it has none.
    """
    if recipe.dropout and not any(isinstance(m, nn.Dropout) for m in network.modules()):
        raise UserError(
            f"the recipe's dropout: {type(network).__name__} has no dropout layer that it could "
            f"change; leave the key out"
        )


def set_dropout(network: nn.Module, recipe: Recipe, epoch: int) -> None:
    """Sets the rate of all dropout layers for an epoch, counted from 0, if the recipe says so."""
    if recipe.dropout:
        first, last = recipe.dropout
        progress = epoch / max(1, recipe.epochs - 1)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = first + progress * (last - first)
