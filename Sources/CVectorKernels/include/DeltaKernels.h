/// Comparison of two versions of the weights.
#ifndef SOFTGRPO_DELTA_KERNELS_H
#define SOFTGRPO_DELTA_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Writes the positions, ascending, where the bits of `before` and `after` differ.
/// `positions` has room for `count`; returns how many there are. `count` is below 2^32.
int64_t softgrpo_changed_positions(const uint16_t *before, const uint16_t *after, int64_t count, uint32_t *positions);

/// Writes the positions, ascending, of the bf16 `weights` whose bits without the sign are below `limit`.
/// `positions` has room for `count`; returns how many there are. `limit` is at most 0x7FFF, `count` below 2^32.
int64_t softgrpo_small_positions(const uint16_t *weights, int64_t count, uint16_t limit, uint32_t *positions);

#pragma clang assume_nonnull end

#endif
