/* Disk queues while they are lent (devices/virtio/blk.py): reads and writes of a raw image that do not wait for the host, from
 * the bell to the interrupt. What is out of the ordinary in any way ends the loan, and Python goes on where C has stopped.
 *
 * VIRTIO 1.2, 5.2; the rings are those of ring.c, the times are those of emu/aio.py. */

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLK_LONGEST = 1 << 20, BLK_SMALL = 1 << 16 };

/* Take a chain: the host's part is done at once. 0: not here, and nothing has happened. */
static int blk_take(Cpu *cpu, struct BlkLoan *b, uint32_t head)
{
    struct RingSegment seg[RING_SEGMENTS];
    uint32_t readable, n;
    if (b->inflight == b->ring.size || b->inflight == sizeof b->requests / sizeof *b->requests) return 0;
    for (uint32_t k = 0; k < b->inflight; k++)
        if (b->requests[k]->head == head) return 0;
    if (!ring_walk(cpu, &b->ring, head, seg, &readable, &n) || !readable || readable == n || seg[0].length < 16) return 0;
    uint64_t total = 0, room = 0, sector;
    uint32_t kind;
    for (uint32_t k = 0; k < n; k++) *(k < readable ? &total : &room) += seg[k].length;
    const uint8_t *header = ring_ram(cpu, seg[0].address, 16);
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
    q->seg = (struct RingSegment *)(q + 1);
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
            memcpy(q->data + at, ring_ram(cpu, seg[k].address, seg[k].length) + gap, seg[k].length - gap);
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
    struct LentRing *q = &b->ring;
    uint32_t available;
    if (!ring_available(cpu, q, &available)) return 0;
    while (q->next != available) {
        if (!blk_take(cpu, b, ring_head(cpu, q, q->next))) return 0;
        q->next = (q->next + 1) & 0xffff;
        b->moved = 1;
    }
    ring_ask(cpu, q);
    return 1;
}

/* Give the first request back. Nonzero: the driver wants an interrupt. */
static int blk_complete(Cpu *cpu, struct BlkLoan *b)
{
    struct BlkRequest *q = b->requests[0];
    memmove(b->requests, b->requests + 1, --b->inflight * sizeof *b->requests);
    uint64_t at = 0, left = q->kind ? 0 : q->length;
    for (uint32_t k = 0; k < q->segments && left; k++) {
        const uint64_t piece = q->seg[k].length < left ? q->seg[k].length : left;
        ring_store(cpu, q->seg[k].address, q->data + at, piece);
        at += piece;
        left -= piece;
    }
    const struct RingSegment *last = &q->seg[q->segments - 1];
    const uint8_t good = 0;
    ring_store(cpu, last->address + last->length - 1, &good, 1);
    ring_give_back(cpu, &b->ring, q->head, q->kind ? 1 : q->room);
    b->moved = 1;
    free(q);
    return ring_wants_interrupt(cpu, &b->ring);
}

/* A register is written. 0: not here. */
static int blk_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
    for (uint32_t k = 0; k < cpu->blk_count; k++) {
        struct BlkLoan *b = &cpu->blk[k];
        if (b->lent && address == b->ring.bell && size == 2 && !v && cpu->single) {
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
