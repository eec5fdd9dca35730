// Peer: the baseline's echo, a minimal server for Linux that answers with the request's body. One thread, one connection
// at a time, blocking calls: it reads a whole body into memory of its own, and then writes head and body at once.
//
// The memory for a body is mapped when its length is known and goes back after the reply. The server closes the
// connection for bodies without a length and for heads over HEAD_MAX.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONNS = 64, HEAD_MAX = 16384, SMALL = 65536, BODY_MAX = 1 << 30 };
static char small[SMALL];

#define IS(line, name) (strncasecmp(line, name, sizeof name - 1) == 0)

// The body's length, and whether the request is the last one.
static size_t parse(char *line, char *end, bool *is_last) {
    size_t bytes = 0;
    while ((line = memchr(line, '\n', end - line)) && ++line < end) {
        if ((*line | ' ') != 'c') continue;
        if (IS(line, "content-length:")) bytes = strtoul(line + 15, 0, 10);
        *is_last |= IS(line, "connection: close");
    }
    return bytes;
}

static bool write_all(int fd, struct iovec *pieces) {
    while (pieces[0].iov_len + pieces[1].iov_len > 0) {
        struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 2 };
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        for (int i = 0; i < 2; i++) {
            size_t part = (size_t)sent < pieces[i].iov_len ? (size_t)sent : pieces[i].iov_len;
            pieces[i].iov_base = (char *)pieces[i].iov_base + part;
            pieces[i].iov_len -= part, sent -= part;
        }
    }
    return true;
}

// One request and its reply. Returns whether the connection stays open.
static bool serve(int fd) {
    char head[HEAD_MAX + 1], answer[256], *end = 0;
    size_t held = 0;
    while (!end) {
        ssize_t got = held < HEAD_MAX ? read(fd, head + held, HEAD_MAX - held) : 0;
        if (got <= 0) return false;
        head[held += got] = 0; // strtoul ends there at the latest
        end = memmem(head, held, "\r\n\r\n", 4);
    }
    end += 4;
    bool is_last = false;
    size_t bytes = parse(head, end, &is_last), have = head + held - end;
    if (bytes > BODY_MAX || have > bytes) return false;
    char *body = small;
    if (bytes > SMALL) body = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (body == MAP_FAILED) return false;
    memcpy(body, end, have);
    bool good = true;
    while (good && have < bytes) {
        ssize_t got = read(fd, body + have, bytes - have);
        good = got > 0, have += good ? got : 0;
    }
    int size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nx-fc-status: 200\r\ncontent-type: "
        "application/octet-stream\r\ncontent-length: %zu\r\n%s\r\n", bytes, is_last ? "connection: close\r\n" : "");
    struct iovec pieces[2] = { { answer, size }, { body, bytes } };
    good = good && write_all(fd, pieces);
    if (body != small) munmap(body, bytes);
    return good && !is_last;
}

int main(void) {
    const char *port = getenv("FC_SERVER_PORT");
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 9000) };
    struct pollfd open[CONNS];
    int count = 1, one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // accepted sockets inherit this
    if (bind(listener, (struct sockaddr *)&addr, sizeof addr) || listen(listener, CONNS)) return 1;
    open[0] = (struct pollfd){ listener, POLLIN, 0 };
    for (;;) {
        if (poll(open, count, -1) < 0) continue;
        for (int i = count - 1; i > 0; i--)
            if (open[i].revents && !serve(open[i].fd)) close(open[i].fd), open[i] = open[--count];
        if (!open[0].revents) continue;
        int fd = accept4(listener, 0, 0, SOCK_CLOEXEC);
        if (fd >= 0 && count < CONNS) open[count++] = (struct pollfd){ fd, POLLIN, 0 };
        else if (fd >= 0) close(fd);
    }
}
