/* xml.h: the XML that some services answer with, as a tree in an arena. Attributes and namespaces are left
 * out: no answer needs them. */
#ifndef TIDEMILL_AWS_XML_H
#define TIDEMILL_AWS_XML_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

struct xml {
    const char *name;
    const char *text; /* of an element without others in it; "" for the rest */
    struct xml *child, *next;
};

/* NULL and `err` (which may be NULL) when it is not well-formed, is more than 32 elements deep, or would take
 * more than arena->max. */
const struct xml *xml_parse(struct arena *arena, const char *bytes, size_t size, struct err *err);

/* The first element of that name, at any depth, in the order of the text; NULL where there is none or `root`
 * is NULL. */
const struct xml *xml_find(const struct xml *root, const char *name);

/* Its text, or NULL. */
const char *xml_text(const struct xml *root, const char *name);

#endif
