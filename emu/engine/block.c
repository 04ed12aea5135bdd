/* The decoded-block cache: keyed by physical address, EIP, mode and CS limit; forgotten page by page when code is written. */

static const struct Insn *op_end(Cpu *cpu, const struct Insn *i)
{
    return branch_link(cpu, i + 1, i->imm, 0, i->start);
}

static const struct Insn *op_done(Cpu *cpu, const struct Insn *i)
{
    cpu->eip = i->start;
    return EXIT_DONE;
}

static const struct Insn *op_fault(Cpu *cpu, const struct Insn *i)
{
    cpu->eip = i->start;
    cpu->left += i->rest;
    return EXIT_FAULT;
}

static const struct Insn *op_undefined(Cpu *cpu, const struct Insn *i)
{
    raise_fault(cpu, 6, 0);
    return op_fault(cpu, i);
}

static void code_flush(Cpu *cpu)
{
    memset(cpu->hash, 0, HASH_SIZE * sizeof *cpu->hash);
    for (uint32_t k = 0; k < cpu->code_page_count; k++) cpu->page_code[cpu->code_pages[k].page] = 0;
    cpu->code_page_count = 0;
    cpu->code_page_free = 0;
    cpu->arena_used = 0;
    cpu->generation++;
    cpu->stats.code_flushes++;
}

static inline uint32_t block_hash(uint64_t offset, uint32_t eip)
{
    return ((uint32_t)offset * 0x9e3779b1u ^ eip * 0x85ebca6bu) >> 17 & (HASH_SIZE - 1);
}

/* Forget every block of a page, which is plain memory again. */
static void page_forget(Cpu *cpu, uint32_t index)
{
    struct CodePage *p = &cpu->code_pages[index - 1];
    for (struct Block *b = p->blocks; b; b = b->page_next) {
        struct Block **at = &cpu->hash[block_hash(b->offset, b->eip)];
        while (*at && *at != b) at = &(*at)->hash_next;
        if (*at) *at = b->hash_next;
    }
    p->blocks = NULL;
    p->granules = cpu->code_page_free;
    cpu->code_page_free = index;
    cpu->page_code[p->page] = 0;
    cpu->generation++;
    cpu->stats.page_invalidations++;
}

/* Whether bytes of RAM within one page belong to a decoded block. */
static int holds_code(const Cpu *cpu, uint64_t offset, uint32_t size)
{
    const uint32_t index = cpu->page_code[offset >> 12];
    if (likely(!index)) return 0;
    const struct CodePage *p = &cpu->code_pages[index - 1];
    const uint32_t first = (uint32_t)(offset >> 6) & 63, last = (uint32_t)((offset + size - 1) >> 6) & 63;
    const uint64_t hit = (last == 63 ? ~0ull : (1ull << (last + 1)) - 1) & ~((1ull << first) - 1);
    if (!(p->granules & hit)) return 0;
    /* Variables often lie beside code: look at the bytes of each block before anything is forgotten. */
    for (const struct Block *b = p->blocks; b; b = b->page_next)
        if (offset < b->offset + b->bytes && b->offset < offset + size) return 1;
    return 0;
}

/* RAM changed at an offset of the buffer; `size` bytes lie within one page. */
static void code_written(Cpu *cpu, uint64_t offset, uint32_t size)
{
    if (unlikely(holds_code(cpu, offset, size))) page_forget(cpu, cpu->page_code[offset >> 12]);
}

/* Make the page known as one with code, so that writes to it take the slow path. */
static uint32_t page_claim(Cpu *cpu, uint64_t offset)
{
    uint32_t *slot = &cpu->page_code[offset >> 12];
    if (!*slot) {
        uint32_t index = cpu->code_page_free;
        if (index) {
            cpu->code_page_free = (uint32_t)cpu->code_pages[index - 1].granules;
        } else {
            if (cpu->code_page_count == cpu->code_page_limit) return 0;
            index = ++cpu->code_page_count;
        }
        struct CodePage *p = &cpu->code_pages[index - 1];
        p->blocks = NULL;
        p->granules = 0;
        p->page = offset >> 12;
        *slot = index;
        protect_page(cpu, offset);
    }
    return *slot;
}

/* Decode from `eip` to the end of the page, of the block, or to a transfer. NULL where not even one instruction fits: the
 * caller then runs that instruction alone. */
static struct Block *build_block(Cpu *cpu, uint32_t eip, uint64_t offset)
{
    const uint64_t need = sizeof(struct Block) + (BLOCK_MAX + 2) * sizeof(struct Insn);
    if (cpu->arena_used + need > cpu->arena_size) code_flush(cpu);
    uint32_t index = page_claim(cpu, offset);
    if (!index) {
        code_flush(cpu);
        index = page_claim(cpu, offset);
    }
    struct Block *b = (struct Block *)(cpu->arena + cpu->arena_used);
    uint32_t room = PAGE_SIZE - (uint32_t)(offset & (PAGE_SIZE - 1));
    if (eip > cpu->seg_limit[1]) return NULL;
    if ((uint64_t)cpu->seg_limit[1] - eip + 1 < room) room = cpu->seg_limit[1] - eip + 1;
    uint32_t at = 0, n = 0;
    int open = 1;
    while (n < BLOCK_MAX && open) {
        struct Fetcher f = {cpu, cpu->ram + offset + at, room - at, 0, 0};
        struct Insn *i = &b->insn[n];
        if (decode(cpu, &f, eip + at, cpu->big, i)) break;
        at += i->len;
        n++;
        open = !(i->flags & FORM_LAST);
    }
    if (!n) return NULL;
    for (uint32_t k = 0; k < n; k++) b->insn[k].rest = (uint16_t)(n - k);
    memset(&b->insn[n], 0, sizeof b->insn[n]);
    b->insn[n].fn = op_end;
    /* An open block ends in op_end; the slot behind the last instruction holds the links. */
    uint32_t slots = n + 1;
    if (open) {
        b->insn[n].start = eip + at;
        b->insn[n].imm = eip;
        memset(&b->insn[n + 1], 0, sizeof b->insn[n + 1]);
        slots++;
    }
    b->eip = eip;
    b->cs_limit = cpu->seg_limit[1];
    b->offset = offset;
    b->key = cpu->lookup_key;
    b->n = (uint16_t)n;
    b->bytes = (uint16_t)at;
    cpu->arena_used += sizeof(struct Block) + slots * sizeof(struct Insn);
    struct Block **head = &cpu->hash[block_hash(offset, eip)];
    b->hash_next = *head;
    *head = b;
    struct CodePage *p = &cpu->code_pages[index - 1];
    b->page_next = p->blocks;
    p->blocks = b;
    for (uint32_t g = (uint32_t)(offset >> 6) & 63; g <= ((uint32_t)((offset + at - 1) >> 6) & 63); g++) p->granules |= 1ull << g;
    cpu->stats.blocks++;
    cpu->stats.decoded += n;
    return b;
}

/* The block at CS:EIP. *status: 0 found, 1 a fault was raised, 2 the instruction must run alone. */
static struct Block *find_block(Cpu *cpu, int *status)
{
    const uint32_t lin = cpu->seg_base[1] + cpu->eip;
    struct JumpEntry *j = &cpu->jumps[(lin ^ (lin >> 12)) & (JUMP_SIZE - 1)];
    *status = 0;
    if (j->lin == lin && j->generation == cpu->generation && j->block->eip == cpu->eip && j->block->key == cpu->lookup_key &&
        j->block->cs_limit == cpu->seg_limit[1])
        return j->block;
    cpu->stats.lookups++;
    const uint32_t user = cpu->cpl == 3;
    const struct FetchEntry *f = &cpu->fetch[(lin >> 12) & (FETCH_SIZE - 1)];
    if (f->tag != ((lin & PAGE_MASK) | user)) {
        uint64_t at;
        if (cpu->eip > cpu->seg_limit[1]) {
            *status = raise_fault(cpu, 13, 0);
            return NULL;
        }
        if (translate(cpu, lin, 4 | user << 1, &at)) {
            *status = cpu->retry ? 2 : 1;
            cpu->retry = 0;
            return NULL;
        }
        if (f->tag != ((lin & PAGE_MASK) | user)) {
            *status = 2;
            return NULL;
        }
    }
    const uint64_t offset = f->offset + (lin & ~PAGE_MASK);
    struct Block *b = cpu->hash[block_hash(offset, cpu->eip)];
    while (b && !(b->offset == offset && b->eip == cpu->eip && b->key == cpu->lookup_key && b->cs_limit == cpu->seg_limit[1]))
        b = b->hash_next;
    if (!b) b = build_block(cpu, cpu->eip, offset);
    if (!b) {
        *status = 2;
        return NULL;
    }
    j->lin = lin;
    j->generation = cpu->generation;
    j->block = b;
    return b;
}
