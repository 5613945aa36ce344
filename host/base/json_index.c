/* json_index.c: see json_index.h. The masks of the first pass have a bit a byte, the lowest is the first. */
#include "base/json_index.h"

#include <string.h>
#if defined __x86_64__
#include <immintrin.h>
#elif defined __aarch64__
#include <arm_neon.h>
#endif

#include "base/hex.h"
#include "base/json.h"
#include "base/json_scalar.h"
#include "base/json_shape.h"

#define BLOCK 64
#define INLINE inline __attribute__((always_inline))

/* ---- what 64 bytes are ---- */

struct masks {
    uint64_t quote, slash;
    uint64_t bracket; /* of both kinds, opening and closing */
    uint64_t between; /* commas and colons */
    uint64_t low;     /* white space, and what may stand nowhere */
    uint64_t control; /* below a space */
};

static INLINE uint64_t ones_before_each(uint64_t bits)
{
    for (int i = 1; i < 64; i *= 2)
        bits ^= bits << i;
    return bits;
}

#ifdef __x86_64__
__attribute__((target("pclmul"))) static INLINE uint64_t ones_before_each_pclmul(uint64_t bits)
{
    return (uint64_t)_mm_cvtsi128_si64(
        _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), _mm_set1_epi8((char)0xff), 0));
}
#endif

#define BYTES(byte) (0x0101010101010101ull * (byte))

/* The highest bit of each byte that equals that one. */
static INLINE uint64_t equal(uint64_t bytes, unsigned char byte)
{
    uint64_t other = bytes ^ BYTES(byte);
    return ~(((other & BYTES(0x7f)) + BYTES(0x7f)) | other) & BYTES(0x80);
}

/* Of each that is at most that, which is below 0x80. */
static INLINE uint64_t at_most(uint64_t bytes, unsigned char byte)
{
    return ~(((bytes & BYTES(0x7f)) + BYTES(0x7f - byte)) | bytes) & BYTES(0x80);
}

/* Such bits, of eight bytes. */
static INLINE uint64_t gather(uint64_t tops)
{
    return (tops >> 7) * 0x0102040810204080ull >> 56;
}

static INLINE void classify_plain(const char *text, struct masks *masks)
{
    *masks = (struct masks){0};
    for (int i = 0; i < BLOCK; i += 8) {
        uint64_t bytes;
        memcpy(&bytes, text + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        bytes = __builtin_bswap64(bytes);
#endif
        uint64_t folded = bytes | BYTES(0x20);
        masks->quote |= gather(equal(bytes, '"')) << i;
        masks->slash |= gather(equal(bytes, '\\')) << i;
        masks->bracket |= gather(equal(folded, '{') | equal(folded, '}')) << i;
        masks->between |= gather(equal(bytes, ',') | equal(bytes, ':')) << i;
        masks->low |= gather(at_most(bytes, 0x20)) << i;
        masks->control |= gather(at_most(bytes, 0x1f)) << i;
    }
}

#ifdef __x86_64__
static INLINE void classify_sse2(const char *text, struct masks *masks)
{
    *masks = (struct masks){0};
#pragma GCC unroll 4
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')),
                bracket = _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
                                       _mm_cmpeq_epi8(folded, _mm_set1_epi8('}'))),
                between = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(',')),
                                       _mm_cmpeq_epi8(bytes, _mm_set1_epi8(':'))),
                low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes),
                control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        masks->quote |= (uint64_t)(unsigned)_mm_movemask_epi8(quote) << i;
        masks->slash |= (uint64_t)(unsigned)_mm_movemask_epi8(slash) << i;
        masks->bracket |= (uint64_t)(unsigned)_mm_movemask_epi8(bracket) << i;
        masks->between |= (uint64_t)(unsigned)_mm_movemask_epi8(between) << i;
        masks->low |= (uint64_t)(unsigned)_mm_movemask_epi8(low) << i;
        masks->control |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
    }
}

__attribute__((target("avx2"))) static INLINE void classify_avx2(const char *text, struct masks *masks)
{
    *masks = (struct masks){0};
#pragma GCC unroll 2
    for (int i = 0; i < BLOCK; i += 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + i));
        __m256i folded = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
        __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')),
                slash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\')),
                bracket = _mm256_or_si256(_mm256_cmpeq_epi8(folded, _mm256_set1_epi8('{')),
                                          _mm256_cmpeq_epi8(folded, _mm256_set1_epi8('}'))),
                between = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(',')),
                                          _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(':'))),
                low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x20)), bytes),
                control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        masks->quote |= (uint64_t)(unsigned)_mm256_movemask_epi8(quote) << i;
        masks->slash |= (uint64_t)(unsigned)_mm256_movemask_epi8(slash) << i;
        masks->bracket |= (uint64_t)(unsigned)_mm256_movemask_epi8(bracket) << i;
        masks->between |= (uint64_t)(unsigned)_mm256_movemask_epi8(between) << i;
        masks->low |= (uint64_t)(unsigned)_mm256_movemask_epi8(low) << i;
        masks->control |= (uint64_t)(unsigned)_mm256_movemask_epi8(control) << i;
    }
}

#define AVX512 "avx512f,avx512bw,avx512vbmi,avx512vbmi2,avx2,bmi,bmi2,popcnt,pclmul"

__attribute__((target(AVX512))) static INLINE void classify_avx512(const char *text, struct masks *masks)
{
    __m512i bytes = _mm512_loadu_si512(text), folded = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
    masks->quote = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"'));
    masks->slash = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\\'));
    masks->bracket = _mm512_cmpeq_epi8_mask(folded, _mm512_set1_epi8('{')) |
                     _mm512_cmpeq_epi8_mask(folded, _mm512_set1_epi8('}'));
    masks->between = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(',')) |
                     _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(':'));
    masks->low = _mm512_cmple_epu8_mask(bytes, _mm512_set1_epi8(0x20));
    masks->control = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20));
}
#endif

#ifdef __aarch64__
/* A bit for each byte that is all ones. */
static INLINE uint64_t bits_of(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t powers[] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t bits = vld1q_u8(powers);
    uint8x16_t ab = vpaddq_u8(vandq_u8(a, bits), vandq_u8(b, bits)),
               cd = vpaddq_u8(vandq_u8(c, bits), vandq_u8(d, bits));
    ab = vpaddq_u8(ab, cd);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(ab, ab)), 0);
}

static INLINE void classify_neon(const char *text, struct masks *masks)
{
    uint8x16_t quote[4], slash[4], bracket[4], between[4], low[4], control[4];
    for (int i = 0; i < 4; i++) {
        uint8x16_t bytes = vld1q_u8((const uint8_t *)text + 16 * i);
        uint8x16_t folded = vorrq_u8(bytes, vdupq_n_u8(0x20));
        quote[i] = vceqq_u8(bytes, vdupq_n_u8('"'));
        slash[i] = vceqq_u8(bytes, vdupq_n_u8('\\'));
        bracket[i] = vorrq_u8(vceqq_u8(folded, vdupq_n_u8('{')), vceqq_u8(folded, vdupq_n_u8('}')));
        between[i] = vorrq_u8(vceqq_u8(bytes, vdupq_n_u8(',')), vceqq_u8(bytes, vdupq_n_u8(':')));
        low[i] = vcleq_u8(bytes, vdupq_n_u8(0x20));
        control[i] = vcltq_u8(bytes, vdupq_n_u8(0x20));
    }
    masks->quote = bits_of(quote[0], quote[1], quote[2], quote[3]);
    masks->slash = bits_of(slash[0], slash[1], slash[2], slash[3]);
    masks->bracket = bits_of(bracket[0], bracket[1], bracket[2], bracket[3]);
    masks->between = bits_of(between[0], between[1], between[2], between[3]);
    masks->low = bits_of(low[0], low[1], low[2], low[3]);
    masks->control = bits_of(control[0], control[1], control[2], control[3]);
}
#endif

/* ---- the first pass ---- */

/* The bytes behind a backslash that is none itself; `before`: the last one of the block before was such, and
 * then whether the last one of this is. Rare, so that one after the other will do; inline, since around a
 * call nothing stays in the wide registers. */
static INLINE uint64_t find_escaped(uint64_t slash, bool before, bool *after)
{
    uint64_t escaped = before;
    *after = false;
    for (; slash; slash &= slash - 1) {
        uint64_t bit = slash & -slash;
        if (escaped & bit)
            continue;
        escaped |= bit << 1;
        *after = bit >> 63;
    }
    return escaped;
}

/* The numbers of the bits that are set, from `offset` on, and the edges there; what is written beyond them is
 * written again. */
static INLINE uint32_t write_entries(uint32_t *to, uint32_t *edges, uint64_t entries, const char *text,
                                     uint32_t offset)
{
    uint32_t found = (uint32_t)__builtin_popcountll(entries);
    for (uint32_t i = 0; i < found; i += 4) {
#pragma GCC unroll 4
        for (uint32_t j = 0; j < 4; j++) {
            uint32_t place = (uint32_t)__builtin_ctzll(entries | (uint64_t)1 << 63);
            to[i + j] = offset + place;
            edges[i + j] = json_edge_at(text + place);
            entries &= entries - 1;
        }
    }
    return found;
}

#ifdef __x86_64__
#define FOUR_OF(n) n, n, n, n
#define SIXTEEN_OF(n) FOUR_OF(n), FOUR_OF(n + 1), FOUR_OF(n + 2), FOUR_OF(n + 3)

/* The same of sixteen, whose numbers in the block these are. `before` and `early` are the 64 bytes from one,
 * and two, before the text's. */
__attribute__((target(AVX512))) static INLINE void write_sixteen(uint32_t *to, uint32_t *edges,
                                                                 __m128i numbers, __m512i text,
                                                                 __m512i before, __m512i early,
                                                                 uint32_t offset)
{
    static const char four_times[BLOCK] = {SIXTEEN_OF(0), SIXTEEN_OF(4), SIXTEEN_OF(8), SIXTEEN_OF(12)};
    __m512i places = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(numbers), _mm512_loadu_si512(four_times)),
            two = _mm512_permutex2var_epi8(early, _mm512_or_si512(places, _mm512_set1_epi32(BLOCK << 8)),
                                           before);
    _mm512_storeu_si512(to, _mm512_add_epi32(_mm512_set1_epi32((int)offset), _mm512_cvtepu8_epi32(numbers)));
    _mm512_storeu_si512(edges, _mm512_mask_permutexvar_epi8(two, 0x4444444444444444, places, text));
}

/* Sixteen at once: the bytes' own numbers, pressed together. */
__attribute__((target(AVX512))) static INLINE uint32_t write_entries_avx512(uint32_t *to, uint32_t *edges,
                                                                            uint64_t entries,
                                                                            const char *text, uint32_t offset)
{
    static const char numbers[BLOCK] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                        48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    uint32_t found = (uint32_t)__builtin_popcountll(entries);
    __m512i pressed = _mm512_maskz_compress_epi8(entries, _mm512_loadu_si512(numbers)),
            bytes = _mm512_loadu_si512(text), before = _mm512_loadu_si512(text - 1),
            early = _mm512_loadu_si512(text - 2);
    write_sixteen(to, edges, _mm512_castsi512_si128(pressed), bytes, before, early, offset);
    if (__builtin_expect(found > 16, 0))
        write_sixteen(to + 16, edges + 16, _mm512_extracti32x4_epi32(pressed, 1), bytes, before, early,
                      offset);
    if (__builtin_expect(found > 32, 0)) {
        write_sixteen(to + 32, edges + 32, _mm512_extracti32x4_epi32(pressed, 2), bytes, before, early,
                      offset);
        write_sixteen(to + 48, edges + 48, _mm512_extracti32x4_epi32(pressed, 3), bytes, before, early,
                      offset);
    }
    return found;
}
#endif

/* As many entries as DynamoDB's JSON needs, mostly; twice as many where it is denser. */
static __attribute__((noinline)) bool make_room(struct arena *arena, uint32_t **at, uint32_t **edges,
                                                size_t count, size_t *capacity)
{
    size_t more = *capacity * 2;
    if (!arena_fits(arena, 2 * more * sizeof **at))
        return false;
    uint32_t *new_at = arena_alloc(arena, more * sizeof *new_at),
             *new_edges = arena_alloc(arena, more * sizeof *new_edges);
    memcpy(new_at, *at, count * sizeof *new_at);
    memcpy(new_edges, *edges, count * sizeof *new_edges);
    *at = new_at;
    *edges = new_edges;
    *capacity = more;
    return true;
}

#define EDGE_BEFORE 3 /* bytes that are looked at before a block */

/* A block at an end of the text, with what is looked at around it; where there is no text, white space. */
static const char *copy_block(char copy[EDGE_BEFORE + BLOCK], const char *text, size_t offset, size_t size)
{
    size_t before = offset ? EDGE_BEFORE : 0, there = size - offset < BLOCK ? size - offset : BLOCK;
    memset(copy, ' ', EDGE_BEFORE + BLOCK);
    memcpy(copy + EDGE_BEFORE - before, text + offset - before, before + there);
    return copy + EDGE_BEFORE;
}

static INLINE bool mark(struct json_index *index, struct arena *arena, size_t size,
                        void (*classify)(const char *text, struct masks *masks),
                        uint64_t (*ones)(uint64_t bits),
                        uint32_t (*write)(uint32_t *to, uint32_t *edges, uint64_t entries, const char *text,
                                          uint32_t offset))
{
    size_t blocks = size / BLOCK + 1, capacity = size / 5 + 4 * BLOCK, count = 0;
    uint64_t in_string = 0, in_scalar = 0, bad = 0, slashes = 0,
             spaces = 0; /* all bits, and one: of the block before */
    bool escapes_next = false;
    char copy[EDGE_BEFORE + BLOCK];
    if (!arena_fits(arena, (2 * capacity + blocks) * sizeof(uint32_t)))
        return false;
    uint32_t *first = arena_alloc(arena, blocks * sizeof *first),
             *at = arena_alloc(arena, capacity * sizeof *at),
             *edges = arena_alloc(arena, capacity * sizeof *edges);
    for (size_t i = 0; i < blocks;) {
        bool last = i + 1 == blocks, copied = i == 0 || last;
        uint64_t within = last ? ((uint64_t)1 << size % BLOCK) - 1 : UINT64_MAX; /* the text */
        size_t until = i + (capacity - count - 1) / BLOCK;                       /* that many have room */
        const char *text = copied ? copy_block(copy, index->text, i * BLOCK, size) : index->text + i * BLOCK;
        if (until == i && !make_room(arena, &at, &edges, count, &capacity))
            return false;
        if (copied)
            until = i + 1;
        else if (until > blocks - 1)
            until = blocks - 1;
        for (; i < until; i++, text += BLOCK) {
            struct masks masks;
            first[i] = (uint32_t)count;
            classify(text, &masks);
            uint64_t quote = masks.quote;
            if (masks.slash || escapes_next)
                quote &= ~find_escaped(masks.slash, escapes_next, &escapes_next);
            slashes |= masks.slash;
            uint64_t inside = ones(quote) ^ in_string; /* from an opening quote to before the closing one */
            uint64_t scalar = ~(inside | quote | masks.bracket | masks.between | masks.low);
            bad |= masks.control & inside;
            spaces |= masks.low & ~inside & within;
            count +=
                write(at + count, edges + count,
                      (masks.bracket & ~inside) | (quote & inside) | (scalar & ~(scalar << 1 | in_scalar)),
                      text, (uint32_t)(i * BLOCK));
            in_string = (uint64_t)((int64_t)inside >> 63);
            in_scalar = scalar >> 63;
        }
    }
    at[count] = (uint32_t)size;
    index->at = at;
    index->ways = edges;
    index->count = (uint32_t)count;
    index->first = first;
    index->escapes = slashes != 0;
    index->spaces = spaces != 0;
    return !bad && !in_string && index->count;
}

static bool mark_plain(struct json_index *index, struct arena *arena, size_t size)
{
    return mark(index, arena, size, classify_plain, ones_before_each, write_entries);
}

#ifdef __x86_64__
static bool mark_sse2(struct json_index *index, struct arena *arena, size_t size)
{
    return mark(index, arena, size, classify_sse2, ones_before_each, write_entries);
}

__attribute__((target("avx2,bmi,bmi2,popcnt,pclmul"))) static bool mark_avx2(struct json_index *index,
                                                                             struct arena *arena, size_t size)
{
    return mark(index, arena, size, classify_avx2, ones_before_each_pclmul, write_entries);
}

__attribute__((target(AVX512))) static bool mark_avx512(struct json_index *index, struct arena *arena,
                                                        size_t size)
{
    return mark(index, arena, size, classify_avx512, ones_before_each_pclmul, write_entries_avx512);
}
#endif
#ifdef __aarch64__
static bool mark_neon(struct json_index *index, struct arena *arena, size_t size)
{
    return mark(index, arena, size, classify_neon, ones_before_each, write_entries);
}
#endif

const struct json_index_way *json_index_ways(void)
{
    static const struct json_index_way ways[] = {
#if defined __x86_64__
        {"AVX-512", mark_avx512, true},
        {"AVX2", mark_avx2, true},
        {"SSE2", mark_sse2, false},
#elif defined __aarch64__
        {"NEON", mark_neon, false},
#endif
        {"plain C", mark_plain, false},
        {NULL, NULL, false}
    };
#ifdef __x86_64__
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
          __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("pclmul")))
        return ways + 2;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2")))
        return ways + 1;
#endif
    return ways;
}

/* ---- the second pass ---- */

static INLINE bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

#define NOWHERE UINT32_MAX

static __attribute__((noinline)) uint32_t search_before(const char *text, uint32_t end, char separator)
{
    while (end && is_space(text[end - 1]))
        end--;
    if (!separator)
        return end - 1;
    if (!end || text[end - 1] != separator)
        return NOWHERE;
    end--;
    while (end && is_space(text[end - 1]))
        end--;
    return end - 1;
}

/* Backwards from `end` past white space, and past `separator` with what is before it (0: there is none): the
 * last byte of what stands there. Without `spaces` there is no white space in the text. */
static INLINE uint32_t last_before(const char *text, uint32_t end, char separator, bool spaces)
{
    if (!spaces && !separator)
        return end - 1; /* of nothing: NOWHERE */
    if (!spaces)
        return end > 1 && text[end - 1] == separator ? end - 2 : NOWHERE;
    if (!separator)
        return end && (unsigned char)text[end - 1] > ' ' ? end - 1 : search_before(text, end, separator);
    return end > 1 && text[end - 1] == separator && (unsigned char)text[end - 2] > ' '
               ? end - 2
               : search_before(text, end, separator);
}

static bool is_hex(const char *at, const char *end)
{
    for (int i = 0; i < 4; i++)
        if (at + i >= end || hex_digit(at[i]) < 0)
            return false;
    return true;
}

/* The last one that begins there or before. */
static uint32_t entry_around(const struct json_index *index, uint32_t place)
{
    uint32_t entry = index->first[place / BLOCK];
    while (entry < index->count && index->at[entry] <= place)
        entry++;
    return entry - 1;
}

/* Backslashes stand in strings, where the grammar holds. Is what stands behind each right? Keys with some are
 * marked. */
static bool mark_escapes(struct json_index *index, size_t size)
{
    const char *text = index->text, *end = text + size;
    uint32_t entry = 0;
    for (const char *at = text; (at = memchr(at, '\\', (size_t)(end - at)));) {
        uint32_t place = (uint32_t)(at - text);
        if (place >= index->at[entry + 1])
            entry = entry_around(index, place);
        if (index->ways[entry])
            index->ways[entry] |= JSON_INDEX_ESCAPED;
        if (++at == end || !*at || !strchr("\"\\/bfnrtu", *at) || (*at == 'u' && !is_hex(at + 1, end)))
            return false;
        at++;
    }
    return true;
}

/* Where a value's last byte must be: before what comes at `end`, a closing bracket or, behind a comma,
 * something else. */
static INLINE uint32_t last_of_child(const char *text, uint32_t end, char what, bool spaces)
{
    return last_before(text, end, (what | 0x20) == '}' ? '\0' : ',', spaces);
}

struct open {
    uint32_t entry, children;
};

static INLINE bool is_text(const char *at, const char *text, uint32_t size)
{
    return memcmp(at, text, size) == 0;
}

/* Nearly all there is in an item is members like "name":{"S":"text"}, without white space: behind the name
 * four entries in one go. The first is a bracket, and four more are there. */
static INLINE bool take_attribute(const char *text, const uint32_t *at, uint32_t *restrict ways)
{
    uint32_t outer = at[0], type = at[1], value = at[2], end = at[3];
    if (!(is_text(text + outer, "{\"", 2) && is_text(text + value - 2, "\":\"", 3) &&
          is_text(text + end - 1, "\"}", 2)))
        return false;
    ways[0] = 3;
    ways[1] = value - 3 - type;
    ways[2] = 0;
    ways[3] = 1;
    return true;
}

/* Entry after entry, each with what lies between it and the next one. `i` is the entry, `begin` its first
 * byte, `c` what stands there. */
static INLINE bool check_all(struct json_index *index, uint32_t *ways, uint32_t size, bool wide,
                             const bool spaces)
{
    const char *const text = index->text;
    const uint32_t *const at = index->at, count = index->count;
    const struct json_entries entries = {text, at, ways, wide};
    struct open stack[JSON_DEPTH_MAX]; /* those around what is open now */
    struct open open = {0, 0};
    struct json_shapes shapes;
    uint32_t list = 0;     /* how deep the outermost array's values are */
    uint32_t others = 0;   /* keys and closing brackets */
    uint32_t unlearnt = 0; /* of them there were, before what is looked at now */
    char opening = '\0', c = text[at[0]];
    uint32_t depth = 0, i = 0, begin = at[0], next, last;
    shapes.wanted = shapes.learning = false; /* before there is a list */
    if (last_before(text, begin, '\0', spaces) != NOWHERE)
        return false;
value:
    if (c == '{' || c == '[') {
        if (depth >= JSON_DEPTH_MAX || i + 1 >= count)
            return false;
        if (!spaces && c == '{' && depth == list && shapes.wanted) {
            const struct json_shape *shape = json_shapes_take(&shapes, &entries, i, count - i - 1);
            if (shape) {
                i += shape->count;
                others += shape->others;
                index->alike++;
                begin = at[i - 1];
                next = at[i];
                if (last_of_child(text, next, text[next], spaces) == begin)
                    goto child;
                return false;
            }
            unlearnt = others;
        }
        stack[depth++] = open;
        if (!spaces && c == '[' && !list) {
            list = depth;
            json_shapes_begin(&shapes);
        }
        open = (struct open){i, 0};
        opening = c;
        next = at[++i];
        if (last_before(text, next, '\0', spaces) != begin)
            return false;
        begin = next;
        c = text[begin];
        if (c == opening + 2)
            goto close;
        if (opening == '{')
            goto key;
        goto value;
    }
    ways[i] = 0;
    if (i + 1 >= count)
        return depth == 0 && (last = last_before(text, size, '\0', spaces)) != NOWHERE &&
               (c == '"' ? last > begin && text[last] == '"' : json_scalar_ends_at(text, begin, last));
    next = at[++i];
    last = last_of_child(text, next, text[next], spaces);
    if (last == NOWHERE ||
        (c == '"' ? last == begin || text[last] != '"' : !json_scalar_ends_at(text, begin, last)))
        return false;
child: /* a child ended, and the entry i is behind it */
    if (!depth)
        return false;
    begin = next;
    c = text[begin];
    open.children++;
    if ((c | 0x20) == '}')
        goto close;
    if (opening == '[')
        goto value;
key:
    if (c != '"' || i + 1 >= count)
        return false;
    next = at[i + 1];
    last = last_before(text, next, ':', spaces);
    if (last == NOWHERE || last == begin || text[last] != '"')
        return false;
    ways[i++] = last - begin - 1;
    c = text[next];
    if (c == '{' && i + 4 < count && depth < JSON_DEPTH_MAX && take_attribute(text, at + i, ways + i)) {
        begin = at[i + 3];
        i += 4;
        others += 2; /* its own key is the object's child */
        next = at[i];
        if (last_of_child(text, next, text[next], spaces) == begin)
            goto child;
        return false;
    }
    begin = next;
    goto value;
close:
    if (c != opening + 2)
        return false;
    ways[open.entry] = i - open.entry;
    ways[i] = open.children;
    others += 1 + (opening == '{' ? open.children : 0);
    if (!spaces && shapes.learning && depth == list + 1)
        json_shapes_learn(&shapes, &entries, open.entry, i + 1 - open.entry, others - unlearnt);
    open = stack[--depth];
    list = depth < list ? 0 : list;
    if (i + 1 >= count) {
        index->values = count - others;
        return depth == 0 && last_before(text, size, '\0', spaces) == begin;
    }
    opening = text[at[open.entry]];
    next = at[++i];
    if (last_of_child(text, next, text[next], spaces) != begin)
        return false;
    goto child;
}

static bool check(struct json_index *index, uint32_t size, bool wide)
{
    return check_all(index, index->ways, size, wide, false);
}

static __attribute__((noinline)) bool check_spaced(struct json_index *index, uint32_t size, bool wide)
{
    return check_all(index, index->ways, size, wide, true);
}

bool json_index_make_by(const struct json_index_way *way, struct json_index *index, struct arena *arena,
                        const char *text, size_t size)
{
    *index = (struct json_index){.text = text, .arena = arena};
    if (!size || size > INT32_MAX || !way->mark(index, arena, size))
        return false;
    bool right = (index->spaces ? check_spaced : check)(index, (uint32_t)size, way->wide);
    arena_trim(arena, index->ways, index->count * sizeof *index->ways);
    return right && (!index->escapes || mark_escapes(index, size));
}

bool json_index_make(struct json_index *index, struct arena *arena, const char *text, size_t size)
{
    return json_index_make_by(json_index_ways(), index, arena, text, size);
}
