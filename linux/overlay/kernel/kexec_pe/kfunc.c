// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The functions a parser calls. Parameter names are part of the ABI: __ign
 * takes an argument out of the verifier's care, because what it points to is
 * checked here against the ranges of the running stage.
 *
 * Forced to be C: BTF is made from C's debug information only, and id sets are
 * static initialisers.
 */

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/init.h>

#include "kexec_pe.h"

static_assert(offsetof(struct kexec_context, image) == 8);
static_assert(offsetof(struct kexec_context, image_sz) == 16);
static_assert(offsetof(struct kexec_context, initrd) == 24);
static_assert(offsetof(struct kexec_context, initrd_sz) == 32);
static_assert(offsetof(struct kexec_context, cmdline) == 40);
static_assert(offsetof(struct kexec_context, cmdline_sz) == 48);
static_assert(offsetof(struct mem_range_result, buf_sz) == 8);
static_assert(offsetof(struct mem_range_result, data_sz) == 12);

__bpf_kfunc_start_defs();

__bpf_kfunc int bpf_copy_to_kernel(const char *name__ign, char *buf__ign,
				   int size)
{
	if (!kexec_pe_thread())
		return -EPERM;
	return kexec_pe_rs_copy_to_kernel(name__ign, buf__ign, size);
}

__bpf_kfunc struct mem_range_result *bpf_decompress(char *buf__ign, int size)
{
	if (!kexec_pe_thread())
		return NULL;
	return kexec_pe_rs_decompress(buf__ign, size);
}

__bpf_kfunc int bpf_mem_range_result_put(struct mem_range_result *result)
{
	if (!kexec_pe_thread())
		return -EPERM;
	return kexec_pe_rs_put(result);
}

__bpf_kfunc int bpf_kexec_read(void *dst, u32 dst__sz, const char *src__ign)
{
	if (!kexec_pe_thread())
		return -EPERM;
	return kexec_pe_rs_read(dst, dst__sz, src__ign);
}

__bpf_kfunc int bpf_kexec_verdict(u32 code, const char *field__ign, u64 found,
				  u64 needed)
{
	if (!kexec_pe_thread())
		return -EPERM;
	return kexec_pe_rs_verdict(code, field__ign, found, needed);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(kexec_pe_kfuncs)
BTF_ID_FLAGS(func, bpf_copy_to_kernel, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_decompress, KF_SLEEPABLE | KF_ACQUIRE | KF_RET_NULL)
BTF_ID_FLAGS(func, bpf_mem_range_result_put, KF_SLEEPABLE | KF_RELEASE)
BTF_ID_FLAGS(func, bpf_kexec_read, KF_SLEEPABLE)
BTF_ID_FLAGS(func, bpf_kexec_verdict, KF_SLEEPABLE)
BTF_KFUNCS_END(kexec_pe_kfuncs)

bool kexec_pe_is_kfunc(u32 btf_id)
{
	return btf_id_set8_contains(&kexec_pe_kfuncs, btf_id);
}

/*
 * Lets only parsers call the kfuncs: sleepable fentry programs that the loader
 * thread loads for an anchor. Runs in the context of whoever loads @prog.
 */
static int kexec_pe_kfunc_filter(const struct bpf_prog *prog, u32 btf_id)
{
	const struct bpf_prog_aux *aux = prog->aux;

	if (!kexec_pe_is_kfunc(btf_id))
		return 0;
	if (!kexec_pe_thread() || prog->type != BPF_PROG_TYPE_TRACING ||
	    prog->expected_attach_type != BPF_TRACE_FENTRY || aux->dst_prog)
		return -EACCES;
	if (aux->attach_btf_id != kexec_pe_anchors[KEXEC_PE_HANDLE] &&
	    aux->attach_btf_id != kexec_pe_anchors[KEXEC_PE_POST])
		return -EACCES;
	return 0;
}

static const struct btf_kfunc_id_set kexec_pe_kfunc_set = {
	.owner = THIS_MODULE,
	.set = &kexec_pe_kfuncs,
	.filter = kexec_pe_kfunc_filter,
};

static int __init kexec_pe_kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING,
					 &kexec_pe_kfunc_set);
}
late_initcall(kexec_pe_kfunc_init);
