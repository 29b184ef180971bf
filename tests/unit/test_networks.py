"""The published networks are what their authors describe: counts, shapes, and passes written out in numpy.

The passes below know nothing of torch: loops over filters, np.convolve, matrix products in float64.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pytest
import torch
from torch import nn

from engine.draw import Network
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.models.astronn import LABELS, AstroNN, AstroNNHyper, astronn_labels, build_astronn
from engine.models.astronn_dist import AstroNNDist, AstroNNDistHyper, build_astronn_dist
from engine.models.astronn_pixels import PIXELS, continuum_pixels, element_pixels
from engine.models.keras import ChannelsLast
from engine.types import Doubles

ELEMENT_PIXELS = {
    "c": 3806,
    "c_1": 557,
    "n": 3776,
    "o": 505,
    "na": 13,
    "mg": 106,
    "al": 51,
    "si": 102,
    "p": 24,
    "s": 8,
    "k": 16,
    "ca": 19,
    "ti": 31,
    "ti_2": 28,
    "v": 29,
    "cr": 46,
    "mn": 70,
    "co": 24,
    "ni": 206,
}
# Weights and biases, layer by layer.
Layers: TypeAlias = Iterator[tuple[Doubles, Doubles]]
CNNS = ("rave_cnn_2019", "rave_cnn_2020", "lithium_cnn", "rvs_hybrid")


def built(name: str, outputs: int | None = None, **hyper: object) -> Network:
    torch.manual_seed(2)
    model = MODELS[name]
    settings = model.hyper.model_copy(update=hyper)
    return model.build(settings, model.inputs, outputs or len(model.labels)).eval()


# Numbers that the authors print, or that follow from their code.


@pytest.mark.parametrize(
    ("name", "outputs", "hyper", "expected"),
    [
        ("rave_cnn_2019", 4, {}, 44_226),
        ("rave_cnn_2020", 9, {}, 58_549),
        ("lithium_cnn", 4, {}, 448_134),
        ("lithium_cnn", 5, {}, 448_167),
        ("astronn", 22, {"hidden": (192, 96)}, 3_505_554),
        ("astronn", 22, {"hidden": (192, 64)}, 3_499_122),
        ("astronn", 22, {"hidden": (256, 96)}, 3_992_530),
        ("astronn_dist", 1, {"hidden": (192, 64)}, 1_455_064),
        ("astronn_dist", 1, {"hidden": (164, 64)}, 1_242_908),
        ("astronn_dist", 1, {"hidden": (162, 64)}, 1_227_754),
    ],
)
def test_the_published_numbers_of_parameters(
    name: str, outputs: int, hyper: dict[str, object], expected: int
) -> None:
    network = built(name, outputs, **hyper)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_astronn_without_some_elements_is_astronn_without_their_heads() -> None:
    """Teff, logg, [Fe/H] and the heads that stay are what they were, to the last bit."""
    hyper = AstroNNHyper(hidden=(16, 8), elements=("mg", "ti"))
    assert astronn_labels(hyper) == ("teff", "logg", "mg_h", "ti_h", "fe_h")
    whole, part = built("astronn", hidden=(16, 8)), build_astronn(hyper, PIXELS, 5).eval()
    part.load_state_dict(
        {name: whole.state_dict()[name] for name in part.state_dict() if name != "sees_EP"}
        | {"sees_EP": part.state_dict()["sees_EP"]}
    )
    x_NI = torch.randn(3, PIXELS, generator=torch.Generator().manual_seed(2))
    columns = [LABELS.index(name) for name in astronn_labels(hyper)]
    assert torch.equal(part(x_NI).value_NL, whole(x_NI).value_NL[:, columns])


@pytest.mark.parametrize("elements", [(), ("mg", "fe"), ("ti", "mg"), ("mg", "mg"), ("xx",)])
def test_elements_that_astronn_cannot_have(elements: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="elements"):
        AstroNNHyper(elements=elements)


@pytest.mark.parametrize(
    ("name", "kinds", "expected"),
    [
        ("rave_cnn_2019", nn.Conv1d, [(8, 704), (4, 685), (2, 666)]),
        ("rave_cnn_2020", nn.Conv1d, [(8, 903), (4, 894), (2, 885)]),
        ("lithium_cnn", nn.Conv1d, [(8, 6852), (6, 3412), (4, 1697)]),
        ("lithium_cnn", nn.MaxPool1d, [(8, 3426), (6, 1706)]),
    ],
)
def test_the_published_shapes_between_layers(
    name: str, kinds: type[nn.Module], expected: list[tuple[int, int]]
) -> None:
    network, seen = built(name), []
    for layer in network.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _layer, _given, value: seen.append(tuple(value.shape[1:])))
    network(torch.zeros(1, MODELS[name].inputs))
    assert seen == expected


def test_the_widths_of_astronns_layers() -> None:
    network = built("astronn")
    assert isinstance(network, AstroNN)
    assert network.trunk.dense1.in_features == 1878 * 4 == 7512
    for name, head in network.heads.items():
        first, second = (256, 64) if name in ("c", "n") else (32, 16)
        layers = (head.dense1, head.dense2, head.out)
        shapes = [(layer.in_features, layer.out_features) for layer in layers]
        assert shapes == [(ELEMENT_PIXELS[name], first), (first, second), (second + 5, 2)]


def test_which_pixels_astronn_looks_at() -> None:
    counts = {name: int(sees_P.sum()) for name, sees_P in element_pixels().items()}
    assert list(counts.items()) == list(ELEMENT_PIXELS.items())
    chips = np.split(continuum_pixels(), [3028, 3028 + 2495])
    assert [(len(chip), int(chip.sum())) for chip in chips] == [(3028, 192), (2495, 138), (1991, 202)]


def test_grids_and_labels_are_those_of_the_papers() -> None:
    pixels = {name: MODELS[name].input.pixels for name in (*CNNS, "astronn")}
    assert pixels == {
        "rave_cnn_2019": 723,
        "rave_cnn_2020": 912,
        "lithium_cnn": 6861,
        "rvs_hybrid": 800,
        "astronn": 7514,
    }
    assert MODELS["lithium_cnn"].labels == ("teff", "logg", "fe_h", "a_li")
    assert MODELS["rave_cnn_2019"].labels == ("teff", "logg", "m_h", "alpha_fe")
    assert " ".join(MODELS["rave_cnn_2020"].labels) == "teff logg m_h fe_h alpha_m si_fe al_fe mg_fe ni_fe"
    # Iron, which the trunk gives, stands before cobalt.
    elements = " ".join(name.removesuffix("_h") for name in LABELS)
    assert elements == "teff logg c c_1 n o na mg al si p s k ca ti ti_2 v cr mn fe co ni"
    assert all(name.endswith("_h") for name in LABELS[2:])


# What Keras does otherwise than PyTorch.


@pytest.mark.parametrize("name", CNNS)
def test_leaky_relus_leak_as_in_keras(name: str) -> None:
    slopes = [layer.negative_slope for layer in built(name).modules() if isinstance(layer, nn.LeakyReLU)]
    assert slopes
    assert set(slopes) == {0.3}


def test_filters_of_a_pixel_follow_one_another_when_flattened() -> None:
    value_NCP = torch.arange(12.0).reshape(1, 2, 6)
    assert ChannelsLast()(value_NCP).tolist() == [[0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]]


@pytest.mark.parametrize("name", CNNS)
def test_initial_weights_of_the_cnns_are_kerass(name: str) -> None:
    for key, value in built(name).named_parameters():
        if key.endswith("bias"):
            assert not value.any()
            continue
        field = value[0, 0].numel() if value.ndim == 3 else 1
        bound = np.sqrt(6 / (field * (value.shape[0] + value.shape[1])))
        assert value.abs().max() <= bound
        if value.numel() > 2000:
            assert value.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.05)
            assert abs(value.mean()) < 0.05 * bound


@pytest.mark.parametrize("name", ["astronn", "astronn_dist"])
def test_initial_weights_of_astronn_are_normal(name: str) -> None:
    network = built(name)
    biases = [value for key, value in network.named_parameters() if key.endswith("bias")]
    weights = [value for key, value in network.named_parameters() if key.endswith("weight")]
    assert not any(value.any() for value in biases)
    assert all(abs(v.std().item() - 0.05) < 0.25 / np.sqrt(v.numel()) for v in weights)
    assert torch.cat([v.flatten() for v in weights]).mean().abs() < 1e-4
    assert max(v.abs().max().item() for v in weights) > 0.2


# Passes in numpy.


def random_weights(network: Network) -> None:
    """Weights and biases so that numbers stay of the order of one, and no ReLU is idle."""
    for parameter in network.parameters():
        width = parameter[0].numel() if parameter.ndim > 1 else 25
        nn.init.normal_(parameter, std=width**-0.5)


def compared(architecture: Architecture, network: Network) -> tuple[Doubles, Layers]:
    """Three stars, and the network's weights and biases in the order of its layers."""
    random_weights(network)
    x_NI = np.random.default_rng(3).normal(size=(3, architecture.inputs)).astype(np.float32)
    arrays = [parameter.detach().double().numpy() for parameter in network.parameters()]
    return x_NI.astype(float), zip(arrays[::2], arrays[1::2], strict=True)


def convolved(x_CP: Doubles, weight_OCK: Doubles, bias_O: Doubles) -> Doubles:
    """A convolution as networks have it (a correlation), of the pixels that filters fit into."""
    rows = []
    for weight_CK, bias in zip(weight_OCK, bias_O, strict=True):
        parts = [np.convolve(x_P, w_K[::-1], "valid") for x_P, w_K in zip(x_CP, weight_CK, strict=True)]
        rows.append(np.sum(parts, axis=0) + bias)
    return np.array(rows)


def same(x_CP: Doubles, weight_OCK: Doubles, bias_O: Doubles) -> Doubles:
    """Keras' "same" for a kernel of 8: three zeros before, four after."""
    return convolved(np.pad(x_CP, ((0, 0), (3, 4))), weight_OCK, bias_O)


def dense(x: Doubles, weight: Doubles, bias: Doubles) -> Doubles:
    return weight @ x + bias


def leaky(x: Doubles) -> Doubles:
    return np.where(x > 0, x, 0.3 * x)


def relu(x: Doubles) -> Doubles:
    return np.maximum(x, 0)


def pooled(x_CP: Doubles, size: int) -> Doubles:
    whole = x_CP.shape[1] // size
    return np.array([[x_P[i * size : (i + 1) * size].max() for i in range(whole)] for x_P in x_CP])


def flat(x_CP: Doubles) -> Doubles:
    """Pixel by pixel, the filters of each one after another."""
    return np.array([x for pixel_C in x_CP.T for x in pixel_C])


def outputs_of(network: Network, x_NI: Doubles) -> tuple[Doubles, Doubles | None]:
    with torch.inference_mode():
        output = network(torch.from_numpy(x_NI.astype(np.float32)))
    log_variance_NL = output.log_variance_NL
    return output.value_NL.numpy(), None if log_variance_NL is None else log_variance_NL.numpy()


def agree(found: Doubles, expected: Doubles) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert np.abs(expected).max() > 0.05


def test_rave_2019_in_numpy() -> None:
    network = built("rave_cnn_2019")
    x_NI, pairs = compared(MODELS["rave_cnn_2019"], network)
    c1, c2, c3, d1, d2, d3 = pairs
    expected = []
    for x_P in x_NI:
        value = leaky(convolved(leaky(convolved(leaky(convolved(x_P[None], *c1)), *c2)), *c3))
        expected.append(dense(leaky(dense(leaky(dense(flat(value), *d1)), *d2)), *d3))
    agree(outputs_of(network, x_NI)[0], np.array(expected))


def test_rave_2020_in_numpy() -> None:
    network = built("rave_cnn_2020")
    x_NI, pairs = compared(MODELS["rave_cnn_2020"], network)
    c1, c2, c3, spectrum, photometry, joined, last = pairs
    expected = []
    for x_I in x_NI:
        x_P, beside_E = x_I[:912], x_I[912:]
        value = leaky(convolved(leaky(convolved(leaky(convolved(x_P[None], *c1)), *c2)), *c3))
        branches = [leaky(dense(flat(value), *spectrum)), leaky(dense(beside_E, *photometry))]
        expected.append(dense(leaky(dense(np.concatenate(branches), *joined)), *last))
    agree(outputs_of(network, x_NI)[0], np.array(expected))


def test_lithium_in_numpy() -> None:
    network = built("lithium_cnn")
    x_NI, pairs = compared(MODELS["lithium_cnn"], network)
    c1, c2, c3, d1, d2, d3, d4 = pairs
    expected = []
    for x_P in x_NI:
        value = pooled(leaky(convolved(x_P[None], *c1)), 2)
        value = pooled(leaky(convolved(value, *c2)), 2)
        value = flat(leaky(convolved(value, *c3)))
        expected.append(dense(leaky(dense(leaky(dense(leaky(dense(value, *d1)), *d2)), *d3)), *d4))
    agree(outputs_of(network, x_NI)[0], np.array(expected))


def trunk(x_P: Doubles, pairs: Layers) -> Doubles:
    """AstroNN's trunk with its five layers, all outputs of one star."""
    c1, c2, d1, d2, last = (next(pairs) for _ in range(5))
    value = pooled(relu(same(relu(same(x_P[None], *c1)), *c2)), 4)
    return dense(relu(dense(relu(dense(flat(value), *d1)), *d2)), *last)


def test_astronn_in_numpy() -> None:
    network = built("astronn")
    x_NI, pairs = compared(MODELS["astronn"], network)
    weights = list(pairs)
    value_NL, log_variance_NL = [], []
    for x_P in x_NI:
        rest = iter(weights)
        outputs = trunk(x_P, rest)
        found = {"teff": outputs[[0, 3]], "logg": outputs[[1, 4]], "fe": outputs[[2, 5]]}
        for element in ELEMENT_PIXELS:
            first, second, last = next(rest), next(rest), next(rest)
            own = relu(dense(relu(dense(x_P[element_pixels()[element]], *first)), *second))
            found[element] = dense(np.concatenate([own, outputs[6:8], outputs[:3]]), *last)
        ordered = [found[name.removesuffix("_h")] for name in LABELS]
        value_NL.append([pair[0] for pair in ordered])
        log_variance_NL.append([pair[1] for pair in ordered])
    for ours, expected in zip(outputs_of(network, x_NI), (value_NL, log_variance_NL), strict=True):
        assert ours is not None
        agree(ours, np.array(expected))


def test_astronn_dist_in_numpy() -> None:
    network = built("astronn_dist")
    x_NI, pairs = compared(MODELS["astronn_dist"], network)
    weights = list(pairs)
    outputs = np.array([trunk(x_P, iter(weights)) for x_P in x_NI])
    value_NL, log_variance_NL = outputs_of(network, x_NI)
    agree(value_NL, np.log1p(np.exp(outputs[:, :1])))
    assert log_variance_NL is not None
    agree(log_variance_NL, outputs[:, 1:])


# What teaches what.


def test_elements_do_not_teach_teff_logg_and_iron() -> None:
    network = built("astronn").train()
    assert isinstance(network, AstroNN)
    output = network(torch.randn(4, PIXELS))
    elements = [i for i, name in enumerate(LABELS) if name not in ("teff", "logg", "fe_h")]
    (output.value_NL[:, elements].sum() + output.log_variance_NL[:, elements].sum()).backward()
    gradient = network.trunk.head.weight.grad
    assert gradient is not None
    # The trunk gives Teff, logg, [Fe/H], their log-variances, and two numbers for the elements.
    assert not gradient[:6].any()
    assert gradient[6:].abs().sum(dim=1).min() > 0


def test_teff_logg_and_iron_teach_no_head_of_an_element() -> None:
    network = built("astronn")
    assert isinstance(network, AstroNN)
    output = network(torch.randn(4, PIXELS))
    own = [LABELS.index(name) for name in ("teff", "logg", "fe_h")]
    (output.value_NL[:, own].sum() + output.log_variance_NL[:, own].sum()).backward()
    assert not any(bool(parameter.grad.any()) for parameter in network.heads.parameters())
    assert network.trunk.head.weight.grad is not None
    assert network.trunk.head.weight.grad[:6].abs().sum(dim=1).min() > 0


def test_two_outputs_of_astronns_trunk_stay_within_their_norm() -> None:
    """Keras' MaxNorm: weights of a unit are scaled to the norm where they exceed it, else left alone."""
    network = built("astronn")
    assert isinstance(network, AstroNN)
    weight = network.trunk.head.weight
    with torch.no_grad():
        weight[-2] *= 3 / weight[-2].norm()
        weight[-1] *= 0.4 / weight[-1].norm()
    before = weight.detach().clone()
    network.constrain()
    assert torch.allclose(weight[-2], before[-2] * 0.5 / 3, rtol=1e-6)
    assert torch.equal(weight[:-2], before[:-2]) and torch.equal(weight[-1], before[-1])


def test_the_distance_networks_pseudo_luminosity_is_above_0() -> None:
    network = built("astronn_dist")
    assert isinstance(network, AstroNNDist)
    nn.init.constant_(network.trunk.head.bias, -20.0)
    assert (network(torch.randn(8, PIXELS)).value_NL > 0).all()


def test_a_network_with_outputs_of_its_own_refuses_others() -> None:
    with pytest.raises(ValueError, match="22 labels, not 21"):
        build_astronn(AstroNNHyper(), PIXELS, 21)
    with pytest.raises(ValueError, match="alone, not 2"):
        build_astronn_dist(AstroNNDistHyper(), PIXELS, 2)
