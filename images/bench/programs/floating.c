/* Floating point: products and elimination of matrices, Fourier transforms, planets, the Mandelbrot set. Only the four
   operations, comparisons and conversions are used, so that all processors round alike and give the same bits. */
#include "bench.h"

static double root(double x)
{
	union {
		double d;
		u64 bits;
	} guess = {x};
	double y;

	guess.bits = (guess.bits >> 1) + (511ull << 52);
	y = guess.d;
	for (u32 k = 0; k < 4; k++)
		y = 0.5 * (y + x / y);
	return y;
}

/* --- fmatrix: the product of two matrices, and a third one solved for it by elimination */

#define SIDE 24

u32 fmatrix(u32 rounds)
{
	static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE], m[SIDE][SIDE];
	u32 sum = 0, seed = 11;

	for (u32 i = 0; i < SIDE; i++) {
		for (u32 j = 0; j < SIDE; j++) {
			a[i][j] = (i32)(draw(&seed) & 0xFFFF) * (1.0 / 65536);
			b[i][j] = (i32)(draw(&seed) & 0xFFFF) * (1.0 / 65536) - 0.5;
		}
	}
	while (rounds--) {
		for (u32 i = 0; i < SIDE; i++) {
			for (u32 j = 0; j < SIDE; j++) {
				double dot = 0;

				for (u32 k = 0; k < SIDE; k++)
					dot += a[i][k] * b[k][j];
				c[i][j] = dot;
				/* A large diagonal, so that no row need be exchanged. */
				m[i][j] = i == j ? a[i][j] + SIDE : a[i][j];
			}
		}
		for (u32 p = 0; p < SIDE; p++) {
			for (u32 i = p + 1; i < SIDE; i++) {
				double factor = m[i][p] / m[p][p];

				for (u32 j = p; j < SIDE; j++)
					m[i][j] -= factor * m[p][j];
				for (u32 j = 0; j < SIDE; j++)
					c[i][j] -= factor * c[p][j];
			}
		}
		for (u32 i = 0; i < SIDE; i++)
			sum = mixed_double(sum, c[i][rounds % SIDE]);
		a[rounds % SIDE][(rounds + 5) % SIDE] = (i32)(draw(&seed) & 0xFFFF) * (1.0 / 65536);
	}
	return sum;
}

/* --- fft: a transform of 256 complex numbers in place and its inverse */

#define POINTS 256

static void transform(double *re, double *im, const double *cosines, const double *sines, i32 direction)
{
	for (u32 i = 1, j = 0; i < POINTS; i++) {
		u32 bit = POINTS >> 1;

		for (; j & bit; bit >>= 1)
			j ^= bit;
		j ^= bit;
		if (i < j) {
			double r = re[i], s = im[i];

			re[i] = re[j];
			im[i] = im[j];
			re[j] = r;
			im[j] = s;
		}
	}
	for (u32 length = 2; length <= POINTS; length *= 2) {
		u32 half = length / 2, step = POINTS / length;

		for (u32 start = 0; start < POINTS; start += length) {
			for (u32 k = 0; k < half; k++) {
				double c = cosines[k * step], s = direction * sines[k * step];
				double *ra = &re[start + k], *ia = &im[start + k], *rb = ra + half, *ib = ia + half;
				double r = *rb * c - *ib * s, i = *rb * s + *ib * c;

				*rb = *ra - r;
				*ib = *ia - i;
				*ra += r;
				*ia += i;
			}
		}
	}
}

u32 fft(u32 rounds)
{
	static double re[POINTS], im[POINTS], cosines[POINTS / 2], sines[POINTS / 2];
	u32 sum = 0, seed = 12;

	/* Cosine and sine by their series: there is no library. */
	for (u32 k = 0; k < POINTS / 2; k++) {
		double x = k * (6.283185307179586 / POINTS), term = 1;

		cosines[k] = 1;
		sines[k] = 0;
		for (i32 n = 1; n < 30; n++) {
			term = term * x / n;
			if (n & 1)
				sines[k] += n & 2 ? -term : term;
			else
				cosines[k] += n & 2 ? -term : term;
		}
	}
	for (u32 k = 0; k < POINTS; k++) {
		re[k] = (i32)(draw(&seed) & 0xFFF);
		im[k] = 0;
	}
	while (rounds--) {
		transform(re, im, cosines, sines, 1);
		sum = mixed_double(mixed_double(sum, re[rounds % POINTS]), im[rounds % POINTS]);
		transform(re, im, cosines, sines, -1);
		for (u32 k = 0; k < POINTS; k++) {
			re[k] = re[k] * (1.0 / POINTS) + (double)(k == rounds % POINTS);
			im[k] *= 1.0 / POINTS;
		}
	}
	return sum;
}

/* --- nbody: five bodies that attract one another, a hundred steps in a round */

struct body {
	double place[3], speed[3], mass;
};

u32 nbody(u32 rounds)
{
	struct body bodies[5] = {
		{{0, 0, 0}, {0, 0, 0}, 39.5},
		{{1, 0.1, 0.02}, {-0.5, 6.2, 0.03}, 0.0015},
		{{-0.3, 5.1, -0.1}, {-2.7, -0.2, 0.06}, 0.037},
		{{9.2, 1.5, -0.4}, {-0.3, 1.9, -0.02}, 0.011},
		{{-12.5, -14.9, 0.25}, {1.0, -0.9, 0.01}, 0.0017},
	};
	u32 sum = 0;

	while (rounds--) {
		for (u32 step = 0; step < 100; step++) {
			for (u32 a = 0; a < 5; a++) {
				for (u32 b = a + 1; b < 5; b++) {
					double gap[3], square = 0.0001, pull;

					for (u32 k = 0; k < 3; k++) {
						gap[k] = bodies[a].place[k] - bodies[b].place[k];
						square += gap[k] * gap[k];
					}
					pull = 0.001 / (square * root(square));
					for (u32 k = 0; k < 3; k++) {
						bodies[a].speed[k] -= gap[k] * (bodies[b].mass * pull);
						bodies[b].speed[k] += gap[k] * (bodies[a].mass * pull);
					}
				}
			}
			for (u32 a = 0; a < 5; a++)
				for (u32 k = 0; k < 3; k++)
					bodies[a].place[k] += 0.001 * bodies[a].speed[k];
		}
		for (u32 a = 0; a < 5; a++)
			sum = mixed_double(sum, bodies[a].place[a % 3]);
	}
	return sum;
}

/* --- mandel: how long points of a window of 32 x 24 stay near zero; each round looks closer */

u32 mandel(u32 rounds)
{
	double width = 3.0, x0 = -0.743, y0 = 0.131;
	u32 sum = 0;

	while (rounds--) {
		for (i32 row = 0; row < 24; row++) {
			for (i32 column = 0; column < 32; column++) {
				double cx = x0 + (column - 16) * (width / 32), cy = y0 + (row - 12) * (width / 32);
				double x = 0, y = 0;
				u32 n = 0;

				while (n < 100 && x * x + y * y <= 4) {
					double t = x * x - y * y + cx;

					y = 2 * x * y + cy;
					x = t;
					n++;
				}
				sum = mixed(sum, n);
			}
		}
		width = width < 0.0001 ? 3.0 : width * 0.8;
	}
	return sum;
}
