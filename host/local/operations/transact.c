/* transact.c: TransactWriteItems and TransactGetItems: all conditions first, then all writes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "local/keep/call.h"

#define TOKEN_MS (10 * 60 * 1000)

enum kind { KIND_PUT, KIND_UPDATE, KIND_DELETE, KIND_CHECK };

struct step_of {
    enum kind kind;
    struct call part;
    const struct table *table;
    struct row_key row;
    struct attr *key, *before, *after;
    struct update *update;
    struct expr *condition;
    struct fault fault; /* of this step alone: its reason */
};

struct transaction {
    struct call *call;
    struct step_of *steps;
    size_t count;
};

/* ---- reading ---- */

static bool read_key(struct step_of *step, const char *member)
{
    struct call *part = &step->part;
    step->key = attr_read_item(part->arena, call_member(part, member), part->fault);
    return step->key != NULL;
}

static bool read_expressions(struct step_of *step)
{
    struct call *part = &step->part;
    struct placeholders placeholders;
    struct text condition = call_text(part, "ConditionExpression"),
                update = call_text(part, "UpdateExpression");
    if (!placeholders_read(&placeholders, part->arena, call_member(part, "ExpressionAttributeNames"),
                           call_member(part, "ExpressionAttributeValues"), condition.data || update.data,
                           part->fault))
        return false;
    if (step->kind == KIND_UPDATE && !(step->update = update_parse(&placeholders, update)))
        return false;
    if (condition.data &&
        !(step->condition = condition_parse(&placeholders, "ConditionExpression", condition)))
        return false;
    return placeholders_all_used(&placeholders);
}

static bool spares_key(struct step_of *step)
{
    if (step->condition && step->kind != KIND_CHECK &&
        !keys_are_scalars(&step->part, step->table, step->condition))
        return false;
    for (const struct action *action = step->update ? step->update->actions : NULL; action;
         action = action->next) {
        struct text name = action->path.steps[0].name;
        if (key_has(&step->table->key, name))
            return fault_invalid(
                step->part.fault,
                "One or more parameter values were invalid: Cannot update attribute %.*s. This "
                "attribute is part of the key",
                (int)name.size, name.data);
    }
    return true;
}

static bool read_step(struct transaction *t, const struct json *element, struct step_of *step)
{
    static const char *const names[] = {"Put", "Update", "Delete", "ConditionCheck"};
    size_t found = 0;
    *step = (struct step_of){.part = *t->call};
    for (int kind = KIND_PUT; kind <= KIND_CHECK; kind++) {
        const struct json *body = json_get(element, names[kind]);
        if (!body || body->type == JSON_NULL)
            continue;
        step->kind = (enum kind)kind;
        step->part.request = body;
        found++;
    }
    if (found != 1)
        return fault_invalid(t->call->fault,
                             "TransactItems can only contain one of Check, Put, Update or Delete");
    if (!read_key(step, step->kind == KIND_PUT ? "Item" : "Key") || !read_expressions(step))
        return false;
    step->table = call_table(&step->part);
    return step->table && spares_key(step);
}

/* A key that does not fit is the step's own fault: a reason to cancel, as is everything that only the table
 * or the item can tell. */
static void find_row(struct step_of *step)
{
    struct call part = step->part;
    part.fault = &step->fault;
    if (step->kind != KIND_PUT)
        item_key(&part, step->table, step->key, &step->row);
    else if (item_key_valid(&part, step->table, step->key))
        key_of(part.arena, &step->table->key, step->key, &step->row);
}

static bool all_distinct(struct transaction *t)
{
    for (size_t i = 0; i < t->count; i++)
        for (size_t j = i + 1; j < t->count; j++)
            if (!t->steps[i].fault.status && !t->steps[j].fault.status &&
                t->steps[i].table == t->steps[j].table &&
                text_equal(t->steps[i].row.hash, t->steps[j].row.hash) &&
                text_equal(t->steps[i].row.range, t->steps[j].row.range))
                return fault_invalid(t->call->fault,
                                     "Transaction request cannot include multiple operations on one item");
    return true;
}

static bool read_steps(struct transaction *t)
{
    const struct json *items = call_member(t->call, "TransactItems");
    t->steps = arena_alloc(t->call->arena, items->count * sizeof *t->steps);
    json_each(element, items)
        if (!read_step(t, element, &t->steps[t->count++]))
            return false;
    for (size_t i = 0; i < t->count; i++)
        find_row(&t->steps[i]);
    return all_distinct(t);
}

/* ---- deciding ---- */

/* Computes what the step would leave behind; false, with the step's own fault, where it may not. */
static bool decide(struct step_of *step)
{
    struct call part = step->part;
    struct row_key again;
    part.fault = &step->fault;
    if (step->fault.status)
        return false;
    step->before = item_load(&part, step->table, step->row);
    step->after = step->kind == KIND_PUT ? step->key : NULL;
    if (step->condition && !condition_holds(part.arena, step->condition, step->before))
        return fault_set(&step->fault, "ConditionalCheckFailed", "The conditional request failed");
    if (step->kind == KIND_PUT)
        return item_check(&part, step->table, step->key, false, &again);
    if (step->kind != KIND_UPDATE)
        return true;
    if (!update_spares_keys(&part, step->table, step->update))
        return false;
    step->after =
        update_apply(part.arena, step->update, step->before ? step->before : step->key, &step->fault);
    return step->after && item_check(&part, step->table, step->after, true, &again);
}

static const char *code_of(const struct step_of *step)
{
    if (!step->fault.status)
        return "None";
    return strcmp(step->fault.type, "ValidationException") == 0 ? "ValidationError" : step->fault.type;
}

static bool cancelled(struct transaction *t)
{
    struct buf codes = BUF_INIT, *members = &t->call->fault->members;
    buf_add_literal(members, ",\"CancellationReasons\":[");
    for (size_t i = 0; i < t->count; i++) {
        struct step_of *step = &t->steps[i];
        buf_printf(&codes, "%s%s", i ? ", " : "", code_of(step));
        buf_printf(members, "%s{\"Code\":\"%s\"", i ? "," : "", code_of(step));
        if (step->fault.status) {
            buf_add_literal(members, ",\"Message\":");
            json_write_string(members, step->fault.message.data, step->fault.message.size);
        }
        if (step->fault.status && step->before &&
            json_string_is(call_member(&step->part, "ReturnValuesOnConditionCheckFailure"), "ALL_OLD")) {
            buf_add_literal(members, ",\"Item\":");
            attr_write_item(members, step->before);
        }
        buf_add_char(members, '}');
    }
    buf_add_char(members, ']');
    fault_set(t->call->fault, "TransactionCanceledException",
              "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]",
              codes.data);
    buf_fini(&codes);
    return false;
}

/* ---- repetitions: a token is good for ten minutes ---- */

struct token_row {
    const char *name;
    char *text;
};

static void find_token(void *user, const char *name, const char *text, size_t size)
{
    struct token_row *row = user;
    if (strcmp(row->name, name) == 0 && !row->text) {
        row->text = malloc(size + 1);
        memcpy(row->text, text, size + 1);
    }
}

/* Members of an object may come in any order: it is the same request. */
static uint64_t hash_value(const struct json *value)
{
    uint64_t hash = hash_mix(value->type + 1);
    if (value->type == JSON_OBJECT) {
        json_each(member, value)
            hash += hash_mix(hash_bytes(member->key, member->key_size, 5) ^ hash_mix(hash_value(member)));
    } else if (value->type == JSON_ARRAY) {
        json_each(element, value)
            hash = hash_mix(hash ^ hash_value(element));
    } else {
        hash = hash_bytes(value->text, value->size, hash);
    }
    return hash;
}

/* 1: it was done before; 0: it was not; -1 and a fault. */
static int repeated(struct call *call, const char *token, uint64_t hash)
{
    struct token_row row = {token, NULL};
    uint64_t known = 0;
    int64_t at = 0;
    storage_each(call->engine->storage, "token", find_token, &row);
    bool found = row.text && sscanf(row.text, "%" SCNx64 " %" SCNd64, &known, &at) == 2;
    free(row.text);
    if (!found || call->now_ms - at >= TOKEN_MS)
        return 0;
    if (known == hash)
        return 1;
    fault_set(call->fault, "IdempotentParameterMismatchException",
              "The request uses the same client token as a previous, but non-identical request.");
    return -1;
}

static void remember(struct call *call, const char *token, uint64_t hash)
{
    char text[64];
    int size = snprintf(text, sizeof text, "%" PRIx64 " %" PRId64, hash, call->now_ms);
    storage_set(call->engine->storage, "token", token, text, (size_t)size);
}

/* ---- the operations ---- */

static void write_collections(struct transaction *t, bool first)
{
    struct written_item *written = arena_alloc(t->call->arena, t->count * sizeof *written);
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++)
        if (t->steps[i].kind != KIND_CHECK)
            written[count++] = (struct written_item){t->steps[i].table, t->steps[i].row, t->steps[i].key};
    collection_metrics_write_all(t->call, written, count, first);
}

static void answer_written(struct transaction *t)
{
    struct call *call = t->call;
    size_t mode = call_capacity_mode(call);
    bool first = true;
    buf_add_char(call->out, '{');
    for (size_t i = 0; mode > CAPACITY_NONE && i < t->count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen = seen || t->steps[j].table == t->steps[i].table;
        if (seen)
            continue;
        struct capacity capacity = capacity_new(call, t->steps[i].table);
        for (size_t j = i; j < t->count; j++)
            if (t->steps[j].table == t->steps[i].table)
                capacity_write_item(&capacity, t->steps[j].before, t->steps[j].after, 2);
        buf_add_text(call->out, first ? "\"ConsumedCapacity\":[" : ",");
        first = false;
        write_capacity(call->out, &capacity, mode == CAPACITY_INDEXES);
    }
    buf_add_text(call->out, first ? "" : "]");
    write_collections(t, first);
    buf_add_char(call->out, '}');
}

static bool write_all(struct transaction *t)
{
    struct call *call = t->call;
    struct text token = call_text(call, "ClientRequestToken");
    bool holds = true;
    if (!read_steps(t))
        return false;
    const struct json *items = call_member(call, "TransactItems");
    uint64_t hash = hash_value(items);
    char *name = token.data ? arena_copy(call->arena, token.data, token.size) : NULL;
    int before = name ? repeated(call, name, hash) : 0;
    if (before) {
        buf_add_literal(call->out, "{}");
        return before > 0;
    }
    for (size_t i = 0; i < t->count; i++)
        holds = decide(&t->steps[i]) && holds;
    if (!holds)
        return cancelled(t);
    for (size_t i = 0; i < t->count; i++)
        if (t->steps[i].kind != KIND_CHECK)
            item_write(call, t->steps[i].table, t->steps[i].row, t->steps[i].before, t->steps[i].after,
                       WRITTEN_BY_CLIENT);
    if (name)
        remember(call, name, hash);
    answer_written(t);
    return true;
}

bool op_transact_write_items(struct call *call)
{
    struct transaction t = {.call = call};
    bool ok = write_all(&t);
    for (size_t i = 0; i < t.count; i++)
        fault_fini(&t.steps[i].fault);
    return ok;
}

static bool get_one(struct call *call, const struct json *element)
{
    struct call part = *call;
    struct placeholders placeholders;
    struct projection *projection = NULL;
    struct row_key row;
    part.request = json_get(element, "Get");
    struct text text = call_text(&part, "ProjectionExpression");
    if (!placeholders_read(&placeholders, part.arena, call_member(&part, "ExpressionAttributeNames"), NULL,
                           text.data != NULL, part.fault))
        return false;
    if (text.data && !(projection = projection_parse(&placeholders, text)))
        return false;
    struct attr *key = attr_read_item(part.arena, call_member(&part, "Key"), part.fault);
    struct table *table = key && placeholders_all_used(&placeholders) ? call_table(&part) : NULL;
    if (!table || !item_key(&part, table, key, &row))
        return false;
    struct attr *item = item_load(&part, table, row);
    buf_add_char(call->out, '{');
    if (item) {
        buf_add_literal(call->out, "\"Item\":");
        attr_write_item(call->out, projection ? projection_apply(part.arena, projection, item) : item);
    }
    buf_add_char(call->out, '}');
    return true;
}

bool op_transact_get_items(struct call *call)
{
    const struct json *items = call_member(call, "TransactItems");
    buf_add_literal(call->out, "{\"Responses\":[");
    json_each(element, items) {
        buf_add_text(call->out, element == items->child ? "" : ",");
        if (!get_one(call, element))
            return false;
    }
    buf_add_literal(call->out, "]}");
    return true;
}
