// SPDX-License-Identifier: GPL-2.0-only
/*
 * Decompression of untrusted data into memory that grows with the output.
 *
 * The decompressors of lib/ hand their output to flush(), which has no private
 * pointer: where the output goes is static. kexec_lock serialises the callers,
 * as there is one load at a time and one thread of it that decompresses. This
 * is the only state; no other user of the decompressors touches it.
 *
 * The output is collected in single pages, mapped in one piece at the end. So
 * no size is believed before it is reached, nothing is copied twice, and what
 * is charged to the caller's memory cgroup is what the output takes.
 */

#define pr_fmt(fmt) "kexec_pe: " fmt

#include <linux/decompress/generic.h>
#include <linux/decompress/kexec_pe.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

/* Pages in the first table; it doubles when it is full. */
#define FIRST_PAGES	512

static struct {
	struct page **pages;
	size_t count;
	size_t room;	/* of the table, in pages */
	size_t len;
	size_t limit;
	/* Why flush() gave up: the decompressors know only that it did. */
	int error;
} sink;

static int sink_grow_table(void)
{
	size_t room = sink.room ? sink.room * 2 : FIRST_PAGES;
	struct page **pages;

	pages = kvrealloc(sink.pages, room * sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return -ENOMEM;
	sink.pages = pages;
	sink.room = room;
	return 0;
}

static int sink_add_page(void)
{
	struct page *page;

	if (sink.count == sink.room) {
		int ret = sink_grow_table();

		if (ret)
			return ret;
	}
	page = alloc_page(GFP_KERNEL_ACCOUNT);
	if (!page)
		return -ENOMEM;
	sink.pages[sink.count++] = page;
	return 0;
}

static int sink_append(const char *buf, size_t len)
{
	if (len > sink.limit - sink.len)
		return -EFBIG;
	while (len) {
		size_t at = sink.len % PAGE_SIZE;
		size_t part = min(len, PAGE_SIZE - at);

		if (!at) {
			int ret = sink_add_page();

			if (ret)
				return ret;
		}
		memcpy_to_page(sink.pages[sink.count - 1], at, buf, part);
		buf += part;
		len -= part;
		sink.len += part;
	}
	return 0;
}

/*
 * Every decompressor calls this often, so here others get to run and a killed
 * caller is noticed.
 */
static long sink_flush(void *buf, unsigned long len)
{
	cond_resched();
	if (kexec_pe_cancelled())
		sink.error = -EINTR;
	else
		sink.error = sink_append(buf, len);
	return sink.error ? -1 : (long)len;
}

static void sink_say(char *why)
{
	pr_debug("%s\n", why);
}

static void sink_release(void)
{
	while (sink.count)
		__free_page(sink.pages[--sink.count]);
	kvfree(sink.pages);
	sink.pages = NULL;
}

/* Maps the pages in one piece, which vfree() frees together with the table. */
static void *sink_map(void)
{
	void *mapped;

	mapped = vmap(sink.pages, sink.count, VM_MAP | VM_MAP_PUT_PAGES,
		      PAGE_KERNEL);
	if (mapped) {
		sink.pages = NULL;
		sink.count = 0;
	}
	return mapped;
}

/* What the decompressor's result means, unless flush() knew better. */
static int blame(int ret)
{
	if (sink.error)
		return sink.error;
	switch (ret) {
	case 0:
		return 0;
	case -ENOMEM:
	case -EFBIG:
	case -EPROTONOSUPPORT:
		return ret;
	default:
		return -EBADMSG;
	}
}

static int run(decompress_fn decompress, const u8 *in, size_t in_len)
{
	int ret;

	/* No decompressor writes to input that is not its own. */
	ret = decompress((u8 *)in, in_len, NULL, sink_flush, NULL, NULL,
			 sink_say);
	ret = blame(ret);
	if (!ret && !sink.len)
		ret = -EBADMSG;
	return ret;
}

/**
 * kexec_pe_decompress - decompress the first stream of a buffer
 * @in: the stream; bytes after its end are ignored
 * @in_len: bytes there are
 * @out_limit: bytes that the output may have
 * @out: set to the output, to be freed by vfree()
 * @out_len: set to its bytes
 * @alloc_len: set to the bytes that hold it, whole pages
 *
 * The codec is told by the magic, as for an initramfs. Memory is charged to the
 * active memory cgroup. May sleep. The caller holds kexec_lock.
 *
 * Return: 0, or -EBADMSG when the stream is damaged, truncated or empty,
 * -EPROTONOSUPPORT when its codec, or what it asks of it, is unknown or not
 * built in, -EFBIG when the output exceeds @out_limit or the stream asks for a
 * window of more than 128 MiB, -ENOMEM, or -EINTR when the load was cancelled.
 * The outputs are set on success only.
 */
int kexec_pe_decompress(const u8 *in, size_t in_len, size_t out_limit,
			void **out, size_t *out_len, size_t *alloc_len)
{
	decompress_fn decompress;
	void *mapped;
	int ret;

	if (in_len > INT_MAX)
		return -EFBIG;
	decompress = decompress_method(in, in_len, NULL);
	if (!decompress)
		return -EPROTONOSUPPORT;
	memset(&sink, 0, sizeof(sink));
	sink.limit = out_limit;
	ret = run(decompress, in, in_len);
	if (ret)
		goto release;
	*out_len = sink.len;
	*alloc_len = sink.count * PAGE_SIZE;
	mapped = sink_map();
	if (!mapped) {
		ret = -ENOMEM;
		goto release;
	}
	*out = mapped;
	return 0;
release:
	sink_release();
	return ret;
}

/**
 * kexec_pe_codecs - the codecs that are built in, for user space to read
 *
 * Return: their names as in lib/decompress.c, separated by spaces.
 */
const char *kexec_pe_codecs(void)
{
	return ""
#ifdef CONFIG_DECOMPRESS_GZIP
	       "gzip "
#endif
#ifdef CONFIG_DECOMPRESS_ZSTD
	       "zstd "
#endif
#ifdef CONFIG_DECOMPRESS_XZ
	       "xz "
#endif
#ifdef CONFIG_DECOMPRESS_LZMA
	       "lzma "
#endif
#ifdef CONFIG_DECOMPRESS_LZ4
	       "lz4 "
#endif
#ifdef CONFIG_DECOMPRESS_LZO
	       "lzo "
#endif
#ifdef CONFIG_DECOMPRESS_BZIP2
	       "bzip2"
#endif
	       ;
}
