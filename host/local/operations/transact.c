/* transact.c: TransactWriteItems: all conditions first, then all writes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "local/operations/transact.h"

#define REQUEST_BYTES_MAX (4 * 1024 * 1024) /* of all its items */

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
    return read_key(step, step->kind == KIND_PUT ? "Item" : "Key") && read_expressions(step);
}

static bool find_table_of(struct step_of *step)
{
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

static bool fits_in_one(struct transaction *t)
{
    size_t bytes = 0;
    for (size_t i = 0; i < t->count; i++)
        bytes += attr_item_size(t->steps[i].key);
    return bytes <= REQUEST_BYTES_MAX ||
           fault_invalid(t->call->fault, "Transaction payload size cannot exceed 4MB. Payload Size: %zu",
                         bytes);
}

static bool read_steps(struct transaction *t)
{
    const struct json *items = call_member(t->call, "TransactItems");
    t->steps = arena_alloc(t->call->arena, items->count * sizeof *t->steps);
    json_each(element, items)
        if (!read_step(t, element, &t->steps[t->count++]))
            return false;
    for (size_t i = 0; i < t->count; i++)
        if (!find_table_of(&t->steps[i]))
            return false;
    for (size_t i = 0; i < t->count; i++)
        find_row(&t->steps[i]);
    return all_distinct(t) && fits_in_one(t);
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
    if (!step->after || !item_check(&part, step->table, step->after, true, &again))
        return false;
    if (!step->before && update_only_removes(step->update))
        step->after = NULL;
    return true;
}

static const char *code_of(const struct fault *fault)
{
    if (!fault->status)
        return "None";
    return strcmp(fault->type, "ValidationException") == 0 ? "ValidationError" : fault->type;
}

/* "ConditionalCheckFailedException" is told as "ConditionalCheckFailed". */
static int code_size(const char *code)
{
    size_t size = strlen(code), tail = strlen("Exception");
    bool has_tail = size > tail && strcmp(code + size - tail, "Exception") == 0;
    return (int)(has_tail ? size - tail : size);
}

/* A key that is empty, or one that an update would make so, is the request's own fault. */
static const struct fault *of_the_request(const struct reason *reasons, size_t count)
{
    static const char sentence[] = "One or more parameter values are not valid.";
    for (size_t i = 0; i < count; i++)
        if (reasons[i].fault->status && reasons[i].fault->message.size >= sizeof sentence &&
            memcmp(reasons[i].fault->message.data, sentence, sizeof sentence - 1) == 0)
            return reasons[i].fault;
    return NULL;
}

bool transaction_cancelled(struct call *call, const struct reason *reasons, size_t count)
{
    struct buf codes = BUF_INIT, *members = &call->fault->members;
    const struct fault *whole = of_the_request(reasons, count);
    if (whole)
        return fault_set(call->fault, whole->type, "%s", whole->message.data);
    buf_add_literal(members, ",\"CancellationReasons\":[");
    for (size_t i = 0; i < count; i++) {
        const struct fault *fault = reasons[i].fault;
        const char *code = code_of(fault);
        buf_printf(&codes, "%s%.*s", i ? ", " : "", code_size(code), code);
        buf_printf(members, "%s{\"Code\":\"%.*s\"", i ? "," : "", code_size(code), code);
        if (fault->status) {
            buf_add_literal(members, ",\"Message\":");
            json_write_string(members, fault->message.data, fault->message.size);
        }
        if (fault->status && strcmp(fault->type, "ConditionalCheckFailedException") == 0 && reasons[i].item) {
            buf_add_literal(members, ",\"Item\":");
            attr_write_item(members, reasons[i].item);
        }
        buf_add_char(members, '}');
    }
    buf_add_char(members, ']');
    fault_set(call->fault, "TransactionCanceledException",
              "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]",
              codes.data);
    buf_fini(&codes);
    return false;
}

static bool cancelled(struct transaction *t)
{
    struct reason *reasons = arena_alloc(t->call->arena, t->count * sizeof *reasons);
    for (size_t i = 0; i < t->count; i++) {
        struct step_of *step = &t->steps[i];
        const struct json *wanted = call_member(&step->part, "ReturnValuesOnConditionCheckFailure");
        reasons[i] = (struct reason){&step->fault, json_string_is(wanted, "ALL_OLD") ? step->before : NULL};
    }
    return transaction_cancelled(t->call, reasons, t->count);
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
    struct capacities capacities = capacities_new(call, t->count);
    for (size_t i = 0; i < t->count; i++)
        capacity_write_item(capacities_of(&capacities, t->steps[i].table), t->steps[i].before,
                            t->steps[i].after, 2);
    buf_add_char(call->out, '{');
    bool any = call_write_capacities(&capacities, true);
    write_collections(t, !any);
    buf_add_char(call->out, '}');
}

/* What was done before costs what it takes to read the items. */
static void answer_known(struct transaction *t)
{
    struct call *call = t->call;
    struct capacities capacities = capacities_new(call, t->count);
    for (size_t i = 0; i < t->count; i++) {
        struct attr *item = item_load(call, t->steps[i].table, t->steps[i].row);
        capacities_of(&capacities, t->steps[i].table)->units +=
            TRANSACTION_READS * read_units(item ? attr_item_size(item) : 0, true);
    }
    buf_add_char(call->out, '{');
    call_write_capacities(&capacities, true);
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
    int before = token.data ? token_known(call, token, items) : 0;
    if (before > 0)
        answer_known(t);
    if (before)
        return before > 0;
    for (size_t i = 0; i < t->count; i++)
        holds = decide(&t->steps[i]) && holds;
    if (!holds)
        return cancelled(t);
    for (size_t i = 0; i < t->count; i++)
        if (t->steps[i].kind != KIND_CHECK)
            item_write(call, t->steps[i].table, t->steps[i].row, t->steps[i].before, t->steps[i].after,
                       WRITTEN_BY_CLIENT);
    if (token.data)
        token_keep(call, token, items);
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
