/* The floor: the minimum that a server of event streams does.
 *
 * GET /events is answered with the head of a stream. POST /publish?count=N sends its
 * body to all streams N times, each time by one write() for each stream. Events are not
 * joined, and nothing is kept: no ids, no history, no queues. A client that does not
 * read therefore blocks all clients. Any other request is answered with "ok".
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FILES 65536
#define REQUEST_BYTES 8192
/* The longest request: one that publishes an event. */
#define MOST_BYTES (1 << 20)

static const char STREAM[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                             "Cache-Control: no-cache\r\nConnection: close\r\n\r\n";
static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static int streams[MOST_FILES], place[MOST_FILES], count_streams;

/* The bytes that each connection has sent before it became a stream. */
static char *requests[MOST_FILES];
static size_t lengths[MOST_FILES], rooms[MOST_FILES];

static void end(int fd)
{
    if (place[fd] >= 0) {
        int last = streams[--count_streams];
        streams[place[fd]] = last;
        place[last] = place[fd];
        place[fd] = -1;
    }
    free(requests[fd]);
    requests[fd] = NULL;
    close(fd);
}

static void publish(const char *body, size_t length, long times)
{
    static char event[MOST_BYTES + 16];
    size_t size = (size_t)sprintf(event, "data: %.*s\n\n", (int)length, body);
    while (times-- > 0)
        for (int i = count_streams - 1; i >= 0; i--)
            if (write(streams[i], event, size) != (ssize_t)size)
                end(streams[i]);
}

/* Answer the received request; return its length, or 0 if it is not complete. */
static size_t answer(int fd, char *request)
{
    char *body = strstr(request, "\r\n\r\n");
    if (!body)
        return 0;
    body += 4;
    char *field = strcasestr(request, "\r\ncontent-length:");
    size_t length = field && field < body ? strtoul(field + 17, NULL, 10) : 0;
    if (strlen(body) < length)
        return 0;
    if (!strncmp(request, "GET /events", 11)) {
        if (write(fd, STREAM, sizeof STREAM - 1) < 0)
            return 0;
        place[fd] = count_streams;
        streams[count_streams++] = fd;
        free(requests[fd]);
        requests[fd] = NULL;
        return 0;
    }
    if (!strncmp(request, "POST /publish?count=", 20))
        publish(body, length, atol(request + 20));
    if (write(fd, OK, sizeof OK - 1) < 0)
        return 0;
    return (size_t)(body - request) + length;
}

static void receive(int fd)
{
    char thrown_away[REQUEST_BYTES];
    if (place[fd] >= 0) {
        ssize_t got = recv(fd, thrown_away, sizeof thrown_away, MSG_DONTWAIT);
        if (!got || (got < 0 && errno != EAGAIN))
            end(fd);
        return;
    }
    if (lengths[fd] == rooms[fd] - 1 && rooms[fd] < MOST_BYTES)
        requests[fd] = realloc(requests[fd], rooms[fd] *= 2);
    char *request = requests[fd];
    /* Never wait: the descriptor may belong to another connection by now. */
    ssize_t got =
        recv(fd, request + lengths[fd], rooms[fd] - 1 - lengths[fd], MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(fd);
        return;
    }
    lengths[fd] += (size_t)got;
    request[lengths[fd]] = 0;
    size_t used;
    while ((used = answer(fd, request))) {
        lengths[fd] -= used;
        memmove(request, request + used, lengths[fd] + 1);
    }
}

static void admit(int poller, int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (fd >= MOST_FILES) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        place[fd] = -1;
        lengths[fd] = 0;
        requests[fd] = malloc(rooms[fd] = REQUEST_BYTES);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(argv[argc - 1]))};
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) ||
        listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[512];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, ready, 512, -1);
        for (int i = 0; i < count; i++)
            if (ready[i].data.fd == listener)
                admit(poller, listener);
            else
                receive(ready[i].data.fd);
    }
}
