// Every loop in both number formats, for the instruction set that ISA names.
#define JOIN3_(a, b, c) a##_##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)
#define SYMBOL(name) JOIN3(name, FORMAT, ISA)
#define NAME(name) JOIN3(name, FORMAT, ISA)

#include "vector.h"

#define ELEMENT float
#define FORMAT f32
#define LOAD load_f32
#define STORE store_f32
#define ROUND(x) (x)
#include "attention.h"
#include "elementwise.h"
#include "gradient.h"
#undef ELEMENT
#undef FORMAT
#undef LOAD
#undef STORE
#undef ROUND

#define ELEMENT uint16_t
#define FORMAT bf16
#define LOAD load_bf16
#define STORE store_bf16
#define ROUND round_bf16
#include "attention.h"
#include "elementwise.h"
#include "gradient.h"

#define JOIN2_(a, b) a##_##b
#define JOIN2(a, b) JOIN2_(a, b)
#define ISA_SYMBOL(name) JOIN2(name, ISA)
#include "vocabulary.h"
#include "product_f32.h"
