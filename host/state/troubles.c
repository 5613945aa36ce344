/* troubles.c: see troubles.h. */
#include "state/troubles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define TROUBLES_MAX 10000 /* more of them say nothing more */

struct trouble {
    char *subject, *kind;
    char text[400];
    int64_t since_ms, last_ms, count;
    bool changed, over, kept;
};

struct troubles {
    struct clock *clock;
    size_t place;
    struct map all; /* "subject\nkind" */
};

struct troubles *troubles_new(struct clock *clock, size_t place)
{
    struct troubles *troubles = mem_zero(sizeof *troubles);
    troubles->clock = clock;
    troubles->place = place;
    return troubles;
}

static void trouble_free(struct trouble *trouble)
{
    free(trouble->subject);
    free(trouble->kind);
    free(trouble);
}

void troubles_free(struct troubles *troubles)
{
    size_t at = 0;
    if (!troubles)
        return;
    for (struct trouble *trouble; (trouble = map_next(&troubles->all, &at, NULL));)
        trouble_free(trouble);
    map_fini(&troubles->all);
    free(troubles);
}

static char *key_of(const char *subject, const char *kind)
{
    return mem_printf("%s\n%s", subject, kind);
}

static struct trouble *add(struct troubles *troubles, const char *key, const char *subject, const char *kind)
{
    struct trouble *trouble = mem_zero(sizeof *trouble);
    trouble->subject = mem_string(subject);
    trouble->kind = mem_printf("%s#%zu", kind, troubles->place);
    map_set(&troubles->all, key, trouble);
    return trouble;
}

void troubles_tell(struct troubles *troubles, const char *subject, const char *kind, const char *text)
{
    if (!troubles)
        return;
    char *key = key_of(subject, kind);
    struct trouble *trouble = map_get(&troubles->all, key);
    int64_t now_ms = clock_wall_ms(troubles->clock);
    if (!trouble && troubles->all.count < TROUBLES_MAX)
        trouble = add(troubles, key, subject, kind);
    free(key);
    if (!trouble)
        return;
    if (trouble->over || !trouble->count) {
        trouble->since_ms = now_ms;
        trouble->count = 0;
    }
    trouble->over = false;
    trouble->changed = true;
    trouble->last_ms = now_ms;
    trouble->count++;
    snprintf(trouble->text, sizeof trouble->text, "%s", text);
    trouble->text[strcspn(trouble->text, "\n")] = '\0';
}

void troubles_end(struct troubles *troubles, const char *subject, const char *kind)
{
    if (!troubles || !troubles->all.count)
        return;
    char *key = key_of(subject, kind);
    struct trouble *trouble = map_get(&troubles->all, key);
    free(key);
    if (trouble)
        trouble->over = true;
}

/* One that is over is forgotten here, once the store was told of its end. */
static void forget_over(struct troubles *troubles)
{
    const char *key;
    size_t at = 0;
    for (struct trouble *trouble; (trouble = map_next(&troubles->all, &at, &key));) {
        if (!trouble->over || trouble->kept)
            continue;
        map_remove(&troubles->all, key);
        trouble_free(trouble);
        at = 0; /* removal moves slots */
    }
}

/* One page that could not be read makes nobody unready. */
#define UNREAD_MS 15000

bool trouble_is(const char *kind, const char *name)
{
    size_t size = strcspn(kind, "#");
    return size == strlen(name) && strncmp(kind, name, size) == 0;
}

bool trouble_is_unready(const char *subject, const char *kind, int64_t for_ms)
{
    if (strncmp(subject, "stream ", strlen("stream ")) == 0)
        return !trouble_is(kind, "disabled") && for_ms >= UNREAD_MS;
    return trouble_is(kind, "loading") || trouble_is(kind, TROUBLE_STARTING);
}

void troubles_unready(const struct troubles *troubles, struct buf *out)
{
    int64_t now_ms = clock_wall_ms(troubles->clock);
    size_t at = 0;
    for (const struct trouble *trouble; (trouble = map_next(&troubles->all, &at, NULL));)
        if (!trouble->over && trouble_is_unready(trouble->subject, trouble->kind, now_ms - trouble->since_ms))
            buf_printf(out, "%s: %s\n", trouble->subject, trouble->text);
}

void troubles_collect(struct troubles *troubles, struct store_batch *batch)
{
    size_t at = 0;
    bool over = false;
    for (struct trouble *trouble; (trouble = map_next(&troubles->all, &at, NULL));) {
        over = over || trouble->over;
        if (trouble->over && trouble->kept)
            store_forget_trouble(batch, trouble->subject, trouble->kind);
        else if (!trouble->over && trouble->changed)
            store_put_trouble(batch,
                              &(struct store_trouble){trouble->subject, trouble->kind, trouble->text,
                                                      trouble->since_ms, trouble->last_ms, trouble->count});
        trouble->kept = !trouble->over;
        trouble->changed = false;
    }
    if (over)
        forget_over(troubles);
}
