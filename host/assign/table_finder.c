/* table_finder.c: ListTables, and of those whose names fit their tags, one by one. */
#include "assign/table_finder.h"

#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/document.h"
#include "base/mem.h"

/* ListTagsOfResource may be called ten times a second by an account, and not by us alone:
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ListTagsOfResource.html */
#define TAGS_EVERY_MS 200

static const int64_t retry_ms[2] = {1000, 60000};
#define COMPLAIN_EVERY_MS 60000

struct table_finder {
    struct table_finder_options options;
    table_finder_fn *listed;
    void *user;
    char *subject;
    struct timer next; /* the next round, or the next step of this one */
    struct aws_call *call;
    struct map wanted, others; /* of this round */
    struct map arns;           /* of tables, which a tag is asked for by: name -> char *, owned */
    char **names;              /* that fit, and whose tags are to be looked at */
    size_t name_count, name_capacity, at;
    char *after; /* where the next page begins; or NULL */
    bool tagging;
    int64_t failures; /* in a row */
    uint64_t random;
    struct log_limit complained;
};

static void forget_names(struct table_finder *finder)
{
    for (size_t i = 0; i < finder->name_count; i++)
        free(finder->names[i]);
    free(finder->names);
    finder->names = NULL;
    finder->name_count = finder->name_capacity = finder->at = 0;
}

static void begin_round(struct table_finder *finder)
{
    forget_names(finder);
    map_fini(&finder->wanted);
    map_fini(&finder->others);
    finder->wanted = finder->others = MAP_INIT;
    free(finder->after);
    finder->after = NULL;
    finder->tagging = false;
}

static void fail(struct table_finder *finder, const struct err *err)
{
    int64_t now = reactor_now_ms(finder->options.reactor);
    char *text = mem_printf("the tables cannot be looked for, trying again: %s", err->text);
    if (log_limit_passes(&finder->complained, now, COMPLAIN_EVERY_MS))
        log_warn(finder->options.log, finder->subject, "%s", text);
    troubles_tell(finder->options.troubles, finder->subject, "finding", text);
    free(text);
    begin_round(finder);
    timer_set(finder->options.reactor, &finder->next,
              backoff_ms(retry_ms, ++finder->failures, &finder->random));
}

static void end_round(struct table_finder *finder)
{
    troubles_end(finder->options.troubles, finder->subject, "finding");
    finder->failures = 0;
    finder->complained = (struct log_limit){0};
    timer_set(finder->options.reactor, &finder->next, finder->options.stream->discovery_ms);
    finder->listed(finder->user, &finder->wanted, &finder->others);
    begin_round(finder);
}

/* The answer, to be freed; NULL: there is none, and the round is over. */
static cJSON *read_answer(struct table_finder *finder, const struct transport_response *response,
                          const struct err *err)
{
    struct err problem;
    finder->call = NULL;
    cJSON *root = err ? NULL : document_read(response->body.data, response->body.size, &problem);
    if (!root)
        fail(finder, err ? err : &problem);
    return root;
}

static void ask(struct table_finder *finder, const char *operation, cJSON *body, aws_done_fn *done)
{
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = operation, .own = true};
    document_write(body, &request.body);
    finder->call = aws_send(finder->options.client, &request, done, finder);
}

/* ---- tags ---- */

static void next_tags(struct table_finder *finder)
{
    if (finder->at == finder->name_count)
        end_round(finder);
    else
        timer_set(finder->options.reactor, &finder->next, TAGS_EVERY_MS);
}

/* "cdc:on", or "cdc" with any value. */
static bool has_tag(const cJSON *tags, const char *wanted)
{
    size_t size = strcspn(wanted, ":");
    const cJSON *tag;
    cJSON_ArrayForEach(tag, tags)
    {
        const char *key = document_text(tag, "Key"), *value = document_text(tag, "Value");
        if (key && strlen(key) == size && memcmp(key, wanted, size) == 0 &&
            (!wanted[size] || (value && strcmp(value, wanted + size + 1) == 0)))
            return true;
    }
    return false;
}

static void on_tags(void *user, struct transport_response *response, const struct err *err)
{
    struct table_finder *finder = user;
    const char *name = finder->names[finder->at];
    if (err && strcmp(err->service, "ResourceNotFoundException") == 0) { /* it has just gone */
        finder->call = NULL;
        free(map_remove(&finder->arns, name));
        finder->at++;
        next_tags(finder);
        return;
    }
    cJSON *root = read_answer(finder, response, err);
    if (!root)
        return;
    const char *after = document_text(root, "NextToken");
    bool found = has_tag(document_get(root, "Tags"), finder->options.stream->tag);
    free(finder->after);
    finder->after = found ? NULL : mem_string(after);
    if (!finder->after) {
        map_set(found ? &finder->wanted : &finder->others, name, finder);
        finder->at++;
    }
    cJSON_Delete(root);
    next_tags(finder);
}

static void on_arn(void *user, struct transport_response *response, const struct err *err)
{
    struct table_finder *finder = user;
    const char *name = finder->names[finder->at];
    if (err && strcmp(err->service, "ResourceNotFoundException") == 0) {
        finder->call = NULL;
        finder->at++;
        next_tags(finder);
        return;
    }
    cJSON *root = read_answer(finder, response, err);
    if (!root)
        return;
    const char *arn = document_text(document_get(root, "Table"), "TableArn");
    free(map_remove(&finder->arns, name));
    map_set(&finder->arns, name, mem_string(arn ? arn : name));
    cJSON_Delete(root);
    next_tags(finder);
}

static void ask_tags(struct table_finder *finder)
{
    const char *name = finder->names[finder->at], *arn = map_get(&finder->arns, name);
    cJSON *body = cJSON_CreateObject();
    if (!arn) {
        document_add_text(body, "TableName", name);
        ask(finder, "DescribeTable", body, on_arn);
        return;
    }
    document_add_text(body, "ResourceArn", arn);
    if (finder->after)
        document_add_text(body, "NextToken", finder->after);
    ask(finder, "ListTagsOfResource", body, on_tags);
}

/* ---- names ---- */

static void take_name(struct table_finder *finder, const char *name)
{
    if (!config_stream_fits(finder->options.stream, name)) {
        map_set(&finder->others, name, finder);
    } else if (!finder->options.stream->tag) {
        map_set(&finder->wanted, name, finder);
    } else {
        mem_grow(&finder->names, &finder->name_capacity, finder->name_count, sizeof *finder->names);
        finder->names[finder->name_count++] = mem_string(name);
    }
}

static void ask_names(struct table_finder *finder);

static void on_names(void *user, struct transport_response *response, const struct err *err)
{
    struct table_finder *finder = user;
    cJSON *root = read_answer(finder, response, err);
    const cJSON *name;
    if (!root)
        return;
    cJSON_ArrayForEach(name, document_get(root, "TableNames"))
    {
        if (cJSON_IsString(name))
            take_name(finder, name->valuestring);
    }
    const char *after = document_text(root, "LastEvaluatedTableName");
    bool repeated = after && finder->after && strcmp(after, finder->after) == 0;
    free(finder->after);
    finder->after = mem_string(after);
    cJSON_Delete(root);
    if (repeated) {
        struct err stuck;
        err_set(&stuck, ERR_PARSE, "ListTables: the service repeats the page behind %s", finder->after);
        fail(finder, &stuck);
    } else if (finder->after) {
        ask_names(finder);
    } else {
        finder->tagging = true;
        next_tags(finder);
    }
}

static void ask_names(struct table_finder *finder)
{
    cJSON *body = cJSON_CreateObject();
    if (finder->after)
        document_add_text(body, "ExclusiveStartTableName", finder->after);
    ask(finder, "ListTables", body, on_names);
}

static void step(void *user)
{
    struct table_finder *finder = user;
    if (finder->tagging)
        ask_tags(finder);
    else
        ask_names(finder);
}

/* ---- life ---- */

struct table_finder *table_finder_new(const struct table_finder_options *options, table_finder_fn *listed,
                                      void *user)
{
    struct table_finder *finder = mem_zero(sizeof *finder);
    finder->options = *options;
    finder->listed = listed;
    finder->user = user;
    finder->subject = mem_string(options->subject);
    timer_init(&finder->next, step, finder);
    timer_set(options->reactor, &finder->next, 0);
    return finder;
}

void table_finder_free(struct table_finder *finder)
{
    size_t at = 0;
    if (!finder)
        return;
    timer_stop(finder->options.reactor, &finder->next);
    aws_cancel(finder->call);
    troubles_end(finder->options.troubles, finder->subject, "finding");
    begin_round(finder);
    for (char *arn; (arn = map_next(&finder->arns, &at, NULL));)
        free(arn);
    map_fini(&finder->arns);
    free(finder->subject);
    free(finder);
}
