/* fuzz_partiql.c: a statement of any bytes, alone and in a transaction. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "local/engine.h"

static void call(struct engine *engine, const char *target, const struct buf *body)
{
    struct engine_reply reply = {0};
    engine_call(engine, &(struct engine_request){target, body->data, body->size, NULL}, &reply);
    buf_fini(&reply.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct engine *engine;
    static struct clock now;
    static const char table[] =
        "{\"TableName\":\"Tab\",\"BillingMode\":\"PAY_PER_REQUEST\",\"KeySchema\":[{\"AttributeName\":\"p\","
        "\"KeyType\":"
        "\"HASH\"}],\"AttributeDefinitions\":[{\"AttributeName\":\"p\",\"AttributeType\":\"S\"}]}";
    struct buf body = BUF_INIT;
    struct err err;
    if (!engine) {
        now = clock_system();
        engine = engine_new(&(struct engine_options){.clock = &now}, &err);
        buf_add_text(&body, table);
        call(engine, "DynamoDB_20120810.CreateTable", &body);
        buf_clear(&body);
    }
    buf_add_text(&body, "{\"Statement\":");
    json_write_string(&body, (const char *)bytes, size);
    buf_add_text(&body, ",\"Parameters\":[{\"S\":\"k\"},{\"N\":\"1\"}]}");
    call(engine, "DynamoDB_20120810.ExecuteStatement", &body);
    buf_clear(&body);
    buf_add_text(&body, "{\"TransactStatements\":[{\"Statement\":");
    json_write_string(&body, (const char *)bytes, size);
    buf_add_text(&body, "}]}");
    call(engine, "DynamoDB_20120810.ExecuteTransaction", &body);
    buf_fini(&body);
    return 0;
}
