/* xml.c: expat's events to a tree. */
#include "aws/xml.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

#include "base/buf.h"

#define DEPTH_MAX 32

struct reading {
    XML_Parser parser;
    struct arena *arena;
    struct xml *root;
    struct xml *open[DEPTH_MAX];
    struct xml **end[DEPTH_MAX]; /* where the next child goes */
    size_t depth;
    struct buf text;
    const char *problem; /* of ours; NULL: of the text's */
};

static void stop(struct reading *reading, const char *problem)
{
    reading->problem = problem;
    XML_StopParser(reading->parser, XML_FALSE);
}

/* May it go on? */
static bool fits(struct reading *reading)
{
    bool ok = !reading->arena->max || reading->arena->bytes + reading->text.size <= reading->arena->max;
    if (!ok)
        stop(reading, "it takes more memory than there is for it");
    return ok;
}

static const char *copy(struct arena *arena, const char *text, size_t size)
{
    char *out = arena_alloc(arena, size + 1);
    memcpy(out, text, size);
    out[size] = '\0';
    return out;
}

static void on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
    struct reading *reading = user;
    (void)attributes;
    if (reading->depth == DEPTH_MAX) {
        stop(reading, "its elements are more than 32 deep");
        return;
    }
    if (!fits(reading))
        return;
    struct xml *element = arena_alloc(reading->arena, sizeof *element);
    *element = (struct xml){copy(reading->arena, name, strlen(name)), "", NULL, NULL};
    if (reading->depth) {
        *reading->end[reading->depth - 1] = element;
        reading->end[reading->depth - 1] = &element->next;
    } else {
        reading->root = element;
    }
    reading->open[reading->depth] = element;
    reading->end[reading->depth++] = &element->child;
    buf_clear(&reading->text);
}

static void on_text(void *user, const XML_Char *text, int size)
{
    struct reading *reading = user;
    if (!reading->problem && fits(reading))
        buf_add(&reading->text, text, (size_t)size);
}

static void on_end(void *user, const XML_Char *name)
{
    struct reading *reading = user;
    (void)name;
    if (reading->problem) /* expat tells the end of an <empty/> one even so */
        return;
    struct xml *element = reading->open[--reading->depth];
    if (!element->child && reading->text.size && fits(reading))
        element->text = copy(reading->arena, reading->text.data, reading->text.size);
    buf_clear(&reading->text);
}

const struct xml *xml_parse(struct arena *arena, const char *bytes, size_t size, struct err *err)
{
    struct reading reading = {.arena = arena, .parser = XML_ParserCreate(NULL)};
    XML_SetUserData(reading.parser, &reading);
    XML_SetElementHandler(reading.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reading.parser, on_text);
    bool ok = size <= INT_MAX && XML_Parse(reading.parser, bytes, (int)size, 1) == XML_STATUS_OK;
    if (!ok)
        err_set(err, ERR_PARSE, "not well-formed XML: %s",
                reading.problem ? reading.problem : XML_ErrorString(XML_GetErrorCode(reading.parser)));
    XML_ParserFree(reading.parser);
    buf_fini(&reading.text);
    return ok ? reading.root : NULL;
}

const struct xml *xml_find(const struct xml *root, const char *name)
{
    if (!root || strcmp(root->name, name) == 0)
        return root;
    for (const struct xml *child = root->child; child; child = child->next) {
        const struct xml *found = xml_find(child, name);
        if (found)
            return found;
    }
    return NULL;
}

const char *xml_text(const struct xml *root, const char *name)
{
    const struct xml *found = xml_find(root, name);
    return found ? found->text : NULL;
}
