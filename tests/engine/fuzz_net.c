/* Random descriptor chains and frames for a network card in the processor's care (cores/x86/net.c) and its wire
 * (emu/engine/wire.c), built with sanitizers.
 *
 * Guest memory lies between poisoned bytes and has a ROM and a hole in it. A case is a card with random features, tables and
 * rings; bells and frames from outside follow in any order, until the engine hands the loan back. After each case: ROM and
 * what no writable buffer covers are as they were.
 *
 * fuzz_net [--seed N] [--chains N] [--case SEED]: 0 when clean, 1 at the first violation. */
#include "fuzz_rings.h"

#include <poll.h>
#include <sys/types.h>

#include "../../emu/engine/wire.h"

#include "../../emu/engine/wire.c"

/* From the beginning of a queue's part of memory. */
enum { RX = 0x1000, TX = 0x4000, PART = 0x3000, AVAILABLE = 0x800, USED = 0x1000, INDIRECT = 0x2000, MOST = 64 };

static struct Wire *wire;
static uint64_t sent, taken;
static volatile uint32_t touched;

/* What libslirp would get. */
static void swallow(void *stack, const uint8_t *frame, int length)
{
    (void)stack;
    if (length < 14 || length > 65535 + 18) wrong("a frame of no length");
    for (int k = 0; k < length; k++) touched += frame[k];
    sent++;
}

static uint64_t address(struct Random *r, int tame, int write)
{
    if (tame) return write ? WRITABLE + below(r, WRITABLE_SIZE - 0x1000) : READABLE + 256 * below(r, 32);
    return wild_address(r);
}

static uint32_t length(struct Random *r, int tame)
{
    switch (below(r, tame ? 4 : 7)) {
    case 0: return 12;
    case 1: return 1526;
    case 2: return 1 + below(r, 0xfff);
    case 3: return below(r, 80);
    case 4: return (uint32_t)next64(r);
    case 5: return 0xffffffffu - below(r, 20);
    default: return 16 * below(r, 300);
    }
}

static void entry(struct Random *r, int tame, int receives, uint64_t table, uint32_t n, uint32_t size)
{
    struct Descriptor d;
    const int odd = one_in(r, tame ? 60 : 6);
    d.flags = (uint16_t)((receives ? 2 : 0) | (one_in(r, 3) ? 1 : 0));
    if (odd) d.flags = (uint16_t)(tame ? d.flags ^ 1 : below(r, 8));
    else if (one_in(r, 8)) d.flags = 4;
    d.address = d.flags & 4 ? (receives ? RX : TX) + INDIRECT + 64 * below(r, 16) : address(r, tame, receives);
    d.length = d.flags & 4 ? 16 * (1 + below(r, 5)) : odd ? length(r, tame) : receives ? 1 + below(r, 0xfff) : 12 + below(r, 1600);
    d.next = (uint16_t)(odd ? (uint32_t)next64(r) : (n + 1) % size);
    put(table + 16ull * n, &d, 16);
}

/* A frame, good enough to be looked into. */
static uint32_t frame_of(struct Random *r, uint8_t *f)
{
    const uint32_t size = one_in(r, 6) ? 1519 + below(r, 64000) : 14 + below(r, 1505);
    static const uint16_t kinds[] = {0x0800, 0x0800, 0x0800, 0x86dd, 0x0806, 0x8100};
    for (uint32_t k = 0; k < size && k < 200; k++) f[k] = (uint8_t)next64(r);
    memset(f, one_in(r, 4) ? 255 : 2, 6);
    const uint16_t kind = kinds[below(r, 6)];
    f[12] = (uint8_t)(kind >> 8);
    f[13] = (uint8_t)kind;
    if (size >= 60) {
        f[14] = one_in(r, 8) ? (uint8_t)next64(r) : kind == 0x86dd ? 0x60 : 0x45;
        const uint32_t said = one_in(r, 4) ? (uint32_t)next64(r) : size > 1518 ? 552 : size - 14;
        f[16] = (uint8_t)(said >> 8);
        f[17] = (uint8_t)said;
        if (!one_in(r, 8)) f[20] = f[21] = 0;
        f[kind == 0x86dd ? 20 : 23] = one_in(r, 3) ? 17 : 6;
        if (!one_in(r, 8)) f[46] = 0x50, f[47] = 0x10;
    }
    return size;
}

static void offer(struct Random *r, struct LentRing *q, uint64_t part, uint32_t *available, int tame)
{
    const uint32_t offered = one_in(r, tame ? 200 : 20) ? below(r, 0x10000) : below(r, q->size + 1);
    for (uint32_t k = 0; k < offered && k < q->size; k++) {
        const uint16_t head = (uint16_t)(one_in(r, tame ? 400 : 30) ? below(r, 0x10000) : (*available + k) % q->size);
        put(part + AVAILABLE + 4 + 2 * ((*available + k) % q->size), &head, 2);
    }
    *available = (*available + offered) & 0xffff;
    const uint16_t words[2] = {(uint16_t)below(r, 2), (uint16_t)*available};
    put(part + AVAILABLE, words, 4);
}

static void ring(struct Random *r, struct LentRing *q, uint64_t part, int tame)
{
    q->size = 1u << below(r, 7);
    q->desc = part;
    q->driver = part + AVAILABLE;
    q->device = part + USED;
    random_ring(r, q, tame);
    for (uint32_t n = 0; n < q->size; n++) entry(r, tame, part == RX, part, n, q->size);
    for (uint32_t n = 0; n < 80; n++) entry(r, tame, part == RX, part + INDIRECT, n, 80);
}

static void one(uint64_t seed)
{
    static uint8_t frame[1 << 17];
    struct Random random = {seed}, *r = &random;
    struct NetLoan *n = &cpu->net;
    seed_now = seed;
    const int tame = !one_in(r, 3);
    fresh_memory();
    memset(n, 0, sizeof *n);
    cpu->apic.lent = n->lent = 1;
    n->wire = wire;
    n->sending = n->arriving = n->look = -1;
    n->header = 12;
    n->merge = !one_in(r, 4);
    n->csum = !one_in(r, 4);
    n->tso = !one_in(r, 4);
    n->marks = !one_in(r, 4);
    n->large = wire->joins = !one_in(r, 4);
    n->promiscuous = !one_in(r, 4);
    memset(n->mac, 2, 6);
    ring(r, &n->rx, RX, tame);
    ring(r, &n->tx, TX, tame);
    for (uint32_t k = 0; k < READABLE_SIZE; k += 256) {
        uint8_t *header = memory + READABLE + k;
        memset(header, 0, 12);
        header[0] = (uint8_t)below(r, 2);
        header[1] = (uint8_t)(one_in(r, 3) ? 1 : one_in(r, 20) ? next64(r) : 0);
        header[4] = (uint8_t)next64(r);
        header[6] = one_in(r, 8) ? (uint8_t)next64(r) : 34;
        header[7] = one_in(r, 20) ? (uint8_t)next64(r) : 0;
        header[8] = one_in(r, 8) ? (uint8_t)next64(r) : 16;
        frame_of(r, frame);
        memcpy(header + 12, frame, 128);
    }
    remember_memory();
    uint32_t available[2] = {n->rx.next, n->tx.next};
    for (uint32_t turn = 1 + below(r, 8); turn; turn--) {
        offer(r, &n->rx, RX, &available[0], tame);
        offer(r, &n->tx, TX, &available[1], tame);
        if (!one_in(r, 3)) n->sending = 5;
        for (uint32_t k = below(r, 5); k; k--) wire_put(wire, frame, frame_of(r, frame));
        if (wire->count) n->arriving = 5;
        const uint32_t from = n->tx.next + n->rx.next, waits = wire->count;
        const int done = emu_net_run(cpu, 5);
        taken += waits - wire->count;
        chains += ((n->tx.next + n->rx.next - from) & 0xffff) + !done;
        if (!done) {
            ended++;
            break;
        }
        if (wire->count || n->sending >= 0) wrong("what was due has not been done");
    }
    uint32_t rest;
    while (wire_take(wire, &rest)) continue;
    emu_net_free(cpu);

    unchanged(ROM, ROM_SIZE, "ROM was written");
    if (!tame) return;
    unchanged(READABLE, READABLE_SIZE, "a read-only buffer was written");
    for (uint64_t part = RX; part <= TX; part += PART) {
        unchanged(part, AVAILABLE, "a descriptor was written");
        unchanged(part + INDIRECT, PART - INDIRECT, "an indirect table was written");
    }
}

int main(int argc, char **argv)
{
    wire = wire_new(NULL);
    if (!wire) return 2;
    wire_connect(wire, wire, (uintptr_t)swallow, 0, 0);
    const int status = fuzz_rings(argc, argv);
    if (status) return status;
    printf("%llu chains, %llu frames out, %llu in, %llu loans ended, no violation\n", (unsigned long long)chains,
           (unsigned long long)sent, (unsigned long long)taken, (unsigned long long)ended);
    return 0;
}
