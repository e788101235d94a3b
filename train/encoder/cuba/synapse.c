/* Convolutions of spike trains whose batch is innermost, so that samples fill the lanes of a vector register.
 *
 * Arrays are (T, C, H * W, N): step, channel, place, sample. Sums of SLAYER's 8-bit weights are exact in
 * float32 in any order, as long as they stay below 2^18 = 2^24 / 64.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "processor.h"

#define LANES 8                /* of one vector */
#define TILE (2 * LANES)       /* samples at once */
#define OUTPUTS 4              /* output channels at once: 4 x 2 vectors of sums hide the latency of one */
#define INPUTS 3               /* of a weight gradient, beside OUTPUTS */

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    int64_t n_steps, n, in_channels, out_channels, groups;
    int64_t height, width, out_height, out_width;
    int64_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
} geometry;

/* What one place of the result is made of: which element of the kernel meets which place of the source. */
typedef struct {
    int32_t element, place;
} meeting;

typedef struct {
    int32_t *start; /* (places + 1): where the meetings of each place begin */
    meeting *meetings;
} meetings;

static int64_t elements(const geometry *g) { return g->kernel_height * g->kernel_width; }

static void forget(meetings *m)
{
    free(m->start);
    free(m->meetings);
}

/* The input index that output index and kernel index meet at, or -1 outside of the image. */
static int64_t meets(int64_t out, int64_t element, int64_t stride, int64_t padding, int64_t dilation, int64_t size)
{
    int64_t in = out * stride - padding + element * dilation;
    return in >= 0 && in < size ? in : -1;
}

/* For every output place the inputs (is_inverse = 0), or for every input place the outputs (1). */
static int find_meetings(const geometry *g, int is_inverse, meetings *m)
{
    int64_t n_out = g->out_height * g->out_width, n_in = g->height * g->width;
    int64_t n_places = is_inverse ? n_in : n_out;
    m->start = calloc((size_t)n_places + 2, sizeof *m->start);
    m->meetings = malloc((size_t)(n_out * elements(g)) * sizeof *m->meetings);
    if (!m->start || !m->meetings)
        return 0;
    for (int is_filling = 0; is_filling < 2; is_filling++) {
        for (int64_t oy = 0; oy < g->out_height; oy++)
            for (int64_t ky = 0; ky < g->kernel_height; ky++) {
                int64_t y = meets(oy, ky, g->stride_y, g->padding_y, g->dilation_y, g->height);
                for (int64_t ox = 0; y >= 0 && ox < g->out_width; ox++)
                    for (int64_t kx = 0; kx < g->kernel_width; kx++) {
                        int64_t x = meets(ox, kx, g->stride_x, g->padding_x, g->dilation_x, g->width);
                        if (x < 0)
                            continue;
                        int64_t in = y * g->width + x, out = oy * g->out_width + ox;
                        int64_t here = is_inverse ? in : out, there = is_inverse ? out : in;
                        if (is_filling) {
                            meeting found = {(int32_t)(ky * g->kernel_width + kx), (int32_t)there};
                            m->meetings[m->start[here + 1]++] = found;
                        } else {
                            m->start[here + 2]++;
                        }
                    }
            }
        for (int64_t place = 0; !is_filling && place < n_places; place++)
            m->start[place + 2] += m->start[place + 1];
    }
    return 1;
}

/* Sums of OUTPUTS channels over all terms for one tile of samples. x: (n_terms, TILE). */
INLINE void add_tile(const float *x, const int32_t *weight_rows, int64_t n_terms, const float *weights,
                     vector sums[OUTPUTS][2])
{
    vector a0 = {0}, a1 = {0}, b0 = {0}, b1 = {0}, c0 = {0}, c1 = {0}, d0 = {0}, d1 = {0};
    for (int64_t j = 0; j < n_terms; j++, x += TILE) {
        const float *w = weights + (int64_t)weight_rows[j] * OUTPUTS;
        vector x0 = *(const vector *)x, x1 = *(const vector *)(x + LANES);
        a0 += w[0] * x0, a1 += w[0] * x1;
        b0 += w[1] * x0, b1 += w[1] * x1;
        c0 += w[2] * x0, c1 += w[2] * x1;
        d0 += w[3] * x0, d1 += w[3] * x1;
    }
    sums[0][0] = a0, sums[0][1] = a1, sums[1][0] = b0, sums[1][1] = b1;
    sums[2][0] = c0, sums[2][1] = c1, sums[3][0] = d0, sums[3][1] = d1;
}

/* One place of all channels of one group. rows: where each term's samples are; weights: (n_channels / OUTPUTS,
 * all terms, OUTPUTS). packed: room for TILE samples of each term, which then lie close together. */
INLINE void add_place(const float *const *rows, const int32_t *weight_rows, int64_t n_terms, const float *weights,
                      int64_t all_terms, int64_t n_channels, float *out, int64_t channel_stride, int64_t n,
                      float *packed)
{
    vector sums[OUTPUTS][2];
    for (int64_t lane = 0; lane < n; lane += TILE) {
        int64_t size = n - lane < TILE ? n - lane : TILE;
        if (size == TILE)
            for (int64_t j = 0; j < n_terms; j++)
                memcpy(packed + j * TILE, rows[j] + lane, TILE * sizeof(float));
        else
            for (int64_t j = 0; j < n_terms; j++)
                memcpy(packed + j * TILE, rows[j] + lane, (size_t)size * sizeof(float));
        for (int64_t channel = 0; channel < n_channels; channel += OUTPUTS) {
            add_tile(packed, weight_rows, n_terms, weights + channel * all_terms, sums);
            for (int64_t i = 0; i < OUTPUTS && channel + i < n_channels; i++) {
                float *to = out + (channel + i) * channel_stride + lane;
                if (size == TILE)
                    memcpy(to, sums[i], sizeof sums[i]);
                else
                    memcpy(to, sums[i], (size_t)size * sizeof(float));
            }
        }
    }
}

/* Return weight (out_channels, in_channels / groups, elements) in order of use: (groups, channels of to / OUTPUTS,
 * channels of from * elements, OUTPUTS), channels those of one group, with zeros for those that are too many. */
static float *pack(const float *weight, const geometry *g, int is_inverse)
{
    int64_t n_out = g->out_channels / g->groups, n_in = g->in_channels / g->groups, n = elements(g);
    int64_t n_to = is_inverse ? n_in : n_out, n_terms = (is_inverse ? n_out : n_in) * n;
    int64_t blocks = (n_to + OUTPUTS - 1) / OUTPUTS;
    float *packed = calloc((size_t)(g->groups * blocks * n_terms * OUTPUTS), sizeof *packed);
    for (int64_t o = 0; packed && o < g->out_channels; o++)
        for (int64_t c = 0; c < n_in; c++)
            for (int64_t element = 0; element < n; element++) {
                int64_t to = is_inverse ? c : o % n_out, from = is_inverse ? o % n_out : c;
                int64_t row = (o / n_out * blocks + to / OUTPUTS) * n_terms + from * n + element;
                packed[row * OUTPUTS + to % OUTPUTS] = *weight++;
            }
    return packed;
}

/* to[t, c, p, :] = sum over c', (e, q) in meetings of p: weight[c', e, c] * from[t, c', q, :], group by group. */
INLINE int combine(const float *from, const float *weight, float *to, const geometry *g, int is_inverse)
{
    int64_t n_from = (is_inverse ? g->out_channels : g->in_channels) / g->groups;
    int64_t n_to = (is_inverse ? g->in_channels : g->out_channels) / g->groups;
    int64_t out_places = g->out_height * g->out_width, in_places = g->height * g->width;
    int64_t from_places = is_inverse ? out_places : in_places, to_places = is_inverse ? in_places : out_places;
    int64_t n_outputs = (n_to + OUTPUTS - 1) / OUTPUTS * OUTPUTS, most = n_from * elements(g), n = g->n;
    meetings m = {0};
    const float **rows = malloc((size_t)most * sizeof *rows);
    int32_t *weight_rows = malloc((size_t)most * sizeof *weight_rows);
    float *packed = calloc((size_t)(most * TILE), sizeof *packed);
    float *weights = pack(weight, g, is_inverse);
    int is_done = rows && weight_rows && packed && weights && find_meetings(g, is_inverse, &m);
    for (int64_t t = 0; is_done && t < g->n_steps; t++)
        for (int64_t group = 0; group < g->groups; group++)
            for (int64_t place = 0; place < to_places; place++) {
                const float *source = from + (t * g->groups + group) * n_from * from_places * n;
                int64_t n_terms = 0;
                for (int64_t c = 0; c < n_from; c++)
                    for (int32_t i = m.start[place]; i < m.start[place + 1]; i++) {
                        rows[n_terms] = source + (c * from_places + m.meetings[i].place) * n;
                        weight_rows[n_terms++] = (int32_t)(c * elements(g) + m.meetings[i].element);
                    }
                add_place(rows, weight_rows, n_terms, weights + group * most * n_outputs, most, n_to,
                          to + (((t * g->groups + group) * n_to) * to_places + place) * n, to_places * n, n, packed);
            }
    forget(&m);
    free(weights);
    free(rows);
    free(weight_rows);
    free(packed);
    return !is_done;
}

/* For every output place and element of the kernel, the input place that they meet at, or -1. */
static int32_t *input_places(const geometry *g)
{
    int32_t *found = malloc((size_t)(g->out_height * g->out_width * elements(g)) * sizeof *found);
    int64_t i = 0;
    for (int64_t oy = 0; found && oy < g->out_height; oy++)
        for (int64_t ox = 0; ox < g->out_width; ox++)
            for (int64_t ky = 0; ky < g->kernel_height; ky++)
                for (int64_t kx = 0; kx < g->kernel_width; kx++) {
                    int64_t y = meets(oy, ky, g->stride_y, g->padding_y, g->dilation_y, g->height);
                    int64_t x = meets(ox, kx, g->stride_x, g->padding_x, g->dilation_x, g->width);
                    found[i++] = (int32_t)(y < 0 || x < 0 ? -1 : y * g->width + x);
                }
    return found;
}

/* sums[i][j] += the products of gradient i and input j over all samples. */
INLINE void add_products(const float *const *grads, const float *const *inputs, int64_t n,
                         vector sums[OUTPUTS][INPUTS])
{
    int64_t lane = 0;
    for (; lane + LANES <= n; lane += LANES)
        for (int j = 0; j < INPUTS; j++) {
            vector in = *(const vector *)(inputs[j] + lane);
            for (int i = 0; i < OUTPUTS; i++)
                sums[i][j] += *(const vector *)(grads[i] + lane) * in;
        }
    for (; lane < n; lane++)
        for (int j = 0; j < INPUTS; j++)
            for (int i = 0; i < OUTPUTS; i++)
                sums[i][j][0] += grads[i][lane] * inputs[j][lane];
}

/* The same over one line of output places; channels and terms beyond the last are computed as the last. */
INLINE void add_line(const float *grad, const float *x, const geometry *g, const int32_t *places, int64_t oy,
                     int64_t channel, int64_t term, const float *zeros, vector *to)
{
    int64_t n_channels = g->out_channels / g->groups, n_terms = g->in_channels / g->groups * elements(g);
    int64_t out_places = g->out_height * g->out_width, in_places = g->height * g->width;
    int64_t element[INPUTS];
    const float *plane[INPUTS], *grads[OUTPUTS], *inputs[INPUTS];
    vector sums[OUTPUTS][INPUTS];
    memcpy(sums, to, sizeof sums);
    for (int64_t j = 0; j < INPUTS; j++) {
        int64_t this = term + j < n_terms ? term + j : n_terms - 1;
        element[j] = this % elements(g);
        plane[j] = x + this / elements(g) * in_places * g->n;
    }
    for (int64_t place = oy * g->out_width; place < (oy + 1) * g->out_width; place++) {
        for (int64_t i = 0; i < OUTPUTS; i++) {
            int64_t this = channel + i < n_channels ? channel + i : n_channels - 1;
            grads[i] = grad + (this * out_places + place) * g->n;
        }
        for (int64_t j = 0; j < INPUTS; j++) {
            int32_t met = places[place * elements(g) + element[j]];
            inputs[j] = met < 0 ? zeros : plane[j] + met * g->n;
        }
        add_products(grads, inputs, g->n, sums);
    }
    memcpy(to, sums, sizeof sums);
}

/* out[o, c, e] = sum over steps, places and samples of grad[t, o, p, :] * x[t, c, q, :]. */
INLINE int multiply(const float *grad, const float *x, float *out, const geometry *g)
{
    int64_t n_channels = g->out_channels / g->groups, n_terms = g->in_channels / g->groups * elements(g);
    int64_t out_places = g->out_height * g->out_width, in_places = g->height * g->width;
    int64_t rows = (n_channels + OUTPUTS - 1) / OUTPUTS, columns = (n_terms + INPUTS - 1) / INPUTS;
    size_t n_sums = (size_t)(g->groups * rows * columns * OUTPUTS * INPUTS);
    vector *sums = calloc(n_sums, sizeof *sums);
    float *zeros = calloc((size_t)g->n, sizeof *zeros);
    int32_t *places = input_places(g);
    int is_done = sums && zeros && places;
    for (int64_t t = 0; is_done && t < g->n_steps; t++)
        for (int64_t group = 0; group < g->groups; group++)
            for (int64_t oy = 0; oy < g->out_height; oy++) {
                const float *of_grad = grad + (t * g->groups + group) * n_channels * out_places * g->n;
                const float *of_x = x + (t * g->groups + group) * (g->in_channels / g->groups) * in_places * g->n;
                vector *to = sums + group * rows * columns * OUTPUTS * INPUTS;
                for (int64_t row = 0; row < rows; row++)
                    for (int64_t column = 0; column < columns; column++, to += OUTPUTS * INPUTS)
                        add_line(of_grad, of_x, g, places, oy, row * OUTPUTS, column * INPUTS, zeros, to);
            }
    for (int64_t o = 0; is_done && o < g->out_channels; o++)
        for (int64_t term = 0; term < n_terms; term++) {
            int64_t group = o / n_channels, channel = o % n_channels;
            const vector *from = sums + ((group * rows + channel / OUTPUTS) * columns + term / INPUTS) * OUTPUTS * INPUTS;
            vector sum = from[channel % OUTPUTS * INPUTS + term % INPUTS];
            float total = 0;
            for (int lane = 0; lane < LANES; lane++)
                total += sum[lane];
            out[o * n_terms + term] = total;
        }
    free(sums);
    free(zeros);
    free(places);
    return !is_done;
}

typedef const float *floats;

/* Weighted spikes (T, out_channels, out places, N) of x (T, in_channels, places, N).
 *
 * weight: (out_channels, in_channels / groups, elements). Like the two below it returns 0, or 1 if there was no
 * memory. */
int32_t sqdr_convolve(floats x, floats weight, float *to, const geometry *g);
DISPATCHED(int32_t, sqdr_convolve, (floats x, floats weight, float *to, const geometry *g),
           return combine(x, weight, to, g, 0))
{
    return DISPATCH(sqdr_convolve, (x, weight, to, g));
}

/* The gradient of x for grad, that of the weighted spikes. */
int32_t sqdr_input_gradient(floats grad, floats weight, float *to, const geometry *g);
DISPATCHED(int32_t, sqdr_input_gradient, (floats grad, floats weight, float *to, const geometry *g),
           return combine(grad, weight, to, g, 1))
{
    return DISPATCH(sqdr_input_gradient, (grad, weight, to, g));
}

/* The gradient (out_channels, in_channels / groups, elements) of the weights. */
int32_t sqdr_weight_gradient(floats grad, floats x, float *to, const geometry *g);
DISPATCHED(int32_t, sqdr_weight_gradient, (floats grad, floats x, float *to, const geometry *g),
           return multiply(grad, x, to, g))
{
    return DISPATCH(sqdr_weight_gradient, (grad, x, to, g));
}

#define TURNED 64 /* samples: their lines of x stay in the first-level cache over the steps they hold */

/* x (N, places, T) with its axes turned around: to (T, places, N). */
void sqdr_reverse(floats x, float *to, int64_t n, int64_t places, int64_t n_steps);
void sqdr_reverse(floats x, float *to, int64_t n, int64_t places, int64_t n_steps)
{
    for (int64_t place = 0; place < places; place++)
        for (int64_t first = 0; first < n; first += TURNED) {
            int64_t end = first + TURNED < n ? first + TURNED : n;
            for (int64_t t = 0; t < n_steps; t++)
                for (int64_t i = first; i < end; i++)
                    to[(t * places + place) * n + i] = x[(i * places + place) * n_steps + t];
        }
}
