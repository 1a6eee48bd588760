// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /sys/kernel/debug/kexec_pe/last: how the last load ended, for tests. What it
 * says is decided in debug.rs.
 *
 * Forced to be C: debugfs has no Rust bindings, locks and file operations are
 * made by macros and static initialisers, sha256_init() is inline.
 */

#include <crypto/sha2.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "kexec_pe.h"

/* Three lines of a resource each, or a message with two names of 31 bytes. */
#define ROOM	1024

static DEFINE_MUTEX(lock);
static char text[ROOM];
static size_t text_len;

/* Begins a new text, which nobody reads before it is ended. */
void kexec_pe_debug_begin(void)
{
	mutex_lock(&lock);
	text_len = 0;
}

/* Adds to the text; what does not fit is dropped. */
void kexec_pe_debug_write(const char *more, unsigned long len)
{
	lockdep_assert_held(&lock);
	len = min(len, sizeof(text) - text_len);
	memcpy(text + text_len, more, len);
	text_len += len;
}

void kexec_pe_debug_end(void)
{
	mutex_unlock(&lock);
}

/* The SHA-256 of buffers of any size. */
void kexec_pe_debug_sha256(const void *data, unsigned long len,
			   u8 digest[SHA256_DIGEST_SIZE])
{
	struct sha256_state state;

	sha256_init(&state);
	while (len) {
		unsigned int part = min_t(unsigned long, len, SZ_1M);

		sha256_update(&state, data, part);
		data += part;
		len -= part;
		cond_resched();
	}
	sha256_final(&state, digest);
}

static int last_show(struct seq_file *file, void *unused)
{
	mutex_lock(&lock);
	seq_write(file, text, text_len);
	mutex_unlock(&lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(last);

static int __init kexec_pe_debug_init(void)
{
	struct dentry *dir = debugfs_create_dir("kexec_pe", NULL);

	debugfs_create_file("last", 0400, dir, NULL, &last_fops);
	return 0;
}
late_initcall(kexec_pe_debug_init);
