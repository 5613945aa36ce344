/* fuzz_page.c: a GetRecords answer of any bytes; what is accepted can be decoded and shown. */
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>

#include "record/page.h"
#include "record/record_json.h"
#include "value/lua_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    struct buf body = BUF_INIT, out = BUF_INIT;
    struct err err;
    if (!L) {
        L = luaL_newstate();
        value_open(L, NULL);
    }
    buf_add(&body, data, size);
    struct page *page = page_read(&body, &err);
    for (size_t i = 0; page && i < page->count; i++) {
        const struct record *record = &page->records[i];
        if (record->new_image && value_push_item(L, record->new_image, &err))
            value_write_item(L, -1, &out, &err);
        record_write_json(&out, record, "arn");
        buf_clear(&out);
        lua_settop(L, 0);
    }
    page_release(page);
    buf_fini(&out);
    return 0;
}
