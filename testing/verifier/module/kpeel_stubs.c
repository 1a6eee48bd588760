// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a parser needs from Linux so that the verifier can judge it: the two
 * anchors, the kfuncs with the prototypes of the ABI, and the structures their
 * types name. Nothing here does any work, except that bpf_decompress() refuses.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/build_bug.h>
#include <linux/module.h>

struct kexec_context {
	bool kdump;
	char *image;
	int image_sz;
	char *initrd;
	int initrd_sz;
	char *cmdline;
	int cmdline_sz;
};

struct mem_range_result {
	char *buf;
	u32 buf_sz;
	u32 data_sz;
};

static_assert(offsetof(struct kexec_context, image) == 8);
static_assert(offsetof(struct kexec_context, image_sz) == 16);
static_assert(offsetof(struct kexec_context, initrd) == 24);
static_assert(offsetof(struct kexec_context, initrd_sz) == 32);
static_assert(offsetof(struct kexec_context, cmdline) == 40);
static_assert(offsetof(struct kexec_context, cmdline_sz) == 48);

__bpf_hook_start();

noinline void bpf_handle_pefile(struct kexec_context *context)
{
	asm volatile("" : : "r"(context) : "memory");
}

noinline void bpf_post_handle_pefile(struct kexec_context *context)
{
	asm volatile("" : : "r"(context) : "memory");
}

__bpf_hook_end();

__bpf_kfunc_start_defs();

__bpf_kfunc int bpf_copy_to_kernel(const char *name__ign, char *buf__ign, int size)
{
	return -EINVAL;
}

__bpf_kfunc struct mem_range_result *bpf_decompress(char *buf__ign, int size)
{
	return NULL;
}

__bpf_kfunc int bpf_mem_range_result_put(struct mem_range_result *result)
{
	return -EINVAL;
}

__bpf_kfunc int bpf_kexec_read(void *dst, u32 dst__sz, const char *src__ign)
{
	return -EFAULT;
}

__bpf_kfunc int bpf_kexec_verdict(u32 code, const char *field__ign, u64 found, u64 needed)
{
	return 0;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(kpeel_kfuncs)
BTF_ID_FLAGS(func, bpf_copy_to_kernel, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_decompress, KF_SLEEPABLE | KF_ACQUIRE | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_mem_range_result_put, KF_SLEEPABLE | KF_RELEASE)
BTF_ID_FLAGS(func, bpf_kexec_read, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_kexec_verdict, KF_SLEEPABLE)
BTF_KFUNCS_END(kpeel_kfuncs)

static const struct btf_kfunc_id_set kpeel_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &kpeel_kfuncs,
};

BTF_KFUNCS_START(kpeel_anchors)
BTF_ID_FLAGS(func, bpf_handle_pefile, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_post_handle_pefile, KF_SLEEPABLE)
BTF_KFUNCS_END(kpeel_anchors)

static const struct btf_kfunc_id_set kpeel_anchor_set = {
	.owner = THIS_MODULE,
	.set = &kpeel_anchors,
};

static int __init kpeel_stubs_init(void)
{
	int err;

	err = register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &kpeel_kfunc_set);
	if (err)
		return err;
	return register_btf_fmodret_id_set(&kpeel_anchor_set);
}
module_init(kpeel_stubs_init);

MODULE_DESCRIPTION("Anchors and kfunc stubs for loading kpeel's parsers into the verifier");
MODULE_LICENSE("GPL");
