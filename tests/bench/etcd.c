/* Load on etcd: KV.Put or linearizable KV.Range as gRPC over HTTP/2. Usage: load.h. Needs libnghttp2.
 *
 * gRPC is written here by hand, on one thread with one write per burst, so that what a client library and its runtime
 * would take of the cores that the servers need is not charged to etcd. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define BODY_BYTES_MAX 64
#define BUFFER_BYTES (1 << 18)

struct connection {
    int socket;
    nghttp2_session *session;
    /* What the session wants sent and the socket did not take yet. */
    uint8_t unsent[BUFFER_BYTES];
    size_t unsent_bytes;
};

struct call {
    struct connection *connection;
    uint64_t sent_ns;
    bool reads, status_ok, value_seen;
    uint8_t body[BODY_BYTES_MAX];
    size_t body_bytes, body_read;
};

static struct connection connections[CONNECTIONS_MAX];
static struct call calls[IN_FLIGHT_MAX];
/* Calls that wait until the other calls have prepared the last keys. */
static struct call *resting[IN_FLIGHT_MAX];
static int resting_count;
static char authority[300];

static size_t put_field(uint8_t *at, uint8_t tag, const char *bytes, size_t length) {
    at[0] = tag;
    at[1] = (uint8_t)length;
    memcpy(at + 2, bytes, length);
    return length + 2;
}

/* The gRPC message: PutRequest { key = 1, value = 2 }, or RangeRequest { key = 1 }, which is linearizable unless asked otherwise. */
static void encode(struct call *call, unsigned key) {
    char name[16];
    int name_bytes = snprintf(name, sizeof name, "k%u", key);
    size_t bytes = 5 + put_field(call->body + 5, 0x0a, name, (size_t)name_bytes);
    if (!call->reads) bytes += put_field(call->body + bytes, 0x12, VALUE, VALUE_BYTES);
    memset(call->body, 0, 5);
    call->body[4] = (uint8_t)(bytes - 5);
    call->body_bytes = bytes;
    call->body_read = 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *context) {
    (void)session, (void)stream, (void)context;
    struct call *call = source->ptr;
    size_t left = call->body_bytes - call->body_read, bytes = left < room ? left : room;
    memcpy(to, call->body + call->body_read, bytes);
    call->body_read += bytes;
    if (bytes == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)bytes;
}

#define HEADER(name, value) {(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE}

static void send_next(struct call *call) {
    unsigned key;
    if (load_prepare(&key)) {
        call->reads = false;
    } else if (load_ready()) {
        call->reads = load.reads;
        key = load_key();
    } else {
        resting[resting_count++] = call;
        return;
    }
    call->status_ok = call->value_seen = false;
    encode(call, key);
    nghttp2_nv headers[] = {
        HEADER(":method", "POST"), HEADER(":scheme", "http"),
        HEADER(":path", call->reads ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put"),
        HEADER(":authority", authority), HEADER("content-type", "application/grpc"), HEADER("te", "trailers"),
    };
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_body};
    call->sent_ns = now_ns();
    int32_t stream = nghttp2_submit_request(call->connection->session, NULL, headers, sizeof headers / sizeof *headers,
                                            &body, call);
    if (stream < 0) die("request", nghttp2_strerror(stream));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes, uint8_t flags, void *context) {
    (void)flags, (void)context;
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    static const char status[] = "grpc-status";
    if (call && name_bytes == sizeof status - 1 && !memcmp(name, status, name_bytes))
        call->status_ok = value_bytes == 1 && *value == '0';
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t bytes,
                   void *context) {
    (void)flags, (void)context;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call && call->reads && memmem(data, bytes, VALUE, VALUE_BYTES)) call->value_seen = true;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *context) {
    (void)context;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (!call) return 0;
    load_ended(call->sent_ns, error == NGHTTP2_NO_ERROR && call->status_ok && (!call->reads || call->value_seen));
    send_next(call);
    return 0;
}

static void connect_to_server(struct connection *connection) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *address;
    int error = getaddrinfo(load.host, load.port, &hints, &address);
    if (error) die(load.host, gai_strerror(error));
    connection->socket = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->socket < 0 || connect(connection->socket, address->ai_addr, address->ai_addrlen))
        die("connect", strerror(errno));
    freeaddrinfo(address);
    int on = 1;
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks)) die("session", "out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    error = nghttp2_session_client_new(&connection->session, callbacks, NULL);
    if (!error) error = nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, NULL, 0);
    if (error) die("session", nghttp2_strerror(error));
    nghttp2_session_callbacks_del(callbacks);
}

/* Sends what the session has, in as few writes as the buffer allows. */
static void flush(struct connection *connection) {
    bool more = true;
    while (more) {
        while (connection->unsent_bytes < BUFFER_BYTES / 2) {
            const uint8_t *frame;
            ssize_t bytes = nghttp2_session_mem_send(connection->session, &frame);
            if (bytes < 0) die("send", nghttp2_strerror((int)bytes));
            more = bytes > 0;
            if (!more) break;
            memcpy(connection->unsent + connection->unsent_bytes, frame, (size_t)bytes);
            connection->unsent_bytes += (size_t)bytes;
        }
        if (!connection->unsent_bytes) return;
        ssize_t taken = send(connection->socket, connection->unsent, connection->unsent_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN) return;
        if (taken < 0) die("send", strerror(errno));
        connection->unsent_bytes -= (size_t)taken;
        memmove(connection->unsent, connection->unsent + taken, connection->unsent_bytes);
    }
}

static void receive(struct connection *connection) {
    static uint8_t buffer[BUFFER_BYTES];
    ssize_t bytes = recv(connection->socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (bytes < 0 && errno == EAGAIN) return;
    if (bytes < 0) die("receive", strerror(errno));
    if (bytes == 0) die("receive", "the server closed the connection");
    ssize_t used = nghttp2_session_mem_recv(connection->session, buffer, (size_t)bytes);
    if (used < 0) die("receive", nghttp2_strerror((int)used));
}

int main(int argc, char **argv) {
    load_parse(argc, argv);
    snprintf(authority, sizeof authority, "%s:%s", load.host, load.port);
    for (int i = 0; i < load.connections; i++) connect_to_server(&connections[i]);
    for (int i = 0; i < load.in_flight; i++) {
        calls[i].connection = &connections[i % load.connections];
        send_next(&calls[i]);
    }
    while (load_goes_on()) {
        if (load_ready())
            while (resting_count > 0) send_next(resting[--resting_count]);
        struct pollfd waits[CONNECTIONS_MAX];
        for (int i = 0; i < load.connections; i++) {
            flush(&connections[i]);
            short unsent = connections[i].unsent_bytes ? POLLOUT : 0;
            waits[i] = (struct pollfd){.fd = connections[i].socket, .events = (short)(POLLIN | unsent)};
        }
        if (poll(waits, (nfds_t)load.connections, WAIT_MS_MAX) < 0) die("poll", strerror(errno));
        for (int i = 0; i < load.connections; i++)
            if (waits[i].revents) receive(&connections[i]);
    }
    return load_report();
}
