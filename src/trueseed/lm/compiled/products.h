// Products. Each output is one sum along the inputs, in their order.

#pragma once

#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "numbers.h"

// A weight of N outputs and K inputs in blocks of 32 outputs, whose first 16 go to column `stride` * block of the result
// and others `offset` further: side by side, or gate and up of the same columns.
struct Weight {
    const void* data;      // bfloat16: (N/32, K/2, 32, 2), K rounded up to 32; int8: (N/32, K/4, 32, 4), K to 64
    const float* scales;   // int8: (N/32, K/64, 32), else null
    const int32_t* shift;  // int8: −128 Σ of each 64 weights, (N/32, K/64, 32)
    const float* bias;     // (N) by column of the result, or null
    int64_t outputs, inputs, blocks, stride, offset;
};

enum Then { STORE, ADD, ACTIVATE };  // the result; onto what is there; activation of the first half times the second

struct Product {
    const bf16* x;            // (n, inputs) bfloat16
    const uint8_t* coarse;    // or 128 + int8, (n, inputs rounded up to 64), and
    const float* coarseness;  // their scales by 64
    bf16* y;
    int64_t n, width;  // width: columns of y
    Then then;
    int32_t gelu;
};

static inline void finish(const Product& p, const Weight& w, int64_t row, int64_t block, __m512 first, __m512 second) {
    const int64_t a = block * w.stride, b = a + w.offset;
    if (p.then == ACTIVATE) {
        if (w.bias) {
            first = _mm512_add_ps(first, _mm512_loadu_ps(w.bias + a));
            second = _mm512_add_ps(second, _mm512_loadu_ps(w.bias + b));
        }
        const __m512 y = _mm512_mul_ps(rounded(activated(rounded(first), p.gelu)), rounded(second));
        _mm256_storeu_si256((__m256i*)(p.y + row * p.width + a), (__m256i)_mm512_cvtneps_pbh(y));
        return;
    }
    for (int half = 0; half < 2; half++) {
        const int64_t at = half ? b : a, left = std::min<int64_t>(16, w.outputs - at);
        if (left <= 0) continue;
        const __mmask16 real = __mmask16((1u << left) - 1);
        __m512 sum = half ? second : first;
        if (w.bias) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(real, w.bias + at));
        bf16* y = p.y + row * p.width + at;
        __m256i out = (__m256i)_mm512_cvtneps_pbh(sum);
        if (p.then == ADD) {
            __m512 before = _mm512_castsi512_ps(
                _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(real, y)), 16));
            __m512 mine = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(out), 16));
            out = (__m256i)_mm512_cvtneps_pbh(_mm512_add_ps(before, mine));
        }
        _mm256_mask_storeu_epi16(y, real, out);
    }
}

// _mm512_dpbusd_epi32, of which g++ 12 copies every sum to another register and back.
static inline void add_fours(__m512i& a, __m512i& b, __m512i x, __m512i left, __m512i right) {
    asm("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(x), "v"(left));
    asm("vpdpbusd %2, %1, %0" : "+v"(b) : "v"(x), "v"(right));
}

static inline void scale_onto(__m512& sum, __m512i part, __m512 scale, float by) {
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part), _mm512_mul_ps(scale, _mm512_set1_ps(by)), sum);
}

// How many times 32 inputs: so many are one step of a tile.
static int64_t steps_of(int64_t inputs) { return (inputs + 31) / 32; }
static int64_t groups_of(int64_t inputs) { return (inputs + 63) / 64; }

// With few rows a weight is read as fast as memory gives it: ask for what comes next.
static inline void ahead(const __m512i* weight) {
    _mm_prefetch((const char*)(weight + 64), _MM_HINT_T0);
    _mm_prefetch((const char*)(weight + 65), _MM_HINT_T0);
}

template <int R>
static void tile(const Product& p, const Weight& w, int64_t row, int64_t block) {
    const int64_t pairs = w.inputs / 2;
    const __m512i* weight = (const __m512i*)w.data + block * steps_of(w.inputs) * 32;
    const bf16* x = p.x + row * w.inputs;
    __m512 sum[R][2];
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs; k++) {
        const __m512i a = _mm512_loadu_si512(weight + 2 * k), b = _mm512_loadu_si512(weight + 2 * k + 1);
        if (R <= 4) ahead(weight + 2 * k);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const __m512bh v = (__m512bh)_mm512_set1_epi32(four_bytes(x + r * w.inputs + 2 * k));
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], v, (__m512bh)a);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], v, (__m512bh)b);
        }
    }
    for (int r = 0; r < R; r++) finish(p, w, row + r, block, sum[r][0], sum[r][1]);
}

// The same in eight bits: whole numbers within 64 inputs, then scaled and added up.
template <int... r>
static void coarse_rows(const Product& p, const Weight& w, int64_t row, int64_t block, std::integer_sequence<int, r...>) {
    constexpr int R = sizeof...(r);
    const int64_t groups = groups_of(w.inputs), stride = groups * 64;
    const __m512i* weight = (const __m512i*)w.data + block * groups * 32;
    const uint8_t* x = p.coarse + row * stride;
    const float* coarseness = p.coarseness + row * groups;
    __m512 first[R] = {(void(r), _mm512_setzero_ps())...}, second[R] = {(void(r), _mm512_setzero_ps())...};
    for (int64_t g = 0; g < groups; g++, x += 64) {
        const int64_t at = (block * groups + g) * 32;
        __m512i a[R] = {(void(r), _mm512_loadu_si512(w.shift + at))...};
        __m512i b[R] = {(void(r), _mm512_loadu_si512(w.shift + at + 16))...};
#pragma GCC unroll 1
        for (int k = 0; k < 16; k++, weight += 2) {
            if (R <= 4) ahead(weight);
            const __m512i left = _mm512_loadu_si512(weight), right = _mm512_loadu_si512(weight + 1);
            (add_fours(a[r], b[r], _mm512_set1_epi32(four_bytes(x + r * stride + 4 * k)), left, right), ...);
        }
        const __m512 low = _mm512_loadu_ps(w.scales + at), high = _mm512_loadu_ps(w.scales + at + 16);
        (scale_onto(first[r], a[r], low, coarseness[r * groups + g]), ...);
        (scale_onto(second[r], b[r], high, coarseness[r * groups + g]), ...);
    }
    (finish(p, w, row + r, block, first[r], second[r]), ...);
}

template <int R>
static void coarse_tile(const Product& p, const Weight& w, int64_t row, int64_t block) {
    coarse_rows(p, w, row, block, std::make_integer_sequence<int, R>());
}

template <int R, bool COARSE>
static void tile_of(const Product& p, const Weight& w, int64_t row, int64_t rows, int64_t block) {
    if (rows == R)
        COARSE ? coarse_tile<R>(p, w, row, block) : tile<R>(p, w, row, block);
    else if constexpr (R > 1)
        tile_of<R - 1, COARSE>(p, w, row, rows, block);
}

template <int MOST, bool COARSE>
static void by_vectors(const Product& p, const Weight& w, int64_t from, int64_t to, int64_t block) {
    const int64_t count = (to - from + MOST - 1) / MOST;
    for (int64_t t = 0; t < count; t++) {
        const int64_t row = from + (to - from) * t / count, end = from + (to - from) * (t + 1) / count;
        tile_of<MOST, COARSE>(p, w, row, end - row, block);
    }
}









#ifdef TILES

// The same by the matrix unit (AMX): 32 rows and the 32 outputs of a block are four tiles of sums, 0 to 3; 4 and 5 hold 32
// inputs of the rows (64 in eight bits), 6 and 7 what they are multiplied with. In bfloat16 a tile adds up even and odd
// inputs apart, so its last bits are not those of vectors: all rows go this way, however few. In eight bits they are.
// Tiles for so many rows, at most 32, on this thread.
static void shape_tiles(int64_t rows) {
    Shapes shapes;
    shapes.set({0, 1, 4}, std::min<int64_t>(rows, 16), 64);
    shapes.set({2, 3, 5}, std::max<int64_t>(rows - 16, 1), 64);
    shapes.set({6, 7}, 16, 64);
    _tile_loadconfig(&shapes);
}

struct alignas(64) Sums {
    __m512 of[2][2][16];  // which sixteen rows, which half of the block, row
};

template <bool BOTH>
static void store_tiles(Sums& to) {
    _tile_stored(0, to.of[0][0], 64);
    _tile_stored(1, to.of[0][1], 64);
    if (BOTH) _tile_stored(2, to.of[1][0], 64);
    if (BOTH) _tile_stored(3, to.of[1][1], 64);
}

template <bool BOTH>
static void add_bf16(const bf16* x, int64_t stride, const __m512i* weight) {
    _tile_loadd(6, weight, 128);
    _tile_loadd(4, x, stride);
    _tile_loadd(7, weight + 1, 128);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (BOTH) {
        _tile_loadd(5, (const uint8_t*)x + 16 * stride, stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

template <bool BOTH>
static void matrix_tile(const Product& p, const Weight& w, int64_t row, int64_t rows, int64_t block, bool first) {
    const int64_t whole = w.inputs / 32, left = w.inputs % 32, stride = w.inputs * 2;
    const __m512i* weight = (const __m512i*)w.data + block * steps_of(w.inputs) * 32;
    const bf16* x = p.x + row * w.inputs;
    _tile_zero(0);
    _tile_zero(1);
    if (BOTH) _tile_zero(2);
    if (BOTH) _tile_zero(3);
    for (int64_t k = 0; k < whole; k++) {
        if (first)
            for (int line = 0; line < 32; line++) _mm_prefetch((const char*)(weight + 32 * (k + 2) + line), _MM_HINT_T0);
        add_bf16<BOTH>(x + 32 * k, stride, weight + 32 * k);
    }
    if (left) {  // what stands behind a row's end is not ours to read
        alignas(64) bf16 end[32][32] = {};
        for (int64_t r = 0; r < rows; r++) memcpy(end[r], x + r * w.inputs + 32 * whole, left * 2);
        add_bf16<BOTH>(end[0], 64, weight + 32 * whole);
    }
    Sums sums;
    store_tiles<BOTH>(sums);
    for (int64_t r = 0; r < rows; r++) finish(p, w, row + r, block, sums.of[r / 16][0][r % 16], sums.of[r / 16][1][r % 16]);
}

template <bool BOTH>
static void coarse_matrix_tile(const Product& p, const Weight& w, int64_t row, int64_t rows, int64_t block) {
    const int64_t groups = groups_of(w.inputs), stride = groups * 64;
    const __m512i* weight = (const __m512i*)w.data + block * groups * 32;
    const uint8_t* x = p.coarse + row * stride;
    const float* coarseness = p.coarseness + row * groups;
    Sums sums = {}, parts;
    for (int64_t g = 0; g < groups; g++, weight += 32) {
        const int64_t at = (block * groups + g) * 32;
        _tile_loadd(0, w.shift + at, 0);  // the same for all rows
        _tile_loadd(1, w.shift + at + 16, 0);
        _tile_loadd(4, x + 64 * g, stride);
        _tile_loadd(6, weight, 128);
        _tile_loadd(7, weight + 1, 128);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        if (BOTH) {
            _tile_loadd(2, w.shift + at, 0);
            _tile_loadd(3, w.shift + at + 16, 0);
            _tile_loadd(5, x + 16 * stride + 64 * g, stride);
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
        store_tiles<BOTH>(parts);
        const __m512 low = _mm512_loadu_ps(w.scales + at), high = _mm512_loadu_ps(w.scales + at + 16);
        for (int64_t r = 0; r < rows; r++) {
            const float by = coarseness[r * groups + g];
            scale_onto(sums.of[r / 16][0][r % 16], _mm512_castps_si512(parts.of[r / 16][0][r % 16]), low, by);
            scale_onto(sums.of[r / 16][1][r % 16], _mm512_castps_si512(parts.of[r / 16][1][r % 16]), high, by);
        }
    }
    for (int64_t r = 0; r < rows; r++) finish(p, w, row + r, block, sums.of[r / 16][0][r % 16], sums.of[r / 16][1][r % 16]);
}

static const int64_t FEW = 8;  // rows that eight bits are faster without tiles for

static void tiles(const Product& p, const Weight& w, int64_t from, int64_t to, int64_t block) {
    if (w.scales && to - from <= FEW) return by_vectors<6, true>(p, w, from, to, block);
    for (int64_t row = from; row < to; row += 32) {
        const int64_t rows = std::min<int64_t>(32, to - row);
        shape_tiles(rows);
        if (w.scales)
            rows > 16 ? coarse_matrix_tile<true>(p, w, row, rows, block) : coarse_matrix_tile<false>(p, w, row, rows, block);
        else
            rows > 16 ? matrix_tile<true>(p, w, row, rows, block, row == from) : matrix_tile<false>(p, w, row, rows, block, row == from);
    }
    _tile_release();
}

// Whether the system lets this process use tiles: it is asked once, and threads that begin later may too.
static bool able() {
    static const bool allowed = syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
    return allowed;
}

#else

static void tiles(const Product& p, const Weight& w, int64_t from, int64_t to, int64_t block) {
    w.scales ? by_vectors<6, true>(p, w, from, to, block) : by_vectors<12, false>(p, w, from, to, block);
}

static bool able() { return true; }

#endif

static const int64_t TOGETHER = 240;  // rows that stay in the second cache while the blocks of a weight pass

// Called by all threads of a team; they have all come to its end when it returns.
static void multiply(const Product& p, const Weight& w) {
    for (int64_t from = 0; from < p.n; from += TOGETHER) {
        const int64_t to = std::min(p.n, from + TOGETHER);
#pragma omp for schedule(dynamic, 2)
        for (int64_t block = 0; block < w.blocks; block++)
            tiles(p, w, from, to, block);
    }
}

// A row as 128 + int8, with a scale for each 64.
static void coarsened(const bf16* x, int64_t n, uint8_t* y, float* scales) {
    for (int64_t g = 0; g < groups_of(n); g++, x += 64, y += 64) {
        const int64_t here = std::min<int64_t>(64, n - g * 64);
        float most = 0;
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < here; i++) most = std::max(most, std::fabs(wide(x[i])));
        const float by = most > 0 ? 127.0f / most : 0;
        scales[g] = most / 127.0f;
        memset(y, 128, 64);
#pragma omp simd
        for (int64_t i = 0; i < here; i++) y[i] = uint8_t(int32_t(std::nearbyint(wide(x[i]) * by)) + 128);
    }
}

struct Coarse {
    uint8_t* values;
    float* scales;
};

// Called by all threads of a team.
static void through(const Weight& w, const bf16* x, int64_t n, bf16* y, int64_t width, Then then, int32_t gelu, Coarse coarse) {
    if (w.scales) {
        const int64_t groups = groups_of(w.inputs);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < n; t++)
            coarsened(x + t * w.inputs, w.inputs, coarse.values + t * groups * 64, coarse.scales + t * groups);
    }
    multiply({x, coarse.values, coarse.scales, y, n, width, then, gelu}, w);
}
