"""What the documentation's commands need to be run by a test: what stands for what, each with its reason.

A command that is in no table is run as it is written, and must end with exit code 0. An entry that no command needs any
more fails a test, too.
"""

from dataclasses import dataclass

__all__ = ["NOT_RUN", "REPLACED", "SHORTENED", "Replaced", "Shortened"]

NOT_RUN = {
    "make demo": "trains the whole model, about five minutes; `sqdr demo` has tests of its own",
    "make test": "would run this test in itself",
    "make setup": "made the environment that this test runs in",
    "make lint": "is run beside the tests",
    "make types": "is run beside the tests",
    "make docs": "builds the site, which takes minutes; `.ci/run` does",
    ".ci/run": "runs this test",
    'make test ARGS="tests/conformance"': "is among the tests",
    ". .venv/bin/activate": "the test's own environment stands for it",
}


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """A command that is run in another form.

    Args:
        start: what it begins with.
        more: options to put behind, or in place of those of the same name.
        why: it is not run as it is.
        codes: exit codes that are right.
    """

    start: str
    more: str = ""
    why: str
    codes: tuple[int, ...] = (0,)


# The first entry that fits is taken.
SHORTENED = (
    Shortened(start="sqdr train --config digits_small", more="--epochs 1 --threads 1", why="40 epochs take a minute"),
    Shortened(
        start="sqdr train --config mnist_small --device cuda",
        more="--config digits_tiny --device cpu --epochs 1 --threads 1",
        why="there may be no GPU here, and no MNIST",
    ),
    Shortened(start="sqdr train", more="--epochs 1 --threads 1", why="the rest is the same with more epochs"),
    Shortened(
        start="sqdr export runs/digits",
        more="--against integer --against local:sv",
        why="verifying all stages takes 20 s; the command below it does",
    ),
    Shortened(start="sqdr export", more="--against integer --against local:sv", why="verifying all stages takes 20 s"),
    Shortened(start="sqdr verify digits.sqdr --samples", more="--samples 2 --shots 0", why="200 samples take a minute"),
    Shortened(
        start="sqdr verify out/demo/bundle",
        more="--samples 2 --shots 0 --against integer",
        why="the first verify of README runs all stages",
    ),
    Shortened(start="sqdr verify mnist10k.sqdr", more="--samples 2", why="2,000 samples take minutes in Lava"),
    Shortened(start="sqdr bench encoder", more="--images 8 --repeats 1", why="its default takes a minute"),
    Shortened(start="sqdr run", more="--limit 4", why="a few images pass through everything that many do"),
    Shortened(start="sqdr cost", more="--offline", why="would fetch AWS's price list"),
    Shortened(start="python with_fake_braket.py sqdr run", more="--limit 4", why="as `sqdr run`"),
    Shortened(start="sqdr fit", why="says no with exit code 1 where the bundle does not fit", codes=(0, 1)),
    Shortened(start="sqdr plan", why="says no with exit code 1 above the budget", codes=(0, 1)),
    Shortened(
        start="pip install .",
        more="--quiet --no-deps --no-index --no-build-isolation --target installed",
        why="leaves this environment alone and fetches nothing",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """A piece of a Python block that is run in another form.

    Args:
        page: where the block stands.
        old: the piece; it must be there.
        new: what stands for it.
        why: it is not run as it is.
    """

    page: str
    old: str
    new: str
    why: str


REPLACED = (
    Replaced(page="README.md", old="seed=1)", new="seed=1, n_epochs=1, overwrite=True)", why="40 epochs take a minute"),
    Replaced(
        page="README.md",
        old='sqdr.export(run, "digits.sqdr")',
        new='sqdr.export(run, "digits.sqdr", overwrite=True, against=("integer", "local:sv"))',
        why="verifying all stages takes 20 s, and the commands above it have made this bundle",
    ),
    Replaced(
        page="README.md",
        old="import sqdr\n",
        new="import sqdr\nfrom sqdr.plugins import load_plugin\n"
        'images = load_plugin("sqdr.datasets", "digits")(None).test.images[:4]\nsource = iter(images)\n',
        why="the images are the reader's own",
    ),
    Replaced(
        page="README.md",
        old='with IntegerEncoder.from_netx("theirs.net", input_shape=(1, 28, 28)',
        new="import numpy as np\nspikes = np.ones((2, 1, 8, 8, 5), np.uint8)\n"
        'with IntegerEncoder.from_netx("theirs.net", input_shape=(1, 8, 8)',
        why="the test's netx file is of a network for digits",
    ),
    Replaced(
        page="docs/braket.md",
        old="with sqdr.open_bundle(",
        new="import sqdr\nfrom sqdr.plugins import load_plugin\n"
        'images = load_plugin("sqdr.datasets", "digits")(None).test.images[:4]\nwith sqdr.open_bundle(',
        why="the page shows the call alone; the images are the reader's own",
    ),
)
