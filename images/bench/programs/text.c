/* A state machine that reads words, and the search for strings. */
#include "bench.h"

/* --- state: a text of numbers, names, strings, comments and operators is cut into its words, character by character */

enum state { BLANK, NAME, NUMBER, HEX, FRACTION, QUOTED, ESCAPED, COMMENT, OPERATOR, WRONG, STATES };

static const char sample[] =
	"let total = 0x1F + 17.25 * (alpha_2 - \"a \\\"quoted\\\" word\"); # to the end\n"
	"while (k < 1000) { k = k + 1; if k == 0xff { emit \"tick\"; } } 12ab 3.x 9. # again\n"
	"return total<<3 | mask & ~7 ^ first.second[3], 'x; 0 00 1e5 _ __a9;\n";

static int letter(u32 c)
{
	return (c | 32) - 'a' < 26u || c == '_';
}

static enum state next(enum state now, u32 c)
{
	switch (now) {
	case QUOTED:
		return c == '\\' ? ESCAPED : c == '"' ? BLANK : QUOTED;
	case ESCAPED:
		return QUOTED;
	case COMMENT:
		return c == '\n' ? BLANK : COMMENT;
	case NAME:
		if (letter(c) || c - '0' < 10u)
			return NAME;
		break;
	case NUMBER:
		if (c == 'x' || c == 'X')
			return HEX;
		if (c == '.')
			return FRACTION;
		if (c - '0' < 10u)
			return NUMBER;
		if (letter(c))
			return WRONG;
		break;
	case HEX:
		if (c - '0' < 10u || (c | 32) - 'a' < 6u)
			return HEX;
		if (letter(c))
			return WRONG;
		break;
	case FRACTION:
		if (c - '0' < 10u)
			return FRACTION;
		if (letter(c) || c == '.')
			return WRONG;
		break;
	case WRONG:
		if (letter(c) || c - '0' < 10u)
			return WRONG;
		break;
	default:
		break;
	}
	if (c == ' ' || c == '\n')
		return BLANK;
	if (c == '"')
		return QUOTED;
	if (c == '#')
		return COMMENT;
	if (c - '0' < 10u)
		return NUMBER;
	return letter(c) ? NAME : c == '\'' ? WRONG : OPERATOR;
}

u32 state(u32 rounds)
{
	static char text[sizeof sample];
	u32 sum = 0, seed = 5;

	memcpy(text, sample, sizeof text);
	while (rounds--) {
		u32 seen[STATES] = {0}, changes = 0;
		enum state now = BLANK;

		for (u32 k = 0; k < 20; k++) {
			for (const char *at = text; *at; at++) {
				enum state then = next(now, (u8)*at);

				changes += then != now;
				seen[then]++;
				now = then;
			}
			/* One character is another one from now on, never a zero. */
			text[draw(&seed) % (sizeof text - 1)] = sample[draw(&seed) % (sizeof text - 1)];
		}
		for (u32 k = 0; k < STATES; k++)
			sum = mixed(sum, seen[k]);
		sum = mixed(sum, changes);
	}
	return sum;
}

/* --- search: a word in 8 KiB of four letters, naively, by Horspool's skips and by the failure function of Knuth, Morris
   and Pratt; the three have to count the same */

#define TEXT 8192
#define LONGEST 12

static u32 naive(const u8 *text, const u8 *word, u32 length)
{
	u32 found = 0;

	for (u32 at = 0; at + length <= TEXT; at++) {
		u32 k = 0;

		while (k < length && text[at + k] == word[k])
			k++;
		found += k == length;
	}
	return found;
}

static u32 horspool(const u8 *text, const u8 *word, u32 length)
{
	u32 skip[256], found = 0;

	for (u32 k = 0; k < 256; k++)
		skip[k] = length;
	for (u32 k = 0; k + 1 < length; k++)
		skip[word[k]] = length - 1 - k;
	for (u32 at = 0; at + length <= TEXT; at += skip[text[at + length - 1]]) {
		u32 k = length;

		while (k > 0 && text[at + k - 1] == word[k - 1])
			k--;
		found += k == 0;
	}
	return found;
}

static u32 morris(const u8 *text, const u8 *word, u32 length)
{
	u32 back[LONGEST + 1], k = 0, found = 0;

	back[0] = back[1] = 0;
	for (u32 i = 1; i < length; i++) {
		while (k && word[k] != word[i])
			k = back[k];
		k += word[k] == word[i];
		back[i + 1] = k;
	}
	k = 0;
	for (u32 i = 0; i < TEXT; i++) {
		while (k && (k == length || word[k] != text[i]))
			k = back[k];
		k += word[k] == text[i];
		found += k == length;
	}
	return found;
}

u32 search(u32 rounds)
{
	static u8 text[TEXT];
	u32 sum = 0, seed = 6;

	for (u32 k = 0; k < TEXT; k++)
		text[k] = (u8)("acgt"[draw(&seed) >> 9 & 3]);
	while (rounds--) {
		u8 word[LONGEST + 1] = {0};
		u32 length = 3 + draw(&seed) % (LONGEST - 3), from = draw(&seed) % (TEXT - LONGEST), found;

		for (u32 k = 0; k < length; k++)
			word[k] = text[from + k];
		found = naive(text, word, length);
		if (found != horspool(text, word, length) || found != morris(text, word, length))
			return 0xBAD;
		sum = mixed(sum, found);
		text[from] = (u8)("acgt"[draw(&seed) >> 9 & 3]);
	}
	return sum;
}
