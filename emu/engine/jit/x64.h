/* x86-64 encoder: one function per kind of instruction, operands in Intel order (destination first).

Sizes are bytes: 1, 2, 4 or 8. No function chooses another instruction than its name says, and a move never touches the
flags. Eight-bit registers are al..dil and r8b..r15b; ah..bh cannot be named. Opcodes and prefixes: Intel SDM volume 2,
chapter 2 and appendix A. Depends on nothing but <stdint.h> and <string.h>. */

#include <stdint.h>
#include <string.h>

#define X64 __attribute__((unused)) static
#define X64_INLINE __attribute__((unused)) static inline

/* Where code goes. Without room for the longest instruction `overflow` is set and nothing more is written. */
struct Emit {
    uint8_t *at;
    uint8_t *end;
    uint32_t overflow;
};

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { X_ADD, X_OR, X_ADC, X_SBB, X_AND, X_SUB, X_XOR, X_CMP };
enum { X_ROL, X_ROR, X_RCL, X_RCR, X_SHL, X_SHR, X_SAR = 7 };
enum { X_O, X_NO, X_B, X_AE, X_E, X_NE, X_BE, X_A, X_S, X_NS, X_P, X_NP, X_L, X_GE, X_LE, X_G };
enum { X_C = X_B, X_NC = X_AE, X_Z = X_E, X_NZ = X_NE };
enum { X_ROOM = 16 };

/* [base + index * scale + disp]; base -1: the index and the displacement alone; index -1: none. */
struct Mem {
    int base;
    int index;
    int scale;
    int32_t disp;
};

X64_INLINE struct Mem mem_at(int base, int32_t disp)
{
    const struct Mem m = {base, -1, 1, disp};
    return m;
}

X64_INLINE struct Mem mem_index(int base, int index, int scale, int32_t disp)
{
    const struct Mem m = {base, index, scale, disp};
    return m;
}

/* Pieces. Opcodes carry their map: 0xNN, 0x0FNN, 0x0F38NN, 0x0F3ANN. A prefix of two bytes is written high byte first. */

X64_INLINE int x_room(struct Emit *e)
{
    if (!e->overflow && e->end - e->at >= X_ROOM) return 1;
    e->overflow = 1;
    return 0;
}

X64_INLINE void x_byte(struct Emit *e, int v)
{
    *e->at++ = (uint8_t)v;
}

/* The low `size` bytes of an immediate, four of them for eight. */
X64_INLINE void x_imm(struct Emit *e, int size, int32_t v)
{
    const int n = size == 8 ? 4 : size;
    const uint32_t u = (uint32_t)v;
    const uint8_t bytes[4] = {(uint8_t)u, (uint8_t)(u >> 8), (uint8_t)(u >> 16), (uint8_t)(u >> 24)};
    memcpy(e->at, bytes, 4); /* X_ROOM covers what is written too far */
    e->at += n;
}

X64_INLINE int x_fits8(int64_t v)
{
    return v >= -128 && v <= 127;
}

X64_INLINE void x_opcode(struct Emit *e, int prefix, int rex, int opcode)
{
    if (prefix > 0xFF) x_byte(e, prefix >> 8);
    if (prefix) x_byte(e, prefix);
    if (rex) x_byte(e, 0x40 | rex);
    if (opcode > 0xFFFF) x_byte(e, opcode >> 16);
    if (opcode > 0xFF) x_byte(e, opcode >> 8);
    x_byte(e, opcode);
}

/* ModRM with a register as the second operand. `rex` is what the operands' numbers do not give: 8 for W, 0x40 to force one. */
X64 int x_op_reg(struct Emit *e, int prefix, int rex, int opcode, int reg, int rm)
{
    if (!x_room(e)) return 0;
    x_opcode(e, prefix, rex | (reg >> 3 & 1) << 2 | (rm >> 3 & 1), opcode);
    x_byte(e, 0xC0 | (reg & 7) << 3 | (rm & 7));
    return 1;
}

X64 int x_op_mem(struct Emit *e, int prefix, int rex, int opcode, int reg, struct Mem m)
{
    if (!x_room(e)) return 0;
    if (m.index == RSP) {
        e->overflow = 1; /* no such address: better no code than another one */
        return 0;
    }
    if (m.index >= 0) rex |= (m.index >> 3) << 1;
    if (m.base >= 0) rex |= m.base >> 3;
    x_opcode(e, prefix, rex | (reg >> 3 & 1) << 2, opcode);
    const int field = (reg & 7) << 3;
    const int sib = m.index >= 0 || m.base < 0 || (m.base & 7) == RSP;
    const int mod = m.base < 0 ? 0 : m.disp == 0 && (m.base & 7) != RBP ? 0 : x_fits8(m.disp) ? 0x40 : 0x80;
    x_byte(e, mod | field | (sib ? 4 : m.base & 7));
    if (sib) {
        const int scale = m.index < 0 ? 0 : m.scale == 8 ? 3 : m.scale >> 1;
        x_byte(e, scale << 6 | (m.index < 0 ? 4 : m.index & 7) << 3 | (m.base < 0 ? 5 : m.base & 7));
    }
    if (m.base < 0 || mod == 0x80) x_imm(e, 4, m.disp);
    else if (mod) x_byte(e, m.disp);
    return 1;
}

/* What the operand size adds. `low` opcodes are for bytes; the next one is for the other sizes. */
X64_INLINE int x_prefix(int size)
{
    return size == 2 ? 0x66 : 0;
}

X64_INLINE int x_rex(int size)
{
    return size == 8 ? 8 : 0;
}

X64_INLINE int x_wide(int size)
{
    return size != 1;
}

/* spl, bpl, sil and dil exist only behind a REX prefix. */
X64_INLINE int x_rex8(int size, int reg)
{
    return size == 1 && reg >= RSP ? 0x40 : 0;
}

X64_INLINE int x_low_reg(struct Emit *e, int low, int size, int reg, int rm)
{
    return x_op_reg(e, x_prefix(size), x_rex(size) | x_rex8(size, reg) | x_rex8(size, rm), low + x_wide(size), reg, rm);
}

X64_INLINE int x_low_mem(struct Emit *e, int low, int size, int reg, struct Mem m)
{
    return x_op_mem(e, x_prefix(size), x_rex(size) | x_rex8(size, reg), low + x_wide(size), reg, m);
}

/* The same with a digit in the place of the register. */
X64_INLINE int x_digit_reg(struct Emit *e, int low, int size, int digit, int rm)
{
    return x_op_reg(e, x_prefix(size), x_rex(size) | x_rex8(size, rm), low + x_wide(size), digit, rm);
}

X64_INLINE int x_digit_mem(struct Emit *e, int low, int size, int digit, struct Mem m)
{
    return x_op_mem(e, x_prefix(size), x_rex(size), low + x_wide(size), digit, m);
}

/* Arithmetic and logic. */

X64 void x_alu_rr(struct Emit *e, int op, int size, int dst, int src)
{
    x_low_reg(e, op << 3, size, src, dst);
}

X64 void x_alu_rm(struct Emit *e, int op, int size, int dst, struct Mem m)
{
    x_low_mem(e, op << 3 | 2, size, dst, m);
}

X64 void x_alu_mr(struct Emit *e, int op, int size, struct Mem m, int src)
{
    x_low_mem(e, op << 3, size, src, m);
}

/* A word's immediate counts modulo 10000h, so that FFFFh is as short as -1. */
X64_INLINE int32_t x_imm_of(int size, int32_t imm)
{
    return size == 1 ? (int8_t)imm : size == 2 ? (int16_t)imm : imm;
}

X64 void x_alu_ri(struct Emit *e, int op, int size, int dst, int32_t imm)
{
    const int32_t v = x_imm_of(size, imm);
    const int is_short = size != 1 && x_fits8(v);
    if (x_digit_reg(e, is_short ? 0x82 : 0x80, size, op, dst)) x_imm(e, is_short ? 1 : size, v);
}

X64 void x_alu_mi(struct Emit *e, int op, int size, struct Mem m, int32_t imm)
{
    const int32_t v = x_imm_of(size, imm);
    const int is_short = size != 1 && x_fits8(v);
    if (x_digit_mem(e, is_short ? 0x82 : 0x80, size, op, m)) x_imm(e, is_short ? 1 : size, v);
}

X64 void x_test_rr(struct Emit *e, int size, int a, int b)
{
    x_low_reg(e, 0x84, size, b, a);
}

X64 void x_test_ri(struct Emit *e, int size, int a, int32_t imm)
{
    if (x_digit_reg(e, 0xF6, size, 0, a)) x_imm(e, size, imm);
}

X64 void x_test_mr(struct Emit *e, int size, struct Mem m, int reg)
{
    x_low_mem(e, 0x84, size, reg, m);
}

X64 void x_test_mi(struct Emit *e, int size, struct Mem m, int32_t imm)
{
    if (x_digit_mem(e, 0xF6, size, 0, m)) x_imm(e, size, imm);
}

X64 void x_neg(struct Emit *e, int size, int dst)
{
    x_digit_reg(e, 0xF6, size, 3, dst);
}

X64 void x_not(struct Emit *e, int size, int dst)
{
    x_digit_reg(e, 0xF6, size, 2, dst);
}

X64 void x_inc(struct Emit *e, int size, int dst)
{
    x_digit_reg(e, 0xFE, size, 0, dst);
}

X64 void x_dec(struct Emit *e, int size, int dst)
{
    x_digit_reg(e, 0xFE, size, 1, dst);
}

/* rdx:rax (ax for bytes) by one operand. */
X64 void x_mul1(struct Emit *e, int size, int src)
{
    x_digit_reg(e, 0xF6, size, 4, src);
}

X64 void x_imul1(struct Emit *e, int size, int src)
{
    x_digit_reg(e, 0xF6, size, 5, src);
}

X64 void x_div1(struct Emit *e, int size, int src)
{
    x_digit_reg(e, 0xF6, size, 6, src);
}

X64 void x_idiv1(struct Emit *e, int size, int src)
{
    x_digit_reg(e, 0xF6, size, 7, src);
}

/* Sizes 2, 4 and 8. */
X64 void x_imul_rr(struct Emit *e, int size, int dst, int src)
{
    x_op_reg(e, x_prefix(size), x_rex(size), 0x0FAF, dst, src);
}

X64 void x_imul_rm(struct Emit *e, int size, int dst, struct Mem m)
{
    x_op_mem(e, x_prefix(size), x_rex(size), 0x0FAF, dst, m);
}

X64 void x_imul_rri(struct Emit *e, int size, int dst, int src, int32_t imm)
{
    const int32_t v = x_imm_of(size, imm);
    const int is_short = x_fits8(v);
    if (x_op_reg(e, x_prefix(size), x_rex(size), is_short ? 0x6B : 0x69, dst, src)) x_imm(e, is_short ? 1 : size, v);
}

X64 void x_cdq(struct Emit *e)
{
    if (x_room(e)) x_byte(e, 0x99);
}

X64 void x_cqo(struct Emit *e)
{
    if (x_room(e)) x_opcode(e, 0, 8, 0x99);
}

/* Moves. */

X64 void x_mov_rr(struct Emit *e, int size, int dst, int src)
{
    x_low_reg(e, 0x88, size, src, dst);
}

/* Size 4 or 8. */
X64 void x_mov_ri(struct Emit *e, int size, int dst, uint64_t imm)
{
    if (!x_room(e)) return;
    if (size != 8 || imm <= 0xFFFFFFFFu) {
        x_opcode(e, 0, dst >> 3, 0xB8 | (dst & 7));
        x_imm(e, 4, (int32_t)(uint32_t)imm);
    } else if (imm >= 0xFFFFFFFF80000000u) {
        x_op_reg(e, 0, 8, 0xC7, 0, dst);
        x_imm(e, 4, (int32_t)(uint32_t)imm);
    } else {
        x_opcode(e, 0, 8 | dst >> 3, 0xB8 | (dst & 7));
        x_imm(e, 4, (int32_t)(uint32_t)imm);
        x_imm(e, 4, (int32_t)(uint32_t)(imm >> 32));
    }
}

/* Sizes 1 and 2 keep the rest of the register. */
X64 void x_mov_rm(struct Emit *e, int size, int dst, struct Mem m)
{
    x_low_mem(e, 0x8A, size, dst, m);
}

X64 void x_mov_mr(struct Emit *e, int size, struct Mem m, int src)
{
    x_low_mem(e, 0x88, size, src, m);
}

/* Eight bytes: the immediate is sign-extended. */
X64 void x_mov_mi(struct Emit *e, int size, struct Mem m, int32_t imm)
{
    if (x_digit_mem(e, 0xC6, size, 0, m)) x_imm(e, size, imm);
}

/* From 1, 2, 4 (or 8) bytes to the whole register. */
X64 void x_movzx_rr(struct Emit *e, int from, int dst, int src)
{
    if (from >= 4) x_mov_rr(e, from, dst, src);
    else x_op_reg(e, 0, x_rex8(from, src), from == 1 ? 0x0FB6 : 0x0FB7, dst, src);
}

X64 void x_movzx_rm(struct Emit *e, int from, int dst, struct Mem m)
{
    if (from >= 4) x_mov_rm(e, from, dst, m);
    else x_op_mem(e, 0, 0, from == 1 ? 0x0FB6 : 0x0FB7, dst, m);
}

/* From 1 to 2, 4, 8; from 2 to 4, 8; from 4 to 8. Between equal sizes it is a move. */
X64 void x_movsx_rr(struct Emit *e, int from, int to, int dst, int src)
{
    if (from >= to) x_mov_rr(e, to, dst, src);
    else if (from == 4) x_op_reg(e, 0, 8, 0x63, dst, src);
    else x_op_reg(e, x_prefix(to), x_rex(to) | x_rex8(from, src), from == 1 ? 0x0FBE : 0x0FBF, dst, src);
}

X64 void x_movsx_rm(struct Emit *e, int from, int to, int dst, struct Mem m)
{
    if (from >= to) x_mov_rm(e, to, dst, m);
    else if (from == 4) x_op_mem(e, 0, 8, 0x63, dst, m);
    else x_op_mem(e, x_prefix(to), x_rex(to), from == 1 ? 0x0FBE : 0x0FBF, dst, m);
}

X64 void x_lea(struct Emit *e, int size, int dst, struct Mem m)
{
    x_op_mem(e, x_prefix(size), x_rex(size), 0x8D, dst, m);
}

X64 void x_xchg_rr(struct Emit *e, int size, int a, int b)
{
    x_low_reg(e, 0x86, size, b, a);
}

/* Sizes 4 and 8. */
X64 void x_bswap(struct Emit *e, int size, int reg)
{
    if (x_room(e)) x_opcode(e, 0, x_rex(size) | reg >> 3, 0x0FC8 | (reg & 7));
}

/* Sizes 2, 4 and 8; needs HOST_MOVBE. */
X64 void x_movbe_rm(struct Emit *e, int size, int dst, struct Mem m)
{
    x_op_mem(e, x_prefix(size), x_rex(size), 0x0F38F0, dst, m);
}

X64 void x_movbe_mr(struct Emit *e, int size, struct Mem m, int src)
{
    x_op_mem(e, x_prefix(size), x_rex(size), 0x0F38F1, src, m);
}

X64 void x_push(struct Emit *e, int reg)
{
    if (x_room(e)) x_opcode(e, 0, reg >> 3, 0x50 | (reg & 7));
}

X64 void x_pop(struct Emit *e, int reg)
{
    if (x_room(e)) x_opcode(e, 0, reg >> 3, 0x58 | (reg & 7));
}

/* Shifts and single bits. */

X64 void x_shift_ri(struct Emit *e, int digit, int size, int dst, int count)
{
    if (count == 1) x_digit_reg(e, 0xD0, size, digit, dst);
    else if (x_digit_reg(e, 0xC0, size, digit, dst)) x_byte(e, count);
}

/* By cl. */
X64 void x_shift_rcl(struct Emit *e, int digit, int size, int dst)
{
    x_digit_reg(e, 0xD2, size, digit, dst);
}

/* Sizes 2, 4 and 8. */
X64 void x_shld_rri(struct Emit *e, int size, int dst, int src, int count)
{
    if (x_op_reg(e, x_prefix(size), x_rex(size), 0x0FA4, src, dst)) x_byte(e, count);
}

X64 void x_shrd_rri(struct Emit *e, int size, int dst, int src, int count)
{
    if (x_op_reg(e, x_prefix(size), x_rex(size), 0x0FAC, src, dst)) x_byte(e, count);
}

/* A three-byte VEX prefix, L = 0; map 2 is 0F38, 3 is 0F3A; pp 1, 2, 3 stand for 66, F3, F2. */
X64 int x_vex_reg(struct Emit *e, int map, int pp, int size, int opcode, int reg, int second, int rm)
{
    if (!x_room(e)) return 0;
    x_byte(e, 0xC4);
    x_byte(e, (reg >> 3 ^ 1) << 7 | 0x40 | (rm >> 3 ^ 1) << 5 | map);
    x_byte(e, (size == 8) << 7 | (second ^ 15) << 3 | pp);
    x_byte(e, opcode);
    x_byte(e, 0xC0 | (reg & 7) << 3 | (rm & 7));
    return 1;
}

/* Sizes 4 and 8; need HOST_BMI2 and leave the flags alone. */
X64 void x_shlx(struct Emit *e, int size, int dst, int src, int count)
{
    x_vex_reg(e, 2, 1, size, 0xF7, dst, count, src);
}

X64 void x_sarx(struct Emit *e, int size, int dst, int src, int count)
{
    x_vex_reg(e, 2, 2, size, 0xF7, dst, count, src);
}

X64 void x_shrx(struct Emit *e, int size, int dst, int src, int count)
{
    x_vex_reg(e, 2, 3, size, 0xF7, dst, count, src);
}

X64 void x_rorx(struct Emit *e, int size, int dst, int src, int count)
{
    if (x_vex_reg(e, 3, 3, size, 0xF0, dst, 0, src)) x_byte(e, count);
}

/* dst = ~a & b; needs HOST_BMI1. */
X64 void x_andn(struct Emit *e, int size, int dst, int a, int b)
{
    x_vex_reg(e, 2, 0, size, 0xF2, dst, a, b);
}

/* Sizes 2, 4 and 8. */
X64_INLINE void x_count(struct Emit *e, int prefix, int opcode, int size, int dst, int src)
{
    x_op_reg(e, size == 2 ? 0x6600 | prefix : prefix, x_rex(size), opcode, dst, src);
}

X64 void x_lzcnt(struct Emit *e, int size, int dst, int src)
{
    x_count(e, 0xF3, 0x0FBD, size, dst, src);
}

X64 void x_tzcnt(struct Emit *e, int size, int dst, int src)
{
    x_count(e, 0xF3, 0x0FBC, size, dst, src);
}

X64 void x_popcnt(struct Emit *e, int size, int dst, int src)
{
    x_count(e, 0xF3, 0x0FB8, size, dst, src);
}

X64 void x_bsr(struct Emit *e, int size, int dst, int src)
{
    x_op_reg(e, x_prefix(size), x_rex(size), 0x0FBD, dst, src);
}

X64 void x_bsf(struct Emit *e, int size, int dst, int src)
{
    x_op_reg(e, x_prefix(size), x_rex(size), 0x0FBC, dst, src);
}

X64 void x_bt_ri(struct Emit *e, int size, int reg, int bit)
{
    if (x_op_reg(e, x_prefix(size), x_rex(size), 0x0FBA, 4, reg)) x_byte(e, bit);
}

X64 void x_bt_rr(struct Emit *e, int size, int reg, int bit)
{
    x_op_reg(e, x_prefix(size), x_rex(size), 0x0FA3, bit, reg);
}

/* The operand in memory is not moved by the bit number: `bit` is below 8 * size. */
X64 void x_bt_mi(struct Emit *e, int size, struct Mem m, int bit)
{
    if (x_op_mem(e, x_prefix(size), x_rex(size), 0x0FBA, 4, m)) x_byte(e, bit);
}

X64 void x_setcc(struct Emit *e, int cc, int dst)
{
    x_op_reg(e, 0, x_rex8(1, dst), 0x0F90 | cc, 0, dst);
}

X64 void x_setcc_m(struct Emit *e, int cc, struct Mem m)
{
    x_op_mem(e, 0, 0, 0x0F90 | cc, 0, m);
}

/* Sizes 2, 4 and 8. */
X64 void x_cmov(struct Emit *e, int cc, int size, int dst, int src)
{
    x_op_reg(e, x_prefix(size), x_rex(size), 0x0F40 | cc, dst, src);
}

X64 void x_cmov_rm(struct Emit *e, int cc, int size, int dst, struct Mem m)
{
    x_op_mem(e, x_prefix(size), x_rex(size), 0x0F40 | cc, dst, m);
}

/* Control flow. A target is an address in the view that `at` is in; the distance is the same in every view. */

/* Let the rel32 field, as x_jcc or x_jmp returned it, lead to `target`. Nothing happens to NULL. */
X64 void x_patch(uint8_t *field, const uint8_t *target)
{
    if (field == NULL) return;
    const int32_t distance = (int32_t)((intptr_t)target - (intptr_t)(field + 4));
    memcpy(field, &distance, 4);
}

/* Forward jumps: the address of the rel32 field, which leads to the next instruction until patched; NULL without room. */
X64 uint8_t *x_jcc(struct Emit *e, int cc)
{
    if (!x_room(e)) return NULL;
    x_opcode(e, 0, 0, 0x0F80 | cc);
    x_imm(e, 4, 0);
    return e->at - 4;
}

X64 uint8_t *x_jmp(struct Emit *e)
{
    if (!x_room(e)) return NULL;
    x_byte(e, 0xE9);
    x_imm(e, 4, 0);
    return e->at - 4;
}

/* As short as the distance allows. More than 2 GiB away is an overflow. */
X64 void x_branch_to(struct Emit *e, int short_opcode, int near_opcode, const uint8_t *target)
{
    if (!x_room(e)) return;
    const int64_t distance = (int64_t)((intptr_t)target - (intptr_t)e->at);
    const int length = near_opcode > 0xFF ? 6 : 5;
    if (x_fits8(distance - 2)) {
        x_byte(e, short_opcode);
        x_byte(e, (int)(distance - 2));
    } else if (distance - length == (int32_t)(distance - length)) {
        x_opcode(e, 0, 0, near_opcode);
        x_imm(e, 4, (int32_t)(distance - length));
    } else {
        e->overflow = 1;
    }
}

X64 void x_jcc_to(struct Emit *e, int cc, const uint8_t *target)
{
    x_branch_to(e, 0x70 | cc, 0x0F80 | cc, target);
}

X64 void x_jmp_to(struct Emit *e, const uint8_t *target)
{
    x_branch_to(e, 0xEB, 0xE9, target);
}

X64 void x_jmp_r(struct Emit *e, int reg)
{
    x_op_reg(e, 0, 0, 0xFF, 4, reg);
}

X64 void x_jmp_m(struct Emit *e, struct Mem m)
{
    x_op_mem(e, 0, 0, 0xFF, 4, m);
}

X64 void x_call_r(struct Emit *e, int reg)
{
    x_op_reg(e, 0, 0, 0xFF, 2, reg);
}

X64 void x_call_m(struct Emit *e, struct Mem m)
{
    x_op_mem(e, 0, 0, 0xFF, 2, m);
}

X64 void x_ret(struct Emit *e)
{
    if (x_room(e)) x_byte(e, 0xC3);
}

X64 void x_int3(struct Emit *e)
{
    if (x_room(e)) x_byte(e, 0xCC);
}

/* `n` bytes that do nothing, in as few instructions as can be; forms of the SDM's table for NOP. */
X64 void x_nop(struct Emit *e, int n)
{
    static const uint8_t forms[9][9] = {
        {0x90},
        {0x66, 0x90},
        {0x0F, 0x1F, 0x00},
        {0x0F, 0x1F, 0x40, 0x00},
        {0x0F, 0x1F, 0x44, 0x00, 0x00},
        {0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00},
        {0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x66, 0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };
    while (n > 0 && x_room(e)) {
        const int k = n > 9 ? 9 : n;
        memcpy(e->at, forms[k - 1], 9);
        e->at += k;
        n -= k;
    }
}

/* SSE: `opcode` is what follows 0F (or 0F 38, 0F 3A); the prefix is 0, 0x66, 0xF2 or 0xF3. */

X64 void x_sse_rr(struct Emit *e, int prefix, int opcode, int dst, int src)
{
    x_op_reg(e, prefix, 0, 0x0F00 | opcode, dst, src);
}

X64 void x_sse_rm(struct Emit *e, int prefix, int opcode, int xmm, struct Mem m)
{
    x_op_mem(e, prefix, 0, 0x0F00 | opcode, xmm, m);
}

X64 void x_sse_rri(struct Emit *e, int prefix, int opcode, int dst, int src, int imm)
{
    if (x_op_reg(e, prefix, 0, 0x0F00 | opcode, dst, src)) x_byte(e, imm);
}

X64 void x_sse_rmi(struct Emit *e, int prefix, int opcode, int xmm, struct Mem m, int imm)
{
    if (x_op_mem(e, prefix, 0, 0x0F00 | opcode, xmm, m)) x_byte(e, imm);
}

X64 void x_sse38_rr(struct Emit *e, int prefix, int opcode, int dst, int src)
{
    x_op_reg(e, prefix, 0, 0x0F3800 | opcode, dst, src);
}

X64 void x_sse38_rm(struct Emit *e, int prefix, int opcode, int xmm, struct Mem m)
{
    x_op_mem(e, prefix, 0, 0x0F3800 | opcode, xmm, m);
}

X64 void x_sse3a_rri(struct Emit *e, int prefix, int opcode, int dst, int src, int imm)
{
    if (x_op_reg(e, prefix, 0, 0x0F3A00 | opcode, dst, src)) x_byte(e, imm);
}

/* Between the register files with a general register of 4 or 8 bytes, as cvtsi2sd (F2 2A) and cvttsd2si (F2 2C). */
X64 void x_sse_size_rr(struct Emit *e, int prefix, int opcode, int size, int dst, int src)
{
    x_op_reg(e, prefix, x_rex(size), 0x0F00 | opcode, dst, src);
}

X64 void x_movd_xr(struct Emit *e, int size, int xmm, int reg)
{
    x_op_reg(e, 0x66, x_rex(size), 0x0F6E, xmm, reg);
}

X64 void x_movd_rx(struct Emit *e, int size, int reg, int xmm)
{
    x_op_reg(e, 0x66, x_rex(size), 0x0F7E, xmm, reg);
}

X64 void x_movss_rm(struct Emit *e, int xmm, struct Mem m)
{
    x_sse_rm(e, 0xF3, 0x10, xmm, m);
}

X64 void x_movss_mr(struct Emit *e, struct Mem m, int xmm)
{
    x_sse_rm(e, 0xF3, 0x11, xmm, m);
}

X64 void x_movsd_rm(struct Emit *e, int xmm, struct Mem m)
{
    x_sse_rm(e, 0xF2, 0x10, xmm, m);
}

X64 void x_movsd_mr(struct Emit *e, struct Mem m, int xmm)
{
    x_sse_rm(e, 0xF2, 0x11, xmm, m);
}

X64 void x_movaps_rr(struct Emit *e, int dst, int src)
{
    x_sse_rr(e, 0, 0x28, dst, src);
}

X64 void x_movaps_rm(struct Emit *e, int xmm, struct Mem m)
{
    x_sse_rm(e, 0, 0x28, xmm, m);
}

X64 void x_movaps_mr(struct Emit *e, struct Mem m, int xmm)
{
    x_sse_rm(e, 0, 0x29, xmm, m);
}

X64 void x_movdqu_rm(struct Emit *e, int xmm, struct Mem m)
{
    x_sse_rm(e, 0xF3, 0x6F, xmm, m);
}

X64 void x_movdqu_mr(struct Emit *e, struct Mem m, int xmm)
{
    x_sse_rm(e, 0xF3, 0x7F, xmm, m);
}

X64 void x_ldmxcsr(struct Emit *e, struct Mem m)
{
    x_op_mem(e, 0, 0, 0x0FAE, 2, m);
}

X64 void x_stmxcsr(struct Emit *e, struct Mem m)
{
    x_op_mem(e, 0, 0, 0x0FAE, 3, m);
}

/* x87: `opcode` is D8..DF. */

X64 void x_x87_m(struct Emit *e, int opcode, int digit, struct Mem m)
{
    x_op_mem(e, 0, 0, opcode, digit, m);
}

X64 void x_x87_op(struct Emit *e, int byte0, int byte1)
{
    if (!x_room(e)) return;
    x_byte(e, byte0);
    x_byte(e, byte1);
}
