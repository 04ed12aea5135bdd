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
        *v = p->value;
        return size == 1 && (p->kind & kind) && virtual_ns(cpu) < p->until;
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
    if (steady_port(cpu, port, size, 1, v)) return 0;
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

/* How many elements fit from `off` to the end of its page, of the segment and of the address size; 0 where the fast path
 * does not reach. */
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
    return (uint32_t)(bytes / size);
}

static uint32_t bulk_budget(const Cpu *cpu, uint32_t count)
{
    if (cpu->single || (cpu->eflags & 0x400)) return 0;
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
    if (to + bytes <= from || from + bytes <= to) {
        memcpy(to, from, bytes);
    } else {
        /* Overlap: element by element, as the instruction does. */
        for (uint32_t k = 0; k < n; k++) {
            uint32_t x;
            memcpy(&x, from + (size_t)k * size, size);
            memcpy(to + (size_t)k * size, &x, size);
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
    if (n < 2) return 0;
    const uint32_t w = bulk_room(cpu, 0, dst, size, asz, 1, &to);
    if (w < n) n = w;
    if (n < 2) return 0;
    n = cpu->port_read_block(cpu->handle, port, size, n, to);
    if (n) cpu->left -= n - 1;
    return n;
}

static uint32_t bulk_outs(Cpu *cpu, uint32_t port, uint32_t seg, uint32_t src, uint32_t count, uint32_t size, uint32_t asz)
{
    uint8_t *from;
    uint32_t n = bulk_budget(cpu, count);
    if (n < 2) return 0;
    const uint32_t r = bulk_room(cpu, seg, src, size, asz, 0, &from);
    if (r < n) n = r;
    if (n < 2) return 0;
    n = cpu->port_write_block(cpu->handle, port, size, n, from);
    if (n) cpu->left -= n - 1;
    return n;
}
