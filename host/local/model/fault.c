/* fault.c: see fault.h. */
#include "local/model/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

void fault_fini(struct fault *fault)
{
    buf_fini(&fault->message);
    buf_fini(&fault->members);
    *fault = (struct fault){0};
}

static bool set(struct fault *fault, const char *type, const char *format, va_list args)
{
    va_list again;
    if (fault->status)
        return false;
    fault->status = strcmp(type, "InternalServerError") == 0 ? 500 : 400;
    fault->type = type;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    buf_reserve(&fault->message, (size_t)size + 1);
    vsnprintf(fault->message.data, (size_t)size + 1, format, args);
    fault->message.size = (size_t)size;
    return false;
}

bool fault_set(struct fault *fault, const char *type, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(fault, type, format, args);
    va_end(args);
    return false;
}

bool fault_invalid(struct fault *fault, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(fault, "ValidationException", format, args);
    va_end(args);
    return false;
}

bool fault_unknown_operation(struct fault *fault)
{
    return fault_set(fault, "UnknownOperationException", "An unknown operation was requested.");
}

static const struct {
    const char *type, *space, *member;
} spaces[] = {
    {"ValidationException", "com.amazon.coral.validate", "message"},
    {"ThrottlingException", "com.amazon.coral.availability", "message"},
    {"SerializationException", "com.amazon.coral.service", "Message"},
    {"UnknownOperationException", "com.amazon.coral.service", "message"},
};

void fault_write(const struct fault *fault, struct buf *out)
{
    const char *space = "com.amazonaws.dynamodb.v20120810", *member = "message";
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (strcmp(fault->type, spaces[i].type) == 0) {
            space = spaces[i].space;
            member = spaces[i].member;
        }
    buf_printf(out, "{\"__type\":\"%s#%s\",\"%s\":", space, fault->type, member);
    json_write_string(out, fault->message.data ? fault->message.data : "", fault->message.size);
    if (fault->members.size)
        buf_add(out, fault->members.data, fault->members.size);
    buf_add_char(out, '}');
}
