/* archive_export.c: see archive_export.h. */
#include "source/archive/archive_export.h"

#include <stdlib.h>
#include <string.h>

#include "base/arn.h"
#include "base/clock.h"
#include "base/mem.h"
#include "source/export/export_search.h"
#include "source/export/file_fetch.h"
#include "source/export/item_lines.h"

struct archive_export {
    struct reactor *reactor;
    struct aws_client *aws;
    struct export_chain chain;
    struct key_names *keys;
    char *region, *table;
};

/* What comes back from what is asked for here. */
struct waiting {
    bool done;
    struct export_chain chain;
    struct key_names *keys;
    struct buf text;
    struct err err;
};

static bool wait_for(const struct archive_export *exports, struct waiting *waiting, struct err *err)
{
    reactor_turn_until(exports->reactor, &waiting->done);
    if (waiting->err.code)
        *err = waiting->err;
    return !waiting->err.code;
}

static void on_text(void *user, struct buf *text, const struct err *err)
{
    struct waiting *waiting = user;
    waiting->done = true;
    if (err) {
        waiting->err = *err;
        return;
    }
    waiting->text = *text;
    *text = BUF_INIT;
}

static bool fetch(const struct archive_export *exports, const char *place, const unsigned char *md5,
                  struct buf *text, struct err *err)
{
    struct waiting waiting = {0};
    file_fetch_begin(exports->reactor, exports->aws, place, md5, on_text, &waiting);
    bool ok = wait_for(exports, &waiting, err);
    *text = waiting.text;
    return ok;
}

/* ---- opening ---- */

static void on_chain(void *user, struct export_chain *chain, const struct err *err)
{
    struct waiting *waiting = user;
    waiting->done = true;
    if (err) {
        waiting->err = *err;
        return;
    }
    waiting->chain = *chain;
    *chain = (struct export_chain){0};
}

static bool find(struct archive_export *exports, const char *from, const char *table, struct err *err)
{
    struct waiting waiting = {0};
    export_search_begin(exports->reactor, exports->aws, &(struct export_query){.place = from, .table = table},
                        on_chain, &waiting);
    bool ok = wait_for(exports, &waiting, err);
    exports->chain = waiting.chain;
    return ok;
}

static void on_keys(void *user, struct key_names *names, const struct err *err)
{
    struct waiting *waiting = user;
    waiting->done = true;
    waiting->keys = names;
    if (err)
        waiting->err = *err;
}

/* The items of a full export do not say what their key is. */
static bool learn_keys(struct archive_export *exports, struct err *err)
{
    struct waiting waiting = {0};
    key_names_ask(exports->aws, exports->table, on_keys, &waiting);
    bool ok = wait_for(exports, &waiting, err);
    exports->keys = waiting.keys;
    return ok || err_prefix(err, "what the key of table %s is", exports->table);
}

static bool read_files(const struct archive_export *exports, struct export_found *found, struct err *err)
{
    struct buf text = BUF_INIT;
    char *place = mem_printf("%s/manifest-files.json", found->place);
    bool ok = fetch(exports, place, NULL, &text, err) &&
              (manifest_read_files(&found->manifest, text.data ? text.data : "", text.size, err) ||
               err_prefix(err, "%s", place));
    buf_fini(&text);
    free(place);
    return ok;
}

struct archive_export *archive_export_open(const char *from, const char *table, struct reactor *reactor,
                                           struct aws_client *aws, struct err *err)
{
    struct archive_export *exports = mem_zero(sizeof *exports);
    exports->reactor = reactor;
    exports->aws = aws;
    bool ok = find(exports, from, table, err);
    if (ok) {
        const char *arn = exports->chain.exports[0].manifest.table_arn;
        exports->table = table_of_arn(arn, NULL);
        exports->region = region_of_arn(arn);
        ok = learn_keys(exports, err);
    }
    for (size_t i = 0; ok && i < exports->chain.count; i++)
        ok = read_files(exports, &exports->chain.exports[i], err);
    if (!ok) {
        archive_export_free(exports);
        return NULL;
    }
    return exports;
}

void archive_export_free(struct archive_export *exports)
{
    if (!exports)
        return;
    export_chain_fini(&exports->chain);
    key_names_free(exports->keys);
    free(exports->region);
    free(exports->table);
    free(exports);
}

/* ---- files ---- */

void archive_export_tell(const struct archive_export *exports, struct buf *told, struct buf *passed_over)
{
    char time[CLOCK_ISO_SIZE];
    for (size_t i = 0; i < exports->chain.count; i++) {
        const struct export_found *found = &exports->chain.exports[i];
        clock_iso8601(found->manifest.taken_ms, time);
        buf_printf(told, "%s: %lld %s until %s\n", found->place, (long long)found->manifest.items,
                   found->manifest.incremental ? "changes" : "items", time);
    }
    for (size_t i = 0; i < exports->chain.passed_over.count; i++)
        buf_printf(passed_over, "%s\n", exports->chain.passed_over.lines[i]);
}

int64_t archive_export_until_ms(const struct archive_export *exports)
{
    return exports->chain.exports[exports->chain.count - 1].manifest.taken_ms;
}

size_t archive_export_count(const struct archive_export *exports)
{
    size_t count = 0;
    for (size_t i = 0; i < exports->chain.count; i++)
        count += exports->chain.exports[i].manifest.count;
    return count;
}

static const struct export_found *found_at(const struct archive_export *exports, size_t index,
                                           const struct export_file **file)
{
    const struct export_found *found = exports->chain.exports;
    while (index >= found->manifest.count)
        index -= found++->manifest.count;
    *file = &found->manifest.files[index];
    return found;
}

char *archive_export_path(const struct archive_export *exports, size_t index)
{
    const struct export_file *file;
    const struct export_found *found = found_at(exports, index, &file);
    return export_file_place(found, file);
}

int64_t archive_export_items(const struct archive_export *exports, size_t index)
{
    const struct export_file *file;
    found_at(exports, index, &file);
    return file->items;
}

static bool add_event(struct buf *out, const struct item_frame *frame, const struct export_found *found,
                      const char *line, size_t size, int64_t number, struct err *err)
{
    struct buf event = BUF_INIT;
    bool ok = item_line_add(&event, frame, &found->manifest, line, size, err);
    if (ok) {
        item_records_number(&event, number);
        buf_add(out, event.data, event.size);
        buf_add_char(out, '\n');
    }
    buf_fini(&event);
    return ok;
}

bool archive_export_read(struct archive_export *exports, size_t index, struct buf *out, struct err *err)
{
    const struct export_file *file;
    const struct export_found *found = found_at(exports, index, &file);
    char *place = export_file_place(found, file);
    char *arn = mem_printf("%s/stream/export", found->manifest.table_arn);
    const struct item_frame frame = {.keys = exports->keys,
                                     .region = exports->region ? exports->region : "",
                                     .source_arn = arn,
                                     .taken_ms = found->manifest.taken_ms};
    struct buf text = BUF_INIT;
    int64_t number = 0;
    bool ok = fetch(exports, place, file->md5, &text, err);
    for (const char *at = text.data, *end = at + text.size; ok && at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        if (stop > at && !add_event(out, &frame, found, at, (size_t)(stop - at), ++number, err))
            ok = err_prefix(err, "%s, line %lld", place, (long long)number);
        at = stop + 1;
    }
    if (ok && number != file->items)
        ok = err_set(err, ERR_PARSE, "%s holds %lld items, and the manifest says %lld", place,
                     (long long)number, (long long)file->items);
    buf_fini(&text);
    free(place);
    free(arn);
    return ok;
}
