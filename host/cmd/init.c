/* init.c: tidemill init: a new deployment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/cmd.h"

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
                            "  \"workspace.library\": [\"" TIDEMILL_LUA "\"],\n"
                            "  \"workspace.checkThirdParty\": false,\n"
                            "  \"diagnostics.globals\": [\"tidemill\"]\n"
                            "}\n";

static const struct {
    const char *path, *text;
} files[] = {{"tidemill.ini", ini},
             {"scripts/orders.lua", script},
             {"scripts/orders_test.lua", test},
             {"events/insert.json", event},
             {".luarc.json", luarc}};
#define FILE_COUNT (sizeof files / sizeof *files)

static bool make_directory(const char *directory, const char *name)
{
    char *path = *name ? mem_printf("%s/%s", directory, name) : mem_string(directory);
    bool ok = mkdir(path, 0755) == 0 || errno == EEXIST;
    if (!ok)
        cmd_complain("cannot make %s: %s", path, strerror(errno));
    free(path);
    return ok;
}

/* Never over a file that is there. */
static bool write_file(const char *directory, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", directory, name);
    FILE *file = fopen(path, "wx");
    bool ok = file && fputs(text, file) >= 0;
    ok = file && fclose(file) == 0 && ok;
    if (ok)
        printf("  %s\n", path);
    else
        cmd_complain("cannot write %s: %s", path, strerror(errno));
    free(path);
    return ok;
}

static bool anything_there(const char *directory)
{
    bool there = false;
    for (size_t i = 0; i < FILE_COUNT; i++) {
        char *path = mem_printf("%s/%s", directory, files[i].path);
        if (access(path, F_OK) == 0) {
            cmd_complain("%s is there already; nothing was written", path);
            there = true;
        }
        free(path);
    }
    return there;
}

static int run(int argc, char **argv)
{
    static const struct cmd_option options[] = {{"DIR", CMD_OPERAND, 0, NULL}, {0}};
    const char *directory = NULL;
    if (!cmd_options(argc, argv, options, &directory))
        return EXIT_USAGE;
    directory = directory ? directory : ".";
    if (anything_there(directory))
        return EXIT_FAILED;
    if (!make_directory(directory, "") || !make_directory(directory, "scripts") ||
        !make_directory(directory, "events"))
        return EXIT_FAILED;
    for (size_t i = 0; i < FILE_COUNT; i++)
        if (!write_file(directory, files[i].path, files[i].text))
            return EXIT_FAILED;
    printf("Try: cd %s && tidemill check && tidemill test && tidemill dev\n", directory);
    return EXIT_DONE;
}

const struct command cmd_init = {
    .name = "init",
    .arguments = "[DIR]",
    .summary = "a new deployment: INI, a handler, its test",
    .help = "Writes tidemill.ini, scripts/orders.lua and its test, events/insert.json and .luarc.json (for "
            "editors with\n"
            "lua-language-server) into DIR, by default the current directory. A file that is there stays.\n",
    .run = run,
};
