/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * PE boot images that carry their own parser: what the rest of the kernel
 * sees of kernel/kexec_pe/.
 */
#ifndef _LINUX_KEXEC_PE_H
#define _LINUX_KEXEC_PE_H

#include <linux/types.h>
#include <uapi/linux/bpf.h>

struct kimage;

#ifdef CONFIG_KEXEC_PE

/* Whether the current task is the thread that loads and runs parsers. */
bool kexec_pe_thread(void);

/* What that thread may ask of bpf(2); 0 for everybody else. */
int kexec_pe_check_bpf(enum bpf_cmd cmd, const union bpf_attr *attr);

/* Whether the image is a PE image with a parser of its own. */
bool kexec_pe_claims(const struct kimage *image);

/*
 * Replaces kernel, initrd and command line of a claimed image by what its
 * parsers find inside. @enforced: an image must be signed to be loaded.
 * @signature: 0 or why nothing vouches for the image, a negative errno.
 */
int kexec_pe_unfold(struct kimage *image, bool enforced, int signature);

#else

static inline bool kexec_pe_thread(void)
{
	return false;
}

static inline int kexec_pe_check_bpf(enum bpf_cmd cmd,
				     const union bpf_attr *attr)
{
	return 0;
}

static inline bool kexec_pe_claims(const struct kimage *image)
{
	return false;
}

#endif /* CONFIG_KEXEC_PE */

#endif /* _LINUX_KEXEC_PE_H */
