/* attr_index.c: open addressing, at most half full. */
#include "local/model/attr_index.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

static struct text text_of(const struct member *member)
{
    return member->name.data ? member->name : member->value->text;
}

static size_t slot_of(const struct attr_index *index, struct text text)
{
    size_t at = hash_bytes(text.data, text.size, 0) & (index->capacity - 1);
    while (index->slots[at] && !text_equal(text_of(index->slots[at]), text))
        at = (at + 1) & (index->capacity - 1);
    return at;
}

struct attr_index attr_index_of(const struct attr *container)
{
    struct attr_index index = {.capacity = 16};
    while (index.capacity < 2 * container->count)
        index.capacity *= 2;
    index.slots = mem_zero(index.capacity * sizeof *index.slots);
    attr_each(member, container)
    {
        size_t at = slot_of(&index, text_of(member));
        index.twice = index.twice || index.slots[at];
        index.slots[at] = member;
    }
    return index;
}

void attr_index_fini(struct attr_index *index)
{
    free(index->slots);
}

const struct member *attr_index_get(const struct attr_index *index, struct text text)
{
    return index->slots[slot_of(index, text)];
}
