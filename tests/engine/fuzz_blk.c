/* Random descriptor chains on a disk queue in the processor's care (cores/x86/blk.c), built with sanitizers.
 *
 * Guest memory lies between poisoned bytes and has a ROM and a hole in it. A case is a queue with random features, tables and
 * rings; bells and completions follow in any order, and the loan ends where the engine hands it back. After each case: ROM and
 * what no writable buffer covers are as they were, and so is the part of the image that must not be written.
 *
 * fuzz_blk [--seed N] [--chains N] [--case SEED]: 0 when clean, 1 at the first violation. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(at, n) ((void)(at), (void)(n))
#endif

enum { RAM_SIZE = 0x18000, ROM = 0x8000, ROM_SIZE = 0x2000, GAP = 0xa000, GAP_SIZE = 0x2000 };
enum { TABLES = 0x1000, WRITABLE = 0xc000, WRITABLE_SIZE = 0x8000, READABLE = 0x14000, READABLE_SIZE = 0x4000 };
enum { SECTORS = 64, GUARDED = 8 };

static const struct Region PLAN[] = {
    {0, ROM, 0, 1}, {ROM, ROM_SIZE, ROM, 2}, {GAP, GAP_SIZE, 0, 0}, {WRITABLE, RAM_SIZE - WRITABLE, WRITABLE, 1},
};

static Cpu *cpu;
static uint8_t *memory, *before;
static uint8_t disk[512 * SECTORS];
static int fd;
static uint64_t chains, served, ended, seed_now;

struct Random {
    uint64_t state;
};

static uint64_t next64(struct Random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint32_t below(struct Random *r, uint32_t n) { return (uint32_t)((next64(r) >> 32) * n >> 32); }
static int one_in(struct Random *r, uint32_t n) { return below(r, n) == 0; }

static void wrong(const char *what)
{
    fprintf(stderr, "case %#llx: %s\n", (unsigned long long)seed_now, what);
    exit(1);
}

static void put(uint64_t at, const void *data, uint64_t n)
{
    if (at < ROM && n <= ROM - at) memcpy(memory + at, data, n);
}

static uint64_t address(struct Random *r, int tame, int write)
{
    if (tame) return write ? WRITABLE + below(r, WRITABLE_SIZE - 0x2000) : READABLE + 64 * below(r, (READABLE_SIZE - 0x2000) / 64);
    switch (below(r, 8)) {
    case 0: return next64(r);
    case 1: return ROM - below(r, 600);
    case 2: return ROM + below(r, ROM_SIZE);
    case 3: return GAP + below(r, GAP_SIZE);
    case 4: return RAM_SIZE - below(r, 600);
    case 5: return 0ull - below(r, 600);
    case 6: return TABLES + below(r, 0x6000);
    default: return below(r, RAM_SIZE);
    }
}

static uint32_t length(struct Random *r, int tame)
{
    switch (below(r, tame ? 4 : 8)) {
    case 0: return 512;
    case 1: return 16;
    case 2: return 512 * (1 + below(r, 8));
    case 3: return 1 + below(r, 1100);
    case 4: return 0;
    case 5: return (uint32_t)next64(r);
    case 6: return 0xffffffffu - below(r, 20);
    default: return 16 * below(r, 300);
    }
}

static void entry(struct Random *r, int tame, uint64_t at, uint32_t n, uint32_t size)
{
    struct { uint64_t address; uint32_t length; uint16_t flags, next; } d;
    const uint32_t place = n % 4; /* header, data, data, status: a good chain every now and then */
    const int odd = one_in(r, tame ? 100 : 8), writes = n / 4 % 2;
    d.flags = odd ? (uint16_t)(tame ? below(r, 4) : below(r, 8)) : (uint16_t)(place == 0 ? 1 : place == 3 ? 2 : writes ? 1 : 3);
    if (!odd && !place && one_in(r, 8)) d.flags = 4;
    d.address = d.flags & 4 ? TABLES + 0x4000 + 64 * below(r, 16) : address(r, tame, d.flags & 2);
    if (!odd && !place && !(d.flags & 4)) d.address = READABLE + 64 * (2 * below(r, (READABLE_SIZE - 0x2000) / 128) + (uint32_t)writes);
    d.length = odd ? length(r, tame) : d.flags & 4 ? 64 : place == 0 ? 16 : place == 3 ? 1 : 512 * (1 + below(r, 2));
    d.next = (uint16_t)(odd ? (uint32_t)next64(r) : (n + 1) % size);
    put(at + 16ull * n, &d, 16);
}

/* Give one chain back, as the clock would. */
static void complete(struct BlkLoan *b)
{
    if (!b->inflight) return;
    emu_blk_complete(cpu, 0);
    served++;
}

static void one(uint64_t seed)
{
    struct Random random = {seed}, *r = &random;
    struct BlkLoan *b = &cpu->blk[0];
    seed_now = seed;
    const int tame = !one_in(r, 3);
    const uint32_t size = one_in(r, 20) ? 1u << below(r, 9) : 8u << below(r, 5);
    for (uint32_t k = 0; k < sizeof disk; k += 512) memset(disk + k, (int)(k / 512), 512);
    if (pwrite(fd, disk, sizeof disk, 0) != sizeof disk) wrong("the image cannot be written");
    memset(memory, 0x5a, ROM);
    memset(memory + WRITABLE, 0x5a, RAM_SIZE - WRITABLE);
    memset(b, 0, sizeof *b);
    b->lent = 1;
    b->fd = fd;
    b->file_length = sizeof disk;
    b->write_from = one_in(r, 4) ? sizeof disk : 512 * GUARDED;
    b->size = size;
    b->desc = TABLES;
    b->driver = TABLES + 0x1800;
    b->device = TABLES + 0x2000;
    if (!tame && one_in(r, 6)) *(one_in(r, 2) ? &b->desc : one_in(r, 2) ? &b->driver : &b->device) = address(r, 0, 1);
    b->event_index = one_in(r, 2);
    b->indirect = one_in(r, 2);
    b->next = b->used = b->signalled = below(r, 0x10000);
    b->fresh = one_in(r, 2);
    b->asked = -1;
    b->access = 20000;
    b->bytes_per_ns = 2;
    for (uint32_t n = 0; n < size; n++) entry(r, tame, TABLES, n, size);
    for (uint32_t n = 0; n < 72; n++) entry(r, tame, TABLES + 0x4000, n, 72);
    for (uint32_t k = 0; k < READABLE_SIZE / 64; k++) {
        const uint64_t header[2] = {one_in(r, 40) ? next64(r) : k & 1, one_in(r, 40) ? next64(r) : below(r, SECTORS + 1)};
        memcpy(memory + READABLE + 64ull * k, header, 16);
    }
    memcpy(before, memory, GAP);
    memcpy(before + WRITABLE, memory + WRITABLE, RAM_SIZE - WRITABLE);
    uint32_t available = b->next;
    for (uint32_t turn = 1 + below(r, 6); turn; turn--) {
        const uint32_t offered = one_in(r, 30) ? below(r, 0x10000) : 1 + below(r, size / 4 + 1);
        for (uint32_t k = 0; k < offered && k < size; k++) {
            const uint16_t head = (uint16_t)(one_in(r, 60) ? below(r, 0x10000) : 4 * k % size);
            put(TABLES + 0x1800 + 4 + 2 * ((available + k) % size), &head, 2);
        }
        available = (available + offered) & 0xffff;
        const uint16_t words[2] = {(uint16_t)below(r, 2), (uint16_t)available};
        put(TABLES + 0x1800, words, 4);
        const uint32_t from = b->next;
        const int done = emu_blk_ring(cpu, 0);
        chains += ((b->next - from) & 0xffff) + !done;
        if (b->inflight > size) wrong("more under way than the queue has room for");
        for (uint32_t k = one_in(r, 3) ? 0 : b->inflight; k; k--) complete(b);
        if (!done) {
            ended++;
            break;
        }
    }
    if (one_in(r, 2))
        while (b->inflight) complete(b);
    emu_blk_free(cpu, 0);

    if (memcmp(memory + ROM, before + ROM, ROM_SIZE)) wrong("ROM was written");
    if (tame) {
        if (memcmp(memory + READABLE, before + READABLE, READABLE_SIZE)) wrong("a read-only buffer was written");
        if (memcmp(memory, before, TABLES + 0x1800) || memcmp(memory + TABLES + 0x4000, before + TABLES + 0x4000, ROM - TABLES - 0x4000))
            wrong("a descriptor was written");
        if (memcmp(memory + TABLES + 0x2000 + 6 + 8 * size, before + TABLES + 0x2000 + 6 + 8 * size, 0x2000 - 6 - 8 * size))
            wrong("a write beyond the used ring");
    }
    static uint8_t after[sizeof disk];
    if (pread(fd, after, sizeof after, 0) != sizeof after || lseek(fd, 0, SEEK_END) != sizeof disk) wrong("the image has another length");
    if (memcmp(after, disk, 512 * GUARDED)) wrong("a guarded sector was written");
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, wanted = 100000, single = 0;
    for (int k = 1; k + 1 < argc; k += 2) {
        const uint64_t value = strtoull(argv[k + 1], NULL, 0);
        if (!strcmp(argv[k], "--seed")) seed = value;
        if (!strcmp(argv[k], "--chains")) wanted = value;
        if (!strcmp(argv[k], "--case")) single = value;
    }
    memory = malloc(RAM_SIZE);
    before = malloc(RAM_SIZE);
    char name[] = "/tmp/fuzz_blk.XXXXXX";
    fd = mkstemp(name);
    cpu = emu_new(1 << 20);
    if (!memory || !before || fd < 0 || !cpu || emu_attach_ram(cpu, memory, RAM_SIZE)) return 2;
    unlink(name);
    memset(memory + ROM, 0xa5, ROM_SIZE);
    memcpy(cpu->regions, PLAN, sizeof PLAN);
    cpu->region_count = sizeof PLAN / sizeof *PLAN;
    cpu->blk_count = 1;
    emu_reset(cpu, 0x600);
    emu_remap(cpu);
    __asan_poison_memory_region(memory + GAP, GAP_SIZE);
    struct Random cases = {seed};
    if (single) {
        one(single);
    } else {
        while (chains < wanted) one(next64(&cases));
    }
    printf("%llu chains, %llu served, %llu loans ended, no violation\n", (unsigned long long)chains, (unsigned long long)served,
           (unsigned long long)ended);
    return 0;
}
