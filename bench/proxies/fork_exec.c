// Starts its arguments as a child and waits for its end: the least that a program which starts another one costs.
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 2) return 2;
    pid_t child = fork();
    if (child < 0) return 126;
    if (child == 0) {
        execv(words[1], words + 1);
        _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) < 0) return 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
