/* client.c: one kind of call again and again over keep-alive connections: client PORT put|get|update|query
 * COUNT THREADS. Prints calls per second. The table is Bench: partition key p, sort key s, both strings. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ITEMS 1000

static int port, count_per_thread;
static const char *kind;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int body_for(char *body, size_t size, int number)
{
    int p = number % ITEMS / 10, s = number % 10;
    if (strcmp(kind, "put") == 0)
        return snprintf(
            body, size,
            "{\"TableName\":\"Bench\",\"Item\":{\"p\":{\"S\":\"p%d\"},\"s\":{\"S\":\"s%d\"},\"n\":{\"N\":\"%"
            "d\"},"
            "\"name\":{\"S\":\"Ball bearing 6204-2RS\"},\"price\":{\"N\":\"12.95\"},\"tags\":{\"L\":[{\"S\":"
            "\"steel\"},{\"S\":\"sealed\"}]}}}",
            p, s, number);
    if (strcmp(kind, "get") == 0)
        return snprintf(body, size,
                        "{\"TableName\":\"Bench\",\"Key\":{\"p\":{\"S\":\"p%d\"},\"s\":{\"S\":\"s%d\"}}}", p,
                        s);
    if (strcmp(kind, "update") == 0)
        return snprintf(body, size,
                        "{\"TableName\":\"Bench\",\"Key\":{\"p\":{\"S\":\"p%d\"},\"s\":{\"S\":\"s%d\"}},"
                        "\"UpdateExpression\":"
                        "\"SET n = n + :one\",\"ConditionExpression\":\"attribute_exists(p) AND n >= :zero\","
                        "\"ExpressionAttributeValues\":{\":one\":{\"N\":\"1\"},\":zero\":{\"N\":\"0\"}}}",
                        p, s);
    return snprintf(body, size,
                    "{\"TableName\":\"Bench\",\"KeyConditionExpression\":\"p = :p AND s >= "
                    ":s\",\"ExpressionAttributeValues\":{"
                    "\":p\":{\"S\":\"p%d\"},\":s\":{\"S\":\"s0\"}}}",
                    p);
}

static const char *target(void)
{
    return strcmp(kind, "put") == 0      ? "PutItem"
           : strcmp(kind, "get") == 0    ? "GetItem"
           : strcmp(kind, "update") == 0 ? "UpdateItem"
                                         : "Query";
}

/* One answer; 200 or the end. */
static void read_answer(int fd)
{
    static _Thread_local char buffer[1 << 16];
    size_t have = 0;
    for (;;) {
        ssize_t more = read(fd, buffer + have, sizeof buffer - 1 - have);
        if (more <= 0)
            die("read");
        have += (size_t)more;
        buffer[have] = '\0';
        char *end = strstr(buffer, "\r\n\r\n"), *length = end ? strcasestr(buffer, "Content-Length:") : NULL;
        if (!end || !length)
            continue;
        if (strncmp(buffer + 9, "200", 3) != 0) {
            fprintf(stderr, "%s\n", buffer);
            exit(1);
        }
        if (have >= (size_t)(end + 4 - buffer) + (size_t)atol(length + 15))
            return;
    }
}

static void *run(void *user)
{
    int start = (int)(long)user, one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = 0; i < count_per_thread; i++) {
        char body[1024], request[2048];
        int size = body_for(body, sizeof body, start + i);
        int all =
            snprintf(request, sizeof request,
                     "POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/x-amz-json-1.0\r\n"
                     "X-Amz-Target: DynamoDB_20120810.%s\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: "
                     "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, "
                     "SignedHeaders=host, Signature=0\r\nContent-Length: %d\r\n\r\n%s",
                     port, target(), size, body);
        if (write(fd, request, (size_t)all) != all)
            die("write");
        read_answer(fd);
    }
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct timespec begun, ended;
    pthread_t threads[64];
    if (argc != 5)
        return 2;
    port = atoi(argv[1]);
    kind = argv[2];
    int count = atoi(argv[4]);
    count_per_thread = atoi(argv[3]) / count;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, run, (void *)(i * 137));
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    printf("%.0f\n", count_per_thread * count / seconds);
    return 0;
}
