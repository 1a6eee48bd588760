// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Runs the kernel's decompressors, patched as linux/patches does, over intact
 * and damaged streams.
 *
 *   harness decode LIMIT < STREAM > OUTPUT
 *	prints the result's errno on standard error; 0 is success
 *   harness damage COUNT SEED LIMIT < STREAM
 *	decompresses COUNT damaged copies of the stream and prints how often
 *	which result came; a report of a sanitizer ends it, as does a leak
 */
#include <time.h>
#include <unistd.h>

#include <linux/decompress/kexec_pe.h>
#include "shim.h"

/* No allocation may ask for more than the window's bound and a little. */
#define ALLOC_MAX ((size_t)130 << 20)
#define INPUT_MAX ((size_t)64 << 20)

static long live;
static size_t largest;

struct header {
	size_t size;
	size_t pad;
};

void *shim_alloc(size_t size, gfp_t gfp)
{
	struct header *header;

	WARN_ON(!size);
	if (size > largest)
		largest = size;
	if (size > ALLOC_MAX)
		return NULL;
	header = malloc(sizeof(*header) + size);
	if (!header)
		return NULL;
	header->size = size;
	live++;
	return header + 1;
}

void *shim_realloc(void *old, size_t size)
{
	void *new = shim_alloc(size, GFP_KERNEL);

	if (new && old) {
		size_t had = ((struct header *)old - 1)->size;

		memcpy(new, old, min(size, had));
		shim_free(old);
	}
	return new;
}

void shim_free(const void *p)
{
	if (!p)
		return;
	live--;
	free((struct header *)p - 1);
}

/* The pages become one allocation, and are freed as VM_MAP_PUT_PAGES would. */
void *vmap(struct page **pages, unsigned int count, unsigned long flags, int prot)
{
	unsigned char *mapped = malloc(sizeof(struct header) + count * PAGE_SIZE);
	unsigned int i;

	if (!mapped)
		return NULL;
	mapped += sizeof(struct header);
	live++;
	for (i = 0; i < count; i++) {
		memcpy(mapped + i * PAGE_SIZE, pages[i]->bytes, PAGE_SIZE);
		__free_page(pages[i]);
	}
	kvfree(pages);
	return mapped;
}

/* Bit by bit, so that nothing is shared with what is tested. */
u32 crc32_le(u32 crc, const unsigned char *p, size_t len)
{
	static u32 table[256];
	size_t i;
	int bit;

	if (!table[1])
		for (i = 0; i < 256; i++) {
			table[i] = i;
			for (bit = 0; bit < 8; bit++)
				table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
		}
	while (len--)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return crc;
}

static int polls_left = -1;

/* Says yes at the poll that a test chose. */
bool kexec_pe_cancelled(void)
{
	return polls_left >= 0 && polls_left-- == 0;
}

static u64 state;

static u64 next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t below(size_t bound)
{
	return bound ? next() % bound : 0;
}

static void put32(unsigned char *at, u32 value)
{
	put_unaligned_le32(value, at);
}

static const u32 extremes[] = {
	0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff,
	0x10000, 8 << 20, (8 << 20) + 1, 0x08080810, 1 << 27, (1 << 27) + 1,
	1 << 30, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff,
};

/* The sizes that a header declares, dictionaries before all. */
static void damage_header(unsigned char *in, size_t len)
{
	u32 extreme = extremes[below(ARRAY_SIZE(extremes))];

	if (len < 32)
		return;
	if (in[0] == 0x5d) {			/* lzma: dictionary, size */
		put32(in + (below(2) ? 1 : 5), extreme);
		if (below(2))
			put32(in + 9, below(2) ? 0 : 0xffffffff);
	} else if (in[0] == 0xfd) {		/* xz: dictionary, with its CRC */
		size_t size = (in[12] + 1) * 4;
		size_t at = 12 + 2 + below(size > 8 ? size - 6 : 1);

		if (12 + size > len)
			return;
		in[at] = below(2) ? below(256) : below(41);
		put32(in + 12 + size - 4, ~crc32_le(~0U, in + 12, size - 4));
	} else if (in[0] == 0x28) {		/* zstd: descriptor, window, size */
		in[4 + below(8)] = next();
	} else if (in[0] == 0x02) {		/* lz4: length of a chunk */
		put32(in + 4, extreme);
	} else if (in[0] == 0x89) {		/* lzo: anywhere in the header */
		put32(in + 9 + below(len > 80 ? 60 : 16), __builtin_bswap32(extreme));
	} else {				/* gzip flags; bzip2 block size */
		in[3] = next();
	}
}

static size_t damage(unsigned char *in, size_t len)
{
	size_t i, at, part;

	switch (below(7)) {
	case 0:
		return below(len);
	case 1:
		return len - 1 - below(min(len - 1, (size_t)16));
	case 2:
		for (i = 1 + below(8); i; i--)
			in[below(len)] ^= 1 << below(8);
		return len;
	case 3:
		at = below(len - 4);
		put32(in + at, extremes[below(ARRAY_SIZE(extremes))]);
		return len;
	case 4:
		part = 1 + below(min(len / 2, (size_t)4096));
		memmove(in + below(len - part), in + below(len - part), part);
		return len;
	case 5:
		for (at = below(len), i = 1 + below(64); i && at < len; i--)
			in[at++] = next();
		return len;
	default:
		damage_header(in, len);
		return below(4) ? len : 16 + below(len - 16);
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* One decompression of an exact copy, so that a byte too far is seen. */
static int once(const unsigned char *in, size_t len, size_t limit, FILE *to)
{
	unsigned char *copy = malloc(len ? len : 1);
	size_t out_len = 0, alloc_len = 0;
	void *out = NULL;
	int ret;

	memcpy(copy, in, len);
	ret = kexec_pe_decompress(copy, len, limit, &out, &out_len, &alloc_len);
	if (!ret) {
		WARN_ON(!out_len || out_len > limit || alloc_len < out_len);
		if (to)
			fwrite(out, 1, out_len, to);
		vfree(out);
	}
	free(copy);
	if (live) {
		fprintf(stderr, "%ld allocations were not freed, result %d\n", live, ret);
		exit(1);
	}
	return ret;
}

static void damaged(const unsigned char *in, size_t len, long count, size_t limit)
{
	unsigned char *copy = malloc(len);
	long results[128] = { 0 };
	double longest = 0;
	long i;

	for (i = 0; i < count; i++) {
		size_t cut;
		double start, took;
		int ret;

		memcpy(copy, in, len);
		cut = damage(copy, len);
		polls_left = below(16) ? -1 : (int)below(4);
		start = seconds();
		ret = once(copy, cut, limit, NULL);
		took = seconds() - start;
		longest = max(longest, took);
		WARN_ON(ret > 0 || ret <= -(int)ARRAY_SIZE(results));
		results[-ret]++;
	}
	free(copy);
	printf("cases %ld longest_ms %.0f largest %zu", count, longest * 1000, largest);
	for (i = 0; i < (long)ARRAY_SIZE(results); i++)
		if (results[i])
			printf(" %ld:%ld", i, results[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	unsigned char *in = malloc(INPUT_MAX);
	size_t len = fread(in, 1, INPUT_MAX, stdin);
	int ret;

	if (argc == 3 && !strcmp(argv[1], "decode")) {
		ret = once(in, len, strtoul(argv[2], NULL, 0), stdout);
		fprintf(stderr, "%d\n", -ret);
		free(in);
		return fflush(stdout) ? 1 : 0;
	}
	if (argc == 5 && !strcmp(argv[1], "damage") && len > 64) {
		state = strtoul(argv[3], NULL, 0) * 2 + 1;
		damaged(in, len, atol(argv[2]), strtoul(argv[4], NULL, 0));
		free(in);
		return 0;
	}
	fprintf(stderr, "usage: harness decode LIMIT | damage COUNT SEED LIMIT\n");
	return 2;
}
