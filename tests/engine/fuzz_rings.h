/* What the fuzzers of lent rings share: guest memory between poisoned bytes, with a ROM and a hole in it, random places in it,
 * and the command line.
 *
 * A fuzzer includes this first, gives `one`, a case by its seed that counts its `chains`, and calls `fuzz_rings`. */
#include "fuzz_random.h"
#include "unit.h"

enum { RAM_SIZE = 0x18000, ROM = 0x8000, ROM_SIZE = 0x2000, GAP = 0xa000, GAP_SIZE = 0x2000 };
enum { WRITABLE = 0xc000, WRITABLE_SIZE = 0x8000, READABLE = 0x14000, READABLE_SIZE = 0x4000 };

static const struct Region PLAN[] = {
    {0, ROM, 0, 1}, {ROM, ROM_SIZE, ROM, 2}, {GAP, GAP_SIZE, 0, 0}, {WRITABLE, RAM_SIZE - WRITABLE, WRITABLE, 1},
};

static Cpu *cpu;
static uint8_t *memory, *before;
static uint64_t chains, ended, seed_now;

static void one(uint64_t seed);

static void wrong(const char *what)
{
    fprintf(stderr, "case %#llx: %s\n", (unsigned long long)seed_now, what);
    exit(1);
}

static void put(uint64_t at, const void *data, uint64_t n)
{
    if (at < ROM && n <= ROM - at) memcpy(memory + at, data, n);
}

struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* An address near the end of something, or anywhere. */
static uint64_t wild_address(struct Random *r)
{
    switch (below(r, 8)) {
    case 0: return next64(r);
    case 1: return ROM - below(r, 600);
    case 2: return ROM + below(r, ROM_SIZE);
    case 3: return GAP + below(r, GAP_SIZE);
    case 4: return RAM_SIZE - below(r, 600);
    case 5: return 0ull - below(r, 600);
    case 6: return 0x1000 + below(r, 0x6000);
    default: return below(r, RAM_SIZE);
    }
}

/* A ring at its place, unless it shall not be, that begins anywhere. */
static void random_ring(struct Random *r, struct LentRing *q, int tame)
{
    if (!tame && one_in(r, 6)) *(one_in(r, 2) ? &q->desc : one_in(r, 2) ? &q->driver : &q->device) = wild_address(r);
    q->event_index = one_in(r, 2);
    q->indirect = one_in(r, 2);
    q->next = q->used = q->signalled = below(r, 0x10000);
    q->fresh = one_in(r, 2);
    q->asked = -1;
    q->vector = 0x40 + below(r, 100);
}

static void fresh_memory(void)
{
    memset(memory, 0x5a, ROM);
    memset(memory + WRITABLE, 0x5a, RAM_SIZE - WRITABLE);
}

static void remember_memory(void)
{
    memcpy(before, memory, GAP);
    memcpy(before + WRITABLE, memory + WRITABLE, RAM_SIZE - WRITABLE);
}

static void unchanged(uint64_t at, uint64_t n, const char *what)
{
    if (memcmp(memory + at, before + at, n)) wrong(what);
}

/* Cases until there were enough chains, or one. Returns 0, or 2 where the host has no room. */
static int fuzz_rings(int argc, char **argv)
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
    cpu = emu_new(1 << 20);
    if (!memory || !before || !cpu || emu_attach_ram(cpu, memory, RAM_SIZE)) return 2;
    memset(memory + ROM, 0xa5, ROM_SIZE);
    memcpy(cpu->regions, PLAN, sizeof PLAN);
    cpu->region_count = sizeof PLAN / sizeof *PLAN;
    cpu->blk_count = 1;
    emu_reset(cpu, 0x600);
    emu_remap(cpu);
    __asan_poison_memory_region(memory + GAP, GAP_SIZE);
    struct Random cases = {seed};
    if (single) one(single);
    else
        while (chains < wanted) one(next64(&cases));
    return 0;
}
