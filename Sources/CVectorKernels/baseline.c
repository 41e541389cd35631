#include "CVectorKernels.h"

#include <math.h>

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#endif

// Two 256-bit registers make one value of sixteen lanes: one head's accumulators fill the register file.
#define HEADS_AT_ONCE 1
#define VECTORS_AT_ONCE 1
#define ISA baseline
#include "templates.h"

#if defined(__x86_64__)
#pragma clang attribute pop
#endif
