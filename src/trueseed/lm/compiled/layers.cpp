// Decoding in one call: all layers over some tokens, each at a position of a row of the cache, then the logits asked for.
//
// Built at first use by `kernel.py`, which mirrors these structures and says when they are used. Numbers are rounded where
// transformers rounds them in bfloat16 (norms, rotation, activation, residual; probabilities of attention), and every sum
// runs in an order that its own row decides: a token gets the same bits whatever is computed beside it, on any number
// of threads, read in a prompt or stepped to.
//
// n tokens, H hidden, Q query heads, K key-value heads, D head, I inner, V vocabulary; PAGE cached positions lie together.

#include <omp.h>

#include <vector>

#include "drawing.h"
#include "numbers.h"

#ifdef LAYERS

#include "attention.h"
#include "products.h"

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
