import copy

import pytest
import torch
from torch.nn.functional import gelu

from hepml.models import row_layers
from hepml.models.pairs import PairEmbedding


def layer_by_layer(embedding, x):
    x = embedding.input_norm(x)
    for linear, norm in zip(embedding.linears, embedding.norms, strict=True):
        x = gelu(norm(linear(x)))
    return x


@pytest.fixture
def embedding(monkeypatch):
    monkeypatch.setattr(row_layers, "_ROWS", 50)  # several chunks, the last one shorter
    torch.manual_seed(4)
    made = PairEmbedding((12, 12, 6), 5, "published").double()
    for parameter in made.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    return made


def test_training_chunk_by_chunk_is_training_layer_by_layer(embedding):
    plain = copy.deepcopy(embedding)
    x = 3 * torch.randn(173, 4, dtype=torch.double) + 7
    weight = torch.randn(173, 5, dtype=torch.double)
    got, expected = embedding.embed(x), layer_by_layer(plain, x)
    torch.testing.assert_close(got, expected)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(embedding.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    for a, b in zip(embedding.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_inference_with_norms_folded_into_layers_is_inference_layer_by_layer(embedding):
    x = torch.randn(173, 4, dtype=torch.double)
    embedding.embed(x + 5)  # moves the running moments
    embedding.eval()
    with torch.no_grad():
        torch.testing.assert_close(embedding.embed(x), layer_by_layer(embedding, x))
        assert embedding.embed(x[:0]).shape == (0, 5)
