/* local.c: tidemill local. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/sigv4_verify.h"
#include "base/file.h"
#include "base/mem.h"
#include "cmd/cmd.h"
#include "local/server.h"
#include "net/listener.h"

#define PORT 8000
#define AUTH_BYTES_MAX 4096

struct arguments {
    int port;
    const char *data, *auth, *cors;
    int64_t table_ms, ttl_ms;
};

static const struct cmd_option known_options[] = {
    {"--port", CMD_PORT, offsetof(struct arguments, port), NULL},
    {"--data", CMD_TEXT, offsetof(struct arguments, data), "a directory"},
    {"--auth", CMD_TEXT, offsetof(struct arguments, auth), "KEY:SECRET, or the name of a file that holds it"},
    {"--cors", CMD_TEXT, offsetof(struct arguments, cors), "origins, as https://a.example,http://b.example"},
    {"--table-delay", CMD_DURATION, offsetof(struct arguments, table_ms), NULL},
    {"--ttl-delay", CMD_DURATION, offsetof(struct arguments, ttl_ms), NULL},
    {0},
};

/* Threads inherit the mask, so the signals wait for sigwait. */
static void block_signals(sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* ---- signatures ---- */

/* "KEY:SECRET", or "KEY:SECRET:TOKEN", of the argument or a file of that name; all in one text. False after
 * complaining. */
static bool read_auth(const char *argument, struct sigv4_identity *identity)
{
    struct err err;
    size_t size = 0;
    char *text = strchr(argument, ':') ? mem_string(argument)
                                       : file_read_stream(argument, AUTH_BYTES_MAX, &size, &err);
    if (!text) {
        cmd_complain("local: --auth: %s", err.text);
        return false;
    }
    text[strcspn(text, "\r\n")] = '\0';
    char *secret = strchr(text, ':'), *token = secret ? strchr(secret + 1, ':') : NULL;
    if (!secret || secret == text || !secret[1] || token == secret + 1) {
        cmd_complain("local: --auth needs KEY:SECRET, or a file that holds it");
        mem_free_secret(text);
        return false;
    }
    *secret = '\0';
    if (token)
        *token = '\0';
    *identity = (struct sigv4_identity){text, secret + 1, token && token[1] ? token + 1 : NULL};
    return true;
}

static void free_auth(struct sigv4_identity *identity)
{
    if (!identity->access_key)
        return;
    explicit_bzero((char *)identity->secret_key, strlen(identity->secret_key));
    if (identity->session_token)
        explicit_bzero((char *)identity->session_token, strlen(identity->session_token));
    free((char *)identity->access_key); /* which all stand behind */
}

/* ---- web pages ---- */

/* "*", or "https://a.example,http://b.example:3000": as a browser says where a page is from. False after
 * complaining. */
static bool check_origins(const char *list)
{
    static const char sane[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
    const char *at = list;
    while (strcmp(list, "*") != 0) {
        size_t size = strcspn(at, ",");
        size_t scheme = strncmp(at, "https://", 8) == 0 ? 8 : strncmp(at, "http://", 7) == 0 ? 7 : 0;
        if (!scheme || size == scheme || strspn(at + scheme, sane) != size - scheme) {
            cmd_complain("local: --cors: '%.*s' is not where a page is from, as https://app.example or "
                         "http://app.example:3000, without a path; * for all",
                         (int)size, at);
            return false;
        }
        if (!at[size])
            break;
        at += size + 1;
    }
    return true;
}

/* ---- calls ---- */

static const char *header_of(const void *user, const char *name)
{
    return listener_header(user, name);
}

static bool guard(void *user, const struct listener_request *request, char code[SERVER_CODE_SIZE],
                  char message[SERVER_MESSAGE_SIZE])
{
    struct clock clock = clock_system();
    struct sigv4_refusal refusal;
    char *path =
        mem_printf("%s%s%s", request->path, request->query ? "?" : "", request->query ? request->query : "");
    bool ok = sigv4_verify(user,
                           &(struct sigv4_received){.method = request->method,
                                                    .path = path,
                                                    .header = header_of,
                                                    .user = request,
                                                    .body = request->body,
                                                    .body_size = request->size,
                                                    .service = "dynamodb",
                                                    .wall_ms = clock_wall_ms(&clock)},
                           &refusal);
    free(path);
    if (!ok) {
        snprintf(code, SERVER_CODE_SIZE, "%s", refusal.code);
        snprintf(message, SERVER_MESSAGE_SIZE, "%s", refusal.message);
    }
    return ok;
}

/* ---- the command ---- */

static void announce(const struct server *server, const struct arguments *arguments)
{
    bool colour = isatty(STDOUT_FILENO);
    printf("%sDynamoDB on http://127.0.0.1:%d%s, %s", colour ? "\033[36m" : "", server_port(server),
           colour ? "\033[0m" : "", arguments->auth ? "for who signs as --auth says, " : "");
    if (arguments->data)
        printf("kept in %s\n", arguments->data);
    else
        printf("in memory: nothing is kept (--data DIR keeps it)\n");
    fflush(stdout);
}

static int run(int argc, char **argv)
{
    struct arguments arguments = {.port = PORT};
    struct clock clock = clock_system();
    struct err err;
    sigset_t signals;
    int signal;
    struct sigv4_identity identity = {0};
    if (!cmd_options(argc, argv, known_options, &arguments) ||
        (arguments.cors && !check_origins(arguments.cors)) ||
        (arguments.auth && !read_auth(arguments.auth, &identity)))
        return EXIT_USAGE;
    block_signals(&signals);
    struct engine *engine = engine_new(&(struct engine_options){.directory = arguments.data,
                                                                .clock = &clock,
                                                                .region = getenv("AWS_REGION"),
                                                                .table_ms = arguments.table_ms,
                                                                .ttl_ms = arguments.ttl_ms},
                                       &err);
    struct server *server = engine ? server_start(engine, arguments.port, arguments.cors, &err) : NULL;
    if (!server) {
        cmd_complain("%s", err.text);
        engine_free(engine);
        return EXIT_FAILED;
    }
    if (arguments.auth)
        server_set_guard(server, guard, &identity);
    announce(server, &arguments);
    sigwait(&signals, &signal);
    server_stop(server);
    engine_free(engine);
    free_auth(&identity);
    return EXIT_DONE;
}

const struct command cmd_local = {
    .name = "local",
    .arguments = "[--port N] [--data DIR] [--auth KEY:SECRET] [--cors ORIGINS] [--table-delay TIME] "
                 "[--ttl-delay TIME]",
    .summary = "only the embedded DynamoDB",
    .help =
        "A DynamoDB with streams on 127.0.0.1, for any AWS SDK: point its endpoint here, with any "
        "credentials.\n"
        "\n"
        "--port N    where to listen (8000); 0 takes a free port\n"
        "--data DIR  keep everything in DIR, safe against kill -9; without it, in memory\n"
        "--auth KEY:SECRET\n"
        "            verify signatures (Signature Version 4) as the service does: others' keys, wrong and\n"
        "            expired ones are refused. KEY:SECRET:TOKEN: with that session token; or a file that\n"
        "            holds it, so that no list of processes shows it\n"
        "--cors ORIGINS\n"
        "            web pages that may call, beside those of this machine (http://localhost:3000): where "
        "they\n"
        "            are from, as https://app.example,https://b.example:8443; * for all, as the service "
        "does\n"
        "--table-delay TIME\n"
        "            how long a table is CREATING, UPDATING and DELETING, and a new index of it is filled,\n"
        "            as 2s: for programs that have to wait for it; else at once\n"
        "--ttl-delay TIME\n"
        "            how much later than it expires an item is deleted; else within seconds. The service\n"
        "            takes up to days\n",
    .run = run,
};
