/* One copy of each kernel for every instruction set that it gains from, chosen at run time. */
#ifndef SQDR_PROCESSOR_H
#define SQDR_PROCESSOR_H

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* SQDR_PORTABLE: as on any other processor, for tests. */
#if defined(__GNUC__) && defined(__x86_64__) && !defined(SQDR_PORTABLE)
#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
/* Define name(parameters) as a call of body, compiled twice. */
#define DISPATCHED(type, name, parameters, body)                                                  \
    __attribute__((target("avx2,fma"))) static type name##_avx2 parameters { body; }              \
    static type name##_plain parameters { body; }                                                 \
    type name parameters
#define DISPATCH(name, arguments) (HAS_AVX2 ? name##_avx2 arguments : name##_plain arguments)
#else
#define DISPATCHED(type, name, parameters, body) \
    static type name##_plain parameters { body; } \
    type name parameters
#define DISPATCH(name, arguments) (name##_plain arguments)
#endif

#endif
