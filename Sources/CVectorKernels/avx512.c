#include "CVectorKernels.h"

#if defined(__x86_64__)
#include <math.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq"))),    \
                             apply_to = function)
#define HEADS_AT_ONCE 4
#define VECTORS_AT_ONCE 4
#define ISA avx512
#include "templates.h"
#pragma clang attribute pop
#endif
