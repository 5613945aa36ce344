/* settings.c: see settings.h. */
#include "conf/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct unit {
    const char *name;
    double factor;
};

static bool parse_scaled(const char *text, const struct unit *units, int64_t *value)
{
    char *end;
    if (!((*text >= '0' && *text <= '9') || *text == '.'))
        return false;
    double number = strtod(text, &end);
    if (end == text || !isfinite(number))
        return false;
    while (*end == ' ')
        end++;
    for (; units->name; units++) {
        if (strcmp(end, units->name) != 0)
            continue;
        number *= units->factor;
        if (number > 9e15)
            return false;
        *value = (int64_t)(number + 0.5);
        return true;
    }
    return *end == '\0' && number == 0 && (*value = 0, true);
}

bool duration_parse(const char *text, int64_t *ms, struct err *err)
{
    static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    return parse_scaled(text, units, ms) ||
           err_set(err, ERR_CONFIG, "\"%s\" is not a duration (try 100ms, 30s, 5m, 24h or 7d)", text);
}

bool size_parse(const char *text, int64_t *bytes, struct err *err)
{
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1024.0 * 1024}, {"GiB", 1024.0 * 1024 * 1024}, {NULL, 0}};
    return parse_scaled(text, units, bytes) ||
           err_set(err, ERR_CONFIG, "\"%s\" is not a size (try 512KiB, 32MiB or 1GiB)", text);
}

bool rate_parse(const char *text, int64_t *interval_ns, struct err *err)
{
    static const struct unit units[] = {{"/s", 1e9}, {"/m", 60e9}, {"/h", 3600e9}, {NULL, 0}};
    char *end;
    double number = strtod(text, &end);
    for (const struct unit *unit = units; unit->name; unit++)
        if (end != text && strcmp(end, unit->name) == 0 && number >= 0.001 && number <= 1e6) {
            *interval_ns = (int64_t)(unit->factor / number);
            return true;
        }
    return err_set(err, ERR_CONFIG, "\"%s\" is not a rate (try 100/s, 30/m or 5/h)", text);
}

static bool share_parse(const char *text, int64_t *millionths, struct err *err)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= 0 && number <= 1))
        return err_set(err, ERR_CONFIG, "\"%s\" is no share (from 0, none, to 1, all)", text);
    *millionths = (int64_t)(number * 1e6 + 0.5);
    return true;
}

static bool range_parse(const char *text, int64_t range[2], struct err *err)
{
    const char *dots = strstr(text, "..");
    if (!dots)
        return err_set(err, ERR_CONFIG, "\"%s\" is not a range of durations (try 200ms..60s)", text);
    char *from = mem_copy(text, (size_t)(dots - text));
    bool ok = duration_parse(from, &range[0], err) && duration_parse(dots + 2, &range[1], err);
    free(from);
    if (ok && range[0] > range[1])
        return err_set(err, ERR_CONFIG, "\"%s\": the first duration is the longer one", text);
    return ok;
}

static bool integer_parse(const char *text, int64_t *value, struct err *err)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return err_set(err, ERR_CONFIG, "\"%s\" is not a whole number", text);
    *value = number;
    return true;
}

static bool choice_parse(const char *text, const char *const *choices, int *value, struct err *err)
{
    char list[256] = "";
    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *value = i;
            return true;
        }
        if (i)
            strncat(list, choices[i + 1] ? ", " : " or ", sizeof list - strlen(list) - 1);
        strncat(list, choices[i], sizeof list - strlen(list) - 1);
    }
    return err_set(err, ERR_CONFIG, "\"%s\" is none of %s", text, list);
}

void names_fini(struct names *names)
{
    for (size_t i = 0; names->each && names->each[i]; i++)
        free(names->each[i]);
    free(names->each);
    free(names->text);
    *names = (struct names){0};
}

bool names_have(const struct names *names, const char *name)
{
    for (size_t i = 0; names->each && names->each[i]; i++)
        if (strcmp(names->each[i], name) == 0)
            return true;
    return false;
}

bool names_read(struct names *names, const char *text, struct err *err)
{
    static const char blank[] = " \t", between[] = " \t,";
    struct names read = {.text = mem_string(text), .each = mem_zero((strlen(text) / 2 + 2) * sizeof(char *))};
    const char *at = text + strspn(text, blank);
    bool ok = *at || err_set(err, ERR_CONFIG, "a name expected");
    for (size_t count = 0; ok && *at; count++) {
        size_t size = strcspn(at, between);
        char *name = mem_copy(at, size);
        if (!size)
            ok = err_set(err, ERR_CONFIG, "\"%s\": a name expected before each comma", text);
        else if (names_have(&read, name))
            ok = err_set(err, ERR_CONFIG, "\"%s\" has %s twice", text, name);
        read.each[count] = name;
        at += size;
        at += strspn(at, blank);
        if (*at != ',')
            continue;
        at++;
        at += strspn(at, blank);
        if (ok && !*at)
            ok = err_set(err, ERR_CONFIG, "\"%s\": a name expected behind each comma", text);
    }
    if (ok) {
        names_fini(names);
        *names = read;
    } else {
        names_fini(&read);
    }
    return ok;
}

void names_copy(struct names *names, const struct names *from)
{
    *names = (struct names){0};
    if (from->text)
        names_read(names, from->text, &(struct err){0});
}

static bool store(const struct setting *setting, void *field, const char *text, struct err *err)
{
    int64_t number = 0;
    bool ok = true;
    switch (setting->type) {
    case SETTING_TEXT:
        free(*(char **)field);
        *(char **)field = mem_string(text);
        return true;
    case SETTING_NAMES:
        return names_read(field, text, err);
    case SETTING_RATE:
        return rate_parse(text, field, err);
    case SETTING_SHARE:
        return share_parse(text, field, err);
    case SETTING_RANGE:
        return range_parse(text, field, err);
    case SETTING_CHOICE:
        return choice_parse(text, setting->choices, field, err);
    case SETTING_INTEGER:
        ok = integer_parse(text, &number, err);
        break;
    case SETTING_DURATION:
        ok = duration_parse(text, &number, err);
        break;
    case SETTING_SIZE:
        ok = size_parse(text, &number, err);
        break;
    }
    if (!ok)
        return false;
    const char *unit = setting->type == SETTING_DURATION ? "ms"
                       : setting->type == SETTING_SIZE   ? " bytes"
                                                         : "";
    if ((setting->min || setting->max) && (number < setting->min || number > setting->max))
        return err_set(err, ERR_CONFIG, "\"%s\" is out of bounds (%" PRId64 "%s to %" PRId64 "%s)", text,
                       setting->min, unit, setting->max, unit);
    *(int64_t *)field = number;
    return true;
}

const struct setting *setting_find(const struct setting *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

bool setting_refuse(const char *name, const char *text, const char *shown, struct err *err)
{
    if (strcmp(text, shown) != 0)
        return err_set(err, ERR_CONFIG, "%s: what %s stands for is not right here", name, shown);
    err->code = ERR_CONFIG;
    return err_prefix(err, "%s", name);
}

bool setting_store(const struct setting *setting, void *object, const char *text, const char *shown,
                   struct err *err)
{
    return store(setting, (char *)object + setting->offset, text, err) ||
           setting_refuse(setting->name, text, shown, err);
}

static bool same(const struct setting *setting, const char *a, const char *b)
{
    const char *text_a, *text_b;
    switch (setting->type) {
    case SETTING_TEXT:
        text_a = *(char *const *)a;
        text_b = *(char *const *)b;
        return text_a && text_b ? strcmp(text_a, text_b) == 0 : text_a == text_b;
    case SETTING_NAMES:
        text_a = ((const struct names *)a)->text;
        text_b = ((const struct names *)b)->text;
        return text_a && text_b ? strcmp(text_a, text_b) == 0 : text_a == text_b;
    case SETTING_RANGE:
        return memcmp(a, b, 2 * sizeof(int64_t)) == 0;
    case SETTING_CHOICE:
        return *(const int *)a == *(const int *)b;
    default:
        return *(const int64_t *)a == *(const int64_t *)b;
    }
}

bool settings_same(const struct setting *table, const void *a, const void *b)
{
    for (; table->name; table++)
        if (!same(table, (const char *)a + table->offset, (const char *)b + table->offset))
            return false;
    return true;
}

void setting_names(const struct setting *table, const char **names, size_t max)
{
    size_t count = 0;
    for (; table->name && count + 1 < max; table++)
        names[count++] = table->name;
    names[count] = NULL;
}
