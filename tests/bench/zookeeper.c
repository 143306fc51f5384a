/* Load on ZooKeeper: set, or sync and get, through the asynchronous calls of its own C client. Usage: load.h. Needs
 * libzookeeper_st, the client for one thread.
 *
 * A session's requests are answered in order, so a get that is sent right behind a sync sees all that was written before. */
#include <poll.h>
#include <sys/time.h>
#include <zookeeper/zookeeper.h>

#include "load.h"

#define ROOT "/bench"
#define PATH_BYTES 32
#define SESSION_MS 10000

struct call {
    zhandle_t *session;
    uint64_t sent_ns;
    /* The sync in front of a get succeeded. */
    bool synced;
};

static zhandle_t *sessions[CONNECTIONS_MAX];
static struct call calls[IN_FLIGHT_MAX];
/* Calls that wait until the other calls have prepared the last keys. */
static struct call *resting[IN_FLIGHT_MAX];
static int resting_count;

static void send_next(struct call *call);

static void end(const void *context, bool succeeded) {
    struct call *call = (struct call *)context;
    load_ended(call->sent_ns, succeeded);
    send_next(call);
}

static void on_created(int code, const char *name, const void *context) {
    (void)name;
    end(context, code == ZOK || code == ZNODEEXISTS);
}

static void on_set(int code, const struct Stat *stat, const void *context) {
    (void)stat;
    end(context, code == ZOK);
}

static void on_synced(int code, const char *path, const void *context) {
    (void)path;
    ((struct call *)context)->synced = code == ZOK;
}

static void on_got(int code, const char *value, int value_bytes, const struct Stat *stat, const void *context) {
    (void)stat;
    bool synced = ((const struct call *)context)->synced;
    end(context, synced && code == ZOK && value_bytes == VALUE_BYTES && !memcmp(value, VALUE, VALUE_BYTES));
}

static void send_next(struct call *call) {
    char path[PATH_BYTES];
    unsigned key;
    int code;
    bool prepares = load_prepare(&key);
    if (!prepares && !load_ready()) {
        resting[resting_count++] = call;
        return;
    }
    if (!prepares) key = load_key();
    snprintf(path, sizeof path, ROOT "/k%u", key);
    call->sent_ns = now_ns();
    if (prepares) {
        code = zoo_acreate(call->session, path, VALUE, VALUE_BYTES, &ZOO_OPEN_ACL_UNSAFE, 0, on_created, call);
    } else if (load.reads) {
        call->synced = false;
        code = zoo_async(call->session, path, on_synced, call);
        if (code == ZOK) code = zoo_aget(call->session, path, 0, on_got, call);
    } else {
        code = zoo_aset(call->session, path, VALUE, VALUE_BYTES, -1, on_set, call);
    }
    if (code != ZOK) die("request", zerror(code));
}

static void on_session(zhandle_t *session, int type, int state, const char *path, void *context) {
    (void)session, (void)type, (void)state, (void)path, (void)context;
}

/* Waits a moment for any of the sessions, and lets them work. */
static void turn(void) {
    struct pollfd waits[CONNECTIONS_MAX];
    for (int i = 0; i < load.connections; i++) {
        int socket = -1, interest = 0;
        struct timeval wait;
        int code = zookeeper_interest(sessions[i], &socket, &interest, &wait);
        if (code != ZOK && code != ZCONNECTIONLOSS) die("session", zerror(code));
        short events = (short)((interest & ZOOKEEPER_READ ? POLLIN : 0) | (interest & ZOOKEEPER_WRITE ? POLLOUT : 0));
        waits[i] = (struct pollfd){.fd = socket, .events = events};
    }
    if (poll(waits, (nfds_t)load.connections, WAIT_MS_MAX) < 0) die("poll", "interrupted");
    for (int i = 0; i < load.connections; i++) {
        short got = waits[i].revents;
        int events = (got & (POLLIN | POLLHUP | POLLERR) ? ZOOKEEPER_READ : 0) | (got & POLLOUT ? ZOOKEEPER_WRITE : 0);
        int code = zookeeper_process(sessions[i], events);
        if (code != ZOK && code != ZNOTHING) die("session", zerror(code));
    }
}

static bool connected(void) {
    for (int i = 0; i < load.connections; i++)
        if (zoo_state(sessions[i]) != ZOO_CONNECTED_STATE) return false;
    return true;
}

static void on_root(int code, const char *name, const void *context) {
    (void)name;
    if (code != ZOK && code != ZNODEEXISTS) die(ROOT, zerror(code));
    *(bool *)context = true;
}

int main(int argc, char **argv) {
    load_parse(argc, argv);
    char server[sizeof load.host + sizeof load.port];
    snprintf(server, sizeof server, "%s:%s", load.host, load.port);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    for (int i = 0; i < load.connections; i++) {
        sessions[i] = zookeeper_init(server, on_session, SESSION_MS, NULL, NULL, 0);
        if (!sessions[i]) die(server, "can't connect");
        /* Without this it looks up the server's name in each turn. */
        zoo_set_servers_resolution_delay(sessions[i], -1);
    }
    while (!connected()) {
        turn();
        load_goes_on();
    }
    bool root_there = false;
    if (zoo_acreate(sessions[0], ROOT, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, on_root, &root_there)) die(ROOT, "can't create");
    while (!root_there) {
        turn();
        load_goes_on();
    }
    for (int i = 0; i < load.in_flight; i++) {
        calls[i].session = sessions[i % load.connections];
        send_next(&calls[i]);
    }
    while (load_goes_on()) {
        if (load_ready())
            while (resting_count > 0) send_next(resting[--resting_count]);
        turn();
    }
    return load_report();
}
