// Peer: the baseline, a minimal server for Linux. One thread, epoll, the same reply to every request.
//
// The head and its Content-Length decide where a request ends, in however many pieces it arrives. The server closes the
// connection for bodies without a length, heads over HEAD_MAX, and clients that send requests without reading replies.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD "HTTP/1.1 200 OK\r\nx-fc-status: 200\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n"
static const char KEEP[] = HEAD "\r\nready", CLOSE[] = HEAD "connection: close\r\n\r\nready";

enum { FDS = 4096, HEAD_MAX = 16384, EVENTS = 64 };
// By descriptor. `heads` keeps incomplete heads. Of a body, only the number of missing bytes is kept.
static struct { size_t held, body; bool in_body, close; } conns[FDS];
static char heads[FDS][HEAD_MAX], buffer[2 * HEAD_MAX];

#define IS(line, name) (strncasecmp(line, name, sizeof name - 1) == 0)

static bool parse(int fd, char *line, char *end) {
    conns[fd].body = 0, conns[fd].close = false;
    while ((line = memchr(line, '\n', end - line))) {
        char *after = 0;
        switch (*++line | ' ') {
        case 'c':
            if (IS(line, "content-length:")) {
                conns[fd].body = strtoul(line + 15, &after, 10);
                if (*after != '\r') return false;
            }
            conns[fd].close |= IS(line, "connection: close");
            break;
        case 't':
            if (IS(line, "transfer-encoding:")) return false;
        }
    }
    return conns[fd].in_body = true;
}

static bool reply(int fd) {
    const char *text = conns[fd].close ? CLOSE : KEEP;
    ssize_t size = conns[fd].close ? sizeof CLOSE - 1 : sizeof KEEP - 1;
    conns[fd].in_body = false;
    return send(fd, text, size, MSG_NOSIGNAL) == size && !conns[fd].close;
}

// Returns whether the connection stays open.
static bool serve(int fd) {
    memcpy(buffer, heads[fd], conns[fd].held);
    ssize_t got = read(fd, buffer + conns[fd].held, HEAD_MAX);
    if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    char *at = buffer, *end = buffer + conns[fd].held + got, *last;
    while (at < end) {
        if (!conns[fd].in_body) {
            if (!(last = memmem(at, end - at, "\r\n\r\n", 4))) break;
            if (!parse(fd, at, last + 2)) return false;
            at = last + 4;
        }
        size_t there = end - at, taken = conns[fd].body < there ? conns[fd].body : there;
        at += taken;
        if ((conns[fd].body -= taken) == 0 && !reply(fd)) return false;
    }
    if (end - at > HEAD_MAX) return false;
    memcpy(heads[fd], at, conns[fd].held = end - at);
    return true;
}

int main(void) {
    const char *port = getenv("FC_SERVER_PORT");
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 9000) };
    struct epoll_event event = { .events = EPOLLIN }, events[EVENTS];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // accepted sockets inherit this
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) || listen(listener, 1024)) return 1;
    int poll = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = listener;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event)) return 1;
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                if (!serve(fd)) close(fd);
            } else if ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                if (fd < FDS) memset(&conns[fd], 0, sizeof conns[fd]);
                event.data.fd = fd;
                if (fd >= FDS || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) close(fd);
            }
        }
    }
}
