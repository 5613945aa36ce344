/* attr_index.h: the members of a set by their values, or of a map by their names: work on two of them grows
 * with their size, not with its square. */
#ifndef TIDEMILL_LOCAL_MODEL_ATTR_INDEX_H
#define TIDEMILL_LOCAL_MODEL_ATTR_INDEX_H

#include "local/model/attribute.h"

struct attr_index {
    const struct member **slots;
    size_t capacity;
    bool twice; /* two members are equal */
};

/* Valid while the container does not change. */
struct attr_index attr_index_of(const struct attr *container);
void attr_index_fini(struct attr_index *index);

/* NULL: there is none. */
const struct member *attr_index_get(const struct attr_index *index, struct text text);

#endif
