/* IEEE 754 arithmetic on integers; softfloat.h says what each layer offers.
 *
 * A finite nonzero operand is a sign, a biased exponent and a significand. Inside an operation the significand is moved up
 * until its leading bit is bit 63 (or 127 of a pair), bits that do not fit are ORed into the lowest bit kept, and the result
 * is rounded once. The x86 rules for NaNs, denormals and unmasked exceptions stand in the functions named *_special.
 */
#include "softfloat.h"

typedef unsigned __int128 u128;

#define INLINE static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline, cold, unused))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ONE64 ((uint64_t)1)
#define TOP64 (ONE64 << 63)
#define ROUND(ctl) ((ctl)&SF_CTL_ROUND)
#define RULE(ctl) (((ctl) >> SF_CTL_NAN_SHIFT) & 3u)
#define UNMASKED(ctl) (((ctl) >> SF_CTL_UNMASKED_SHIFT) & 0x3fu)

/* Fraction and exponent widths of the two interchange formats. */
#define F32 23, 8
#define F64 52, 11

INLINE uint32_t ctl_pack(const sf_ctl *c) {
    uint32_t precision = c->precision == 24 ? 0u : c->precision == 53 ? 2u : 3u;
    return (c->round & 3u) | precision << 2 | (c->tiny_before ? SF_CTL_TINY_BEFORE : 0u) | (c->daz ? SF_CTL_DAZ : 0u) |
           (c->ftz ? SF_CTL_FTZ : 0u) | (c->nan_rule & 3u) << SF_CTL_NAN_SHIFT | (c->single ? SF_CTL_SINGLE : 0u) |
           (c->unmasked & 0x3fu) << SF_CTL_UNMASKED_SHIFT;
}

INLINE int ctl_precision(uint32_t ctl) {
    uint32_t pc = (ctl & SF_CTL_PRECISION) >> 2;
    return pc == 0 ? 24 : pc == 2 ? 53 : 64;
}

INLINE uint64_t shr_jam64(uint64_t x, uint32_t n) {
    if (n == 0) return x;
    if (n >= 64) return x != 0;
    return x >> n | ((x << (64 - n)) != 0);
}

INLINE u128 shr_jam128(u128 x, uint32_t n) {
    if (n == 0) return x;
    if (n >= 128) return x != 0;
    return x >> n | ((x << (128 - n)) != 0);
}

INLINE int clz64(uint64_t x) {
    return __builtin_clzll(x);
}

INLINE int clz128(u128 x) {
    uint64_t hi = (uint64_t)(x >> 64);
    return hi ? clz64(hi) : 64 + clz64((uint64_t)x);
}

/* Does a magnitude round up? `low` holds the bits dropped, `half` the weight of half a unit, `odd` the last bit kept. */
INLINE uint32_t rounds_up(uint32_t ctl, uint32_t sign, uint64_t odd, uint64_t low, uint64_t half) {
    uint32_t mode = ROUND(ctl);
    if (LIKELY(mode == SF_NEAREST)) return low > half || (low == half && (odd & 1));
    return low != 0 && mode == (sign ? SF_DOWN : SF_UP);
}

INLINE int overflows_to_infinity(uint32_t ctl, uint32_t sign) {
    return ROUND(ctl) == SF_NEAREST || ROUND(ctl) == (sign ? SF_DOWN : SF_UP);
}

INLINE void raise_inexact(uint32_t *f, uint32_t up) {
    *f |= SF_INEXACT | (up ? SF_C1 : 0u);
}

/* The reason is kept only where a status register asks for it. */
INLINE void raise_invalid(uint32_t ctl, uint32_t *f, uint32_t why) {
    *f |= SF_INVALID | (RULE(ctl) == SF_NAN_PPC ? why : 0u);
}

INLINE int stops(uint32_t ctl, uint32_t f) {
    return (f & UNMASKED(ctl) & (SF_INVALID | SF_DENORMAL | SF_DIVZERO)) != 0;
}

/* ---- binary32 and binary64: packing ---- */

#define EXP_MASK(E) ((1 << (E)) - 1)
#define FRACTION(F, x) ((x) & ((ONE64 << (F)) - 1))
#define EXPONENT(F, E, x) ((int32_t)((x) >> (F)) & EXP_MASK(E))
#define SIGN(F, E, x) ((uint32_t)((x) >> ((F) + (E))) & 1u)
#define SIGN_BIT(F, E, s) ((uint64_t)(s) << ((F) + (E)))
#define INFINITY_BITS(F, E, s) (SIGN_BIT(F, E, s) | (uint64_t)EXP_MASK(E) << (F))

INLINE uint64_t default_nan(int F, int E, uint32_t ctl) {
    return SIGN_BIT(F, E, RULE(ctl) != SF_NAN_PPC) | (uint64_t)EXP_MASK(E) << F | ONE64 << (F - 1);
}

INLINE int is_nan(int F, int E, uint64_t x) {
    return EXPONENT(F, E, x) == EXP_MASK(E) && FRACTION(F, x) != 0;
}

INLINE int is_snan(int F, int E, uint64_t x) {
    return is_nan(F, E, x) && !(x >> (F - 1) & 1);
}

/* A rounded significand with the exponent of an unmasked overflow or underflow moved into range. */
INLINE uint64_t wrapped(int F, int E, uint32_t sign, int32_t e, uint64_t m) {
    if (e < 1) return SIGN_BIT(F, E, sign);
    if (e >= EXP_MASK(E)) return INFINITY_BITS(F, E, sign);
    return SIGN_BIT(F, E, sign) | (uint64_t)e << F | FRACTION(F, m);
}

/* A binary32 that is not a NaN, in binary64: exact. */
INLINE uint64_t widen(uint64_t a) {
    int32_t e = EXPONENT(F32, a);
    uint64_t frac = FRACTION(23, a), sign = SIGN_BIT(F64, SIGN(F32, a));
    if (e == 255) return sign | INFINITY_BITS(F64, 0);
    if (e == 0) {
        if (!frac) return sign;
        int lz = clz64(frac) - 40;
        frac = FRACTION(23, frac << lz);
        e = 1 - lz;
    }
    return sign | (uint64_t)(e + 1023 - 127) << 52 | frac << 29;
}

/* Value: sig * 2^(e - bias - 63), leading bit of sig at 63, e anywhere. `wide` places a binary32 result in binary64. */
INLINE uint64_t round_edges(int F, int E, int wide, uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    const int n = 63 - F;
    const uint64_t mask = (ONE64 << n) - 1, half = ONE64 << (n - 1);
    const int32_t adjust = 3 << (E - 2);
    uint64_t low = sig & mask, m = sig >> n, r;
    uint32_t up = rounds_up(ctl, sign, m, low, half);
    m += up;
    int32_t e1 = e + (int32_t)(m >> (F + 1)); /* exponent after rounding with unbounded range */
    int tiny = (ctl & SF_CTL_TINY_BEFORE ? e : e1) < 1;
    if ((tiny && (UNMASKED(ctl) & SF_UNDERFLOW)) || (e1 >= EXP_MASK(E) && (UNMASKED(ctl) & SF_OVERFLOW))) {
        *f |= tiny ? SF_UNDERFLOW : SF_OVERFLOW;
        if (low) raise_inexact(f, up);
        e1 += tiny ? adjust : -adjust;
        if (wide) return wrapped(F64, sign, e1 + 1023 - 127, FRACTION(23, m) << 29);
        return wrapped(F, E, sign, e1, m);
    }
    if (tiny && (ctl & SF_CTL_FTZ)) {
        *f |= SF_UNDERFLOW | SF_INEXACT;
        r = SIGN_BIT(F, E, sign);
    } else if (e < 1) {
        sig = shr_jam64(sig, (uint32_t)(1 - e));
        low = sig & mask;
        m = sig >> n;
        up = rounds_up(ctl, sign, m, low, half);
        if (low) {
            raise_inexact(f, up);
            if (tiny) *f |= SF_UNDERFLOW;
        }
        r = SIGN_BIT(F, E, sign) | (m + up);
    } else if (e1 >= EXP_MASK(E)) {
        int infinite = overflows_to_infinity(ctl, sign);
        *f |= SF_OVERFLOW;
        raise_inexact(f, (uint32_t)infinite);
        r = INFINITY_BITS(F, E, sign) - (infinite ? 0 : 1);
    } else {
        if (low) raise_inexact(f, up);
        r = SIGN_BIT(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
    }
    return wide ? widen(r) : r;
}

COLD uint64_t round_f32_edges(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    return round_edges(F32, 0, sign, e, sig, ctl, f);
}

COLD uint64_t round_f64_edges(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    if (ctl & SF_CTL_SINGLE) return round_edges(F32, 1, sign, e + 127 - 1023, sig, ctl, f);
    return round_edges(F64, 0, sign, e, sig, ctl, f);
}

INLINE uint64_t round_pack(int F, int E, uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint32_t *f) {
    const int n = 63 - F;
    if (LIKELY((uint32_t)(e - 1) < (uint32_t)EXP_MASK(E) - 2 && !(F == 52 && (ctl & SF_CTL_SINGLE)))) {
        uint64_t low = sig & ((ONE64 << n) - 1), m = sig >> n;
        if (low) {
            uint32_t up = rounds_up(ctl, sign, m, low, ONE64 << (n - 1));
            m += up;
            raise_inexact(f, up);
        }
        return SIGN_BIT(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
    }
    return F == 23 ? round_f32_edges(sign, e, sig, ctl, f) : round_f64_edges(sign, e, sig, ctl, f);
}

/* Leading bit of a nonzero finite operand to 63; the exponent goes below 1 for a denormal. */
INLINE uint64_t unpack_norm(int F, int E, uint64_t x, int32_t *e) {
    uint64_t sig = FRACTION(F, x);
    *e = EXPONENT(F, E, x);
    if (LIKELY(*e != 0)) return (sig | ONE64 << F) << (63 - F);
    int lz = clz64(sig);
    *e = 1 - (lz - (63 - F));
    return sig << lz;
}

/* ---- NaNs and denormal operands of binary32 and binary64 ---- */

#define QUIET(F, x) ((x) | ONE64 << ((F)-1))

INLINE int is_special(int F, int E, uint64_t x) {
    return (uint32_t)(EXPONENT(F, E, x) - 1) >= (uint32_t)EXP_MASK(E) - 1; /* zero, denormal, infinity, NaN */
}

INLINE uint64_t nan_of(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    int sa = is_snan(F, E, a), sb = is_snan(F, E, b), na = is_nan(F, E, a), nb = is_nan(F, E, b);
    if (sa || sb) raise_invalid(ctl, f, SF_VXSNAN);
    if (stops(ctl, *f)) return a;
    if (RULE(ctl) != SF_NAN_X87 || !(na && nb)) return QUIET(F, na ? a : b);
    if (sa != sb) return sa ? b : a;
    uint64_t ma = FRACTION(F, a), mb = FRACTION(F, b);
    return QUIET(F, ma > mb || (ma == mb && !SIGN(F, E, a)) ? a : b);
}

INLINE int is_denormal(int F, int E, uint64_t x) {
    return EXPONENT(F, E, x) == 0 && FRACTION(F, x) != 0;
}

/* A denormal operand becomes a zero under DAZ, else raises the denormal exception. */
INLINE uint64_t take_denormal(int F, int E, uint64_t x, uint32_t ctl, uint32_t *f) {
    if (!is_denormal(F, E, x)) return x;
    if (ctl & SF_CTL_DAZ) return SIGN_BIT(F, E, SIGN(F, E, x));
    *f |= SF_DENORMAL;
    return x;
}

INLINE uint64_t flush_denormal(int F, int E, uint64_t x, uint32_t ctl) {
    return (ctl & SF_CTL_DAZ) && is_denormal(F, E, x) ? SIGN_BIT(F, E, SIGN(F, E, x)) : x;
}

#define IS_INF(F, E, x) (EXPONENT(F, E, x) == EXP_MASK(E) && FRACTION(F, x) == 0)
#define IS_ZERO(F, E, x) (EXPONENT(F, E, x) == 0 && FRACTION(F, x) == 0)

INLINE uint64_t invalid(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f, uint32_t why) {
    raise_invalid(ctl, f, why);
    return stops(ctl, *f) ? a : default_nan(F, E, ctl);
}

/* ---- add, subtract ---- */

INLINE int add_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    uint64_t minus_b = *b ^ SIGN_BIT(F, E, negate);
    if (IS_INF(F, E, *a) && IS_INF(F, E, *b) && *a != minus_b) {
        *r = invalid(F, E, *a, ctl, f, SF_VXISI);
        return 1;
    }
    uint64_t x = *a;
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    *r = stops(ctl, *f) ? x : IS_INF(F, E, *a) ? *a : minus_b;
    return stops(ctl, *f) || IS_INF(F, E, *a) || IS_INF(F, E, *b);
}

COLD int add_special_f32(uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return add_special(F32, a, b, negate, ctl, f, r);
}

COLD int add_special_f64(uint64_t *a, uint64_t *b, uint32_t negate, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return add_special(F64, a, b, negate, ctl, f, r);
}

INLINE uint64_t add_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t negate, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? add_special_f32(&a, &b, negate, ctl, f, &r) : add_special_f64(&a, &b, negate, ctl, f, &r)) return r;
    }
    b ^= SIGN_BIT(F, E, negate);
    if ((a & ~SIGN_BIT(F, E, 1)) < (b & ~SIGN_BIT(F, E, 1))) {
        uint64_t t = a;
        a = b;
        b = t;
    }
    int32_t ea = EXPONENT(F, E, a), eb = EXPONENT(F, E, b);
    uint32_t sign = SIGN(F, E, a);
    uint64_t x = (FRACTION(F, a) | (uint64_t)(ea != 0) << F) << (62 - F); /* leading bit at 62: room for the carry */
    uint64_t y = (FRACTION(F, b) | (uint64_t)(eb != 0) << F) << (62 - F);
    ea += ea == 0;
    eb += eb == 0;
    y = shr_jam64(y, (uint32_t)(ea - eb));
    if (SIGN(F, E, a) == SIGN(F, E, b)) {
        x += y;
    } else {
        x -= y;
        if (x == 0) sign = ROUND(ctl) == SF_DOWN;
    }
    if (UNLIKELY(x == 0)) return SIGN_BIT(F, E, sign);
    int lz = clz64(x);
    return round_pack(F, E, sign, ea + 1 - lz, x << lz, ctl, f);
}

/* ---- multiply, divide, square root ---- */

INLINE int mul_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = SIGN(F, E, *a) ^ SIGN(F, E, *b);
    uint64_t x = *a;
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    uint64_t za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    if ((IS_INF(F, E, *a) && IS_ZERO(F, E, zb)) || (IS_ZERO(F, E, za) && IS_INF(F, E, *b))) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIMZ);
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (IS_INF(F, E, *a) || IS_INF(F, E, *b)) {
        *r = INFINITY_BITS(F, E, sign);
        return 1;
    }
    *r = SIGN_BIT(F, E, sign);
    return IS_ZERO(F, E, *a) || IS_ZERO(F, E, *b);
}

COLD int mul_special_f32(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return mul_special(F32, a, b, ctl, f, r);
}

COLD int mul_special_f64(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return mul_special(F64, a, b, ctl, f, r);
}

INLINE uint64_t mul_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? mul_special_f32(&a, &b, ctl, f, &r) : mul_special_f64(&a, &b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    u128 p = (u128)unpack_norm(F, E, a, &ea) * unpack_norm(F, E, b, &eb);
    uint64_t hi = (uint64_t)(p >> 64) | ((uint64_t)p != 0);
    int lz = !(hi >> 63);
    uint32_t sign = SIGN(F, E, a) ^ SIGN(F, E, b);
    return round_pack(F, E, sign, ea + eb - ((1 << (E - 1)) - 1) + 1 - lz, hi << lz, ctl, f);
}

INLINE int div_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = SIGN(F, E, *a) ^ SIGN(F, E, *b);
    uint64_t x = *a, za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    *r = SIGN_BIT(F, E, sign);
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    if (IS_INF(F, E, *a) && IS_INF(F, E, *b)) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIDI);
        return 1;
    }
    if (IS_ZERO(F, E, zb) && !IS_INF(F, E, *a)) {
        if (IS_ZERO(F, E, za)) {
            *r = invalid(F, E, *a, ctl, f, SF_VXZDZ);
        } else {
            *f |= SF_DIVZERO;
            *r = stops(ctl, *f) ? x : INFINITY_BITS(F, E, sign);
        }
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (IS_INF(F, E, *a)) *r = INFINITY_BITS(F, E, sign);
    return IS_INF(F, E, *a) || IS_INF(F, E, *b) || IS_ZERO(F, E, *a);
}

COLD int div_special_f32(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return div_special(F32, a, b, ctl, f, r);
}

COLD int div_special_f64(uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    return div_special(F64, a, b, ctl, f, r);
}

INLINE uint64_t div_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        uint64_t r;
        if (F == 23 ? div_special_f32(&a, &b, ctl, f, &r) : div_special_f64(&a, &b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    uint64_t x = unpack_norm(F, E, a, &ea), y = unpack_norm(F, E, b, &eb), q;
    uint32_t sign = SIGN(F, E, a) ^ SIGN(F, E, b);
    int32_t e = ea - eb + (1 << (E - 1)) - 1;
    if (F == 23) { /* 24-bit divisor: a 63-bit dividend gives 39 bits or more of quotient */
        y >>= 40;
        x >>= 1;
        q = x / y;
        q |= q * y != x;
    } else {
        u128 n = (u128)x << 52;
        y >>= 11; /* n < 2^116, y >= 2^52: the quotient fits in 64 bits */
        q = (uint64_t)(n / y);
        q |= (u128)q * y != n;
    }
    int lz = clz64(q); /* x/y in (1/2, 2): the leading bit is one of two */
    e += (F == 23 ? 24 : 0) - lz;
    return round_pack(F, E, sign, e, q << lz, ctl, f);
}

/* Square roots by halves: the root of the upper half gives the upper half of the root, one division gives the rest, and the
 * remainder, exact, corrects it by at most one. The radicand has a bit set among its two highest. */
INLINE uint32_t root16(uint32_t n, uint32_t *rem) {
    uint32_t root = 0;
    for (uint32_t bit = 0x80; bit; bit >>= 1) {
        uint32_t t = root | bit;
        if (t * t <= n) root = t;
    }
    *rem = n - root * root;
    return root;
}

INLINE uint32_t root32(uint32_t n, uint32_t *rem) {
    uint32_t r1, s1 = root16(n >> 16, &r1), t = r1 << 8 | (n >> 8 & 0xff), q = t / (2 * s1), u = t - q * 2 * s1;
    uint32_t s = (s1 << 8) + q;
    int64_t r = (int64_t)((uint64_t)u << 8 | (n & 0xff)) - (int64_t)q * q;
    if (r < 0) {
        s -= 1;
        r += 2 * (int64_t)s + 1;
    }
    *rem = (uint32_t)r;
    return s;
}

INLINE uint64_t root64(uint64_t n, uint64_t *rem) {
    uint32_t r1, s1 = root32((uint32_t)(n >> 32), &r1);
    uint64_t t = (uint64_t)r1 << 16 | (n >> 16 & 0xffff), q = t / (2 * (uint64_t)s1), u = t - q * 2 * s1;
    uint64_t s = ((uint64_t)s1 << 16) + q;
    int64_t r = (int64_t)(u << 16 | (n & 0xffff)) - (int64_t)(q * q);
    if (r < 0) {
        s -= 1;
        r += 2 * (int64_t)s + 1;
    }
    *rem = (uint64_t)r;
    return s;
}

INLINE uint64_t root128(u128 n, u128 *rem) {
    uint64_t hi = (uint64_t)(n >> 64), lo = (uint64_t)n, r1, s1 = root64(hi, &r1);
    uint64_t q = (r1 << 31 | lo >> 33) / s1; /* floor((r1 * 2^32 + ...) / (2 s1)) without its 65th bit */
    if (q >> 32) q = 0xffffffffu;
    u128 u = ((u128)r1 << 32 | lo >> 32) - (u128)q * 2 * s1;
    uint64_t s = (s1 << 32) + q;
    __int128 r = (__int128)(u << 32 | (lo & 0xffffffffu)) - (__int128)((u128)q * q);
    if (r < 0) {
        s -= 1;
        r += 2 * (__int128)s + 1;
    }
    *rem = (u128)r;
    return s;
}

INLINE uint64_t sqrt_ieee(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    if (UNLIKELY(is_special(F, E, a) || SIGN(F, E, a))) {
        uint64_t x = a;
        if (is_nan(F, E, a)) return nan_of(F, E, a, a, ctl, f);
        if (IS_ZERO(F, E, flush_denormal(F, E, a, ctl))) return flush_denormal(F, E, a, ctl);
        if (SIGN(F, E, a)) return invalid(F, E, a, ctl, f, SF_VXSQRT);
        if (IS_INF(F, E, a)) return a;
        a = take_denormal(F, E, a, ctl, f);
        if (stops(ctl, *f)) return x;
    }
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e), root;
    e -= bias;
    uint32_t odd = (uint32_t)e & 1;
    e = (e - (int32_t)odd) / 2 + bias;
    if (F == 23) {
        uint64_t rem;
        root = root64(odd ? sig : sig >> 1, &rem) << 32 | (rem != 0);
    } else {
        u128 rem;
        root = root128((u128)sig << (63 + odd), &rem);
        root |= rem != 0;
    }
    return round_pack(F, E, 0, e, root, ctl, f);
}

/* ---- remainder ---- */

/* x - y*q for significands with leading bits at 63 and x's exponent d >= 0 above y's; *quotient keeps the low bits of q. */
INLINE uint64_t remainder_bits(uint64_t x, uint64_t y, uint32_t d, uint64_t *quotient) {
    uint64_t q = x >= y, r = q ? x - y : x;
    while (d) {
        uint32_t k = d < 63 ? d : 63;
        u128 t = (u128)r << k;
        uint64_t part = (uint64_t)(t / y);
        q = q << k | part; /* part < 2^k */
        r = (uint64_t)(t - (u128)part * y);
        d -= k;
    }
    *quotient = q;
    return r;
}

/* Remainder of the nearest quotient (ties to even) for exponents ea, eb. Result: *sig * 2^(*e - bias - 63), sign flipped
 * where 1 is returned; *sig 0 when the division is exact. *quotient gets the low bits of the quotient's magnitude. */
INLINE uint32_t remainder_nearest(uint64_t x, int32_t ea, uint64_t y, int32_t eb, uint64_t *sig, int32_t *e, uint64_t *quotient) {
    *quotient = 0;
    *e = ea;
    *sig = x;
    if (ea < eb - 1) return 0; /* below half of the divisor */
    if (ea == eb - 1) {
        if (x <= y) return 0; /* 2*|a| <= |b|; a tie goes to the even quotient 0 */
        u128 diff = ((u128)y << 1) - x;
        *quotient = 1;
        *sig = (uint64_t)diff; /* x > y: below 2^64 */
        return 1;
    }
    uint64_t r = remainder_bits(x, y, (uint32_t)(ea - eb), quotient);
    *e = eb;
    *sig = r;
    if (r > y - r || (r == y - r && (*quotient & 1))) {
        *sig = y - r;
        *quotient += 1;
        return 1;
    }
    return 0;
}

INLINE uint64_t rem_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    uint64_t x = a, q;
    int32_t ea, eb, e;
    uint32_t sign = SIGN(F, E, a);
    if (is_nan(F, E, a) || is_nan(F, E, b)) return nan_of(F, E, a, b, ctl, f);
    if (IS_INF(F, E, a) || IS_ZERO(F, E, flush_denormal(F, E, b, ctl))) return invalid(F, E, a, ctl, f, 0);
    a = take_denormal(F, E, a, ctl, f);
    b = take_denormal(F, E, b, ctl, f);
    if (stops(ctl, *f)) return x;
    if (IS_ZERO(F, E, a)) return a;
    if (IS_INF(F, E, b)) { /* a itself; through the rounding for the sake of an unmasked underflow */
        x = unpack_norm(F, E, a, &ea);
        return round_pack(F, E, sign, ea, x, ctl, f);
    }
    uint64_t sa = unpack_norm(F, E, a, &ea), sb = unpack_norm(F, E, b, &eb), sig;
    sign ^= remainder_nearest(sa, ea, sb, eb, &sig, &e, &q);
    if (sig == 0) return SIGN_BIT(F, E, sign);
    int lz = clz64(sig);
    return round_pack(F, E, sign, e - lz, sig << lz, ctl, f);
}

/* ---- a * b + c, rounded once ---- */

INLINE uint64_t muladd_nan(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    uint64_t first = RULE(ctl) == SF_NAN_PPC ? c : b, second = RULE(ctl) == SF_NAN_PPC ? b : c;
    if (is_snan(F, E, a) || is_snan(F, E, b) || is_snan(F, E, c)) raise_invalid(ctl, f, SF_VXSNAN);
    uint64_t za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
    if ((IS_INF(F, E, a) && IS_ZERO(F, E, zb)) || (IS_ZERO(F, E, za) && IS_INF(F, E, b))) {
        if (RULE(ctl) == SF_NAN_PPC) raise_invalid(ctl, f, SF_VXIMZ);
    }
    if (stops(ctl, *f)) return a;
    return QUIET(F, is_nan(F, E, a) ? a : is_nan(F, E, first) ? first : second);
}

INLINE uint64_t muladd_ieee(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    uint32_t sign = SIGN(F, E, a) ^ SIGN(F, E, b), sign_c = SIGN(F, E, c);
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b) | is_special(F, E, c))) {
        uint64_t x = a, za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
        if (is_nan(F, E, a) || is_nan(F, E, b) || is_nan(F, E, c)) return muladd_nan(F, E, a, b, c, ctl, f);
        if ((IS_INF(F, E, a) && IS_ZERO(F, E, zb)) || (IS_ZERO(F, E, za) && IS_INF(F, E, b)))
            return invalid(F, E, a, ctl, f, SF_VXIMZ);
        int infinite = IS_INF(F, E, a) || IS_INF(F, E, b);
        if (infinite && IS_INF(F, E, c) && sign != sign_c) return invalid(F, E, a, ctl, f, SF_VXISI);
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        c = take_denormal(F, E, c, ctl, f);
        if (stops(ctl, *f)) return x;
        if (infinite) return INFINITY_BITS(F, E, sign);
        if (IS_INF(F, E, c)) return c;
        if (IS_ZERO(F, E, a) || IS_ZERO(F, E, b)) {
            if (IS_ZERO(F, E, c)) return SIGN_BIT(F, E, sign == sign_c ? sign : ROUND(ctl) == SF_DOWN);
            int32_t ec;
            uint64_t sc = unpack_norm(F, E, c, &ec);
            return round_pack(F, E, sign_c, ec, sc, ctl, f);
        }
    }
    int32_t ea, eb, ec;
    u128 p = (u128)unpack_norm(F, E, a, &ea) * unpack_norm(F, E, b, &eb) >> 1; /* leading bit at 125 or 126 */
    int32_t e = ea + eb - bias + 2;                                            /* of a leading bit at 127 */
    if (!IS_ZERO(F, E, c)) {
        u128 s = (u128)unpack_norm(F, E, c, &ec) << 63;
        int32_t d = e - (ec + 1);
        if (d > 0) {
            s = shr_jam128(s, (uint32_t)d);
        } else if (d < 0) {
            p = shr_jam128(p, (uint32_t)-d);
            e = ec + 1;
        }
        if (sign == sign_c) {
            p += s;
        } else if (p >= s) {
            p -= s;
            if (p == 0) return SIGN_BIT(F, E, ROUND(ctl) == SF_DOWN);
        } else {
            p = s - p;
            sign = sign_c;
        }
    }
    int lz = clz128(p);
    p <<= lz;
    return round_pack(F, E, sign, e - lz, (uint64_t)(p >> 64) | ((uint64_t)p != 0), ctl, f);
}

/* ---- comparison, minimum, maximum ---- */

INLINE uint32_t compare_ieee(int F, int E, uint64_t a, uint64_t b, int quiet, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        if (is_nan(F, E, a) || is_nan(F, E, b)) {
            int snan = is_snan(F, E, a) || is_snan(F, E, b);
            if (snan) raise_invalid(ctl, f, SF_VXSNAN | (quiet ? 0 : SF_VXVC));
            else if (!quiet) raise_invalid(ctl, f, SF_VXVC);
            return SF_UNORDERED;
        }
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        if (IS_ZERO(F, E, a) && IS_ZERO(F, E, b)) return SF_EQUAL;
    }
    if (a == b) return SF_EQUAL;
    uint32_t sign = SIGN(F, E, a);
    if (sign != SIGN(F, E, b)) return sign ? SF_LESS : SF_GREATER;
    return (a < b) != (sign != 0) ? SF_LESS : SF_GREATER;
}

/* MINSS and MAXSS: the second operand for two zeros and for any NaN, which is always invalid. */
INLINE uint64_t minmax_ieee(int F, int E, uint64_t a, uint64_t b, uint32_t wanted, uint32_t ctl, uint32_t *f) {
    uint64_t x = a;
    uint32_t order = compare_ieee(F, E, a, b, 0, ctl, f);
    if (stops(ctl, *f)) return x;
    return flush_denormal(F, E, order == wanted ? a : b, ctl);
}

/* ---- integers ---- */

/* Rounds sig * 2^(e - 63) to an integer magnitude; e <= 63. *low is nonzero if bits were dropped, *up if it was raised. */
INLINE u128 round_magnitude(uint32_t sign, int32_t e, uint64_t sig, uint32_t ctl, uint64_t *low, uint32_t *up) {
    u128 t = shr_jam128((u128)sig << 64, (uint32_t)(63 - e));
    *low = (uint64_t)t;
    *up = rounds_up(ctl, sign, (uint64_t)(t >> 64), *low, TOP64);
    return (t >> 64) + *up;
}

INLINE uint64_t int_invalid(uint32_t sign, int nan, int bits, int is_signed, uint32_t ctl, uint32_t *f, uint32_t why) {
    uint64_t top = ONE64 << (bits - 1), ones = top | (top - 1);
    raise_invalid(ctl, f, why | SF_VXCVI);
    if (RULE(ctl) != SF_NAN_PPC) return is_signed ? top : ones;
    if (is_signed) return nan || sign ? top : top - 1;
    return nan || sign ? 0 : ones;
}

/* A finite nonzero value to a two's complement or unsigned integer of `bits` bits. */
INLINE uint64_t finite_to_int(uint32_t sign, int32_t e, uint64_t sig, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    uint64_t low = 0, limit = is_signed ? (ONE64 << (bits - 1)) - !sign : sign ? 0 : ~(uint64_t)0 >> (64 - bits);
    uint32_t up = 0;
    u128 m = e > 63 ? (u128)1 << 64 : round_magnitude(sign, e, sig, ctl, &low, &up);
    if (m > limit) return int_invalid(sign, 0, bits, is_signed, ctl, f, 0);
    if (low) raise_inexact(f, up);
    uint64_t r = (uint64_t)m;
    if (sign) r = 0 - r;
    return r & (~(uint64_t)0 >> (64 - bits));
}

INLINE uint64_t ieee_to_int(int F, int E, uint64_t a, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    if (is_nan(F, E, a)) return int_invalid(0, 1, bits, is_signed, ctl, f, is_snan(F, E, a) ? SF_VXSNAN : 0);
    if (IS_INF(F, E, a)) return int_invalid(SIGN(F, E, a), 0, bits, is_signed, ctl, f, 0);
    a = flush_denormal(F, E, a, ctl);
    if (IS_ZERO(F, E, a)) return 0;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e);
    return finite_to_int(SIGN(F, E, a), e - ((1 << (E - 1)) - 1), sig, bits, is_signed, ctl, f);
}

INLINE uint64_t int_to_ieee(int F, int E, uint32_t sign, uint64_t magnitude, uint32_t ctl, uint32_t *f) {
    if (!magnitude) return 0;
    int lz = clz64(magnitude);
    return round_pack(F, E, sign, (1 << (E - 1)) - 1 + 63 - lz, magnitude << lz, ctl, f);
}

INLINE uint64_t round_int_ieee(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    if (is_nan(F, E, a)) return nan_of(F, E, a, a, ctl, f);
    a = flush_denormal(F, E, a, ctl);
    if (IS_ZERO(F, E, a) || EXPONENT(F, E, a) >= bias + F) return a;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e), low;
    uint32_t up, sign = SIGN(F, E, a);
    uint64_t m = (uint64_t)round_magnitude(sign, e - bias, sig, ctl, &low, &up);
    if (low) raise_inexact(f, up);
    if (!m) return SIGN_BIT(F, E, sign);
    int lz = clz64(m); /* m < 2^(F+1): exact */
    return SIGN_BIT(F, E, sign) + ((uint64_t)(bias + 62 - lz) << F) + (m << lz >> (63 - F));
}

/* ---- between binary32 and binary64 ---- */

INLINE uint64_t f32_to_f64(uint64_t a, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F32, a))) {
        uint64_t x = a;
        if (is_nan(F32, a)) {
            x = nan_of(F32, a, a, ctl, f);
            return SIGN_BIT(F64, SIGN(F32, x)) | INFINITY_BITS(F64, 0) | FRACTION(23, x) << 29;
        }
        a = take_denormal(F32, a, ctl, f);
        if (stops(ctl, *f)) return 0;
    }
    return widen(a);
}

INLINE uint64_t f64_to_f32(uint64_t a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN(F64, a);
    if (UNLIKELY(is_special(F64, a))) {
        if (is_nan(F64, a)) {
            a = nan_of(F64, a, a, ctl, f);
            return SIGN_BIT(F32, sign) | INFINITY_BITS(F32, 0) | FRACTION(52, a) >> 29;
        }
        a = take_denormal(F64, a, ctl, f);
        if (stops(ctl, *f)) return 0;
        if (IS_INF(F64, a)) return INFINITY_BITS(F32, sign);
        if (IS_ZERO(F64, a)) return SIGN_BIT(F32, sign);
    }
    int32_t e;
    uint64_t sig = unpack_norm(F64, a, &e);
    return round_pack(F32, sign, e + 127 - 1023, sig, ctl, f);
}
