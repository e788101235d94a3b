"""`sqdr run`, `plan` and `cost` on Amazon Braket, as a user types them, against the fake service."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sqdr.cli import main
from sqdr.deploy.fakes import FakeBraket

pytest_plugins = ["sqdr.deploy.fakes.pytest_plugin"]

PLANTED = ("AKIAPLANTED0PLANTED0", "plantedSecretKey/plantedSecretKey/planted", "planted-session-token", "123456789012")
Sqdr = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sqdr(
    fake_braket: FakeBraket,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    bundle_path: Path,
) -> Sqdr:
    """Run the command in this process; whatever it wrote is searched for what must not be there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").symlink_to(bundle_path)
    for name, value in zip(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), PLANTED[:3], strict=True
    ):
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sqdr", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit, match="") as ended:
            main()
        out, err = capfd.readouterr()
        written = b"".join(
            path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "b" not in path.parts
        )
        for secret in PLANTED:
            assert secret not in out + err
            assert secret.encode() not in written
        assert "Traceback" not in err
        code = ended.value.code
        assert isinstance(code, int)
        return code, out, err

    return run


def paid(*more: object, out: str = "out", n: int = 6, shots: int = 200, device: str = "braket_iqm_garnet") -> list[Any]:
    words = ["run", "b", "-i", "digits:test", "--limit", n, "--encoder", "integer", "--device", device]
    return [*words, "--shots", shots, "--out", out, *more]


def test_run_then_the_same_again_then_what_it_cost(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, out, err = sqdr(*paid("--json", "--budget", "2.50"))
    assert (code, err) == (0, "")
    first = json.loads(out)
    assert len(fake_braket.tasks) == 1
    assert first["cost_usd"] == "2.33000"  # 0.30 + 7 circuits of 200 shots, the canary among them
    rows = Path("out/results.jsonl").read_text()
    assert len(rows.splitlines()) == 6
    code, out, err = sqdr(*paid("--json", "--overwrite"))
    assert (code, err) == (0, "")
    again = json.loads(out)
    assert (again["cost_usd"], again["paid_now_usd"]) == ("2.33000", "0")
    assert len(fake_braket.tasks) == 1
    assert Path("out/results.jsonl").read_text() == rows
    code, out, err = sqdr("cost", "out", "--offline")
    assert (code, err) == (0, "")
    assert "together $2.33" in out
    code, out, err = sqdr("cost", "out", "--offline", "--json")
    (task,) = json.loads(out)["tasks"]
    assert (task["n_circuits"], task["n_canaries"], task["n_shots"], task["status"]) == (7, 1, 1400, "COMPLETED")


def test_broken_off_run_is_resumed_from_another_folder(
    sqdr: Sqdr, fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_braket.faults.add("expired", "S3Get", times=None)
    code, _, err = sqdr(*paid())
    assert code == 3
    assert len(err.splitlines()) == 1
    assert "AWS refused the credentials" in err
    assert "0 finished and 1 unfinished tasks (about $2.33); none is lost. Run `sqdr run --resume out` to go on." in err
    assert not Path("out/summary.json").exists()
    fake_braket.faults.clear()
    monkeypatch.chdir("/")
    code, out, err = sqdr("run", "--resume", tmp_path / "out", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["n_samples"] == 6
    assert len(fake_braket.tasks) == 1
    assert (tmp_path / "out/summary.json").exists()


def test_budget_refuses_before_any_call_and_can_be_raised_on_resume(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, _, err = sqdr(*paid("--budget", "2.32"))
    assert code == 1
    assert "the estimate of $2.33 is over the budget of $2.32. Nothing was submitted." in err
    assert fake_braket.requests == []
    # each circuit a task: what is left is stopped at run time, against what the journal has spent
    fake_braket.outcomes = [("COMPLETED", "")] * 5 + [("FAILED", "cold")] * 3
    code, _, err = sqdr(*paid("--tasks", "--no-canary", "--in-flight", 1, "--budget", "3.54"))
    assert code == 3  # 6 x $0.59; failures cost nothing
    assert "1 of 6 circuits" in err
    code, _, err = sqdr("run", "--resume", "out", "--budget", "3.00")
    assert code == 1
    assert "the next task is estimated at $0.59 and the journal holds $2.95: over the budget of $3.00" in err
    for option in (("--limit", 3), ("--shots", 10), ("--device", "local:sv"), ("--adaptive",)):
        code, _, err = sqdr("run", "--resume", "out", *option)
        assert (code, f"leave {option[0]} out, or start a new run" in err) == (2, True)
    assert sqdr("run", "--resume", "out", "--budget", "4")[0] == 0


@pytest.mark.parametrize("budget", ["abc", "-1", "1e99", "nan", "$5", ""])
def test_budget_that_is_no_money_is_one_line(sqdr: Sqdr, fake_braket: FakeBraket, budget: str) -> None:
    for command in (
        paid(f"--budget={budget}"),
        ["plan", "b", "--device", "braket_iqm_garnet", "--shots", 10, "--images", 5, f"--budget={budget}"],
    ):
        code, _, err = sqdr(*command)
        assert code == 2
        assert "`budget` must be an amount in USD" in err
    assert fake_braket.requests == []


def test_shots_0_on_a_processor_is_one_line(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, _, err = sqdr(*paid(shots=0))
    assert code == 2
    assert "is a quantum processor: it needs `shots`" in err
    assert fake_braket.requests == []


def test_region_that_does_not_match_the_arn_is_one_line(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, _, err = sqdr(*paid(device="arn:aws:braket:us-east-1::device/qpu/iqm/Garnet"))
    assert (code, "Use arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet" in err) == (2, True)
    # of a device that no hardware file names, the service alone can tell
    code, _, err = sqdr(*paid(device="arn:aws:braket:us-east-1::device/qpu/iqm/Unheard"))
    assert code == 2
    assert "A processor is found only in its own region: check the ARN, its region included" in err
    assert fake_braket.tasks == {}


def test_journal_of_another_bundle_and_a_damaged_one_are_one_line(
    sqdr: Sqdr, fake_braket: FakeBraket, tmp_path: Path
) -> None:
    from sqdr.deploy.braket.journal import Journal

    with Journal.open(tmp_path / "theirs.sqlite", "another model"):
        pass
    code, _, err = sqdr(*paid("--journal", "theirs.sqlite"))
    assert (code, "journal of another bundle" in err) == (2, True)
    Path("text.sqlite").write_text("my diary\n" * 1000)
    code, _, err = sqdr(*paid("--journal", "text.sqlite"))
    assert (code, "is damaged" in err) == (2, True)
    assert fake_braket.tasks == {}
    with Journal.open(tmp_path / "busy.sqlite", "m"):
        code, _, err = sqdr(*paid("--journal", "busy.sqlite"))
        assert (code, "in use by another process" in err) == (2, True)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"bundle": 1}', b"x" * 100_000, b'{"bundle": "b", "surprise": 1}'])
def test_damaged_run_file_is_one_line(sqdr: Sqdr, content: bytes) -> None:
    Path("out").mkdir()
    Path("out/run.json").write_bytes(content)
    code, _, err = sqdr("run", "--resume", "out")
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("route", ["0.5", "margin=", "margin=x", "margins=0.5", "margin=2"])
def test_route_that_is_no_margin_is_one_line(sqdr: Sqdr, route: str) -> None:
    code, _, err = sqdr(*paid("--route", route))
    assert code == 2
    assert "margin" in err


def test_adaptive_and_routed_run_pays_for_less(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, out, err = sqdr(
        *paid("--adaptive", "--route", "margin=0.99", "--mitigate-readout", "--json", n=30, shots=400)
    )
    assert (code, err) == (0, "")
    summary = json.loads(out)["spending"]
    assert set(summary) == {"adaptive", "readout_mitigation", "routing"}
    assert 0 < summary["routing"]["n_routed"] <= 30
    assert summary["adaptive"]["n_shots"] <= summary["adaptive"]["n_shots_fixed"]
    before = len(fake_braket.tasks)
    # adaptive decisions follow from the journal's counts: taken up again, the same rounds are asked for
    code, out, _ = sqdr("run", "--resume", "out", "--json")
    assert code == 0
    assert len(fake_braket.tasks) == before
    assert json.loads(out)["spending"]["adaptive"] == summary["adaptive"]


def test_zero_noise_extrapolation_on_a_processor_is_refused(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    code, _, err = sqdr(*paid("--zero-noise", "linear"))
    assert code == 2
    assert "compiler" in err
    assert fake_braket.requests == []


def test_plan_asks_the_service_only_on_request(sqdr: Sqdr, fake_braket: FakeBraket) -> None:
    words = ["plan", "b", "--device", "braket_iqm_garnet", "--shots", 100, "--images", 10, "--json"]
    code, out, _ = sqdr(*words)
    assert (code, json.loads(out)["queue"]) == (0, "ask the service")
    assert fake_braket.requests == []
    code, out, _ = sqdr(*words, "--ask")
    plan = json.loads(out)
    assert code == 0
    assert "normal" in plan["queue"]
    assert plan["execution_window"].startswith("Everyday 00:00 to 23:59 UTC")
    assert fake_braket.tasks == {}


PRICES = """"FormatVersion","v1.0"
"Disclaimer",""
"Publication Date","2026-11-01"
"Version","1"
"OfferCode","AmazonBraket"
"DeviceName","Product Family","Region Code","PricePerUnit","Currency","Unit"
"Garnet","Quantum Task","eu-north-1","0.4000000000","USD","Task"
"Garnet","Quantum Task-Shot","eu-north-1","0.0010000000","USD","Shot"
"""


@pytest.fixture
def price_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS's price list, on this machine."""
    from braket.tracking import pricing

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PRICES.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("BRAKET_PRICE_OFFERS_URL", f"http://127.0.0.1:{server.server_address[1]}/index.csv")
    monkeypatch.setattr(pricing._pricing, "_price_list", [])
    pricing._pricing.price_search.cache_clear()
    yield
    server.shutdown()
    server.server_close()
    thread.join(5)
    pricing._pricing.price_search.cache_clear()


def test_cost_takes_the_service_prices_where_they_can_be_reached(
    sqdr: Sqdr, fake_braket: FakeBraket, price_list: None
) -> None:
    assert sqdr(*paid())[0] == 0
    code, out, _ = sqdr("cost", "out", "--json")
    report = json.loads(out)
    assert (code, report["note"]) == (0, "")
    assert report["tasks"][0]["source"] == "Braket SDK Tracker, AWS price list"
    assert report["total_usd"] == "1.8000000000"  # 0.40 + 1,400 shots


def test_cost_falls_back_to_the_file_where_they_cannot(
    sqdr: Sqdr, fake_braket: FakeBraket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sqdr(*paid())[0] == 0
    monkeypatch.setenv("BRAKET_PRICE_OFFERS_URL", "http://127.0.0.1:1/none")
    code, out, _ = sqdr("cost", "out", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["note"].startswith("the service's prices were not reached (")
    assert report["total_usd"] == "2.33000"


def test_retired_device_and_closed_window_are_said_before_anything_is_submitted(
    sqdr: Sqdr, fake_braket: FakeBraket
) -> None:
    fake_braket.set_execution_windows(fake_braket.qpu_arn, [])
    code, _, err = sqdr(*paid())
    assert (code, "outside its execution windows" in err) == (2, True)
    code, _, err = sqdr(*paid("--queue", "--overwrite"))
    assert code == 0
    fake_braket.set_status(fake_braket.qpu_arn, "RETIRED")
    assert sqdr(*paid("--overwrite"))[0] == 0  # answered from the journal
    code, _, err = sqdr(*paid("--overwrite", shots=201))
    assert (code, "is RETIRED. Nothing was submitted; choose another device." in err) == (2, True)


def test_verbose_says_what_was_submitted_polled_and_tried_again_without_secrets(
    sqdr: Sqdr, fake_braket: FakeBraket
) -> None:
    fake_braket.faults.add("error", "GetQuantumTask", times=4)
    # the service's own words hold what must not be shown; the fixture searches for it
    reason = f"cold: arn:aws:iam::{PLANTED[3]}:user/x, key {PLANTED[0]}"
    fake_braket.outcomes = [("FAILED", reason), ("COMPLETED", "")]
    code, out, err = sqdr("-vv", *paid("--json"))
    assert code == 0
    assert json.loads(out)["n_samples"] == 6
    for said in (
        "6 circuits, of which the journal answers 0",
        "task 1 submitted to braket:qpu/iqm/Garnet as quantum-task/",
        "7 circuits, 1400 shots, estimated at $2.33",
        "DEBUG sqdr.deploy.braket.journal: journal: task 1 is to be submitted",
        "ended FAILED: cold: [hidden]",
        "trying 6 circuits again",
        "trying again in ",
        "DEBUG sqdr.deploy.braket.runner: task 2, quantum-task/",
        "task 2 completed after",
    ):
        assert said in err, err
