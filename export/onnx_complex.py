"""Complex values in ONNX graphs, as pairs of float64: ONNX runtimes do not compute with complex ones."""

from collections.abc import Sequence
from math import pi
from typing import NamedTuple

import numpy as np

from sqdr.export.onnx_graph import OnnxGraph

__all__ = ["ComplexGraph", "Pair"]


class Pair(NamedTuple):
    """Names of a complex value's real and imaginary part."""

    re: str
    im: str


class ComplexGraph(OnnxGraph):
    """A graph with the operators that a quantum circuit takes."""

    def product(self, one: Pair, two: Pair, operator: str = "Mul") -> Pair:
        """Multiply, element by element or as matrices (``MatMul``)."""
        re = self.add("Sub", self.add(operator, one.re, two.re), self.add(operator, one.im, two.im))
        im = self.add("Add", self.add(operator, one.re, two.im), self.add(operator, one.im, two.re))
        return Pair(re, im)

    def conjugate_product(self, one: Pair, two: Pair) -> Pair:
        """Multiply conj(one) by two, element by element."""
        re = self.add("Add", self.add("Mul", one.re, two.re), self.add("Mul", one.im, two.im))
        im = self.add("Sub", self.add("Mul", one.re, two.im), self.add("Mul", one.im, two.re))
        return Pair(re, im)

    def difference(self, one: Pair, two: Pair) -> Pair:
        """Subtract."""
        return Pair(self.add("Sub", one.re, two.re), self.add("Sub", one.im, two.im))

    def scaled(self, value: Pair, factor: str) -> Pair:
        """Multiply by real factors."""
        return Pair(self.add("Mul", value.re, factor), self.add("Mul", value.im, factor))

    def squared_size(self, value: Pair) -> str:
        """Return |value|^2."""
        return self.add("Add", self.add("Mul", value.re, value.re), self.add("Mul", value.im, value.im))

    def taken(self, value: Pair, index: int, axis: int) -> Pair:
        """Take one index, whose axis goes."""
        return Pair(self.take(value.re, index, axis), self.take(value.im, index, axis))

    def sliced(self, value: Pair, start: int, end: int, axis: int) -> Pair:
        """Take a range of indices."""
        return Pair(self.slice(value.re, start, end, axis), self.slice(value.im, start, end, axis))

    def reshaped(self, value: Pair, shape: Sequence[int]) -> Pair:
        """Change the shape; one -1 takes what is left."""
        return Pair(self.reshape(value.re, shape), self.reshape(value.im, shape))

    def transposed(self, value: Pair, perm: Sequence[int]) -> Pair:
        """Change the order of the axes."""
        return Pair(self.add("Transpose", value.re, perm=perm), self.add("Transpose", value.im, perm=perm))

    def cos(self, value: str) -> str:
        """Return the cosine, as a shifted sine: ONNX Runtime has no cosine in float64."""
        return self.add("Sin", self.add("Add", value, self.constant(np.float64(pi / 2))))
