/* What the convolutions and their gradients share: sizes, and the vectors they are computed in. */
#ifndef SQDR_SYNAPSE_H
#define SQDR_SYNAPSE_H

#include <stdint.h>

#include "processor.h"

#define LANES 8   /* of one vector */
#define OUTPUTS 4 /* output channels at once */

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef const float *floats;

typedef struct {
    int64_t n_steps, n, in_channels, out_channels, groups;
    int64_t height, width, out_height, out_width;
    int64_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
} geometry;

INLINE int64_t elements(const geometry *g) { return g->kernel_height * g->kernel_width; }

/* The input index that output index and kernel index meet at, or -1 outside of the image. */
INLINE int64_t meets(int64_t out, int64_t element, int64_t stride, int64_t padding, int64_t dilation, int64_t size)
{
    int64_t in = out * stride - padding + element * dilation;
    return in >= 0 && in < size ? in : -1;
}

#endif
