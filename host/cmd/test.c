/* test.c: tidemill test. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/cmd.h"
#include "cmd/test_world.h"
#include "script/testing.h"

#define DEPTH_MAX 8
#define LOG_LINES_SHOWN 25

struct testing {
    bool tap, colour, verbose;
    size_t passed, failed, files;
    const char *only; /* tests with this in their names; NULL: all */
    size_t left_out;
    struct seen seen;               /* what handlers called */
    struct test_cover *cover;       /* likewise */
    uint64_t first_seed, last_seed; /* of --shuffle: each test once with each of them; 0: as it comes */
};

/* ---- finding files ---- */

struct paths {
    char **list;
    size_t count, capacity;
};

static bool is_test(const char *name)
{
    size_t size = strlen(name);
    return size > 9 && strcmp(name + size - 9, "_test.lua") == 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_path(struct paths *paths, char *path)
{
    mem_grow(&paths->list, &paths->capacity, paths->count, sizeof *paths->list);
    paths->list[paths->count++] = path;
}

static void find(struct paths *paths, const char *path, int depth)
{
    DIR *directory = depth < DEPTH_MAX ? opendir(path) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        char *inner =
            strcmp(path, ".") == 0 ? mem_string(entry->d_name) : mem_printf("%s/%s", path, entry->d_name);
        bool is_directory = lstat(inner, &status) == 0 && S_ISDIR(status.st_mode);
        if (is_directory)
            find(paths, inner, depth + 1);
        if (!is_directory && is_test(entry->d_name))
            add_path(paths, inner);
        else
            free(inner);
    }
    if (directory)
        closedir(directory);
}

static bool collect(struct paths *paths, const char *argument)
{
    struct stat status;
    if (stat(argument, &status) != 0) {
        cmd_complain("test: %s is not there", argument);
        return false;
    }
    if (S_ISDIR(status.st_mode))
        find(paths, argument, 0);
    else
        add_path(paths, mem_string(argument));
    return true;
}

/* ---- telling ---- */

static void print_last_lines(const char *log, const char *before, int most)
{
    const char *at = log + strlen(log);
    for (int lines = 0; at > log && lines <= most;)
        if (*--at == '\n')
            lines++;
    for (at += *at == '\n'; *at;) {
        size_t size = strcspn(at, "\n");
        printf("%s%.*s\n", before, (int)size, at);
        at += size + (at[size] == '\n');
    }
}

/* A name on a line: what a test says drives no terminal, and no reader of TAP. */
static char *printable(const char *text, bool one_line)
{
    struct buf out = BUF_INIT;
    utf8_write_printable(&out, text, strlen(text));
    for (size_t i = 0; i < out.size; i++)
        if (one_line && (out.data[i] == '\n' || out.data[i] == '\t' || out.data[i] == '#'))
            out.data[i] = ' ';
    return out.size ? buf_take(&out) : mem_string("");
}

static void print_text(const char *raw, const char *before)
{
    char *whole = printable(raw, false), *text = whole;
    while (*text) {
        size_t size = strcspn(text, "\n");
        printf("%s%.*s\n", before, (int)size, text);
        text += size + (text[size] == '\n');
    }
    free(whole);
}

static void tell(struct testing *testing, const char *path, const char *test,
                 const struct test_outcome *outcome)
{
    char *name = printable(test, true);
    size_t number = testing->passed + testing->failed + 1;
    const char *paint = !testing->colour ? "" : outcome->passed ? "\033[32m" : "\033[31m";
    const char *dim = testing->colour ? "\033[2m" : "", *plain = testing->colour ? "\033[0m" : "";
    if (testing->tap)
        printf("%sok %zu - %s: %s\n", outcome->passed ? "" : "not ", number, path, name);
    else
        printf("%s%s%s %s %s(%.0f ms)%s\n", paint, outcome->passed ? "✓" : "✗", plain, name, dim,
               outcome->real_ms, plain);
    if (!outcome->passed) {
        print_text(outcome->text ? outcome->text : "failed", testing->tap ? "# " : "    ");
    }
    if (outcome->log && (testing->verbose || !outcome->passed))
        print_last_lines(outcome->log, testing->tap ? "#   " : "      ",
                         testing->verbose ? INT_MAX : LOG_LINES_SHOWN);
    free(name);
    testing->passed += outcome->passed;
    testing->failed += !outcome->passed;
    fflush(stdout);
}

static void tell_failure(struct testing *testing, const char *path, const char *name, const char *text)
{
    struct test_outcome outcome = {.text = mem_string(text)};
    tell(testing, path, name, &outcome);
    test_outcome_fini(&outcome);
}

/* ---- running ---- */

/* What the file holds, as loaded once without a world. */
static struct script *load(const char *path, struct reactor *reactor, struct log *log,
                           struct problems *problems)
{
    static const struct testing_hooks no_hooks = {0};
    return script_load(
        &(struct script_options){.path = path, .reactor = reactor, .log = log, .testing = &no_hooks},
        problems);
}

/* Once, or with one seed after the other, until it fails. */
static void run_test(struct testing *testing, const struct test_options *once, const char *name)
{
    struct test_options options = *once;
    struct test_outcome outcome;
    double all_ms = 0;
    for (options.seed = testing->first_seed;; options.seed++) {
        test_world_run(&options, &outcome);
        all_ms += outcome.real_ms;
        if (!outcome.passed || options.seed >= testing->last_seed)
            break;
        test_outcome_fini(&outcome);
    }
    outcome.real_ms = all_ms;
    if (!outcome.passed && options.seed) {
        char *text = mem_printf("%s\n(again by --shuffle %llu)", outcome.text ? outcome.text : "failed",
                                (unsigned long long)options.seed);
        free(outcome.text);
        outcome.text = text;
    }
    tell(testing, options.path, name, &outcome);
    test_outcome_fini(&outcome);
}

static void run_tests(struct testing *testing, const char *path, struct script *script)
{
    size_t count = testing_count(script);
    const char *text = testing_deployment(script);
    char *deployment = mem_string(text ? text : "");
    struct seen seen = {0};
    if (!count || !*deployment)
        tell_failure(testing, path, "(file)",
                     count ? "no test.deployment: the test does not say which tables and handlers it needs"
                           : "no tests: test(\"name\", function() ... end) adds one");
    for (size_t i = 0; *deployment && i < count; i++) {
        char *name = mem_string(testing_name(script, i));
        if (testing->only && !strcasestr(name, testing->only)) {
            testing->left_out++;
            free(name);
            continue;
        }
        const struct test_options options = {
            .path = path, .deployment = deployment, .index = i, .seen = &seen, .cover = testing->cover};
        run_test(testing, &options, name);
        free(name);
    }
    if (!strchr(deployment, '[')) { /* of a deployment that is there, check and policy take it into account */
        char *ini = path_beside(path, deployment);
        seen_save(&seen, ini);
        free(ini);
    }
    seen_merge(&testing->seen, &seen);
    seen_fini(&seen);
    free(deployment);
}

static void run_file(struct testing *testing, const char *path)
{
    struct problems problems = PROBLEMS_INIT;
    struct clock clock = clock_system();
    struct reactor *reactor = reactor_new(&clock);
    struct log *log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR, &clock);
    testing->files++;
    if (!testing->tap)
        printf("%s%s%s\n", testing->colour ? "\033[1m" : "", path, testing->colour ? "\033[0m" : "");
    struct script *script = load(path, reactor, log, &problems);
    if (script)
        run_tests(testing, path, script);
    else
        tell_failure(testing, path, "(file)", problems.lines[0]);
    handler_release(script_handler(script));
    problems_fini(&problems);
    log_free(log);
    reactor_free(reactor);
}

static void summarize(const struct testing *testing)
{
    if (testing->tap)
        printf("1..%zu\n", testing->passed + testing->failed);
    else
        printf("%s%zu passed, %zu failed%s\n",
               !testing->colour  ? ""
               : testing->failed ? "\033[31m"
                                 : "\033[32m",
               testing->passed, testing->failed, testing->colour ? "\033[0m" : "");
    if (!testing->tap && testing->left_out)
        printf("%zu left out: --only %s\n", testing->left_out, testing->only);
}

struct arguments {
    bool tap, rights, cover, verbose;
    const char *only, *lcov, *shuffle;
    struct cmd_texts places;
};

static const struct cmd_option known_options[] = {
    {"--tap", CMD_FLAG, offsetof(struct arguments, tap), NULL},
    {"--rights", CMD_FLAG, offsetof(struct arguments, rights), NULL},
    {"--verbose", CMD_FLAG, offsetof(struct arguments, verbose), NULL},
    {"--cover", CMD_FLAG, offsetof(struct arguments, cover), NULL},
    {"--lcov", CMD_TEXT, offsetof(struct arguments, lcov), "a file"},
    {"--shuffle", CMD_TEXT, offsetof(struct arguments, shuffle), "a seed, or the first and the last: 1-100"},
    {"--only", CMD_TEXT, offsetof(struct arguments, only), "a part of tests' names"},
    {"PLACE", CMD_OPERANDS, offsetof(struct arguments, places), NULL},
    {0},
};

/* "7" or "1-100". */
static bool read_seeds(const char *text, uint64_t *first, uint64_t *last)
{
    char *end;
    bool well = *text >= '1' && *text <= '9';
    *first = *last = strtoull(text, &end, 10);
    if (well && *end == '-' && end[1] >= '1' && end[1] <= '9')
        *last = strtoull(end + 1, &end, 10);
    if (well && !*end && *first <= *last)
        return true;
    cmd_complain("test: --shuffle %s: a seed expected, or the first and the last: 1-100", text);
    return false;
}

/* What was asked for beside the tests. */
static bool tell_more(struct testing *testing, const struct arguments *arguments)
{
    struct err err;
    if (arguments->rights && !testing->tap)
        seen_print(&testing->seen, NULL);
    if (arguments->cover && !testing->tap)
        test_cover_print(testing->cover, testing->colour);
    if (!arguments->lcov || test_cover_write_lcov(testing->cover, arguments->lcov, &err))
        return true;
    cmd_complain("test: %s", err.text);
    return false;
}

static int run(int argc, char **argv)
{
    struct testing testing = {.colour = isatty(STDOUT_FILENO)};
    struct paths paths = {0};
    struct arguments arguments = {0};
    bool ok = cmd_options(argc, argv, known_options, &arguments);
    testing.tap = arguments.tap;
    testing.only = arguments.only;
    testing.verbose = arguments.verbose;
    testing.cover = arguments.cover || arguments.lcov ? test_cover_new() : NULL;
    ok = ok && (!arguments.shuffle || read_seeds(arguments.shuffle, &testing.first_seed, &testing.last_seed));
    for (size_t i = 0; ok && i < arguments.places.count; i++)
        ok = collect(&paths, arguments.places.list[i]);
    if (ok && !arguments.places.count)
        find(&paths, ".", 0);
    setenv("AWS_ACCESS_KEY_ID", "test", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "test", 1);
    unsetenv("AWS_SESSION_TOKEN");
    setenv("TIDEMILL_DEV_URL", "http://dev.test", 1);
    if (paths.count)
        qsort(paths.list, paths.count, sizeof *paths.list, compare);
    for (size_t i = 0; ok && i < paths.count; i++)
        run_file(&testing, paths.list[i]);
    bool none = ok && paths.count && testing.only && !testing.passed && !testing.failed;
    if (ok && !paths.count)
        cmd_complain("test: no *_test.lua here");
    else if (none)
        cmd_complain("test: no test has \"%s\" in its name", testing.only);
    else if (ok)
        summarize(&testing);
    bool told = !ok || tell_more(&testing, &arguments);
    seen_fini(&testing.seen);
    test_cover_free(testing.cover);
    for (size_t i = 0; i < paths.count; i++)
        free(paths.list[i]);
    free(paths.list);
    return !ok ? EXIT_USAGE : testing.failed || !paths.count || none || !told ? EXIT_FAILED : EXIT_DONE;
}

const struct command cmd_test = {
    .name = "test",
    .arguments = "[--only TEXT] [--shuffle SEED[-SEED]] [--cover] [--lcov FILE] [--rights] [--verbose] "
                 "[--tap] [DIR|FILE...]",
    .summary = "run *_test.lua against the embedded DynamoDB",
    .help =
        "Runs each test of the files *_test.lua in a world of its own: an embedded DynamoDB, the "
        "handlers beside\n"
        "the file, HTTP services that the test plays, and virtual time: a retry after a minute takes no "
        "time.\n"
        "\n"
        "    local test, dynamodb = require \"tidemill.test\", require \"tidemill.dynamodb\"\n"
        "    test.deployment [[\n"
        "      [table Products]\n"
        "      key = productId\n"
        "      [stream products]\n"
        "      table = Products\n"
        "      [handler stock_replenishment]\n"
        "      replenishment_table = Replenishment\n"
        "    ]]\n"
        "    test(\"says what must be\", function()\n"
        "      dynamodb.put(\"Products\", { productId = \"p\", stock = 5 })\n"
        "      test.settle()\n"
        "      test.equal(...)\n"
        "    end)\n"
        "\n"
        "test.deployment \"../tidemill.ini\" runs all scripts of a deployment that is there.\n"
        "`tidemill help tidemill.test` has the rest: http, aws, redis, postgres, requests,\n"
        "dead_letters, advance, redeliver, crash, hosts, seek, event, faults, split_shards. Of a test that\n"
        "fails the last records, calls and log lines are shown.\n"
        "--only TEXT runs those with this in their names.\n"
        "--shuffle SEED answers calls after times that the seed draws, so that records meet in another order "
        "at\n"
        "each call: a read and a write of two records that race are found so. --shuffle 1-100: each test "
        "with\n"
        "each seed, until one fails.\n"
        "--cover prints which lines of handlers' files never ran; --lcov FILE writes them as lcov has it.\n"
        "--rights prints what handlers called of DynamoDB's tables and of AWS, as their `tables` and "
        "`calls` would have\n"
        "it for tidemill policy.\n"
        "--verbose shows them of each test, with what log and print said.\n"
        "--tap prints the Test Anything Protocol. Exit status 1 when a test failed.\n",
    .run = run,
};
