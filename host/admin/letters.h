/* letters.h: the dead letters, for the dashboard: looked at, redriven and dropped. */
#ifndef TIDEMILL_ADMIN_LETTERS_H
#define TIDEMILL_ADMIN_LETTERS_H

#include "admin/access.h"
#include "base/document.h"

struct letters_query {
    const char *handler, *error; /* NULL: any */
    int64_t id;                  /* this one alone, whole; 0: any, without their records */
    int64_t after, limit;
};

/* As JSON: {"letters": [...], "more": bool}. False and `err`. */
bool letters_write(struct access *access, const struct letters_query *query, struct buf *out,
                   struct err *err);

/* {"do": "redrive" | "drop", "ids": [1, 2]} or {"do":, "handler":, "error":, "all": true}, where one of the
 * last three says which. What was done is added to `told`. False and `err`. */
bool letters_change(struct access *access, const cJSON *order, struct buf *told, struct err *err);

#endif
