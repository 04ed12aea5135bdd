/* IEEE 754 arithmetic on integers; softfloat.h says what each layer offers.
 *
 * A finite nonzero operand is a sign, a biased exponent and a significand. Inside an operation the significand is moved
 * up until its leading bit is bit 63 (or 127 of a pair), bits that do not fit are ORed into the lowest bit kept, and the
 * result is rounded once. The x86 rules for NaNs, denormals and unmasked exceptions stand in the functions *_special.
 */
#include "softfloat.h"

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

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

INLINE int32_t exp_mask(int E) {
    return (1 << E) - 1;
}

INLINE uint64_t fraction(int F, uint64_t x) {
    return x & ((ONE64 << F) - 1);
}

INLINE int32_t exponent(int F, int E, uint64_t x) {
    return (int32_t)(x >> F) & exp_mask(E);
}

INLINE uint32_t sign_of(int F, int E, uint64_t x) {
    return (uint32_t)(x >> (F + E)) & 1u;
}

INLINE uint64_t sign_bit(int F, int E, uint32_t s) {
    return (uint64_t)s << (F + E);
}

INLINE uint64_t infinity(int F, int E, uint32_t s) {
    return sign_bit(F, E, s) | (uint64_t)exp_mask(E) << F;
}

INLINE int is_inf(int F, int E, uint64_t x) {
    return exponent(F, E, x) == exp_mask(E) && fraction(F, x) == 0;
}

INLINE int is_zero(int F, int E, uint64_t x) {
    return exponent(F, E, x) == 0 && fraction(F, x) == 0;
}

INLINE uint64_t quiet(int F, uint64_t x) {
    return x | ONE64 << (F - 1);
}

INLINE uint64_t default_nan(int F, int E, uint32_t ctl) {
    return sign_bit(F, E, RULE(ctl) != SF_NAN_PPC) | (uint64_t)exp_mask(E) << F | ONE64 << (F - 1);
}

INLINE int is_nan(int F, int E, uint64_t x) {
    return exponent(F, E, x) == exp_mask(E) && fraction(F, x) != 0;
}

INLINE int is_snan(int F, int E, uint64_t x) {
    return is_nan(F, E, x) && !(x >> (F - 1) & 1);
}

/* A rounded significand with the exponent of an unmasked overflow or underflow moved into range. */
INLINE uint64_t wrapped(int F, int E, uint32_t sign, int32_t e, uint64_t m) {
    if (e < 1) return sign_bit(F, E, sign);
    if (e >= exp_mask(E)) return infinity(F, E, sign);
    return sign_bit(F, E, sign) | (uint64_t)e << F | fraction(F, m);
}

/* A binary32 that is not a NaN, in binary64: exact. */
INLINE uint64_t widen(uint64_t a) {
    int32_t e = exponent(F32, a);
    uint64_t frac = fraction(23, a), sign = sign_bit(F64, sign_of(F32, a));
    if (e == 255) return sign | infinity(F64, 0);
    if (e == 0) {
        if (!frac) return sign;
        int lz = clz64(frac) - 40;
        frac = fraction(23, frac << lz);
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
    if ((tiny && (UNMASKED(ctl) & SF_UNDERFLOW)) || (e1 >= exp_mask(E) && (UNMASKED(ctl) & SF_OVERFLOW))) {
        *f |= tiny ? SF_UNDERFLOW : SF_OVERFLOW;
        if (low) raise_inexact(f, up);
        e1 += tiny ? adjust : -adjust;
        if (wide) return wrapped(F64, sign, e1 + 1023 - 127, fraction(23, m) << 29);
        return wrapped(F, E, sign, e1, m);
    }
    if (tiny && (ctl & SF_CTL_FTZ)) {
        *f |= SF_UNDERFLOW | SF_INEXACT;
        r = sign_bit(F, E, sign);
    } else if (e < 1) {
        sig = shr_jam64(sig, (uint32_t)(1 - e));
        low = sig & mask;
        m = sig >> n;
        up = rounds_up(ctl, sign, m, low, half);
        if (low) {
            raise_inexact(f, up);
            if (tiny) *f |= SF_UNDERFLOW;
        }
        r = sign_bit(F, E, sign) | (m + up);
    } else if (e1 >= exp_mask(E)) {
        int infinite = overflows_to_infinity(ctl, sign);
        *f |= SF_OVERFLOW;
        raise_inexact(f, (uint32_t)infinite);
        r = infinity(F, E, sign) - (infinite ? 0 : 1);
    } else {
        if (low) raise_inexact(f, up);
        r = sign_bit(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
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
    if (LIKELY((uint32_t)(e - 1) < (uint32_t)exp_mask(E) - 2 && !(F == 52 && (ctl & SF_CTL_SINGLE)))) {
        uint64_t low = sig & ((ONE64 << n) - 1), m = sig >> n;
        if (low) {
            uint32_t up = rounds_up(ctl, sign, m, low, ONE64 << (n - 1));
            m += up;
            raise_inexact(f, up);
        }
        return sign_bit(F, E, sign) + ((uint64_t)(e - 1) << F) + m;
    }
    return F == 23 ? round_f32_edges(sign, e, sig, ctl, f) : round_f64_edges(sign, e, sig, ctl, f);
}

/* Leading bit of a nonzero finite operand to 63; the exponent goes below 1 for a denormal. */
INLINE uint64_t unpack_norm(int F, int E, uint64_t x, int32_t *e) {
    uint64_t sig = fraction(F, x);
    *e = exponent(F, E, x);
    if (LIKELY(*e != 0)) return (sig | ONE64 << F) << (63 - F);
    int lz = clz64(sig);
    *e = 1 - (lz - (63 - F));
    return sig << lz;
}

/* ---- NaNs and denormal operands of binary32 and binary64 ---- */

INLINE int is_special(int F, int E, uint64_t x) {
    return (uint32_t)(exponent(F, E, x) - 1) >= (uint32_t)exp_mask(E) - 1; /* zero, denormal, infinity, NaN */
}

INLINE uint64_t nan_of(int F, int E, uint64_t a, uint64_t b, uint32_t ctl, uint32_t *f) {
    int sa = is_snan(F, E, a), sb = is_snan(F, E, b), na = is_nan(F, E, a), nb = is_nan(F, E, b);
    if (sa || sb) raise_invalid(ctl, f, SF_VXSNAN);
    if (stops(ctl, *f)) return a;
    if (RULE(ctl) != SF_NAN_X87 || !(na && nb)) return quiet(F, na ? a : b);
    if (sa != sb) return sa ? b : a;
    uint64_t ma = fraction(F, a), mb = fraction(F, b);
    return quiet(F, ma > mb || (ma == mb && !sign_of(F, E, a)) ? a : b);
}

INLINE int is_denormal(int F, int E, uint64_t x) {
    return exponent(F, E, x) == 0 && fraction(F, x) != 0;
}

/* A denormal operand becomes a zero under DAZ, else raises the denormal exception. */
INLINE uint64_t take_denormal(int F, int E, uint64_t x, uint32_t ctl, uint32_t *f) {
    if (!is_denormal(F, E, x)) return x;
    if (ctl & SF_CTL_DAZ) return sign_bit(F, E, sign_of(F, E, x));
    *f |= SF_DENORMAL;
    return x;
}

INLINE uint64_t flush_denormal(int F, int E, uint64_t x, uint32_t ctl) {
    return (ctl & SF_CTL_DAZ) && is_denormal(F, E, x) ? sign_bit(F, E, sign_of(F, E, x)) : x;
}

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
    uint64_t minus_b = *b ^ sign_bit(F, E, negate);
    if (is_inf(F, E, *a) && is_inf(F, E, *b) && *a != minus_b) {
        *r = invalid(F, E, *a, ctl, f, SF_VXISI);
        return 1;
    }
    uint64_t x = *a;
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    *r = stops(ctl, *f) ? x : is_inf(F, E, *a) ? *a : minus_b;
    return stops(ctl, *f) || is_inf(F, E, *a) || is_inf(F, E, *b);
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
    b ^= sign_bit(F, E, negate);
    if ((a & ~sign_bit(F, E, 1)) < (b & ~sign_bit(F, E, 1))) {
        uint64_t t = a;
        a = b;
        b = t;
    }
    int32_t ea = exponent(F, E, a), eb = exponent(F, E, b);
    uint32_t sign = sign_of(F, E, a);
    uint64_t x = (fraction(F, a) | (uint64_t)(ea != 0) << F) << (62 - F); /* leading bit at 62: room for the carry */
    uint64_t y = (fraction(F, b) | (uint64_t)(eb != 0) << F) << (62 - F);
    ea += ea == 0;
    eb += eb == 0;
    y = shr_jam64(y, (uint32_t)(ea - eb));
    if (sign_of(F, E, a) == sign_of(F, E, b)) {
        x += y;
    } else {
        x -= y;
        if (x == 0) sign = ROUND(ctl) == SF_DOWN;
    }
    if (UNLIKELY(x == 0)) return sign_bit(F, E, sign);
    int lz = clz64(x);
    return round_pack(F, E, sign, ea + 1 - lz, x << lz, ctl, f);
}

/* ---- multiply, divide, square root ---- */

INLINE int mul_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = sign_of(F, E, *a) ^ sign_of(F, E, *b);
    uint64_t x = *a;
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    uint64_t za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    if ((is_inf(F, E, *a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, *b))) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIMZ);
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (is_inf(F, E, *a) || is_inf(F, E, *b)) {
        *r = infinity(F, E, sign);
        return 1;
    }
    *r = sign_bit(F, E, sign);
    return is_zero(F, E, *a) || is_zero(F, E, *b);
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
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b);
    return round_pack(F, E, sign, ea + eb - ((1 << (E - 1)) - 1) + 1 - lz, hi << lz, ctl, f);
}

INLINE int div_special(int F, int E, uint64_t *a, uint64_t *b, uint32_t ctl, uint32_t *f, uint64_t *r) {
    uint32_t sign = sign_of(F, E, *a) ^ sign_of(F, E, *b);
    uint64_t x = *a, za = flush_denormal(F, E, *a, ctl), zb = flush_denormal(F, E, *b, ctl);
    *r = sign_bit(F, E, sign);
    if (is_nan(F, E, *a) || is_nan(F, E, *b)) {
        *r = nan_of(F, E, *a, *b, ctl, f);
        return 1;
    }
    if (is_inf(F, E, *a) && is_inf(F, E, *b)) {
        *r = invalid(F, E, *a, ctl, f, SF_VXIDI);
        return 1;
    }
    if (is_zero(F, E, zb) && !is_inf(F, E, *a)) {
        if (is_zero(F, E, za)) {
            *r = invalid(F, E, *a, ctl, f, SF_VXZDZ);
        } else {
            *f |= SF_DIVZERO;
            *r = stops(ctl, *f) ? x : infinity(F, E, sign);
        }
        return 1;
    }
    *a = take_denormal(F, E, *a, ctl, f);
    *b = take_denormal(F, E, *b, ctl, f);
    if (stops(ctl, *f)) {
        *r = x;
        return 1;
    }
    if (is_inf(F, E, *a)) *r = infinity(F, E, sign);
    return is_inf(F, E, *a) || is_inf(F, E, *b) || is_zero(F, E, *a);
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
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b);
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
    i128 r = (i128)(u << 32 | (lo & 0xffffffffu)) - (i128)((u128)q * q);
    if (r < 0) {
        s -= 1;
        r += 2 * (i128)s + 1;
    }
    *rem = (u128)r;
    return s;
}

INLINE uint64_t sqrt_ieee(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    if (UNLIKELY(is_special(F, E, a) || sign_of(F, E, a))) {
        uint64_t x = a;
        if (is_nan(F, E, a)) return nan_of(F, E, a, a, ctl, f);
        if (is_zero(F, E, flush_denormal(F, E, a, ctl))) return flush_denormal(F, E, a, ctl);
        if (sign_of(F, E, a)) return invalid(F, E, a, ctl, f, SF_VXSQRT);
        if (is_inf(F, E, a)) return a;
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
INLINE uint32_t remainder_nearest(uint64_t x, int32_t ea, uint64_t y, int32_t eb, uint64_t *sig, int32_t *e,
                                  uint64_t *quotient) {
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
    uint32_t sign = sign_of(F, E, a);
    if (is_nan(F, E, a) || is_nan(F, E, b)) return nan_of(F, E, a, b, ctl, f);
    if (is_inf(F, E, a) || is_zero(F, E, flush_denormal(F, E, b, ctl))) return invalid(F, E, a, ctl, f, 0);
    a = take_denormal(F, E, a, ctl, f);
    b = take_denormal(F, E, b, ctl, f);
    if (stops(ctl, *f)) return x;
    if (is_zero(F, E, a)) return a;
    if (is_inf(F, E, b)) { /* a itself; through the rounding for the sake of an unmasked underflow */
        x = unpack_norm(F, E, a, &ea);
        return round_pack(F, E, sign, ea, x, ctl, f);
    }
    uint64_t sa = unpack_norm(F, E, a, &ea), sb = unpack_norm(F, E, b, &eb), sig;
    sign ^= remainder_nearest(sa, ea, sb, eb, &sig, &e, &q);
    if (sig == 0) return sign_bit(F, E, sign);
    int lz = clz64(sig);
    return round_pack(F, E, sign, e - lz, sig << lz, ctl, f);
}

/* ---- a * b + c, rounded once ---- */

INLINE uint64_t muladd_nan(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    uint64_t first = RULE(ctl) == SF_NAN_PPC ? c : b, second = RULE(ctl) == SF_NAN_PPC ? b : c;
    if (is_snan(F, E, a) || is_snan(F, E, b) || is_snan(F, E, c)) raise_invalid(ctl, f, SF_VXSNAN);
    uint64_t za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
    if ((is_inf(F, E, a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, b))) {
        if (RULE(ctl) == SF_NAN_PPC) raise_invalid(ctl, f, SF_VXIMZ);
    }
    if (stops(ctl, *f)) return a;
    return quiet(F, is_nan(F, E, a) ? a : is_nan(F, E, first) ? first : second);
}

INLINE uint64_t muladd_ieee(int F, int E, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl, uint32_t *f) {
    const int32_t bias = (1 << (E - 1)) - 1;
    uint32_t sign = sign_of(F, E, a) ^ sign_of(F, E, b), sign_c = sign_of(F, E, c);
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b) | is_special(F, E, c))) {
        uint64_t x = a, za = flush_denormal(F, E, a, ctl), zb = flush_denormal(F, E, b, ctl);
        if (is_nan(F, E, a) || is_nan(F, E, b) || is_nan(F, E, c)) return muladd_nan(F, E, a, b, c, ctl, f);
        if ((is_inf(F, E, a) && is_zero(F, E, zb)) || (is_zero(F, E, za) && is_inf(F, E, b)))
            return invalid(F, E, a, ctl, f, SF_VXIMZ);
        int infinite = is_inf(F, E, a) || is_inf(F, E, b);
        if (infinite && is_inf(F, E, c) && sign != sign_c) return invalid(F, E, a, ctl, f, SF_VXISI);
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        c = take_denormal(F, E, c, ctl, f);
        if (stops(ctl, *f)) return x;
        if (infinite) return infinity(F, E, sign);
        if (is_inf(F, E, c)) return c;
        if (is_zero(F, E, a) || is_zero(F, E, b)) {
            if (is_zero(F, E, c)) return sign_bit(F, E, sign == sign_c ? sign : ROUND(ctl) == SF_DOWN);
            int32_t ec;
            uint64_t sc = unpack_norm(F, E, c, &ec);
            return round_pack(F, E, sign_c, ec, sc, ctl, f);
        }
    }
    int32_t ea, eb, ec;
    u128 p = (u128)unpack_norm(F, E, a, &ea) * unpack_norm(F, E, b, &eb) >> 1; /* leading bit at 125 or 126 */
    int32_t e = ea + eb - bias + 2;                                            /* of a leading bit at 127 */
    if (!is_zero(F, E, c)) {
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
            if (p == 0) return sign_bit(F, E, ROUND(ctl) == SF_DOWN);
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

INLINE uint32_t compare_ieee(int F, int E, uint64_t a, uint64_t b, int is_quiet, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F, E, a) | is_special(F, E, b))) {
        if (is_nan(F, E, a) || is_nan(F, E, b)) {
            int snan = is_snan(F, E, a) || is_snan(F, E, b);
            if (snan) raise_invalid(ctl, f, SF_VXSNAN | (is_quiet ? 0 : SF_VXVC));
            else if (!is_quiet) raise_invalid(ctl, f, SF_VXVC);
            return SF_UNORDERED;
        }
        a = take_denormal(F, E, a, ctl, f);
        b = take_denormal(F, E, b, ctl, f);
        if (is_zero(F, E, a) && is_zero(F, E, b)) return SF_EQUAL;
    }
    if (a == b) return SF_EQUAL;
    uint32_t sign = sign_of(F, E, a);
    if (sign != sign_of(F, E, b)) return sign ? SF_LESS : SF_GREATER;
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
    if (is_inf(F, E, a)) return int_invalid(sign_of(F, E, a), 0, bits, is_signed, ctl, f, 0);
    a = flush_denormal(F, E, a, ctl);
    if (is_zero(F, E, a)) return 0;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e);
    return finite_to_int(sign_of(F, E, a), e - ((1 << (E - 1)) - 1), sig, bits, is_signed, ctl, f);
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
    if (is_zero(F, E, a) || exponent(F, E, a) >= bias + F) return a;
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e), low;
    uint32_t up, sign = sign_of(F, E, a);
    uint64_t m = (uint64_t)round_magnitude(sign, e - bias, sig, ctl, &low, &up);
    if (low) raise_inexact(f, up);
    if (!m) return sign_bit(F, E, sign);
    int lz = clz64(m); /* m < 2^(F+1): exact */
    return sign_bit(F, E, sign) + ((uint64_t)(bias + 62 - lz) << F) + (m << lz >> (63 - F));
}

/* ---- between binary32 and binary64 ---- */

INLINE uint64_t f32_to_f64(uint64_t a, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special(F32, a))) {
        uint64_t x = a;
        if (is_nan(F32, a)) {
            x = nan_of(F32, a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return sign_bit(F64, sign_of(F32, x)) | infinity(F64, 0) | fraction(23, x) << 29;
        }
        a = take_denormal(F32, a, ctl, f);
        if (stops(ctl, *f)) return 0;
    }
    return widen(a);
}

INLINE uint64_t f64_to_f32(uint64_t a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = sign_of(F64, a);
    if (UNLIKELY(is_special(F64, a))) {
        if (is_nan(F64, a)) {
            a = nan_of(F64, a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return sign_bit(F32, sign) | infinity(F32, 0) | fraction(52, a) >> 29;
        }
        a = take_denormal(F64, a, ctl, f);
        if (stops(ctl, *f)) return 0;
        if (is_inf(F64, a)) return infinity(F32, sign);
        if (is_zero(F64, a)) return sign_bit(F32, sign);
    }
    int32_t e;
    uint64_t sig = unpack_norm(F64, a, &e);
    return round_pack(F32, sign, e + 127 - 1023, sig, ctl, f);
}

/* ---- the 80-bit format: classes and packing ---- */

#define MAX80 0x7fff
#define BIAS80 16383
#define WRAP80 24576 /* exponent adjustment of an unmasked x87 overflow or underflow */
#define EXP80(x) ((int32_t)((x).se & MAX80))
#define SIGN80(x) ((uint32_t)(x).se >> 15)

INLINE sf_f80 make80(uint32_t sign, int32_t e, uint64_t sig) {
    sf_f80 r = {sig, (uint16_t)(sign << 15 | (uint32_t)e)};
    return r;
}

INLINE int is_special80(sf_f80 x) { /* anything but a normal number */
    return (uint32_t)(EXP80(x) - 1) >= MAX80 - 1 || !(x.sig >> 63);
}

INLINE int is_unsupported80(sf_f80 x) { /* unnormal, pseudo-infinity, pseudo-NaN */
    return EXP80(x) != 0 && !(x.sig >> 63);
}

INLINE int is_nan80(sf_f80 x) {
    return EXP80(x) == MAX80 && x.sig > TOP64;
}

INLINE int is_snan80(sf_f80 x) {
    return is_nan80(x) && !(x.sig >> 62 & 1);
}

INLINE int is_inf80(sf_f80 x) {
    return EXP80(x) == MAX80 && x.sig == TOP64;
}

INLINE int is_zero80(sf_f80 x) {
    return EXP80(x) == 0 && x.sig == 0;
}

INLINE int is_denormal80(sf_f80 x) { /* pseudo-denormals too */
    return EXP80(x) == 0 && x.sig != 0;
}

INLINE sf_f80 quiet80(sf_f80 x) {
    x.sig |= ONE64 << 62;
    return x;
}

INLINE sf_f80 invalid80(sf_f80 a, uint32_t ctl, uint32_t *f, uint32_t why) {
    raise_invalid(ctl, f, why);
    return stops(ctl, *f) ? a : make80(RULE(ctl) != SF_NAN_PPC, MAX80, (uint64_t)3 << 62);
}

/* One operand is a NaN or unsupported. */
COLD sf_f80 nan_of80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (is_unsupported80(a) || is_unsupported80(b)) return invalid80(a, ctl, f, 0);
    int sa = is_snan80(a), sb = is_snan80(b), na = is_nan80(a), nb = is_nan80(b);
    if (sa || sb) raise_invalid(ctl, f, SF_VXSNAN);
    if (stops(ctl, *f)) return a;
    if (RULE(ctl) != SF_NAN_X87 || !(na && nb)) return quiet80(na ? a : b);
    if (sa != sb) return sa ? b : a;
    return quiet80(a.sig > b.sig || (a.sig == b.sig && !SIGN80(a)) ? a : b);
}

INLINE int is_nan_or_unsupported80(sf_f80 x) {
    return is_nan80(x) || is_unsupported80(x);
}

INLINE void raise_denormal80(sf_f80 x, uint32_t *f) {
    if (is_denormal80(x)) *f |= SF_DENORMAL;
}

COLD sf_f80 round80_edges(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, int precision, uint32_t ctl, uint32_t *f) {
    const uint64_t mask = precision == 64 ? 0 : ~(uint64_t)0 >> precision;
    const uint64_t unit = mask + 1, half = precision == 64 ? TOP64 : unit >> 1;
    uint64_t low = precision == 64 ? lo : (hi & mask) | (lo != 0), m = hi & ~mask;
    uint32_t up = rounds_up(ctl, sign, m / unit, low, half);
    int32_t e1 = e;
    if (up && (m += unit) == 0) {
        m = TOP64;
        e1 += 1;
    }
    int tiny = (ctl & SF_CTL_TINY_BEFORE ? e : e1) < 1;
    if (tiny && (UNMASKED(ctl) & SF_UNDERFLOW)) {
        *f |= SF_UNDERFLOW;
        e1 += WRAP80;
        if (e1 < 1) { /* FSCALE only */
            raise_inexact(f, 0);
            return make80(sign, 0, 0);
        }
        if (low) raise_inexact(f, up);
        return make80(sign, e1, m);
    }
    if (e < 1) {
        u128 t = shr_jam128((u128)hi << 64 | lo, (uint32_t)(1 - e));
        hi = (uint64_t)(t >> 64);
        lo = (uint64_t)t;
        low = precision == 64 ? lo : (hi & mask) | (lo != 0);
        m = hi & ~mask;
        up = rounds_up(ctl, sign, m / unit, low, half);
        if (low) {
            raise_inexact(f, up);
            if (tiny) *f |= SF_UNDERFLOW;
        }
        if (up) m += unit;
        return make80(sign, (int32_t)(m >> 63), m);
    }
    if (e1 >= MAX80) {
        *f |= SF_OVERFLOW;
        if ((UNMASKED(ctl) & SF_OVERFLOW) && e1 - WRAP80 < MAX80) {
            if (low) raise_inexact(f, up);
            return make80(sign, e1 - WRAP80, m);
        }
        int infinite = (UNMASKED(ctl) & SF_OVERFLOW) || overflows_to_infinity(ctl, sign);
        raise_inexact(f, (uint32_t)infinite);
        return infinite ? make80(sign, MAX80, TOP64) : make80(sign, MAX80 - 1, ~mask);
    }
    if (low) raise_inexact(f, up);
    return make80(sign, e1, m);
}

/* Value: (hi:lo) * 2^(e - BIAS80 - 127), leading bit at the top of hi. */
INLINE sf_f80 round80(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, int precision, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY((uint32_t)(e - 1) >= MAX80 - 2)) return round80_edges(sign, e, hi, lo, precision, ctl, f);
    uint64_t unit = 1, half = TOP64;
    if (UNLIKELY(precision != 64)) {
        unit = ONE64 << (64 - precision);
        half = unit >> 1;
        lo = (hi & (unit - 1)) | (lo != 0);
        hi &= ~(unit - 1);
    }
    if (lo) {
        uint32_t up = rounds_up(ctl, sign, (hi & unit) != 0, lo, half);
        raise_inexact(f, up);
        if (up && (hi += unit) == 0) {
            hi = TOP64;
            e += 1;
        }
    }
    return make80(sign, e, hi);
}

INLINE uint64_t unpack80(sf_f80 x, int32_t *e) {
    *e = EXP80(x);
    if (LIKELY(*e != 0)) return x.sig;
    int lz = clz64(x.sig);
    *e = 1 - lz;
    return x.sig << lz;
}

/* ---- the 80-bit format: arithmetic ---- */

COLD int add_special80(sf_f80 a, sf_f80 b, uint32_t negate, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    sf_f80 minus_b = {b.sig, (uint16_t)(b.se ^ negate << 15)};
    if (is_inf80(a) && is_inf80(b) && a.se != minus_b.se) {
        *r = invalid80(a, ctl, f, SF_VXISI);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_inf80(a)) return 1;
    *r = minus_b;
    return is_inf80(b);
}

INLINE sf_f80 add80(sf_f80 a, sf_f80 b, uint32_t negate, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (add_special80(a, b, negate, ctl, f, &r)) return r;
    }
    b.se ^= (uint16_t)(negate << 15);
    int32_t ea = EXP80(a), eb = EXP80(b);
    uint32_t sa = SIGN80(a), sb = SIGN80(b);
    uint64_t x = a.sig, y = b.sig;
    ea += ea == 0;
    eb += eb == 0;
    if (ea < eb || (ea == eb && x < y)) {
        uint64_t t = x;
        x = y;
        y = t;
        int32_t te = ea;
        ea = eb;
        eb = te;
        uint32_t ts = sa;
        sa = sb;
        sb = ts;
    }
    u128 p = (u128)x << 63; /* leading bit at 126: room for the carry */
    u128 q = shr_jam128((u128)y << 63, (uint32_t)(ea - eb));
    if (sa == sb) {
        p += q;
    } else {
        p -= q;
        if (p == 0) sa = ROUND(ctl) == SF_DOWN;
    }
    if (UNLIKELY(p == 0)) return make80(sa, 0, 0);
    int lz = clz128(p);
    p <<= lz;
    return round80(sa, ea + 1 - lz, (uint64_t)(p >> 64), (uint64_t)p, ctl_precision(ctl), ctl, f);
}

COLD int mul_special80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    uint32_t sign = SIGN80(a) ^ SIGN80(b);
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    if ((is_inf80(a) && is_zero80(b)) || (is_zero80(a) && is_inf80(b))) {
        *r = invalid80(a, ctl, f, SF_VXIMZ);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return 1;
    int infinite = is_inf80(a) || is_inf80(b);
    *r = infinite ? make80(sign, MAX80, TOP64) : make80(sign, 0, 0);
    return infinite || is_zero80(a) || is_zero80(b);
}

INLINE sf_f80 mul80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (mul_special80(a, b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    u128 p = (u128)unpack80(a, &ea) * unpack80(b, &eb);
    int lz = !(p >> 127);
    p <<= lz;
    int32_t e = ea + eb - BIAS80 + 1 - lz;
    return round80(SIGN80(a) ^ SIGN80(b), e, (uint64_t)(p >> 64), (uint64_t)p, ctl_precision(ctl), ctl, f);
}

COLD int div_special80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f, sf_f80 *r) {
    uint32_t sign = SIGN80(a) ^ SIGN80(b);
    *r = a;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) {
        *r = nan_of80(a, b, ctl, f);
        return 1;
    }
    if ((is_inf80(a) && is_inf80(b)) || (is_zero80(a) && is_zero80(b))) {
        *r = invalid80(a, ctl, f, is_zero80(a) ? SF_VXZDZ : SF_VXIDI);
        return 1;
    }
    if (is_zero80(b) && !is_inf80(a)) {
        *f |= SF_DIVZERO;
        if (!stops(ctl, *f)) *r = make80(sign, MAX80, TOP64);
        return 1;
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return 1;
    *r = is_inf80(a) ? make80(sign, MAX80, TOP64) : make80(sign, 0, 0);
    return is_inf80(a) || is_inf80(b) || is_zero80(a);
}

INLINE sf_f80 div80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        sf_f80 r;
        if (div_special80(a, b, ctl, f, &r)) return r;
    }
    int32_t ea, eb;
    uint64_t x = unpack80(a, &ea), y = unpack80(b, &eb);
    int below = x < y; /* quotient in (1/2, 1): one more bit of dividend */
    u128 n = (u128)x << (63 + below);
    uint64_t q = (uint64_t)(n / y), r = (uint64_t)(n - (u128)q * y);
    uint64_t lo = r == 0 ? 0 : r > y - r ? TOP64 | 1 : r == y - r ? TOP64 : 1;
    return round80(SIGN80(a) ^ SIGN80(b), ea - eb + BIAS80 - below, q, lo, ctl_precision(ctl), ctl, f);
}

INLINE sf_f80 sqrt80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) || SIGN80(a))) {
        if (is_nan_or_unsupported80(a)) return nan_of80(a, a, ctl, f);
        if (is_zero80(a)) return a;
        if (SIGN80(a)) return invalid80(a, ctl, f, SF_VXSQRT);
        if (is_inf80(a)) return a;
        raise_denormal80(a, f);
        if (stops(ctl, *f)) return a;
    }
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    e -= BIAS80;
    uint32_t odd = (uint32_t)e & 1;
    u128 rem;
    uint64_t root = root128((u128)sig << (63 + odd), &rem);
    uint64_t lo = rem == 0 ? 0 : rem > root ? TOP64 | 1 : 1; /* (root + 1/2)^2 = root^2 + root + 1/4 */
    return round80(0, (e - (int32_t)odd) / 2 + BIAS80, root, lo, ctl_precision(ctl), ctl, f);
}

INLINE sf_f80 rem80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    int32_t ea, eb, e;
    uint64_t sig, q;
    uint32_t sign = SIGN80(a);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(a) || is_zero80(b)) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_zero80(a)) return a;
    uint64_t x = unpack80(a, &ea);
    if (is_inf80(b)) return round80(sign, ea, x, 0, 64, ctl, f);
    uint64_t y = unpack80(b, &eb);
    sign ^= remainder_nearest(x, ea, y, eb, &sig, &e, &q);
    if (sig == 0) return make80(sign, 0, 0);
    int lz = clz64(sig);
    return round80(sign, e - lz, sig << lz, 0, 64, ctl, f);
}

INLINE uint32_t compare80(sf_f80 a, sf_f80 b, int is_quiet, uint32_t ctl, uint32_t *f) {
    if (UNLIKELY(is_special80(a) | is_special80(b))) {
        if (is_unsupported80(a) || is_unsupported80(b)) {
            raise_invalid(ctl, f, 0);
            return SF_UNORDERED;
        }
        if (is_nan80(a) || is_nan80(b)) {
            int snan = is_snan80(a) || is_snan80(b);
            if (snan) raise_invalid(ctl, f, SF_VXSNAN | (is_quiet ? 0 : SF_VXVC));
            else if (!is_quiet) raise_invalid(ctl, f, SF_VXVC);
            return SF_UNORDERED;
        }
        raise_denormal80(a, f);
        raise_denormal80(b, f);
        if (is_zero80(a) && is_zero80(b)) return SF_EQUAL;
    }
    uint32_t sign = SIGN80(a);
    if (sign != SIGN80(b)) return sign ? SF_LESS : SF_GREATER;
    int32_t ea = EXP80(a), eb = EXP80(b);
    ea += ea == 0;
    eb += eb == 0;
    if (ea == eb && a.sig == b.sig) return SF_EQUAL;
    int less = ea < eb || (ea == eb && a.sig < b.sig);
    return less != (sign != 0) ? SF_LESS : SF_GREATER;
}

INLINE sf_f80 round_int80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    int32_t e = EXP80(a);
    if (UNLIKELY(is_special80(a))) {
        if (is_nan_or_unsupported80(a)) return nan_of80(a, a, ctl, f);
        if (!is_denormal80(a)) return a;
        *f |= SF_DENORMAL;
        if (stops(ctl, *f)) return a;
    }
    if (e >= BIAS80 + 63) return a;
    uint64_t low;
    uint32_t up, sign = SIGN80(a);
    uint64_t m = (uint64_t)round_magnitude(sign, e - BIAS80, a.sig, ctl, &low, &up);
    if (low) raise_inexact(f, up);
    if (!m) return make80(sign, 0, 0);
    int lz = clz64(m);
    return make80(sign, BIAS80 + 63 - lz, m << lz);
}

/* ---- the 80-bit format: FPREM, FPREM1, FSCALE, FXTRACT, packed decimal ---- */

INLINE uint32_t quotient_bits(uint64_t q) {
    return (q & 4 ? SF_C0 : 0u) | (q & 2 ? SF_C3 : 0u) | (q & 1 ? SF_C1 : 0u);
}

INLINE sf_f80 prem80(sf_f80 a, sf_f80 b, int nearest, uint32_t ctl, uint32_t *f) {
    int32_t ea, eb, e;
    uint64_t sig, q = 0;
    uint32_t sign = SIGN80(a);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(a) || is_zero80(b)) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_zero80(a)) return a;
    uint64_t x = unpack80(a, &ea);
    if (is_inf80(b)) return round80(sign, ea, x, 0, 64, ctl, f);
    uint64_t y = unpack80(b, &eb);
    int32_t d = ea - eb;
    if (d >= 64) {
        uint32_t n = ((uint32_t)d & 31) | 32;
        *f |= SF_C2;
        sig = remainder_bits(x, y, n, &q);
        e = ea - (int32_t)n;
    } else {
        if (nearest) {
            sign ^= remainder_nearest(x, ea, y, eb, &sig, &e, &q);
        } else if (d < 0) {
            sig = x;
            e = ea;
        } else {
            sig = remainder_bits(x, y, (uint32_t)d, &q);
            e = eb;
        }
        *f |= quotient_bits(q);
    }
    if (sig == 0) return make80(sign, 0, 0);
    int lz = clz64(sig);
    return round80(sign, e - lz, sig << lz, 0, 64, ctl, f);
}

INLINE sf_f80 scale80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN80(a), down = SIGN80(b);
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if (is_inf80(b) && (down ? is_inf80(a) : is_zero80(a))) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f) || is_inf80(a) || is_zero80(a)) return a;
    if (is_inf80(b)) return down ? make80(sign, 0, 0) : make80(sign, MAX80, TOP64);
    int32_t ea, eb = EXP80(b) - BIAS80, n = 0;
    if (eb >= 0) n = eb < 16 ? (int32_t)(b.sig >> (63 - eb)) : 1 << 16; /* beyond any exponent, biased or not */
    uint64_t x = unpack80(a, &ea);
    return round80(sign, down ? ea - n : ea + n, x, 0, 64, ctl, f);
}

INLINE sf_f80 int_to_80(uint32_t sign, uint64_t magnitude) {
    if (!magnitude) return make80(0, 0, 0);
    int lz = clz64(magnitude);
    return make80(sign, BIAS80 + 63 - lz, magnitude << lz);
}

INLINE sf_f80 xtract80(sf_f80 a, sf_f80 *power, uint32_t ctl, uint32_t *f) {
    if (is_nan_or_unsupported80(a)) return *power = nan_of80(a, a, ctl, f);
    *power = make80(0, MAX80, TOP64);
    if (is_inf80(a)) return a;
    if (is_zero80(a)) {
        *f |= SF_DIVZERO;
        *power = stops(ctl, *f) ? a : make80(1, MAX80, TOP64);
        return a;
    }
    raise_denormal80(a, f);
    if (stops(ctl, *f)) return *power = a;
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    e -= BIAS80;
    *power = int_to_80(e < 0, (uint64_t)(e < 0 ? -e : e));
    return make80(SIGN80(a), BIAS80, sig);
}

#define BCD_LIMIT 1000000000000000000u /* 18 digits */

/* Sign and the two upper digits in se, sixteen digits in sig. */
INLINE sf_f80 bcd_from_80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    sf_f80 r = {0, (uint16_t)(a.se & 0x8000)};
    uint64_t low = 0, m = BCD_LIMIT;
    uint32_t up = 0;
    if (is_zero80(a)) return r;
    if (!is_unsupported80(a) && EXP80(a) < BIAS80 + 62) {
        int32_t e;
        uint64_t sig = unpack80(a, &e);
        m = (uint64_t)round_magnitude(SIGN80(a), e - BIAS80, sig, ctl, &low, &up);
    }
    if (m >= BCD_LIMIT) {
        raise_invalid(ctl, f, 0);
        return make80(1, MAX80, (uint64_t)3 << 62);
    }
    if (low) raise_inexact(f, up);
    for (int i = 0; i < 16; i++, m /= 10) r.sig |= m % 10 << (4 * i);
    r.se |= (uint16_t)(m / 10 << 4 | m % 10);
    return r;
}

INLINE sf_f80 bcd_to_80(sf_f80 a) {
    uint64_t m = (uint64_t)(a.se >> 4 & 15) * 10 + (a.se & 15);
    for (int i = 60; i >= 0; i -= 4) m = m * 10 + (a.sig >> i & 15);
    sf_f80 r = int_to_80(SIGN80(a), m);
    r.se |= (uint16_t)(a.se & 0x8000);
    return r;
}

/* ---- the 80-bit format: transcendentals ----
 *
 * softfloat.py does the same steps in the same order, derives the constants and says what the error is. A value is a
 * fixed-point fraction of 128 bits or a `wide`; products keep their upper 128 bits.
 */

typedef struct {
    u128 m; /* bit 127 set: m * 2^(e - 127) */
    int32_t e;
} wide;

#define U128(hi, lo) ((u128)(hi) << 64 | (lo))
#define TOP128 U128(0x8000000000000000, 0)
#define PI_126 U128(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1)
#define HALF_PI_X87 U128(0xc, 0x90fdaa22168c234c) /* pi/2 * 2^67 as the x87 has it: 66 significant bits of pi */
#define SQRT2 U128(0xb504f333f9de6484, 0)
#define TINY (-34) /* below this exponent x - x^3/6 and the like differ from x by less than the rounding can see */
/* Below this exponent u^3/3 is less than the error of the reciprocal, and atan u is taken to be a little below u. */
#define TINY_RATIO (-58)
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* The leading terms for sine, cosine and arctangent are one unit low: what is truncated always leaves the result below its
 * bound. */
/* ln(2)^(n+1) / (n+1)! * 2^128: (2^x - 1) / x */
static const u128 EXP2_TERMS[30] = {
    U128(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af),
    U128(0x3d7f7bff058b1d50, 0xde2d60dd92e6bf95),
    U128(0x0e35846b82505fc5, 0x99d3b15d995e96f7),
    U128(0x0276556df749cee5, 0x39977c16a7dd58a0),
    U128(0x005761ff9e299cc4, 0x41c5fda69452fb0c),
    U128(0x000a184897c363c3, 0xb7a58544c3591a0f),
    U128(0x0000ffe5fe2c4586, 0x34358a8e643ec734),
    U128(0x0000162c0223a5c8, 0x23fd8ffe606da77c),
    U128(0x000001b5253d395e, 0x7c3da4a70e5a4ff9),
    U128(0x0000001e4cf5158b, 0x8ec9f6fda1d952e7),
    U128(0x00000001e8cac735, 0x1bb24c0f57995e47),
    U128(0x000000001c3bd650, 0xfc2985e2b5687e17),
    U128(0x0000000001816193, 0x166d0f96281ac300),
    U128(0x0000000000131496, 0x4d5878a973f14362),
    U128(0x000000000000e1b7, 0x421d82010f33d8ab),
    U128(0x00000000000009c7, 0x44d73cfc59c91c7f),
    U128(0x0000000000000066, 0x1112d070969f5587),
    U128(0x0000000000000003, 0xee2ed7b686d2bae6),
    U128(0x0000000000000000, 0x24b4fd9706b8c9b5),
    U128(0x0000000000000000, 0x0145acc4b5051358),
    U128(0x0000000000000000, 0x000abfe2bc1f04e3),
    U128(0x0000000000000000, 0x000056b3eb4dc077),
    U128(0x0000000000000000, 0x0000029cea2bb931),
    U128(0x0000000000000000, 0x0000001351aaf6cb),
    U128(0x0000000000000000, 0x00000000891f7eca),
    U128(0x0000000000000000, 0x0000000003a7d785),
    U128(0x0000000000000000, 0x0000000000180669),
    U128(0x0000000000000000, 0x0000000000009841),
    U128(0x0000000000000000, 0x00000000000003a3),
    U128(0x0000000000000000, 0x0000000000000015),
};
/* 2 / ln(2) / (2n+1) * 2^126: log2((1+s) / (1-s)) / s by powers of s^2 */
static const u128 LOG2_TERMS[26] = {
    U128(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88),
    U128(0x3d8e13b87407fae9, 0x3f82aa45785f14d8),
    U128(0x24eed8a1df37fcf2, 0x594e6629ae9f72e8),
    U128(0x1a61762a7aded93f, 0x645c921dc5df9b38),
    U128(0x1484b13d7c02a8f8, 0x6a80e36c7d7506f2),
    U128(0x10c9a84994022d28, 0x5723a2cd20d41cf5),
    U128(0x0e347ab4698bb00e, 0x711e274b1bc72c31),
    U128(0x0c4f9d8b4a67fefb, 0x731a220de4dfd0f8),
    U128(0x0adcd64dba1f86a1, 0xa1cbc3b1e810c771),
    U128(0x09b81e0fa687ff32, 0x4d65793363d91e3d),
    U128(0x08cb27637e4a486a, 0x76c98609ec9fde68),
    U128(0x080766bf04010a77, 0x77969bc6475a50a1),
    U128(0x0762f8205fd7ff63, 0xab76146ebc864a2e),
    U128(0x06d6e5bf29563852, 0xce2af6797f270250),
    U128(0x065e2559b3ba3470, 0x67ac69e3e05074ea),
    U128(0x05f4f9a67ed77b60, 0xe51d294087851288),
    U128(0x05988d6ddc00b9b8, 0x1d0be0ef0af15efc),
    U128(0x0546b13bb22c91d9, 0x7a78ea05f45febd8),
    U128(0x04fdae926a45d612, 0xe9794c1378766979),
    U128(0x04bc28e6cdd93aaf, 0x7b0a0d1909426410),
    U128(0x048107afd689f323, 0xcc73b50b53bc07c4),
    U128(0x044b6695cc8f70c2, 0xe0b5c4700271cbdf),
    U128(0x041a89d918cd54fe, 0x7bb360af4c4a9afd),
    U128(0x03edd5af2d88adf9, 0x19d751ad490b840d),
    U128(0x03c4c7bcecfb439b, 0x577af04d6569162c),
    U128(0x039ef219e8b52ce0, 0x8b43ebe5f80597d0),
};
/* 1 / (2n+1)! * 2^127 */
static const u128 SIN_TERMS[17] = {
    U128(0x7fffffffffffffff, 0xffffffffffffffff),
    U128(0x1555555555555555, 0x5555555555555555),
    U128(0x0111111111111111, 0x1111111111111111),
    U128(0x0006806806806806, 0x8068068068068068),
    U128(0x0000171de3a556c7, 0x338faac1c88e5001),
    U128(0x00000035cc8acfea, 0x89c71fce8fc9706f),
    U128(0x000000005849184e, 0xa1b425f28e0cc748),
    U128(0x00000000006b9fcf, 0x9ccee07c476195ac),
    U128(0x000000000000654b, 0x1dc0c2b529ac9814),
    U128(0x000000000000004b, 0xd26d1a05055c9328),
    U128(0x0000000000000000, 0x2e371dedb9eae317),
    U128(0x0000000000000000, 0x001761b413163819),
    U128(0x0000000000000000, 0x000009f9e66e8b2f),
    U128(0x0000000000000000, 0x00000003a356385b),
    U128(0x0000000000000000, 0x0000000001259f98),
    U128(0x0000000000000000, 0x00000000000050d3),
    U128(0x0000000000000000, 0x0000000000000013),
};
/* 1 / (2n)! * 2^127 */
static const u128 COS_TERMS[17] = {
    U128(0x7fffffffffffffff, 0xffffffffffffffff),
    U128(0x4000000000000000, 0x0000000000000000),
    U128(0x0555555555555555, 0x5555555555555555),
    U128(0x002d82d82d82d82d, 0x82d82d82d82d82d8),
    U128(0x0000d00d00d00d00, 0xd00d00d00d00d00d),
    U128(0x0000024fc9f6ef13, 0xeb8e5de02da7d4cc),
    U128(0x000000047bb63bfe, 0x3625ed5136a61eb3),
    U128(0x00000000064e5d2a, 0x301f27482eb7c517),
    U128(0x000000000006b9fc, 0xf9ccee07c476195a),
    U128(0x00000000000005a0, 0x9e18ee5f65deec01),
    U128(0x0000000000000003, 0xca8574804044a0f5),
    U128(0x0000000000000000, 0x0219c72db6ff0a52),
    U128(0x0000000000000000, 0x0000f96780cb97ab),
    U128(0x0000000000000000, 0x000000623a17f1a9),
    U128(0x0000000000000000, 0x000000002143144c),
    U128(0x0000000000000000, 0x000000000009c996),
    U128(0x0000000000000000, 0x0000000000000286),
};
/* 1 / (2n+1) * 2^127 */
static const u128 ATAN_TERMS[14] = {
    U128(0x7fffffffffffffff, 0xffffffffffffffff),
    U128(0x2aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaaa),
    U128(0x1999999999999999, 0x9999999999999999),
    U128(0x1249249249249249, 0x2492492492492492),
    U128(0x0e38e38e38e38e38, 0xe38e38e38e38e38e),
    U128(0x0ba2e8ba2e8ba2e8, 0xba2e8ba2e8ba2e8b),
    U128(0x09d89d89d89d89d8, 0x9d89d89d89d89d89),
    U128(0x0888888888888888, 0x8888888888888888),
    U128(0x0787878787878787, 0x8787878787878787),
    U128(0x06bca1af286bca1a, 0xf286bca1af286bca),
    U128(0x0618618618618618, 0x6186186186186186),
    U128(0x0590b21642c8590b, 0x21642c8590b21642),
    U128(0x051eb851eb851eb8, 0x51eb851eb851eb85),
    U128(0x04bda12f684bda12, 0xf684bda12f684bda),
};
/* atan(n/16) * 2^127 */
static const u128 ATAN_TABLE[17] = {
    U128(0x0000000000000000, 0x0000000000000000),
    U128(0x07fd56edcb3f7a71, 0xb6593c96e071706a),
    U128(0x0feadd4d5617b6e3, 0x2c897989f3e888ef),
    U128(0x17b97b4bce5b0226, 0x8f6169f103938e90),
    U128(0x1f5b75f92c80dd62, 0xadb8f3debef442fc),
    U128(0x26c4ee6e0fd7979a, 0x716aed26349ebcca),
    U128(0x2dec3283c9bde11c, 0xe2a8c848b73f9120),
    U128(0x34c9dd879847f96d, 0x909f257a40079c4d),
    U128(0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea340),
    U128(0x4195fa536cc33f15, 0x25b504e5b0d28ae0),
    U128(0x47802eaf7bfacfcd, 0xae41af0b32e21ba3),
    U128(0x4d17c07338deed10, 0x21137c711027f9de),
    U128(0x525e3e8c9a7b8492, 0x0cd43f9522bed64f),
    U128(0x5756261c5a6c6040, 0x0a392f179f290385),
    U128(0x5c029f15e118cf39, 0xe596d2a90852221e),
    U128(0x606742dc56293320, 0x44eeb16237497d12),
    U128(0x6487ed5110b4611a, 0x62633145c06e0e68),
};

static wide wide_of(u128 m, int32_t e) {
    int lz = clz128(m);
    wide w = {m << lz, e - lz};
    return w;
}

INLINE u128 mul_hi(u128 a, u128 b) {
    uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b, b1 = (uint64_t)(b >> 64);
    u128 p01 = (u128)a0 * b1, p10 = (u128)a1 * b0;
    u128 mid = ((u128)a0 * b0 >> 64) + (uint64_t)p01 + (uint64_t)p10;
    return (u128)a1 * b1 + (p01 >> 64) + (p10 >> 64) + (mid >> 64);
}

INLINE u128 shr128(u128 m, int32_t n) {
    return n < 128 ? m >> n : 0;
}

static u128 reciprocal(u128 d) {
    uint64_t r0 = (uint64_t)(((u128)1 << 126) / (uint64_t)(d >> 64));
    u128 high = (u128)(uint64_t)(d >> 64) * r0 + ((u128)(uint64_t)d * r0 >> 64); /* d * r0 >> 64 */
    u128 one = (u128)1 << 126, r = (u128)r0 << 64;
    return high <= one ? r + (r0 * (one - high) >> 62) : r - (r0 * (high - one) >> 62);
}

INLINE u128 horner(const u128 *c, int count, u128 x, int alternate) {
    u128 total = c[count - 1];
    for (int i = count - 2; i >= 0; i--) {
        u128 part = mul_hi(x, total);
        total = alternate ? c[i] - part : c[i] + part;
    }
    return total;
}

INLINE sf_f80 round_wide(uint32_t sign, wide w, uint32_t ctl, uint32_t *f) {
    return round80(sign, w.e + BIAS80, (uint64_t)(w.m >> 64), (uint64_t)w.m | 1, 64, ctl, f);
}

/* The x87 calls these results inexact although they are not. */
INLINE sf_f80 exact_but_inexact(sf_f80 r, uint32_t *f) {
    *f |= SF_INEXACT;
    if (EXP80(r) == 0) *f |= SF_UNDERFLOW;
    return r;
}

static sf_f80 exp2m1_80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN80(a);
    int32_t e;
    if (is_nan_or_unsupported80(a)) return nan_of80(a, a, ctl, f);
    if (is_inf80(a)) return sign ? make80(1, BIAS80, TOP64) : a;
    raise_denormal80(a, f);
    if (stops(ctl, *f) || is_zero80(a)) return a;
    uint64_t sig = unpack80(a, &e);
    e -= BIAS80;
    if (e >= 0) return exact_but_inexact(sign && e == 0 && sig == TOP64 ? make80(1, BIAS80 - 1, TOP64) : a, f);
    u128 m = (u128)sig << 64;
    u128 part = horner(EXP2_TERMS, COUNT(EXP2_TERMS), shr128(m, -1 - e), (int)sign);
    return round_wide(sign, wide_of(mul_hi(m, part), e), ctl, f);
}

/* |log2(1 + f)| for f = (-1)^sign * m * 2^(e - 127) between 1/sqrt(2) - 1 and sqrt(2) - 1. */
static wide log2_1p(uint32_t sign, u128 m, int32_t e) {
    u128 fixed = shr128(m, 1 - e);
    u128 d = sign ? TOP128 - fixed : TOP128 + fixed; /* 2 + f, times 2^126 */
    int lz = clz128(d);
    u128 s = mul_hi(m, reciprocal(d << lz)); /* f / (2 + f), exponent e + lz */
    e += lz;
    u128 fraction_bits = shr128(s, -1 - e);
    u128 part = horner(LOG2_TERMS, COUNT(LOG2_TERMS), mul_hi(fraction_bits, fraction_bits), 0);
    return wide_of(mul_hi(s, part), e + 2);
}

INLINE sf_f80 times_y(uint32_t sign, wide log, uint64_t y, int32_t ey, uint32_t ctl, uint32_t *f) {
    return round_wide(sign, wide_of(mul_hi(log.m, (u128)y << 64), log.e + ey + 1), ctl, f);
}

/* y * log2(m * 2^(k - 127)), bit 127 of m set; y has exponent ey and sign sy. */
static sf_f80 y_log2(u128 m, int32_t k, uint32_t sy, uint64_t y, int32_t ey, uint32_t ctl, uint32_t *f) {
    uint32_t negative = k < 0;
    if (m == TOP128) {
        wide w = wide_of((u128)y * (uint32_t)(negative ? -k : k), ey + 64);
        return exact_but_inexact(round80(sy ^ negative, w.e + BIAS80, (uint64_t)(w.m >> 64), (uint64_t)w.m, 64, ctl, f), f);
    }
    uint32_t sign = m > SQRT2;
    wide log = sign ? wide_of(0 - m, -1) : wide_of(m - TOP128, 0);
    k += (int32_t)sign;
    negative = k < 0;
    log = log2_1p(sign, log.m, log.e);
    if (k) {
        u128 fixed = shr128(log.m, 15 - log.e), whole = (u128)(uint32_t)(negative ? -k : k) << 112;
        log = wide_of(negative == sign ? whole + fixed : whole - fixed, 15);
        sign = negative;
    }
    return times_y(sy ^ sign, log, y, ey, ctl, f);
}

/* FYL2X: b * log2(a). */
static sf_f80 yl2x80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    uint32_t sy = SIGN80(b);
    int32_t e, ey;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    int one = a.se == BIAS80 && a.sig == TOP64;
    if ((SIGN80(a) && !is_zero80(a)) || (is_zero80(b) && (is_zero80(a) || is_inf80(a))) || (is_inf80(b) && one))
        return invalid80(a, ctl, f, 0);
    if (is_zero80(a)) {
        if (!is_inf80(b)) *f |= SF_DIVZERO;
        return stops(ctl, *f) ? a : make80(!sy, MAX80, TOP64);
    }
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return a;
    uint32_t sign = sy ^ (EXP80(a) < BIAS80);
    if (is_inf80(a) || is_inf80(b)) return make80(sign, MAX80, TOP64);
    if (is_zero80(b) || one) return make80(sign, 0, 0);
    uint64_t x = unpack80(a, &e), y = unpack80(b, &ey);
    return y_log2((u128)x << 64, e - BIAS80, sy, y, ey - BIAS80, ctl, f);
}

/* FYL2XP1: b * log2(a + 1); for a <= -1, which the manual leaves open, a. */
static sf_f80 yl2xp1_80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    uint32_t sx = SIGN80(a), sign = sx ^ SIGN80(b);
    int32_t e, ey;
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    if ((is_inf80(a) && (sx || is_zero80(b))) || (is_zero80(a) && is_inf80(b))) return invalid80(a, ctl, f, 0);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return a;
    if (is_inf80(a) || is_inf80(b)) return make80(sign, MAX80, TOP64);
    if (is_zero80(a) || is_zero80(b)) return make80(sign, 0, 0);
    uint64_t x = unpack80(a, &e), y = unpack80(b, &ey);
    e -= BIAS80;
    ey -= BIAS80;
    if (e <= -3) return times_y(sign, log2_1p(sx, (u128)x << 64, e), y, ey, ctl, f);
    if (sx && e >= 0) return exact_but_inexact(a, f);
    if (e >= 62) return y_log2((u128)x << 64, e, SIGN80(b), y, ey, ctl, f); /* the 1 is beyond the last bit */
    u128 fixed = (u128)x << (e + 2), one = (u128)1 << 65;
    wide w = wide_of(sx ? one - fixed : one + fixed, 62);
    return y_log2(w.m, w.e, SIGN80(b), y, ey, ctl, f);
}

/* atan(n/d * 2^e) for a ratio below 1, n and d with bit 63 set. */
static wide atan_ratio(uint64_t n, uint64_t d, int32_t e) {
    wide u = wide_of(mul_hi((u128)n << 64, reciprocal((u128)d << 64)), e + 1);
    if (u.e < TINY_RATIO) return wide_of(u.m - 64, u.e);
    u128 fixed = u.m >> (-1 - u.e);
    uint32_t i = ((uint32_t)(fixed >> 123) + 1) >> 1;
    if (i == 0) return wide_of(mul_hi(u.m, horner(ATAN_TERMS, COUNT(ATAN_TERMS), mul_hi(fixed, fixed), 1)), u.e + 1);
    u128 c = (u128)i << 124; /* 0 for i = 16: modulo 2^128 the difference is right all the same */
    int below = i == 16 || fixed < c;
    u128 t = mul_hi(below ? c - fixed : fixed - c, reciprocal(TOP128 + (fixed >> 5) * i)) << 1;
    u128 part = mul_hi(t, horner(ATAN_TERMS, COUNT(ATAN_TERMS), mul_hi(t, t), 1));
    return wide_of(below ? ATAN_TABLE[i] - part : ATAN_TABLE[i] + part, 0);
}

/* FPATAN: the angle of the point x = a, y = b. */
static sf_f80 patan80(sf_f80 a, sf_f80 b, uint32_t ctl, uint32_t *f) {
    uint32_t sx = SIGN80(a), sy = SIGN80(b);
    int32_t ex, ey;
    int steep = 0;
    wide angle = {0, 0};
    if (is_nan_or_unsupported80(a) || is_nan_or_unsupported80(b)) return nan_of80(a, b, ctl, f);
    raise_denormal80(a, f);
    raise_denormal80(b, f);
    if (stops(ctl, *f)) return a;
    if (is_zero80(b) || (is_inf80(a) && !is_inf80(b))) {
        if (!sx) return make80(sy, 0, 0);
    } else if (is_zero80(a) || (is_inf80(b) && !is_inf80(a))) {
        steep = 1;
    } else {
        uint64_t x = unpack80(a, &ex), y = unpack80(b, &ey);
        if (ex == ey && x == y) {
            angle = wide_of(ATAN_TABLE[16], 0);
        } else {
            steep = ey > ex || (ey == ex && y > x);
            angle = steep ? atan_ratio(x, y, ex - ey) : atan_ratio(y, x, ey - ex);
        }
        if (!steep && !sx) return round_wide(sy, angle, ctl, f);
    }
    u128 fixed = angle.m ? shr128(angle.m, 1 - angle.e) : 0;
    u128 total = !steep ? PI_126 - fixed : sx ? (PI_126 >> 1) + fixed : (PI_126 >> 1) - fixed;
    return round_wide(sy, wide_of(total, 1), ctl, f);
}

/* |x| = quadrant * pi/2 + (-1)^sign * rest, with the pi of the x87. */
static wide reduce_angle(uint64_t sig, int32_t e, uint32_t *sign, uint32_t *quadrant) {
    *sign = *quadrant = 0;
    if (e < -1) {
        wide w = {(u128)sig << 64, e};
        return w;
    }
    u128 rest = sig;
    uint32_t q = 0;
    for (int n = e + 4; n;) { /* sig * 2^n by the divisor, 58 bits at a time */
        int k = n < 58 ? n : 58;
        u128 t = rest << k, part = t / HALF_PI_X87;
        q = (k < 2 ? q << k : 0) | ((uint32_t)part & 3);
        rest = t - part * HALF_PI_X87;
        n -= k;
    }
    if (rest > HALF_PI_X87 >> 1) {
        rest = HALF_PI_X87 - rest;
        *sign = 1;
        q += 1;
    }
    *quadrant = q & 3;
    return wide_of(rest, 60);
}

static void sin_cos(wide r, wide *s, wide *c) {
    u128 fixed = shr128(r.m, -1 - r.e), square = mul_hi(fixed, fixed);
    *c = wide_of(horner(COS_TERMS, COUNT(COS_TERMS), square, 1), 0);
    if (r.e < TINY) *s = wide_of(r.m - 1, r.e);
    else *s = wide_of(mul_hi(r.m, horner(SIN_TERMS, COUNT(SIN_TERMS), square, 1)), r.e + 1);
}

/* Nonzero when *r is the result: no finite operand below 2^63. */
INLINE int trig_special(sf_f80 a, sf_f80 *r, uint32_t ctl, uint32_t *f) {
    *r = a;
    if (is_nan_or_unsupported80(a)) {
        *r = nan_of80(a, a, ctl, f);
        return 1;
    }
    if (is_inf80(a)) {
        *r = invalid80(a, ctl, f, 0);
        return 1;
    }
    raise_denormal80(a, f);
    if (stops(ctl, *f)) return 1;
    if (EXP80(a) >= BIAS80 + 63) {
        *f |= SF_C2;
        return 1;
    }
    return 0;
}

/* Sine (want & 1) and cosine (want & 2); C1 is that of the last. */
static sf_f80 sin_cos80(sf_f80 a, int want, sf_f80 *cosine, uint32_t ctl, uint32_t *f) {
    sf_f80 r;
    uint32_t sign, quadrant;
    int32_t e;
    if (trig_special(a, &r, ctl, f)) return *cosine = r;
    *cosine = make80(0, BIAS80, TOP64);
    if (is_zero80(a)) return a;
    uint64_t sig = unpack80(a, &e);
    wide rest = reduce_angle(sig, e - BIAS80, &sign, &quadrant), s, c;
    sin_cos(rest, &s, &c);
    /* sine by quadrant: s, c, -s, -c, the sign of s being that of the rest; cosine one quadrant on */
    if (want & 1)
        r = round_wide((quadrant & 1 ? 0 : sign) ^ quadrant >> 1 ^ SIGN80(a), quadrant & 1 ? c : s, ctl, f);
    if (want == 3) *f &= ~SF_C1;
    quadrant = (quadrant + 1) & 3;
    if (want & 2) *cosine = round_wide((quadrant & 1 ? 0 : sign) ^ quadrant >> 1, quadrant & 1 ? c : s, ctl, f);
    return r;
}

INLINE sf_f80 sin80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    sf_f80 cosine;
    return sin_cos80(a, 1, &cosine, ctl, f);
}

INLINE sf_f80 cos80(sf_f80 a, uint32_t ctl, uint32_t *f) {
    sf_f80 cosine;
    sin_cos80(a, 2, &cosine, ctl, f);
    return cosine;
}

/* FPTAN: the tangent, and the 1 that is pushed after it. */
static sf_f80 ptan80(sf_f80 a, sf_f80 *one, uint32_t ctl, uint32_t *f) {
    sf_f80 r;
    uint32_t sign, quadrant;
    int32_t e;
    if (trig_special(a, &r, ctl, f)) return *one = r;
    *one = make80(0, BIAS80, TOP64);
    if (is_zero80(a)) return a;
    uint64_t sig = unpack80(a, &e);
    wide rest = reduce_angle(sig, e - BIAS80, &sign, &quadrant), s, c;
    sign ^= SIGN80(a) ^ (quadrant & 1);
    if (rest.e < TINY && !(quadrant & 1)) return round_wide(sign, rest, ctl, f);
    sin_cos(rest, &s, &c);
    wide n = quadrant & 1 ? c : s, d = quadrant & 1 ? s : c;
    return round_wide(sign, wide_of(mul_hi(n.m, reciprocal(d.m)), n.e - d.e + 1), ctl, f);
}

/* ---- the 80-bit format: conversions ---- */

INLINE uint64_t int_from_80(sf_f80 a, int bits, int is_signed, uint32_t ctl, uint32_t *f) {
    if (is_nan_or_unsupported80(a)) return int_invalid(0, 1, bits, is_signed, ctl, f, is_snan80(a) ? SF_VXSNAN : 0);
    if (is_inf80(a)) return int_invalid(SIGN80(a), 0, bits, is_signed, ctl, f, 0);
    if (is_zero80(a)) return 0;
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    return finite_to_int(SIGN80(a), e - BIAS80, sig, bits, is_signed, ctl, f);
}

INLINE sf_f80 ieee_to_80(int F, int E, uint64_t a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = sign_of(F, E, a);
    if (UNLIKELY(is_special(F, E, a))) {
        if (is_nan(F, E, a)) {
            a = nan_of(F, E, a, a, ctl, f);
            if (stops(ctl, *f)) return make80(0, 0, 0);
            return make80(sign, MAX80, TOP64 | fraction(F, a) << (63 - F));
        }
        a = take_denormal(F, E, a, ctl, f);
        if (stops(ctl, *f)) return make80(0, 0, 0);
        if (is_inf(F, E, a)) return make80(sign, MAX80, TOP64);
        if (is_zero(F, E, a)) return make80(sign, 0, 0);
    }
    int32_t e;
    uint64_t sig = unpack_norm(F, E, a, &e);
    return make80(sign, e + BIAS80 - ((1 << (E - 1)) - 1), sig);
}

INLINE uint64_t ieee_from_80(int F, int E, sf_f80 a, uint32_t ctl, uint32_t *f) {
    uint32_t sign = SIGN80(a);
    if (UNLIKELY(is_special80(a))) {
        if (is_unsupported80(a)) return invalid(F, E, 0, ctl, f, 0);
        if (is_nan80(a)) {
            a = nan_of80(a, a, ctl, f);
            if (stops(ctl, *f)) return 0;
            return infinity(F, E, sign) | fraction(F, a.sig >> (63 - F));
        }
        if (is_inf80(a)) return infinity(F, E, sign);
        if (is_zero80(a)) return sign_bit(F, E, sign);
    }
    int32_t e;
    uint64_t sig = unpack80(a, &e);
    return round_pack(F, E, sign, e - BIAS80 + (1 << (E - 1)) - 1, sig, ctl, f);
}

/* ---- the flat layer ---- */

#define OPERAND_A {a_sig, (uint16_t)a_se}
#define OPERAND_B {b_sig, (uint16_t)b_se}
#define TRUNCATED ((ctl & ~SF_CTL_ROUND) | SF_ZERO)

#define FX_BODY(R, expression) \
    {                          \
        uint32_t f = 0;        \
        *r = (R)(expression);  \
        *r_flags = f;          \
    }
#define FX_BODY80(expression)   \
    {                           \
        uint32_t f = 0;         \
        sf_f80 r = expression;  \
        *r_sig = r.sig;         \
        *r_se = r.se;           \
        *r_flags = f;           \
    }
#define FX_1(R, name, T, expression) \
    SF_API void fx_##name(T a, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_2(R, name, T, expression) \
    SF_API void fx_##name(T a, T b, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_3(R, name, T, expression) \
    SF_API void fx_##name(T a, T b, T c, uint32_t ctl, R *r, uint32_t *r_flags) FX_BODY(R, expression)
#define FX_FROM_80(R, name, expression)                                                          \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, R *r, uint32_t *r_flags) { \
        sf_f80 a = OPERAND_A;                                                                    \
        FX_BODY(R, expression)                                                                   \
    }
#define FX_FROM_80_80(R, name, expression)                                                                          \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl, R *r,         \
                          uint32_t *r_flags) {                                                                      \
        sf_f80 a = OPERAND_A, b = OPERAND_B;                                                                        \
        FX_BODY(R, expression)                                                                                      \
    }
#define FX_INTO_80(T, name, expression)                                                          \
    SF_API void fx_##name(T a, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags) \
    FX_BODY80(expression)
#define FX_1_80(name, expression)                                                                                    \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se,              \
                          uint32_t *r_flags) {                                                                       \
        sf_f80 a = OPERAND_A;                                                                                        \
        FX_BODY80(expression)                                                                                        \
    }
#define FX_2_80(name, expression)                                                                                    \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint64_t b_sig, uint32_t b_se, uint32_t ctl,                \
                          uint64_t *r_sig, uint32_t *r_se, uint32_t *r_flags) {                                      \
        sf_f80 a = OPERAND_A, b = OPERAND_B;                                                                         \
        FX_BODY80(expression)                                                                                        \
    }

#define FX_1_80x2(name, expression)                                                                                  \
    SF_API void fx_##name(uint64_t a_sig, uint32_t a_se, uint32_t ctl, uint64_t *r_sig, uint32_t *r_se,              \
                          uint64_t *s_sig, uint32_t *s_se, uint32_t *r_flags) {                                      \
        sf_f80 a = OPERAND_A, s;                                                                                     \
        FX_BODY80(expression)                                                                                        \
        *s_sig = s.sig;                                                                                              \
        *s_se = s.se;                                                                                                \
    }

#define FX_TRUNC(T, R, N, op)                                                       \
    SF_API void fx_##N##_##op##_trunc(T a, uint32_t ctl, R *r, uint32_t *r_flags) { \
        fx_##N##_##op(a, TRUNCATED, r, r_flags);                                    \
    }
#define FX_TRUNC_80(R, op)                                                                                 \
    SF_API void fx_f80_##op##_trunc(uint64_t a_sig, uint32_t a_se, uint32_t ctl, R *r, uint32_t *r_flags) { \
        fx_f80_##op(a_sig, a_se, TRUNCATED, r, r_flags);                                                    \
    }

#define FX_BINARY(T, N, FE)                                                            \
    FX_2(T, N##_add, T, add_ieee(FE, a, b, 0, ctl, &f))                                \
    FX_2(T, N##_sub, T, add_ieee(FE, a, b, 1, ctl, &f))                                \
    FX_2(T, N##_mul, T, mul_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_div, T, div_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_rem, T, rem_ieee(FE, a, b, ctl, &f))                                   \
    FX_2(T, N##_min, T, minmax_ieee(FE, a, b, SF_LESS, ctl, &f))                       \
    FX_2(T, N##_max, T, minmax_ieee(FE, a, b, SF_GREATER, ctl, &f))                    \
    FX_3(T, N##_muladd, T, muladd_ieee(FE, a, b, c, ctl, &f))                          \
    FX_1(T, N##_sqrt, T, sqrt_ieee(FE, a, ctl, &f))                                    \
    FX_1(T, N##_round_int, T, round_int_ieee(FE, a, ctl, &f))                          \
    FX_2(uint32_t, N##_compare, T, compare_ieee(FE, a, b, 0, ctl, &f))                 \
    FX_2(uint32_t, N##_compare_quiet, T, compare_ieee(FE, a, b, 1, ctl, &f))           \
    FX_1(uint32_t, N##_to_i16, T, ieee_to_int(FE, a, 16, 1, ctl, &f))                  \
    FX_1(uint32_t, N##_to_i32, T, ieee_to_int(FE, a, 32, 1, ctl, &f))                  \
    FX_1(uint64_t, N##_to_i64, T, ieee_to_int(FE, a, 64, 1, ctl, &f))                  \
    FX_1(uint32_t, N##_to_u32, T, ieee_to_int(FE, a, 32, 0, ctl, &f))                  \
    FX_TRUNC(T, uint32_t, N, to_i16) \
    FX_TRUNC(T, uint32_t, N, to_i32) \
    FX_TRUNC(T, uint64_t, N, to_i64) \
    FX_TRUNC(T, uint32_t, N, to_u32) 
FX_BINARY(uint32_t, f32, F32)
FX_BINARY(uint64_t, f64, F64)
FX_1(uint64_t, f32_to_f64, uint32_t, f32_to_f64(a, ctl, &f))
FX_1(uint32_t, f64_to_f32, uint64_t, f64_to_f32(a, ctl, &f))
FX_INTO_80(uint32_t, f32_to_f80, ieee_to_80(F32, a, ctl, &f))
FX_INTO_80(uint64_t, f64_to_f80, ieee_to_80(F64, a, ctl, &f))
FX_FROM_80(uint32_t, f80_to_f32, ieee_from_80(F32, a, ctl, &f))
FX_FROM_80(uint64_t, f80_to_f64, ieee_from_80(F64, a, ctl, &f))
FX_FROM_80(uint32_t, f80_to_i16, int_from_80(a, 16, 1, ctl, &f))
FX_FROM_80(uint32_t, f80_to_i32, int_from_80(a, 32, 1, ctl, &f))
FX_FROM_80(uint64_t, f80_to_i64, int_from_80(a, 64, 1, ctl, &f))
FX_FROM_80(uint32_t, f80_to_u32, int_from_80(a, 32, 0, ctl, &f))
FX_TRUNC_80(uint32_t, to_i16)
FX_TRUNC_80(uint32_t, to_i32)
FX_TRUNC_80(uint64_t, to_i64)
FX_TRUNC_80(uint32_t, to_u32)
FX_1(uint32_t, i32_to_f32, uint32_t, int_to_ieee(F32, a >> 31, a >> 31 ? 0u - a : a, ctl, &f))
FX_1(uint32_t, u32_to_f32, uint32_t, int_to_ieee(F32, 0, a, ctl, &f))
FX_1(uint32_t, i64_to_f32, uint64_t, int_to_ieee(F32, (uint32_t)(a >> 63), a >> 63 ? 0 - a : a, ctl, &f))
FX_1(uint64_t, i32_to_f64, uint32_t, int_to_ieee(F64, a >> 31, a >> 31 ? 0u - a : a, ctl, &f))
FX_1(uint64_t, u32_to_f64, uint32_t, int_to_ieee(F64, 0, a, ctl, &f))
FX_1(uint64_t, i64_to_f64, uint64_t, int_to_ieee(F64, (uint32_t)(a >> 63), a >> 63 ? 0 - a : a, ctl, &f))
FX_INTO_80(uint32_t, i16_to_f80, ((void)ctl, int_to_80(a >> 15 & 1, a >> 15 & 1 ? 0x10000u - (a & 0xffffu) : a & 0xffffu)))
FX_INTO_80(uint32_t, i32_to_f80, ((void)ctl, int_to_80(a >> 31, a >> 31 ? 0u - a : a)))
FX_INTO_80(uint64_t, i64_to_f80, ((void)ctl, int_to_80((uint32_t)(a >> 63), a >> 63 ? 0 - a : a)))
FX_2_80(f80_add, add80(a, b, 0, ctl, &f))
FX_2_80(f80_sub, add80(a, b, 1, ctl, &f))
FX_2_80(f80_mul, mul80(a, b, ctl, &f))
FX_2_80(f80_div, div80(a, b, ctl, &f))
FX_2_80(f80_rem, rem80(a, b, ctl, &f))
FX_1_80(f80_sqrt, sqrt80(a, ctl, &f))
FX_1_80(f80_round_int, round_int80(a, ctl, &f))
FX_FROM_80_80(uint32_t, f80_compare, compare80(a, b, 0, ctl, &f))
FX_FROM_80_80(uint32_t, f80_compare_quiet, compare80(a, b, 1, ctl, &f))
FX_2_80(f80_prem, prem80(a, b, 0, ctl, &f))
FX_2_80(f80_prem1, prem80(a, b, 1, ctl, &f))
FX_2_80(f80_scale, scale80(a, b, ctl, &f))
FX_1_80(f80_2xm1, exp2m1_80(a, ctl, &f))
FX_2_80(f80_yl2x, yl2x80(a, b, ctl, &f))
FX_2_80(f80_yl2xp1, yl2xp1_80(a, b, ctl, &f))
FX_2_80(f80_patan, patan80(a, b, ctl, &f))
FX_1_80(f80_sin, sin80(a, ctl, &f))
FX_1_80(f80_cos, cos80(a, ctl, &f))
FX_1_80x2(f80_sincos, sin_cos80(a, 3, &s, ctl, &f))
FX_1_80x2(f80_ptan, ptan80(a, &s, ctl, &f))
FX_1_80x2(f80_xtract, xtract80(a, &s, ctl, &f))
FX_1_80(f80_to_bcd, bcd_from_80(a, ctl, &f))
FX_1_80(bcd_to_f80, ((void)ctl, bcd_to_80(a)))

/* ---- the structured layer ---- */

#define SF_CALL(R, name, ...)                         \
    {                                                 \
        R r;                                          \
        uint32_t f;                                   \
        fx_##name(__VA_ARGS__, ctl_pack(c), &r, &f);  \
        *flags |= f;                                  \
        return r;                                     \
    }
#define SF_CALL_80(name, ...)                                \
    {                                                        \
        uint64_t sig;                                        \
        uint32_t se, f;                                      \
        fx_##name(__VA_ARGS__, ctl_pack(c), &sig, &se, &f);  \
        *flags |= f;                                         \
        return make80(0, (int32_t)se, sig);                  \
    }
#define SF_CALL_80x2(name, second)                                              \
    {                                                                           \
        uint64_t sig, sig2;                                                     \
        uint32_t se, se2, f;                                                    \
        fx_##name(a.sig, a.se, ctl_pack(c), &sig, &se, &sig2, &se2, &f);        \
        *flags |= f;                                                            \
        *second = make80(0, (int32_t)se2, sig2);                                \
        return make80(0, (int32_t)se, sig);                                     \
    }
#define SF_1(R, name, T) SF_API R sf_##name(T a, const sf_ctl *c, uint32_t *flags) SF_CALL(R, name, a)
#define SF_2(R, name, T) SF_API R sf_##name(T a, T b, const sf_ctl *c, uint32_t *flags) SF_CALL(R, name, a, b)
#define SF_3(R, name, T) \
    SF_API R sf_##name(T a, T b, T addend, const sf_ctl *c, uint32_t *flags) SF_CALL(R, name, a, b, addend)
#define SF_FROM_80(R, name) SF_API R sf_##name(sf_f80 a, const sf_ctl *c, uint32_t *flags) SF_CALL(R, name, a.sig, a.se)
#define SF_FROM_80_80(R, name) \
    SF_API R sf_##name(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags) SF_CALL(R, name, a.sig, a.se, b.sig, b.se)
#define SF_INTO_80(T, name) SF_API sf_f80 sf_##name(T a, const sf_ctl *c, uint32_t *flags) SF_CALL_80(name, a)
#define SF_1_80(name) SF_API sf_f80 sf_##name(sf_f80 a, const sf_ctl *c, uint32_t *flags) SF_CALL_80(name, a.sig, a.se)
#define SF_2_80(name) \
    SF_API sf_f80 sf_##name(sf_f80 a, sf_f80 b, const sf_ctl *c, uint32_t *flags) \
    SF_CALL_80(name, a.sig, a.se, b.sig, b.se)
#define SF_1_80x2(name, second) \
    SF_API sf_f80 sf_##name(sf_f80 a, sf_f80 *second, const sf_ctl *c, uint32_t *flags) SF_CALL_80x2(name, second)

#define SF_IEEE(T, N)                    \
    SF_2(T, N##_add, T)                  \
    SF_2(T, N##_sub, T)                  \
    SF_2(T, N##_mul, T)                  \
    SF_2(T, N##_div, T)                  \
    SF_2(T, N##_rem, T)                  \
    SF_2(T, N##_min, T)                  \
    SF_2(T, N##_max, T)                  \
    SF_3(T, N##_muladd, T)               \
    SF_1(T, N##_sqrt, T)                 \
    SF_1(T, N##_round_int, T)            \
    SF_2(uint32_t, N##_compare, T)       \
    SF_2(uint32_t, N##_compare_quiet, T) \
    SF_1(uint32_t, N##_to_i16, T)        \
    SF_1(uint32_t, N##_to_i32, T)        \
    SF_1(uint64_t, N##_to_i64, T)        \
    SF_1(uint32_t, N##_to_u32, T)
SF_IEEE(uint32_t, f32)
SF_IEEE(uint64_t, f64)
SF_1(uint64_t, f32_to_f64, uint32_t)
SF_1(uint32_t, f64_to_f32, uint64_t)
SF_INTO_80(uint32_t, f32_to_f80)
SF_INTO_80(uint64_t, f64_to_f80)
SF_FROM_80(uint32_t, f80_to_f32)
SF_FROM_80(uint64_t, f80_to_f64)
SF_FROM_80(uint32_t, f80_to_i16)
SF_FROM_80(uint32_t, f80_to_i32)
SF_FROM_80(uint64_t, f80_to_i64)
SF_FROM_80(uint32_t, f80_to_u32)
SF_FROM_80_80(uint32_t, f80_compare)
SF_FROM_80_80(uint32_t, f80_compare_quiet)
SF_2_80(f80_add)
SF_2_80(f80_sub)
SF_2_80(f80_mul)
SF_2_80(f80_div)
SF_2_80(f80_rem)
SF_2_80(f80_prem)
SF_2_80(f80_prem1)
SF_2_80(f80_scale)
SF_2_80(f80_yl2x)
SF_2_80(f80_yl2xp1)
SF_2_80(f80_patan)
SF_1_80(f80_sqrt)
SF_1_80(f80_round_int)
SF_1_80(f80_2xm1)
SF_1_80(f80_sin)
SF_1_80(f80_cos)
SF_1_80(f80_to_bcd)
SF_1_80x2(f80_sincos, cosine)
SF_1_80x2(f80_ptan, one)
SF_1_80x2(f80_xtract, power)
SF_1(uint32_t, i64_to_f32, uint64_t)
SF_1(uint64_t, i64_to_f64, uint64_t)

SF_API sf_f80 sf_i64_to_f80(uint64_t a) {
    return int_to_80((uint32_t)(a >> 63), a >> 63 ? 0 - a : a);
}

SF_API sf_f80 sf_bcd_to_f80(sf_f80 a) {
    return bcd_to_80(a);
}
