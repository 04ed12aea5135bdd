/* IEEE 754 arithmetic on integers, for every core: binary32, binary64 and the 80-bit format of the x87.
 *
 * Two layers. The sf_ functions take values and a control structure and OR their exceptions into *flags. The fx_ functions
 * are the same operations as generated instruction handlers call them: plain integers of at most 64 bits, one packed
 * control word, results through pointers; *r_flags is written, not ORed. cores/lang/softfloat.py holds a twin of each fx_
 * function and the table OPERATIONS of their operand widths. All functions are pure.
 *
 * To take the functions into another translation unit as inlines, define SF_API as `static inline` and include
 * softfloat.c.
 *
 * Sources: IEEE 754-2008; Intel SDM volume 1 chapters 4, 8 and 11; Power ISA Book I chapter 4.
 */
#ifndef EMU_SOFTFLOAT_H
#define EMU_SOFTFLOAT_H

#include <stdint.h>

#ifndef SF_API
#define SF_API
#endif

/* Exceptions, in the order of the x87 status word and of MXCSR. */
#define SF_INVALID 0x01u
#define SF_DENORMAL 0x02u
#define SF_DIVZERO 0x04u
#define SF_OVERFLOW 0x08u
#define SF_UNDERFLOW 0x10u
#define SF_INEXACT 0x20u
/* Condition codes, in the places of the x87 status word. C1 after rounding: the magnitude was rounded up. */
#define SF_C0 0x0100u
#define SF_C1 0x0200u
#define SF_C2 0x0400u
#define SF_C3 0x4000u
/* Why an operation was invalid; reported under the PowerPC rule only. */
#define SF_VXSNAN 0x010000u
#define SF_VXISI 0x020000u
#define SF_VXIDI 0x040000u
#define SF_VXZDZ 0x080000u
#define SF_VXIMZ 0x100000u
#define SF_VXVC 0x200000u
#define SF_VXSQRT 0x400000u
#define SF_VXCVI 0x800000u

/* Rounding, in the x86 RC encoding. */
#define SF_NEAREST 0u
#define SF_DOWN 1u
#define SF_UP 2u
#define SF_ZERO 3u

/* NaN rules: which NaN a two-operand operation returns, and which NaN stands for an invalid result. */
#define SF_NAN_SSE 0u /* the first operand if it is a NaN, else the second; default NaN negative */
#define SF_NAN_X87 1u /* a quiet one before a signalling one, then the larger significand; default NaN negative */
#define SF_NAN_PPC 2u /* frA, frB, frC in this order; default NaN positive; integers saturate */

/* Packed control word of the fx_ functions. */
#define SF_CTL_ROUND 0x00000003u
#define SF_CTL_PRECISION 0x0000000Cu /* x87 PC: 0 = 24 bits, 2 = 53 bits, else 64 bits */
#define SF_CTL_TINY_BEFORE 0x00000010u
#define SF_CTL_DAZ 0x00000020u
#define SF_CTL_FTZ 0x00000040u
#define SF_CTL_NAN_SHIFT 7
#define SF_CTL_SINGLE 0x00000200u /* binary64 results rounded to binary32 (PowerPC fadds and the like) */
#define SF_CTL_UNMASKED_SHIFT 16

/* Results of a comparison: CF, PF and ZF of EFLAGS as COMISS sets them; shifted left by 8, C0, C2 and C3 as FCOM does. */
#define SF_GREATER 0x00u
#define SF_LESS 0x01u
#define SF_EQUAL 0x40u
#define SF_UNORDERED 0x45u

typedef struct {
    uint64_t sig; /* bit 63 is the integer bit */
    uint16_t se;  /* bit 15 sign, bits 14-0 biased exponent */
} sf_f80;

typedef struct {
    uint8_t round;       /* SF_NEAREST .. SF_ZERO */
    uint8_t precision;   /* 24, 53 or 64: binary80 add, sub, mul, div, sqrt */
    uint8_t tiny_before; /* nonzero: tininess is detected before rounding */
    uint8_t daz;         /* nonzero: binary32/64 denormal operands count as zeros */
    uint8_t ftz;         /* nonzero: binary32/64 tiny results become zeros while underflow is masked */
    uint8_t nan_rule;    /* SF_NAN_* */
    uint8_t unmasked;    /* SF_* exceptions that are not masked */
    uint8_t single;      /* nonzero: as SF_CTL_SINGLE */
} sf_ctl;

/* The structured layer. Flags are ORed into *flags. An operation whose invalid, divide-by-zero or denormal exception is
 * unmasked returns its first operand (or the integer indefinite, or zero) and no further flags: the caller writes
 * nothing. Integers are two's complement in unsigned words. */
#define SF_DECLARE_IEEE(T, N)                                                                  \
    SF_API T sf_##N##_add(T a, T b, const sf_ctl *c, uint32_t *flags);                         \
    SF_API T sf_##N##_sub(T a, T b, const sf_ctl *c, uint32_t *flags);                         \
    SF_API T sf_##N##_mul(T a, T b, const sf_ctl *c, uint32_t *flags);                         \
    SF_API T sf_##N##_div(T a, T b, const sf_ctl *c, uint32_t *flags);                         \
    SF_API T sf_##N##_rem(T a, T b, const sf_ctl *c, uint32_t *flags);                         \
    SF_API T sf_##N##_sqrt(T a, const sf_ctl *c, uint32_t *flags);                             \
    SF_API T sf_##N##_round_int(T a, const sf_ctl *c, uint32_t *flags);                        \
    SF_API uint32_t sf_##N##_compare(T a, T b, const sf_ctl *c, uint32_t *flags);              \
    SF_API uint32_t sf_##N##_compare_quiet(T a, T b, const sf_ctl *c, uint32_t *flags);        \
    SF_API uint32_t sf_##N##_to_i16(T a, const sf_ctl *c, uint32_t *flags);                    \
    SF_API uint32_t sf_##N##_to_i32(T a, const sf_ctl *c, uint32_t *flags);                    \
    SF_API uint64_t sf_##N##_to_i64(T a, const sf_ctl *c, uint32_t *flags);                    \
    SF_API uint32_t sf_##N##_to_u32(T a, const sf_ctl *c, uint32_t *flags);
SF_DECLARE_IEEE(uint32_t, f32)
SF_DECLARE_IEEE(uint64_t, f64)
SF_DECLARE_IEEE(sf_f80, f80)
#undef SF_DECLARE_IEEE
SF_API uint32_t sf_f32_muladd(uint32_t a, uint32_t b, uint32_t addend, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_f64_muladd(uint64_t a, uint64_t b, uint64_t addend, const sf_ctl *c, uint32_t *flags);
SF_API uint32_t sf_f32_min(uint32_t a, uint32_t b, const sf_ctl *c, uint32_t *flags);
SF_API uint32_t sf_f32_max(uint32_t a, uint32_t b, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_f64_min(uint64_t a, uint64_t b, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_f64_max(uint64_t a, uint64_t b, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_f32_to_f64(uint32_t a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f32_to_f80(uint32_t a, const sf_ctl *c, uint32_t *flags);
SF_API uint32_t sf_f64_to_f32(uint64_t a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f64_to_f80(uint64_t a, const sf_ctl *c, uint32_t *flags);
SF_API uint32_t sf_f80_to_f32(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_f80_to_f64(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API uint32_t sf_i64_to_f32(uint64_t a, const sf_ctl *c, uint32_t *flags);
SF_API uint64_t sf_i64_to_f64(uint64_t a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_i64_to_f80(uint64_t a);
/* FPREM, FPREM1 (condition codes in *flags), FSCALE, FXTRACT (returns the significand). */
SF_API sf_f80 sf_f80_prem(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_prem1(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_scale(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_xtract(sf_f80 a, sf_f80 *power, const sf_ctl *c, uint32_t *flags);
/* Transcendentals; a is ST(0), b ST(1). FSIN, FCOS, FSINCOS (returns the sine) and FPTAN (*one is the 1 to push) set C2 and
 * return the operand when it is 2^63 or more. */
SF_API sf_f80 sf_f80_2xm1(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_yl2x(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_yl2xp1(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_patan(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_sin(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_cos(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_sincos(sf_f80 a, sf_f80 *cosine, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_f80_ptan(sf_f80 a, sf_f80 *one, const sf_ctl *c, uint32_t *flags);
/* Packed decimal as FBSTP and FBLD know it: sixteen digits in sig, sign and two digits in se. */
SF_API sf_f80 sf_f80_to_bcd(sf_f80 a, const sf_ctl *c, uint32_t *flags);
SF_API sf_f80 sf_bcd_to_f80(sf_f80 a);

/* The flat layer. `se` operands and results carry sign and exponent in their low 16 bits; 16-bit integers come in the low
 * half (upper half ignored) and leave zero-extended; integer results are two's complement. */
#define FX_1_1(R, name, T) SF_API void fx_##name(T a, uint32_t ctl, R *r, uint32_t *r_flags);
#define FX_2_1(R, name, T) SF_API void fx_##name(T a, T b, uint32_t ctl, R *r, uint32_t *r_flags);
#define FX_3_1(R, name, T) SF_API void fx_##name(T a, T b, T c, uint32_t ctl, R *r, uint32_t *r_flags);
#define FX_80_1(R, name) SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, R *r, uint32_t *r_flags);
#define FX_80_2(R, name) \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl, R *r, \
                          uint32_t *r_flags);
#define FX_TO_80(T, name) SF_API void fx_##name(T a, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags);
#define FX_80_80(name) \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags);
#define FX_80_80_80(name)                                                                                   \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl,       \
                          uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags);
#define FX_80_80x2(name)                                                                                    \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se,     \
                          uint64_t *s_sig, uint32_t *s_se, uint32_t *r_flags);
#define FX_IEEE(T, N)                \
    FX_2_1(T, N##_add, T)            \
    FX_2_1(T, N##_sub, T)            \
    FX_2_1(T, N##_mul, T)            \
    FX_2_1(T, N##_div, T)            \
    FX_2_1(T, N##_rem, T)            \
    FX_2_1(T, N##_min, T)            \
    FX_2_1(T, N##_max, T)            \
    FX_3_1(T, N##_muladd, T)         \
    FX_1_1(T, N##_sqrt, T)           \
    FX_1_1(T, N##_round_int, T)      \
    FX_2_1(uint32_t, N##_compare, T) \
    FX_2_1(uint32_t, N##_compare_quiet, T)
FX_IEEE(uint32_t, f32)
FX_IEEE(uint64_t, f64)
FX_1_1(uint64_t, f32_to_f64, uint32_t)
FX_1_1(uint32_t, f64_to_f32, uint64_t)
FX_TO_80(uint32_t, f32_to_f80)
FX_TO_80(uint64_t, f64_to_f80)
FX_80_1(uint32_t, f80_to_f32)
FX_80_1(uint64_t, f80_to_f64)
/* To integers, in the rounding of the control word or (_trunc) toward zero. */
#define FX_TO_INT(M, ...)                           \
    M(uint32_t, to_i16, __VA_ARGS__)                \
    M(uint32_t, to_i32, __VA_ARGS__)                \
    M(uint64_t, to_i64, __VA_ARGS__)                \
    M(uint32_t, to_u32, __VA_ARGS__)                \
    M(uint32_t, to_i16_trunc, __VA_ARGS__)          \
    M(uint32_t, to_i32_trunc, __VA_ARGS__)          \
    M(uint64_t, to_i64_trunc, __VA_ARGS__)          \
    M(uint32_t, to_u32_trunc, __VA_ARGS__)
#define FX_TO_INT_IEEE(R, op, T, N) FX_1_1(R, N##_##op, T)
#define FX_TO_INT_80(R, op, N) FX_80_1(R, N##_##op)
FX_TO_INT(FX_TO_INT_IEEE, uint32_t, f32)
FX_TO_INT(FX_TO_INT_IEEE, uint64_t, f64)
FX_TO_INT(FX_TO_INT_80, f80)
FX_1_1(uint32_t, i32_to_f32, uint32_t)
FX_1_1(uint32_t, u32_to_f32, uint32_t)
FX_1_1(uint32_t, i64_to_f32, uint64_t)
FX_1_1(uint64_t, i32_to_f64, uint32_t)
FX_1_1(uint64_t, u32_to_f64, uint32_t)
FX_1_1(uint64_t, i64_to_f64, uint64_t)
FX_TO_80(uint32_t, i16_to_f80)
FX_TO_80(uint32_t, i32_to_f80)
FX_TO_80(uint64_t, i64_to_f80)
FX_80_80_80(f80_add)
FX_80_80_80(f80_sub)
FX_80_80_80(f80_mul)
FX_80_80_80(f80_div)
FX_80_80_80(f80_rem)
FX_80_80_80(f80_prem)
FX_80_80_80(f80_prem1)
FX_80_80_80(f80_scale)
FX_80_80(f80_2xm1)
FX_80_80_80(f80_yl2x) /* a: x in ST(0), b: y in ST(1) */
FX_80_80_80(f80_yl2xp1)
FX_80_80_80(f80_patan)
FX_80_80(f80_sin)
FX_80_80(f80_cos)
FX_80_80x2(f80_sincos) /* r: sine, s: cosine */
FX_80_80x2(f80_ptan)   /* r: tangent, s: 1 */
FX_80_80x2(f80_xtract) /* r: significand, s: exponent */
FX_80_80(f80_to_bcd)
FX_80_80(bcd_to_f80)
FX_80_80(f80_sqrt)
FX_80_80(f80_round_int)
FX_80_2(uint32_t, f80_compare)
FX_80_2(uint32_t, f80_compare_quiet)

#endif
