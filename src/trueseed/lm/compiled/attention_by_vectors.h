// Attention by vectors.

#pragma once

#include <vector>

#include "attention.h"

// Sixteen sums of sixteen lanes each, as one vector; lane 4q + l is the sum of the vector PLACE[q] + PLACE[l] / 4.
static const int PLACE[4] = {0, 8, 4, 12};

static inline __m512 sums(__m512* v) {
    for (int width = 8; width >= 1; width /= 2)
        for (int i = 0; i < width; i++) {
            const __m512 a = v[i], b = v[i + width];
            if (width == 8)
                v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
            else if (width == 4)
                v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
            else if (width == 2)
                v[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
            else
                v[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
        }
    return v[0];
}

// Scores of the queries of one head with 16 positions from `keys` on.
static inline __m512 scores_of(const bf16* query, const bf16* keys, int64_t D) {
    __m512 product[16];
    for (int p = 0; p < 16; p++) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t d = 0; d < D; d += 32) {
            const __mmask32 real = D - d >= 32 ? ~0u : (1u << (D - d)) - 1;
            sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi16(real, query + d),
                                   (__m512bh)_mm512_maskz_loadu_epi16(real, keys + p * D + d));
        }
        product[PLACE[p / 4] + PLACE[p % 4] / 4] = sum;
    }
    return sums(product);
}

// Σ probability · value over n positions from `from` on, for `heads` (at most 4) heads that share the values, in columns d to d + 32.
template <int HEADS>
static void mix(const bf16* probability, int64_t stride, Cached values, int64_t from, int64_t n, int64_t d, const float* by, bf16* y) {
    const int64_t D = values.D;
    const __mmask32 real = D - d >= 32 ? ~0u : (1u << (D - d)) - 1;
    __m512 low[HEADS], high[HEADS];
    for (int h = 0; h < HEADS; h++) low[h] = high[h] = _mm512_setzero_ps();
    for (int64_t p = 0; p < n; p += 2) {
        const __m512i a = _mm512_maskz_loadu_epi16(real, values.at(from + p) + d);
        const __m512i b = p + 1 < n ? _mm512_maskz_loadu_epi16(real, values.at(from + p + 1) + d) : _mm512_setzero_si512();
        const __m512i first = _mm512_unpacklo_epi16(a, b), second = _mm512_unpackhi_epi16(a, b);
        for (int h = 0; h < HEADS; h++) {
            const __m512bh v = (__m512bh)_mm512_set1_epi32(four_bytes(probability + h * stride + p));
            low[h] = _mm512_dpbf16_ps(low[h], (__m512bh)first, v);
            high[h] = _mm512_dpbf16_ps(high[h], (__m512bh)second, v);
        }
    }
    const __m512i front = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i back = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    for (int h = 0; h < HEADS; h++) {
        const __m512 scale = _mm512_set1_ps(by[h]);
        const __m512 begin = _mm512_mul_ps(_mm512_permutex2var_ps(low[h], front, high[h]), scale);
        const __m512 end = _mm512_mul_ps(_mm512_permutex2var_ps(low[h], back, high[h]), scale);
        _mm512_mask_storeu_epi16(y + h * D + d, real, (__m512i)_mm512_cvtne2ps_pbh(end, begin));
    }
}

static inline __mmask16 first_of(int64_t lanes) { return lanes >= 16 ? 0xffff : __mmask16((1u << lanes) - 1); }

// queries: those of the heads that share one key-value head, (heads, D).
static void attend_one(const bf16* queries, int64_t heads, Cached keys, Cached values, int64_t from, int64_t to, float scale, bf16* y) {
    const int64_t D = keys.D;
    static thread_local std::vector<float> scores;
    static thread_local std::vector<bf16> probability;
    static thread_local std::vector<float> by;
    const int64_t begin = from & ~15, stride = ((to - begin + 15) & ~15) + 16;
    if (int64_t(scores.size()) < stride) scores.resize(2 * stride);
    if (int64_t(probability.size()) < heads * stride) probability.resize(2 * heads * stride);
    if (int64_t(by.size()) < heads) by.resize(heads);
    for (int64_t h = 0; h < heads; h++) {
        for (int64_t p = begin; p < to; p += 16) {
            if (h == 0) {
                if (p + 16 < to) ahead(keys.page(p + 16), D);
                ahead(values.page(p), D);
            }
            _mm512_storeu_ps(&scores[p - begin], scores_of(queries + h * D, keys.at(p), D));
        }
        const float* s = &scores[from - begin];
        bf16* out = &probability[h * stride];
        const int64_t n = to - from;
        __m512 most = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
        for (int64_t i = 0; i < n; i += 16) most = _mm512_mask_max_ps(most, first_of(n - i), most, _mm512_loadu_ps(s + i));
        most = _mm512_set1_ps(_mm512_reduce_max_ps(most) * scale);
        for (int64_t i = 0; i < n; i += 16) {
            const __m512 e = powers_of_e(_mm512_fmsub_ps(_mm512_loadu_ps(s + i), _mm512_set1_ps(scale), most));
            sum = _mm512_mask_add_ps(sum, first_of(n - i), sum, e);
            _mm256_storeu_si256((__m256i*)(out + i), (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_mov_ps(first_of(n - i), e)));
        }
        by[h] = 1.0f / _mm512_reduce_add_ps(sum);
    }
    for (int64_t h = 0; h < heads; h += 4)
        for (int64_t d = 0; d < D; d += 32) {
            const bf16* p = &probability[h * stride];
            switch (std::min<int64_t>(4, heads - h)) {
                case 1: mix<1>(p, stride, values, from, to - from, d, &by[h], y + h * D); break;
                case 2: mix<2>(p, stride, values, from, to - from, d, &by[h], y + h * D); break;
                case 3: mix<3>(p, stride, values, from, to - from, d, &by[h], y + h * D); break;
                default: mix<4>(p, stride, values, from, to - from, d, &by[h], y + h * D);
            }
        }
}

static void attend(const Queries& a, Cached keys, Cached values, float scale) {
    for (int64_t t = 0; t < a.tokens; t++)
        attend_one(a.first + t * a.next, a.heads, keys, values, a.from(t), a.to(t), scale, a.mixed + t * a.next_mixed);
}

static void keep_values(const bf16* x, Cached values, int64_t position) {
    memcpy(values.at(position), x, values.D * 2);
}
