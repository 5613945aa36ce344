/* table_key.c: "customer, jobId:N" of a [table] section. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/config.h"

void config_key_fini(struct config_key *key)
{
    for (size_t i = 0; i < key->count; i++)
        free(key->names[i]);
    *key = (struct config_key){0};
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* One attribute up to the comma or the end. */
static bool parse_attribute(const char **at, struct config_key *key, struct err *err)
{
    const char *start = skip_blanks(*at);
    size_t size = strcspn(start, ",:");
    const char *after = start + size;
    char type = 'S';
    if (*after == ':') {
        type = (char)toupper((unsigned char)*skip_blanks(after + 1));
        after = skip_blanks(after + 1);
        if (!type || !strchr("SNB", type))
            return err_set(err, ERR_CONFIG, "the type behind \":\" must be S, N or B");
        after = skip_blanks(after + 1);
    }
    while (size && (start[size - 1] == ' ' || start[size - 1] == '\t'))
        size--;
    if (!size)
        return err_set(err, ERR_CONFIG, "an attribute's name is missing");
    if (*after && *after != ',')
        return err_set(err, ERR_CONFIG, "\",\" expected before \"%s\"", after);
    key->types[key->count] = type;
    key->names[key->count++] = mem_copy(start, size);
    *at = *after ? after + 1 : after;
    return true;
}

bool config_key_parse(const char *text, struct config_key *key, struct err *err)
{
    *key = (struct config_key){0};
    do {
        if (key->count == 2)
            return err_set(err, ERR_CONFIG, "\"%s\" has more than two attributes", text);
        if (!parse_attribute(&text, key, err))
            return false;
    } while (*text);
    return key->count < 2 || strcmp(key->names[0], key->names[1]) != 0 ||
           err_set(err, ERR_CONFIG, "the two attributes are the same");
}
