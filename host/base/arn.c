/* arn.c: see arn.h. */
#include "base/arn.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

char *table_of_arn(const char *arn, const char *fallback)
{
    const char *table = strstr(arn, ":table/"), *end;
    if (!table)
        return mem_string(fallback ? fallback : arn);
    table += strlen(":table/");
    end = strchr(table, '/');
    end = end ? end : table + strlen(table);
    const char *at = memchr(table, '@', (size_t)(end - table)); /* "keyspace@table_scylla_cdc_log" */
    static const char log[] = "_scylla_cdc_log";
    size_t size = at ? (size_t)(end - at) - 1 : 0;
    if (size > sizeof log - 1 && memcmp(end - (sizeof log - 1), log, sizeof log - 1) == 0)
        return mem_copy(at + 1, size - (sizeof log - 1));
    return mem_copy(table, (size_t)(end - table));
}

const char *snapshot_of_arn(const char *arn)
{
    const char *stream = strstr(arn, "/stream/");
    return strstr(stream ? stream : arn, ARN_SNAPSHOT);
}

char *stream_of_arn(const char *arn)
{
    const char *mark = snapshot_of_arn(arn);
    return mark ? mem_copy(arn, (size_t)(mark - arn)) : mem_string(arn);
}

char *service_arn(const char *arn)
{
    const char *mark = snapshot_of_arn(arn), *created = strstr(arn, ARN_CREATED);
    mark = created && (!mark || created < mark) ? created : mark;
    return mark ? mem_copy(arn, (size_t)(mark - arn)) : mem_string(arn);
}

char *region_of_arn(const char *arn)
{
    for (int colons = 0; arn && colons < 3; colons++)
        arn = strchr(arn, ':') ? strchr(arn, ':') + 1 : NULL;
    size_t size = arn ? strcspn(arn, ":") : 0;
    return size ? mem_copy(arn, size) : NULL;
}
