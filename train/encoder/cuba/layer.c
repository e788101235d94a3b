/* Whole layers: a convolution and its neurons in one pass, and their gradients.
 *
 * Arrays are (tiles, C, H * W, T, LINE) floats: LINE samples, then channel, place, step, sample. A row, (T, LINE), is
 * all there is of a neuron. Weighted spikes stay in registers and states in the first-level cache; memory sees
 * spikes and, for the gradient, voltages. Sums are exact as in synapse.c, the neurons are those of neuron.c.
 * Where the processor has AVX-512 VNNI spikes and voltages are smaller: see layer_vnni.h.
 */
#include "layer.h"

#define TARGET
#define VARIANT(name) name##_portable
#define LANES 4 /* GCC computes longer vectors than the processor's one number at a time */
#define OUTPUTS 4
#include "layer_kernels.h"

#if defined(HAS_AVX2)
#define TARGET __attribute__((target("avx2,fma")))
#define VARIANT(name) name##_avx2
#define LANES 8
#define OUTPUTS 4
#include "layer_kernels.h"

#define HAS_AVX512 (HAS_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
#define TARGET __attribute__((target("avx512f,avx512dq,avx2,fma")))
#define VARIANT(name) name##_avx512
#define LANES 16
#define OUTPUTS 8
#include "layer_kernels.h"

#if defined(__clang__) || __GNUC__ >= 8 /* earlier ones do not know VNNI */
#include "layer_vnni.h"
#define HAS_VNNI \
    (HAS_AVX512 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") \
     && __builtin_cpu_supports("avx512vnni"))
#endif
#define CHOOSE(level, name, arguments) \
    ((level) >= 2 ? name##_avx512 arguments : (level) == 1 ? name##_avx2 arguments : name##_portable arguments)
#else
#define CHOOSE(level, name, arguments) ((void)(level), name##_portable arguments)
#endif

/* The widest vectors of this processor: 0 those of any processor, 1 AVX2, 2 AVX-512, 3 with VNNI. */
int32_t sqdr_vectors(void);
int32_t sqdr_vectors(void)
{
#if defined(HAS_VNNI)
    if (HAS_VNNI)
        return 3;
#endif
#if defined(HAS_AVX2)
    return HAS_AVX512 ? 2 : HAS_AVX2 ? 1 : 0;
#else
    return 0;
#endif
}

/* What level of vectors these layers are computed with. */
int32_t sqdr_level(const layer *layers, int64_t n_layers, int32_t level);
int32_t sqdr_level(const layer *layers, int64_t n_layers, int32_t level)
{
    int32_t widest = sqdr_vectors();
    level = level < widest ? level : widest;
#if defined(HAS_VNNI)
    for (int64_t i = 0; level == 3 && i < n_layers; i++)
        if (!suits_vnni(&layers[i], i == 0))
            level = 2;
#else
    (void)layers;
    (void)n_layers;
#endif
    return level;
}

/* Whether spikes are quads, and voltages 16 bits: see layer_vnni.h. */
INLINE int has_quads(int32_t vectors) { return vectors == 3; }

/* Put weights in order of use: for each group and block of channels of
 * the sums, (channels of the terms * elements, block). */
static void pack(const layer *l, int is_inverse, int64_t most, float *to)
{
    int64_t n_in = l->in_channels / l->groups, n_out = l->out_channels / l->groups;
    int64_t n_to = is_inverse ? n_in : n_out, n_from = is_inverse ? n_out : n_in;
    for (int64_t group = 0; group < l->groups; group++)
        for (int64_t first = 0, size; first < n_to; first += size) {
            size = block(n_to - first, most);
            for (int64_t from = 0; from < n_from; from++)
                for (int64_t element = 0; element < l->elements; element++)
                    for (int64_t i = first; i < first + size; i++) {
                        int64_t out = group * n_out + (is_inverse ? from : i), in = is_inverse ? i : from;
                        *to++ = quantised(l, l->weight[(out * n_in + in) * l->elements + element]);
                    }
        }
}

static void forget(workspace *spaces, int64_t n_layers)
{
    for (int64_t i = 0; spaces && i < n_layers; i++) {
        free(spaces[i].rows);
        free(spaces[i].weight_rows);
        free(spaces[i].states);
        free(spaces[i].where);
        free(spaces[i].weights);
        free(spaces[i].inverse);
        free(spaces[i].sums);
        free(spaces[i].zeros);
    }
    free(spaces);
}

/* quads: the layer's inputs are those of layer_vnni.h. Returns 1, or 0 if there is no memory. */
static int make(const layer *l, int has_gradient, int quads, int64_t outputs, workspace *space)
{
    int64_t n_in = l->in_channels / l->groups, n_out = l->out_channels / l->groups;
    int64_t most = (n_in > n_out ? n_in : n_out) * l->elements + INPUTS, columns = n_in * l->elements + INPUTS;
    size_t n_weights = (size_t)(l->out_channels * n_in * l->elements);
    size_t n_sums = (size_t)(l->out_channels * columns), n_packed = n_weights * sizeof *space->weights;
#if defined(HAS_VNNI)
    if (quads)
        n_sums = n_packed = packed_vnni(l);
#else
    (void)quads;
#endif
    space->rows = malloc((size_t)most * sizeof *space->rows);
    space->weight_rows = malloc((size_t)most * sizeof *space->weight_rows);
    if (!space->rows || !space->weight_rows)
        return 0;
    if (!has_gradient) {
        space->states = malloc((size_t)(n_out * 2 * LINE) * sizeof *space->states);
        space->weights = malloc(n_packed);
        return space->states && space->weights;
    }
    space->inverse = malloc(n_weights * sizeof *space->inverse);
    space->sums = calloc(n_sums * LINE, sizeof *space->sums);
    space->zeros = calloc((size_t)(l->n_steps * LINE), sizeof *space->zeros);
    space->where = malloc((size_t)(l->elements * l->out_places) * sizeof *space->where);
    if (!space->inverse || !space->sums || !space->zeros || !space->where)
        return 0;
    pack(l, 1, outputs, space->inverse);
#if defined(HAS_VNNI)
    if (quads)
        where_vnni(l, space->where);
#endif
    return 1;
}

/* Return what each layer needs beside the spikes, or null if there is no memory. */
static workspace *make_all(const layer *layers, int64_t n_layers, int has_gradient, int vectors)
{
    workspace *spaces = calloc((size_t)n_layers, sizeof *spaces);
    for (int64_t i = 0; spaces && i < n_layers; i++)
        if (!make(&layers[i], has_gradient, has_quads(vectors) && i, vectors >= 2 ? 8 : 4, &spaces[i])) {
            forget(spaces, n_layers);
            return 0;
        }
    return spaces;
}

INLINE int64_t in_size(const layer *l) { return l->in_channels * l->in_places * l->n_steps; }

INLINE int64_t out_size(const layer *l) { return l->out_channels * l->out_places * l->n_steps; }

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t order __attribute__((vector_size(16)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (order){__VA_ARGS__})
#endif

/* x (n, rows) turned to (rows, LINE), with zeros for the samples that are missing. */
static void turn(const float *x, float *to, int64_t n, int64_t rows)
{
    int64_t first = 0;
    for (; n >= LINE && first + LINE <= rows; first += LINE)
        for (int64_t i = 0; i < LINE; i += 4)
            for (int64_t r = first; r < first + LINE; r += 4) {
                const float *from = x + i * rows + r;
                four p = *(const four *)from, q = *(const four *)(from + rows);
                four s = *(const four *)(from + 2 * rows), t = *(const four *)(from + 3 * rows);
                four pq = SHUFFLE(p, q, 0, 4, 1, 5), PQ = SHUFFLE(p, q, 2, 6, 3, 7);
                four st = SHUFFLE(s, t, 0, 4, 1, 5), ST = SHUFFLE(s, t, 2, 6, 3, 7);
                *(four *)(to + r * LINE + i) = SHUFFLE(pq, st, 0, 1, 4, 5);
                *(four *)(to + (r + 1) * LINE + i) = SHUFFLE(pq, st, 2, 3, 6, 7);
                *(four *)(to + (r + 2) * LINE + i) = SHUFFLE(PQ, ST, 0, 1, 4, 5);
                *(four *)(to + (r + 3) * LINE + i) = SHUFFLE(PQ, ST, 2, 3, 6, 7);
            }
    for (; first < rows; first++)
        for (int64_t i = 0; i < LINE; i++)
            to[first * LINE + i] = i < n ? x[i * rows + first] : 0.0f;
}

/* Turn back, (rows, LINE) to (n, rows). */
static void turn_back(const float *x, float *to, int64_t n, int64_t rows)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < n && i < LINE; i++)
            to[i * rows + row] = x[row * LINE + i];
}

/* A layer's spikes of one tile, in floats; of its voltages there are out_size(l) * LINE. */
INLINE int64_t kept_size(const layer *l, int32_t vectors)
{
    int64_t n = has_quads(vectors) ? (l->out_channels + 3) / 4 : l->out_channels;
    return n * l->out_places * l->n_steps * LINE;
}

INLINE int64_t voltages_size(const layer *l, int32_t vectors)
{
    return out_size(l) * LINE / (has_quads(vectors) ? 2 : 1);
}

/* Returns 0 if a weight is no number and bytes are wanted. */
static int pack_forward(const layer *l, int32_t vectors, int is_first, workspace *space)
{
#if defined(HAS_VNNI)
    if (has_quads(vectors) && !is_first)
        return pack_vnni(l, (int8_t *)space->weights);
#endif
    (void)is_first;
    pack(l, 0, vectors >= 2 ? 8 : 4, space->weights);
    return 1;
}

static uint32_t forward(const layer *l, const workspace *space, int32_t vectors, int is_first, const float *x,
                        float *spikes, float *voltages)
{
#if defined(HAS_VNNI)
    if (has_quads(vectors))
        return forward_vnni(l, space, is_first, x, spikes, (uint16_t *)voltages);
#endif
    (void)is_first;
    return CHOOSE(vectors, forward, (l, space, x, spikes, voltages));
}

/* Add the gradient of the weights of a tile to the sums, that of the weighted spikes is left in weighed. */
static void backward(const layer *l, const workspace *space, int32_t vectors, int is_first, const float *grad,
                     const float *x, const float *voltages, float *weighed)
{
#if defined(HAS_VNNI)
    if (has_quads(vectors)) {
        neuron_gradient_vnni(l, grad, (const uint16_t *)voltages, weighed);
        if (!is_first) {
            weight_gradient_vnni(l, space, weighed, x);
            return;
        }
    } else
#endif
        CHOOSE(vectors, neuron_gradient, (l, grad, voltages, weighed));
    (void)is_first;
    CHOOSE(vectors, weight_gradient, (l, space, weighed, x));
}

static void finish(const layer *l, const workspace *space, int32_t vectors, int is_first)
{
#if defined(HAS_VNNI)
    if (has_quads(vectors) && !is_first) {
        reduce_vnni(l, space);
        return;
    }
#endif
    (void)is_first;
    CHOOSE(vectors, reduce, (l, space));
}

/* Spikes (rows, LINE), or quads, of a layer to (n, rows). */
static void give(const layer *l, int32_t vectors, const float *spikes, float *to, int64_t n)
{
    int64_t rows = out_size(l), of_channel = l->out_places * l->n_steps;
    if (!has_quads(vectors)) {
        turn_back(spikes, to, n, rows);
        return;
    }
    for (int64_t row = 0; row < rows; row++) {
        int64_t channel = row / of_channel, line = channel / 4 * of_channel + row % of_channel;
        const unsigned char *from = (const unsigned char *)(spikes + line * LINE) + channel % 4;
        for (int64_t i = 0; i < n && i < LINE; i++)
            to[i * rows + row] = from[i * 4];
    }
}

/* Spikes of the last layer, out (n, C, H * W, T), for those of the input, x likewise.
 *
 * spikes: room for (tiles, those of input and all layers, LINE). voltages: for (tiles, those of all layers, LINE),
 * before the reset; or null. At level 3 less of it is used, see layer_vnni.h.
 * Returns 0; 1 if a state reached 2^30 or an input is no number, the results are then wrong; 2 if there is no memory. */
int32_t sqdr_encode(const layer *layers, int64_t n_layers, const float *x, int64_t n, float *spikes, float *voltages,
                    float *out, int32_t level);
int32_t sqdr_encode(const layer *layers, int64_t n_layers, const float *x, int64_t n, float *spikes, float *voltages,
                    float *out, int32_t level)
{
    int32_t vectors = sqdr_level(layers, n_layers, level);
    int64_t n_in = in_size(layers), n_out = out_size(layers + n_layers - 1);
    uint32_t reached = 0;
    workspace *spaces = make_all(layers, n_layers, 0, vectors);
    if (!spaces)
        return 2;
    for (int64_t i = 0; i < n_layers; i++)
        if (!pack_forward(&layers[i], vectors, i == 0, &spaces[i]))
            reached = LIMIT;
    for (int64_t left = n; left > 0; left -= LINE) {
        const float *from = spikes;
        turn(x, spikes, left, n_in);
        spikes += n_in * LINE;
        for (int64_t i = 0; i < n_layers; i++) {
            reached |= forward(&layers[i], &spaces[i], vectors, i == 0, from, spikes, voltages);
            from = spikes;
            spikes += kept_size(&layers[i], vectors);
            if (voltages)
                voltages += voltages_size(&layers[i], vectors);
        }
        give(layers + n_layers - 1, vectors, from, out, left);
        x += n_in * LINE;
        out += n_out * LINE;
    }
    forget(spaces, n_layers);
    return reached >= LIMIT;
}
/* The gradients of all weights and, unless null, of the input, of_x (n, C, H * W, T), for that of out, grad likewise.
 *
 * spikes, voltages: what sqdr_encode filled. grads: room for twice the largest layer of one tile, the input being
 * one. Returns 0, or 2 if there is no memory. */
int32_t sqdr_encode_gradient(const layer *layers, int64_t n_layers, const float *grad, int64_t n, const float *spikes,
                             const float *voltages, float *grads, int64_t largest, float *of_x, int32_t level);
int32_t sqdr_encode_gradient(const layer *layers, int64_t n_layers, const float *grad, int64_t n, const float *spikes,
                             const float *voltages, float *grads, int64_t largest, float *of_x, int32_t level)
{
    int32_t vectors = sqdr_level(layers, n_layers, level);
    int64_t n_in = in_size(layers), n_out = out_size(layers + n_layers - 1);
    int64_t n_kept = n_in * LINE, n_voltages = 0; /* of a tile */
    workspace *spaces = make_all(layers, n_layers, 1, vectors);
    if (!spaces)
        return 2;
    for (int64_t i = 0; i < n_layers; i++) {
        n_kept += kept_size(&layers[i], vectors);
        n_voltages += voltages_size(&layers[i], vectors);
    }
    for (int64_t left = n; left > 0; left -= LINE) {
        float *of_spikes = grads, *weighed = grads + largest * LINE;
        spikes += n_kept;
        voltages += n_voltages;
        turn(grad, of_spikes, left, n_out);
        const float *from = spikes - kept_size(layers + n_layers - 1, vectors), *voltage = voltages;
        for (int64_t i = n_layers - 1; i >= 0; i--) {
            const layer *l = &layers[i];
            from -= i ? kept_size(l - 1, vectors) : n_in * LINE;
            voltage -= voltages_size(l, vectors);
            backward(l, &spaces[i], vectors, i == 0, of_spikes, from, voltage, weighed);
            if (i || of_x)
                CHOOSE(vectors, input_gradient, (l, &spaces[i], weighed, of_spikes));
        }
        if (of_x) {
            turn_back(of_spikes, of_x, left, n_in);
            of_x += n_in * LINE;
        }
        grad += n_out * LINE;
    }
    for (int64_t i = 0; i < n_layers; i++)
        finish(&layers[i], &spaces[i], vectors, i == 0);
    forget(spaces, n_layers);
    return 0;
}
