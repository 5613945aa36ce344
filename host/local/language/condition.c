/* condition.c: a condition as a whole: read, then checked. */
#include "local/language/expression_parser.h"

struct expr *condition_parse(struct placeholders *placeholders, const char *parameter, struct text source)
{
    struct parser parser;
    parser_begin(&parser, placeholders, parameter, source);
    if (!parser_has_size(&parser, source))
        return NULL;
    struct expr *expr = parser_condition(&parser);
    parser.resolving = parser.typing = true;
    return expr && parser_expect_end(&parser) && check_words(&parser, expr, PLACE_CONDITION) &&
                   check_condition(&parser, expr)
               ? expr
               : NULL;
}
