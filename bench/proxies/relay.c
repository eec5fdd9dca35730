// Passes bytes on between each client and a connection of its own to 127.0.0.1:argv[2]; knows nothing of HTTP. It reads
// and writes each message once, so what it costs is what the kernel takes for any proxy over TCP.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096 };
static int other[DESCRIPTORS];
static int poller;

static struct sockaddr_in local(const char *port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event);
}

static void take(int listener, const char *port) {
    struct sockaddr_in program = local(port);
    int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (client < 0) return;
    if (server < 0 || client >= DESCRIPTORS || server >= DESCRIPTORS ||
        connect(server, (struct sockaddr *)&program, sizeof program) < 0) {
        close(client), close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    other[client] = server, other[server] = client;
    watch(client), watch(server);
}

static void pass_on(int from) {
    static char buffer[65536];
    int to = other[from];
    // Its pair may have ended in this very wait.
    if (to == 0) return;
    ssize_t count = recv(from, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count > 0 && send(to, buffer, count, MSG_NOSIGNAL) == count) return;
    other[from] = other[to] = 0;
    close(from), close(to);
}

int main(int count, char **words) {
    if (count != 3) return 2;
    struct rlimit limit = {DESCRIPTORS, DESCRIPTORS};
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in own = local(words[1]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) < 0 || listen(listener, 1024) < 0) return 1;
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(listener);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int it = events[i].data.fd;
            if (it == listener) take(listener, words[2]);
            else pass_on(it);
        }
    }
}
