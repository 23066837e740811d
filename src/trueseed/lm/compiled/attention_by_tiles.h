// Attention by the matrix unit (AMX).
//
// A vector holds one position's scores with sixteen queries, or those of four positions with four. Sums are of every
// fourth position, then of these, so both give the same bits. In a page values lie by position within a place of D,
// (D, PAGE), so that nothing is turned round to be multiplied.

#pragma once

#include <vector>

#include "attention.h"

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
