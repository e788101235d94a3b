"""What studies vary in a model: heads, frozen circuits, initial weights, optimisers, dropout, normalisation."""

from pathlib import Path

import pytest
import torch

from sqdr.errors import ConfigError, ExportError
from sqdr.strict import parse
from sqdr.train.batches import CodedImages
from sqdr.train.config import TrainConfig, resolve_model
from sqdr.train.encoder.initialisation import wake_layers
from sqdr.train.encoder.weight_init import DRAW, initialise_weights
from sqdr.train.head.classical import classical_head, hidden_size, n_quantum_parameters
from sqdr.train.initial_model import build_model
from sqdr.train.joint import HeadVariant, JointModel, float_spikes, n_trained_parameters
from sqdr.train.loop import load_data, run_training
from sqdr.train.optimiser import OPTIMISERS, optimiser_and_schedule
from sqdr.train.run_folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore")


def config(tiny: dict, **sections: dict) -> TrainConfig:
    merged = {name: value | sections.get(name, {}) for name, value in tiny.items()}
    return parse(TrainConfig, merged, "test")


def model_of(chosen: TrainConfig, seed: int = 0) -> JointModel:
    torch.manual_seed(seed)
    return build_model(chosen, resolve_model(chosen, load_data(chosen)))


@pytest.fixture(scope="module")
def features(tiny_config: dict) -> torch.Tensor:
    """Feature spikes (64, 4, 5)."""
    chosen = config(tiny_config)
    model = model_of(chosen)
    spikes, _ = CodedImages(load_data(chosen).train[:64], chosen.coding)[torch.arange(64)]
    wake_layers(model.encoder, float_spikes(spikes), 0.3)
    with torch.no_grad():
        found = model.encoder(float_spikes(spikes))
    assert found.sum() > 100
    return found


@pytest.mark.parametrize("kind", ["mlp", "fourier"])
@pytest.mark.parametrize("head", [{}, {"n_qubits": 9}, {"n_qubits": 12, "n_blocks": 6}, {"features_per_qubit": 3}])
def test_classical_heads_have_the_quantum_heads_parameters(tiny_config: dict, kind: str, head: dict) -> None:
    chosen = config(tiny_config, head=head)
    spec = resolve_model(chosen, load_data(chosen)).head
    # the nearest whole number of hidden units, each with F inputs, a bias and K outputs
    unit = spec.n_features + 1 + spec.n_classes
    assert abs(n_trained_parameters(classical_head(kind, spec)) - n_quantum_parameters(spec)) <= unit / 2
    assert n_quantum_parameters(spec) == n_trained_parameters(model_of(chosen).head)
    assert hidden_size(spec) >= 1


def test_encoder_starts_equal_whatever_the_head(tiny_config: dict) -> None:
    states = [
        model_of(config(tiny_config, head={"kind": k})).encoder.state_dict() for k in ("quantum", "linear", "mlp")
    ]
    assert len(states[0]) > 4
    for state in states[1:]:
        assert all(torch.equal(state[name], value) for name, value in states[0].items())


def test_frozen_circuit_keeps_its_weights_and_exports(tiny_config: dict, tmp_path: Path) -> None:
    from sqdr.export.api import export

    chosen = config(tiny_config, head={"is_circuit_frozen": True}, training={"seed": 3})
    summary = run_training(chosen, tmp_path / "run")
    trained = RunFolder(tmp_path / "run").load_model()
    start = model_of(chosen, seed=3)
    assert torch.equal(trained.quantum_head.weights, start.quantum_head.weights)
    assert not torch.equal(trained.quantum_head.readout.weight, start.quantum_head.readout.weight)
    assert summary.n_parameters == n_trained_parameters(start)
    export(tmp_path / "run", tmp_path / "bundle", against=("slayer", "integer"))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "linear"}, "`head.kind` must be quantum to be exported, got linear"),
        ({"rate_normalisation": "sample"}, "`head.rate_normalisation` must be none to be exported"),
    ],
)
def test_export_refuses_what_is_not_deployed(tiny_config: dict, tmp_path: Path, head: dict, message: str) -> None:
    from sqdr.export.api import export

    chosen = config(tiny_config, head=head, training={"n_epochs": 1})
    summary = run_training(chosen, tmp_path / "run")
    assert RunFolder(tmp_path / "run").load_model().variant == chosen.head.variant
    assert summary.n_parameters > 0
    with pytest.raises(ExportError, match=message):
        export(tmp_path / "run", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_normalised_rates_forget_an_even_loss(tiny_config: dict, features: torch.Tensor) -> None:
    for kind in ("quantum", "linear"):
        model = model_of(config(tiny_config, head={"kind": kind, "rate_normalisation": "sample"})).eval()
        plain = model_of(config(tiny_config, head={"kind": kind})).eval()
        with torch.no_grad():
            # float32 rounds the quotient
            torch.testing.assert_close(model.classify(features), model.classify(features * 0.5), atol=1e-5, rtol=0)
            assert (plain.classify(features) - plain.classify(features * 0.5)).abs().max() > 1e-2
            assert torch.isfinite(model.classify(torch.zeros_like(features))).all()


def test_spikes_drop_out_in_training_alone(tiny_config: dict, features: torch.Tensor) -> None:
    model = model_of(config(tiny_config, training={"spike_dropout": 0.5}))
    model.encoder.forward = lambda spikes: features  # type: ignore[method-assign]
    seen = []
    model.classify = lambda spikes: seen.append(spikes) or spikes  # type: ignore[method-assign,func-returns-value]
    model.train()(features)
    model.eval()(features)
    assert torch.equal(seen[1], features)
    assert bool((seen[0] <= features).all())
    kept = seen[0].sum() / features.sum()
    # five standard deviations of a binomial over all spikes
    assert abs(float(kept) - 0.5) < 5 * 0.5 / float(features.sum()) ** 0.5


@pytest.mark.parametrize("name", sorted(DRAW))
@pytest.mark.parametrize("is_weight_normalised", [True, False])
def test_drawn_weights_are_what_the_layers_use(tiny_config: dict, name: str, is_weight_normalised: bool) -> None:
    chosen = config(tiny_config, encoder={"is_weight_normalised": is_weight_normalised})
    encoder = model_of(chosen).encoder
    before = [layer.synapse.weight.clone() for layer in encoder.layers()]
    torch.manual_seed(5)
    initialise_weights(encoder, name)
    torch.manual_seed(5)
    with torch.no_grad():
        for layer, old in zip(encoder.layers(), before, strict=True):
            expected = DRAW[name](torch.empty_like(old)) * chosen.encoder.weight_scale
            synapse = layer.synapse
            used = synapse.weight
            if is_weight_normalised:
                length = synapse.weight_v.flatten(1).norm(dim=1).reshape(synapse.weight_g.shape)
                used = synapse.weight_v * synapse.weight_g / length
            torch.testing.assert_close(used, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_every_optimiser_moves_both_halves(tiny_config: dict, name: str) -> None:
    chosen = config(tiny_config, training={"optimiser": name})
    model = model_of(chosen)
    optimiser, _ = optimiser_and_schedule(model, chosen.training, 10)
    assert [group["lr"] for group in optimiser.param_groups] == [0.05, 0.06]
    before = [p.clone() for p in model.head.parameters() if p.requires_grad]
    sum(p.sum() for p in model.parameters() if p.requires_grad).backward()
    optimiser.step()
    after = [p for p in model.head.parameters() if p.requires_grad]
    assert before
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_limit_cuts_the_training_part_alone(tiny_config: dict) -> None:
    whole, cut = load_data(config(tiny_config)), load_data(config(tiny_config, data={"limit": 50}))
    assert cut.train.sample_ids == whole.train.sample_ids[:50]
    assert (len(cut.validation), len(cut.test)) == (len(whole.validation), len(whole.test))
    with pytest.raises(ConfigError, match="`limit` must be at most the"):
        load_data(config(tiny_config, data={"limit": 100_000}))


def test_noise_of_a_classical_head_is_refused(tiny_config: dict) -> None:
    with pytest.raises(ConfigError, match="`noise` is of a circuit, which a linear head has not"):
        config(tiny_config, head={"kind": "linear"}, training={"noise": "local_dm"})
    variant = HeadVariant(kind="linear")
    chosen = config(tiny_config)
    model = JointModel(resolve_model(chosen, load_data(chosen)), variant=variant)
    with pytest.raises(ConfigError, match="this needs a quantum head, and the model has a linear one"):
        _ = model.quantum_head
