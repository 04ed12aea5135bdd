/* Split rings of virtio devices while they are lent to the processor: what blk.c and net.c have in common. Whatever is out
 * of order is refused, and nothing has happened then; devices/virtio/ring.py says what is wrong with it.
 *
 * VIRTIO 1.2, 2.7. */

enum { RING_NEXT = 1, RING_WRITE = 2, RING_INDIRECT = 4, RING_SEGMENTS = 256 };

/* RAM that holds all of a range, or NULL. */
static uint8_t *ring_ram(Cpu *cpu, uint64_t address, uint64_t length)
{
    const struct Region *r = find_region(cpu, address);
    if (!r || r->kind != KIND_RAM || length > r->size || address - r->base > r->size - length) return NULL;
    return cpu->ram + r->offset + (address - r->base);
}

static void ring_store(Cpu *cpu, uint64_t address, const void *data, uint64_t length)
{
    uint8_t *to = ring_ram(cpu, address, length);
    if (!to) return;
    emu_invalidate(cpu, address, length);
    memcpy(to, data, length);
}

static void ring_store16(Cpu *cpu, uint64_t address, uint32_t value)
{
    const uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    ring_store(cpu, address, bytes, 2);
}

static uint32_t ring_load16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return v;
}

struct RingDescriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* A chain whose every part is in order; 0 for any other. */
static int ring_walk(Cpu *cpu, const struct LentRing *q, uint32_t head, struct RingSegment *out, uint32_t *readable, uint32_t *all)
{
    const uint8_t *table = ring_ram(cpu, q->desc, 16ull * q->size);
    uint32_t count = q->size, at = head, seen = 0, n = 0, nested = 0;
    *readable = 0;
    if (!table) return 0;
    for (;;) {
        struct RingDescriptor d;
        if (at >= count || ++seen > count) return 0;
        memcpy(&d, table + 16ull * at, sizeof d);
        if (d.flags & RING_INDIRECT) {
            if (!q->indirect || nested || d.flags & RING_NEXT || !d.length || d.length % 16 || d.length > 16 * RING_SEGMENTS)
                return 0;
            table = ring_ram(cpu, d.address, d.length);
            if (!table) return 0;
            nested = 1;
            count = d.length / 16;
            at = seen = 0;
            continue;
        }
        if (n == RING_SEGMENTS || !d.length || !ring_ram(cpu, d.address, d.length)) return 0;
        if (!(d.flags & RING_WRITE)) {
            if (*readable != n) return 0;
            ++*readable;
        }
        out[n].address = d.address;
        out[n++].length = d.length;
        if (!(d.flags & RING_NEXT)) break;
        at = d.next;
    }
    *all = n;
    return 1;
}

/* How far the driver is. 0: not all that serving the ring takes lies in memory, or the driver is too far. */
static int ring_available(Cpu *cpu, const struct LentRing *q, uint32_t *available)
{
    const uint8_t *ring = ring_ram(cpu, q->driver, 6 + 2ull * q->size);
    if (!ring || !ring_ram(cpu, q->device, 6 + 8ull * q->size)) return 0;
    *available = ring_load16(ring + 2);
    return ((*available - q->next) & 0xffff) <= q->size;
}

/* The head of chain number `next`, of a ring that has just been looked at. */
static uint32_t ring_head(Cpu *cpu, const struct LentRing *q, uint32_t next)
{
    return ring_load16(ring_ram(cpu, q->driver, 6 + 2ull * q->size) + 4 + 2 * (next % q->size));
}

/* The driver shall ring for the next chain. */
static void ring_ask(Cpu *cpu, struct LentRing *q)
{
    if (!q->event_index || q->asked == (int32_t)q->next) return;
    q->asked = (int32_t)q->next;
    ring_store16(cpu, q->device + 4 + 8ull * q->size, q->next);
}

static void ring_give_back(Cpu *cpu, struct LentRing *q, uint32_t head, uint32_t written)
{
    const uint32_t entry[2] = {head, written};
    ring_store(cpu, q->device + 4 + 8ull * (q->used % q->size), entry, 8);
    q->used = (q->used + 1) & 0xffff;
    ring_store16(cpu, q->device + 2, q->used);
}

static int ring_wants_interrupt(Cpu *cpu, struct LentRing *q)
{
    const uint8_t *ring = ring_ram(cpu, q->driver, 6 + 2ull * q->size);
    if (!ring) return 0;
    if (!q->event_index) return !(ring_load16(ring) & 1);
    const uint32_t event = ring_load16(ring + 4 + 2 * q->size);
    const uint32_t moved = (q->used - q->signalled) & 0xffff;
    const int wanted = q->fresh || ((q->used - event - 1) & 0xffff) < moved;
    q->signalled = q->used;
    q->fresh = 0;
    return wanted;
}
