// Peer: nginx. This program writes nginx's configuration into a file without a name, with the port of the environment in
// it, and becomes nginx. nginx has no other way to learn its port: it takes no blocks by `-g` and no configuration by a
// pipe.
//
// nginx is one process with one thread, which starts quickest. Its own files stay unwritten: `pid` names a file that is
// never removed, and bodies are discarded before they would go to a folder.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char CONFIG[] =
    "daemon off; master_process off; %serror_log /dev/null; pid /proc/self/fd/3;\n"
    "events { worker_connections 2048; }\n"
    "http { access_log off; server_tokens off; default_type \"text/plain; charset=utf-8\";\n"
    "client_body_temp_path /dev/shm; proxy_temp_path /dev/shm; fastcgi_temp_path /dev/shm;\n"
    "uwsgi_temp_path /dev/shm; scgi_temp_path /dev/shm;\n"
    "keepalive_timeout 900s; keepalive_requests 1000000000; client_max_body_size 64m;\n"
    "server { listen 0.0.0.0:%d backlog=1024; add_header x-fc-status 200; return 200 ready; } }\n";

int main(void) {
    const char *port = getenv("FC_SERVER_PORT");
    int file = memfd_create("nginx.conf", 0);
    if (file != 3 && dup2(file, 3) != 3) return 1;
    // As root it stays root: there is no other account to become in an image. Others cannot choose.
    if (dprintf(3, CONFIG, geteuid() ? "" : "user root; ", port ? atoi(port) : 9000) < 0) return 1;
    execl(NGINX, "nginx", "-e", "/dev/null", "-c", "/proc/self/fd/3", (char *)0);
    perror(NGINX);
    return 1;
}
