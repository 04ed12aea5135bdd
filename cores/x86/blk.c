/* Disk queues while they are lent (devices/virtio/blk.py): reads and writes of a raw image that do not wait for the host, from
 * the bell to the interrupt. What is out of the ordinary in any way ends the loan, and Python goes on where C has stopped.
 *
 * VIRTIO 1.2, 2.7 (split rings) and 5.2; the times are those of emu/aio.py. */

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLK_NEXT = 1, BLK_WRITE = 2, BLK_INDIRECT = 4, BLK_SEGMENTS = 256, BLK_LONGEST = 1 << 20, BLK_SMALL = 1 << 16 };

/* RAM that holds all of a range, or NULL. */
static uint8_t *blk_ram(Cpu *cpu, uint64_t address, uint64_t length)
{
    const struct Region *r = find_region(cpu, address);
    if (!r || r->kind != KIND_RAM || length > r->size || address - r->base > r->size - length) return NULL;
    return cpu->ram + r->offset + (address - r->base);
}

static void blk_store(Cpu *cpu, uint64_t address, const void *data, uint64_t length)
{
    uint8_t *to = blk_ram(cpu, address, length);
    if (!to) return;
    emu_invalidate(cpu, address, length);
    memcpy(to, data, length);
}

static void blk_store16(Cpu *cpu, uint64_t address, uint32_t value)
{
    const uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    blk_store(cpu, address, bytes, 2);
}

static uint32_t blk_load16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return v;
}

struct BlkDescriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* A chain whose every part is in order; 0 for any other. */
static int blk_walk(Cpu *cpu, uint64_t desc, uint32_t size, uint32_t indirect, uint32_t head, struct BlkSegment *out,
                    uint32_t *readable, uint32_t *all)
{
    const uint8_t *table = blk_ram(cpu, desc, 16ull * size);
    uint32_t count = size, at = head, seen = 0, n = 0, nested = 0;
    *readable = 0;
    if (!table) return 0;
    for (;;) {
        struct BlkDescriptor d;
        if (at >= count || ++seen > count) return 0;
        memcpy(&d, table + 16ull * at, sizeof d);
        if (d.flags & BLK_INDIRECT) {
            if (!indirect || nested || d.flags & BLK_NEXT || !d.length || d.length % 16 || d.length > 16 * BLK_SEGMENTS)
                return 0;
            table = blk_ram(cpu, d.address, d.length);
            if (!table) return 0;
            nested = 1;
            count = d.length / 16;
            at = seen = 0;
            continue;
        }
        if (n == BLK_SEGMENTS || !d.length || !blk_ram(cpu, d.address, d.length)) return 0;
        if (!(d.flags & BLK_WRITE)) {
            if (*readable != n) return 0;
            ++*readable;
        }
        out[n].address = d.address;
        out[n++].length = d.length;
        if (!(d.flags & BLK_NEXT)) break;
        at = d.next;
    }
    *all = n;
    return 1;
}

/* Take a chain: the host's part is done at once. 0: not here, and nothing has happened. */
static int blk_take(Cpu *cpu, struct BlkLoan *b, uint32_t head)
{
    struct BlkSegment seg[BLK_SEGMENTS];
    uint32_t readable, n;
    if (b->inflight == b->size || b->inflight == sizeof b->requests / sizeof *b->requests) return 0;
    for (uint32_t k = 0; k < b->inflight; k++)
        if (b->requests[k]->head == head) return 0;
    if (!blk_walk(cpu, b->desc, b->size, b->indirect, head, seg, &readable, &n) || !readable || readable == n ||
        seg[0].length < 16)
        return 0;
    uint64_t total = 0, room = 0, sector;
    uint32_t kind;
    for (uint32_t k = 0; k < n; k++) *(k < readable ? &total : &room) += seg[k].length;
    const uint8_t *header = blk_ram(cpu, seg[0].address, 16);
    memcpy(&kind, header, 4);
    memcpy(&sector, header + 8, 8);
    if (kind > 1) return 0;
    const uint64_t length = kind ? total - 16 : room - 1;
    if (!length || length % 512 || length > (kind ? BLK_SMALL : BLK_LONGEST) || sector > b->file_length / 512 ||
        length > b->file_length - sector * 512 || (kind && sector * 512 < b->write_from))
        return 0;

    struct BlkRequest *q = malloc(sizeof *q + (n - readable) * sizeof *seg + length);
    if (!q) return 0;
    q->data = (uint8_t *)(q + 1) + (n - readable) * sizeof *seg;
    q->segments = n - readable;
    q->seg = (struct BlkSegment *)(q + 1);
    memcpy(q->seg, seg + readable, q->segments * sizeof *seg);
    q->head = head;
    q->kind = kind;
    q->room = (uint32_t)room;
    q->length = (uint32_t)length;
    ssize_t done;
    if (kind) {
        uint64_t at = 0, skip = 16;
        for (uint32_t k = 0; k < readable; k++) {
            const uint64_t gap = skip < seg[k].length ? skip : seg[k].length;
            skip -= gap;
            memcpy(q->data + at, blk_ram(cpu, seg[k].address, seg[k].length) + gap, seg[k].length - gap);
            at += seg[k].length - gap;
        }
        struct stat s;
        if (fstat(b->fd, &s) || (S_ISREG(s.st_mode) && (uint64_t)s.st_size < b->file_length))
            done = -1;
        else
            done = pwrite(b->fd, q->data, length, (off_t)(sector * 512));
    } else {
        const struct iovec v = {q->data, length};
        done = preadv2(b->fd, &v, 1, (off_t)(sector * 512), RWF_NOWAIT);
    }
    if (done != (ssize_t)length) {
        free(q);
        return 0;
    }
    const uint64_t now = virtual_ns(cpu);
    if (b->transfer_end < now) b->transfer_end = now;
    b->transfer_end += length / b->bytes_per_ns;
    q->due = b->transfer_end + b->access;
    b->requests[b->inflight++] = q;
    b->count++;
    uint64_t *const sums = b->moved_by_kind[kind];
    sums[0]++;
    sums[1] += length;
    sums[2] += q->due - now;
    return 1;
}

/* The driver rings. 0: not here. */
static int blk_bell(Cpu *cpu, struct BlkLoan *b)
{
    const uint8_t *ring = blk_ram(cpu, b->driver, 6 + 2ull * b->size);
    if (!ring) return 0;
    const uint32_t available = blk_load16(ring + 2);
    if (((available - b->next) & 0xffff) > b->size) return 0;
    while (b->next != available) {
        if (!blk_take(cpu, b, blk_load16(ring + 4 + 2 * (b->next % b->size)))) return 0;
        b->next = (b->next + 1) & 0xffff;
        b->moved = 1;
    }
    if (b->event_index && b->asked != (int32_t)b->next) {
        b->asked = (int32_t)b->next;
        blk_store16(cpu, b->device + 4 + 8ull * b->size, b->next);
    }
    return 1;
}

static int blk_wants_interrupt(Cpu *cpu, struct BlkLoan *b)
{
    const uint8_t *ring = blk_ram(cpu, b->driver, 6 + 2ull * b->size);
    if (!ring) return 0;
    if (!b->event_index) return !(blk_load16(ring) & 1);
    const uint32_t event = blk_load16(ring + 4 + 2 * b->size);
    const uint32_t moved = (b->used - b->signalled) & 0xffff;
    const int wanted = b->fresh || ((b->used - event - 1) & 0xffff) < moved;
    b->signalled = b->used;
    b->fresh = 0;
    return wanted;
}

/* Give the first request back. Nonzero: the driver wants an interrupt. */
static int blk_complete(Cpu *cpu, struct BlkLoan *b)
{
    struct BlkRequest *q = b->requests[0];
    memmove(b->requests, b->requests + 1, --b->inflight * sizeof *b->requests);
    uint64_t at = 0, left = q->kind ? 0 : q->length;
    for (uint32_t k = 0; k < q->segments && left; k++) {
        const uint64_t piece = q->seg[k].length < left ? q->seg[k].length : left;
        blk_store(cpu, q->seg[k].address, q->data + at, piece);
        at += piece;
        left -= piece;
    }
    const struct BlkSegment *last = &q->seg[q->segments - 1];
    const uint8_t good = 0;
    blk_store(cpu, last->address + last->length - 1, &good, 1);
    const uint32_t entry[2] = {q->head, q->kind ? 1 : q->room};
    blk_store(cpu, b->device + 4 + 8ull * (b->used % b->size), entry, 8);
    b->used = (b->used + 1) & 0xffff;
    blk_store16(cpu, b->device + 2, b->used);
    b->moved = 1;
    free(q);
    return blk_wants_interrupt(cpu, b);
}

/* A register is written. 0: not here. */
static int blk_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
    for (uint32_t k = 0; k < cpu->blk_count; k++) {
        struct BlkLoan *b = &cpu->blk[k];
        if (b->lent && address == b->bell && size == 2 && !v && cpu->single) {
            const int done = blk_bell(cpu, b);
            lent_wait(cpu, emu_icount(cpu));
            return done;
        }
    }
    return 0;
}

/* For tests: the bell of a lent queue, and the completion of its first request. */
int emu_blk_ring(Cpu *cpu, uint32_t k) { return blk_bell(cpu, &cpu->blk[k]); }
int emu_blk_complete(Cpu *cpu, uint32_t k) { return blk_complete(cpu, &cpu->blk[k]); }

void emu_blk_free(Cpu *cpu, uint32_t k)
{
    struct BlkLoan *b = &cpu->blk[k];
    for (uint32_t n = 0; n < b->inflight; n++) free(b->requests[n]);
    b->inflight = 0;
}
