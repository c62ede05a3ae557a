/* Very many clients of an event stream, in one thread.
 *
 * The program knows the part of HTTP that a stream needs. It recognises events only by
 * a stamp in their data: "@", 19 digits of CLOCK_MONOTONIC in nanoseconds, "@". Pings,
 * greetings and ids have no stamp and do not count. An event counts when the empty line
 * that ends it has arrived.
 *
 * Commands are lines on standard input. Each is answered by a line of JSON:
 *
 *   to HOST PORT | unix PATH         set the server that the next clients connect to
 *   header NAME: VALUE               add a header for the next clients; "header" alone
 *                                    removes all headers
 *   connect COUNT AT_ONCE SILENT GROUPS SECONDS PATH
 *                                    open COUNT streams, at most AT_ONCE at a time;
 *                                    SILENT 1: the server sends nothing before the
 *                                    first event
 *   wait EVENTS GROUP SECONDS        wait until each client of a group (-1: of all)
 *                                    has received EVENTS events since the reset
 *   report                           report the events since the reset
 *   reset                            reset the counters; events that were stamped
 *                                    before never count
 *   close                            reset all connections, which frees their ports
 *
 * "%d" in a path becomes the group of a client, which is its number modulo GROUPS. "%d"
 * in a header becomes the client's number. If the stream of a client ends, later waits
 * fail, so a server that dies or drops a client never has a figure. The program ends
 * with its input.
 *
 * A path with "transport=websocket" is one of Socket.IO: its clients open a WebSocket,
 * connect in it, and answer pings. An event counts when its frame has arrived.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST_CLIENTS 60000
#define DIGITS 19
#define HEAD_BYTES 4096
#define BUFFER_BYTES 65536

/* 64 steps for each octave of microseconds: an error of less than 1.6 %. */
#define STEPS 64
#define BUCKETS (2 * STEPS + 57 * STEPS)

/* Slots for distinct stamps, each with the time of its last client: a power of two, of
 * which half is used. */
#define STAMP_SLOTS 32768

enum phase { CONNECTING, HEAD, BODY, ENDED };
enum framing {
    RAW,
    SIZE,
    SIZE_END,
    CHUNK,
    CHUNK_END,
    FRAME,
    FRAME_SIZE,
    FRAME_LONG_SIZE,
    PAYLOAD
};
enum goal { NOTHING, CONNECTED, RECEIVED };

struct client {
    int fd;
    uint32_t group, events;
    uint8_t phase, framing, line_is_empty, matched;
    uint8_t opcode, size_bytes, had;
    char start[2];
    uint16_t head_length;
    uint64_t chunk_left, digits, stamp, started;
    char *head;
};

struct histogram {
    uint64_t count, max, buckets[BUCKETS];
};

struct stamp {
    uint64_t stamp, count, last_us;
};

static struct client *clients;
static uint32_t count_clients, opening, streaming, ended;
static char first_error[512];

static int poller;
static struct sockaddr_storage target;
static socklen_t target_length;
static char headers[2048];

static struct histogram latency, first_byte;
static struct stamp stamps[STAMP_SLOTS];
static uint32_t stamp_order[STAMP_SLOTS / 2];
static uint32_t count_stamps;
static uint64_t count_events, count_stale, count_bytes, count_untracked, reset_at;

static enum goal goal;
static uint64_t deadline, connect_started;
static uint32_t wanted_clients, at_once, groups, wanted_events, missing;
static int silent;
static long wanted_group;
static char path[1024];

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint32_t bucket_of(uint64_t us)
{
    if (us < 2 * STEPS)
        return (uint32_t)us;
    int octave = 63 - __builtin_clzll(us);
    return (uint32_t)(2 * STEPS + (octave - 7) * STEPS + ((us >> (octave - 6)) & 63));
}

static uint64_t top_of(uint32_t bucket)
{
    if (bucket < 2 * STEPS)
        return bucket;
    uint32_t octave = (bucket - 2 * STEPS) / STEPS + 7;
    uint64_t step = (bucket - 2 * STEPS) % STEPS + STEPS;
    return ((step + 1) << (octave - 6)) - 1;
}

static void record(struct histogram *histogram, uint64_t us)
{
    histogram->count++;
    histogram->buckets[bucket_of(us)]++;
    if (us > histogram->max)
        histogram->max = us;
}

static uint64_t quantile(const struct histogram *histogram, double part)
{
    uint64_t rank = (uint64_t)(part * (double)histogram->count + 0.999999), seen = 0;
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= rank && seen)
            return top_of(bucket) < histogram->max ? top_of(bucket) : histogram->max;
    }
    return 0;
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
    printf("\"%s\": {\"count\": %" PRIu64 ", \"p50\": %" PRIu64 ", \"p99\": %" PRIu64
           ", \"max\": %" PRIu64 "}",
           name, histogram->count, quantile(histogram, 0.5), quantile(histogram, 0.99),
           histogram->max);
}

static void answer(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
    goal = NOTHING;
}

static void answer_error(const char *text)
{
    printf("{\"error\": \"");
    for (; *text; text++)
        if ((unsigned char)*text >= ' ' && *text != '"' && *text != '\\')
            putchar(*text);
    answer("\"}");
}

static void end(struct client *client, const char *why)
{
    /* First, since the reason may be part of the client's head, which is freed below. */
    if (!ended++)
        snprintf(first_error, sizeof first_error, "client %u of %u: %.400s",
                 (unsigned)(client - clients), count_clients, why);
    if (client->phase == BODY)
        streaming--;
    else if (client->phase != ENDED)
        opening--;
    client->phase = ENDED;
    close(client->fd);
    client->fd = -1;
    free(client->head);
    client->head = NULL;
}

static void note_stamp(uint64_t stamp, uint64_t us)
{
    uint32_t slot = (uint32_t)((stamp * 0x9E3779B97F4A7C15u) >> 32) % STAMP_SLOTS;
    while (stamps[slot].stamp && stamps[slot].stamp != stamp)
        slot = (slot + 1) % STAMP_SLOTS;
    if (!stamps[slot].stamp) {
        if (count_stamps == STAMP_SLOTS / 2) {
            count_untracked++;
            return;
        }
        stamps[slot].stamp = stamp;
        stamp_order[count_stamps++] = slot;
    }
    stamps[slot].count++;
    if (us > stamps[slot].last_us)
        stamps[slot].last_us = us;
}

static void count_event(struct client *client, uint64_t at)
{
    uint64_t stamp = client->stamp;
    client->stamp = 0;
    if (stamp < reset_at) {
        count_stale++;
        return;
    }
    uint64_t us = at > stamp ? (at - stamp) / 1000 : 0;
    count_events++;
    record(&latency, us);
    note_stamp(stamp, us);
    client->events++;
    if (goal == RECEIVED && client->events == wanted_events &&
        (wanted_group < 0 || client->group == (uint32_t)wanted_group))
        missing--;
}

/* Process bytes of the body, without the framing of chunks. */
static void scan(struct client *client, const char *bytes, size_t length, uint64_t at)
{
    for (size_t i = 0; i < length; i++) {
        char byte = bytes[i];
        if (client->matched) {
            if (client->matched <= DIGITS && byte >= '0' && byte <= '9') {
                client->digits = client->digits * 10 + (uint64_t)(byte - '0');
                client->matched++;
                continue;
            }
            if (client->matched == DIGITS + 1 && byte == '@') {
                client->stamp = client->digits;
                client->matched = 0;
                continue;
            }
            client->matched = 0;
        }
        if (byte == '\n') {
            if (client->line_is_empty && client->stamp)
                count_event(client, at);
            client->line_is_empty = 1;
        } else if (byte != '\r') {
            client->line_is_empty = 0;
            if (byte == '@') {
                client->matched = 1;
                client->digits = 0;
            }
        }
    }
}

static void stream(struct client *client);

/* Answer the packets of Socket.IO that expect it. The key of the mask is zero, which
 * leaves the text as it is. */
static void end_payload(struct client *client, uint64_t at)
{
    client->framing = FRAME;
    if (client->opcode == 8) {
        end(client, "the server has closed the WebSocket");
    } else if (client->start[0] == '0') {
        if (send(client->fd, "\x81\x82\0\0\0\0" "40", 8, MSG_NOSIGNAL) != 8)
            end(client, "the packet to connect could not be sent");
    } else if (client->start[0] == '2') {
        if (send(client->fd, "\x81\x81\0\0\0\0" "3", 7, MSG_NOSIGNAL) != 7)
            end(client, "a ping could not be answered");
    } else if (client->start[0] == '4' && client->start[1] == '0') {
        if (client->phase == HEAD)
            stream(client);
    } else if (client->stamp) {
        count_event(client, at);
    }
}

/* Begin a frame of the WebSocket whose size is known. Source: RFC 6455, section 5.2. */
static void begin_payload(struct client *client, uint64_t at)
{
    client->framing = PAYLOAD;
    client->had = 0;
    client->start[0] = client->start[1] = 0;
    client->stamp = 0;
    if (!client->chunk_left)
        end_payload(client, at);
}

/* Process bytes that were received after the head. */
static void take(struct client *client, const char *bytes, size_t length, uint64_t at)
{
    while (length && client->phase != ENDED) {
        char byte = *bytes;
        size_t used = 1;
        switch (client->framing) {
        case RAW:
            used = length;
            scan(client, bytes, used, at);
            break;
        case SIZE:
            if (byte >= '0' && byte <= '9')
                client->chunk_left = client->chunk_left * 16 + (uint64_t)(byte - '0');
            else if ((byte | 32) >= 'a' && (byte | 32) <= 'f')
                client->chunk_left =
                    client->chunk_left * 16 + (uint64_t)((byte | 32) - 'a' + 10);
            else
                client->framing = SIZE_END;
            if (byte != '\n')
                break;
            /* fall through */
        case SIZE_END:
            if (byte != '\n')
                break;
            client->framing = CHUNK;
            if (!client->chunk_left)
                end(client, "the last chunk has come");
            break;
        case CHUNK:
            used = length < client->chunk_left ? length : client->chunk_left;
            scan(client, bytes, used, at);
            client->chunk_left -= used;
            if (!client->chunk_left)
                client->framing = CHUNK_END;
            break;
        case CHUNK_END:
            if (byte == '\n')
                client->framing = SIZE;
            else if (byte != '\r')
                end(client, "a chunk is longer than it said");
            break;
        case FRAME:
            client->opcode = (uint8_t)byte & 15;
            client->framing = FRAME_SIZE;
            break;
        case FRAME_SIZE:
            client->chunk_left = (uint8_t)byte & 127;
            client->size_bytes = 0;
            if (client->chunk_left >= 126) {
                client->size_bytes = client->chunk_left == 126 ? 2 : 8;
                client->chunk_left = 0;
                client->framing = FRAME_LONG_SIZE;
            } else {
                begin_payload(client, at);
            }
            break;
        case FRAME_LONG_SIZE:
            client->chunk_left = client->chunk_left << 8 | (uint8_t)byte;
            if (!--client->size_bytes)
                begin_payload(client, at);
            break;
        case PAYLOAD:
            used = length < client->chunk_left ? length : client->chunk_left;
            for (size_t i = 0; i < used && client->had < 2; i++)
                client->start[client->had++] = bytes[i];
            scan(client, bytes, used, at);
            client->chunk_left -= used;
            if (!client->chunk_left)
                end_payload(client, at);
            break;
        }
        bytes += used;
        length -= used;
    }
}

static void stream(struct client *client)
{
    client->phase = BODY;
    opening--;
    streaming++;
}

/* Process bytes of the head; return how many of them belonged to it. */
static size_t take_head(struct client *client, const char *bytes, size_t length)
{
    size_t had = client->head_length;
    size_t room = HEAD_BYTES - 1 - had;
    size_t here = length < room ? length : room;
    memcpy(client->head + had, bytes, here);
    client->head[had + here] = 0;
    client->head_length = (uint16_t)(had + here);
    char *blank = strstr(client->head, "\r\n\r\n");
    if (!blank) {
        if (here < length)
            end(client, "the head of the response is too long");
        return length;
    }
    size_t used = (size_t)(blank - client->head) + 4 - had;
    blank[2] = 0;
    int status = 0;
    int is_websocket = strstr(path, "transport=websocket") != NULL;
    if (sscanf(client->head, "HTTP/1.%*d %d", &status) != 1 ||
        status != (is_websocket ? 101 : 200)) {
        *strpbrk(client->head, "\r\n") = 0;
        end(client, client->head);
        return length;
    }
    client->framing =
        strcasestr(client->head, "\r\ntransfer-encoding: chunked\r\n") ? SIZE : RAW;
    free(client->head);
    client->head = NULL;
    if (is_websocket)
        client->framing = FRAME;
    else if (client->phase == HEAD)
        stream(client);
    return used;
}

static void receive(struct client *client)
{
    static char buffer[BUFFER_BYTES];
    ssize_t got = read(client->fd, buffer, sizeof buffer);
    uint64_t at = now();
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        end(client, got ? strerror(errno) : "the stream has ended");
        return;
    }
    count_bytes += (uint64_t)got;
    size_t used = 0;
    if (client->head) {
        if (!client->head_length)
            record(&first_byte, (at - client->started) / 1000);
        used = take_head(client, buffer, (size_t)got);
    }
    if (client->phase != ENDED)
        take(client, buffer + used, (size_t)got - used, at);
}

/* Write a text with every "%d" replaced by a number. */
static size_t fill(char *to, size_t room, const char *from, uint32_t number)
{
    size_t used = 0;
    while (*from && used + 12 < room) {
        if (from[0] == '%' && from[1] == 'd') {
            used += (size_t)sprintf(to + used, "%u", number);
            from += 2;
        } else {
            to[used++] = *from++;
        }
    }
    to[used] = 0;
    return used;
}

static void ask(struct client *client)
{
    char request[4096], where[1100], extra[2100];
    fill(where, sizeof where, path, client->group);
    fill(extra, sizeof extra, headers, (uint32_t)(client - clients));
    const char *kind = strstr(path, "transport=websocket")
                           ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                           : "Accept: text/event-stream\r\n";
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", where,
                          kind, extra);
    /* A socket that has just connected accepts a request of this size at once. */
    if (send(client->fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
        end(client, "the request could not be sent");
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    client->phase = HEAD;
    /* No head will come before the first event: the sent request has to be enough. */
    if (silent)
        stream(client);
}

/* Begin to open one more stream; false if the listener has no room for it now. */
static int open_one(void)
{
    int fd = socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(first_error, sizeof first_error, "socket: %s", strerror(errno));
        ended++;
        return 0;
    }
    /* Close by a reset, so that the port can be used again at once. */
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    struct client *client = &clients[count_clients];
    memset(client, 0, sizeof *client);
    client->fd = fd;
    client->started = now();
    if (connect(fd, (struct sockaddr *)&target, target_length) && errno != EINPROGRESS) {
        if (errno == EAGAIN) {
            close(fd);
            return 0;
        }
        snprintf(first_error, sizeof first_error, "connect: %s", strerror(errno));
        ended++;
        close(fd);
        return 0;
    }
    client->group = count_clients % groups;
    client->line_is_empty = 1;
    client->head = malloc(HEAD_BYTES);
    client->phase = CONNECTING;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    count_clients++;
    opening++;
    return 1;
}

static void finish_connecting(struct client *client)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        end(client, strerror(error));
    else
        ask(client);
}

static void reset(void)
{
    memset(&latency, 0, sizeof latency);
    memset(stamps, 0, sizeof stamps);
    count_stamps = 0;
    count_events = count_stale = count_bytes = count_untracked = 0;
    for (uint32_t i = 0; i < count_clients; i++)
        clients[i].events = 0;
    reset_at = now();
}

static void close_all(void)
{
    for (uint32_t i = 0; i < count_clients; i++) {
        if (clients[i].fd >= 0)
            close(clients[i].fd);
        free(clients[i].head);
    }
    count_clients = opening = streaming = ended = 0;
    first_error[0] = 0;
    memset(&first_byte, 0, sizeof first_byte);
    reset();
}

static void report(void)
{
    printf("{\"clients\": %u, \"ended\": %u, \"events\": %" PRIu64 ", \"stale\": %" PRIu64
           ", \"bytes\": %" PRIu64 ", \"untracked\": %" PRIu64 ", ",
           count_clients, ended, count_events, count_stale, count_bytes, count_untracked);
    print_histogram("latency_us", &latency);
    printf(", \"last\": [");
    for (uint32_t i = 0; i < count_stamps; i++) {
        struct stamp *stamp = &stamps[stamp_order[i]];
        printf("%s[%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", stamp->count,
               stamp->last_us);
    }
    answer("]}");
}

static void set_target(char *words)
{
    char host[64], file[108];
    int port;
    memset(&target, 0, sizeof target);
    if (sscanf(words, "unix %107s", file) == 1) {
        struct sockaddr_un *local = (struct sockaddr_un *)&target;
        local->sun_family = AF_UNIX;
        strcpy(local->sun_path, file);
        target_length = sizeof *local;
    } else if (sscanf(words, "%63s %d", host, &port) == 2) {
        struct sockaddr_in *internet = (struct sockaddr_in *)&target;
        internet->sin_family = AF_INET;
        internet->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, host, &internet->sin_addr) != 1) {
            answer_error("the host must be an IPv4 address");
            return;
        }
        target_length = sizeof *internet;
    } else {
        answer_error("expected: to HOST PORT | to unix PATH");
        return;
    }
    answer("{}");
}

static void add_header(const char *line)
{
    if (!*line)
        headers[0] = 0;
    else if (strlen(headers) + strlen(line) + 3 > sizeof headers) {
        answer_error("too many headers");
        return;
    } else {
        strcat(strcat(headers, line), "\r\n");
    }
    answer("{}");
}

static void start_connect(const char *words)
{
    uint32_t more;
    double seconds;
    if (sscanf(words, "%u %u %d %u %lf %1023s", &more, &at_once, &silent, &groups,
               &seconds, path) != 6 ||
        !at_once || !groups || !target_length) {
        answer_error("expected: connect COUNT AT_ONCE SILENT GROUPS SECONDS PATH");
        return;
    }
    if (count_clients + more > MOST_CLIENTS) {
        answer_error("too many clients");
        return;
    }
    wanted_clients = count_clients + more;
    connect_started = now();
    deadline = connect_started + (uint64_t)(seconds * 1e9);
    goal = CONNECTED;
}

static void start_wait(const char *words)
{
    double seconds;
    if (sscanf(words, "%u %ld %lf", &wanted_events, &wanted_group, &seconds) != 3) {
        answer_error("expected: wait EVENTS GROUP SECONDS");
        return;
    }
    missing = 0;
    for (uint32_t i = 0; i < count_clients; i++)
        if ((wanted_group < 0 || clients[i].group == (uint32_t)wanted_group) &&
            clients[i].events < wanted_events)
            missing++;
    deadline = now() + (uint64_t)(seconds * 1e9);
    goal = RECEIVED;
}

static void obey(char *line)
{
    char *words = strchr(line, ' ');
    if (words)
        *words++ = 0;
    else
        words = line + strlen(line);
    if (!strcmp(line, "to"))
        set_target(words);
    else if (!strcmp(line, "header"))
        add_header(words);
    else if (!strcmp(line, "connect"))
        start_connect(words);
    else if (!strcmp(line, "wait"))
        start_wait(words);
    else if (!strcmp(line, "report"))
        report();
    else if (!strcmp(line, "reset")) {
        reset();
        answer("{}");
    } else if (!strcmp(line, "close")) {
        close_all();
        answer("{}");
    } else
        answer_error("there is no such command");
}

/* Run each command line on standard input. Exit when the input ends. */
static void listen_to_input(void)
{
    static char line[4096];
    static size_t length;
    ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
    if (got <= 0)
        exit(0);
    length += (size_t)got;
    line[length] = 0;
    char *stop;
    while ((stop = strchr(line, '\n'))) {
        *stop = 0;
        obey(line);
        length -= (size_t)(stop + 1 - line);
        memmove(line, stop + 1, length + 1);
    }
    if (length == sizeof line - 1)
        exit(1);
}

/* Answer a command if its goal has been reached, or can no longer be reached. */
static void look_at_goal(void)
{
    char text[700];
    if (goal == NOTHING)
        return;
    if (ended) {
        snprintf(text, sizeof text, "%u streams have ended; %s", ended, first_error);
        answer_error(text);
    } else if (goal == CONNECTED && count_clients == wanted_clients && !opening) {
        printf("{\"clients\": %u, \"seconds\": %.6f, ", count_clients,
               (double)(now() - connect_started) / 1e9);
        print_histogram("first_byte_us", &first_byte);
        answer("}");
    } else if (goal == RECEIVED && !missing) {
        answer("{}");
    } else if (now() > deadline) {
        if (goal == CONNECTED)
            snprintf(text, sizeof text, "only %u of %u streams are open in time",
                     streaming, wanted_clients);
        else
            snprintf(text, sizeof text, "%u of %u clients have not got %u events in time",
                     missing, count_clients, wanted_events);
        answer_error(text);
    }
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    clients = calloc(MOST_CLIENTS, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (!clients || poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event))
        return 1;
    static struct epoll_event ready[512];
    for (;;) {
        int held_up = 0;
        while (goal == CONNECTED && !ended && !held_up &&
               count_clients < wanted_clients && opening < at_once)
            held_up = !open_one();
        look_at_goal();
        int timeout = held_up ? 1 : goal == NOTHING ? -1 : 100;
        int count = epoll_wait(poller, ready, 512, timeout);
        int input = 0;
        for (int i = 0; i < count; i++) {
            struct client *client = ready[i].data.ptr;
            if (!client)
                input = 1;
            else if (client->phase == CONNECTING)
                finish_connecting(client);
            else if (client->phase != ENDED)
                receive(client);
        }
        /* After the sockets, since a command may close sockets that epoll reported. */
        if (input)
            listen_to_input();
    }
}
