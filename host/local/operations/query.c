/* query.c: Query and Scan: walk, filter, project, and stop at the page's end. */
#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "local/operations/index_reads.h"
#include "local/operations/query.h"

enum select { SELECT_ALL, SELECT_PROJECTED, SELECT_COUNT, SELECT_SPECIFIC };

struct page {
    struct call *call;
    const struct table *table;
    const struct index *index; /* NULL: the table */
    const struct key_schema *key;
    struct placeholders placeholders;
    struct expr *filter;
    struct projection *projection;
    enum select select;
    bool scan, descending, consistent;
    int64_t limit; /* 0: none */
    int64_t segment, segments;
    struct key_condition condition;
    struct row start;      /* behind this one, where has_start */
    bool has_start, ended; /* ended: by limit or size; `last` is where */
    struct attr *last;
    int64_t count, scanned;
    size_t bytes;
};

/* ---- reading the request ---- */

static bool read_select(struct page *page)
{
    static const char *const names[] = {"",      "ALL_ATTRIBUTES",      "ALL_PROJECTED_ATTRIBUTES",
                                        "COUNT", "SPECIFIC_ATTRIBUTES", NULL};
    struct call *call = page->call;
    size_t select = call_choice(call, "Select", names);
    bool chosen = call_member(call, "ProjectionExpression") || call_member(call, "AttributesToGet");
    const char *which =
        call_member(call, "ProjectionExpression") ? "ProjectionExpression" : "AttributesToGet";
    if (chosen && (select == 1 || select == 2))
        return fault_invalid(call->fault, "Cannot specify the %s when choosing to get %s", which,
                             names[select]);
    if (chosen && select == 3)
        return fault_invalid(call->fault, "Cannot specify the %s when choosing to get only the Count", which);
    if (!chosen && select == 4)
        return fault_invalid(call->fault,
                             "Must specify the AttributesToGet or ProjectionExpression when choosing to get "
                             "SPECIFIC_ATTRIBUTES");
    if (select == 2 && !page->index)
        return fault_invalid(call->fault,
                             "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName");
    if (select == 1 && page->index && page->index->global && page->index->projection != PROJECT_ALL)
        return fault_invalid(
            call->fault,
            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for "
            "global secondary index %s because its projection type is not ALL",
            page->index->name);
    page->select = chosen                                    ? SELECT_SPECIFIC
                   : select == 3                             ? SELECT_COUNT
                   : select == 2 || (!select && page->index) ? SELECT_PROJECTED
                                                             : SELECT_ALL;
    return true;
}

static bool read_index(struct page *page)
{
    struct call *call = page->call;
    struct text name = call_text(call, "IndexName");
    page->key = &page->table->key;
    page->consistent = call_flag(call, "ConsistentRead");
    if (!name.data)
        return true;
    page->index = table_index(page->table, name);
    if (!page->index)
        return fault_invalid(call->fault, "The table does not have the specified index: %.*s", (int)name.size,
                             name.data);
    if (page->index->global && page->consistent)
        return fault_invalid(call->fault, "Consistent reads are not supported on global secondary indexes");
    page->key = &page->index->key;
    return index_is_filled(call, page->index);
}

static bool read_segments(struct page *page)
{
    struct call *call = page->call;
    const struct json *segment = call_member(call, "Segment"), *total = call_member(call, "TotalSegments");
    page->segments = json_integer(total, 1);
    page->segment = json_integer(segment, 0);
    if (segment && !total)
        return fault_invalid(
            call->fault, "The TotalSegments parameter is required but was not present in the request when "
                         "Segment parameter is present");
    if (total && !segment)
        return fault_invalid(call->fault,
                             "The Segment parameter is required but was not present in the request when "
                             "parameter TotalSegments is present");
    if (page->segment >= page->segments)
        return fault_invalid(
            call->fault,
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: "
            "%" PRId64 " is not less than TotalSegments: %" PRId64,
            page->segment, page->segments);
    return true;
}

static bool read_filter(struct page *page)
{
    struct call *call = page->call;
    struct text text = call_text(call, "FilterExpression");
    const char *member = page->scan ? "ScanFilter" : "QueryFilter";
    if (text.data)
        page->filter = condition_parse(&page->placeholders, "FilterExpression", text);
    else if (call_member(call, member))
        page->filter = legacy_filter(call, call_member(call, member));
    return !call->fault->status;
}

static bool read_projection(struct page *page)
{
    struct call *call = page->call;
    struct text text = call_text(call, "ProjectionExpression");
    if (text.data)
        page->projection = projection_parse(&page->placeholders, text);
    else if (call_member(call, "AttributesToGet"))
        page->projection = legacy_projection(call, call_member(call, "AttributesToGet"));
    return !call->fault->status;
}

static bool in_segment(const struct page *page, struct text hash)
{
    return page->segments <= 1 ||
           (int64_t)(hash_bytes(hash.data, hash.size, 11) % (uint64_t)page->segments) == page->segment;
}

static bool start_fits(struct page *page, const struct attr *start)
{
    struct call *call = page->call;
    size_t expected = page->table->key.count;
    for (size_t i = 0; page->index && i < page->key->count; i++)
        expected += !key_has(&page->table->key, page->key->parts[i].name);
    if (start->count != expected || !key_of(call->arena, page->key, start, &page->start.at) ||
        !key_of(call->arena, &page->table->key, start, &page->start.item))
        return fault_invalid(
            call->fault, "The provided starting key is invalid%s",
            page->scan && !page->index ? ": The provided key element does not match the schema" : "");
    page->has_start = true;
    if (page->scan)
        return in_segment(page, page->start.at.hash) ||
               fault_invalid(call->fault,
                             "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use "
                             "ExclusiveStartKey with correct Segment. TotalSegments: %" PRId64
                             " Segment: %" PRId64,
                             page->segments, page->segment);
    if (!text_equal(page->start.at.hash, key_condition_hash(&page->condition, call->arena)))
        return fault_invalid(call->fault,
                             "The provided starting key is outside query boundaries based on provided "
                             "conditions");
    return key_condition_place(&page->condition, call->arena, page->start.at.range) == 0 ||
           fault_invalid(call->fault, "The provided starting key does not match the range key predicate");
}

static bool read_start(struct page *page)
{
    const struct json *start = call_member(page->call, "ExclusiveStartKey");
    if (!start)
        return true;
    struct attr *key = attr_read_item(page->call->arena, start, page->call->fault);
    return key && start_fits(page, key);
}

static bool begin(struct page *page, struct call *call, bool scan)
{
    static const char *const legacy[] = {"AttributesToGet", "QueryFilter",         "ScanFilter",
                                         "KeyConditions",   "ConditionalOperator", NULL};
    static const char *const expressions[] = {"ProjectionExpression", "FilterExpression",
                                              "KeyConditionExpression", NULL};
    bool any = call_member(call, "ProjectionExpression") || call_member(call, "FilterExpression") ||
               call_member(call, "KeyConditionExpression");
    const struct json *forward = call_member(call, "ScanIndexForward");
    *page = (struct page){.call = call, .scan = scan, .descending = forward && forward->type == JSON_FALSE};
    page->limit = json_integer(call_member(call, "Limit"), 0);
    if (!call_not_both(call, legacy, expressions) ||
        !legacy_operator_fits(call, scan ? "ScanFilter" : "QueryFilter") ||
        !placeholders_read(&page->placeholders, call->arena, call_member(call, "ExpressionAttributeNames"),
                           call_member(call, "ExpressionAttributeValues"), any, call->fault))
        return false;
    page->table = call_table(call);
    return page->table && read_index(page) && (!scan || read_segments(page)) && read_select(page);
}

/* ---- walking ---- */

static struct attr *key_of_row(struct page *page, const struct attr *item)
{
    struct attr *key = key_only(page->call->arena, &page->table->key, item);
    for (size_t i = 0; page->index && i < page->key->count; i++) {
        struct text name = page->key->parts[i].name;
        if (!attr_get(key, name))
            attr_append(page->call->arena, key, name, attr_get(item, name));
    }
    return key;
}

/* A local index fetches from the table what it lacks. */
static bool is_whole(const struct page *page)
{
    return !page->index || page->index->projection == PROJECT_ALL ||
           (!page->index->global && page->select != SELECT_PROJECTED && page->select != SELECT_COUNT);
}

/* What the index holds of the item. */
static const struct attr *projected(struct page *page, const struct attr *item)
{
    if (is_whole(page))
        return item;
    struct attr *part = attr_new(page->call->arena, ATTR_M);
    attr_each(member, item) if (index_holds(page->table, page->index, member->name))
        attr_append(page->call->arena, part, member->name, member->value);
    return part;
}

/* False: it is only counted. */
static bool begin_item(struct page *page)
{
    page->count++;
    if (page->select == SELECT_COUNT)
        return false;
    if (page->count > 1)
        buf_add_char(page->call->out, ',');
    return true;
}

static void add_item(struct page *page, const struct attr *item)
{
    if (begin_item(page))
        attr_write_item(page->call->out, page->projection
                                             ? projection_apply(page->call->arena, page->projection, item)
                                             : item);
}

static const struct attr *item_of(struct page *page, const struct row *row)
{
    char *text = arena_copy(page->call->arena, row->text.data, row->text.size);
    return projected(page, attr_parse_item(page->call->arena, text, row->text.size));
}

static void measure(struct page *page, size_t size)
{
    page->scanned++;
    page->bytes += size;
    page->ended = page->scanned == page->limit || page->bytes >= PAGE_BYTES_MAX;
}

/* Nobody looks into an item that is given as it is kept. False: somebody does. */
static bool pass(struct page *page, const struct row *row)
{
    size_t size;
    if (page->filter || page->projection || !is_whole(page) ||
        !attr_item_text_size(row->text.data, row->text.size, &size))
        return false;
    measure(page, size);
    if (begin_item(page))
        buf_add(page->call->out, row->text.data, row->text.size);
    if (page->ended)
        page->last = key_of_row(page, item_of(page, row));
    return true;
}

/* False at the page's end. */
static bool visit(struct page *page, const struct row *row)
{
    if (pass(page, row))
        return !page->ended;
    const struct attr *item = item_of(page, row);
    measure(page, attr_item_size(item));
    if (!page->filter || condition_holds(page->call->arena, page->filter, item))
        add_item(page, item);
    if (page->ended)
        page->last = key_of_row(page, item);
    return !page->ended;
}

static bool is_start(const struct page *page, const struct row *row)
{
    return page->has_start && text_equal(row->at.hash, page->start.at.hash) &&
           text_equal(row->at.range, page->start.at.range) &&
           text_equal(row->item.hash, page->start.item.hash) &&
           text_equal(row->item.range, page->start.item.range);
}

static struct walk plan(struct page *page)
{
    struct arena *arena = page->call->arena;
    struct text none = {"", 0}, edge = page->descending ? storage_last_key : none;
    struct walk walk = {.table = page->table->id,
                        .index = page->index ? page->index->id : 0,
                        .whole = page->scan,
                        .descending = !page->scan && page->descending};
    walk.from = (struct row){.at = {none, none}, .item = {edge, edge}};
    if (page->scan)
        walk.from.item = (struct row_key){none, none};
    if (page->has_start) {
        walk.from = page->start;
    } else if (!page->scan) {
        walk.from.at.hash = key_condition_hash(&page->condition, arena);
        walk.from.at.range = key_condition_start(&page->condition, arena, page->descending);
    }
    return walk;
}

static void walk_page(struct page *page)
{
    struct walk walk = plan(page);
    struct storage_rows *rows = storage_walk(page->call->engine->storage, &walk);
    for (struct row row; storage_next(rows, &row);) {
        int place = page->scan ? 0 : key_condition_place(&page->condition, page->call->arena, row.at.range);
        if (place == (page->descending ? -1 : 1) && !page->scan)
            break;
        if (place != 0 || is_start(page, &row) || !in_segment(page, row.at.hash))
            continue;
        if (!visit(page, &row))
            break;
    }
    storage_end(rows);
}

static bool answer(struct page *page)
{
    struct call *call = page->call;
    struct capacity capacity = capacity_new(call, page->table);
    buf_add_char(call->out, '{');
    if (page->select != SELECT_COUNT)
        buf_add_literal(call->out, "\"Items\":[");
    walk_page(page);
    if (page->select != SELECT_COUNT)
        buf_add_literal(call->out, "],");
    buf_printf(call->out, "\"Count\":%" PRId64 ",\"ScannedCount\":%" PRId64, page->count, page->scanned);
    if (page->last) {
        buf_add_literal(call->out, ",\"LastEvaluatedKey\":");
        attr_write_item(call->out, page->last);
    }
    double units = read_units(page->bytes, page->consistent);
    if (page->index)
        capacity.indexes[page->index - page->table->indexes] = units;
    else
        capacity.units = units;
    call_write_capacity(call, &capacity, false);
    buf_add_char(call->out, '}');
    return true;
}

/* In the order in which the service looks at them. */
static bool read_expressions(struct page *page)
{
    struct call *call = page->call;
    if (!read_filter(page) || !read_projection(page) ||
        (!page->scan && !key_condition_parse(call, &page->placeholders, &page->condition)) ||
        !placeholders_all_used(&page->placeholders))
        return false;
    return (!page->filter || keys_are_scalars(call, page->table, page->filter)) &&
           (!page->projection ||
            paths_spare_keys(call, page->table, page->projection->paths, page->projection->count)) &&
           index_holds_projection(page->call, page->table, page->index, page->projection);
}

bool op_query(struct call *call)
{
    struct page page;
    return begin(&page, call, false) && read_expressions(&page) &&
           key_condition_resolve(call, page.key, page.index ? page.index->name : NULL, &page.condition) &&
           (!page.filter || filter_spares_key(call, page.filter, page.key)) &&
           index_holds_filter(call, page.table, page.index, page.filter, false) && read_start(&page) &&
           answer(&page);
}

bool op_scan(struct call *call)
{
    struct page page;
    return begin(&page, call, true) && read_expressions(&page) && read_start(&page) && answer(&page);
}

bool query_run(struct call *call, struct query_plan *plan)
{
    struct page page = {
        .call = call,
        .table = plan->table,
        .index = plan->index,
        .key = plan->index ? &plan->index->key : &plan->table->key,
        .filter = plan->filter,
        .projection = plan->projection,
        .select = plan->projection ? SELECT_SPECIFIC
                  : plan->index    ? SELECT_PROJECTED
                                   : SELECT_ALL,
        .scan = plan->scan,
        .descending = plan->descending,
        .limit = plan->limit,
        .segments = 1,
        .condition = plan->condition,
    };
    if (plan->start && !start_fits(&page, plan->start))
        return false;
    walk_page(&page);
    plan->last = page.last;
    plan->bytes = page.bytes;
    return true;
}
