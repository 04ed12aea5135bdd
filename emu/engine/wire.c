/* Frames between a card and libslirp without Python: what the stack sends waits here, segments of one connection that follow
 * one another joined for a card that takes large ones. A guest spends more on a packet than on its bytes.
 *
 * Joined are only segments of IPv4 without options whose headers tell the same but for order, as in the generic receive
 * offload of operating systems. The length field of the IP header still says how long the first one was, so that the card can
 * tell the guest; checksums are left to the card as well. */

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WIRE_HEADERS = 54,
    WIRE_MOST = 60000, /* bytes of joined payload */
    WIRE_LEAST = 512,  /* bytes of payload that a first segment has: shorter ones are no stream */
    WIRE_PSH = 8,
    WIRE_FRAMES = 2048,       /* that may wait: a stack that answers at once cannot be held back */
    WIRE_HELD = 256,          /* with these the stack's sockets are not read */
    WIRE_ROOM = 8 << 20,      /* bytes */
    WIRE_IN = 1, WIRE_OUT = 2, WIRE_PRI = 4, WIRE_ERR = 8, WIRE_HUP = 16, /* SLIRP_POLL_* */
};

static int64_t wire_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static uint32_t wire_be32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static struct WireFrame *wire_at(struct Wire *w, uint64_t at) { return (struct WireFrame *)(w->frames + at); }

/* Payload of a segment that may be joined to others, 0 for any other frame. */
static uint32_t wire_payload(const uint8_t *f, uint32_t length)
{
    if (length <= WIRE_HEADERS || f[12] != 8 || f[13] || f[14] != 0x45 || f[23] != 6 || f[46] != 0x50 ||
        (f[47] & ~WIRE_PSH) != 0x10 || f[20] & 0x3f || f[21] || (uint32_t)(f[16] << 8 | f[17]) != length - 14)
        return 0;
    return length - WIRE_HEADERS;
}

static int wire_join(struct Wire *w, const uint8_t *f, uint32_t payload)
{
    struct WireFrame *last = wire_at(w, w->last);
    const uint8_t *first = last->data;
    if (!w->count || last->closed || wire_be32(f + 38) != w->following || payload > w->size ||
        w->joined + payload > WIRE_MOST || memcmp(first, f, 12) || memcmp(first + 26, f + 26, 12) ||
        memcmp(first + 42, f + 42, 4) || memcmp(first + 48, f + 48, 2))
        return 0;
    memcpy(last->data + last->length, f + WIRE_HEADERS, payload);
    last->data[47] |= f[47] & WIRE_PSH;
    last->length += payload;
    w->joined += payload;
    w->following += payload;
    last->closed = payload < w->size;
    w->end = w->last + sizeof *last + ((last->length + 7) & ~7u);
    return 1;
}

static int wire_reserve(struct Wire *w, uint64_t bytes)
{
    if (!w->count) w->start = w->end = 0;
    if (w->end + bytes <= w->room) return 1;
    if (w->start) {
        memmove(w->frames, w->frames + w->start, w->end - w->start);
        w->end -= w->start;
        w->last -= w->start;
        w->start = 0;
    }
    if (w->end + bytes <= w->room) return 1;
    uint64_t room = w->room ? w->room : 1 << 18;
    while (room < w->end + bytes) room *= 2;
    uint8_t *frames = room <= WIRE_ROOM ? realloc(w->frames, room) : NULL;
    if (!frames) return 0;
    w->frames = frames;
    w->room = room;
    return 1;
}

/* A frame for the card. */
static void wire_put(struct Wire *w, const uint8_t *f, uint32_t length)
{
    const uint32_t payload = w->joins ? wire_payload(f, length) : 0;
    w->active = wire_now();
    /* Room for all that may be joined to it. */
    if (w->count >= WIRE_FRAMES || !wire_reserve(w, sizeof(struct WireFrame) + length + (payload ? 1 << 16 : 8))) {
        w->lost++;
        return;
    }
    w->came++;
    if (payload && wire_join(w, f, payload)) return;
    struct WireFrame *frame = wire_at(w, w->end);
    frame->length = length;
    frame->closed = payload < WIRE_LEAST;
    memcpy(frame->data, f, length);
    w->last = w->end;
    w->end += sizeof *frame + ((length + 7) & ~7u);
    w->count++;
    if (payload) {
        w->size = w->joined = payload;
        w->following = wire_be32(f + 38) + payload;
    }
}

static const struct WireFrame *wire_first(struct Wire *w) { return w->count ? wire_at(w, w->start) : NULL; }

static void wire_drop(struct Wire *w)
{
    w->start += sizeof(struct WireFrame) + ((wire_at(w, w->start)->length + 7) & ~7u);
    w->count--;
}

/* For Python: the first frame, which stays where it is until the next call of anything; NULL for none. */
static const uint8_t *wire_take(struct Wire *w, uint32_t *length)
{
    if (!w->count) return NULL;
    const struct WireFrame *frame = wire_at(w, w->start);
    *length = frame->length;
    wire_drop(w);
    return frame->data;
}

static void wire_send(struct Wire *w, const uint8_t *frame, uint32_t length)
{
    if (!w->stack) return;
    w->sent++;
    w->active = wire_now();
    w->input(w->stack, frame, (int)length);
}

/* What libslirp calls. */
ssize_t wire_sent(const void *frame, size_t length, void *opaque)
{
    wire_put(opaque, frame, (uint32_t)length);
    return (ssize_t)length;
}

int64_t wire_clock(void *opaque)
{
    (void)opaque;
    return wire_now();
}

void wire_descriptor(int fd, void *opaque) { (void)fd, (void)opaque; }

void wire_notify(void *opaque) { (void)opaque; }

static int wire_add(int fd, int events, void *opaque)
{
    struct Wire *w = opaque;
    if (w->polled_count == w->polled_room) {
        const uint32_t room = w->polled_room ? 2 * w->polled_room : 16;
        struct pollfd *polled = realloc(w->polled, room * sizeof *polled);
        if (!polled) return -1;
        w->polled = polled;
        w->polled_room = room;
    }
    struct pollfd *p = &w->polled[w->polled_count];
    p->fd = fd;
    p->revents = 0;
    p->events = (short)((events & WIRE_IN ? POLLIN : 0) | (events & WIRE_OUT ? POLLOUT : 0) | (events & WIRE_PRI ? POLLPRI : 0) |
                        (events & WIRE_ERR ? POLLERR : 0) | (events & WIRE_HUP ? POLLHUP : 0));
    return (int)w->polled_count++;
}

static int wire_revents(int index, void *opaque)
{
    const struct Wire *w = opaque;
    if (index < 0 || (uint32_t)index >= w->polled_count) return 0;
    const int r = w->polled[index].revents;
    return (r & POLLIN ? WIRE_IN : 0) | (r & POLLOUT ? WIRE_OUT : 0) | (r & POLLPRI ? WIRE_PRI : 0) | (r & POLLERR ? WIRE_ERR : 0) |
           (r & POLLHUP ? WIRE_HUP : 0);
}

/* Ask the stack what it waits for: `polled` and, in ms, `timeout`. */
static void wire_fill(struct Wire *w)
{
    w->polled_count = 0;
    w->timeout = ~0u;
    if (w->stack) w->fill(w->stack, &w->timeout, wire_add, w);
}

static uint32_t wire_look(struct Wire *w, int64_t wait_ns)
{
    if (!w->stack || w->count >= WIRE_HELD) return w->count;
    wire_fill(w);
    if (wait_ns > 0 && w->timeout != ~0u && wait_ns > (int64_t)w->timeout * 1000000) wait_ns = (int64_t)w->timeout * 1000000;
    const struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
    for (uint32_t k = 0; k < w->polled_count; k++) w->polled[k].revents = 0;
    if (w->polled_count && ppoll(w->polled, w->polled_count, &wait, NULL) < 0) {
        for (uint32_t k = 0; k < w->polled_count; k++) w->polled[k].revents = 0;
    }
    w->looked = wire_now();
    w->poll(w->stack, 0, wire_revents, w);
    return w->count;
}

static struct Wire *wire_new(void *handle)
{
    struct Wire *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->handle = handle;
    w->send = wire_send;
    w->look = wire_look;
    w->now = wire_now;
    w->first = wire_first;
    w->drop = wire_drop;
    return w;
}

static void wire_connect(struct Wire *w, void *stack, uintptr_t input, uintptr_t fill, uintptr_t poll)
{
    w->stack = stack;
    w->input = (void (*)(void *, const uint8_t *, int))input;
    w->fill = (void (*)(void *, uint32_t *, int (*)(int, int, void *), void *))fill;
    w->poll = (void (*)(void *, int, int (*)(int, void *), void *))poll;
}

static void wire_free(struct Wire *w)
{
    free(w->frames);
    free(w->polled);
    free(w);
}
