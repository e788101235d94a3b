/* Convolutions of spike trains whose batch is innermost, so that samples fill the lanes of a vector register.
 *
 * Arrays are (T, C, H * W, N): step, channel, place, sample. Sums of SLAYER's 8-bit weights are exact in
 * float32 in any order, as long as they stay below 2^18 = 2^24 / 64.
 */
#include <stdlib.h>
#include <string.h>

#include "synapse.h"

#define TILE (2 * LANES) /* samples at once: with OUTPUTS channels enough sums to hide the latency of one */

/* What one place of the result is made of: which element of the kernel meets which place of the source. */
typedef struct {
    int32_t element, place;
} meeting;

typedef struct {
    int32_t *start; /* (places + 1): where the meetings of each place begin */
    meeting *meetings;
} meetings;

static void forget(meetings *m)
{
    free(m->start);
    free(m->meetings);
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

/* Weighted spikes (T, out_channels, out places, N) of x (T, in_channels, places, N).
 *
 * weight: (out_channels, in_channels / groups, elements). Like the other two it returns 0, or 1 if there was no
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
