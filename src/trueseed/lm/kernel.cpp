// Decoding in one call: all layers over some tokens, each at a position of a row of the cache, then the logits asked for.
//
// Built at first use by `kernel.py`, which mirrors these structures and says when they are used. Numbers are rounded where
// transformers rounds them in bfloat16 (norms, rotation, activation, residual; probabilities of attention), and every sum
// runs in an order that its own row decides: a token gets the same bits whatever is computed beside it, on any number
// of threads, read in a prompt or stepped to.
//
// n tokens, H hidden, Q query heads, K key-value heads, D head, I inner, V vocabulary; PAGE cached positions lie together.

#include <immintrin.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <utility>
#include <vector>

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

// ---------------------------------------------------------------------------------------------------------------------
// Drawing.

struct Draws {
    int64_t rows, vocabulary;
    const float* temperature;              // 0: the most probable, of equal ones the first
    const double *top_p, *uniform;
    const uint8_t* told;  // whether the log-probability is wanted
    int64_t* token;
    float* logprob;
};

static inline float value(float x) { return x; }
static inline float value(bf16 x) { return wide(x); }

template <class T>
static double mass(const T* logits, int64_t n, float most, float by) {
    double total = 0;
    for (int64_t at = 0; at < n; at += 1024) {
        const int64_t end = std::min(n, at + 1024);
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = at; i < end; i++) sum += power_of_e((value(logits[i]) - most) * by);
        total += sum;
    }
    return total;
}

// The order of ranking; what is not a number comes last.
static inline float behind(float x) { return x == x ? -x : INFINITY; }

// One token of the nucleus, exactly: of all tokens above a bound, most probable first, equal ones by id; the bound falls
// until they hold the nucleus, or without one the token that is drawn.
template <class T>
static int64_t drawn(const T* logits, int64_t n, float most, float temperature, double top_p, double uniform) {
    static thread_local std::vector<std::pair<float, int64_t>> found;
    const float by = 1.0f / temperature;
    const double total = mass(logits, n, most, by);
    for (float depth = 6.0f;; depth *= 2) {
        const float bound = most - depth * temperature;
        const bool all = depth > 100.0f;
        found.clear();
        for (int64_t at = 0; at < n; at += 64) {
            const int64_t end = std::min(n, at + 64);
            float top = -INFINITY;
#pragma omp simd reduction(max : top)
            for (int64_t i = at; i < end; i++) top = std::max(top, value(logits[i]));
            if (all || top >= bound)
                for (int64_t i = at; i < end; i++)
                    if (all || value(logits[i]) >= bound) found.emplace_back(behind(value(logits[i])), i);
        }
        std::sort(found.begin(), found.end());
        double inside = 0;
        int64_t size = 0;
        bool certain = all;
        for (const auto& each : found) {
            inside += power_of_e((-each.first - most) * by);
            size++;
            if (top_p < 1 ? inside >= top_p * total : inside > uniform * total) {
                certain = true;
                break;
            }
        }
        if (!certain) continue;
        const double aim = uniform * (top_p < 1 || all ? inside : total);
        double sum = 0;
        for (int64_t i = 0; i < size; i++)
            if ((sum += power_of_e((-found[i].first - most) * by)) > aim) return found[i].second;
        return found[size - 1].second;
    }
}

template <class T>
static void choose(const T* all, const Draws& d) {
#pragma omp for schedule(dynamic, 1)
    for (int64_t row = 0; row < d.rows; row++) {
        const T* logits = all + row * d.vocabulary;
        float most = -INFINITY;
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < d.vocabulary; i++) most = std::max(most, value(logits[i]));
        int64_t token = 0;
        if (d.temperature[row] > 0)
            token = drawn(logits, d.vocabulary, most, d.temperature[row], d.top_p[row], d.uniform[row]);
        else
            while (token < d.vocabulary - 1 && value(logits[token]) != most) token++;
        d.token[row] = token;
        if (d.told[row]) d.logprob[row] = value(logits[token]) - most - float(std::log(mass(logits, d.vocabulary, most, 1.0f)));
    }
}

extern "C" {

void choose_bfloat16(const bf16* logits, const Draws* d, int threads) {
#pragma omp parallel num_threads(threads)
    choose(logits, *d);
}

void choose_float32(const float* logits, const Draws* d, int threads) {
#pragma omp parallel num_threads(threads)
    choose(logits, *d);
}
}

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && defined(__AVX512VBMI__)

#if defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define TILES  // the matrix unit
#endif

// A weight of N outputs and K inputs in blocks of 32 outputs, whose first 16 go to column `stride` * block of the result
// and others `offset` further: side by side, or gate and up of the same columns.
struct Weight {
    const void* data;      // bfloat16: (N/32, K/2, 32, 2), K rounded up to 32; int8: (N/32, K/4, 32, 4), K to 64
    const float* scales;   // int8: (N/32, K/64, 32), else null
    const int32_t* shift;  // int8: −128 Σ of each 64 weights, (N/32, K/64, 32)
    const float* bias;     // (N) by column of the result, or null
    int64_t outputs, inputs, blocks, stride, offset;
};

struct Layer {
    Weight qkv, out, gate_up, down;
    const float *attention_norm, *mlp_norm, *query_norm, *key_norm, *after_attention_norm, *after_mlp_norm;
    int64_t turn;    // which of the rotations; below 0: none
    int64_t window;  // how many positions are seen; 0: all
};

struct Model {
    const Layer* layer;
    const float* norm;
    Weight head;
    int64_t layers, hidden, query_heads, key_heads, head_width, inner;
    float eps, scale;
    int32_t norm_rounds_last, gelu;
};

struct Tokens {
    int64_t count;
    const int64_t *row, *position;
    const float* turn[2];  // rotations: cos, then sin, of each token, (n, D)
    bf16* x;      // (n, H): embeddings; afterwards what the last layer gave
    bf16* const* pages;  // of each row one after another: (layers, 2, K, PAGE, D) each
    int64_t pages_a_row;
    uint8_t* scratch;
    int64_t asked;  // of how many tokens logits are wanted, and of which
    const int64_t* which;
    bf16* logits;  // (asked, V)
};

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

// RMS norm with the roundings of transformers; y may be x.
static void normed(const bf16* x, const float* weight, int64_t n, float eps, bool rounds_last, bf16* y) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += wide(x[i]) * wide(x[i]);
    const float by = 1.0f / std::sqrt(sum / n + eps);
    if (rounds_last) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = narrow(wide(x[i]) * by * weight[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = narrow(rounded(wide(x[i]) * by) * weight[i]);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Products. Each output is one sum along the inputs, in their order.

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

static inline int32_t four_bytes(const void* at) {
    int32_t x;
    memcpy(&x, at, 4);
    return x;
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
struct alignas(64) Shapes {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes_a_row[16] = {};
    uint8_t rows[16] = {};
    void set(std::initializer_list<int> tiles, int64_t rows_of_each, int64_t bytes) {
        for (int tile : tiles) rows[tile] = uint8_t(rows_of_each), bytes_a_row[tile] = uint16_t(bytes);
    }
};

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
static bool able() { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0; }

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

// ---------------------------------------------------------------------------------------------------------------------
// Attention of tokens over the positions that their rows hold, themselves included.

// Keys or values of one head of a row.
struct Cached {
    bf16* const* pages;
    int64_t inside, D;  // inside: where the head begins in each page
    bf16* page(uint64_t position) const { return pages[position / PAGE] + inside; }
    bf16* at(uint64_t position) const { return page(position) + position % PAGE * D; }
};

static_assert(PAGE == 16, "sixteen scores are made at a time, of keys that lie together");

// `heads` queries that share keys and values, of each of `tokens` tokens that follow one another in a row.
struct Queries {
    const bf16* first;  // (tokens, next), of which heads * D are looked at
    bf16* mixed;        // results: (tokens, next_mixed)
    int64_t heads, tokens, next, next_mixed;
    int64_t position, window;  // of the first token; how many positions a token sees, 0: all
    int64_t to(int64_t token) const { return position + token + 1; }
    int64_t from(int64_t token) const { return window ? std::max<int64_t>(0, to(token) - window) : 0; }
};

// Asks for a page, whose D lie together; what comes behind lies elsewhere, and no processor foresees it.
static inline void ahead(const bf16* page, int64_t D) {
    for (int64_t at = 0; at < PAGE * D; at += 32) _mm_prefetch((const char*)(page + at), _MM_HINT_T0);
}

static const int64_t MANY = 16;  // queries that are taken together

#ifdef TILES

// A vector holds one position's scores with sixteen queries, or those of four positions with four. Sums are of every
// fourth position, then of these, so both give the same bits. In a page values lie by position within a place of D, (D, PAGE), so that
// nothing is turned round to be multiplied.
template <int W>
struct Scores {
    std::vector<float> score;
    std::vector<bf16> probability, queries, mixed;
    void reserve(int64_t positions, int64_t D) {
        if (int64_t(score.size()) < positions * W) score.resize(2 * positions * W), probability.resize(2 * positions * W);
        const int64_t most = ((D + 31) & ~31) * W;
        if (int64_t(queries.size()) < most) queries.resize(most), mixed.resize(most);
    }
};

struct Lanes {
    __m512i offset, from, to;  // which position after the first of the vector; which are seen
    __mmask16 seen(int64_t position) const {
        const __m512i at = _mm512_add_epi32(offset, _mm512_set1_epi32(int32_t(position)));
        return _mm512_cmplt_epi32_mask(at, to) & _mm512_cmpge_epi32_mask(at, from);
    }
};

template <int W>
static Lanes lanes_of(const Queries& a) {
    alignas(64) int32_t offset[16], from[16] = {}, to[16] = {};
    for (int lane = 0; lane < 16; lane++) {
        const int64_t query = lane % W, token = query / a.heads;
        offset[lane] = lane / W;
        if (token < a.tokens) from[lane] = int32_t(a.from(token)), to[lane] = int32_t(a.to(token));
    }
    return {_mm512_load_si512(offset), _mm512_load_si512(from), _mm512_load_si512(to)};
}

// All positions' keys times all queries: 16 positions a tile.
template <int W>
static void score_tiles(const Queries& a, Cached keys, Cached values, int64_t begin, int64_t end, Scores<W>& s) {
    const int64_t D = keys.D, many = a.heads * a.tokens, whole = D / 32, left = D % 32;
    int32_t* turned = (int32_t*)s.queries.data();  // (D / 2, W) pairs
    for (int64_t q = 0; q < many; q++) {
        const bf16* query = a.first + q / a.heads * a.next + q % a.heads * D;
        for (int64_t pair = 0; pair < D / 2; pair++) turned[pair * W + q] = four_bytes(query + 2 * pair);
    }
    Shapes shapes;
    shapes.set({0, 2, 4, 5}, 16, many * 4);
    shapes.set({1}, 16, 64);
    if (left) shapes.set({3}, 16, left * 2), shapes.set({6}, left / 2, many * 4);
    _tile_loadconfig(&shapes);
    if (whole > 0) _tile_loadd(4, turned, W * 4);
    if (whole > 1) _tile_loadd(5, turned + 16 * W, W * 4);
    if (left) _tile_loadd(6, turned + whole * 16 * W, W * 4);
    for (int64_t p = begin; p < end; p += PAGE) {
        if (p + PAGE < end) ahead(keys.page(p + PAGE), D);
        ahead(values.page(p), D);
        const bf16* page = keys.page(p);
        _tile_zero(0);
        for (int64_t c = 0; c < whole; c++) {
            _tile_loadd(1, page + 32 * c, D * 2);
            if (c == 0) {
                _tile_dpbf16ps(0, 1, 4);
            } else if (c == 1) {
                _tile_dpbf16ps(0, 1, 5);
            } else {
                _tile_loadd(2, turned + c * 16 * W, W * 4);
                _tile_dpbf16ps(0, 1, 2);
            }
        }
        if (left) {
            _tile_loadd(3, page + 32 * whole, D * 2);
            _tile_dpbf16ps(0, 3, 6);
        }
        _tile_stored(0, &s.score[(p - begin) * W], W * 4);
    }
}

// Scores to e^(score − the highest), as pairs of positions; what each query's are to be divided by.
template <int W>
static __m512 soften(const Lanes& lanes, int64_t begin, int64_t end, float scale, Scores<W>& s) {
    const int64_t together = 16 / W, vectors = (end - begin) / together;
    __m512 most = _mm512_set1_ps(-INFINITY), sum[4] = {};
    for (int64_t v = 0; v < vectors; v++)
        most = _mm512_mask_max_ps(most, lanes.seen(begin + v * together), most, _mm512_loadu_ps(&s.score[v * 16]));
    if (W == 4) {
        most = _mm512_max_ps(most, _mm512_shuffle_f32x4(most, most, 0xb1));
        most = _mm512_max_ps(most, _mm512_shuffle_f32x4(most, most, 0x4e));
    }
    most = _mm512_mul_ps(most, _mm512_set1_ps(scale));
    auto power = [&](int64_t v) {
        const __m512 e = powers_of_e(_mm512_fmsub_ps(_mm512_loadu_ps(&s.score[v * 16]), _mm512_set1_ps(scale), most));
        return _mm512_maskz_mov_ps(lanes.seen(begin + v * together), e);
    };
    if constexpr (W == 4) {
        const __m256i pairs = _mm256_setr_epi16(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
        for (int64_t v = 0; v < vectors; v++) {
            const __m512 e = power(v);
            sum[0] = _mm512_add_ps(sum[0], e);
            _mm256_storeu_si256((__m256i*)&s.probability[v * 16], _mm256_permutexvar_epi16(pairs, (__m256i)_mm512_cvtneps_pbh(e)));
        }
        sum[0] = _mm512_add_ps(sum[0], _mm512_shuffle_f32x4(sum[0], sum[0], 0xb1));
        return _mm512_add_ps(sum[0], _mm512_shuffle_f32x4(sum[0], sum[0], 0x4e));
    }
    for (int64_t v = 0; v < vectors; v += 2) {
        const __m512 even = power(v), odd = power(v + 1);
        sum[v % 4] = _mm512_add_ps(sum[v % 4], even);
        sum[v % 4 + 1] = _mm512_add_ps(sum[v % 4 + 1], odd);
        const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
        const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
        _mm512_storeu_si512(&s.probability[v * 16], _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
    return _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
}

// Values times probabilities, 16 of D a tile and four of these together.
template <int W>
static void mix_tiles(const Queries& a, Cached values, int64_t begin, int64_t end, Scores<W>& s) {
    const int64_t D = values.D, whole = D / 16, left = D % 16;
    const int64_t bytes = a.heads * a.tokens * 4;
    Shapes shapes;
    shapes.set({0, 1, 2, 3}, 16, bytes);
    shapes.set({4}, 16, PAGE * 2);
    shapes.set({5}, PAGE / 2, bytes);
    if (left) shapes.set({6}, left, PAGE * 2), shapes.set({7}, left, bytes);
    _tile_loadconfig(&shapes);
    float* y = s.score.data();  // (D, W), where the scores were
    for (int64_t d = 0; d < whole; d += 4) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t p = begin; p < end; p += PAGE) {
            const bf16* page = values.page(p) + d * 16 * PAGE;
            _tile_loadd(5, &s.probability[(p - begin) * W], W * 4);
            _tile_loadd(4, page, PAGE * 2);
            _tile_dpbf16ps(0, 4, 5);
            if (d + 1 < whole) {
                _tile_loadd(4, page + 16 * PAGE, PAGE * 2);
                _tile_dpbf16ps(1, 4, 5);
            }
            if (d + 2 < whole) {
                _tile_loadd(4, page + 32 * PAGE, PAGE * 2);
                _tile_dpbf16ps(2, 4, 5);
            }
            if (d + 3 < whole) {
                _tile_loadd(4, page + 48 * PAGE, PAGE * 2);
                _tile_dpbf16ps(3, 4, 5);
            }
        }
        _tile_stored(0, y + d * 16 * W, W * 4);
        if (d + 1 < whole) _tile_stored(1, y + (d + 1) * 16 * W, W * 4);
        if (d + 2 < whole) _tile_stored(2, y + (d + 2) * 16 * W, W * 4);
        if (d + 3 < whole) _tile_stored(3, y + (d + 3) * 16 * W, W * 4);
    }
    if (left) {
        _tile_zero(7);
        for (int64_t p = begin; p < end; p += PAGE) {
            _tile_loadd(5, &s.probability[(p - begin) * W], W * 4);
            _tile_loadd(6, values.page(p) + whole * 16 * PAGE, PAGE * 2);
            _tile_dpbf16ps(7, 6, 5);
        }
        _tile_stored(7, y + whole * 16 * W, W * 4);
    }
}

template <int W>
static void attend_to(const Queries& a, Cached keys, Cached values, float scale) {
    static thread_local Scores<W> s;
    const int64_t D = keys.D, begin = a.from(0) & ~(PAGE - 1), end = (a.to(a.tokens - 1) + PAGE - 1) & ~(PAGE - 1);
    s.reserve(std::max(end - begin, (D + 15) & ~15), D);
    score_tiles(a, keys, values, begin, end, s);
    const __m512 by = _mm512_div_ps(_mm512_set1_ps(1.0f), soften(lanes_of<W>(a), begin, end, scale, s));
    mix_tiles(a, values, begin, end, s);
    for (int64_t at = 0; at < D * W; at += 16)
        _mm256_storeu_si256((__m256i*)&s.mixed[at], (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_loadu_ps(&s.score[at]), by)));
    for (int64_t q = 0; q < a.heads * a.tokens; q++) {
        bf16* y = a.mixed + q / a.heads * a.next_mixed + q % a.heads * D;
        for (int64_t d = 0; d < D; d++) y[d] = s.mixed[d * W + q];
    }
}

static void attend(const Queries& a, Cached keys, Cached values, float scale) {
    a.heads * a.tokens <= 4 ? attend_to<4>(a, keys, values, scale) : attend_to<16>(a, keys, values, scale);
    _tile_release();
}

static void keep_values(const bf16* x, Cached values, int64_t position) {
    bf16* page = values.page(position) + position % PAGE;
    for (int64_t d = 0; d < values.D; d++) page[d * PAGE] = x[d];
}

#else

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

#endif

// Rotates one head; turn: cos, then sin.
static void rotated(bf16* x, const float* turn, int64_t D) {
    const int64_t half = D / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float a = wide(x[i]), b = wide(x[i + half]), cos = turn[i], sin = turn[i + half];
        x[i] = narrow(rounded(a * cos) + rounded(b * -sin));
        x[i + half] = narrow(rounded(b * cos) + rounded(a * sin));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// All layers.

struct Scratch {
    bf16 *normed, *qkv, *mixed, *inner;
    Coarse coarse;
    int64_t bytes;
};

static Scratch scratch_of(const Model& m, int64_t n, uint8_t* at) {
    uint8_t* start = at;
    auto take = [&](int64_t bytes) {
        uint8_t* here = at;
        at += (bytes + 63) & ~63;
        return here;
    };
    const int64_t D = m.head_width, widest = std::max(std::max(m.inner, m.hidden), m.query_heads * D);
    Scratch s;
    s.normed = (bf16*)take(n * m.hidden * 2);
    s.qkv = (bf16*)take(n * (m.query_heads + 2 * m.key_heads) * D * 2);
    s.mixed = (bf16*)take(n * m.query_heads * D * 2);
    s.inner = (bf16*)take(n * m.inner * 2);
    s.coarse.values = (uint8_t*)take(n * groups_of(widest) * 64);
    s.coarse.scales = (float*)take(n * groups_of(widest) * 4);
    s.bytes = at - start;
    return s;
}

// Tokens that follow one another in a row, so many that their queries are taken together.
struct Run {
    int64_t first, tokens;
};

static std::vector<Run> runs_of(const Model& m, const Tokens& t) {
    const int64_t most = std::max<int64_t>(1, MANY * m.key_heads / m.query_heads);
    std::vector<Run> runs;
    for (int64_t i = 0; i < t.count; i++) {
        const bool follows = i > 0 && t.row[i] == t.row[i - 1] && t.position[i] == t.position[i - 1] + 1;
        if (follows && runs.back().tokens < most)
            runs.back().tokens++;
        else
            runs.push_back({i, 1});
    }
    return runs;
}

// The keys (values) of a head of layer `at` in the row of token i.
static Cached cached(const Model& m, const Tokens& t, int64_t at, bool values, int64_t head, int64_t i) {
    const int64_t inside = ((2 * at + values) * m.key_heads + head) * PAGE * m.head_width;
    return {t.pages + t.row[i] * t.pages_a_row, inside, m.head_width};
}

// Rotates queries and keys of a token and keeps its keys and values.
static void keep(const Model& m, int64_t at, const Tokens& t, int64_t i, bf16* qkv) {
    const Layer& l = m.layer[at];
    const int64_t D = m.head_width, Q = m.query_heads, K = m.key_heads;
    for (int64_t h = 0; h < Q + K; h++) {
        const float* norm = h < Q ? l.query_norm : l.key_norm;
        if (norm) normed(qkv + h * D, norm, D, m.eps, m.norm_rounds_last, qkv + h * D);
        if (l.turn >= 0) rotated(qkv + h * D, t.turn[l.turn] + i * D, D);
    }
    for (int64_t h = 0; h < K; h++) {
        memcpy(cached(m, t, at, false, h, i).at(t.position[i]), qkv + (Q + h) * D, D * 2);
        keep_values(qkv + (Q + K + h) * D, cached(m, t, at, true, h, i), t.position[i]);
    }
}

// Adds what a part of the layer says to x, after a norm of its own where the architecture has one. By all threads.
static void add(const Model& m, const Weight& w, const float* norm, const bf16* x, const Tokens& t, const Scratch& s) {
    const int64_t H = m.hidden;
    if (!norm) return through(w, x, t.count, t.x, H, ADD, 0, s.coarse);
    through(w, x, t.count, s.normed, H, STORE, 0, s.coarse);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < t.count; i++) {
        bf16 *y = s.normed + i * H, *onto = t.x + i * H;
        normed(y, norm, H, m.eps, m.norm_rounds_last, y);
        for (int64_t j = 0; j < H; j++) onto[j] = narrow(wide(onto[j]) + wide(y[j]));
    }
}

static void norm_all(const Model& m, const float* norm, const Tokens& t, bf16* y) {
    const int64_t H = m.hidden;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < t.count; i++) normed(t.x + i * H, norm, H, m.eps, m.norm_rounds_last, y + i * H);
}

// By all threads of a team.
static void one_layer(const Model& m, int64_t at, const Tokens& t, const std::vector<Run>& runs, const Scratch& s) {
    const Layer& l = m.layer[at];
    const int64_t D = m.head_width, Q = m.query_heads, K = m.key_heads, G = Q / K, n = t.count, width = (Q + 2 * K) * D;
    norm_all(m, l.attention_norm, t, s.normed);
    through(l.qkv, s.normed, n, s.qkv, width, STORE, 0, s.coarse);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++) keep(m, at, t, i, s.qkv + i * width);
#pragma omp for schedule(dynamic, 4)
    for (int64_t j = 0; j < int64_t(runs.size()) * K; j++) {
        const int64_t k = j / runs.size();
        const Run run = runs[j % runs.size()];
        const Cached keys = cached(m, t, at, false, k, run.first), values = cached(m, t, at, true, k, run.first);
        for (int64_t h = k * G; h < (k + 1) * G; h += MANY)
            attend({s.qkv + run.first * width + h * D, s.mixed + (run.first * Q + h) * D, std::min(MANY, (k + 1) * G - h),
                    run.tokens, width, Q * D, t.position[run.first], l.window}, keys, values, m.scale);
    }
    add(m, l.out, l.after_attention_norm, s.mixed, t, s);
    norm_all(m, l.mlp_norm, t, s.normed);
    through(l.gate_up, s.normed, n, s.inner, m.inner, ACTIVATE, m.gelu, s.coarse);
    add(m, l.down, l.after_mlp_norm, s.inner, t, s);
}

extern "C" {

// Whether what follows can be called here. Asked before anything else is.
int32_t ready() { return able(); }

int64_t scratch_bytes(const Model* m, int64_t n) { return scratch_of(*m, n, nullptr).bytes; }

// Feeds tokens, whose keys and values are kept; logits after those asked for. Tokens of one row may follow one another.
void step(const Model* m, const Tokens* t, int threads) {
    const Scratch s = scratch_of(*m, t->count, t->scratch);
    const std::vector<Run> runs = runs_of(*m, *t);
    const int64_t H = m->hidden;
#pragma omp parallel num_threads(threads)
    {
        for (int64_t at = 0; at < m->layers; at++) one_layer(*m, at, *t, runs, s);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < t->asked; i++)
            normed(t->x + t->which[i] * H, m->norm, H, m->eps, m->norm_rounds_last, s.normed + i * H);
        through(m->head, s.normed, t->asked, t->logits, m->head.outputs, STORE, 0, s.coarse);
    }
}

// y = x Wᵀ + b. scratch: n times the inputs rounded up to 64, and four bytes for each 64 of them.
void product(const Weight* w, const bf16* x, int64_t n, bf16* y, uint8_t* scratch, int threads) {
    const Coarse coarse = {scratch, (float*)(scratch + n * groups_of(w->inputs) * 64)};
#pragma omp parallel num_threads(threads)
    through(*w, x, n, y, w->outputs, STORE, 0, coarse);
}
}

#endif
