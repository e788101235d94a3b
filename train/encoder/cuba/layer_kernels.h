/* The computation of layer.c, compiled once for each instruction set: no include guard.
 *
 * VARIANT(name): the name in this copy; TARGET: its attribute; LANES: floats in a vector; OUTPUTS: channels at once.
 * Every function needs the attribute, or GCC splits its vectors before it is inlined.
 */
#include "layer.h"

#define FORCED static inline __attribute__((always_inline)) TARGET
#define UNROLLED _Pragma("GCC unroll 8")
#define PARTS (LINE / LANES) /* vectors of one step */
#define real VARIANT(real)
#define whole VARIANT(whole)
#define natural VARIANT(natural)

typedef float real __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t whole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t natural __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* |value| */
FORCED void VARIANT(magnitude)(const whole *value, natural *to)
{
    whole sign = *value >> 31;
    *to = (natural)((*value ^ sign) - sign);
}

/* trunc(state * keep / 4096), see neuron.c */
FORCED void VARIANT(decay)(const whole *state, uint32_t keep, whole *to)
{
    natural size;
    VARIANT(magnitude)(state, &size);
    natural kept = (size >> DECAY_BITS) * keep + (((size & 4095u) * keep) >> DECAY_BITS);
    whole sign = *state >> 31;
    *to = ((whole)kept ^ sign) - sign;
}

/* One step of LANES neurons for the weighted spikes u, as in neuron.c: the voltage before the reset, and whether it is a
 * spike, -1 or 0. */
FORCED void VARIANT(step)(whole *u, const dynamics *d, int has_current, whole *current, whole *state, natural *reached,
                          whole *voltage, whole *is_spike)
{
    natural size;
    whole v;
    if (has_current) {
        VARIANT(decay)(current, d->integer_keep_current, &v);
        *current = (whole)((natural)v + (natural)*u);
        VARIANT(magnitude)(current, &size);
        *reached |= size;
        /* SLAYER hands it on as float32, which rounds above 2^24 */
        *u = __builtin_convertvector(__builtin_convertvector(*current, real), whole);
    }
    VARIANT(magnitude)(u, &size);
    *reached |= size;
    VARIANT(decay)(state, d->integer_keep_voltage, &v);
    v = (whole)((natural)v + (natural)*u);
    VARIANT(magnitude)(&v, &size);
    *reached |= size;
    *is_spike = __builtin_convertvector(v, real) >= d->integer_threshold;
    *state = v & ~*is_spike;
    *voltage = v;
}

/* Weighted spikes as integers. */
FORCED void VARIANT(scaled)(const real *weighed, const dynamics *d, whole *to, natural *reached)
{
    real value = *weighed * d->scale;
    whole fits = (real)((whole)value & 0x7fffffff) < (float)LIMIT; /* false for NaN */
    *to = __builtin_convertvector((real)((whole)value & fits), whole);
    *reached |= (natural)~fits & LIMIT;
}

/* sums (outputs, 2) over all terms, of two vectors or one. weights: (n_terms of the whole kernel, outputs). */
FORCED void VARIANT(add_terms)(const float *const *rows, const int32_t *weight_rows, int64_t n_terms, int64_t at,
                               const float *weights, const int outputs, const int n_vectors, real *sums)
{
    real part[OUTPUTS], second[OUTPUTS];
    UNROLLED for (int i = 0; i < outputs; i++) part[i] = second[i] = (real){0};
    for (int64_t j = 0; j < n_terms; j++) {
        const float *x = rows[j] + at, *w = weights + (int64_t)weight_rows[j] * outputs;
        real x0 = *(const real *)x, x1 = n_vectors > 1 ? *(const real *)(x + LANES) : x0;
        UNROLLED for (int i = 0; i < outputs; i++) {
            part[i] += w[i] * x0;
            if (n_vectors > 1)
                second[i] += w[i] * x1;
        }
    }
    UNROLLED for (int i = 0; i < outputs; i++) {
        sums[i * 2] = part[i];
        sums[i * 2 + 1] = second[i];
    }
}

FORCED void VARIANT(add_block)(const float *const *rows, const int32_t *weight_rows, int64_t n_terms, int64_t at,
                               const float *weights, int outputs, int n_vectors, real *sums)
{
#define SUM(n) \
    if (n_vectors == 2) \
        VARIANT(add_terms)(rows, weight_rows, n_terms, at, weights, n, 2, sums); \
    else \
        VARIANT(add_terms)(rows, weight_rows, n_terms, at, weights, n, 1, sums); \
    break
    switch (outputs) {
#if OUTPUTS >= 8
    case 8: SUM(8);
#endif
    case 4: SUM(4);
    case 2: SUM(2);
    default: SUM(1);
    }
#undef SUM
}

/* The neurons of all channels of one group at one place of one tile, over all steps. */
FORCED void VARIANT(fire_place)(const layer *l, const terms *of, const float *weights, int64_t n_terms,
                                int64_t n_channels, int has_current, int32_t *states, natural *reached,
                                float *spikes, float *voltages, int64_t stride)
{
    int64_t n_vectors = l->n_steps * PARTS;
    whole *state = (whole *)states, *current = state + n_channels * PARTS;
    memset(state, 0, (size_t)(n_channels * PARTS * 2) * sizeof *state);
    for (int64_t first_vector = 0; first_vector < n_vectors; first_vector += 2) {
        int64_t at = first_vector * LANES;
        int n = n_vectors - first_vector > 1 ? 2 : 1;
        for (int64_t first = 0, outputs; first < n_channels; first += outputs) {
            outputs = block(n_channels - first, OUTPUTS);
            real sums[OUTPUTS * 2];
            whole u, voltage, is_spike;
            VARIANT(add_block)(of->rows, of->weight_rows, of->n, at, weights + first * n_terms, (int)outputs, n, sums);
            for (int64_t i = 0; i < outputs; i++)
                for (int64_t j = 0; j < n; j++) { /* parts of one step, or steps, which follow each other */
                    int64_t to = (first + i) * stride + at + j * LANES, own = (first + i) * PARTS + (first_vector + j) % PARTS;
                    VARIANT(scaled)(&sums[i * 2 + j], &l->neuron, &u, reached);
                    VARIANT(step)(&u, &l->neuron, has_current, &current[own], &state[own], reached, &voltage,
                                  &is_spike);
                    *(real *)(spikes + to) = (real)(is_spike & 0x3f800000); /* 1.0f */
                    if (voltages)
                        *(real *)(voltages + to) = __builtin_convertvector(voltage, real) * l->neuron.unit;
                }
        }
    }
}

/* Spikes and, unless null, voltages before the reset of one tile. */
TARGET static uint32_t VARIANT(forward)(const layer *l, const workspace *space, const float *x, float *spikes,
                                        float *voltages)
{
    int64_t n_from = l->in_channels / l->groups, n_to = l->out_channels / l->groups, row = l->n_steps * LINE;
    int64_t n_terms = n_from * l->elements, stride = l->out_places * row;
    natural reached = {0};
    terms of = {space->rows, space->weight_rows, 0};
    for (int64_t group = 0; group < l->groups; group++) {
        const float *weights = space->weights + group * n_to * n_terms;
        const float *source = x + group * n_from * l->in_places * row;
        for (int64_t place = 0; place < l->out_places; place++) {
            int64_t start = group * n_to * stride + place * row;
            float *to = voltages ? voltages + start : 0;
            gather(&l->inputs, place, source, n_from, l->in_places, l->elements, row, &of);
            if (l->neuron.integer_keep_current)
                VARIANT(fire_place)(l, &of, weights, n_terms, n_to, 1, space->states, &reached, spikes + start, to,
                                    stride);
            else /* the usual case: no current outlasts its step */
                VARIANT(fire_place)(l, &of, weights, n_terms, n_to, 0, space->states, &reached, spikes + start, to,
                                    stride);
        }
    }
    uint32_t all = 0;
    for (int i = 0; i < LANES; i++)
        all |= reached[i];
    return all;
}

/* height * exp(-|v - threshold| / tau), see exp_negative in neuron.c */
FORCED void VARIANT(surrogate)(const real *voltage, const dynamics *d, real *to)
{
    real difference = *voltage - d->threshold;
    real distance = (real)((whole)difference & 0x7fffffff) * d->per_tau;
    whole is_near = distance < FARTHEST;
    natural farthest = (natural)((real){0} + FARTHEST);
    real x = -(real)(((natural)distance & (natural)is_near) | (farthest & ~(natural)is_near));
    whole power = __builtin_convertvector(x * 1.44269504f - 0.5f, whole);
    real n = __builtin_convertvector(power, real);
    real r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    real p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    *to = d->height * (p * (real)((power + 127) << 23));
}

/* The gradient of the weighted spikes for that of the spikes, row by row. */
TARGET static void VARIANT(neuron_gradient)(const layer *l, const float *grad, const float *voltages, float *to)
{
    const dynamics *d = &l->neuron;
    int64_t row = l->n_steps * LINE, end = l->out_channels * l->out_places * row;
    for (int64_t start = 0; start < end; start += row)
        for (int64_t lane = 0; lane < LINE; lane += LANES) {
            real of_current = {0}, of_voltage = {0};
            for (int64_t at = start + row - LINE + lane; at >= start; at -= LINE) {
                real slope;
                __builtin_prefetch(voltages + at + AHEAD * row); /* steps run backwards, which no processor foresees */
                __builtin_prefetch(grad + at + AHEAD * row);
                VARIANT(surrogate)((const real *)(voltages + at), d, &slope);
                of_voltage = slope * *(const real *)(grad + at) + d->keep_voltage * of_voltage;
                of_current = d->keep_current * of_current + of_voltage;
                *(real *)(to + at) = of_current;
            }
        }
}

/* The gradient of the input for grad, that of the weighted spikes. */
TARGET static void VARIANT(input_gradient)(const layer *l, const workspace *space, const float *grad, float *to)
{
    int64_t n_from = l->out_channels / l->groups, n_to = l->in_channels / l->groups, row = l->n_steps * LINE;
    int64_t n_terms = n_from * l->elements, stride = l->in_places * row;
    terms of = {space->rows, space->weight_rows, 0};
    for (int64_t group = 0; group < l->groups; group++)
        for (int64_t place = 0; place < l->in_places; place++) {
            gather(&l->outputs, place, grad + group * n_from * l->out_places * row, n_from, l->out_places, l->elements,
                   row, &of);
            float *here = to + group * n_to * stride + place * row;
            for (int64_t first = 0, outputs; first < n_to; first += outputs) {
                outputs = block(n_to - first, OUTPUTS);
                const float *weights = space->inverse + (group * n_to + first) * n_terms;
                for (int64_t at = 0; at < row; at += 2 * LANES) {
                    int n = row - at > LANES ? 2 : 1;
                    real sums[OUTPUTS * 2];
                    VARIANT(add_block)(of.rows, of.weight_rows, of.n, at, weights, (int)outputs, n, sums);
                    for (int64_t i = 0; i < outputs; i++) {
                        *(real *)(here + (first + i) * stride + at) = sums[i * 2];
                        if (n == 2)
                            *(real *)(here + (first + i) * stride + at + LANES) = sums[i * 2 + 1];
                    }
                }
            }
        }
}

/* sums (channels, INPUTS) += the products of gradient i and input j over a row. */
FORCED void VARIANT(add_products)(const float *grad, int64_t stride, const float *const *inputs, int64_t row,
                                  const int channels, real *sums)
{
    const float *in0 = inputs[0], *in1 = inputs[1], *in2 = inputs[2];
    real a[OUTPUTS], b[OUTPUTS], c[OUTPUTS];
    UNROLLED for (int i = 0; i < channels; i++) {
        a[i] = sums[i * INPUTS];
        b[i] = sums[i * INPUTS + 1];
        c[i] = sums[i * INPUTS + 2];
    }
    for (int64_t at = 0; at < row; at += LANES) {
        real x0 = *(const real *)(in0 + at), x1 = *(const real *)(in1 + at), x2 = *(const real *)(in2 + at);
        UNROLLED for (int i = 0; i < channels; i++) {
            real g = *(const real *)(grad + i * stride + at);
            a[i] += g * x0;
            b[i] += g * x1;
            c[i] += g * x2;
        }
    }
    UNROLLED for (int i = 0; i < channels; i++) {
        sums[i * INPUTS] = a[i];
        sums[i * INPUTS + 1] = b[i];
        sums[i * INPUTS + 2] = c[i];
    }
}

FORCED void VARIANT(add_products_of)(int64_t channels, const float *grad, int64_t stride, const float *const *inputs,
                                     int64_t row, real *sums)
{
    switch (channels) {
#if OUTPUTS >= 8
    case 8: VARIANT(add_products)(grad, stride, inputs, row, 8, sums); break;
#endif
    case 4: VARIANT(add_products)(grad, stride, inputs, row, 4, sums); break;
    case 2: VARIANT(add_products)(grad, stride, inputs, row, 2, sums); break;
    default: VARIANT(add_products)(grad, stride, inputs, row, 1, sums); break;
    }
}

/* Add the gradient of the weights of one tile, over steps, places and samples, to sums: for each group and block of
 * channels, (n_terms / INPUTS, block, INPUTS). */
TARGET static void VARIANT(weight_gradient)(const layer *l, const workspace *space, const float *grad, const float *x)
{
    int64_t n_from = l->in_channels / l->groups, n_to = l->out_channels / l->groups, row = l->n_steps * LINE;
    int64_t n_terms = n_from * l->elements, columns = (n_terms + INPUTS - 1) / INPUTS, stride = l->out_places * row;
    for (int64_t group = 0; group < l->groups; group++) {
        const float *source = x + group * n_from * l->in_places * row, **rows = space->rows;
        for (int64_t place = 0; place < l->out_places; place++) {
            for (int64_t j = 0; j < columns * INPUTS; j++)
                rows[j] = space->zeros;
            for (int64_t c = 0; c < n_from; c++)
                for (int32_t i = l->inputs.start[place]; i < l->inputs.start[place + 1]; i++)
                    rows[c * l->elements + l->inputs.element[i]] =
                        source + (c * l->in_places + l->inputs.place[i]) * row;
            for (int64_t first = 0, channels; first < n_to; first += channels) {
                channels = block(n_to - first, OUTPUTS);
                const float *here = grad + (group * n_to + first) * stride + place * row;
                real *own = (real *)space->sums + (group * n_to + first) * columns * INPUTS;
                for (int64_t j = 0; j < columns; j++, own += channels * INPUTS)
                    VARIANT(add_products_of)(channels, here, stride, rows + j * INPUTS, row, own);
            }
        }
    }
}

/* Write the gradient of the weights, whose vectors are in sums. */
TARGET static void VARIANT(reduce)(const layer *l, const workspace *space)
{
    int64_t n_to = l->out_channels / l->groups, n_terms = l->in_channels / l->groups * l->elements;
    int64_t columns = (n_terms + INPUTS - 1) / INPUTS;
    for (int64_t group = 0; group < l->groups; group++)
        for (int64_t first = 0, channels; first < n_to; first += channels) {
            channels = block(n_to - first, OUTPUTS);
            const real *own = (const real *)space->sums + (group * n_to + first) * columns * INPUTS;
            for (int64_t i = 0; i < channels; i++)
                for (int64_t j = 0; j < n_terms; j++) {
                    real sum = own[(j / INPUTS * channels + i) * INPUTS + j % INPUTS];
                    float total = 0;
                    for (int lane = 0; lane < LANES; lane++)
                        total += sum[lane];
                    int64_t at = (group * n_to + first + i) * n_terms + j;
                    l->of_weight[at] = clamped(l, l->weight[at], total);
                }
        }
}

#undef FORCED
#undef UNROLLED
#undef PARTS
#undef real
#undef whole
#undef natural
#undef VARIANT
#undef TARGET
#undef LANES
#undef OUTPUTS
