/* What the clients of the peers share: the command line, the clock of a run, latencies, and what is printed.
 *
 * Usage of both: CLIENT HOST:PORT write|read IN_FLIGHT CONNECTIONS SECONDS
 *
 * A run is a closed loop on one thread, like that of `concoord bench`: each call under way sends its next request when
 * its last is answered. First every key is written once, then follows a second of warming up, then the measured time. The
 * lines printed are those of `concoord bench --announce --json`: "measuring", "measured", and one of JSON. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS 256
#define VALUE "12345678"
#define VALUE_BYTES 8
#define CONNECTIONS_MAX 64
#define IN_FLIGHT_MAX 4096
#define WARM_UP_NS 1000000000ull
/* With no answer for this long the run has failed. */
#define SILENCE_NS_MAX 20000000000ull
/* More errors than this and the figures mean nothing. */
#define ERRORS_MAX 1000
/* The longest that a client may sleep, so that the announcements are on time. */
#define WAIT_MS_MAX 5

enum phase { PREPARING, WARMING_UP, MEASURING, OVER };

static struct {
    char host[256];
    char port[16];
    bool reads;
    int in_flight, connections;
    double seconds;

    enum phase phase;
    uint64_t begin_ns, end_ns, heard_ns;
    unsigned prepared_asked, prepared, next_key;
    uint64_t *latency_ns;
    size_t calls, room;
    unsigned errors, errors_ever;
} load;

_Noreturn static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void load_parse(int argc, char **argv) {
    if (argc != 6 || sscanf(argv[1], "%255[^:]:%15[0-9]", load.host, load.port) != 2)
        die(argv[0], "usage: HOST:PORT write|read IN_FLIGHT CONNECTIONS SECONDS");
    load.reads = strcmp(argv[2], "read") == 0;
    load.in_flight = atoi(argv[3]);
    load.connections = atoi(argv[4]);
    load.seconds = atof(argv[5]);
    if (!load.reads && strcmp(argv[2], "write") != 0) die(argv[2], "neither write nor read");
    if (load.in_flight < 1 || load.in_flight > IN_FLIGHT_MAX) die(argv[3], "so many calls can't be under way");
    if (load.connections < 1 || load.connections > CONNECTIONS_MAX || load.connections > load.in_flight)
        die(argv[4], "so many connections can't be used");
    if (load.seconds <= 0) die(argv[5], "not a time");
    setvbuf(stdout, NULL, _IOLBF, 0);
    load.heard_ns = now_ns();
}

/* Whether another key waits for its first write; if so, `key` is that one. */
static bool load_prepare(unsigned *key) {
    *key = load.prepared_asked;
    return load.prepared_asked < KEYS && ++load.prepared_asked;
}

/* Whether every key is written, so that calls of the run proper may be sent. */
static bool load_ready(void) { return load.prepared == KEYS; }

/* The key of the next call of the run proper. */
static unsigned load_key(void) { return load.next_key++ % KEYS; }

/* A call sent at `sent_ns` has ended. */
static void load_ended(uint64_t sent_ns, bool succeeded) {
    uint64_t now = load.heard_ns = now_ns();
    if (!succeeded && ++load.errors_ever > ERRORS_MAX) die("giving up", "too many calls failed");
    if (load.phase == PREPARING) {
        if (!succeeded) die("preparing", "a key could not be written");
        if (++load.prepared < KEYS) return;
        load.phase = WARMING_UP;
        load.begin_ns = now + WARM_UP_NS;
        load.end_ns = load.begin_ns + (uint64_t)(load.seconds * 1e9);
        return;
    }
    if (now < load.begin_ns || now >= load.end_ns) return;
    if (!succeeded) {
        load.errors++;
        return;
    }
    if (load.calls == load.room) {
        load.room = load.room ? 2 * load.room : 1 << 16;
        load.latency_ns = realloc(load.latency_ns, load.room * sizeof *load.latency_ns);
        if (!load.latency_ns) die("latencies", "out of memory");
    }
    load.latency_ns[load.calls++] = now - sent_ns;
}

/* To be asked after each wait: announces what begins and ends. Whether the run goes on. */
static bool load_goes_on(void) {
    uint64_t now = now_ns();
    if (now - load.heard_ns > SILENCE_NS_MAX) die("giving up", "the server stopped answering");
    if (load.phase == WARMING_UP && now >= load.begin_ns) {
        load.phase = MEASURING;
        puts("measuring");
    }
    if (load.phase == MEASURING && now >= load.end_ns) {
        load.phase = OVER;
        puts("measured");
    }
    return load.phase != OVER;
}

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double latency_us(double quantile) {
    return load.calls ? (double)load.latency_ns[(size_t)(quantile * (double)(load.calls - 1))] / 1e3 : 0.0;
}

/* Prints the result; gives the exit code. */
static int load_report(void) {
    if (load.calls) qsort(load.latency_ns, load.calls, sizeof *load.latency_ns, by_size);
    printf("{\"seconds\": %.3f, \"calls\": %zu, \"errors\": %u, \"per_second\": %.1f, \"p50_us\": %.1f, "
           "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
           load.seconds, load.calls, load.errors, (double)load.calls / load.seconds, latency_us(0.5), latency_us(0.99),
           latency_us(1.0));
    return load.calls ? 0 : 1;
}

#endif
