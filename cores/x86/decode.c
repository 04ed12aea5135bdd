/* Decoding by the generated tables (decoder.py): prefixes, opcode, ModRM, immediates. SDM vol. 2, chapter 2. */

struct Fetcher {
    Cpu *cpu;
    const uint8_t *bytes; /* straight from memory, or NULL to fetch one by one */
    uint32_t room;
    uint32_t at;
    int bad; /* 1: a fault was raised, 2: ran out of bytes */
};

static int fetch_slow(Cpu *cpu, uint32_t eip, uint8_t *b)
{
    uint64_t at;
    if (eip > cpu->seg_limit[1]) return raise_fault(cpu, 13, 0);
    if (translate(cpu, cpu->seg_base[1] + eip, 4 | (cpu->cpl == 3 ? 2 : 0), &at)) return 1;
    *b = (uint8_t)phys_read(cpu, at, 1);
    return 0;
}

static uint32_t next_byte(struct Fetcher *f, uint32_t eip)
{
    if (unlikely(f->at >= 15)) {
        if (!f->bad) f->bad = 3;
        return 0;
    }
    if (f->bytes) {
        if (unlikely(f->at >= f->room)) {
            if (!f->bad) f->bad = 2;
            return 0;
        }
        return f->bytes[f->at++];
    }
    uint8_t b = 0;
    if (!f->bad && fetch_slow(f->cpu, eip + f->at, &b)) f->bad = 1;
    f->at++;
    return b;
}

static uint32_t next_number(struct Fetcher *f, uint32_t eip, uint32_t size)
{
    uint32_t v = 0;
    for (uint32_t k = 0; k < size; k++) v |= next_byte(f, eip) << (8 * k);
    return v;
}

static inline uint8_t byte_offset(uint8_t r) { return (uint8_t)(r < 4 ? r * 8 : (r - 4) * 8 + 1); }

/* 0: decoded (an undefined opcode gets the #UD handler), 1: fault raised, 2: bytes ran out, 3: longer than 15 bytes. */
static int decode(Cpu *cpu, struct Fetcher *f, uint32_t eip, uint32_t big, struct Insn *i)
{
    static const uint8_t ea16_base[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const uint8_t ea16_index[8] = {6, 7, 6, 7, 16, 16, 16, 16};
    uint32_t osz = big, asz = big, rep = 0, lock = 0, opsize = 0, op;
    int seg = -1;
    memset(i, 0, sizeof *i);
    i->start = eip;
    i->base = i->index = 16;
    i->scale = 1;
    i->seg = 3;
    for (;;) {
        op = next_byte(f, eip);
        if (unlikely(f->bad)) return f->bad;
        switch (op) {
        case 0x26: seg = 0; continue;
        case 0x2e: seg = 1; continue;
        case 0x36: seg = 2; continue;
        case 0x3e: seg = 3; continue;
        case 0x64: seg = 4; continue;
        case 0x65: seg = 5; continue;
        case 0x66: opsize = 1; continue;
        case 0x67: asz = !big; continue;
        case 0xf0: lock = 1; continue;
        case 0xf2: rep = 3; continue;
        case 0xf3: rep = 2; continue;
        default: break;
        }
        break;
    }
    if (opsize) osz = !big;
    if (op == 0x0f) {
        op = next_byte(f, eip);
        op = op == 0x38 ? 512 + next_byte(f, eip) : op == 0x3a ? 768 + next_byte(f, eip) : 256 + op;
    }
    const struct SlotInfo *slot = &slot_table[op];
    uint32_t number = 0, mem = 0, digit = 0, rm = 0;
    i->eamask = asz ? 0xffffffffu : 0xffffu;
    if (likely(slot->any_form)) {
        if (slot->modrm) {
            const uint32_t modrm = next_byte(f, eip);
            const uint32_t mod = modrm >> 6;
            digit = (modrm >> 3) & 7;
            rm = modrm & 7;
            i->fop = (uint16_t)((op & 7) << 8 | modrm);
            mem = mod != 3 && !slot->register_only;
            i->reg = (uint8_t)digit;
            i->rm = (uint8_t)rm;
            if (mem) {
                if (!asz) {
                    i->base = ea16_base[rm];
                    i->index = ea16_index[rm];
                    if (mod == 0 && rm == 6) {
                        i->base = 16;
                        i->disp = next_number(f, eip, 2);
                    } else if (i->base == 5) {
                        i->seg = 2;
                    }
                } else {
                    i->base = (uint8_t)rm;
                    if (rm == 4) {
                        const uint32_t sib = next_byte(f, eip);
                        i->base = sib & 7;
                        i->index = ((sib >> 3) & 7) == 4 ? 16 : (sib >> 3) & 7;
                        i->scale = (uint8_t)(1u << (sib >> 6));
                    }
                    if (mod == 0 && i->base == 5) {
                        i->base = 16;
                        i->disp = next_number(f, eip, 4);
                    } else if (i->base == 4 || i->base == 5) {
                        i->seg = 2;
                    }
                }
                if (mod == 1) i->disp = (uint32_t)(int32_t)(int8_t)next_byte(f, eip);
                else if (mod == 2) i->disp = next_number(f, eip, asz ? 4 : 2);
            }
        }
        const uint8_t prefix = (uint8_t)(rep ? rep : opsize);
        number = form_lookup[slot->base + prefix * slot->strides[0] + osz * slot->strides[1] + asz * slot->strides[2] +
                             mem * slot->strides[3] + digit * slot->strides[4] + rm * slot->strides[5]];
    }
    if (seg >= 0) i->seg = (uint8_t)seg;
    const struct FormInfo *form = &form_table[number];
    if (number) {
        if (form->flags & FORM_OPREG) i->reg = op & 7;
        if (form->flags & FORM_REG8) i->reg = byte_offset(i->reg);
        if (form->flags & FORM_RM8) i->rm = byte_offset(i->rm);
        for (int k = 0; k < 2; k++) {
            switch (form->imm[k]) {
            case IMM_IB: i->imm = next_byte(f, eip); break;
            case IMM_IBS: i->imm = (uint32_t)(int32_t)(int8_t)next_byte(f, eip); break;
            case IMM_IW: i->imm = next_number(f, eip, 2); break;
            case IMM_ID: i->imm = next_number(f, eip, 4); break;
            case IMM_IZ: i->imm = next_number(f, eip, osz ? 4 : 2); break;
            case IMM_JZ: i->imm = osz ? next_number(f, eip, 4) : (uint32_t)(int32_t)(int16_t)next_number(f, eip, 2); break;
            case IMM_IB2: i->imm2 = (uint16_t)next_byte(f, eip); break;
            case IMM_AP:
                i->imm = next_number(f, eip, osz ? 4 : 2);
                i->imm2 = (uint16_t)next_number(f, eip, 2);
                break;
            case IMM_O: i->disp = next_number(f, eip, asz ? 4 : 2); break;
            default: break;
            }
        }
        if (form->feature_word < 3 && !(cpu->features[form->feature_word] >> form->feature_bit & 1)) number = 0;
        if (lock && !(form->flags & FORM_LOCK)) number = 0;
    }
    if (unlikely(f->bad)) return f->bad;
    form = &form_table[number];
    i->fn = form->fn;
    /* Flat handlers: every data segment is flat, and so is the one of this operand. */
    if ((cpu->lookup_key & KEY_FLAT) && form->flat[0] && i->eamask == 0xffffffffu && (i->seg == 0 || i->seg == 2 || i->seg == 3))
        i->fn = form->flat[i->index != 16];
    i->form = (uint16_t)number;
    i->flags = form->flags;
    i->len = (uint8_t)f->at;
    i->next = eip + f->at;
    return 0;
}

static void raise_undefined(Cpu *cpu) { raise_fault(cpu, 6, 0); }

static int fetch_fill(Cpu *cpu, uint32_t eip, uint32_t lin)
{
    uint64_t at;
    if (eip > cpu->seg_limit[1]) return raise_fault(cpu, 13, 0);
    return translate(cpu, lin, 4 | (cpu->cpl == 3 ? 2 : 0), &at);
}

/* For a block: `room` bytes straight from memory. Nonzero: not a whole instruction. */
static int decode_at(Cpu *cpu, const uint8_t *bytes, uint32_t room, uint32_t eip, uint32_t key, struct Insn *i)
{
    struct Fetcher f = {cpu, bytes, room, 0, 0};
    (void)key;
    return decode(cpu, &f, eip, cpu->big, i);
}

/* The instruction at CS:EIP, byte by byte where it may leave its page. Nonzero: a fault was raised. */
static int decode_alone(Cpu *cpu, struct Insn *i)
{
    struct Fetcher f = {cpu, NULL, 0, 0, 0};
    const uint32_t lin = code_linear(cpu, cpu->eip);
    const struct FetchEntry *fe = fetch_at(cpu, lin);
    if (PAGE_SIZE - (lin & ~PAGE_MASK) >= 16 && fe->tag == fetch_tag(lin) && (uint64_t)cpu->eip + 15 <= cpu->seg_limit[1]) {
        f.bytes = cpu->ram + fe->offset + (lin & ~PAGE_MASK);
        f.room = 16;
    }
    const int bad = decode(cpu, &f, cpu->eip, cpu->big, i);
    if (bad == 3) raise_fault(cpu, 13, 0);
    return bad;
}
