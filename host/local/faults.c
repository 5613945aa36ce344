/* faults.c: the embedded DynamoDB told to fail. Nothing fails unless it is asked for, by calls of operations
 * that the service does not have (X-Amz-Target: TidemillLocal.SetFaults and so on):
 *
 *   SetFaults {"Throttle": 0.1, "Error": 0.05, "Drop": 0.02, "DelayMs": 50, "Operations": ["GetRecords"]}
 *       shares of calls that are throttled, answered with 500, or done without an answer; {} ends all faults
 *   SplitShards {"StreamArn": ..., "ShardId": ..., "Children": 2}
 *       both optional: every open shard; 0 closes it
 *   ExpireIterators {}
 *       every shard iterator made so far has expired
 *   TrimRecords {}
 *       every stream record written so far is gone */
#include "local/faults.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct fault_plan {
    double throttle, error, drop;
    int64_t delay_ms;
    char **operations; /* NULL: all */
    size_t count;
};

static void plan_free(struct fault_plan *plan)
{
    for (size_t i = 0; plan && i < plan->count; i++)
        free(plan->operations[i]);
    if (plan)
        free(plan->operations);
    free(plan);
}

void faults_free(struct engine *engine)
{
    plan_free(engine->plan);
    engine->plan = NULL;
}

static bool chance(struct engine *engine, double share)
{
    return share > 0 && (double)(engine_random(engine) >> 11) / 9007199254740992.0 < share;
}

static bool concerns(const struct fault_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->operations[i], name) == 0)
            return true;
    return plan->count == 0;
}

bool faults_before(struct call *call, const char *name, struct engine_reply *reply)
{
    struct fault_plan *plan = call->engine->plan;
    if (!plan || !concerns(plan, name))
        return true;
    reply->delay_ms = plan->delay_ms;
    if (chance(call->engine, plan->throttle))
        return fault_set(call->fault, "ThrottlingException", "Rate exceeded (a fault that was asked for)");
    if (chance(call->engine, plan->error))
        return fault_set(call->fault, "InternalServerError",
                         "Internal server error (a fault that was asked for)");
    reply->dropped = chance(call->engine, plan->drop);
    return true;
}

/* ---- control ---- */

static bool read_share(struct call *call, const char *name, double *share)
{
    const struct json *member = call_member(call, name);
    *share = json_double(member, 0);
    return (*share >= 0 && *share <= 1) ||
           fault_invalid(call->fault, "%s: a share between 0 and 1 expected", name);
}

bool op_set_faults(struct call *call)
{
    struct fault_plan *plan = mem_zero(sizeof *plan);
    const struct json *operations = call_member(call, "Operations");
    plan->delay_ms = json_integer(call_member(call, "DelayMs"), 0);
    if (!read_share(call, "Throttle", &plan->throttle) || !read_share(call, "Error", &plan->error) ||
        !read_share(call, "Drop", &plan->drop)) {
        plan_free(plan);
        return false;
    }
    plan->operations = mem_zero(((operations ? operations->count : 0) + 1) * sizeof *plan->operations);
    json_each(each, operations)
        if (each->type == JSON_STRING)
            plan->operations[plan->count++] = json_string_dup(each);
    plan_free(call->engine->plan);
    call->engine->plan = plan;
    buf_add_literal(call->out, "{}");
    return true;
}

bool op_split_shards(struct call *call)
{
    struct text arn = call_text(call, "StreamArn"), shard = call_text(call, "ShardId");
    struct stream *stream;
    int64_t children = json_integer(call_member(call, "Children"), 1);
    bool any = false;
    if (children < 0 || children > 16)
        return fault_invalid(call->fault, "Children: 0 to 16 expected");
    char *name = shard.data ? arena_copy(call->arena, shard.data, shard.size) : NULL;
    list_each(stream, &call->engine->streams, struct stream, link)
        if (stream->enabled && (!arn.data || text_is(arn, stream->arn, strlen(stream->arn))))
            any = stream_split(call, stream->arn, name, (int)children) || any;
    buf_add_literal(call->out, "{}");
    return any || fault_set(call->fault, "ResourceNotFoundException", "no open shard is so named");
}

bool op_expire_iterators(struct call *call)
{
    call->engine->expired_below = call->engine->iterators;
    buf_add_literal(call->out, "{}");
    return true;
}

bool op_trim_records(struct call *call)
{
    storage_trim(call->engine->storage, INT64_MAX);
    call->engine->trimmed_below = call->engine->last_sequence + 1;
    buf_add_literal(call->out, "{}");
    return true;
}
