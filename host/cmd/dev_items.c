/* dev_items.c: tidemill dev put, get, delete, scan: items of the dev that runs here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/dev.h"
#include "cmd/dev_here.h"
#include "cmd/outside.h"
#include "core/plugs.h"
#include "record/unmarshal.h"

#define ITEM_BYTES_MAX (1u << 20)

/* ---- calls ---- */

struct asking {
    bool over;
    struct buf answer;
    struct err err;
};

static void on_answer(void *user, struct transport_response *response, const struct err *err)
{
    struct asking *asking = user;
    asking->over = true;
    if (err)
        asking->err = *err;
    else if (response && response->body.data)
        buf_add(&asking->answer, response->body.data, response->body.size);
}

/* The answer into `answer`. */
static bool call(struct cmd_outside *outside, const char *operation, struct buf *body, struct buf *answer,
                 struct err *err)
{
    struct asking asking = {0};
    struct aws_request request = {.service = AWS_DYNAMODB, .operation = operation, .body = *body};
    *body = BUF_INIT;
    aws_send(outside->aws, &request, on_answer, &asking);
    reactor_turn_until(outside->reactor, &asking.over);
    *answer = asking.answer;
    *err = asking.err;
    return asking.err.code == ERR_NONE;
}

/* ---- what is given ---- */

static const struct config_table *table_of(const struct config *config, const char *name)
{
    const struct config_table *table = config_table(config, name);
    return table && table->key_text ? table : NULL; /* else somebody else makes it */
}

/* A table that is none was mistyped: which ones there are. */
static void tell_tables(const struct config *config, const char *name)
{
    struct buf names = BUF_INIT;
    for (size_t i = 0; i < config->table_count; i++)
        if (config->tables[i].key_text)
            buf_printf(&names, "%s%s", names.size ? ", " : "", config->tables[i].name);
    if (!table_of(config, name))
        cmd_complain("%s has no [table %s]%s%s", config->path, name, names.size ? "; it has " : "",
                     names.size ? names.data : "");
    buf_fini(&names);
}

/* JSON itself, or a file with it; of a key that is one attribute, its value alone. */
static char *read_item(const struct config *config, const char *table, const char *item, bool is_key,
                       size_t *size, struct err *err)
{
    const struct config_table *known = table_of(config, table);
    const char *first = item + strspn(item, " \t\r\n");
    struct buf text = BUF_INIT;
    if (*first != '{' && *first != '[' && is_key && known && known->key.count == 1) {
        buf_add_char(&text, '{');
        json_write_string(&text, known->key.names[0], strlen(known->key.names[0]));
        buf_add_char(&text, ':');
        if (known->key.types[0] == 'N')
            buf_add_text(&text, item);
        else
            json_write_string(&text, item, strlen(item));
        buf_add_char(&text, '}');
    } else if (*first != '{' && *first != '[') {
        return file_read(item, ITEM_BYTES_MAX, size, err);
    } else {
        buf_add_text(&text, item);
    }
    *size = text.size;
    return buf_take(&text);
}

/* {"TableName": ..., "Item" or "Key": {...}} */
static bool write_body(const struct config *config, const char *table, const char *name, const char *item,
                       struct buf *body, struct err *err)
{
    struct arena arena = ARENA_INIT;
    size_t size;
    char *text = read_item(config, table, item, strcmp(name, "Key") == 0, &size, err);
    const struct json *root = text ? json_parse(&arena, text, size, err) : NULL;
    bool ok = root != NULL;
    if (ok && root->type != JSON_OBJECT)
        ok = err_set(err, ERR_CONFIG, "an object expected, such as '{\"id\": \"1\"}', or a file with one");
    if (ok)
        dev_write_named(table, name, root, body);
    arena_fini(&arena);
    free(text);
    return ok;
}

/* ---- what is shown ---- */

static void print_item(const struct json *item)
{
    struct buf out = BUF_INIT;
    record_unmarshal(&out, item, true);
    cmd_print("%s\n", out.data);
    buf_fini(&out);
}

/* Of one answer; where the next page begins, as a member of the request, into `from`. */
static void print_items(const struct buf *answer, struct buf *from, size_t *count)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, answer->data, answer->size, NULL),
                      *items = json_get(root, "Items"), *last = json_get(root, "LastEvaluatedKey");
    json_each(item, items) {
        print_item(item);
        ++*count;
    }
    buf_clear(from);
    if (last) {
        buf_add_literal(from, ",\"ExclusiveStartKey\":");
        json_write_value(from, last);
    }
    arena_fini(&arena);
}

/* ---- the verbs ---- */

static bool put(struct cmd_outside *outside, const char *table, const char *item, struct err *err)
{
    struct buf body = BUF_INIT, answer = BUF_INIT;
    bool ok = write_body(outside->config, table, "Item", item, &body, err) &&
              call(outside, "PutItem", &body, &answer, err);
    if (ok)
        cmd_print("put into %s; tidemill dev shows what becomes of it\n", table);
    buf_fini(&body);
    buf_fini(&answer);
    return ok;
}

static bool delete (struct cmd_outside *outside, const char *table, const char *key, struct err *err)
{
    struct buf body = BUF_INIT, answer = BUF_INIT;
    bool ok = write_body(outside->config, table, "Key", key, &body, err);
    if (ok) {
        body.size--; /* the last brace */
        buf_add_literal(&body, ",\"ReturnValues\":\"ALL_OLD\"}");
        ok = call(outside, "DeleteItem", &body, &answer, err);
    }
    if (ok)
        cmd_print("%s %s\n",
                  memmem(answer.data ? answer.data : "", answer.size, "\"Attributes\"", 12)
                      ? "deleted from"
                      : "nothing was there in",
                  table);
    buf_fini(&body);
    buf_fini(&answer);
    return ok;
}

static bool get(struct cmd_outside *outside, const char *table, const char *key, struct err *err)
{
    struct buf body = BUF_INIT, answer = BUF_INIT;
    struct arena arena = ARENA_INIT;
    bool ok = write_body(outside->config, table, "Key", key, &body, err) &&
              call(outside, "GetItem", &body, &answer, err);
    const struct json *root = ok ? json_parse(&arena, answer.data, answer.size, NULL) : NULL;
    if (ok && json_get(root, "Item"))
        print_item(json_get(root, "Item"));
    else if (ok)
        ok = err_set(err, ERR_CONFIG, "nothing is there");
    arena_fini(&arena);
    buf_fini(&body);
    buf_fini(&answer);
    return ok;
}

static bool scan(struct cmd_outside *outside, const char *table, const char *unused, struct err *err)
{
    struct buf from = BUF_INIT;
    size_t count = 0;
    bool ok = true;
    (void)unused;
    do {
        struct buf body = BUF_INIT, answer = BUF_INIT;
        buf_add_literal(&body, "{\"TableName\":");
        json_write_string(&body, table, strlen(table));
        buf_add(&body, from.data ? from.data : "", from.size);
        buf_add_char(&body, '}');
        ok = call(outside, "Scan", &body, &answer, err);
        if (ok)
            print_items(&answer, &from, &count);
        buf_fini(&answer);
        buf_fini(&body);
    } while (ok && from.size);
    if (ok)
        fprintf(stderr, "%zu item%s\n", count, count == 1 ? "" : "s");
    buf_fini(&from);
    return ok;
}

static const struct verb {
    const char *name;
    bool takes_item;
    bool (*run)(struct cmd_outside *outside, const char *table, const char *item, struct err *err);
} verbs[] = {{"put", true, put}, {"get", true, get}, {"delete", true, delete}, {"scan", false, scan}};

static const struct verb *find(const char *name, const char *table, const char *item)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, name) == 0 && table && !item != verbs[i].takes_item)
            return &verbs[i];
    return NULL;
}

int dev_items(const char *ini, const char *name, const char *table, const char *item)
{
    const struct verb *verb = find(name, table, item);
    if (!verb) {
        cmd_complain(
            "dev: put TABLE ITEM, get TABLE KEY, delete TABLE KEY or scan TABLE may follow (see tidemill "
            "help dev)");
        return EXIT_USAGE;
    }
    dev_here_know(cmd_config_path(ini));
    struct config *config = cmd_load_config_with(ini, &host_plugs_playing);
    if (!config)
        return EXIT_USAGE;
    const struct cmd_outside_options options = {.log_level = LOG_ERROR};
    struct cmd_outside outside = {0};
    struct err err = {0};
    char *url = dev_here_turn(config, true);
    bool ok =
        url && cmd_outside_open(&outside, config, &options, &err) && verb->run(&outside, table, item, &err);
    if (!url)
        cmd_complain("dev %s: no tidemill dev runs on %s: begin one in another terminal", name, config->path);
    else if (!ok)
        cmd_complain("dev %s: %s", name, err.text);
    if (url && !ok)
        tell_tables(config, table);
    if (url)
        cmd_outside_close(&outside);
    free(url);
    config_release(config);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
