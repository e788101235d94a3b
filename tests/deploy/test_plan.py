"""Planning a run: limits, counts, exact money, mapping, ring warnings, shots against accuracy; no network."""

import builtins
import json
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqdr.deploy.plan import plan_run
from sqdr.deploy.plan.agreement import n_drawn
from sqdr.deploy.plan.cost import check_budget, estimate, n_program_sets, parse_budget
from sqdr.deploy.plan.lattice import coupled_pairs, ring_warning
from sqdr.deploy.plan.mapping import map_circuit, qiskit_gates
from sqdr.errors import BudgetError, ConfigError, DeviceError
from sqdr.hw_configs import BraketQpu, BraketSimulator, list_hardware
from sqdr.hw_configs.loader import packaged_hardware
from sqdr.money import dollars

GARNET_ARN = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
UNKNOWN_ARN = "arn:aws:braket:us-east-1::device/qpu/ionq/Forte-2"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a plan opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)


SMALL = {"shots": 10, "n_images": 5}


def garnet(**changes: Any) -> BraketQpu:
    found = packaged_hardware("braket_iqm_garnet")
    assert isinstance(found, BraketQpu)
    return found.model_copy(update=changes)


def all_to_all() -> BraketQpu:
    known = garnet()
    return garnet(lattice=None, topology=known.topology.model_copy(update={"value": "all_to_all"}))


@pytest.mark.parametrize("device", ["braket_iqm_garnet", GARNET_ARN])
def test_plan_run_gives_the_figures_worked_out_by_hand(bundle_path: Path, device: str) -> None:
    plan = plan_run(bundle_path, device, shots=100, n_images=1000)
    assert (plan.n_circuits, plan.n_tasks, plan.n_program_sets, plan.n_shots) == (1000, 1000, 10, 100_000)
    # 1,000 x 0.30 + 100,000 x 0.00145, and 10 x 0.30 + the same shots
    assert (plan.cost.tasks_usd, plan.cost.program_sets_usd) == (Decimal(445), Decimal(148))
    assert [price.as_of for price in plan.cost.prices] == ["2026-11", "2026-11"]
    assert all("aws.amazon.com/braket/pricing" in price.source for price in plan.cost.prices)
    assert (plan.queue, plan.execution_window) == ("ask the service", "ask the service")


@pytest.mark.parametrize(("n_images", "n_sets"), [(1, 1), (100, 1), (101, 2), (1001, 11)])
def test_plan_run_packs_as_few_program_sets_as_hold_the_circuits(bundle_path: Path, n_images: int, n_sets: int) -> None:
    assert plan_run(bundle_path, "braket_iqm_garnet", shots=1, n_images=n_images).n_program_sets == n_sets


def sets_of(total: int | None) -> BraketQpu:
    """Garnet with another limit for the shots of one program set."""
    sets = garnet().program_sets
    assert sets is not None and sets.max_total_shots is not None
    figure = sets.max_total_shots.model_copy(update={"value": total})
    return garnet(program_sets=sets.model_copy(update={"max_total_shots": figure}))


@given(
    st.integers(1, 5000),
    st.integers(1, 20_000),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.integers(0, 3),
)
def test_program_sets_hold_every_circuit_within_both_limits_and_are_the_fewest(
    n: int, shots: int, total: int | None, n_extra: int
) -> None:
    hardware = sets_of(total)
    most = min(100, (total or 10**9) // shots) - n_extra
    n_sets = n_program_sets(hardware, n, shots, n_extra)
    cost = estimate(hardware, n, shots, n_extra)
    assert cost.tasks_usd == (n + n_extra) * (Decimal("0.30") + shots * Decimal("0.00145"))
    if most < 1:
        assert n_sets is None and cost.program_sets_usd is None
        return
    assert n_sets is not None
    # what the fullest set holds is what the fewest sets need
    fullest = -(-n // n_sets)
    assert fullest <= most and (n_sets == 1 or -(-n // (n_sets - 1)) > most)
    n_shots = (n + n_sets * n_extra) * shots
    assert cost.program_sets_usd == n_sets * Decimal("0.30") + n_shots * Decimal("0.00145")


def test_plan_run_splits_program_sets_by_their_total_shots(bundle_path: Path) -> None:
    # 200,000 / 20,000 = 10 circuits in a set: 3 sets, and with a canary in each 9 images in a set
    plan = plan_run(bundle_path, "braket_iqm_garnet", shots=20_000, n_images=27)
    assert plan.n_program_sets == 3
    assert any("a program set holds 10 circuits of 20,000 shots" in note for note in plan.notes)
    plan = plan_run(bundle_path, "braket_iqm_garnet", shots=20_000, n_images=28, n_extra_circuits_per_task=1)
    assert (plan.n_program_sets, plan.n_tasks, plan.n_shots) == (4, 29, 640_000)  # 28 images and 4 canaries
    # 4 x 0.30 + 32 x 20,000 x 0.00145
    assert plan.cost.program_sets_usd == Decimal("929.2")


def test_plan_run_says_when_shots_are_too_many_for_any_program_set(bundle_path: Path, tmp_path: Path) -> None:
    data = sets_of(999).model_dump(mode="json")
    (tmp_path / "small_sets.yaml").write_text(json.dumps(data), encoding="utf-8")
    plan = plan_run(bundle_path, "small_sets", shots=1000, n_images=3)
    assert plan.n_program_sets is None and plan.cost.program_sets_usd is None
    assert any("one circuit of 1,000 shots is over the total shots of a set" in note for note in plan.notes)


@pytest.mark.parametrize("device", ["braket_iqm_garnet", GARNET_ARN])
def test_plan_run_takes_prices_of_a_file_of_ones_own(bundle_path: Path, tmp_path: Path, device: str) -> None:
    assert any("a file braket_iqm_garnet.yaml of your own" in n for n in plan_run(bundle_path, device, **SMALL).notes)
    data = garnet().model_dump(mode="json")
    data["prices"]["per_task_usd"] = {"value": 1, "source": "my contract", "as_of": "2026-12"}
    (tmp_path / "braket_iqm_garnet.yaml").write_text(json.dumps(data), encoding="utf-8")
    plan = plan_run(bundle_path, device, **SMALL)
    # 5 x 1 + 5 x 10 x 0.00145
    assert plan.cost.tasks_usd == Decimal("5.0725")
    assert plan.cost.prices[0].source == "my contract"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("prices.per_shot_usd", "the cost is unknown"),
        ("prices.per_task_usd", "the cost is unknown"),
        ("topology", "not mapped: topology or native gates of braket_iqm_garnet unknown"),
        ("native_gates", "not mapped: topology or native gates of braket_iqm_garnet unknown"),
        ("shots", None),
        ("program_sets.max_total_shots", None),
        ("fidelities.readout", None),
    ],
)
def test_plan_run_says_what_is_unknown(bundle_path: Path, tmp_path: Path, path: str, message: str | None) -> None:
    data = garnet().model_dump(mode="json") | ({"lattice": None} if path == "topology" else {})
    figure = data
    for key in path.split("."):
        figure = figure[key]
    figure["value"] = "unknown"
    (tmp_path / "braket_iqm_garnet.yaml").write_text(json.dumps(data), encoding="utf-8")
    plan = plan_run(bundle_path, "braket_iqm_garnet", **SMALL)
    assert message is None or any(message in note for note in plan.notes)
    is_priced = not path.startswith("prices")
    assert (plan.cost.tasks_usd is not None, plan.cost.program_sets_usd is not None) == (is_priced, is_priced)
    if not is_priced:
        assert any(price.what.startswith("unknown a ") for price in plan.cost.prices)
        with pytest.raises(ConfigError, match=r"`budget` needs a device whose prices are known"):
            plan_run(bundle_path, "braket_iqm_garnet", budget_usd=1, **SMALL)


def test_plan_run_warns_of_a_retired_device_and_needs_its_shots(bundle_path: Path) -> None:
    plan = plan_run(bundle_path, "braket_tn1", **SMALL)
    assert any("TN1 is retired" in warning for warning in plan.warnings)
    # 3 s of a minute at 0.275
    assert plan.cost.tasks_usd == 5 * Decimal("0.01375")
    with pytest.raises(DeviceError, match="braket_tn1 needs `shots` of at least 1, got 0"):
        plan_run(bundle_path, "braket_tn1", shots=0, n_images=5)


PAID = [name for name in list_hardware() if packaged_hardware(name).kind in ("braket_qpu", "braket_simulator")]


@pytest.mark.parametrize("device", PAID)
def test_plan_run_maps_and_prices_every_packaged_device(bundle_path: Path, device: str) -> None:
    pytest.importorskip("qiskit", reason="needs the plan extra")
    plan = plan_run(bundle_path, device, shots=100, n_images=5)
    assert plan.cost.tasks_usd is not None
    assert (plan.mapping is not None) is isinstance(packaged_hardware(device), BraketQpu)


@pytest.mark.parametrize(("name", "n_pairs"), [("braket_iqm_emerald", 90), ("braket_rigetti_cepheus", 193)])
def test_coupled_pairs_of_a_packaged_lattice(name: str, n_pairs: int) -> None:
    hardware = packaged_hardware(name)
    assert isinstance(hardware, BraketQpu)
    pairs = coupled_pairs(hardware)
    assert pairs is not None and len(pairs) == len(set(pairs)) == n_pairs
    # Emerald numbers from 1: QB1 has QB2 beside and QB5 below; QB54 has QB50 above and QB53 beside.
    if name == "braket_iqm_emerald":
        assert {(0, 1), (0, 4), (49, 53), (52, 53), (22, 23)} <= set(pairs)


def test_plan_run_bills_sv1_its_minimum_and_says_so(bundle_path: Path) -> None:
    plan = plan_run(bundle_path, "braket_sv1", shots=0, n_images=1000)
    # 3 s of a minute at 0.075
    assert plan.cost.tasks_usd == Decimal("3.75")
    assert plan.cost.is_minimum and any("costs more" in note for note in plan.notes)
    assert plan.n_program_sets is None and plan.mapping is None


@pytest.mark.parametrize("device", ["local:sv", "local:braket-sv", "braket_local_dm", "pennylane:default.qubit"])
def test_plan_run_costs_nothing_here(bundle_path: Path, device: str) -> None:
    assert plan_run(bundle_path, device, shots=100, n_images=5, budget_usd=0).cost.tasks_usd == 0


def test_plan_run_knows_no_cost_of_a_device_without_a_file(bundle_path: Path) -> None:
    plan = plan_run(bundle_path, UNKNOWN_ARN, shots=10, n_images=5)
    assert plan.cost.tasks_usd is None and any("cost is unknown" in note for note in plan.notes)
    with pytest.raises(ConfigError, match=r"`budget` needs a device whose prices are known\. Write"):
        plan_run(bundle_path, UNKNOWN_ARN, shots=10, n_images=5, budget_usd=1)


@given(
    st.integers(1, 10**9),
    st.integers(1, 10**6),
    st.decimals(0, 1000, places=7, allow_nan=False),
    st.decimals(0, 10, places=9, allow_nan=False),
)
def test_estimate_is_exact(n: int, shots: int, per_task: Decimal, per_shot: Decimal) -> None:
    known = garnet()
    prices = known.prices.model_copy(
        update={
            "per_task_usd": known.prices.per_task_usd.model_copy(update={"value": per_task}),
            "per_shot_usd": known.prices.per_shot_usd.model_copy(update={"value": per_shot}),
        }
    )
    cost = estimate(garnet(prices=prices), n, shots)
    billionths = n * int(per_task.scaleb(9)) + n * shots * int(per_shot.scaleb(9))
    assert cost.tasks_usd is not None and int(cost.tasks_usd.scaleb(9)) == billionths
    # 200,000 shots fill a set
    assert (cost.program_sets_usd is None) is (shots > 200_000)
    assert cost.program_sets_usd is None or cost.program_sets_usd <= cost.tasks_usd


@given(st.integers(1, 2000), st.integers(1, 20000), st.decimals(0, 2000, places=2))
def test_check_budget_refuses_exactly_what_is_over_and_offers_what_fits(n: int, shots: int, budget: Decimal) -> None:
    cost = estimate(garnet(), n, shots)
    assert cost.run_usd is not None
    if cost.run_usd <= budget:
        check_budget(garnet(), cost, budget, n, shots)
        return
    with pytest.raises(BudgetError, match="is over the budget") as caught:
        check_budget(garnet(), cost, budget, n, shots)
    words = str(caught.value).partition("Within it: ")[2].rstrip(".").split(" or ")
    for offer in filter(None, words):
        images, _, _, fitting, _ = offer.split()
        n_images, n_shots = int(images), int(fitting)
        offered = estimate(garnet(), n_images, n_shots).run_usd
        assert offered is not None and offered <= budget
        # and no more: one image or one shot further it is over
        further = (n_images + 1, n_shots) if n_images < n else (n_images, n_shots + 1)
        beyond = estimate(garnet(), *further).run_usd
        assert beyond is None or beyond > budget


def test_plan_run_refuses_over_budget_and_names_what_fits(bundle_path: Path) -> None:
    # ten sets of 100 circuits are $148; 674 images are seven sets, 674 x 0.145 + 2.10; (100 - 3) / 1.45 = 66
    with pytest.raises(
        BudgetError,
        match=r"of \$148\.00 is over the budget of \$100\.00\. .*: 675 images of 100 shots or 1000 images of 66 shots",
    ) as caught:
        plan_run(bundle_path, "braket_iqm_garnet", shots=100, n_images=1000, budget_usd="100")
    assert caught.value.exit_code == 1
    with pytest.raises(BudgetError, match=r"is over the budget of \$0\.10.*Not one image fits within it"):
        plan_run(bundle_path, "braket_iqm_garnet", shots=100, n_images=1000, budget_usd="0.1")
    with pytest.raises(BudgetError, match=r"at least \$3\.75 .* Within it: 266 images"):
        plan_run(bundle_path, "braket_sv1", shots=100, n_images=1000, budget_usd=1)
    assert plan_run(bundle_path, "braket_iqm_garnet", shots=100, n_images=1000, budget_usd=445).budget_usd == 445


@pytest.mark.parametrize("budget", ["lots", "", "-1", -1, "nan", "inf", True, 10**9, [1]])
def test_parse_budget_refuses_what_is_no_money(budget: Any) -> None:
    with pytest.raises(ConfigError, match=r"^`budget` must be an amount in USD .*, got "):
        parse_budget(budget)


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("braket_iqm_garnet", {"shots": 0}, r"needs `shots` of at least 1, got 0\. Pass"),
        (UNKNOWN_ARN, {"shots": 0}, r"needs `shots` of at least 1, got 0\. Pass"),
        ("braket_iqm_garnet", {"shots": 20001}, r"`shots` must be 1 to 20000 on braket_iqm_garnet, got 20001"),
        ("braket_iqm_garnett", {}, r"is unknown\. Did you mean 'braket_iqm_garnet'\?"),
        ("loihi2_sim", {}, r"is a loihi2 chip, not a quantum device"),
        ("local:sv", {"shots": 2**31}, r"`shots` must be a whole number|`shots` must be 1 to"),
    ],
)
def test_plan_run_refuses_what_the_device_cannot_run(
    bundle_path: Path, device: str, options: dict[str, int], message: str
) -> None:
    with pytest.raises((DeviceError, ConfigError), match=message):
        plan_run(bundle_path, device, **{"shots": 100, "n_images": 10, **options})


@pytest.mark.parametrize("name", ["shots", "n_images"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "3", None, 10**10])
def test_plan_run_refuses_what_is_no_count(bundle_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be a whole number"):
        plan_run(bundle_path, "local:sv", **{"shots": 1, "n_images": 1, name: value})


def test_plan_run_refuses_too_few_qubits(bundle_path: Path, tmp_path: Path) -> None:
    text = "schema_version: 1\nkind: braket_local\nname: small\ndescription: three qubits\nsimulator: braket_sv\n"
    text += "n_qubits: {value: 3, source: notes, as_of: 2026-11}\n"
    text += "shots: {value: {min: 1, max: 10}, source: notes, as_of: 2026-11}\n"
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DeviceError, match="small has 3 qubits, the circuit needs 4"):
        plan_run(bundle_path, "small", shots=1, n_images=1)


def test_coupled_pairs_of_garnet_are_thirty_and_two_coloured() -> None:
    pairs = coupled_pairs(garnet())
    assert pairs is not None
    # IQM's drawing: QB1 next to QB2 and QB4, QB16 in the middle next to QB11, QB15, QB17, QB20
    assert len(pairs) == 30 and {(0, 1), (0, 3), (10, 15), (14, 15), (15, 16), (15, 19)} <= set(pairs)
    colours = {0: 0}
    for _ in range(20):
        for first, second in pairs:
            for here, there in ((first, second), (second, first)):
                if here in colours:
                    assert colours.setdefault(there, 1 - colours[here]) != colours[here]
    assert len(colours) == 20


@pytest.mark.parametrize("n_qubits", [1, 2, 7, 16, 20, 54])
def test_coupled_pairs_of_a_made_up_lattice_join_every_qubit(n_qubits: int) -> None:
    figure = garnet().n_qubits.model_copy(update={"value": n_qubits})
    pairs = coupled_pairs(garnet(lattice=None, n_qubits=figure))
    assert pairs is not None
    reached = {0}
    for _ in range(n_qubits):
        reached |= {qubit for pair in pairs if reached & set(pair) for qubit in pair}
    assert reached == set(range(n_qubits))
    assert coupled_pairs(all_to_all()) is None


def test_ring_warning_is_for_odd_rings_on_a_lattice_only() -> None:
    warning = ring_warning(garnet(), 9, "ring")
    assert warning is not None
    assert "9 qubits" in warning and "8, 10, 12 qubits" in warning and "`entangler: chain`" in warning
    for n_qubits, entangler in ((8, "ring"), (9, "chain"), (9, "none"), (2, "ring"), (1, "ring")):
        assert ring_warning(garnet(), n_qubits, entangler) is None
    assert ring_warning(all_to_all(), 9, "ring") is None


def test_ring_warning_names_no_width_that_the_device_lacks() -> None:
    small = garnet().model_copy(update={"n_qubits": garnet().n_qubits.model_copy(update={"value": 5})})
    warning = ring_warning(small, 9, "ring")
    assert warning is not None
    assert warning.endswith("adds SWAPs. Train with `entangler: chain`.")


def test_map_circuit_adds_swaps_exactly_where_the_ring_does_not_embed() -> None:
    pytest.importorskip("qiskit", reason="needs the plan extra")
    for n_qubits, entangler, has_swaps in ((9, "ring", True), (8, "ring", False), (9, "chain", False)):
        found = map_circuit(garnet(), n_qubits, 2, entangler)  # type: ignore[arg-type]
        assert not isinstance(found, str)
        assert (found.n_swaps > 0) is has_swaps, found
        assert found.n_two_qubit_gates_before == n_qubits - (entangler == "chain")  # the last ring is left out
        assert found.n_swaps == pytest.approx(
            (found.n_two_qubit_gates_after - found.n_two_qubit_gates_before) / 3, abs=0.005
        )  # two decimals are kept
        assert found == map_circuit(garnet(), n_qubits, 2, entangler)  # type: ignore[arg-type]
    free = map_circuit(all_to_all(), 9, 2, "ring")
    assert not isinstance(free, str) and free.n_swaps == 0 and free.connectivity == "all to all"


def test_qiskit_gates_knows_the_makers_native_gates() -> None:
    assert qiskit_gates(("cz", "prx")) == ["cz", "r"]
    assert qiskit_gates(("gpi", "gpi2", "zz")) == ["r", "rzz"]
    assert qiskit_gates(("cz", "new_gate")) is None
    assert qiskit_gates(("prx",)) is None


def test_plan_run_goes_on_without_qiskit(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "qiskit":
            raise ImportError("No module named 'qiskit'", name="qiskit")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    plan = plan_run(bundle_path, "braket_iqm_garnet", shots=100, n_images=1000)
    assert plan.mapping is None and plan.cost.tasks_usd == 445
    assert any("pip install 'sqdr[plan]'" in note for note in plan.notes)


def test_plan_run_measures_agreement_that_rises_with_shots(bundle_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the train extra")
    first = plan_run(bundle_path, "local:sv", shots=5000, n_images=60, source="digits:test")
    assert [row.shots for row in first.agreement] == [10, 30, 100, 300, 1000, 5000]
    rows = [row.agreement for row in first.agreement]
    assert first.n_accuracy_images == 60 and 0 < rows[0] < rows[-1] <= 1
    assert all(row.accuracy is not None and row.accuracy_std is not None for row in first.agreement)
    again = plan_run(bundle_path, "local:sv", shots=100, n_images=60, source="digits:test")
    assert again.agreement == first.agreement[:5]


def test_plan_run_takes_images_without_labels(bundle_path: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 17, (6, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    plan = plan_run(bundle_path, "local:sv", shots=0, n_images=4, source=str(tmp_path / "images.npy"))
    assert plan.n_accuracy_images == 4 and plan.exact_accuracy is None
    assert [row.accuracy for row in plan.agreement] == [None] * 5


def test_dollars_hides_no_digit() -> None:
    amounts = ("0", "445.00000", "0.00375", "12345.5")
    assert [dollars(Decimal(text)) for text in amounts] == ["$0.00", "$445.00", "$0.00375", "$12,345.50"]
    assert isinstance(packaged_hardware("braket_sv1"), BraketSimulator)


def test_plan_run_takes_the_bundles_own_validation_samples(bundle_path: Path) -> None:
    plan = plan_run(bundle_path, "braket_iqm_garnet", shots=200, n_images=1)
    assert plan.accuracy_source == "validation images in the bundle"
    # how many images are planned for does not matter
    assert plan.n_accuracy_images > 100
    assert [row.shots for row in plan.agreement] == [10, 30, 100, 200, 300, 1000]
    assert all(row.accuracy is not None for row in plan.agreement)
    assert plan.agreement[0].agreement < plan.agreement[-1].agreement <= 1
    assert any("without the device's noise" in note for note in plan.notes)


def test_plan_run_goes_on_where_a_circuit_is_too_wide_to_draw_from(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_wide(*_: Any, **__: Any) -> None:
        raise DeviceError("`shots` take at most 20 qubits on local:sv, got 54.")

    monkeypatch.setattr("sqdr.deploy.plan.planner.measure_agreement", too_wide)
    plan = plan_run(bundle_path, "braket_iqm_garnet", shots=100, n_images=1)
    assert plan.agreement == () and plan.accuracy_source is None and plan.cost.tasks_usd is not None
    assert "no accuracy against shots: `shots` take at most 20 qubits on local:sv, got 54." in plan.notes


@pytest.mark.parametrize(("n_qubits", "n_images"), [(1, 1000), (9, 1000), (10, 512), (12, 200), (20, 200), (500, 200)])
def test_n_drawn_bounds_the_outcomes(n_qubits: int, n_images: int) -> None:
    assert n_drawn(n_qubits) == n_images
