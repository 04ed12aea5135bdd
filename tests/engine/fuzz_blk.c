/* Random descriptor chains on a disk queue in the processor's care (cores/x86/blk.c), built with sanitizers.
 *
 * Guest memory lies between poisoned bytes and has a ROM and a hole in it. A case is a queue with random features, tables and
 * rings; bells and completions follow in any order, and the loan ends where the engine hands it back. After each case: ROM and
 * what no writable buffer covers are as they were, and so is the part of the image that must not be written.
 *
 * fuzz_blk [--seed N] [--chains N] [--case SEED]: 0 when clean, 1 at the first violation. */
#include "fuzz_rings.h"

#include <unistd.h>

/* The table, the two rings and indirect tables. */
enum { TABLES = 0x1000, AVAILABLE = 0x2800, USED = 0x3000, INDIRECT = 0x5000 };
enum { SECTORS = 64, GUARDED = 8 };

static uint8_t disk[512 * SECTORS];
static int fd;
static uint64_t served;

static uint64_t address(struct Random *r, int tame, int write)
{
    if (tame) return write ? WRITABLE + below(r, WRITABLE_SIZE - 0x2000) : READABLE + 64 * below(r, (READABLE_SIZE - 0x2000) / 64);
    return wild_address(r);
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
    struct Descriptor d;
    const uint32_t place = n % 4; /* header, data, data, status: a good chain every now and then */
    const int odd = one_in(r, tame ? 100 : 8), writes = n / 4 % 2;
    d.flags = odd ? (uint16_t)(tame ? below(r, 4) : below(r, 8)) : (uint16_t)(place == 0 ? 1 : place == 3 ? 2 : writes ? 1 : 3);
    if (!odd && !place && one_in(r, 8)) d.flags = 4;
    d.address = d.flags & 4 ? INDIRECT + 64 * below(r, 16) : address(r, tame, d.flags & 2);
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
    struct LentRing *q = &b->ring;
    seed_now = seed;
    const int tame = !one_in(r, 3);
    const uint32_t size = one_in(r, 20) ? 1u << below(r, 9) : 8u << below(r, 5);
    for (uint32_t k = 0; k < sizeof disk; k += 512) memset(disk + k, (int)(k / 512), 512);
    if (pwrite(fd, disk, sizeof disk, 0) != sizeof disk) wrong("the image cannot be written");
    fresh_memory();
    memset(b, 0, sizeof *b);
    b->lent = 1;
    b->fd = fd;
    b->file_length = sizeof disk;
    b->write_from = one_in(r, 4) ? sizeof disk : 512 * GUARDED;
    q->size = size;
    q->desc = TABLES;
    q->driver = AVAILABLE;
    q->device = USED;
    random_ring(r, q, tame);
    b->access = 20000;
    b->bytes_per_ns = 2;
    for (uint32_t n = 0; n < size; n++) entry(r, tame, TABLES, n, size);
    for (uint32_t n = 0; n < 72; n++) entry(r, tame, INDIRECT, n, 72);
    for (uint32_t k = 0; k < READABLE_SIZE / 64; k++) {
        const uint64_t header[2] = {one_in(r, 40) ? next64(r) : k & 1, one_in(r, 40) ? next64(r) : below(r, SECTORS + 1)};
        memcpy(memory + READABLE + 64ull * k, header, 16);
    }
    remember_memory();
    uint32_t available = q->next;
    for (uint32_t turn = 1 + below(r, 6); turn; turn--) {
        const uint32_t offered = one_in(r, 30) ? below(r, 0x10000) : 1 + below(r, size / 4 + 1);
        for (uint32_t k = 0; k < offered && k < size; k++) {
            const uint16_t head = (uint16_t)(one_in(r, 60) ? below(r, 0x10000) : 4 * k % size);
            put(AVAILABLE + 4 + 2 * ((available + k) % size), &head, 2);
        }
        available = (available + offered) & 0xffff;
        const uint16_t words[2] = {(uint16_t)below(r, 2), (uint16_t)available};
        put(AVAILABLE, words, 4);
        const uint32_t from = q->next;
        const int done = emu_blk_ring(cpu, 0);
        chains += ((q->next - from) & 0xffff) + !done;
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

    unchanged(ROM, ROM_SIZE, "ROM was written");
    if (tame) {
        unchanged(READABLE, READABLE_SIZE, "a read-only buffer was written");
        unchanged(0, AVAILABLE, "a descriptor was written");
        unchanged(INDIRECT, ROM - INDIRECT, "an indirect table was written");
        unchanged(USED + 6 + 8 * size, INDIRECT - USED - 6 - 8 * size, "a write beyond the used ring");
    }
    static uint8_t after[sizeof disk];
    if (pread(fd, after, sizeof after, 0) != sizeof after || lseek(fd, 0, SEEK_END) != sizeof disk) wrong("the image has another length");
    if (memcmp(after, disk, 512 * GUARDED)) wrong("a guarded sector was written");
}

int main(int argc, char **argv)
{
    char name[] = "/tmp/fuzz_blk.XXXXXX";
    fd = mkstemp(name);
    if (fd < 0) return 2;
    unlink(name);
    const int status = fuzz_rings(argc, argv);
    if (status) return status;
    printf("%llu chains, %llu served, %llu loans ended, no violation\n", (unsigned long long)chains, (unsigned long long)served,
           (unsigned long long)ended);
    return 0;
}
