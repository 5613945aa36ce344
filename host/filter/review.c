/* review.c: why a pattern can match no stream record. Found by walking the pattern along the record's shape.
 */
#include <string.h>

#include "base/buf.h"
#include "filter/filter.h"
#include "filter/pattern.h"

struct review {
    struct problems *problems;
    const char *label;
};

struct path {
    const struct path *up;
    const struct field *field;
};

static void add_path(struct buf *out, const struct path *path)
{
    if (!path || !path->field)
        return;
    add_path(out, path->up);
    buf_printf(out, "%s%.*s", out->size ? "." : "", (int)path->field->key_size, path->field->key);
}

static void complain(struct review *review, const struct path *path, const char *sentence)
{
    struct buf text = BUF_INIT;
    add_path(&text, path);
    problems_add(review->problems, "%s: %s: %s", review->label, text.data ? text.data : "the pattern",
                 sentence);
    buf_fini(&text);
}

static bool field_is(const struct field *field, const char *key)
{
    return strlen(key) == field->key_size && memcmp(field->key, key, field->key_size) == 0;
}

static bool field_is_one_of(const struct field *field, const char *const *keys)
{
    for (; *keys; keys++)
        if (field_is(field, *keys))
            return true;
    return false;
}

/* Can be satisfied where nothing is. */
static bool wants_absence(const struct field *field)
{
    for (const struct matcher *matcher = field->leaf; matcher; matcher = matcher->next)
        if (matcher->kind == MATCH_ABSENT)
            return true;
    return false;
}

static void review_item(struct review *review, const struct pattern *item, const struct path *up);

/* {"S": [...]}: the members of an attribute value are its type. */
static void review_value(struct review *review, const struct pattern *value, const struct path *up)
{
    static const char *const types[] = {"S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "M", "L", NULL};
    for (const struct field *field = value->fields; field; field = field->next) {
        struct path path = {up, field};
        if (!field_is_one_of(field, types)) {
            complain(review, &path, "is not an attribute type (S, N, B, BOOL, NULL, SS, NS, BS, M, L)");
        } else if (field_is(field, "M") && field->object) {
            review_item(review, field->object, &path);
        } else if (field_is(field, "L") && field->object) {
            review_value(review, field->object, &path);
        } else if (field->object) {
            complain(review, &path, "holds no object");
        }
        for (const struct matcher *matcher = field->leaf; matcher; matcher = matcher->next) {
            bool boolean = matcher->kind == MATCH_TRUE || matcher->kind == MATCH_FALSE;
            if (boolean && !field_is(field, "BOOL") && !field_is(field, "NULL"))
                complain(review, &path, "true and false are found under BOOL only");
            if (matcher->kind == MATCH_NUMERIC && !field_is(field, "N") && !field_is(field, "NS"))
                complain(review, &path, "numeric compares numbers, which are found under N and NS only");
            if (matcher->kind == MATCH_STRING && field_is(field, "BOOL"))
                complain(review, &path, "BOOL is true or false without quotes");
        }
    }
}

static void review_item(struct review *review, const struct pattern *item, const struct path *up)
{
    for (const struct field *field = item->fields; field; field = field->next) {
        struct path path = {up, field};
        if (field->object)
            review_value(review, field->object, &path);
        else if (!wants_absence(field))
            complain(
                review, &path,
                "an attribute is an object with its type, such as {\"S\": [...]}: this matches no record");
    }
}

static void review_change(struct review *review, const struct pattern *change, const struct path *up)
{
    static const char *const known[] = {"ApproximateCreationDateTime",
                                        "Keys",
                                        "NewImage",
                                        "OldImage",
                                        "SequenceNumber",
                                        "SizeBytes",
                                        "StreamViewType",
                                        NULL};
    for (const struct field *field = change->fields; field; field = field->next) {
        struct path path = {up, field};
        bool image = field_is(field, "Keys") || field_is(field, "NewImage") || field_is(field, "OldImage");
        if (!field_is_one_of(field, known) && !wants_absence(field))
            complain(review, &path, "a stream record has no such member");
        else if (image && field->object)
            review_item(review, field->object, &path);
        else if (image && !wants_absence(field))
            complain(
                review, &path,
                "is an object, and values are asked of what stands in it: this matches no record (name an "
                "attribute, such as {\"id\": {\"S\": [{\"exists\": true}]}})");
    }
}

static void review_event_name(struct review *review, const struct field *field, const struct path *path)
{
    for (const struct matcher *matcher = field->leaf; matcher; matcher = matcher->next) {
        if (matcher->kind != MATCH_STRING)
            continue;
        if (strncmp(matcher->text, "INSERT", matcher->size) != 0 &&
            strncmp(matcher->text, "MODIFY", matcher->size) != 0 &&
            strncmp(matcher->text, "REMOVE", matcher->size) != 0)
            complain(review, path, "eventName is INSERT, MODIFY or REMOVE");
    }
}

static void review_record(struct review *review, const struct pattern *record)
{
    static const char *const known[] = {"eventID",      "eventName",      "eventVersion",
                                        "eventSource",  "awsRegion",      "dynamodb",
                                        "userIdentity", "eventSourceARN", NULL};
    for (const struct field *field = record->fields; field; field = field->next) {
        struct path path = {NULL, field};
        if (!field_is_one_of(field, known) && !wants_absence(field))
            complain(review, &path, "a stream record has no such member");
        else if (field_is(field, "dynamodb") && field->object)
            review_change(review, field->object, &path);
        else if (field_is(field, "eventName") && field->leaf)
            review_event_name(review, field, &path);
    }
    for (const struct alternatives * or = record->ors; or ; or = or->next)
        for (size_t i = 0; i < or->count; i++)
            review_record(review, or->patterns[i]);
}

void filter_review(const struct filter *filter, const char *label, struct problems *problems)
{
    struct review review = {problems, label};
    review_record(&review, filter->root);
}
