/* partiql.c: ExecuteStatement, BatchExecuteStatement, ExecuteTransaction. */
#include "local/operations/partiql.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "local/operations/index_reads.h"
#include "local/operations/query.h"
#include "local/operations/transact.h"

/* ---- what a WHERE says of the key ---- */

/* The value that `part` must equal in every item that the condition lets through; the conjunct goes out of
 * `*where`. */
static struct attr *take_equality(struct expr **where, const struct key_part *part)
{
    struct expr *expr = *where;
    if (!expr)
        return NULL;
    if (expr->kind == EXPR_AND) {
        struct expr *left = expr->first, *right = left->next;
        struct attr *value = take_equality(&left, part);
        if (!value)
            value = take_equality(&right, part);
        if (!left || !right) {
            *where = left ? left : right;
        } else {
            expr->first = left;
            left->next = right;
        }
        return value;
    }
    if (expr->kind != EXPR_COMPARE || !text_is(expr->text, "=", 1))
        return NULL;
    struct expr *a = expr->first, *b = a->next;
    struct expr *path = a->kind == EXPR_PATH ? a : b, *value = path == a ? b : a;
    if (path->kind != EXPR_PATH || value->kind != EXPR_VALUE || path->path.count != 1 ||
        !text_equal(path->path.steps[0].name, part->name))
        return NULL;
    *where = NULL;
    return value->value;
}

/* A range of the sort key among the conjuncts; it may stay in the filter, where it holds as well. */
static bool find_range(const struct expr *where, const struct key_part *part, struct key_condition *condition)
{
    static const struct {
        const char *text;
        enum range_test test;
    } tests[] = {{"=", RANGE_EQ}, {"<", RANGE_LT}, {"<=", RANGE_LE}, {">", RANGE_GT}, {">=", RANGE_GE}};
    if (!where)
        return false;
    if (where->kind == EXPR_AND)
        return find_range(where->first, part, condition) || find_range(where->first->next, part, condition);
    const struct expr *path = where->first, *value = path ? path->next : NULL;
    if (!path || !value || path->kind != EXPR_PATH || value->kind != EXPR_VALUE || path->path.count != 1 ||
        !text_equal(path->path.steps[0].name, part->name) || value->value->type != part->type)
        return false;
    condition->low = value->value;
    if (where->kind == EXPR_BETWEEN && value->next->kind == EXPR_VALUE &&
        value->next->value->type == part->type) {
        condition->test = RANGE_BETWEEN;
        condition->high = value->next->value;
        return true;
    }
    if (where->kind == EXPR_CALL && text_is(where->text, "begins_with", 11)) {
        condition->test = RANGE_BEGINS;
        return true;
    }
    for (size_t i = 0; where->kind == EXPR_COMPARE && i < sizeof tests / sizeof *tests; i++)
        if (text_is(where->text, tests[i].text, strlen(tests[i].text))) {
            condition->test = tests[i].test;
            return true;
        }
    return false;
}

/* Both parts of the key; `*where` is what else is asked. */
static struct attr *whole_key(struct call *call, const struct table *table, struct expr **where)
{
    struct attr *key = attr_new(call->arena, ATTR_M);
    for (size_t i = 0; i < table->key.count && i < 2; i++) {
        struct attr *value = take_equality(where, &table->key.parts[i]);
        if (!value) {
            fault_invalid(call->fault,
                          "Where clause does not contain a mandatory equality on all key attributes");
            return NULL;
        }
        attr_append(call->arena, key, table->key.parts[i].name, value);
    }
    return key;
}

/* ---- writes: decided first, carried out later ---- */

struct prepared {
    const struct statement *statement;
    const struct table *table;
    struct row_key row;
    struct attr *before, *after;
    bool writes, transacts;
    struct fault fault;
};

static bool prepare_insert(struct call *call, struct prepared *prepared)
{
    const struct statement *statement = prepared->statement;
    if (!item_check(call, prepared->table, statement->item, false, &prepared->row))
        return false;
    prepared->before = item_load(call, prepared->table, prepared->row);
    prepared->after = statement->item;
    return !prepared->before ||
           fault_set(call->fault, "DuplicateItemException", "Duplicate primary key exists in table");
}

static bool prepare_change(struct call *call, struct prepared *prepared)
{
    const struct statement *statement = prepared->statement;
    struct expr *where = statement->where;
    struct row_key again;
    struct attr *key = whole_key(call, prepared->table, &where);
    if (!key || !item_key(call, prepared->table, key, &prepared->row))
        return false;
    for (const struct action *action = statement->update ? statement->update->actions : NULL; action;
         action = action->next)
        if (key_has(&prepared->table->key, action->path.steps[0].name))
            return fault_invalid(
                call->fault,
                "One or more parameter values were invalid: Cannot update attribute %.*s. This attribute "
                "is part of the key",
                (int)action->path.steps[0].name.size, action->path.steps[0].name.data);
    prepared->before = item_load(call, prepared->table, prepared->row);
    bool there = prepared->before != NULL;
    if (statement->kind == STATEMENT_DELETE && !there)
        return true; /* deleting what is not there is no fault */
    if (!there || (where && !condition_holds(call->arena, where, prepared->before)))
        return fault_set(call->fault, "ConditionalCheckFailedException", "The conditional request failed");
    if (statement->kind == STATEMENT_UPDATE) {
        prepared->after = update_apply(call->arena, statement->update, prepared->before, call->fault);
        return prepared->after && item_check(call, prepared->table, prepared->after, true, &again);
    }
    if (statement->kind != STATEMENT_DELETE)
        prepared->after = prepared->before;
    return true;
}

/* The item that made the condition fail, where `request` asks for it; or NULL. */
static const struct attr *failed_item(const struct json *request, const struct prepared *prepared,
                                      const struct fault *fault)
{
    bool wanted = json_string_is(json_get(request, "ReturnValuesOnConditionCheckFailure"), "ALL_OLD");
    return wanted && fault->status && strcmp(fault->type, "ConditionalCheckFailedException") == 0
               ? prepared->before
               : NULL;
}

static void write_failed_item(struct buf *out, const struct attr *item)
{
    if (!item)
        return;
    buf_add_literal(out, ",\"Item\":");
    attr_write_item(out, item);
}

/* With the call's fault where it may not be. */
static bool prepare(struct call *call, const struct statement *statement, struct prepared *prepared)
{
    prepared->statement = statement;
    prepared->writes = statement->kind != STATEMENT_SELECT && statement->kind != STATEMENT_EXISTS;
    if (statement->index.data)
        return fault_invalid(call->fault, statement->kind == STATEMENT_INSERT
                                              ? "FROM clause may only contain a single table name in data "
                                                "manipulation statements"
                                              : "This operation is not supported on an index");
    prepared->table = find_table(call, statement->table);
    if (!prepared->table)
        return false;
    return statement->kind == STATEMENT_INSERT ? prepare_insert(call, prepared)
                                               : prepare_change(call, prepared);
}

static void carry_out(struct call *call, const struct prepared *prepared)
{
    if (prepared->writes)
        item_write(call, prepared->table, prepared->row, prepared->before, prepared->after,
                   WRITTEN_BY_CLIENT);
}

static const struct attr *modified(struct call *call, const struct prepared *prepared,
                                   const struct attr *item)
{
    struct projection projection = {0};
    const struct action *first = prepared->statement->update ? prepared->statement->update->actions : NULL;
    for (const struct action *action = first; action; action = action->next)
        projection.count++;
    projection.paths = arena_alloc(call->arena, projection.count * sizeof *projection.paths + 1);
    projection.count = 0;
    for (const struct action *action = first; action; action = action->next)
        projection.paths[projection.count++] = action->path;
    const struct attr *part = item ? projection_apply(call->arena, &projection, item) : NULL;
    return part && part->count ? part : NULL;
}

static const struct attr *returned(struct call *call, const struct prepared *prepared)
{
    switch (prepared->statement->returning) {
    case RETURNING_ALL_OLD:
        return prepared->before;
    case RETURNING_ALL_NEW:
        return prepared->after;
    case RETURNING_MODIFIED_OLD:
        return modified(call, prepared, prepared->before);
    case RETURNING_MODIFIED_NEW:
        return modified(call, prepared, prepared->after);
    default:
        return NULL;
    }
}

/* ---- SELECT ---- */

/* A NextToken is the last key's JSON in base64. */
static bool read_token(struct call *call, struct query_plan *plan)
{
    struct text token = call_text(call, "NextToken");
    size_t size;
    if (!token.data)
        return true;
    char *bytes = arena_alloc(call->arena, BASE64_DECODED_MAX(token.size) + 1);
    const struct json *json = base64_decode(token.data, token.size, bytes, &size)
                                  ? json_parse(call->arena, bytes, size, NULL)
                                  : NULL;
    plan->start = json && json->type == JSON_OBJECT ? attr_read_item(call->arena, json, call->fault) : NULL;
    return plan->start || fault_invalid(call->fault, "Invalid NextToken");
}

/* The equalities of all HASH attributes, or of none: then all is looked through. */
static bool find_hash(struct call *call, const struct key_schema *key, struct expr **where,
                      struct key_condition *condition)
{
    if (key->hash_count == 1) {
        struct attr *hash = take_equality(where, &key->parts[0]);
        condition->equal[0] = hash;
        condition->equal_count = hash ? 1 : 0;
        return !hash || hash->type == key->parts[0].type ||
               fault_invalid(call->fault,
                             "One or more parameter values were invalid: Condition parameter type does not "
                             "match schema type");
    }
    for (size_t i = 0; i < key->hash_count; i++) {
        struct key_condition one = {0};
        if (!find_range(*where, &key->parts[i], &one) || one.test != RANGE_EQ)
            return true;
        condition->equal[i] = one.low;
    }
    condition->equal_count = key->hash_count;
    return true;
}

/* Of the RANGE attributes the first ones by equality, and one by a range. */
static void find_ranges(const struct expr *where, const struct key_schema *key,
                        struct key_condition *condition)
{
    for (size_t i = key->hash_count; i < key->count; i++) {
        condition->test = RANGE_ANY;
        if (!find_range(where, &key->parts[i], condition) || condition->test != RANGE_EQ ||
            i + 1 == key->count)
            return;
        condition->equal[condition->equal_count++] = condition->low;
        condition->test = RANGE_ANY;
    }
}

static bool plan_select(struct call *call, const struct statement *statement, struct query_plan *plan)
{
    *plan = (struct query_plan){.projection = statement->projection, .descending = statement->descending};
    plan->table = find_table(call, statement->table);
    if (!plan->table)
        return false;
    if (statement->index.data && !(plan->index = table_index(plan->table, statement->index)))
        return fault_invalid(call->fault, "The table does not have the specified index: %.*s",
                             (int)statement->index.size, statement->index.data);
    if (plan->index && plan->index->global && call_flag(call, "ConsistentRead"))
        return fault_invalid(call->fault,
                             "Strongly consistent read is not supported on Global Secondary Indexes");
    if (plan->index && !index_is_filled(call, plan->index))
        return false;
    if (!index_holds_projection(call, plan->table, plan->index, statement->projection))
        return false;
    const struct key_schema *key = plan->index ? &plan->index->key : &plan->table->key;
    struct expr *where = statement->where;
    plan->condition.key = key;
    if (!find_hash(call, key, &where, &plan->condition))
        return false;
    plan->scan = plan->condition.equal_count < key->hash_count;
    if (!plan->scan && !index_holds_filter(call, plan->table, plan->index, where, true))
        return false;
    if (!plan->scan)
        find_ranges(where, key, &plan->condition);
    plan->filter = where;
    plan->limit = json_integer(call_member(call, "Limit"), 0);
    return read_token(call, plan);
}

static bool execute_select(struct call *call, const struct statement *statement)
{
    struct query_plan plan;
    if (!plan_select(call, statement, &plan))
        return false;
    buf_add_literal(call->out, "{\"Items\":[");
    if (!query_run(call, &plan))
        return false;
    buf_add_char(call->out, ']');
    if (plan.last) {
        struct buf key = BUF_INIT;
        attr_write_item(&key, plan.last);
        buf_add_literal(call->out, ",\"NextToken\":\"");
        base64_write(call->out, key.data, key.size);
        buf_add_literal(call->out, "\",\"LastEvaluatedKey\":");
        buf_add(call->out, key.data, key.size);
        buf_fini(&key);
    }
    struct capacity capacity = capacity_new(call, plan.table);
    double units = read_units(plan.bytes, call_flag(call, "ConsistentRead"));
    if (plan.index)
        capacity.indexes[plan.index - plan.table->indexes] = units;
    else
        capacity.units = units;
    call_write_capacity(call, &capacity, false);
    buf_add_char(call->out, '}');
    return true;
}

/* ---- ExecuteStatement ---- */

static struct statement *read_statement(struct call *call)
{
    return statement_parse(call->arena, call_text(call, "Statement"), call_member(call, "Parameters"),
                           call->fault);
}

bool op_execute_statement(struct call *call)
{
    struct prepared prepared = {0};
    struct statement *statement = read_statement(call);
    if (!statement)
        return false;
    if (statement->kind == STATEMENT_SELECT)
        return execute_select(call, statement);
    if (statement->kind == STATEMENT_EXISTS)
        return fault_invalid(call->fault, "EXISTS can only be used in ExecuteTransaction write requests.");
    if (!prepare(call, statement, &prepared)) {
        write_failed_item(&call->fault->members, failed_item(call->request, &prepared, call->fault));
        return false;
    }
    const struct attr *item = returned(call, &prepared);
    carry_out(call, &prepared);
    buf_add_literal(call->out, "{\"Items\":[");
    if (item)
        attr_write_item(call->out, item);
    buf_add_char(call->out, ']');
    struct capacity capacity = capacity_new(call, prepared.table);
    capacity_write_item(&capacity, prepared.before, prepared.after, 1);
    call_write_capacity(call, &capacity, false);
    buf_add_char(call->out, '}');
    return true;
}

/* ---- several ---- */

static void write_item_of(struct call *call, const struct prepared *prepared)
{
    const struct statement *statement = prepared->statement;
    const struct attr *item =
        statement->kind == STATEMENT_SELECT ? prepared->before : returned(call, prepared);
    if (!item)
        return;
    if (statement->kind == STATEMENT_SELECT && statement->projection)
        item = projection_apply(call->arena, statement->projection, item);
    buf_add_literal(call->out, "\"Item\":");
    attr_write_item(call->out, item);
}

/* A SELECT of one item: the item, if it is there. */
static bool prepare_read(struct call *call, const struct statement *statement, struct prepared *prepared)
{
    struct expr *where = statement->where;
    prepared->statement = statement;
    prepared->table = find_table(call, statement->table);
    if (!prepared->table)
        return false;
    struct attr *key = statement->index.data ? NULL : whole_key(call, prepared->table, &where);
    if (!key) {
        fault_fini(call->fault);
        return fault_invalid(call->fault,
                             "Select statements within %s must specify the primary key in the where "
                             "clause.",
                             prepared->transacts ? "ExecuteTransaction" : "BatchExecuteStatement");
    }
    if (!item_key(call, prepared->table, key, &prepared->row))
        return false;
    prepared->before = item_load(call, prepared->table, prepared->row);
    if (prepared->before && where && !condition_holds(call->arena, where, prepared->before))
        prepared->before = NULL;
    return true;
}

static bool prepare_any(struct call *call, const struct statement *statement, struct prepared *prepared)
{
    return statement->kind == STATEMENT_SELECT ? prepare_read(call, statement, prepared)
                                               : prepare(call, statement, prepared);
}

/* "ConditionalCheckFailedException" is told as "ConditionalCheckFailed" inside an answer. */
static void write_code(struct buf *out, const struct fault *fault)
{
    bool invalid = strcmp(fault->type, "ValidationException") == 0;
    size_t size = strlen(fault->type), tail = strlen("Exception");
    buf_printf(out, "\"Code\":\"%.*s\",\"Message\":", invalid ? 15 : (int)(size > tail ? size - tail : size),
               invalid ? "ValidationError" : fault->type);
    json_write_string(out, fault->message.data ? fault->message.data : "", fault->message.size);
}

static void add_units(struct capacity *capacity, const struct prepared *prepared, bool consistent, int factor)
{
    if (prepared->writes)
        capacity_write_item(capacity, prepared->before, prepared->after, factor);
    else
        capacity->units +=
            factor * read_units(prepared->before ? attr_item_size(prepared->before) : 0, consistent);
}

/* All of a batch read, or all write; what cannot be read is told of by itself. */
static bool one_kind(struct call *call, const struct json *list)
{
    bool reads = false, writes = false;
    json_each(element, list) {
        struct fault fault = {0};
        struct call part = *call;
        part.request = element;
        part.fault = &fault;
        struct statement *statement = read_statement(&part);
        reads = reads || (statement && statement->kind == STATEMENT_SELECT);
        writes = writes || (statement && statement->kind != STATEMENT_SELECT);
        fault_fini(&fault);
    }
    return !reads || !writes ||
           fault_invalid(call->fault, "Read and write requests together in the same batch is not supported.");
}

bool op_batch_execute_statement(struct call *call)
{
    const struct json *list = call_member(call, "Statements");
    struct capacities capacities = capacities_new(call, list->count);
    if (!one_kind(call, list))
        return false;
    buf_add_literal(call->out, "{\"Responses\":[");
    json_each(element, list) {
        struct call part = *call;
        struct prepared prepared = {0};
        part.request = element;
        part.fault = &prepared.fault;
        buf_add_text(call->out, element == list->child ? "{" : ",{");
        struct statement *statement = read_statement(&part);
        if (statement && prepare_any(&part, statement, &prepared)) {
            add_units(capacities_of(&capacities, prepared.table), &prepared,
                      call_flag(&part, "ConsistentRead"), 1);
            buf_printf(call->out, "\"TableName\":\"%s\"", prepared.table->name);
            size_t before = call->out->size;
            buf_add_char(call->out, ',');
            write_item_of(&part, &prepared);
            if (call->out->size == before + 1)
                call->out->data[--call->out->size] = '\0';
            carry_out(&part, &prepared);
        } else {
            buf_add_literal(call->out, "\"Error\":{");
            write_code(call->out, &prepared.fault);
            write_failed_item(call->out, failed_item(element, &prepared, &prepared.fault));
            buf_add_char(call->out, '}');
            if (prepared.table)
                buf_printf(call->out, ",\"TableName\":\"%s\"", prepared.table->name);
        }
        buf_add_char(call->out, '}');
        fault_fini(&prepared.fault);
    }
    buf_add_char(call->out, ']');
    call_write_capacities(&capacities, false);
    buf_add_char(call->out, '}');
    return true;
}

/* ---- ExecuteTransaction ---- */

static bool cancelled(struct call *call, struct prepared *all, size_t count)
{
    struct reason *reasons = arena_alloc(call->arena, count * sizeof *reasons);
    size_t i = 0;
    json_each(element, call_member(call, "TransactStatements")) {
        reasons[i] = (struct reason){&all[i].fault, failed_item(element, &all[i], &all[i].fault)};
        i++;
    }
    return transaction_cancelled(call, reasons, count);
}

static bool read_transaction(struct call *call, const struct json *list, struct prepared *all)
{
    size_t count = 0, reads = 0;
    json_each(element, list) {
        struct call part = *call;
        part.request = element;
        struct statement *statement = read_statement(&part);
        if (!statement)
            return false;
        const char *problem = statement->returning != RETURNING_NONE
                                  ? "RETURNING clause is not supported in ExecuteTransaction."
                              : statement->index.data
                                  ? "Reads on indices are not supported within transactions."
                                  : NULL;
        if (problem)
            return fault_invalid(call->fault, "Validation failed in TransactStatements[%zu]: %s", count,
                                 problem);
        reads += statement->kind == STATEMENT_SELECT;
        all[count++].statement = statement;
    }
    return !reads || reads == count ||
           fault_invalid(call->fault,
                         "ExecuteTransaction API does not support both read and write operations in "
                         "the same request.");
}

/* Was done before, by its token: nothing is changed, and it costs what it takes to read the items. */
static void answer_known(struct call *call, struct prepared *all, size_t count)
{
    struct capacities capacities = capacities_new(call, count);
    buf_add_literal(call->out, "{\"Responses\":[");
    for (size_t i = 0; i < count; i++) {
        struct call part = *call;
        part.fault = &all[i].fault;
        prepare_any(&part, all[i].statement, &all[i]); /* whether or not it would do anything now */
        if (all[i].table)
            capacities_of(&capacities, all[i].table)->units +=
                TRANSACTION_READS * read_units(all[i].before ? attr_item_size(all[i].before) : 0, true);
        buf_add_text(call->out, i ? ",{}" : "{}");
    }
    buf_add_char(call->out, ']');
    call_write_capacities(&capacities, false);
    buf_add_char(call->out, '}');
}

static bool execute_all(struct call *call, struct prepared *all, size_t count)
{
    bool holds = true;
    for (size_t i = 0; i < count; i++) {
        struct call part = *call;
        part.fault = &all[i].fault;
        all[i].transacts = true;
        holds = prepare_any(&part, all[i].statement, &all[i]) && holds;
    }
    for (size_t i = 0; holds && i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (all[i].table == all[j].table && text_equal(all[i].row.hash, all[j].row.hash) &&
                text_equal(all[i].row.range, all[j].row.range))
                return fault_invalid(call->fault,
                                     "Transaction request cannot include multiple operations on one item");
    if (!holds)
        return cancelled(call, all, count);
    buf_add_literal(call->out, "{\"Responses\":[");
    for (size_t i = 0; i < count; i++) {
        buf_add_text(call->out, i ? ",{" : "{");
        write_item_of(call, &all[i]);
        carry_out(call, &all[i]);
        buf_add_char(call->out, '}');
    }
    struct capacities capacities = capacities_new(call, count);
    for (size_t i = 0; i < count; i++)
        add_units(capacities_of(&capacities, all[i].table), &all[i], true, 2);
    buf_add_char(call->out, ']');
    call_write_capacities(&capacities, false);
    buf_add_char(call->out, '}');
    return true;
}

bool op_execute_transaction(struct call *call)
{
    const struct json *list = call_member(call, "TransactStatements");
    struct prepared *all = arena_alloc(call->arena, list->count * sizeof *all);
    memset(all, 0, list->count * sizeof *all);
    struct text token = call_text(call, "ClientRequestToken");
    bool ok = read_transaction(call, list, all);
    int known = ok && token.data ? token_known(call, token, list) : 0;
    if (known > 0)
        answer_known(call, all, list->count);
    ok = ok && known >= 0 && (known > 0 || execute_all(call, all, list->count));
    if (ok && known == 0 && token.data && all[0].writes)
        token_keep(call, token, list);
    for (size_t i = 0; i < list->count; i++)
        fault_fini(&all[i].fault);
    return ok;
}
