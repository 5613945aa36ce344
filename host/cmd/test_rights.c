/* test_rights.c: see test_rights.h. */
#include "cmd/test_rights.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"

struct test_right {
    char *handler;
    char *table; /* NULL: of another service */
    char *action;
};

static void add(struct test_rights *rights, const char *handler, const char *table, const char *action)
{
    for (size_t i = 0; i < rights->count; i++) {
        const struct test_right *right = &rights->list[i];
        if (strcmp(right->handler, handler) == 0 && strcmp(right->action, action) == 0 &&
            !right->table == !table && (!table || strcmp(right->table, table) == 0))
            return;
    }
    mem_grow(&rights->list, &rights->capacity, rights->count, sizeof *rights->list);
    rights->list[rights->count++] =
        (struct test_right){mem_string(handler), mem_string(table), mem_string(action)};
}

/* ---- DynamoDB ---- */

/* { "Put": { "TableName": ... } } */
static void add_transacted(struct test_rights *rights, const char *handler, struct arena *arena,
                           const struct json *item)
{
    static const char *const actions[][2] = {{"Put", "PutItem"},
                                             {"Get", "GetItem"},
                                             {"Update", "UpdateItem"},
                                             {"Delete", "DeleteItem"},
                                             {"ConditionCheck", "ConditionCheckItem"}};
    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        const char *table = json_string(arena, json_get(json_get(item, actions[i][0]), "TableName"));
        if (table)
            add(rights, handler, table, actions[i][1]);
    }
}

static void note_dynamodb(struct test_rights *rights, const char *handler, const char *operation,
                          const char *body, size_t size)
{
    struct arena arena = ARENA_INIT;
    const struct json *root = json_parse(&arena, body, size, NULL),
                      *transacted = json_get(root, "TransactItems"),
                      *requested = json_get(root, "RequestItems");
    const char *table = json_string(&arena, json_get(root, "TableName")),
               *index = json_string(&arena, json_get(root, "IndexName"));
    char *name = table && index ? mem_printf("%s/index/%s", table, index) : mem_string(table);
    if (name)
        add(rights, handler, name, operation);
    if (transacted && transacted->type == JSON_ARRAY)
        json_each(item, transacted)
            add_transacted(rights, handler, &arena, item);
    if (requested && requested->type == JSON_OBJECT)
        json_each(member, requested) {
            char *each = mem_copy(member->key, member->key_size);
            add(rights, handler, each, operation);
            free(each);
        }
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
static void note_request(struct test_rights *rights, const char *handler, const char *verb)
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
    add(rights, handler, NULL, action);
    free(action);
}

void test_rights_note(struct test_rights *rights, const char *handler, const char *verb, const char *body,
                      size_t size)
{
    const char *colon = strchr(verb, ':');
    if (colon && strchr(colon, ' '))
        note_request(rights, handler, verb);
    else if (colon)
        add(rights, handler, NULL, action_of(verb));
    else if (size && *body == '{') /* else it is an HTTP method, or a database's */
        note_dynamodb(rights, handler, verb, body, size);
}

/* ---- printing ---- */

static int compare(const void *a, const void *b)
{
    const struct test_right *x = a, *y = b;
    int order = strcmp(x->handler, y->handler);
    order = order ? order : !x->table - !y->table;
    order = order ? order : x->table ? strcmp(x->table, y->table) : 0;
    return order ? order : strcmp(x->action, y->action);
}

/* Those of one handler and kind that begin at `at`; where the next ones do. */
static size_t print_some(const struct test_rights *rights, size_t at)
{
    const struct test_right *first = &rights->list[at], *before = NULL;
    printf("    %s = {", first->table ? "tables" : "calls");
    for (; at < rights->count && strcmp(rights->list[at].handler, first->handler) == 0 &&
           !rights->list[at].table == !first->table;
         at++) {
        const struct test_right *right = &rights->list[at];
        bool same = before && right->table && strcmp(before->table, right->table) == 0;
        if (same)
            printf(", \"%s\"", right->action);
        else
            printf("%s { \"%s\", \"%s\"", before ? " }," : "", right->table ? right->table : "*",
                   right->action);
        before = right;
    }
    puts(" } },");
    return at;
}

void test_rights_print(struct test_rights *rights)
{
    const char *handler = "";
    if (rights->count)
        qsort(rights->list, rights->count, sizeof *rights->list, compare);
    puts("what handlers called, as they would say it in what they return (tidemill policy reads it):");
    for (size_t i = 0; i < rights->count;) {
        if (strcmp(rights->list[i].handler, handler) != 0)
            printf("  %s\n", handler = rights->list[i].handler);
        i = print_some(rights, i);
    }
    if (!rights->count)
        puts("  nothing of AWS");
}

void test_rights_fini(struct test_rights *rights)
{
    for (size_t i = 0; i < rights->count; i++) {
        free(rights->list[i].handler);
        free(rights->list[i].table);
        free(rights->list[i].action);
    }
    free(rights->list);
    *rights = (struct test_rights){0};
}
