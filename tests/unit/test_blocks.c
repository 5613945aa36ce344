/* test_blocks.c: the blocks of a Lua state keep what is in them, however they are resized and freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "script/blocks.h"

#define BLOCKS 20000

struct kept {
    unsigned char *bytes;
    size_t size;
    unsigned char fill;
};

static void check(const struct kept *block)
{
    for (size_t i = 0; i < block->size; i++)
        assert_int_equal(block->bytes[i], block->fill);
    assert_int_equal((uintptr_t)block->bytes % 16, 0);
}

static void resize(struct blocks *blocks, struct kept *block, size_t size, unsigned char fill)
{
    size_t same = size < block->size ? size : block->size;
    block->bytes = blocks_resize(blocks, block->bytes, block->size, size);
    assert_non_null(block->bytes);
    for (size_t i = 0; i < same; i++)
        assert_int_equal(block->bytes[i], block->fill);
    memset(block->bytes, fill, size);
    *block = (struct kept){block->bytes, size, fill};
}

/* Enough of them that the region is used up, and some come from malloc. */
static void they_keep_what_is_in_them(void **state)
{
    (void)state;
    static struct kept all[BLOCKS];
    struct blocks blocks;
    uint64_t random = 1;
    blocks_init(&blocks);
    for (int round = 0; round < 400000; round++) {
        random = hash_mix(random + 0x9e3779b97f4a7c15u);
        struct kept *block = &all[random % BLOCKS];
        size_t most = random >> 40 & 15 ? 600 : 5000, size = 1 + (random >> 20) % most;
        if (block->bytes)
            check(block);
        if (block->bytes && (random >> 50 & 3) == 0) {
            blocks_free(&blocks, block->bytes, block->size);
            *block = (struct kept){0};
        } else {
            resize(&blocks, block, size, (unsigned char)round);
        }
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (all[i].bytes)
            check(&all[i]);
        blocks_free(&blocks, all[i].bytes, all[i].size);
    }
    blocks_fini(&blocks);
}

static void what_was_freed_is_used_again(void **state)
{
    (void)state;
    struct blocks blocks;
    blocks_init(&blocks);
    void *first = blocks_resize(&blocks, NULL, 0, 100);
    bool has_region = blocks.region;
    blocks_free(&blocks, first, 100);
    void *second = blocks_resize(&blocks, NULL, 0, 97); /* of the same 112 bytes */
    assert_true(!has_region || second == first);
    void *same = blocks_resize(&blocks, second, 97, 112);
    assert_true(!has_region || same == second);
    blocks_free(&blocks, same, 112);
    blocks_fini(&blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_keep_what_is_in_them),
        cmocka_unit_test(what_was_freed_is_used_again),
    };
    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
