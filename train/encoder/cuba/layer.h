/* What layers are made of, for layer.c and the instruction sets it is compiled for: sizes, weights, and which rows meet. */
#ifndef SQDR_LAYER_H
#define SQDR_LAYER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "processor.h"

#define DECAY_BITS 12
#define LIMIT (1u << 30)
#define FARTHEST 64.0f
#define AHEAD 4  /* rows from memory to the cache */
#define INPUTS 3 /* terms of a weight gradient at once */
#define LINE 16 /* samples of a tile: a cache line, and a vector of AVX-512 */

typedef struct {
    float scale, unit, integer_threshold; /* of integer states: scale * state, 1 / scale, threshold * scale */
    uint32_t integer_keep_current, integer_keep_voltage; /* of 4096 */
    float keep_current, keep_voltage, threshold, per_tau, height; /* of the gradient */
} dynamics;

/* For each place of one side: which element of the kernel meets which place of the other side. */
typedef struct {
    const int32_t *start, *element, *place;
} meetings;

typedef struct {
    int64_t n_steps, in_channels, out_channels, groups, in_places, out_places, elements;
    meetings inputs, outputs; /* of an output place, of an input place */
    dynamics neuron;
    float step, lowest, highest; /* of weights, see quantised */
    const float *weight;         /* (out_channels, in_channels / groups, elements) before they are quantised */
    float *of_weight;            /* its gradient */
} layer;

typedef struct {
    const float **rows;
    int32_t *weight_rows;
    int64_t n;
} terms;

typedef struct {
    const float **rows;
    int32_t *weight_rows, *states;
    int32_t *where; /* see where_vnni */
    float *weights, *inverse, *sums, *zeros; /* inverse: weights from outputs to inputs */
} workspace;

/* How many of the channels left are computed at once. */
INLINE int64_t block(int64_t n_left, int64_t most)
{
    while (most > n_left)
        most /= 2;
    return most;
}

/* List what a place is made of: where the samples of each term begin, and its row of weights. */
INLINE void gather(const meetings *m, int64_t place, const float *from, int64_t channels, int64_t places,
                   int64_t elements, int64_t row, terms *to)
{
    to->n = 0;
    for (int64_t c = 0; c < channels; c++)
        for (int32_t i = m->start[place]; i < m->start[place + 1]; i++) {
            to->rows[to->n] = from + (c * places + m->place[i]) * row;
            to->weight_rows[to->n++] = (int32_t)(c * elements + m->element[i]);
        }
}

/* A weight in steps, a power of two, halves to even as torch rounds; NaN stays. */
INLINE float rounded(const layer *l, float weight)
{
    const float NO_FRACTION = 12582912.0f; /* 1.5 * 2^23: what is added to it loses its fraction */
    float steps = weight / l->step;
    if (steps > -4194304.0f && steps < 4194304.0f)
        steps = (steps + NO_FRACTION) - NO_FRACTION;
    return steps * l->step;
}

INLINE float quantised(const layer *l, float weight)
{
    float value = rounded(l, weight);
    return value < l->lowest ? l->lowest : value > l->highest ? l->highest : value;
}

/* The gradient of a weight for that of the quantised one: beyond the clamp there is none. */
INLINE float clamped(const layer *l, float weight, float grad)
{
    float value = rounded(l, weight);
    return value >= l->lowest && value <= l->highest ? grad : 0.0f;
}

#endif
