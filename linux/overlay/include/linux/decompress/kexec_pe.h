/* SPDX-License-Identifier: GPL-2.0-only */
/* Decompression of what a PE boot image carries, for kernel/kexec_pe. */
#ifndef DECOMPRESS_KEXEC_PE_H
#define DECOMPRESS_KEXEC_PE_H

#include <linux/types.h>

int kexec_pe_decompress(const u8 *in, size_t in_len, size_t out_limit,
			void **out, size_t *out_len, size_t *alloc_len);
const char *kexec_pe_codecs(void);

/* Of kernel/kexec_pe: whether the one who asked for the load has been killed. */
bool kexec_pe_cancelled(void);

#endif /* DECOMPRESS_KEXEC_PE_H */
