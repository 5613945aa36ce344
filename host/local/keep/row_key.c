/* row_key.c: of an item, what stands for it elsewhere: its key alone, its place in the order of expiry. */
#include <string.h>

#include "local/keep/call.h"

struct attr *key_only(struct arena *arena, const struct key_schema *schema, const struct attr *item)
{
    struct attr *key = attr_new(arena, ATTR_M);
    for (size_t i = 0; i < schema->count; i++) {
        struct attr *value = attr_get(item, schema->parts[i].name);
        if (value)
            attr_append(arena, key, schema->parts[i].name, value);
    }
    return key;
}

int64_t ttl_index(const struct table *table)
{
    return -table->id; /* no other index has such a number */
}

bool ttl_key(struct arena *arena, const struct table *table, const struct attr *item, struct row_key *key)
{
    struct key_schema schema = {
        .parts = {{{table->ttl, table->ttl ? strlen(table->ttl) : 0}, ATTR_N}}, .hash_count = 1, .count = 1};
    if (!table->ttl || !key_of(arena, &schema, item, key))
        return false;
    key->range = key->hash;
    key->hash = (struct text){"", 0};
    return true;
}

bool same_key(struct row_key a, struct row_key b)
{
    return text_equal(a.hash, b.hash) && text_equal(a.range, b.range);
}
