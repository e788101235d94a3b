/* SLAYER's CUBA neurons over a whole spike train, and their gradient. Plain C99, nothing but the C library.
 *
 * Arrays are time-major, (T, n): element t * n + i is neuron i at step t, so that neighbouring neurons fill
 * the lanes of a vector register. The arithmetic is lava-dl 0.6.0's, lava/lib/dl/slayer/neuron/dynamics/
 * leaky_integrator.py and spike/spike.py, with one difference: states are 32-bit integers here and 64-bit
 * ones there. Where 32 bits could not hold a state, forward says so and its results are to be thrown away.
 */
#include <math.h>
#include <stdint.h>

#include "processor.h"

/* Raised with every change of a signature or of what a function computes: the Python side asks for it, and
 * leaves a library of another version alone. */
#define INTERFACE_VERSION 3

#define DECAY_BITS 12
#define BLOCK 512 /* neurons: their states stay in the first-level cache over all steps */
#define LIMIT (1u << 30)
/* The surrogate stays at exp(-64) = 1.6e-28 beyond: smaller ones make denormal products with gradients, at a
 * hundred times the cost. */
#define FARTHEST 64.0f

INLINE uint32_t magnitude(int32_t value) { return value < 0 ? 0u - (uint32_t)value : (uint32_t)value; }

/* trunc(state * keep / 4096) without a 64-bit product: state = 4096 a + b, both of state's sign. */
INLINE int32_t decayed(int32_t state, uint32_t keep)
{
    uint32_t size = magnitude(state);
    uint32_t kept = (size >> DECAY_BITS) * keep + (((size & 4095u) * keep) >> DECAY_BITS);
    return (int32_t)(state < 0 ? 0u - kept : kept);
}

/* exp(x) for -87 < x <= 0, within 2 units in the last place.
 * Cody and Waite's reduction with the minimax polynomial of Cephes' expf. */
INLINE float exp_negative(float x)
{
    int32_t power = (int32_t)(x * 1.44269504f - 0.5f); /* truncates up: the nearest, as x <= 0 */
    float n = (float)power;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t bits; float value; } two_to_power = {(power + 127) << 23};
    return p * two_to_power.value;
}

INLINE uint32_t steps(float *restrict values, float *restrict spikes, int64_t n, int64_t n_steps, float scale,
                      uint32_t keep_current, uint32_t keep_voltage, float threshold)
{
    uint32_t reached = 0;
    const float unit = 1.0f / scale;
    for (int64_t start = 0; start < n; start += BLOCK) {
        int32_t size = (int32_t)(n - start < BLOCK ? n - start : BLOCK);
        int32_t current[BLOCK] = {0}, state[BLOCK] = {0};
        for (int64_t t = 0; t < n_steps; t++) {
            float *restrict x = values + t * n + start, *restrict s_out = spikes + t * n + start;
            for (int32_t i = 0; i < size; i++) {
                float scaled = x[i] * scale;
                int fits = fabsf(scaled) < (float)LIMIT; /* false for NaN */
                int32_t u = (int32_t)(fits ? scaled : 0.0f);
                if (keep_current) {
                    u = (int32_t)((uint32_t)decayed(current[i], keep_current) + (uint32_t)u);
                    current[i] = u;
                    reached |= magnitude(u);
                    u = (int32_t)(float)u; /* SLAYER hands it on as float32, which rounds above 2^24 */
                }
                int32_t v = (int32_t)((uint32_t)decayed(state[i], keep_voltage) + (uint32_t)u);
                reached |= magnitude(u) | magnitude(v) | (fits ? 0 : LIMIT);
                int is_spike = (float)v >= threshold;
                state[i] = is_spike ? 0 : v;
                x[i] = (float)v * unit;
                s_out[i] = is_spike ? 1.0f : 0.0f;
            }
        }
    }
    return reached;
}

INLINE int32_t forward(float *values, float *spikes, int64_t n, int64_t n_steps, float scale, int32_t current_decay,
                       int32_t voltage_decay, float threshold)
{
    uint32_t keep_current = (uint32_t)(4096 - current_decay), keep_voltage = (uint32_t)(4096 - voltage_decay);
    uint32_t reached;
    if (keep_current)
        reached = steps(values, spikes, n, n_steps, scale, keep_current, keep_voltage, threshold);
    else /* the usual case, a copy without the current: none outlasts its step */
        reached = steps(values, spikes, n, n_steps, scale, 0, keep_voltage, threshold);
    return reached >= LIMIT;
}

INLINE void backward(const float *grad, const float *voltage, float *out, int64_t n, int64_t n_steps,
                     float keep_current, float keep_voltage, float threshold, float tau, float height)
{
    for (int64_t start = 0; start < n; start += BLOCK) {
        int32_t size = (int32_t)(n - start < BLOCK ? n - start : BLOCK);
        float of_current[BLOCK] = {0}, of_voltage[BLOCK] = {0}, exponent[BLOCK];
        for (int64_t t = n_steps - 1; t >= 0; t--) {
            const float *restrict g = grad + t * n + start, *restrict v = voltage + t * n + start;
            float *restrict g_out = out + t * n + start;
            for (int32_t i = 0; i < size; i++) { /* a loop of its own, or GCC branches and uses no vectors below */
                float distance = fabsf(v[i] - threshold) / tau;
                exponent[i] = distance < FARTHEST ? -distance : -FARTHEST;
            }
            for (int32_t i = 0; i < size; i++) {
                float surrogate = height * exp_negative(exponent[i]);
                float of_v = surrogate * g[i] + keep_voltage * of_voltage[i];
                float of_u = keep_current * of_current[i] + of_v;
                of_voltage[i] = of_v;
                of_current[i] = of_u;
                g_out[i] = of_u;
            }
        }
    }
}

int32_t sqdr_version(void);
int32_t sqdr_version(void) { return INTERFACE_VERSION; }

/* Turn values (T, n), the weighted spikes, into voltages before the reset, and fill spikes with 0 or 1.
 *
 * scale: of the states, a power of two; decays: of 4096; threshold: in the states' units.
 * Returns 0, or 1 if a state reached 2^30 or an input is no number: the results are then wrong. */
#define PARAMETERS                                                                                                  \
    (float *values, float *spikes, int64_t n, int64_t n_steps, float scale, int32_t current_decay,                 \
     int32_t voltage_decay, float threshold)
int32_t sqdr_neuron PARAMETERS;
DISPATCHED(int32_t, sqdr_neuron, PARAMETERS,
           return forward(values, spikes, n, n_steps, scale, current_decay, voltage_decay, threshold))
{
    return DISPATCH(sqdr_neuron, (values, spikes, n, n_steps, scale, current_decay, voltage_decay, threshold));
}
#undef PARAMETERS

/* Fill out with the gradient of the inputs, for the gradient of the spikes and the voltage, each (T, n).
 *
 * keep_*: 1 - decay / 4096; threshold: in units of 1; the surrogate is height * exp(-|v - threshold| / tau). */
#define PARAMETERS                                                                                       \
    (const float *grad, const float *voltage, float *out, int64_t n, int64_t n_steps, float keep_current, \
     float keep_voltage, float threshold, float tau, float height)
void sqdr_neuron_gradient PARAMETERS;
DISPATCHED(void, sqdr_neuron_gradient, PARAMETERS,
           backward(grad, voltage, out, n, n_steps, keep_current, keep_voltage, threshold, tau, height))
{
    DISPATCH(sqdr_neuron_gradient,
             (grad, voltage, out, n, n_steps, keep_current, keep_voltage, threshold, tau, height));
}
