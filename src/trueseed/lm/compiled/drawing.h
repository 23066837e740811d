// Drawing the next token.

#pragma once

#include <utility>
#include <vector>

#include "numbers.h"

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
