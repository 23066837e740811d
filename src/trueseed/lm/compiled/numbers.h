// Numbers, one and sixteen at a time, and the shapes of tiles.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>

typedef uint16_t bf16;

static inline float wide(bf16 x) {
    uint32_t bits = uint32_t(x) << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

static inline bf16 narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float rounded(float x) { return wide(narrow(x)); }

// e^x to two units in the last place (Cephes' polynomial); 0 far below.
static inline float power_of_e(float x) {
    x = std::min(std::max(x, -87.0f), 88.0f);
    float n = std::floor(x * 1.44269504f + 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = (int32_t(n) + 127) << 23;
    float two;
    memcpy(&two, &bits, 4);
    return p * two;
}

static inline int32_t four_bytes(const void* at) {
    int32_t x;
    memcpy(&x, at, 4);
    return x;
}

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#define LAYERS  // are computed here

// Sixteen at a time, since compilers leave the loop over one tile's columns scalar: a quarter of a prompt's time.
static inline __m512 powers_of_e(__m512 x) {
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));
    const __m512 n = _mm512_roundscale_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), _mm512_set1_ps(0.5f)), 9);
    const __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x));
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    for (float next : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(next));
    p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

static inline __m512 rounded(__m512 x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16));
}

static inline __m512 activated(__m512 x, int32_t gelu) {
    const __m512 one = _mm512_set1_ps(1.0f);
    if (!gelu) return _mm512_div_ps(x, _mm512_add_ps(one, powers_of_e(_mm512_sub_ps(_mm512_setzero_ps(), x))));
    const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(0.044715f), x), x), x);
    const __m512 u = _mm512_mul_ps(_mm512_set1_ps(2 * 0.7978845608f), _mm512_add_ps(x, cube));
    const __m512 less = _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(powers_of_e(u), one));
    return _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(0.5f), x), _mm512_sub_ps(_mm512_set1_ps(2.0f), less));
}

#endif

#if defined(LAYERS) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define TILES  // the matrix unit

// What LDTILECFG reads (Intel SDM, vol. 2, LDTILECFG).
struct alignas(64) Shapes {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes_a_row[16] = {};
    uint8_t rows[16] = {};
    void set(std::initializer_list<int> tiles, int64_t rows_of_each, int64_t bytes) {
        for (int tile : tiles) rows[tile] = uint8_t(rows_of_each), bytes_a_row[tile] = uint16_t(bytes);
    }
};

#endif
