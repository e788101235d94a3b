/* The gradient of a convolution's weights. Arrays are (T, C, H * W, N), as in synapse.c. */
#include <stdlib.h>
#include <string.h>

#include "synapse.h"

#define INPUTS 3 /* terms at once, beside OUTPUTS channels: as many sums as there are registers for */

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
            int64_t block = (group * rows + channel / OUTPUTS) * columns + term / INPUTS;
            const vector *from = sums + block * OUTPUTS * INPUTS;
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

/* The gradient (out_channels, in_channels / groups, elements) of the weights. */
int32_t sqdr_weight_gradient(floats grad, floats x, float *to, const geometry *g);
DISPATCHED(int32_t, sqdr_weight_gradient, (floats grad, floats x, float *to, const geometry *g),
           return multiply(grad, x, to, g))
{
    return DISPATCH(sqdr_weight_gradient, (grad, x, to, g));
}
