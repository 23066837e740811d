// Attention of tokens over the positions that their rows hold, themselves included.

#pragma once

#include "numbers.h"

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
#include "attention_by_tiles.h"
#else
#include "attention_by_vectors.h"
#endif
