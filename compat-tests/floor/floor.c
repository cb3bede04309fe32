/*
 * The floor of a benchmark: a container monitor that does nothing but what any must, with one system call for each thing
 * that has to be done, and looks at nothing twice. It understands as much of the command line as the benchmark uses and is
 * measured like any other monitor. It checks nothing and survives nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *runtime, *bundle, *pid_file, *cid, *log_path, *exit_dir, *own_pid_file, *spec;
static int log_fd = -1, journal = -1, listener = -1, client = -1;

static void read_command_line(char **word) {
    struct { const char *name, **value; } known[] = {
        {"-r", &runtime}, {"-b", &bundle}, {"-p", &pid_file}, {"-c", &cid}, {"-l", &log_path},
        {"--exit-dir", &exit_dir}, {"--conmon-pidfile", &own_pid_file}, {"--exec-process-spec", &spec},
    };
    for (; *word; word++)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strcmp(*word, known[i].name)) *known[i].value = word[1];
}

static void write_file(const char *path, int number) {
    char text[16];
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    write(fd, text, sprintf(text, "%d", number));
    close(fd);
}

static struct sockaddr_un address(const char *directory, const char *name) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/%s", directory, name);
    return at;
}

static void open_log(void) {
    if (!strncmp(log_path, "k8s-file:", 9)) {
        log_fd = open(log_path + 9, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    } else {
        struct sockaddr_un at = address("/run/systemd/journal", "socket");
        journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        connect(journal, (struct sockaddr *)&at, sizeof at);
    }
}

static void listen_for_clients(void) {
    struct sockaddr_un at = address(bundle, "attach");
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    bind(listener, (struct sockaddr *)&at, sizeof at);
    listen(listener, 10);
}

/* One line: to the log with a time stamp, or to the journal, and to the client. */
static void pass_on(char *text, size_t length) {
    static char head[] = "2026-01-01T00:00:00.000000000+00:00 stdout F ";
    static char fields[] = "PRIORITY=6\nCODE_FUNC=write_journald\nCONTAINER_ID_FULL=0123456789abcdef0123456789abcdef\n"
                           "CONTAINER_ID=0123456789ab\nCONTAINER_NAME=bench\nSYSLOG_IDENTIFIER=0123456789ab\n";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int at = 28, left = now.tv_nsec; at > 19; at--, left /= 10) head[at] = '0' + left % 10;
    if (log_fd >= 0) writev(log_fd, (struct iovec[]){{head, sizeof head - 1}, {text, length}}, 2);
    if (journal >= 0) {
        struct iovec entry[] = {{"MESSAGE=", 8}, {text, length}, {fields, sizeof fields - 1}};
        struct msghdr message = {.msg_iov = entry, .msg_iovlen = 3};
        sendmsg(journal, &message, MSG_NOSIGNAL);
    }
    if (client >= 0) {
        struct iovec packet[] = {{"\2", 1}, {text, length}};
        struct msghdr message = {.msg_iov = packet, .msg_iovlen = 2};
        sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void report(int number) {
    char text[32];
    write(atoi(getenv("_OCI_SYNCPIPE")), text, sprintf(text, "{\"data\": %d}\n", number));
}

static int start_container(int out) {
    char *create[] = {(char *)runtime, "create", "--bundle", (char *)bundle, "--pid-file", (char *)pid_file, (char *)cid, 0};
    char *exec[] = {(char *)runtime, "exec", "--pid-file", (char *)pid_file, "--process", (char *)spec, "--detach", (char *)cid, 0};
    char text[16] = "";
    pid_t child = vfork();
    if (!child) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, 0);
        dup2(out, 1);
        dup2(out, 2);
        execv(runtime, spec ? exec : create);
        _exit(127);
    }
    close(out);
    waitpid(child, 0, 0);
    int fd = open(pid_file, O_RDONLY | O_CLOEXEC);
    read(fd, text, sizeof text - 1);
    close(fd);
    return atoi(text);
}

int main(int count, char **word) {
    (void)count;
    read_command_line(word);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out[2];
    open_log();
    pid_t child = fork();
    if (child) {
        write_file(own_pid_file, child);
        _exit(0);
    }
    setsid();
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, 0);
    int signals = signalfd(-1, &chld, SFD_CLOEXEC);
    listen_for_clients();
    pipe2(out, O_CLOEXEC);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    int container = start_container(out[1]), status = 0;
    report(container);

    static char buffer[8192];
    struct signalfd_siginfo signal;
    ssize_t length;
    struct pollfd fds[] = {{signals, POLLIN, 0}, {out[0], POLLIN, 0}, {listener, POLLIN, 0}};
    for (;;) {
        poll(fds, 3, -1);
        if (fds[2].revents) client = accept4(listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fds[1].revents && (length = read(out[0], buffer, sizeof buffer)) > 0) pass_on(buffer, length);
        else if (fds[1].revents) fds[1].fd = -1;
        if (fds[0].revents) {
            read(signals, &signal, sizeof signal);
            if (waitpid(container, &status, WNOHANG) == container) break;
        }
    }
    while ((length = read(out[0], buffer, sizeof buffer)) > 0) pass_on(buffer, length);
    if (log_fd >= 0) fsync(log_fd);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char temporary[4096], final[4096];
    snprintf(temporary, sizeof temporary, "%s/.new", exit_dir);
    snprintf(final, sizeof final, "%s/%s", exit_dir, cid);
    write_file(temporary, code);
    rename(temporary, final);
    if (spec) report(code);
    return 0;
}
