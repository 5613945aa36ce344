/* init.c: tidemill init: a new deployment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "cmd/recipes.h"
#include "script/reference.h"

#define EDITOR ".tidemill" /* a directory */

static const char ini[] =
    "; tidemill check    tells what is wrong with this file and the scripts\n"
    "; tidemill test     runs scripts/*_test.lua\n"
    "; tidemill dev      tries it all on an embedded DynamoDB\n"
    "; tidemill run      reads the streams\n"
    "\n"
    "[host]\n"
    "scripts = scripts\n"
    "state   = sqlite:tidemill.db\n"
    "\n"
    "[aws]\n"
    "region = eu-west-1\n"
    "\n"
    "[stream orders]\n"
    "table = Orders\n"
    "; start = latest                       where a handler without a checkpoint begins\n"
    "\n"
    "[handler orders]\n"
    "events_table = OrderEvents\n"
    "\n"
    "; For dev and test only: the tables as they are in AWS.\n"
    "[table Orders]\n"
    "key = orderId\n"
    "\n"
    "[table OrderEvents]\n"
    "key    = eventId\n"
    "stream = none\n";

static const char script[] =
    "--- Runs for every change of the table Orders: each new status becomes an item of OrderEvents.\n"
    "local config = require \"tidemill.config\"\n"
    "local dynamodb = require \"tidemill.dynamodb\"\n"
    "local log = require \"tidemill.log\"\n"
    "\n"
    "---@type tidemill.Handler\n"
    "return {\n"
    "  stream = \"orders\",\n"
    "  tables = { { config.events_table, \"PutItem\" } }, -- for tidemill policy\n"
    "\n"
    "  on_insert = function(record)\n"
    "    log.info(\"a new order\", { keys = record.keys })\n"
    "  end,\n"
    "\n"
    "  on_modify = function(record)\n"
    "    if record:changed(\"status\") then\n"
    "      dynamodb.create(config.events_table, {\n"
    "        eventId = record.id, orderId = record.keys.orderId, from = record.old.status, to = "
    "record.new.status,\n"
    "      })\n"
    "    end\n"
    "  end,\n"
    "}\n";

static const char test[] = "local test, dynamodb = require \"tidemill.test\", require \"tidemill.dynamodb\"\n"
                           "\n"
                           "test.deployment \"../tidemill.ini\"\n"
                           "\n"
                           "test(\"each new status is an event\", function()\n"
                           "  for _, status in ipairs { \"new\", \"paid\", \"paid\", \"shipped\" } do\n"
                           "    dynamodb.put(\"Orders\", { orderId = \"1\", status = status })\n"
                           "  end\n"
                           "  test.settle()\n"
                           "  local events = dynamodb.scan(\"OrderEvents\")\n"
                           "  table.sort(events, function(a, b) return a.to < b.to end)\n"
                           "  test.equal(#events, 2)\n"
                           "  test.equal(events[1].from, \"new\")\n"
                           "  test.equal(events[2].to, \"shipped\")\n"
                           "end)\n";

static const char event[] =
    "{\"Records\": [{\n"
    "  \"eventID\": \"1\", \"eventName\": \"INSERT\", \"eventVersion\": \"1.1\", \"eventSource\": "
    "\"aws:dynamodb\",\n"
    "  \"awsRegion\": \"eu-west-1\",\n"
    "  \"dynamodb\": {\n"
    "    \"ApproximateCreationDateTime\": 1767225600, \"SequenceNumber\": \"100000000000000000001\", "
    "\"SizeBytes\": 40,\n"
    "    \"StreamViewType\": \"NEW_AND_OLD_IMAGES\",\n"
    "    \"Keys\": {\"orderId\": {\"S\": \"1\"}},\n"
    "    \"NewImage\": {\"orderId\": {\"S\": \"1\"}, \"status\": {\"S\": \"new\"}}\n"
    "  },\n"
    "  \"eventSourceARN\": "
    "\"arn:aws:dynamodb:eu-west-1:123456789012:table/Orders/stream/2026-01-01T00:00:00.000\"\n"
    "}]}\n";

static const char luarc[] = "{\n"
                            "  \"runtime.version\": \"Lua 5.4\",\n"
                            "  \"workspace.library\": [\"" EDITOR "/lua\"],\n"
                            "  \"workspace.checkThirdParty\": false,\n"
                            "  \"diagnostics.globals\": [\"tidemill\"]\n"
                            "}\n";

struct file {
    const char *path, *text;
    size_t size;
};

static const struct file files[] = {{"tidemill.ini", ini, sizeof ini - 1},
                                    {"scripts/orders.lua", script, sizeof script - 1},
                                    {"scripts/orders_test.lua", test, sizeof test - 1},
                                    {"events/insert.json", event, sizeof event - 1}};

/* Those on the way to a file below it, too. */
static bool make_directories(const char *directory, const char *path)
{
    char *whole = mem_printf("%s/%s", directory, path);
    bool ok = true;
    for (char *slash = strchr(whole + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = mkdir(whole, 0755) == 0 || errno == EEXIST;
        if (!ok)
            cmd_complain("cannot make %s: %s", whole, strerror(errno));
        *slash = '/';
    }
    free(whole);
    return ok;
}

/* `mode`: "wx", never over a file that is there, or "w". */
static bool write_file(const char *directory, const struct file *file, const char *mode)
{
    char *path = mem_printf("%s/%s", directory, file->path);
    FILE *stream = make_directories(directory, file->path) ? fopen(path, mode) : NULL;
    bool ok = stream && fwrite(file->text, 1, file->size, stream) == file->size;
    ok = stream && fclose(stream) == 0 && ok;
    if (!ok)
        cmd_complain("cannot write %s: %s", path, strerror(errno));
    else if (*mode == 'w' && mode[1] == 'x')
        printf("  %s\n", path);
    free(path);
    return ok;
}

static bool is_there(const char *directory, const char *name)
{
    char *path = mem_printf("%s/%s", directory, name);
    bool there = access(path, F_OK) == 0;
    if (there)
        cmd_complain("%s is there already; nothing was written", path);
    free(path);
    return there;
}

/* What editors with lua-language-server read. It is this version's, and is written anew. */
static bool write_editors(const char *directory)
{
    static const struct file ignored = {EDITOR "/.gitignore", "*\n", 2},
                             settings = {".luarc.json", luarc, sizeof luarc - 1};
    char *path, *there = mem_printf("%s/%s", directory, settings.path);
    bool ok = write_file(directory, &ignored, "w");
    size_t size;
    const char *text;
    for (size_t i = 0; ok && (text = reference_source(i, &path, &size)); i++) {
        char *below = mem_printf(EDITOR "/lua/%s", path);
        ok = write_file(directory, &(struct file){below, text, size}, "w");
        free(below);
        free(path);
    }
    ok = ok && (access(there, F_OK) == 0 || write_file(directory, &settings, "wx"));
    free(there);
    return ok;
}

/* ---- recipes ---- */

/* "; What it is for." */
static void tell_recipe(const struct recipe_file *file)
{
    size_t size = 0;
    const char *text = file->text;
    while (size < file->size && text[size] != '\n')
        size++;
    if (size && *text == ';') {
        text++;
        size--;
    }
    while (size && *text == ' ') {
        text++;
        size--;
    }
    printf("  %-20s %.*s\n", file->name, (int)size, text);
}

static int list_recipes(void)
{
    struct recipes recipes = {0};
    struct recipe_file file;
    puts("tidemill init --recipe NAME [DIR] writes one of these, by default into ./NAME:\n");
    while (recipes_next(&recipes, &file))
        if (strcmp(file.path, "tidemill.ini") == 0)
            tell_recipe(&file);
    return EXIT_DONE;
}

static bool check_recipe(const char *name, const char *directory)
{
    struct recipes recipes = {0};
    struct recipe_file file;
    bool known = false, there = false;
    while (recipes_next(&recipes, &file)) {
        known = known || strcmp(file.name, name) == 0;
        there = (strcmp(file.name, name) == 0 && is_there(directory, file.path)) || there;
    }
    if (!known)
        cmd_complain("there is no recipe %s: tidemill init --recipes lists them", name);
    return known && !there;
}

static int write_recipe(const char *name, const char *directory)
{
    struct recipes recipes = {0};
    struct recipe_file file;
    bool ok = check_recipe(name, directory), has_readme = false;
    if (!ok)
        return EXIT_FAILED;
    while (ok && recipes_next(&recipes, &file)) {
        if (strcmp(file.name, name) != 0)
            continue;
        ok = write_file(directory, &(struct file){file.path, file.text, file.size}, "wx");
        has_readme = has_readme || strcmp(file.path, "README.md") == 0;
    }
    recipes_close(&recipes);
    if (!ok || !write_editors(directory))
        return EXIT_FAILED;
    printf("Try: cd %s && tidemill check && tidemill test && tidemill dev%s\n", directory,
           has_readme ? "; README.md says more" : "");
    return EXIT_DONE;
}

/* ---- the command ---- */

struct arguments {
    const char *directory, *recipe;
    bool recipes, editor;
};

static int write_new(const char *directory)
{
    bool there = false;
    for (size_t i = 0; i < COUNT_OF(files); i++)
        there = is_there(directory, files[i].path) || there;
    if (there)
        return EXIT_FAILED;
    for (size_t i = 0; i < COUNT_OF(files); i++)
        if (!write_file(directory, &files[i], "wx"))
            return EXIT_FAILED;
    if (!write_editors(directory))
        return EXIT_FAILED;
    printf("Try: cd %s && tidemill check && tidemill test && tidemill dev\n", directory);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
{
    static const struct cmd_option options[] = {
        {"DIR", CMD_OPERAND, offsetof(struct arguments, directory), NULL},
        {"--recipe", CMD_TEXT, offsetof(struct arguments, recipe),
         "a name (tidemill init --recipes lists them)"},
        {"--recipes", CMD_FLAG, offsetof(struct arguments, recipes), NULL},
        {"--editor", CMD_FLAG, offsetof(struct arguments, editor), NULL},
        {0}};
    struct arguments arguments = {0};
    if (!cmd_options(argc, argv, options, &arguments))
        return EXIT_USAGE;
    if (arguments.recipes + arguments.editor + (arguments.recipe != NULL) > 1) {
        cmd_complain("one of --recipe, --recipes and --editor");
        return EXIT_USAGE;
    }
    if (arguments.recipes)
        return list_recipes();
    if (arguments.recipe)
        return write_recipe(arguments.recipe, arguments.directory ? arguments.directory : arguments.recipe);
    const char *directory = arguments.directory ? arguments.directory : ".";
    if (arguments.editor)
        return write_editors(directory) ? EXIT_DONE : EXIT_FAILED;
    return write_new(directory);
}

const struct command cmd_init = {
    .name = "init",
    .arguments = "[DIR] [--recipe NAME] [...]",
    .summary = "a new deployment: INI, a handler, its test",
    .help =
        "Writes tidemill.ini, scripts/orders.lua and its test, and events/insert.json into DIR, by\n"
        "default the current directory. A file that is there stays.\n"
        "\n"
        "  --recipes       lists whole deployments: a search index, a data lake, an event bus, ...\n"
        "  --recipe NAME   writes that one into DIR, by default ./NAME: INI, handler, test, events, README\n"
        "  --editor        only what editors with lua-language-server read: .luarc.json, and what\n"
        "                  scripts can call in " EDITOR "/ (anew: after an upgrade it is this version's)\n",
    .run = run,
};
