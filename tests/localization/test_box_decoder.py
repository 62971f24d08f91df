import numpy as np
import torch

from headstart.localization.box_decoder import BoxDecoder, stopped_confidences


def test_steps_are_those_of_an_lstm_cell_on_the_same_map():
    torch.manual_seed(0)
    decoder = BoxDecoder((6, 3, 2), steps=4, channels=5, hidden=7, dropout=0.5).eval()
    maps = torch.randn(2, 6, 3, 2)
    positions, logits = decoder(maps)
    assert positions.shape == (2, 4, 4)
    assert logits.shape == (2, 4)
    cell = torch.nn.LSTMCell(7, 7)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in decoder.lstm.state_dict().items()})
    reduced, state = decoder.reduce(maps), None
    for step in range(4):
        state = cell(reduced, state)
        torch.testing.assert_close(positions[:, step], decoder.position(state[0]))
        torch.testing.assert_close(logits[:, step], decoder.confidence(state[0])[:, 0])


def test_where_an_object_is_in_the_map_reaches_the_box():
    decoder = BoxDecoder((4, 3, 3), steps=1, channels=8, hidden=7, dropout=0.0).eval()
    maps = torch.rand(1, 4, 3, 3)
    assert not torch.allclose(decoder(maps).positions, decoder(maps.flip(3)).positions)


def test_what_comes_after_the_stop_symbol_is_not_emitted():
    confidences = torch.tensor([[0.9, 0.8, 0.3, 0.7], [0.2, 0.9, 0.9, 0.1]])
    scores = stopped_confidences(torch.logit(confidences)).numpy()
    for threshold in (0.1, 0.25, 0.5, 0.75, 0.95):
        for own, emitted in zip(confidences.numpy(), scores >= threshold - 1e-6, strict=True):
            stops = np.append(np.flatnonzero(own < threshold - 1e-6), len(own))
            np.testing.assert_array_equal(emitted, np.arange(len(own)) < stops[0])
