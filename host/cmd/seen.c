/* seen.c: see seen.h. */
#include "cmd/seen.h"

#include <ctype.h>
#include <stdio.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd/dev_here.h"

#define KEPT_BYTES_MAX (1u << 20)
#define KEPT "calls"
#define SEPARATORS "#:/|"

/* Of a call that is looked at. */
struct noting {
    struct seen *seen;
    const struct config *config;
    const char *handler, *version;
    const char *region; /* NULL: the INI's */
};

/* ---- keys ---- */

/* What both begin with, up to the last separator. */
static size_t shared(const char *a, const char *b, size_t b_size)
{
    size_t same = 0, end = 0;
    while (a[same] && same < b_size && a[same] == b[same]) {
        same++;
        if (strchr(SEPARATORS, a[same - 1]))
            end = same;
    }
    return end;
}

static void add_keys(struct seen_call *call, const char *keys, size_t size)
{
    if (!call->keys) {
        call->keys = mem_copy(keys, size);
    } else if (strlen(call->keys) != size || memcmp(call->keys, keys, size) != 0) {
        call->several = true;
        call->keys[shared(call->keys, keys, size)] = '\0';
    }
}

/* One that stands as it is in a line, in JSON and in Lua, and is no pattern. */
static bool is_plain(const struct json *text)
{
    for (size_t i = 0; i < text->size; i++)
        if ((unsigned char)text->text[i] < ' ' || strchr("\"\\*?$", text->text[i]))
            return false;
    return true;
}

static void note_key(struct seen_call *call, const struct json *key)
{
    const struct json *text = json_get(key, "S");
    if (!text || text->type != JSON_STRING || !is_plain(text))
        call->any_key = true;
    else
        add_keys(call, text->text, text->size);
}

const char *seen_keys(const struct seen_call *call)
{
    return call->several && !call->any_key && call->keys && *call->keys ? call->keys : NULL;
}

/* ---- collecting ---- */

static bool is_same(const char *a, const char *b)
{
    return !a == !b && (!a || strcmp(a, b) == 0);
}

static struct seen_call *add_to(struct seen *seen, const char *handler, const char *version,
                                const char *table, const char *action)
{
    for (size_t i = 0; i < seen->count; i++) {
        struct seen_call *call = &seen->list[i];
        if (strcmp(call->handler, handler) == 0 && strcmp(call->version, version) == 0 &&
            strcmp(call->action, action) == 0 && is_same(call->table, table))
            return call;
    }
    mem_grow(&seen->list, &seen->capacity, seen->count, sizeof *seen->list);
    seen->list[seen->count] = (struct seen_call){.handler = mem_string(handler),
                                                 .version = mem_string(version),
                                                 .table = mem_string(table),
                                                 .action = mem_string(action)};
    seen->changed = true;
    return &seen->list[seen->count++];
}

/* In another region than the INI's the table is an ARN. To be freed. */
static char *place_of(const struct noting *noting, const char *table)
{
    return table && noting->region ? mem_printf("arn:aws:dynamodb:%s:*:table/%s", noting->region, table)
                                   : mem_string(table);
}

/* `key`: the attributes with the table's partition key among them; NULL: nothing is known of it. */
static void add(const struct noting *noting, const char *table, const char *action, const struct json *key)
{
    char *there = place_of(noting, table);
    struct seen_call *call = add_to(noting->seen, noting->handler, noting->version, there, action);
    free(there);
    if (!table)
        return;
    bool several = call->several, any = call->any_key;
    const struct config_table *known = config_table(noting->config, table);
    const char *name = known && known->key_text ? known->key.names[0] : NULL;
    const struct json *value = name                                     ? json_get(key, name)
                               : key && key->child && !key->child->next ? key->child
                                                                        : NULL;
    note_key(call, value);
    noting->seen->changed = noting->seen->changed || several != call->several || any != call->any_key;
}

/* ---- DynamoDB ---- */

/* The partition key's value of "pk = :pk AND ..." among `values`, as an object of its own; or NULL. */
static const struct json *queried_key(struct arena *arena, const struct json *root, const char *name)
{
    const char *expression = json_string(arena, json_get(root, "KeyConditionExpression"));
    const struct json *values = json_get(root, "ExpressionAttributeValues"),
                      *names = json_get(root, "ExpressionAttributeNames");
    char left[256], right[256];
    for (const char *at = expression; at && *at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : "") {
        if (sscanf(at, " %255[^ =] = %255[^ )]", left, right) != 2)
            continue;
        const char *real = *left == '#' ? json_string(arena, json_get(names, left)) : left;
        if (real && name && strcmp(real, name) == 0)
            return json_get(values, right);
    }
    return NULL;
}

/* { "Put": { "TableName": ... } } */
static void add_transacted(const struct noting *noting, struct arena *arena, const struct json *item)
{
    static const char *const actions[][2] = {{"Put", "PutItem"},
                                             {"Get", "GetItem"},
                                             {"Update", "UpdateItem"},
                                             {"Delete", "DeleteItem"},
                                             {"ConditionCheck", "ConditionCheckItem"}};
    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        const struct json *one = json_get(item, actions[i][0]), *key = json_get(one, "Key");
        const char *table = json_string(arena, json_get(one, "TableName"));
        if (table)
            add(noting, table, actions[i][1], key ? key : json_get(one, "Item"));
    }
}

/* { "Orders": { "Keys": [...] } } or { "Orders": [ { "PutRequest": { "Item": ... } }, ... ] } */
static void add_batch(const struct noting *noting, const struct json *member, const char *action)
{
    char *table = mem_copy(member->key, member->key_size);
    const struct json *keys = json_get(member, "Keys");
    json_each(key, keys)
        add(noting, table, action, key);
    json_each(request, member->type == JSON_ARRAY ? member : NULL) {
        const struct json *item = json_get(json_get(request, "PutRequest"), "Item");
        add(noting, table, action, item ? item : json_get(json_get(request, "DeleteRequest"), "Key"));
    }
    free(table);
}

static void add_query(const struct noting *noting, struct arena *arena, const struct json *root,
                      const char *table, const char *action)
{
    const struct config_table *known = config_table(noting->config, table);
    const char *name = known && known->key_text ? known->key.names[0] : NULL;
    char *there = place_of(noting, table);
    struct seen_call *call = add_to(noting->seen, noting->handler, noting->version, there, action);
    free(there);
    note_key(call, queried_key(arena, root, name));
}

static void note_dynamodb(const struct noting *noting, const struct observed_call *observed)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, observed->what, observed->size, NULL),
                      *transacted = json_get(root, "TransactItems"),
                      *requested = json_get(root, "RequestItems"), *key = json_get(root, "Key");
    const char *table = json_string(&arena, json_get(root, "TableName")),
               *index = json_string(&arena, json_get(root, "IndexName"));
    char *name = table && index ? mem_printf("%s/index/%s", table, index) : mem_string(table);
    if (name && !index && strcmp(observed->verb, "Query") == 0)
        add_query(noting, &arena, root, name, observed->verb);
    else if (name)
        add(noting, name, observed->verb, key ? key : json_get(root, "Item"));
    json_each(item, transacted && transacted->type == JSON_ARRAY ? transacted : NULL)
        add_transacted(noting, &arena, item);
    json_each(member, requested && requested->type == JSON_OBJECT ? requested : NULL)
        add_batch(noting, member, observed->verb);
    free(name);
    arena_fini(&arena);
}

/* ---- others ---- */

/* What the operation is called as an action; most have its own name.
 * https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html */
static const char *action_of(const char *verb)
{
    static const char *const others[][2] = {
        {"s3:HeadObject", "s3:GetObject"},
        {"s3:ListObjectsV2", "s3:ListBucket"},
        {"s3:DeleteObjects", "s3:DeleteObject"},
        {"s3:CreateMultipartUpload", "s3:PutObject"},
        {"s3:UploadPart", "s3:PutObject"},
        {"s3:CompleteMultipartUpload", "s3:PutObject"},
        {"s3:AbortMultipartUpload", "s3:AbortMultipartUpload"},
        {"lambda:Invoke", "lambda:InvokeFunction"},
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strcmp(verb, others[i][0]) == 0)
            return others[i][1];
    return verb;
}

/* A request that has no operation's name: "es:PUT /things/_doc/1". Of most services nobody knows the action.
 */
static void note_request(const struct noting *noting, const char *verb)
{
    size_t service = strcspn(verb, ":"), method = strcspn(verb + service + 1, " ");
    char *action;
    if (strncmp(verb, "es:", 3) == 0)
        action = mem_printf("es:ESHttp%c%.*s", verb[3], (int)method - 1, verb + 4);
    else if (strncmp(verb, "execute-api:", 12) == 0)
        action = mem_string(strstr(verb, "/@connections/") ? "execute-api:ManageConnections"
                                                           : "execute-api:Invoke");
    else
        action = mem_printf("%.*s:*", (int)service, verb);
    for (char *c = action + strlen("es:ESHttp") + 1; strncmp(action, "es:", 3) == 0 && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    add(noting, NULL, action, NULL);
    free(action);
}

void seen_note(struct seen *seen, const struct config *config, const struct observed_call *call)
{
    char version[SEEN_VERSION_SIZE];
    seen_version(config, call->handler, call->version, version);
    const struct noting noting = {seen, config, call->handler, version, call->region};
    const char *colon = strchr(call->verb, ':');
    if (call->elsewhere && !colon) /* DynamoDB's calls at an endpoint of its own: that is none of AWS's */
        return;
    if (call->role &&
        (colon || (call->size && *call->what == '{'))) /* what it may do, its own account says */
        add(&noting, NULL, "sts:AssumeRole", NULL);
    else if (colon && strchr(colon, ' '))
        note_request(&noting, call->verb);
    else if (colon)
        add(&noting, NULL, action_of(call->verb), NULL);
    else if (call->size && *call->what == '{') /* else it is an HTTP method, or a database's */
        note_dynamodb(&noting, call);
}

/* ---- keeping ---- */

/* Whatever else somebody has written there is none. */
static bool is_sound(char *const fields[5])
{
    bool table = strcmp(fields[2], "-") != 0;
    const char *keys = fields[4];
    for (size_t i = 0; i < 4; i++)
        if (!*fields[i] || strpbrk(fields[i], "\"\\"))
            return false;
    return *keys && strchr("?*=", *keys) && !strpbrk(keys + 1, "\"\\*?$") && table == !strchr(fields[3], ':');
}

/* "handler\tversion\ttable or -\taction\tflags and keys\n" */
void seen_load(struct seen *seen, const char *ini)
{
    char *path = dev_here_path(ini, KEPT), *rest = NULL;
    size_t size;
    char *text = file_read(path, KEPT_BYTES_MAX, &size, NULL);
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        char *fields[5];
        size_t count = 0;
        for (char *at = line; at && count < COUNT_OF(fields); count++) {
            fields[count] = at;
            at = strchr(at, '\t');
            if (at)
                *at++ = '\0';
        }
        if (count < COUNT_OF(fields) || !is_sound(fields))
            continue;
        struct seen_call *call =
            add_to(seen, fields[0], fields[1], strcmp(fields[2], "-") == 0 ? NULL : fields[2], fields[3]);
        call->several = *fields[4] == '*';
        call->any_key = *fields[4] == '?';
        call->keys = call->any_key ? NULL : mem_string(fields[4] + 1);
    }
    seen->changed = false;
    free(text);
    free(path);
}

/* Has it been seen with other code than that? */
static bool has_changed(const struct seen *seen, const struct seen_call *before)
{
    bool other = false;
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->list[i].handler, before->handler) == 0) {
            if (strcmp(seen->list[i].version, before->version) == 0)
                return false;
            other = true;
        }
    return other;
}

void seen_merge(struct seen *seen, const struct seen *more)
{
    for (size_t i = 0; i < more->count; i++) {
        const struct seen_call *one = &more->list[i];
        struct seen_call *call = add_to(seen, one->handler, one->version, one->table, one->action);
        if (one->keys)
            add_keys(call, one->keys, strlen(one->keys));
        call->several = call->several || one->several;
        call->any_key = call->any_key || one->any_key;
    }
}

static void write_call(FILE *out, const struct seen_call *call)
{
    bool known = call->keys && !call->any_key;
    fprintf(out, "%s\t%s\t%s\t%s\t%s%s\n", call->handler, call->version, call->table ? call->table : "-",
            call->action,
            !known          ? "?"
            : call->several ? "*"
                            : "=",
            known ? call->keys : "");
}

void seen_save(struct seen *seen, const char *ini)
{
    struct seen before = {0}, all = {0};
    if (!seen->changed)
        return;
    seen_load(&before, ini);
    for (size_t i = 0; i < before.count; i++)
        if (!has_changed(seen, &before.list[i]))
            seen_merge(&all, &(struct seen){.list = &before.list[i], .count = 1});
    seen_merge(&all, seen);
    dev_here_make(ini);
    char *path = dev_here_path(ini, KEPT), *next = mem_printf("%s.%ld", path, (long)getpid());
    FILE *out = fopen(next, "we");
    for (size_t i = 0; out && i < all.count; i++)
        write_call(out, &all.list[i]);
    if (out && fclose(out) == 0)
        seen->changed = rename(next, path) != 0;
    unlink(next);
    seen_fini(&before);
    seen_fini(&all);
    free(next);
    free(path);
}

/* ---- what handlers say ---- */

static bool has_action(const struct script_table *table, const char *action)
{
    for (size_t i = 0; i < table->action_count; i++)
        if (strcmp(table->actions[i], action) == 0)
            return true;
    return false;
}

/* "service:*" was seen where nobody knows the action. */
static bool is_action(const char *said, const char *action)
{
    size_t size = strlen(action);
    bool any = size > 2 && strcmp(action + size - 2, ":*") == 0;
    return strcmp(said, action) == 0 || (any && strncmp(said, action, size - 1) == 0);
}

/* What is said of a table holds for its indexes; it may have a * in it, as in a policy. */
static bool is_table(const char *said, const char *table)
{
    size_t size = strcspn(table, "/");
    char *alone = mem_copy(table, size);
    bool same = (strchr(said, '*') ? fnmatch(said, alone, 0) == 0 : strcmp(said, alone) == 0) &&
                (!table[size] || strncmp(table + size, "/index/", 7) == 0);
    free(alone);
    return same || strcmp(said, table) == 0;
}

static bool is_own_table(const struct script *script, const struct config *config, const char *table)
{
    char **each = handler_settings_of(script_handler((struct script *)script))->streams.each;
    bool own = false;
    for (size_t i = 0; each && each[i] && !own; i++) {
        const struct config_stream *stream = config_stream(config, each[i]);
        char *name = config_stream_table(stream), *alone = mem_copy(table, strcspn(table, "/"));
        own = name ? is_table(name, table) : config_stream_fits(stream, alone);
        free(alone);
        free(name);
    }
    return own;
}

/* The code's, and of what its section says. */
void seen_version(const struct config *config, const char *handler, const char *code,
                  char version[SEEN_VERSION_SIZE])
{
    const struct config_handler *section = config_handler(config, handler);
    uint64_t hash = 0;
    for (size_t i = 0; section && i < section->pair_count; i++) { /* in whatever order */
        uint64_t name = hash_bytes(section->pairs[i].name, strlen(section->pairs[i].name), 1);
        hash += hash_bytes(section->pairs[i].shown, strlen(section->pairs[i].shown), name);
    }
    snprintf(version, SEEN_VERSION_SIZE, "%s-%016llx", code, (unsigned long long)hash);
}

bool seen_is_of(const struct seen_call *call, const struct handler *handler, const struct config *config)
{
    char version[SEEN_VERSION_SIZE];
    seen_version(config, handler_name(handler), handler_version(handler), version);
    return strcmp(call->handler, handler_name(handler)) == 0 && strcmp(call->version, version) == 0;
}

bool seen_is_declared(const struct seen_call *call, const struct script *script, const struct config *config)
{
    size_t count;
    bool declared, said = false;
    const struct script_call *calls = script_calls(script, &count, &declared);
    for (size_t i = 0; !call->table && i < count; i++)
        said = said || is_action(calls[i].action, call->action);
    const struct script_table *tables = script_tables(script, &count, &declared);
    for (size_t i = 0; call->table && i < count; i++)
        said =
            said || (tables[i].name && has_action(&tables[i], call->action) &&
                     (strcmp(tables[i].name, "record.table") == 0 ? is_own_table(script, config, call->table)
                                                                  : is_table(tables[i].name, call->table)));
    return said;
}

/* ---- printing ---- */

static int compare(const void *a, const void *b)
{
    const struct seen_call *x = a, *y = b;
    int order = strcmp(x->handler, y->handler);
    order = order ? order : !x->table - !y->table;
    order = order ? order : x->table ? strcmp(x->table, y->table) : 0;
    const char *one = seen_keys(x), *other = seen_keys(y);
    order = order ? order : strcmp(one ? one : "", other ? other : "");
    return order ? order : strcmp(x->action, y->action);
}

static void close_list(const struct seen_call *call)
{
    if (seen_keys(call))
        printf(", keys = \"%s*\"", seen_keys(call));
    fputs(" }", stdout);
}

/* Those of one handler and kind that begin at `at`; where the next ones do. */
static size_t print_some(const struct seen *seen, size_t at)
{
    const struct seen_call *first = &seen->list[at], *before = NULL;
    printf("    %s = {", first->table ? "tables" : "calls");
    for (; at < seen->count && strcmp(seen->list[at].handler, first->handler) == 0 &&
           !seen->list[at].table == !first->table;
         at++) {
        const struct seen_call *call = &seen->list[at];
        if (before && call->table && strcmp(before->table, call->table) == 0 &&
            is_same(seen_keys(before), seen_keys(call))) {
            printf(strcmp(before->action, call->action) ? ", \"%s\"" : "%.0s", call->action);
        } else {
            if (before)
                close_list(before);
            printf("%s { \"%s\", \"%s\"", before ? "," : "", call->table ? call->table : "*", call->action);
        }
        before = call;
    }
    close_list(before);
    puts(" },");
    return at;
}

void seen_print(struct seen *seen, const char *handler)
{
    const char *shown = "";
    if (seen->count)
        qsort(seen->list, seen->count, sizeof *seen->list, compare);
    puts("what handlers called, as they would say it in what they return (tidemill policy reads it):");
    for (size_t i = 0; i < seen->count;) {
        if (handler && strcmp(seen->list[i].handler, handler) != 0) {
            i++;
            continue;
        }
        if (strcmp(seen->list[i].handler, shown) != 0)
            printf("  %s\n", shown = seen->list[i].handler);
        i = print_some(seen, i);
    }
    if (!*shown)
        puts("  nothing of AWS");
}

void seen_fini(struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++) {
        free(seen->list[i].handler);
        free(seen->list[i].version);
        free(seen->list[i].table);
        free(seen->list[i].action);
        free(seen->list[i].keys);
    }
    free(seen->list);
    *seen = (struct seen){0};
}
