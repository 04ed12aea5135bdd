/* Physical memory: RAM, ROM and the bus. Included by the generated unit behind the core's core.h. */

/* What is in memory as the guest has it, in the bytes of a value. */
static inline uint64_t bytes_at(const uint8_t *p, uint32_t size)
{
    uint64_t v = 0;
    /* By known sizes: a value that is put together in memory waits for the store. */
    switch (size) {
    case 1: return *p;
    case 2: memcpy(&v, p, 2); return v;
    case 4: memcpy(&v, p, 4); return v;
    case 8: memcpy(&v, p, 8); return v;
    }
    memcpy(&v, p, size);
    return v;
}

static const struct Region *find_region(const Cpu *cpu, uint64_t address)
{
    for (uint32_t k = 0; k < cpu->region_count; k++) {
        const struct Region *r = &cpu->regions[k];
        if (address - r->base < r->size) return r->kind == KIND_BUS ? NULL : r;
    }
    return NULL;
}

static uint64_t bus_read(Cpu *cpu, uint64_t address, uint32_t size)
{
    if (cpu->peeking) return ~0ull;
    if (unlikely(cpu->walking)) {
        /* Page tables in device memory: a "not present" ends the walk, and the instruction runs alone. */
        cpu->retry = 1;
        return 0;
    }
    cpu->stats.mmio_reads++;
    if (size == 8) return cpu->mmio_read(cpu->handle, address, 4) | (uint64_t)cpu->mmio_read(cpu->handle, address + 4, 4) << 32;
    return cpu->mmio_read(cpu->handle, address, size);
}

static void bus_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
#ifdef LENT_DEVICE
    if (apic_write(cpu, address, size, v) || blk_write(cpu, address, size, v) || net_write(cpu, address, size, v)) return;
#endif
    cpu->stats.mmio_writes++;
    if (size == 8) {
        cpu->mmio_write(cpu->handle, address, 4, (uint32_t)v);
        cpu->mmio_write(cpu->handle, address + 4, 4, (uint32_t)(v >> 32));
    } else {
        cpu->mmio_write(cpu->handle, address, size, (uint32_t)v);
    }
}

/* A piece that lies within one page. */
static uint64_t phys_read(Cpu *cpu, uint64_t address, uint32_t size)
{
    address = on_bus(cpu, address);
    const struct Region *r = find_region(cpu, address);
    if (r && address - r->base + size <= r->size) {
        return bytes_at(cpu->ram + r->offset + (address - r->base), size);
    }
    if (r) {
        uint64_t v = 0;
        for (uint32_t k = 0; k < size; k++) v |= phys_read(cpu, address + k, 1) << (8 * k);
        return v;
    }
    return bus_read(cpu, address, size);
}

static void code_written(Cpu *cpu, uint64_t offset, uint32_t size);
static int holds_code(const Cpu *cpu, uint64_t offset, uint32_t size);
static void page_forget(Cpu *cpu, uint32_t index);

static void phys_write(Cpu *cpu, uint64_t address, uint32_t size, uint64_t v)
{
    if (cpu->peeking) return;
    address = on_bus(cpu, address);
    const struct Region *r = find_region(cpu, address);
    if (r && address - r->base + size <= r->size) {
        if (r->kind == KIND_ROM) return;
        const uint64_t offset = r->offset + (address - r->base);
        if (cpu->walking && holds_code(cpu, offset, size)) {
            /* The accessed bit of a page table that is also code, perhaps the code that runs. */
            cpu->retry = 1;
            return;
        }
        code_written(cpu, offset, size);
        memcpy(cpu->ram + offset, &v, size);
        return;
    }
    if (r) {
        for (uint32_t k = 0; k < size; k++) phys_write(cpu, address + k, 1, (v >> (8 * k)) & 0xff);
        return;
    }
    bus_write(cpu, address, size, v);
}

/* The first watch that an access meets, from 1; 0 for none. */
static uint32_t watched(const Cpu *cpu, uint32_t lin, uint32_t size, uint32_t kind)
{
    for (uint32_t k = 0; k < cpu->watch_count; k++) {
        const struct Watch *w = &cpu->watches[k];
        if ((w->kind & kind) && (lin - w->at < w->size || w->at - lin < size)) return k + 1;
    }
    return 0;
}

/* Whether an access must wait until its instruction runs alone, so that the processor can stop right behind it. */
static inline int watched_here(const Cpu *cpu, uint32_t lin, uint32_t size, uint32_t kind)
{
    return unlikely(cpu->watch_count) && !cpu->single && watched(cpu, lin, size, kind);
}

static inline int watched_page(const Cpu *cpu, uint32_t lin)
{
    return unlikely(cpu->watch_count) && !cpu->single && watched(cpu, lin & PAGE_MASK, PAGE_SIZE, 3);
}

/* An access was made: the first watch that an instruction meets is the one that is told. */
static inline void watch_met(Cpu *cpu, uint32_t lin, uint32_t size, uint32_t kind)
{
    if (likely(!cpu->watch_count)) return;
    const uint32_t n = watched(cpu, lin, size, kind);
    if (!n || cpu->debug_stop) return;
    cpu->debug_stop = 1 + n;
    emu_stop(cpu, STOP_STOP);
}

static uint64_t virtual_ns(Cpu *cpu)
{
    /* A reading instruction ends its block and is not yet counted. */
    return (cpu->icount_end - (uint64_t)cpu->left - cpu->running) * NS_PER_INSN + cpu->time_offset;
}

static void unimplemented(Cpu *cpu, uint32_t kind, uint32_t number) { cpu->event(cpu->handle, 1, kind, number); }
