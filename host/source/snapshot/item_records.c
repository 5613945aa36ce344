/* item_records.c: see item_records.h. */
#include "source/snapshot/item_records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/document.h"
#include "base/mem.h"

/* ---- keys ---- */

void key_names_free(struct key_names *names)
{
    if (!names)
        return;
    free(names->names[0]);
    free(names->names[1]);
    free(names);
}

struct key_names_call {
    struct aws_call *call;
    key_names_fn *done;
    void *user;
};

int64_t created_ms_of(const cJSON *table)
{
    const cJSON *created = document_get(table, "CreationDateTime");
    return cJSON_IsNumber(created) ? (int64_t)(created->valuedouble * 1000) : 0;
}

static void on_described(void *user, struct transport_response *response, const struct err *err)
{
    struct key_names_call own = *(struct key_names_call *)user;
    struct err problem = {0};
    const cJSON *part;
    size_t count = 0;
    free(user);
    cJSON *root = err ? NULL : document_read(response->body.data, response->body.size, &problem);
    const cJSON *schema = document_get(document_get(root, "Table"), "KeySchema");
    struct key_names *names = mem_zero(sizeof *names);
    cJSON_ArrayForEach(part, schema)
    {
        const char *name = document_text(part, "AttributeName");
        if (name && count < COUNT_OF(names->names))
            names->names[count++] = mem_string(name);
    }
    names->created_ms = created_ms_of(document_get(root, "Table"));
    if (root && !count)
        err_set(&problem, ERR_PARSE, "DescribeTable: the answer holds no KeySchema");
    cJSON_Delete(root);
    if (!count) {
        key_names_free(names);
        own.done(own.user, NULL, err ? err : &problem);
    } else {
        own.done(own.user, names, NULL);
    }
}

struct key_names_call *key_names_ask(struct aws_client *client, const char *table, key_names_fn *done,
                                     void *user)
{
    struct key_names_call *call = mem_alloc(sizeof *call);
    cJSON *body = cJSON_CreateObject();
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = "DescribeTable", .own = true};
    document_add_text(body, "TableName", table);
    document_write(body, &request.body);
    *call = (struct key_names_call){.done = done, .user = user};
    call->call = aws_send(client, &request, on_described, call);
    return call;
}

void key_names_cancel(struct key_names_call *call)
{
    if (call)
        aws_cancel(call->call);
    free(call);
}

/* ---- records ---- */

static bool is_key(const struct key_names *keys, const struct json *attribute)
{
    for (size_t i = 0; i < COUNT_OF(keys->names); i++)
        if (keys->names[i] && json_key_is(attribute, keys->names[i]))
            return true;
    return false;
}

/* The table's key of the item; false when it lacks a part of it. */
static bool add_keys(struct buf *out, const struct key_names *keys, const struct json *item)
{
    size_t found = 0, wanted = keys->names[1] ? 2 : 1;
    buf_add_char(out, '{');
    json_each(attribute, item) {
        if (!is_key(keys, attribute))
            continue;
        if (found++)
            buf_add_char(out, ',');
        json_write_string(out, attribute->key, attribute->key_size);
        buf_add_char(out, ':');
        json_write_value(out, attribute);
    }
    buf_add_char(out, '}');
    return found == wanted;
}

/* The number is filled in when the page is full. */
#define NUMBER_WIDTH 20

/* As it stands in its text, where that is one piece: nothing is taken apart and put together again. */
static void add_item(struct buf *out, const struct json *item)
{
    if (item->type == JSON_OBJECT && item->size)
        buf_add(out, item->text, item->size);
    else
        json_write_value(out, item);
}

static bool is_object(const struct json *value)
{
    return value && value->type == JSON_OBJECT;
}

static const char *name_of(const struct item_change *change)
{
    return !change->new_image ? "REMOVE" : change->old_image ? "MODIFY" : "INSERT";
}

static bool add_image(struct buf *out, const char *member, const struct json *image)
{
    if (!image)
        return true;
    if (!is_object(image))
        return false;
    buf_add_text(out, member);
    add_item(out, image);
    return true;
}

bool item_change_add(struct buf *out, const struct item_frame *frame, const struct item_change *change,
                     struct err *err)
{
    const struct json *image = change->new_image ? change->new_image : change->old_image,
                      *keyed = change->keys ? change->keys : image;
    if (out->size)
        buf_add_char(out, ',');
    buf_add_literal(out, "{\"eventID\":\"snapshot-");
    buf_printf(out, "%" PRId64 "\",\"eventName\":\"%s", frame->taken_ms, name_of(change));
    buf_add_literal(out, "\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:dynamodb\",\"awsRegion\":\"");
    buf_add_text(out, frame->region);
    if (frame->source_arn) {
        buf_add_literal(out, "\",\"eventSourceARN\":\"");
        json_write_text(out, frame->source_arn, strlen(frame->source_arn));
    }
    buf_printf(out,
               "\",\"snapshot\":true,\"dynamodb\":{\"ApproximateCreationDateTime\":%" PRId64 ",\"Keys\":",
               change->time_ms / 1000);
    if (!is_object(keyed) || !add_keys(out, frame->keys, keyed))
        return err_set(err, ERR_PARSE, "an item lacks the table's key");
    size_t before = out->size;
    if (!add_image(out, ",\"OldImage\":", change->old_image) ||
        !add_image(out, ",\"NewImage\":", change->new_image))
        return err_set(err, ERR_PARSE, "an item is none");
    buf_printf(out,
               ",\"SizeBytes\":%zu,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\",\"SequenceNumber\":\"%*s\"}}",
               out->size - before, NUMBER_WIDTH, "");
    return true;
}

bool item_record_add(struct buf *out, const struct item_frame *frame, const struct json *item,
                     struct err *err)
{
    return item_change_add(out, frame, &(struct item_change){.new_image = item, .time_ms = frame->taken_ms},
                           err);
}

void item_records_number(struct buf *records, int64_t number)
{
    static const char open[] = "\"SequenceNumber\":\"                    \"}}";
    static_assert(sizeof open - 1 == 18 + NUMBER_WIDTH + 3, "the place is as wide as it was left");
    char text[NUMBER_WIDTH + 1];
    snprintf(text, sizeof text, "%0*" PRId64, NUMBER_WIDTH, number);
    char *at = records->data;
    while (at && (at = memmem(at, (size_t)(records->data + records->size - at), open, sizeof open - 1))) {
        memcpy(at + 18, text, NUMBER_WIDTH);
        at += sizeof open - 1;
    }
}

struct page *item_records_page(struct buf *records, int64_t number, struct err *err)
{
    struct buf body = BUF_INIT;
    item_records_number(records, number);
    buf_reserve(&body, records->size + 16);
    buf_add_literal(&body, "{\"Records\":[");
    buf_add(&body, records->data, records->size);
    buf_add_literal(&body, "]}");
    struct page *page = page_read(&body, err);
    buf_fini(&body);
    return page;
}

struct source_error item_source_error(const struct err *err)
{
    static const char *const throttled[] = {"ProvisionedThroughputExceededException", "ThrottlingException",
                                            "RequestLimitExceeded", "LimitExceededException", "SlowDown"};
    struct source_error error = {SOURCE_OTHER, *err};
    for (size_t i = 0; i < COUNT_OF(throttled); i++)
        if (strcmp(err->service, throttled[i]) == 0)
            error.fault = SOURCE_THROTTLED;
    return error;
}
