/* test_filter.c: event patterns, row by row from the documented rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "filter/filter.h"
#include "slow_pattern.h"

struct row {
    const char *pattern, *event;
    int matches;
};

static const struct row rows[] = {
    /* exact values */
    {"{'a':['x']}", "{'a':'x'}", 1},
    {"{'a':['x']}", "{'a':'X'}", 0},
    {"{'a':['x']}", "{'a':'xx'}", 0},
    {"{'a':['x']}", "{'b':'x'}", 0},
    {"{'a':['x']}", "{}", 0},
    {"{'a':['x','y']}", "{'a':'y'}", 1},
    {"{'a':['x','y']}", "{'a':'z'}", 0},
    {"{'a':['x'],'b':['y']}", "{'a':'x','b':'y'}", 1},
    {"{'a':['x'],'b':['y']}", "{'a':'x','b':'z'}", 0},
    {"{'a':['x'],'b':['y']}", "{'a':'x'}", 0},
    {"{'a':['']}", "{'a':''}", 1},
    {"{'a':['']}", "{'a':null}", 0},
    {"{'a':['']}", "{}", 0},
    {"{'a':[null]}", "{'a':null}", 1},
    {"{'a':[null]}", "{'a':''}", 0},
    {"{'a':[null]}", "{'a':'null'}", 0},
    {"{'a':[null]}", "{}", 0},
    {"{'a':[true]}", "{'a':true}", 1},
    {"{'a':[true]}", "{'a':false}", 0},
    {"{'a':[true]}", "{'a':'true'}", 0},
    {"{'a':[false]}", "{'a':false}", 1},
    {"{'a':[300]}", "{'a':300}", 1},
    {"{'a':[300]}", "{'a':300.0}", 0}, /* as documented: numbers compare as they are written */
    {"{'a':[300]}", "{'a':3.0e2}", 0},
    {"{'a':[300]}", "{'a':'300'}", 0},
    {"{'a':['300']}", "{'a':300}", 0},
    {"{'a':['\\u00e9']}", "{'a':'\u00e9'}", 1},
    {"{'a':['x\\u0000y']}", "{'a':'x\\u0000y'}", 1},
    {"{'a':['x']}", "{'a':'x\\u0000y'}", 0},
    /* nesting */
    {"{'a':{'b':['x']}}", "{'a':{'b':'x'}}", 1},
    {"{'a':{'b':['x']}}", "{'a':{'b':'y'}}", 0},
    {"{'a':{'b':['x']}}", "{'a':'x'}", 0},
    {"{'a':{'b':['x']}}", "{'a':{'c':'x'}}", 0},
    {"{'a':{'b':['x']}}", "{'b':'x'}", 0},
    {"{'a':{'b':{'c':{'d':[1]}}}}", "{'a':{'b':{'c':{'d':1}}}}", 1},
    {"{'a':['x']}", "{'a':{'x':'x'}}", 0},
    /* arrays in the event match by any element */
    {"{'a':['x']}", "{'a':['y','x']}", 1},
    {"{'a':['x']}", "{'a':['y','z']}", 0},
    {"{'a':['x','z']}", "{'a':['y','z']}", 1},
    {"{'a':['x']}", "{'a':[]}", 0},
    {"{'a':['x']}", "{'a':[['x']]}", 1},
    {"{'a':[null]}", "{'a':[1,null]}", 1},
    {"{'a':{'b':['x']}}", "{'a':[{'b':'y'},{'b':'x'}]}", 1},
    {"{'a':{'b':['x']}}", "{'a':[{'b':'y'},{'c':'x'}]}", 0},
    {"{'a':{'b':['x'],'c':['y']}}", "{'a':[{'b':'x','c':'y'}]}", 1},
    {"{'a':{'b':['x'],'c':['y']}}", "{'a':[{'b':'x'},{'c':'y'}]}", 0}, /* within one element */
    /* prefix, suffix */
    {"{'a':[{'prefix':'ab'}]}", "{'a':'abc'}", 1},
    {"{'a':[{'prefix':'ab'}]}", "{'a':'ab'}", 1},
    {"{'a':[{'prefix':'ab'}]}", "{'a':'a'}", 0},
    {"{'a':[{'prefix':'ab'}]}", "{'a':'xab'}", 0},
    {"{'a':[{'prefix':'ab'}]}", "{'a':'ABc'}", 0},
    {"{'a':[{'prefix':'1'}]}", "{'a':123}", 0},
    {"{'a':[{'prefix':{'equals-ignore-case':'ab'}}]}", "{'a':'ABc'}", 1},
    {"{'a':[{'prefix':{'equals-ignore-case':'ab'}}]}", "{'a':'xAB'}", 0},
    {"{'a':[{'suffix':'.png'}]}", "{'a':'x.png'}", 1},
    {"{'a':[{'suffix':'.png'}]}", "{'a':'.png'}", 1},
    {"{'a':[{'suffix':'.png'}]}", "{'a':'png'}", 0},
    {"{'a':[{'suffix':'.png'}]}", "{'a':'x.png.txt'}", 0},
    {"{'a':[{'suffix':{'equals-ignore-case':'.png'}}]}", "{'a':'x.PNG'}", 1},
    {"{'a':[{'suffix':'.png'}]}", "{'a':'x.PNG'}", 0},
    {"{'a':[{'prefix':'x'},{'suffix':'y'}]}", "{'a':'ay'}", 1},
    {"{'a':[{'prefix':'x'},'y']}", "{'a':'y'}", 1},
    /* equals-ignore-case */
    {"{'a':[{'equals-ignore-case':'HeLLo'}]}", "{'a':'hEllO'}", 1},
    {"{'a':[{'equals-ignore-case':'hello'}]}", "{'a':'hello!'}", 0},
    {"{'a':[{'equals-ignore-case':'hello'}]}", "{'a':5}", 0},
    {"{'a':[{'equals-ignore-case':''}]}", "{'a':''}", 1},
    /* anything-but */
    {"{'a':[{'anything-but':'x'}]}", "{'a':'y'}", 1},
    {"{'a':[{'anything-but':'x'}]}", "{'a':'x'}", 0},
    {"{'a':[{'anything-but':'x'}]}", "{}", 0},
    {"{'a':[{'anything-but':'x'}]}", "{'a':{}}", 0},
    {"{'a':[{'anything-but':'x'}]}", "{'a':null}", 1},
    {"{'a':[{'anything-but':'x'}]}", "{'a':1}", 1},
    {"{'a':[{'anything-but':['x','y']}]}", "{'a':'y'}", 0},
    {"{'a':[{'anything-but':['x','y']}]}", "{'a':'z'}", 1},
    {"{'a':[{'anything-but':['x','y']}]}", "{'a':['x','z']}", 1},
    {"{'a':[{'anything-but':['x','y']}]}", "{'a':['x','y']}", 0},
    {"{'a':[{'anything-but':5}]}", "{'a':5}", 0},
    {"{'a':[{'anything-but':5}]}", "{'a':6}", 1},
    {"{'a':[{'anything-but':[5,6]}]}", "{'a':6}", 0},
    {"{'a':[{'anything-but':[5,6]}]}", "{'a':'x'}", 1},
    {"{'a':[{'exactly':'x'}]}", "{'a':'x'}", 1},
    {"{'a':[{'exactly':'x'}]}", "{'a':'y'}", 0},
    {"{'a':[{'anything-but':{'prefix':'ab'}}]}", "{'a':'abc'}", 0},
    {"{'a':[{'anything-but':{'prefix':'ab'}}]}", "{'a':'xbc'}", 1},
    {"{'a':[{'anything-but':{'prefix':['ab','cd']}}]}", "{'a':'cde'}", 0},
    {"{'a':[{'anything-but':{'prefix':['ab','cd']}}]}", "{'a':'def'}", 1},
    {"{'a':[{'anything-but':{'suffix':'.tmp'}}]}", "{'a':'x.tmp'}", 0},
    {"{'a':[{'anything-but':{'suffix':'.tmp'}}]}", "{'a':'x.txt'}", 1},
    {"{'a':[{'anything-but':{'suffix':['.tmp','.bak']}}]}", "{'a':'x.bak'}", 0},
    {"{'a':[{'anything-but':{'equals-ignore-case':'ABC'}}]}", "{'a':'abc'}", 0},
    {"{'a':[{'anything-but':{'equals-ignore-case':['abc','def']}}]}", "{'a':'DEF'}", 0},
    {"{'a':[{'anything-but':{'equals-ignore-case':['abc','def']}}]}", "{'a':'ghi'}", 1},
    {"{'a':[{'anything-but':{'wildcard':'*/lib/*'}}]}", "{'a':'x/lib/y'}", 0},
    {"{'a':[{'anything-but':{'wildcard':'*/lib/*'}}]}", "{'a':'x/bin/y'}", 1},
    {"{'a':[{'anything-but':{'wildcard':['a*','*z']}}]}", "{'a':'xz'}", 0},
    {"{'a':[{'anything-but':{'wildcard':['a*','*z']}}]}", "{'a':'zx'}", 1},
    /* numeric */
    {"{'a':[{'numeric':['<',10]}]}", "{'a':9}", 1},
    {"{'a':[{'numeric':['<',10]}]}", "{'a':10}", 0},
    {"{'a':[{'numeric':['<=',10]}]}", "{'a':10}", 1},
    {"{'a':[{'numeric':['>',-1]}]}", "{'a':0}", 1},
    {"{'a':[{'numeric':['>',-1]}]}", "{'a':-1}", 0},
    {"{'a':[{'numeric':['>=',-1]}]}", "{'a':-1}", 1},
    {"{'a':[{'numeric':['=',300]}]}", "{'a':300.0}", 1},
    {"{'a':[{'numeric':['=',300]}]}", "{'a':3.0e2}", 1},
    {"{'a':[{'numeric':['=',300]}]}", "{'a':301}", 0},
    {"{'a':[{'numeric':['>',0,'<=',5]}]}", "{'a':5}", 1},
    {"{'a':[{'numeric':['>',0,'<=',5]}]}", "{'a':0}", 0},
    {"{'a':[{'numeric':['>',0,'<=',5]}]}", "{'a':0.001}", 1},
    {"{'a':[{'numeric':['>',0,'<=',5]}]}", "{'a':5.001}", 0},
    {"{'a':[{'numeric':['<',10]}]}", "{'a':'9'}", 0},
    {"{'a':[{'numeric':['<',10]}]}", "{'a':null}", 0},
    {"{'a':[{'numeric':['<',10]}]}", "{'a':[20,5]}", 1},
    {"{'a':[{'numeric':['<',0.3]}]}", "{'a':0.29999999999999999999999}", 1},
    {"{'a':[{'numeric':['>',123456789012345678901234567890]}]}", "{'a':123456789012345678901234567891}", 1},
    {"{'a':[{'numeric':['>',1]},'none']}", "{'a':'none'}", 1},
    /* numbers of attributes are strings in JSON */
    {"{'s':{'N':[{'numeric':['<',50]}]}}", "{'s':{'N':'49'}}", 1},
    {"{'s':{'N':[{'numeric':['<',50]}]}}", "{'s':{'N':'50'}}", 0},
    {"{'s':{'N':[{'numeric':['<',50]}]}}", "{'s':{'N':'9'}}", 1},
    {"{'s':{'N':[{'numeric':['<',50]}]}}", "{'s':{'N':'-100.5'}}", 1},
    {"{'s':{'N':[{'numeric':['>',1,'<',2]}]}}", "{'s':{'N':'1.5'}}", 1},
    {"{'s':{'N':[{'numeric':['<',50]}]}}", "{'s':{'S':'49'}}", 0},
    {"{'s':{'S':[{'numeric':['<',50]}]}}", "{'s':{'S':'49'}}", 0},
    {"{'s':{'N':[50]}}", "{'s':{'N':'50'}}", 1},
    {"{'s':{'N':[50]}}", "{'s':{'N':'50.0'}}", 1},
    {"{'s':{'N':['50']}}", "{'s':{'N':'50'}}", 1},
    {"{'s':{'N':['50']}}", "{'s':{'N':'50.0'}}", 0},
    {"{'s':{'N':[{'anything-but':[50]}]}}", "{'s':{'N':'50'}}", 0},
    {"{'s':{'N':[{'anything-but':[50]}]}}", "{'s':{'N':'51'}}", 1},
    {"{'s':{'NS':[{'numeric':['>',5]}]}}", "{'s':{'NS':['1','9']}}", 1},
    {"{'s':{'NS':[{'numeric':['>',5]}]}}", "{'s':{'NS':['1','2']}}", 0},
    {"{'s':{'N':[{'numeric':['>',12345678901234567890123456789012345677]}]}}",
     "{'s':{'N':'12345678901234567890123456789012345678'}}", 1},
    {"{'s':{'N':[{'numeric':['<',5]}]}}", "{'s':{'N':'many'}}", 0},
    /* exists */
    {"{'a':[{'exists':true}]}", "{'a':'x'}", 1},
    {"{'a':[{'exists':true}]}", "{'a':null}", 1},
    {"{'a':[{'exists':true}]}", "{'a':''}", 1},
    {"{'a':[{'exists':true}]}", "{'b':1}", 0},
    {"{'a':[{'exists':true}]}", "{'a':{'b':1}}", 0}, /* leaves only */
    {"{'a':[{'exists':true}]}", "{'a':[1]}", 1},
    {"{'a':[{'exists':true}]}", "{'a':[]}", 0},
    {"{'a':[{'exists':false}]}", "{'b':1}", 1},
    {"{'a':[{'exists':false}]}", "{'a':1}", 0},
    {"{'a':[{'exists':false}]}", "{'a':null}", 0},
    {"{'a':[{'exists':false}]}", "{'a':{'b':1}}", 1},
    {"{'a':[{'exists':false}]}", "{'a':[]}", 1},
    {"{'a':{'b':[{'exists':false}]}}", "{}", 1},
    {"{'a':{'b':[{'exists':false}]}}", "{'a':'x'}", 1},
    {"{'a':{'b':[{'exists':false}]}}", "{'a':{'b':'x'}}", 0},
    {"{'a':{'b':[{'exists':false}],'c':['x']}}", "{}", 0},
    {"{'a':['x',{'exists':false}]}", "{}", 1},
    {"{'a':['x',{'exists':false}]}", "{'a':'x'}", 1},
    {"{'a':['x',{'exists':false}]}", "{'a':'y'}", 0},
    /* cidr */
    {"{'ip':[{'cidr':'10.0.0.0/24'}]}", "{'ip':'10.0.0.255'}", 1},
    {"{'ip':[{'cidr':'10.0.0.0/24'}]}", "{'ip':'10.0.1.0'}", 0},
    {"{'ip':[{'cidr':'10.0.0.128/25'}]}", "{'ip':'10.0.0.127'}", 0},
    {"{'ip':[{'cidr':'10.0.0.128/25'}]}", "{'ip':'10.0.0.200'}", 1},
    {"{'ip':[{'cidr':'0.0.0.0/0'}]}", "{'ip':'1.2.3.4'}", 1},
    {"{'ip':[{'cidr':'10.1.2.3/32'}]}", "{'ip':'10.1.2.3'}", 1},
    {"{'ip':[{'cidr':'10.0.0.0/24'}]}", "{'ip':'10.0.0'}", 0},
    {"{'ip':[{'cidr':'10.0.0.0/24'}]}", "{'ip':'::1'}", 0},
    {"{'ip':[{'cidr':'2001:db8::/32'}]}", "{'ip':'2001:db8:1::5'}", 1},
    {"{'ip':[{'cidr':'2001:db8::/32'}]}", "{'ip':'2001:db9::'}", 0},
    /* wildcard */
    {"{'a':[{'wildcard':'*'}]}", "{'a':''}", 1},
    {"{'a':[{'wildcard':'a*c'}]}", "{'a':'abbbc'}", 1},
    {"{'a':[{'wildcard':'a*c'}]}", "{'a':'ac'}", 1},
    {"{'a':[{'wildcard':'a*c'}]}", "{'a':'acd'}", 0},
    {"{'a':[{'wildcard':'*.txt'}]}", "{'a':'x.txt'}", 1},
    {"{'a':[{'wildcard':'a*b*c'}]}", "{'a':'a1b2b3c'}", 1},
    {"{'a':[{'wildcard':'a*b*c'}]}", "{'a':'a1c2b'}", 0},
    {"{'a':[{'wildcard':'abc'}]}", "{'a':'abc'}", 1},
    {"{'a':[{'wildcard':'a\\\\*c'}]}", "{'a':'a*c'}", 1},
    {"{'a':[{'wildcard':'a\\\\*c'}]}", "{'a':'abc'}", 0},
    {"{'a':[{'wildcard':'a\\\\\\\\*'}]}", "{'a':'a\\\\x'}", 1},
    {"{'a':[{'wildcard':'*a*a*a*a*b'}]}", "{'a':'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}", 0},
    /* $or */
    {"{'$or':[{'a':['x']},{'b':['y']}]}", "{'a':'x'}", 1},
    {"{'$or':[{'a':['x']},{'b':['y']}]}", "{'b':'y'}", 1},
    {"{'$or':[{'a':['x']},{'b':['y']}]}", "{'a':'y','b':'x'}", 0},
    {"{'c':[1],'$or':[{'a':['x']},{'b':['y']}]}", "{'c':1,'b':'y'}", 1},
    {"{'c':[1],'$or':[{'a':['x']},{'b':['y']}]}", "{'c':2,'b':'y'}", 0},
    {"{'d':{'$or':[{'a':['x']},{'b':{'e':['y']}}]}}", "{'d':{'b':{'e':'y'}}}", 1},
    {"{'$or':[{'$or':[{'a':[1]},{'b':[1]}]},{'c':[1]}]}", "{'b':1}", 1},
    {"{'$or':['x','y']}", "{'$or':'y'}", 1}, /* an ordinary name */
    {"{'$or':[{'prefix':'x'},{'suffix':'y'}]}", "{'$or':'ay'}", 1},
    {"{'$or':[{'a':[{'exists':false}]},{'b':['y']}]}", "{}", 1},
    /* what stands beside $or looks into the same element */
    {"{'a':{'b':[1]},'$or':[{'a':{'c':[2]}},{'a':{'c':[3]}}]}", "{'a':[{'b':1,'c':3}]}", 1},
    {"{'a':{'b':[1]},'$or':[{'a':{'c':[2]}},{'a':{'c':[3]}}]}", "{'a':[{'b':1},{'c':3}]}", 0},
    {"{'a':{'b':[1]},'$or':[{'a':{'c':[2]}},{'d':[3]}]}", "{'a':[{'b':1},{'c':2}],'d':3}", 1},
    {"{'$or':[{'a':{'b':[1]}},{'e':[1]}],'x':{'$or':[{'y':[1]},{'z':[1]}]}}", "{'e':1,'x':{'z':1}}", 1},
    /* refused */
    {"{}", "", -1},
    {"[]", "", -1},
    {"'x'", "", -1},
    {"{'a':'x'}", "", -1},
    {"{'a':1}", "", -1},
    {"{'a':null}", "", -1},
    {"{'a':[]}", "", -1},
    {"{'a':{}}", "", -1},
    {"{'a':[['x']]}", "", -1},
    {"{'a':[{}]}", "", -1},
    {"{'a':[{'prefix':'x','suffix':'y'}]}", "", -1},
    {"{'a':[{'like':'x'}]}", "", -1},
    {"{'a':[{'prefix':5}]}", "", -1},
    {"{'a':[{'prefix':''}]}", "", -1},
    {"{'a':[{'prefix':['x']}]}", "", -1},
    {"{'a':[{'exists':'yes'}]}", "", -1},
    {"{'a':[{'numeric':['<']}]}", "", -1},
    {"{'a':[{'numeric':['<','5']}]}", "", -1},
    {"{'a':[{'numeric':['!=',5]}]}", "", -1},
    {"{'a':[{'numeric':['<',5,'<',6]}]}", "", -1},
    {"{'a':[{'numeric':['=',5,'<',6]}]}", "", -1},
    {"{'a':[{'numeric':['>',5,'<',4]}]}", "", -1},
    {"{'a':[{'numeric':['>',5,'<',5]}]}", "", -1},
    {"{'a':[{'numeric':5}]}", "", -1},
    {"{'a':[{'wildcard':'a**b'}]}", "", -1},
    {"{'a':[{'wildcard':'a\\\\b'}]}", "", -1},
    {"{'a':[{'cidr':'10.0.0.0/33'}]}", "", -1},
    {"{'a':[{'cidr':'ten'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2.3'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2.3/'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2.3/-1'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2.3/+8'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2.3/8/8'}]}", "", -1},
    {"{'a':[{'cidr':'10.1.2/8'}]}", "", -1},
    {"{'a':[{'numeric':['<=',5,'>',0]}]}", "", -1},
    {"{'a':[{'numeric':['<',5,'>=',0]}]}", "", -1},
    {"{'a':[{'numeric':['>',1,'<',30,false]}]}", "", -1},
    {"{'a':[{'anything-but':[5,'x']}]}", "", -1},
    {"{'a':[{'anything-but':['x',5,'y']}]}", "", -1},
    {"{'a':[{'anything-but':true}]}", "", -1},
    {"{'a':[{'anything-but':null}]}", "", -1},
    {"{'a':[{'anything-but':[['x']]}]}", "", -1},
    {"{'a':[{'anything-but':{'prefix':''}}]}", "", -1},
    {"{'a':[{'anything-but':{'suffix':['x','']}}]}", "", -1},
    {"{'a':[{'anything-but':{'prefix':[1]}}]}", "", -1},
    {"{'a':[{'anything-but':{'prefix':{'equals-ignore-case':'x'}}}]}", "", -1},
    {"{'a':[{'anything-but':{'prefix':'x','suffix':'y'}}]}", "", -1},
    {"{'a':[{'anything-but':{'wildcard':5}}]}", "", -1},
    {"{'a':[{'anything-but':{'wildcard':['x','a**b']}}]}", "", -1},
    {"{'a':[{'anything-but':{'cidr':'10.0.0.0/8'}}]}", "", -1},
    {"{'a':[{'anything-but':'x','b':1}]}", "", -1},
    {"{'a':[{'exactly':5}]}", "", -1},
    {"{'a':[{'exactly':['x']}]}", "", -1},
    {"{'a':[{'suffix':''}]}", "", -1},
    {"{'a':[{'suffix':['x']}]}", "", -1},
    {"{'a':[{'equals-ignore-case':['x']}]}", "", -1},
    {"{'a':[{'prefix':{'equals-ignore-case':['x']}}]}", "", -1},
    {"{'a':[{'prefix':{'equals-ignore-case':'x','b':'y'}}]}", "", -1},
    {"{'a':[{'prefix':{'wildcard':'x'}}]}", "", -1},
    {"{'a':[{'wildcard':['x']}]}", "", -1},
    {"{'a':[{'wildcard':'a\\\\\\'}]}", "", -1},
    {"{'a':[{'anything-but':[]}]}", "", -1},
    {"{'a':[{'anything-but':[null]}]}", "", -1},
    {"{'a':[{'anything-but':{'numeric':['<',5]}}]}", "", -1},
    {"{'a':[{'anything-but':{'prefix':[]}}]}", "", -1},
    {"{'a':{'b':[1],'c':[2]}}", "{'a':[0,[{'b':1,'c':2}]]}", 1}, /* however deep it stands in lists */
    {"{'a':{'b':[1],'c':[2]}}", "{'a':[[{'b':1}],[{'c':2}]]}", 0},
    {"{'a':['x'],'a':['y']}", "", -1},
    {"{'dynamodb':{'Keys':{'a':{'S':['x']}}},'dynamodb':{'Keys':{'b':{'S':['y']}}}}", "", -1},
    {"{'a':['x']", "", -1},
};

/* Rows are written with ' for ". */
static const char *json_of(const char *text, char *json, size_t size)
{
    snprintf(json, size, "%s", text);
    for (char *c = json; *c; c++)
        if (*c == '\'')
            *c = '"';
    return json;
}

static void every_row_is_as_documented(void **state)
{
    char pattern[400], event[400];
    int failures = 0;
    (void)state;
    assert_true(sizeof rows / sizeof *rows >= 150);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = ARENA_INIT;
        struct err err = {0};
        int got = -1;
        json_of(rows[i].pattern, pattern, sizeof pattern);
        json_of(rows[i].event, event, sizeof event);
        struct filter *filter = filter_compile(pattern, strlen(pattern), &err);
        if (filter) {
            const struct json *root = json_parse(&arena, event, strlen(event), &err);
            got = root ? filter_match(filter, root) : -2;
        }
        if (got != rows[i].matches) {
            print_error("%s on %s gave %d %s\n", pattern, event, got, err.text);
            failures++;
        }
        filter_free(filter);
        arena_fini(&arena);
    }
    assert_int_equal(failures, 0);
}

static void a_wrong_pattern_is_refused_with_the_path_to_it(void **state)
{
    static const struct {
        const char *pattern, *error;
    } cases[] = {
        {"{'dynamodb':{'NewImage':{'n':{'N':['x',{'numeric':['<']}]}}}}",
         "dynamodb.NewImage.n.N[1].numeric: a comparison such as [\">\", 0, \"<=\", 5] expected"},
        {"{'$or':[{'a':['x']},{'b':{'c':[{'like':1}]}}]}", "$or[1].b.c[0].like: is not an operator"},
        {"{'dynamodb':{'a':['x']},'dynamodb':{'b':['y']}}", "dynamodb: is given twice"},
        {"{'a':[{'anything-but':{'prefix':5}}]}",
         "a[0].anything-but.prefix: a string, or a list of strings, expected"},
    };
    char pattern[400];
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_of(cases[i].pattern, pattern, sizeof pattern);
        assert_null(filter_compile(pattern, strlen(pattern), &err));
        assert_string_equal(err.text, cases[i].error);
    }
}

static void a_records_identity_and_arn_can_be_matched(void **state)
{
    static const char record[] =
        "{\"eventName\":\"REMOVE\",\"userIdentity\":{\"Type\":\"Service\",\"PrincipalId\":"
        "\"dynamodb.amazonaws.com\"}}";
    static const struct row cases[] = {
        {"{'userIdentity':{'type':['Service'],'principalId':['dynamodb.amazonaws.com']}}", "", 1},
        {"{'userIdentity':{'Type':['Service']}}", "", 1},
        {"{'userIdentity':{'type':['User']}}", "", 0},
        {"{'eventSourceARN':[{'prefix':'arn:aws:dynamodb'}]}", "", 1},
        {"{'eventSourceARN':['other']}", "", 0},
        {"{'$or':[{'eventSourceARN':['arn:aws:dynamodb:x']},{'a':['b']}]}", "", 1},
    };
    char pattern[400];
    struct arena arena = ARENA_INIT;
    struct err err;
    (void)state;
    const struct json *root = json_parse(&arena, record, strlen(record), &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_of(cases[i].pattern, pattern, sizeof pattern);
        struct filter *filter = filter_compile(pattern, strlen(pattern), &err);
        assert_int_equal(filter_match_record(filter, root, "arn:aws:dynamodb:x"), cases[i].matches);
        filter_free(filter);
    }
    arena_fini(&arena);
}

/* Of these no record is looked at. */
static void what_an_event_s_name_rules_out_does_not_match(void **state)
{
    static const char *const names[] = {"INSERT", "MODIFY", "REMOVE"};
    static const struct {
        const char *pattern;
        bool may[3]; /* of these names */
    } cases[] = {
        {"{'eventName':['REMOVE']}", {false, false, true}},
        {"{'eventName':['MODIFY','INSERT'],'a':['b']}", {true, true, false}},
        {"{'eventName':[{'anything-but':['MODIFY']}]}", {true, false, true}},
        {"{'eventName':[{'prefix':'IN'},{'equals-ignore-case':'remove'}]}", {true, false, true}},
        {"{'eventName':[{'exists':true}]}", {true, true, true}},
        {"{'eventName':[{'exists':false}]}", {false, false, false}},
        {"{'eventName':[{'wildcard':'*E*'}],'$or':[{'a':['b']},{'c':['d']}]}", {true, false, true}},
        {"{'eventName':{'a':['b']}}", {true, true, true}},
        {"{'$or':[{'eventName':['INSERT']},{'a':['b']}]}", {true, true, true}},
        {"{'eventname':['INSERT']}", {true, true, true}},
        {"{'dynamodb':{'eventName':['INSERT']}}", {true, true, true}},
    };
    char pattern[400], text[100];
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_of(cases[i].pattern, pattern, sizeof pattern);
        struct filter *filter = filter_compile(pattern, strlen(pattern), &err);
        for (size_t name = 0; name < 3; name++) {
            struct arena arena = ARENA_INIT;
            snprintf(text, sizeof text, "{\"eventName\":\"%s\",\"a\":\"b\"}", names[name]);
            const struct json *record = json_parse(&arena, text, strlen(text), &err);
            assert_int_equal(filter_may_match(filter, names[name]), cases[i].may[name]);
            if (!cases[i].may[name])
                assert_false(filter_match_record(filter, record, "arn"));
            arena_fini(&arena);
        }
        filter_free(filter);
    }
}

static void patterns_that_match_no_record_are_found(void **state)
{
    static const struct {
        const char *pattern, *warning; /* NULL: nothing doubtful */
    } cases[] = {
        {"{'eventName':['MODIFY'],'dynamodb':{'NewImage':{'n':{'N':[{'numeric':['<',5]}]}}}}", NULL},
        {"{'dynamodb':{'OldImage':{'gone':{'S':[{'exists':false}]}}}}", NULL},
        {"{'dynamodb':{'NewImage':{'m':{'M':{'inner':{'S':['x']}}}}}}", NULL},
        {"{'userIdentity':{'type':['Service']}}", NULL},
        {"{'detail-type':['x']}", "detail-type: a stream record has no such member"},
        {"{'eventName':['UPDATE']}", "eventName: eventName is INSERT, MODIFY or REMOVE"},
        {"{'dynamodb':{'newImage':{'a':{'S':['x']}}}}",
         "dynamodb.newImage: a stream record has no such member"},
        {"{'dynamodb':{'NewImage':{'a':['x']}}}",
         "dynamodb.NewImage.a: an attribute is an object with its type"},
        {"{'dynamodb':{'Keys':{'a':{'String':['x']}}}}", "dynamodb.Keys.a.String: is not an attribute type"},
        {"{'dynamodb':{'Keys':{'a':{'S':[{'numeric':['<',5]}]}}}}",
         "numbers, which are found under N and NS only"},
        {"{'dynamodb':{'NewImage':{'a':{'BOOL':['true']}}}}", "BOOL is true or false without quotes"},
        {"{'dynamodb':{'NewImage':{'a':{'S':[true]}}}}", "true and false are found under BOOL only"},
    };
    char pattern[400];
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problems warnings = PROBLEMS_INIT;
        json_of(cases[i].pattern, pattern, sizeof pattern);
        struct filter *filter = filter_compile(pattern, strlen(pattern), &err);
        filter_review(filter, "h.lua", &warnings);
        assert_int_equal(warnings.count, cases[i].warning != NULL);
        if (warnings.count && !strstr(warnings.lines[0], cases[i].warning))
            fail_msg("%s", warnings.lines[0]);
        problems_fini(&warnings);
        filter_free(filter);
    }
}

/* ---- random patterns on random events, against the slow way ---- */

static uint64_t dice;

static int below(int limit)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (int)((dice >> 33) % (uint64_t)limit);
}

static void add_text(struct buf *out, const char *letters)
{
    buf_add_char(out, '"');
    for (int i = below(5); i > 0; i--)
        buf_add_char(out, letters[below((int)strlen(letters))]);
    buf_add_char(out, '"');
}

static void add_scalar(struct buf *out)
{
    static const char *const others[] = {"null", "true", "false", "1", "2", "-1", "1.5", "2.50", "10", "1e1"};
    if (below(2))
        add_text(out, "abA");
    else
        buf_add_text(out, others[below((int)(sizeof others / sizeof *others))]);
}

static void add_value(struct buf *out, int depth, bool arrays)
{
    int what = depth ? below(arrays ? 4 : 2) : 1;
    if (what == 1 || what == 2) {
        add_scalar(out);
        return;
    }
    buf_add_char(out, what == 3 ? '[' : '{');
    bool any = false;
    for (int i = 0; i < 5; i++) {
        if (below(5) < 2)
            continue;
        buf_add_text(out, any ? "," : "");
        any = true;
        if (what != 3)
            buf_printf(out, "\"%c\":", 'a' + i);
        add_value(out, depth - 1, arrays);
    }
    buf_add_char(out, what == 3 ? ']' : '}');
}

/* A text that is not empty. */
static void add_affix(struct buf *out, const char *letters)
{
    buf_printf(out, "\"%c", letters[below((int)strlen(letters))]);
    if (below(2))
        buf_add_char(out, letters[below((int)strlen(letters))]);
    buf_add_char(out, '"');
}

static void add_wildcard(struct buf *out)
{
    bool star = false;
    buf_add_char(out, '"');
    for (int i = below(6); i > 0; i--) {
        bool now = !star && below(3) == 0;
        buf_add_char(out, now ? '*' : "abA"[below(3)]);
        star = now;
    }
    buf_add_char(out, '"');
}

static void add_numeric(struct buf *out)
{
    static const char *const lows[] = {">", ">="}, *const highs[] = {"<", "<="};
    if (below(3) == 0)
        buf_printf(out, "[\"=\",%d]", below(4) - 1);
    else if (below(2))
        buf_printf(out, "[\"%s\",%d.5,\"%s\",%d]", lows[below(2)], below(3) - 1, highs[below(2)],
                   3 + below(9));
    else
        buf_printf(out, "[\"%s\",%d]", below(2) ? lows[below(2)] : highs[below(2)], below(4) - 1);
}

static void add_but(struct buf *out)
{
    static const char *const names[] = {"prefix", "suffix", "equals-ignore-case"};
    int what = below(5);
    if (what == 0) {
        add_text(out, "abA");
    } else if (what == 1) {
        buf_printf(out, "[%d,%d]", below(3), below(3));
    } else if (what == 2) {
        buf_add_text(out, "{\"wildcard\":[");
        add_wildcard(out);
        buf_add_text(out, "]}");
    } else {
        buf_printf(out, "{\"%s\":", names[below(3)]);
        buf_add_text(out, what == 3 ? "[" : "");
        add_affix(out, "abA");
        buf_add_text(out, what == 3 ? "," : "");
        if (what == 3)
            add_affix(out, "abA");
        buf_add_text(out, what == 3 ? "]}" : "}");
    }
}

static void add_matcher(struct buf *out, bool absent)
{
    switch (below(9)) {
    case 0:
        buf_add_text(out, "{\"prefix\":");
        add_affix(out, "abA");
        break;
    case 1:
        buf_add_text(out, "{\"suffix\":{\"equals-ignore-case\":");
        add_affix(out, "abAB");
        buf_add_char(out, '}');
        break;
    case 2:
        buf_add_text(out, "{\"equals-ignore-case\":");
        add_text(out, "abAB");
        break;
    case 3:
        buf_add_text(out, "{\"wildcard\":");
        add_wildcard(out);
        break;
    case 4:
        buf_add_text(out, "{\"numeric\":");
        add_numeric(out);
        break;
    case 5:
        buf_printf(out, "{\"exists\":%s", absent && below(2) ? "false" : "true");
        break;
    case 6:
        buf_add_text(out, "{\"anything-but\":");
        add_but(out);
        break;
    default:
        add_scalar(out);
        return;
    }
    buf_add_char(out, '}');
}

/* Values under a and b, within $or under e, and objects under c and d: no path is asked for twice, which the
 * bus refuses, and $or and what stands beside it look into the same objects. */
static void add_pattern(struct buf *out, int depth, bool absent, bool in_or, bool may_or)
{
    const char *keys = depth ? (in_or ? "ecd" : "abcd") : in_or ? "e" : "ab";
    int count = (int)strlen(keys), from = below(count), to = from + 1 + below(count - from);
    bool or = may_or && depth && below(4) == 0;
    buf_add_char(out, '{');
    for (int i = from; i < to; i++) {
        buf_printf(out, "%s\"%c\":", i > from ? "," : "", keys[i]);
        if (strchr("cd", keys[i])) {
            add_pattern(out, depth - 1, absent, in_or, may_or && ! or);
            continue;
        }
        buf_add_char(out, '[');
        for (int j = below(3); j >= 0; j--) {
            add_matcher(out, absent);
            buf_add_text(out, j ? "," : "");
        }
        buf_add_char(out, ']');
    }
    for (int i = 0; or &&i < 2; i++) {
        buf_add_text(out, i ? "," : ",\"$or\":[");
        add_pattern(out, depth, absent, true, false);
        buf_add_text(out, i ? "]" : "");
    }
    buf_add_char(out, '}');
}

static void it_matches_what_the_slow_way_matches(void **state)
{
    int matched = 0, compared = 0;
    (void)state;
    dice = 7;
    for (int i = 0; i < 60000; i++) {
        struct arena arena = ARENA_INIT;
        struct buf pattern = BUF_INIT, event = BUF_INIT;
        struct err err;
        bool arrays = below(2); /* what is not there below an array is another question */
        add_pattern(&pattern, 2, !arrays, false, true);
        buf_add_char(&event, '{');
        for (int j = 0; j < 5; j++) {
            buf_printf(&event, below(20) ? "%s\"%c\":" : "%s\"\\u00%02x\":", j ? "," : "", 'a' + j);
            add_value(&event, 3, arrays);
        }
        buf_add_char(&event, '}');
        const struct json *tree = json_parse(&arena, pattern.data, pattern.size, &err),
                          *root = json_parse(&arena, event.data, event.size, &err);
        struct filter *filter = filter_compile(pattern.data, pattern.size, &err);
        if (!filter || !root)
            fail_msg("%s on %s: %s", pattern.data, event.data, err.text);
        bool wanted = slow_pattern_matches(tree, root), got = filter_match(filter, root);
        if (got != wanted)
            fail_msg("%s on %s gave %d", pattern.data, event.data, got);
        matched += got;
        compared++;
        for (int depth = 0; depth < 3; depth++) { /* without a tree, of which it leaves none */
            const struct json *deferred = json_parse_deferring(&arena, event.data, event.size, depth, &err);
            const char *next = arena.next;
            if (filter_match(filter, deferred) != wanted || arena.next != next)
                fail_msg("%s on %s, deferred at %d", pattern.data, event.data, depth);
        }
        filter_free(filter);
        arena_fini(&arena);
        buf_fini(&pattern);
        buf_fini(&event);
    }
    assert_true(matched > compared / 50); /* it is a question that is answered both ways */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_as_documented),
        cmocka_unit_test(a_wrong_pattern_is_refused_with_the_path_to_it),
        cmocka_unit_test(a_records_identity_and_arn_can_be_matched),
        cmocka_unit_test(what_an_event_s_name_rules_out_does_not_match),
        cmocka_unit_test(patterns_that_match_no_record_are_found),
        cmocka_unit_test(it_matches_what_the_slow_way_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
