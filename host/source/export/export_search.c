/* export_search.c: the place itself, or all summaries below its AWSDynamoDB, the newest first. */
#include "source/export/export_search.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aws/s3.h"
#include "base/arn.h"
#include "base/clock.h"
#include "base/mem.h"
#include "source/export/file_fetch.h"

static const char summary_name[] = "manifest-summary.json";
static const char below[] = "/AWSDynamoDB";

struct export_search {
    struct reactor *reactor;
    struct aws_client *client;
    char *where, *table;
    int64_t after_ms, until_ms;
    export_search_fn *done;
    void *user;
    struct file_fetch *fetch;
    struct aws_call *call;
    char *token;       /* of the listing */
    char **candidates; /* places of summaries, the newest first */
    size_t candidate_count, candidate_capacity, candidate;
    struct export_chain met; /* those that could be read, the newest first */
    struct problems damaged; /* those that could not */
    struct err refused;      /* what is wrong with the newest that will not do */
    bool looked;             /* below */
};

void export_found_fini(struct export_found *found)
{
    free(found->place);
    manifest_fini(&found->manifest);
}

void export_chain_fini(struct export_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        export_found_fini(&chain->exports[i]);
    free(chain->exports);
    problems_fini(&chain->passed_over);
    *chain = (struct export_chain){0};
}

void export_search_cancel(struct export_search *search)
{
    if (!search)
        return;
    file_fetch_cancel(search->fetch);
    aws_cancel(search->call);
    for (size_t i = 0; i < search->candidate_count; i++)
        free(search->candidates[i]);
    free(search->candidates);
    export_chain_fini(&search->met);
    problems_fini(&search->damaged);
    free(search->token);
    free(search->table);
    free(search->where);
    free(search);
}

static void fail(struct export_search *search, const struct err *err)
{
    struct err own = *err;
    export_search_fn *done = search->done;
    void *user = search->user;
    export_search_cancel(search);
    done(user, NULL, &own);
}

static void append(struct export_chain *chain, struct export_found *found)
{
    mem_grow(&chain->exports, &chain->capacity, chain->count, sizeof *chain->exports);
    chain->exports[chain->count++] = *found;
    *found = (struct export_found){0};
}

static void finish(struct export_search *search, struct export_chain *chain)
{
    export_search_fn *done = search->done;
    void *user = search->user;
    export_search_cancel(search);
    done(user, chain, NULL);
    export_chain_fini(chain);
}

/* ---- which go on from which ---- */

/* Of the latest time, which need not be the one that was asked for last. */
static struct export_found *newest_full(const struct export_search *search)
{
    struct export_found *best = NULL;
    for (size_t i = 0; i < search->met.count; i++) {
        struct export_found *found = &search->met.exports[i];
        if (found->place && !found->manifest.incremental &&
            (!best || found->manifest.taken_ms > best->manifest.taken_ms))
            best = found;
    }
    return best;
}

/* The one that goes furthest of those that leave nothing out. */
static struct export_found *goes_on(struct export_search *search, int64_t after_ms)
{
    struct export_found *best = NULL;
    for (size_t i = 0; i < search->met.count; i++) {
        struct export_found *found = &search->met.exports[i];
        const struct export_manifest *manifest = &found->manifest;
        bool fits = found->place && manifest->incremental && manifest->from_ms <= after_ms &&
                    manifest->taken_ms > after_ms &&
                    (!search->until_ms || manifest->taken_ms <= search->until_ms);
        if (fits && (!best || manifest->taken_ms > best->manifest.taken_ms))
            best = found;
    }
    return best;
}

/* What stands there and does not come, though it might have been meant to. */
static void note_passed_over(struct export_search *search, struct export_chain *chain)
{
    int64_t ends_ms = chain->exports[chain->count - 1].manifest.taken_ms;
    char end[CLOCK_ISO_SIZE], begin[CLOCK_ISO_SIZE];
    chain->passed_over = search->damaged;
    search->damaged = (struct problems){0};
    for (size_t i = 0; i < search->met.count; i++) {
        const struct export_found *found = &search->met.exports[i];
        if (!found->place || !found->manifest.incremental || found->manifest.from_ms <= ends_ms ||
            (search->until_ms && found->manifest.taken_ms > search->until_ms))
            continue;
        clock_iso8601(ends_ms, end);
        clock_iso8601(found->manifest.from_ms, begin);
        problems_add(&chain->passed_over, "%s begins at %s, and what was written from %s to then is in none",
                     found->place, begin, end);
    }
}

static bool of_one_table(const struct export_search *search, struct err *err)
{
    const struct export_chain *met = &search->met;
    for (size_t i = 1; i < met->count; i++)
        if (strcmp(met->exports[i].manifest.table_arn, met->exports[0].manifest.table_arn) != 0)
            return err_set(err, ERR_CONFIG,
                           "%s has exports of several tables: name one of them, as %s (of %s) or %s (of %s)",
                           search->where, met->exports[0].place, met->exports[0].manifest.table_arn,
                           met->exports[i].place, met->exports[i].manifest.table_arn);
    return true;
}

static void say_nothing_fits(const struct export_search *search, struct err *err)
{
    if (search->after_ms && search->damaged.count)
        err_set(err, ERR_CONFIG, "the incremental export that goes on from the one before cannot be read: %s",
                search->damaged.lines[0]);
    else if (search->after_ms)
        err_set(err, ERR_CONFIG,
                "%s: the incremental export that was there, and goes on from the one before, is gone",
                search->where);
    else if (search->refused.code)
        *err = search->refused;
    else if (search->met.count)
        err_set(err, ERR_CONFIG,
                "%s: there are incremental exports alone, which have changes and not what the table held: "
                "a full one is needed",
                search->where);
    else
        err_set(err, ERR_CONFIG, "%s: there is no export (no %s, neither there nor below its AWSDynamoDB)",
                search->where, summary_name);
}

static void choose(struct export_search *search)
{
    struct export_chain chain = {0};
    struct err err = {0};
    struct export_found *next = NULL;
    if (search->table || of_one_table(search, &err))
        next = search->after_ms ? goes_on(search, search->after_ms) : newest_full(search);
    if (!next && !err.code)
        say_nothing_fits(search, &err);
    if (!next) {
        fail(search, &err);
        return;
    }
    while (next) {
        int64_t until_ms = next->manifest.taken_ms;
        append(&chain, next);
        next = goes_on(search, until_ms);
    }
    note_passed_over(search, &chain);
    finish(search, &chain);
}

/* ---- summaries ---- */

static void on_summary(void *user, struct buf *text, const struct err *err);

static void fetch_summary(struct export_search *search, const char *where)
{
    char *place = mem_printf("%s/%s", where, summary_name);
    search->fetch = file_fetch_begin(search->reactor, search->client, place, NULL, on_summary, search);
    free(place);
}

/* All are looked at: which is the newest says its time, not its name. */
static void try_next(struct export_search *search)
{
    if (search->candidate < search->candidate_count)
        fetch_summary(search, search->candidates[search->candidate++]);
    else
        choose(search);
}

/* "PREFIX/AWSDynamoDB/ID/manifest-summary.json" */
static void meet(void *user, const char *key, int64_t bytes)
{
    struct export_search *search = user;
    const char *slash = strrchr(key, '/');
    (void)bytes;
    if (!slash || strcmp(slash + 1, summary_name) != 0)
        return;
    mem_grow(&search->candidates, &search->candidate_capacity, search->candidate_count,
             sizeof *search->candidates);
    search->candidates[search->candidate_count++] = mem_copy(key, (size_t)(slash - key));
}

/* Ids begin with their time. */
static int newest_first(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

static void listed(struct export_search *search)
{
    if (search->candidate_count)
        qsort(search->candidates, search->candidate_count, sizeof *search->candidates, newest_first);
    try_next(search);
}

static void list(struct export_search *search);

static void on_listed(void *user, struct transport_response *response, const struct err *err)
{
    struct export_search *search = user;
    struct err problem = {0};
    search->call = NULL;
    char *next = err ? NULL : s3_read_list(&response->body, meet, search, &problem);
    if (err || problem.code) {
        free(next);
        fail(search, err ? err : &problem);
        return;
    }
    free(search->token);
    search->token = next;
    if (next) {
        list(search);
        return;
    }
    for (size_t i = 0; i < search->candidate_count; i++) { /* keys are without their bucket */
        const char *bucket = search->where + 5;
        char *whole = mem_printf("s3://%.*s/%s", (int)strcspn(bucket, "/"), bucket, search->candidates[i]);
        free(search->candidates[i]);
        search->candidates[i] = whole;
    }
    listed(search);
}

static void list(struct export_search *search)
{
    const char *bucket = search->where + 5, *slash = strchr(bucket, '/');
    char *name = mem_copy(bucket, strcspn(bucket, "/"));
    char *prefix = mem_printf("%s%sAWSDynamoDB/", slash ? slash + 1 : "", slash && slash[1] ? "/" : "");
    struct aws_request request = s3_list(name, prefix, search->token);
    request.own = true;
    search->call = aws_send(search->client, &request, on_listed, search);
    free(name);
    free(prefix);
}

static void list_directory(struct export_search *search)
{
    char *path = mem_printf("%s%s", search->where, below);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *key = mem_printf("%s/%s/%s", path, entry->d_name, summary_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(key, "r");
        if (file) {
            fclose(file);
            meet(search, key, 0);
        }
        free(key);
    }
    if (directory)
        closedir(directory);
    free(path);
    listed(search);
}

static bool is_of_table(const struct export_search *search, const struct export_found *found, struct err *err)
{
    char *table = table_of_arn(found->manifest.table_arn, NULL);
    bool its = !search->table || strcmp(table, search->table) == 0;
    if (!its)
        err_set(err, ERR_CONFIG, "%s is an export of table %s, and not of %s", found->place, table,
                search->table);
    free(table);
    return its;
}

static bool read_summary(struct export_search *search, const struct buf *text, struct export_found *found,
                         struct err *err)
{
    const char *where = search->looked ? search->candidates[search->candidate - 1] : search->where;
    found->place = mem_string(where);
    if (!manifest_read_summary(&found->manifest, text->data ? text->data : "", text->size, err)) {
        err_prefix(err, "%s/%s", where, summary_name);
        problems_add(&search->damaged, "%s", err->text);
        return false;
    }
    return is_of_table(search, found, err);
}

static void on_summary(void *user, struct buf *text, const struct err *err)
{
    struct export_search *search = user;
    struct export_found found = {0};
    struct err problem = {0};
    search->fetch = NULL;
    if (err && !search->looked) { /* not there itself: below? */
        search->looked = true;
        if (strncmp(search->where, "s3://", 5) == 0)
            list(search);
        else
            list_directory(search);
        return;
    }
    if (err) {
        problem = *err;
        problems_add(&search->damaged, "%s", err->text);
    } else if (read_summary(search, text, &found, &problem))
        append(&search->met, &found);
    export_found_fini(&found);
    if (problem.code && !search->refused.code)
        search->refused = problem;
    if (search->looked) {
        try_next(search);
    } else if (problem.code) {
        fail(search, &problem);
    } else {
        struct export_chain chain = search->met;
        search->met = (struct export_chain){0};
        finish(search, &chain);
    }
}

struct export_search *export_search_begin(struct reactor *reactor, struct aws_client *client,
                                          const struct export_query *query, export_search_fn *done,
                                          void *user)
{
    struct export_search *search = mem_zero(sizeof *search);
    size_t size = strlen(query->place);
    while (size > 1 && query->place[size - 1] == '/')
        size--;
    if (size > sizeof below && memcmp(query->place + size - (sizeof below - 1), below, sizeof below - 1) == 0)
        size -= sizeof below - 1; /* the place above is meant */
    *search = (struct export_search){.reactor = reactor,
                                     .client = client,
                                     .where = mem_copy(query->place, size),
                                     .table = query->table ? mem_string(query->table) : NULL,
                                     .after_ms = query->after_ms,
                                     .until_ms = query->until_ms,
                                     .done = done,
                                     .user = user};
    fetch_summary(search, search->where);
    return search;
}

/* ---- where things are ---- */

char *export_root(const char *place)
{
    const char *slash = strrchr(place, '/');
    size_t size = slash ? (size_t)(slash - place) : 0, tail = sizeof below - 1;
    return size > tail && memcmp(place + size - tail, below, tail) == 0 ? mem_copy(place, size - tail) : NULL;
}

/* The files of full ones stand with their manifests, those of all incremental ones together. */
char *export_file_place(const struct export_found *found, const struct export_file *file)
{
    const char *slash = strrchr(found->place, '/');
    int size = found->manifest.incremental && slash ? (int)(slash - found->place) : (int)strlen(found->place);
    return mem_printf("%.*s/data/%s", size, found->place, file->name);
}
