/* Ports, CPUID, and the bulk paths of repeated string instructions. Included by the generated unit behind mem.c. */

/* A promise of the board about a register; see struct Steady. */
static inline int steady_read(const Cpu *cpu, uint64_t address, uint64_t *v)
{
    for (uint32_t k = 0; k < cpu->steady_count; k++) {
        if (cpu->steady[k].address != address) continue;
        *v = cpu->steady[k].value;
        return 1;
    }
    return 0;
}

/* The same about a port. */
static inline int steady_port(Cpu *cpu, uint32_t port, uint32_t size, uint32_t kind, uint32_t *v)
{
    for (uint32_t k = 0; k < cpu->steady_port_count; k++) {
        const struct SteadyPort *p = &cpu->steady_ports[k];
        if (p->port != port) continue;
        if (p->kind == 4) {
            *v = (uint32_t)((unsigned __int128)virtual_ns(cpu) * p->value / 1000000000u) & (uint32_t)p->until;
            return size == 4 && kind == 1;
        }
        *v = p->value;
        return size == 1 && (p->kind & kind) && virtual_ns(cpu) < p->until;
    }
    return 0;
}

/* Bytes of lent data that go through a data port. */
static inline void pio_moved(struct PioLoan *p, uint32_t bytes)
{
    const uint32_t before = p->at;
    p->at += bytes;
    if (p->at / p->block != before / p->block) p->pending = 1;
}

/* Lent bytes that an element of this size may be part of: none is in two blocks. */
static inline uint32_t pio_room(const struct PioLoan *p, uint32_t size)
{
    const uint32_t block = p->block - p->at % p->block;
    return block % size ? block : p->end - p->at;
}

/* A read of one of the ports of a disk that has lent its data; 0: it is none, or nothing is left. */
static int pio_read(Cpu *cpu, uint32_t port, uint32_t size, uint32_t *v)
{
    for (int k = 0; k < 2; k++) {
        struct PioLoan *p = &cpu->pio[k];
        if (!p->data || p->at >= p->end) continue;
        if (port == p->port && size > 1 && pio_room(p, size) >= size) {
            *v = 0;
            memcpy(v, p->data + p->at, size);
            pio_moved(p, size);
            return 1;
        }
        if (size > 1 || (port != p->port + 7 && port != p->control)) continue;
        if (port != p->control) p->pending = 0;
        *v = p->status;
        return 1;
    }
    return 0;
}

/* As many reads of lent data at once as there are and as are wanted. */
static uint32_t pio_block(Cpu *cpu, uint32_t port, uint32_t size, uint32_t count, uint8_t *to)
{
    for (int k = 0; k < 2; k++) {
        struct PioLoan *p = &cpu->pio[k];
        if (!p->data || port != p->port || size == 1) continue;
        const uint32_t room = pio_room(p, size) / size, n = count < room ? count : room;
        memcpy(to, p->data + p->at, (size_t)n * size);
        if (n) pio_moved(p, n * size);
        return n;
    }
    return 0;
}

static uint32_t phys_r32(Cpu *cpu, uint64_t address) { return (uint32_t)phys_read(cpu, address, 4); }
static uint64_t phys_r64(Cpu *cpu, uint64_t address) { return phys_read(cpu, address, 8); }
static void phys_w32(Cpu *cpu, uint64_t address, uint32_t v) { phys_write(cpu, address, 4, v); }
static void phys_w64(Cpu *cpu, uint64_t address, uint64_t v) { phys_write(cpu, address, 8, v); }

static int port_r(Cpu *cpu, uint32_t port, uint32_t size, uint32_t *v)
{
    cpu->stats.port_reads++;
    if (steady_port(cpu, port, size, 1, v) || pio_read(cpu, port, size, v)) return 0;
    *v = cpu->port_read(cpu->handle, port, size);
    return 0;
}

static int port_w(Cpu *cpu, uint32_t port, uint32_t size, uint32_t v)
{
    uint32_t same;
    cpu->stats.port_writes++;
    if (steady_port(cpu, port, size, 2, &same) && same == (v & 0xff)) return 0;
    cpu->port_write(cpu->handle, port, size, v);
    return 0;
}

static void cpuid_leaf(Cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    const struct CpuidLeaf *hit = NULL;
    for (uint32_t k = 0; k < cpu->cpuid_count; k++) {
        const struct CpuidLeaf *l = &cpu->cpuid[k];
        if (l->leaf == leaf && (l->subleaf == sub || l->subleaf == 0xffffffffu)) {
            hit = l;
            break;
        }
    }
    /* A leaf beyond the highest basic one reads as the highest basic one (vol. 2, CPUID). */
    if (!hit && cpu->cpuid_count) {
        for (uint32_t k = 0; k < cpu->cpuid_count; k++)
            if (cpu->cpuid[k].leaf == cpu->cpuid[0].eax) hit = &cpu->cpuid[k];
    }
    *a = hit ? hit->eax : 0;
    *b = hit ? hit->ebx : 0;
    *c = hit ? hit->ecx : 0;
    *d = hit ? hit->edx : 0;
}

static uint32_t feature_word(Cpu *cpu, uint32_t word) { return cpu->features[word & 3]; }

static void apic_base_changed(Cpu *cpu, uint32_t base) { cpu->event(cpu->handle, 4, base, 0); }

static void tsc_deadline_changed(Cpu *cpu, uint64_t deadline)
{
    cpu->event(cpu->handle, 9, (uint32_t)deadline, (uint32_t)(deadline >> 32));
}

/* FERR#: a PC routes it to IRQ 13. */
static void ferr(Cpu *cpu) { cpu->event(cpu->handle, 3, 0, 0); }

static inline int backwards(const Cpu *cpu) { return (cpu->eflags & 0x400) != 0; }

/* How many elements fit from `off` to the end of its page (downwards with DF: to its beginning), of the segment and of the
 * address size; 0 where the fast path does not reach. */
static uint32_t bulk_room(const Cpu *cpu, uint32_t seg, uint32_t off, uint32_t size, uint32_t asz, int write, uint8_t **host)
{
    const uint32_t lin = cpu->seg_base[seg] + off;
    const struct TlbEntry *e = tlb_at(cpu, lin);
    if ((lin & PAGE_MASK) != (write ? e->wtag : e->rtag)) return 0;
    uint64_t bytes = PAGE_SIZE - (lin & ~PAGE_MASK);
    const int64_t limit = write ? cpu->seg_wlim[seg] : cpu->seg_rlim[seg];
    if ((int64_t)off > limit) return 0;
    if ((uint64_t)limit - off + 1 < bytes) bytes = (uint64_t)limit - off + 1;
    const uint64_t top = asz == 16 ? 0x10000 : 0x100000000ull;
    if (off >= top) return 0;
    if (top - off < bytes) bytes = top - off;
    *host = (uint8_t *)(uintptr_t)(e->addend + lin);
    if (!backwards(cpu)) return (uint32_t)(bytes / size);
    if (bytes < size) return 0;
    const uint32_t below = lin & ~PAGE_MASK;
    return (off < below ? off : below) / size + 1;
}

static uint32_t bulk_budget(const Cpu *cpu, uint32_t count)
{
    if (cpu->single) return 0;
    const int64_t most = cpu->left + 1;
    return most < (int64_t)count ? (uint32_t)most : count;
}

static uint32_t bulk_movs(Cpu *cpu, uint32_t seg, uint32_t src, uint32_t dst, uint32_t count, uint32_t size, uint32_t asz)
{
    uint8_t *from, *to;
    uint32_t n = bulk_budget(cpu, count);
    if (n < 2) return 0;
    const uint32_t r = bulk_room(cpu, seg, src, size, asz, 0, &from);
    const uint32_t w = bulk_room(cpu, 0, dst, size, asz, 1, &to);
    if (r < n) n = r;
    if (w < n) n = w;
    if (n < 2) return 0;
    const size_t bytes = (size_t)n * size;
    const int down = backwards(cpu);
    const size_t start = down ? bytes - size : 0;
    if (to - start + bytes <= from - start || from - start + bytes <= to - start || (down ? from < to : to < from)) {
        memmove(to - start, from - start, bytes);
    } else {
        /* What was written is read again: element by element, as the instruction does. */
        const ptrdiff_t step = down ? -(ptrdiff_t)size : (ptrdiff_t)size;
        for (ptrdiff_t k = 0; k != step * (ptrdiff_t)n; k += step) {
            uint32_t x;
            memcpy(&x, from + k, size);
            memcpy(to + k, &x, size);
        }
    }
    cpu->left -= n - 1;
    return n;
}

/* By a pointer: compilers put a rep stos in place of a call, which is slow for a few hundred bytes. */
static void *(*const volatile fill)(void *, int, size_t) = memset;

static uint32_t bulk_stos(Cpu *cpu, uint32_t dst, uint32_t v, uint32_t count, uint32_t size, uint32_t asz)
{
    uint8_t *to;
    uint32_t n = bulk_budget(cpu, count);
    if (n < 2) return 0;
    const uint32_t w = bulk_room(cpu, 0, dst, size, asz, 1, &to);
    if (w < n) n = w;
    if (n < 2) return 0;
    if (backwards(cpu)) to -= (size_t)(n - 1) * size;
    if (size == 1 || v == (v & 0xff) * (size == 2 ? 0x101u : 0x1010101u)) {
        fill(to, (int)(v & 0xff), (size_t)n * size);
    } else {
        for (uint32_t k = 0; k < n; k++) memcpy(to + (size_t)k * size, &v, size);
    }
    cpu->left -= n - 1;
    return n;
}

static uint32_t bulk_ins(Cpu *cpu, uint32_t port, uint32_t dst, uint32_t count, uint32_t size, uint32_t asz)
{
    uint8_t *to;
    uint32_t n = bulk_budget(cpu, count);
    if (n < 2 || backwards(cpu)) return 0;
    const uint32_t w = bulk_room(cpu, 0, dst, size, asz, 1, &to);
    if (w < n) n = w;
    if (n < 2) return 0;
    const uint32_t lent = pio_block(cpu, port, size, n, to);
    n = lent ? lent : cpu->port_read_block(cpu->handle, port, size, n, to);
    if (n) cpu->left -= n - 1;
    return n;
}

static uint32_t bulk_outs(Cpu *cpu, uint32_t port, uint32_t seg, uint32_t src, uint32_t count, uint32_t size, uint32_t asz)
{
    uint8_t *from;
    uint32_t n = bulk_budget(cpu, count);
    if (n < 2 || backwards(cpu)) return 0;
    const uint32_t r = bulk_room(cpu, seg, src, size, asz, 0, &from);
    if (r < n) n = r;
    if (n < 2) return 0;
    n = cpu->port_write_block(cpu->handle, port, size, n, from);
    if (n) cpu->left -= n - 1;
    return n;
}
