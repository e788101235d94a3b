/* Layers for AVX-512 VNNI, whose sums of bytes are integers from the start.
 *
 * Four channels of one sample, a spike or none each, are the bytes of 32 bits: a quad. Spikes of a layer are
 * (tiles, ceil(C / QUAD), H * W, T, LINE) quads, a line a step as everywhere else, and voltages are 16 bits: the steps
 * between them and the threshold, (tiles, C, H * W, T, LINE). The first layer's input stays as it is, for it need
 * not be spikes.
 */
#include <immintrin.h>

#include "layer.h"

#define VNNI __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma")))
#define FORCED static inline __attribute__((always_inline)) VNNI
#define UNROLLED _Pragma("GCC unroll 16")
#define QUAD 4
#define OUTPUTS 8     /* channels at once, forward */
#define SUMS 16       /* of outputs and steps at once */
#define CHANNELS 4    /* at once, gradient */
#define PLACES 8      /* whose gradients stay in the first-level cache */
#define CLOSE 30.0f   /* surrogates beyond exp(-30) = 1e-13 need not be told apart */
#define MOST_STEPS 65535.0f

/* Whether a layer is what this computes; its input has spikes unless it is the first. */
static int suits_vnni(const layer *l, int is_first)
{
    const dynamics *d = &l->neuron;
    float ratio = l->step * d->scale, below = d->integer_threshold - 0.5f;
    int64_t whole_ratio = ratio >= 1.0f && ratio < (float)LIMIT ? (int64_t)ratio : 0;
    int64_t most = l->in_channels / l->groups * l->elements * 128 * whole_ratio;
    return whole_ratio > 0 && (float)whole_ratio == ratio && !(whole_ratio & (whole_ratio - 1))
           && l->lowest / l->step >= -128.0f && l->highest / l->step <= 127.0f
           && below > -8388608.0f && below < 8388608.0f && below == (float)(int32_t)below
           && MOST_STEPS * d->per_tau * d->unit >= CLOSE && (is_first || most < (int64_t)LIMIT);
}

/* Bytes of weights, in order of use: for each group and block of channels, (quads * elements, block, QUAD).
 * Returns 0 if one is no number. */
static int pack_vnni(const layer *l, int8_t *to)
{
    int64_t n_in = l->in_channels / l->groups, n_out = l->out_channels / l->groups;
    for (int64_t group = 0; group < l->groups; group++)
        for (int64_t first = 0, size; first < n_out; first += size) {
            size = block(n_out - first, OUTPUTS);
            for (int64_t quad = group * n_in / QUAD; quad * QUAD < (group + 1) * n_in; quad++)
                for (int64_t element = 0; element < l->elements; element++)
                    for (int64_t i = group * n_out + first; i < group * n_out + first + size; i++)
                        for (int64_t c = quad * QUAD - group * n_in, end = c + QUAD; c < end; c++) {
                            float weight = 0.0f;
                            if (c >= 0 && c < n_in)
                                weight = quantised(l, l->weight[(i * n_in + c) * l->elements + element]);
                            if (weight != weight)
                                return 0;
                            *to++ = (int8_t)(weight / l->step);
                        }
        }
    return 1;
}

/* Room for what pack_vnni writes, in bytes, and for as many vectors of sums. */
static size_t packed_vnni(const layer *l)
{
    int64_t n_in = l->in_channels / l->groups, n_quads = 0;
    for (int64_t group = 0; group < l->groups; group++)
        n_quads += ((group + 1) * n_in + QUAD - 1) / QUAD - group * n_in / QUAD;
    return (size_t)(n_quads * QUAD * l->elements * (l->out_channels / l->groups));
}

/* sums (outputs, n_steps) over all terms. weights: (n_terms of the whole kernel, outputs). */
FORCED void add_quads(const terms *of, int64_t at, const int32_t *weights, const int outputs, const int n_steps,
                      __m512i *sums)
{
    __m512i part[SUMS], x[OUTPUTS];
    UNROLLED for (int i = 0; i < outputs * n_steps; i++) part[i] = _mm512_setzero_si512();
    for (int64_t j = 0; j < of->n; j++) {
        const float *from = of->rows[j] + at;
        const int32_t *w = weights + (int64_t)of->weight_rows[j] * outputs;
        UNROLLED for (int s = 0; s < n_steps; s++) x[s] = _mm512_loadu_si512(from + s * LINE);
        UNROLLED for (int i = 0; i < outputs; i++) {
            __m512i weight = _mm512_set1_epi32(w[i]);
            UNROLLED for (int s = 0; s < n_steps; s++)
                part[i * n_steps + s] = _mm512_dpbusd_epi32(part[i * n_steps + s], x[s], weight);
        }
    }
    UNROLLED for (int i = 0; i < outputs * n_steps; i++) sums[i] = part[i];
}

/* Returns for how many steps, of those that are left, there are sums now. */
FORCED int add_steps(const terms *of, int64_t at, const int32_t *weights, int outputs, int64_t left, __m512i *sums)
{
#define SUM(outputs, n_steps) \
    if (left >= n_steps) { \
        add_quads(of, at, weights, outputs, n_steps, sums); \
        return n_steps; \
    } \
    add_quads(of, at, weights, outputs, 1, sums); \
    return 1
    switch (outputs) {
    case 8: SUM(8, 2);
    case 4: SUM(4, 4);
    case 2: SUM(2, 8);
    default: SUM(1, 8);
    }
#undef SUM
}

/* Of one place: spikes and, unless null, marks of a block of channels over all steps. */
FORCED void fire_vnni(const layer *l, const terms *of, const void *weights, int is_first, int has_current,
                      int64_t channel, int outputs, int64_t place, natural_avx512 *reached, float *spikes,
                      uint16_t *marks)
{
    const __m128i shift = _mm_cvtsi32_si128(__builtin_ctz((uint32_t)(l->step * l->neuron.scale)));
    const __m512i above = _mm512_set1_epi32((int32_t)(l->neuron.integer_threshold + 0.5f));
    whole_avx512 state[OUTPUTS], current[OUTPUTS];
    memset(state, 0, sizeof state);
    memset(current, 0, sizeof current);
    for (int64_t t = 0, n; t < l->n_steps; t += n) {
        real_avx512 weighed[OUTPUTS * 2];
        __m512i sums[SUMS];
        if (is_first) {
            n = l->n_steps - t > 1 ? 2 : 1;
            add_block_avx512(of->rows, of->weight_rows, of->n, t * LINE, weights, outputs, (int)n, weighed);
        } else {
            n = add_steps(of, t * LINE, weights, outputs, l->n_steps - t, sums);
        }
        for (int64_t i = 0; i < outputs; i++, channel++) {
            const int32_t spike = 1 << 8 * (channel % QUAD);
            float *to = spikes + ((channel / QUAD * l->out_places + place) * l->n_steps + t) * LINE;
            uint16_t *mark = marks ? marks + ((channel * l->out_places + place) * l->n_steps + t) * LINE : 0;
            for (int64_t s = 0; s < n; s++) {
                whole_avx512 u, voltage, is_spike;
                if (is_first)
                    scaled_avx512(&weighed[i * 2 + s], &l->neuron, &u, reached);
                else
                    u = (whole_avx512)_mm512_sll_epi32(sums[i * n + s], shift);
                step_avx512(&u, &l->neuron, has_current, &current[i], &state[i], reached, &voltage, &is_spike);
                __m512i quads = _mm512_and_si512((__m512i)is_spike, _mm512_set1_epi32(spike));
                if (channel % QUAD) /* the quad's first channel is the first to be written */
                    quads = _mm512_or_si512(quads, _mm512_loadu_si512(to + s * LINE));
                _mm512_storeu_si512(to + s * LINE, quads);
                if (mark) {
                    __m512i distance = _mm512_sub_epi32((__m512i)voltage, above);
                    distance = _mm512_xor_si512(distance, _mm512_srai_epi32(distance, 31));
                    _mm256_storeu_si256((__m256i *)(mark + s * LINE), _mm512_cvtusepi32_epi16(distance));
                }
            }
        }
        channel -= outputs;
    }
}

/* Spikes and, unless null, marks of one tile. x: numbers for the first layer, else quads. */
VNNI static uint32_t forward_vnni(const layer *l, const workspace *space, int is_first, const float *x, float *spikes,
                                  uint16_t *marks)
{
    int64_t n_from = l->in_channels / l->groups, n_to = l->out_channels / l->groups, row = l->n_steps * LINE;
    int has_current = l->neuron.integer_keep_current != 0;
    const float *weights = space->weights;
    natural_avx512 reached = {0};
    terms of = {space->rows, space->weight_rows, 0};
    for (int64_t group = 0; group < l->groups; group++) {
        int64_t begin = group * n_from, n_rows = n_from; /* of channels, or of quads */
        if (!is_first) {
            n_rows = (begin + n_from + QUAD - 1) / QUAD - begin / QUAD;
            begin /= QUAD;
        }
        for (int64_t place = 0; place < l->out_places; place++) {
            gather(&l->inputs, place, x + begin * l->in_places * row, n_rows, l->in_places, l->elements, row, &of);
            for (int64_t first = 0, outputs; first < n_to; first += outputs) {
                outputs = block(n_to - first, OUTPUTS);
                const float *own = weights + first * n_rows * l->elements; /* a float's size is a quad's */
                int64_t channel = group * n_to + first;
                if (is_first && has_current)
                    fire_vnni(l, &of, own, 1, 1, channel, (int)outputs, place, &reached, spikes, marks);
                else if (is_first)
                    fire_vnni(l, &of, own, 1, 0, channel, (int)outputs, place, &reached, spikes, marks);
                else if (has_current)
                    fire_vnni(l, &of, own, 0, 1, channel, (int)outputs, place, &reached, spikes, marks);
                else
                    fire_vnni(l, &of, own, 0, 0, channel, (int)outputs, place, &reached, spikes, marks);
            }
        }
        weights += n_to * n_rows * l->elements;
    }
    uint32_t all = 0;
    for (int i = 0; i < LINE; i++)
        all |= reached[i];
    return all;
}

/* height * exp(-(distance + 1/2) unit / tau), as 2 to a power: its whole part is exact, its fraction a minimax polynomial.
 * Near the threshold within 3e-7; further off the power's own rounding adds as much as the surrogate gets smaller. */
VNNI static void neuron_gradient_vnni(const layer *l, const float *grad, const uint16_t *marks, float *to)
{
    static const float OF_FRACTION[] = {1.000000119f,   0.693146944f,   0.2402212024f,
                                        0.05550713465f, 0.009675541893f, 0.001327647129f};
    const dynamics *d = &l->neuron;
    const float power = d->unit * d->per_tau * 1.44269504f;
    const __m512 per_step = _mm512_set1_ps(-power), half_step = _mm512_set1_ps(-power / 2);
    const __m512 farthest = _mm512_set1_ps(-FARTHEST * 1.44269504f);
    const __m512 keep_voltage = _mm512_set1_ps(d->keep_voltage), keep_current = _mm512_set1_ps(d->keep_current);
    __m512 factors[6];
    for (int i = 0; i < 6; i++)
        factors[i] = _mm512_set1_ps(d->height * OF_FRACTION[i]);
    int64_t row = l->n_steps * LINE, end = l->out_channels * l->out_places * row;
    for (int64_t start = 0; start < end; start += row) {
        __m512 of_current = _mm512_setzero_ps(), of_voltage = _mm512_setzero_ps();
        for (int64_t at = start + row - LINE; at >= start; at -= LINE) {
            __builtin_prefetch(marks + at + AHEAD * row); /* steps run backwards, which no processor foresees */
            __builtin_prefetch(grad + at + AHEAD * row);
            __m512i distance = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(marks + at)));
            __m512 x = _mm512_fmadd_ps(_mm512_cvtepi32_ps(distance), per_step, half_step);
            x = _mm512_max_ps(x, farthest);
            __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            __m512 fraction = _mm512_sub_ps(x, n), slope = factors[5];
            UNROLLED for (int i = 4; i >= 0; i--) slope = _mm512_fmadd_ps(slope, fraction, factors[i]);
            slope = _mm512_scalef_ps(slope, n);
            of_voltage = _mm512_fmadd_ps(slope, _mm512_loadu_ps(grad + at), _mm512_mul_ps(keep_voltage, of_voltage));
            of_current = _mm512_fmadd_ps(keep_current, of_current, of_voltage);
            _mm512_storeu_ps(to + at, of_current);
        }
    }
}

/* sums (channels, QUAD) += the products of gradients and quads over n rows. Two of a quad's spikes are factors and two
 * are masks: products and sums have units of their own, which work side by side. */
FORCED void add_spikes(const float *const *grads, int64_t stride, const float *const *rows, int64_t n, int64_t row,
                       const int channels, float *sums)
{
    const __m512i first = _mm512_set1_epi32(1), second = _mm512_set1_epi32(1 << 8);
    __m512 part[CHANNELS * QUAD];
    UNROLLED for (int i = 0; i < channels * QUAD; i++) part[i] = _mm512_loadu_ps(sums + i * LINE);
    for (int64_t k = 0; k < n; k++) {
        const float *grad = grads[k], *x = rows[k];
        for (int64_t at = 0; at < row; at += LINE) {
            __m512i quads = _mm512_loadu_si512(x + at);
            __mmask16 is_first = _mm512_test_epi32_mask(quads, first);
            __mmask16 is_second = _mm512_test_epi32_mask(quads, second);
            __m512 third = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(quads, 16), first));
            __m512 fourth = _mm512_cvtepi32_ps(_mm512_srli_epi32(quads, 24));
            UNROLLED for (int i = 0; i < channels; i++) {
                __m512 g = _mm512_loadu_ps(grad + i * stride + at), *own = part + i * QUAD;
                own[0] = _mm512_mask_add_ps(own[0], is_first, own[0], g);
                own[1] = _mm512_mask_add_ps(own[1], is_second, own[1], g);
                own[2] = _mm512_fmadd_ps(g, third, own[2]);
                own[3] = _mm512_fmadd_ps(g, fourth, own[3]);
            }
        }
    }
    UNROLLED for (int i = 0; i < channels * QUAD; i++) _mm512_storeu_ps(sums + i * LINE, part[i]);
}

/* For each element and place of the outputs: the place of the inputs, or -1. */
static void where_vnni(const layer *l, int32_t *where)
{
    for (int64_t i = 0; i < l->elements * l->out_places; i++)
        where[i] = -1;
    for (int64_t place = 0; place < l->out_places; place++)
        for (int32_t i = l->inputs.start[place]; i < l->inputs.start[place + 1]; i++)
            where[l->inputs.element[i] * l->out_places + place] = l->inputs.place[i];
}

/* Add the gradient of the weights of one tile to sums: for each group and block of channels, (quads * elements, block,
 * QUAD, LINE). x: quads. */
VNNI static void weight_gradient_vnni(const layer *l, const workspace *space, const float *grad, const float *x)
{
    int64_t n_from = l->in_channels / l->groups, n_to = l->out_channels / l->groups, row = l->n_steps * LINE;
    int64_t stride = l->out_places * row;
    const float *grads[PLACES], *rows[PLACES];
    for (int64_t start = 0; start < l->out_places; start += PLACES) {
        int64_t end = start + PLACES < l->out_places ? start + PLACES : l->out_places;
        float *own = space->sums;
        for (int64_t group = 0; group < l->groups; group++)
            for (int64_t first = 0, channels; first < n_to; first += channels) {
                channels = block(n_to - first, CHANNELS);
                const float *here = grad + (group * n_to + first) * stride;
                for (int64_t quad = group * n_from / QUAD; quad * QUAD < (group + 1) * n_from; quad++)
                    for (int64_t element = 0; element < l->elements; element++, own += channels * QUAD * LINE) {
                        const int32_t *where = space->where + element * l->out_places;
                        int64_t n = 0;
                        for (int64_t place = start; place < end; place++)
                            if (where[place] >= 0) {
                                grads[n] = here + place * row;
                                rows[n++] = x + (quad * l->in_places + where[place]) * row;
                            }
                        if (channels == 4)
                            add_spikes(grads, stride, rows, n, row, 4, own);
                        else if (channels == 2)
                            add_spikes(grads, stride, rows, n, row, 2, own);
                        else
                            add_spikes(grads, stride, rows, n, row, 1, own);
                    }
            }
    }
}

/* Write the gradient of the weights, whose vectors are in sums. */
VNNI static void reduce_vnni(const layer *l, const workspace *space)
{
    int64_t n_from = l->in_channels / l->groups, n_to = l->out_channels / l->groups;
    const float *own = space->sums;
    for (int64_t group = 0; group < l->groups; group++)
        for (int64_t first = 0, channels; first < n_to; first += channels) {
            channels = block(n_to - first, CHANNELS);
            for (int64_t quad = group * n_from / QUAD; quad * QUAD < (group + 1) * n_from; quad++)
                for (int64_t element = 0; element < l->elements; element++)
                    for (int64_t i = group * n_to + first; i < group * n_to + first + channels; i++)
                        for (int64_t c = quad * QUAD - group * n_from, end = c + QUAD; c < end; c++, own += LINE) {
                            if (c < 0 || c >= n_from) /* another group's */
                                continue;
                            int64_t at = (i * n_from + c) * l->elements + element;
                            l->of_weight[at] = clamped(l, l->weight[at], _mm512_reduce_add_ps(_mm512_loadu_ps(own)));
                        }
        }
}

#undef VNNI
#undef FORCED
#undef UNROLLED
#undef OUTPUTS
